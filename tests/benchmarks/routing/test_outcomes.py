"""Files of outcomes: what is read, and what is said of what cannot be."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from benchmarks.routing.outcomes import Unreadable, read

HEADER = "prompt_id,dataset,model,score,cost,input_tokens,output_tokens"
GOOD = "1,gsm8k,one,1,0.5,10,20"


def written(folder: Path, *lines: str, name: str = "outcomes.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_prompts_become_rows_and_models_columns(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, GOOD, "1,gsm8k,two,0,0.25,11,30", "1,mbpp,two,0.5,,,")

    found = read([path])

    assert (found.prompts, found.models, found.datasets) == (("gsm8k/1", "mbpp/1"), ("one", "two"), ("gsm8k", "mbpp"))
    assert found.score.tolist()[0] == [1, 0]
    assert np.isnan(found.score[1, 0])
    assert found.cost[0].tolist() == [0.5, 0.25]
    assert np.isnan(found.cost[1]).all()
    assert found.rows == 3


def test_columns_have_other_names_and_another_order_in_other_sets(tmp_path: Path) -> None:
    path = written(tmp_path, "Model Name,Eval-Name,sample_id,Accuracy,total_cost,notes", "one,mmlu,7,true,0.5,whatever")

    found = read([path])

    assert (found.prompts, found.models, found.score.tolist(), found.cost.tolist()) == (("mmlu/7",), ("one",), [[1]], [[0.5]])


def test_files_are_read_zipped_with_a_mark_and_by_tabs(tmp_path: Path) -> None:
    text = "\ufeff" + HEADER.replace(",", "\t") + "\n" + GOOD.replace(",", "\t") + "\n"
    path = tmp_path / "outcomes.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))

    assert read([path]).output_tokens.tolist() == [[20]]


def test_several_files_are_one_set(tmp_path: Path) -> None:
    first = written(tmp_path, HEADER, GOOD, name="a.csv")
    second = written(tmp_path, HEADER, GOOD.replace("one", "two"), name="b.csv")

    assert read([first, second]).models == ("one", "two")


def test_repeated_answers_are_their_mean_and_those_without_a_score_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, GOOD, "1,gsm8k,one,0,1.5,10,40", "1,gsm8k,one,,1,1,1")

    found = read([path])

    assert (found.score.tolist(), found.cost.tolist(), found.output_tokens.tolist()) == ([[0.5]], [[1.0]], [[30.0]])
    assert (found.rows, found.repeats, found.left_out) == (2, 1, 1)


def test_the_text_of_a_prompt_is_classified_once(tmp_path: Path) -> None:
    seen: list[str] = []
    path = written(tmp_path, f"{HEADER},prompt", f'{GOOD},"two\nlines"', f'{GOOD.replace("one", "two")},"two\nlines"')

    found = read([path], classify=lambda text: seen.append(text) or "coding")

    assert (seen, found.text_task) == (["two\nlines"], ("coding",))


def test_a_full_score_can_be_ten(tmp_path: Path) -> None:
    assert read([written(tmp_path, HEADER, GOOD.replace("one,1", "one,7.5"))], score_max=10).score.tolist() == [[0.75]]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((), "it is empty"),
        (("model,dataset,score,cost", "one,gsm8k,1,1"), r"line 1: there is no column 'prompt_id' \(or id, sample_id"),
        (("prompt_id,dataset,model,score", "1,gsm8k,one,1"), "line 1: there is neither a column 'cost' nor one of tokens"),
        ((HEADER,), "there is no row with a score"),
        ((HEADER, GOOD, "2,gsm8k,one,good,1,1,1"), "line 3: score 'good' is no number"),
        ((HEADER, GOOD, "2,gsm8k,one,7,1,1,1"), "line 3: score 7 is above 1; --score-max"),
        ((HEADER, "2,gsm8k,one,1,-1,1,1"), "line 2: cost '-1' is not between 0 and infinity"),
        ((HEADER, "2,gsm8k,one,1,nan,1,1"), "line 2: cost 'nan' is not between 0 and infinity"),
        ((HEADER, "2,gsm8k,,1,1,1,1"), "line 2: no model"),
        ((HEADER, GOOD, "2,gsm8k"), "line 3: 2 fields, where the first line has at least 7"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    path = tmp_path / "outcomes.csv"
    path.write_text("\n".join(lines) + "\n" if lines else "", encoding="utf-8")

    with pytest.raises(Unreadable, match=said):
        read([path])


def test_a_line_is_counted_as_an_editor_does_also_after_texts_of_several(tmp_path: Path) -> None:
    path = written(tmp_path, f"{HEADER},prompt", f'{GOOD},"a\nb\nc"', "2,gsm8k,one,bad,1,1,1,x")

    with pytest.raises(Unreadable, match="line 5: score 'bad'"):
        read([path])


def test_a_file_that_was_cut_off_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n{GOOD}\n".encode())[:-12])

    with pytest.raises(Unreadable, match=r"outcomes\.csv\.gz"):
        read([path])
