"""Datasets are told to be of a kind by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.routing.tasks import TaskTable, load

KNOWN = {
    "coding": ("humaneval", "mbpp", "LiveCodeBench_v5", "codeforces", "DS-1000", "scicode"),
    "math": ("gsm8k", "grade-school-math", "math-500", "MATH500", "aime_2025", "LiveMathBench", "finqa", "ASDiv"),
    "knowledge": (
        *("mmlu", "mmlu-abstract-algebra", "MMLU_Pro", "ArcMMLU", "arc-challenge", "arcc", "hellaswag", "winogrande"),
        *("truthfulqa", "triviaqa", "medqa", "SimpleQA", "QANTA", "PubMedQA", "ceval"),
    ),
    "reasoning": ("gpqa_diamond", "bbh", "BigBench-Hard", "hle", "KORBench", "MuSR", "arc-agi-2", "ChessInstruct"),
    "agentic": ("swe-bench-verified", "tau2", "tau-bench", "bfcl_v3", "terminal-bench"),
    "instruction": ("ifeval", "IFBench"),
    "long_context": ("longbench", "hotpotqa", "NarrativeQA", "ruler_32k"),
    "vision": ("mmmu", "MathVista", "chartqa"),
    "general": ("mt-bench", "mtbench-writing", "arena-hard", "drop", "squad"),
    "translation": ("WMT19-de-en",),
    "summarisation": ("xsum",),
}


@pytest.mark.parametrize(("task", "dataset"), [(task, name) for task, names in KNOWN.items() for name in names])
def test_the_name_of_a_dataset_tells_its_kind(task: str, dataset: str) -> None:
    assert TaskTable().of(dataset) == (task, True)


def test_a_name_that_tells_nothing_is_general_and_says_so() -> None:
    assert TaskTable().of("set-17") == ("general", False)


def test_a_file_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text('{"set-17": "coding", "mmlu": "reasoning"}')

    table = load(path)

    assert [table.of(name) for name in ("set-17", "mmlu", "mmlu-pro")] == [
        ("coding", True),
        ("reasoning", True),
        ("knowledge", True),
    ]


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(LookupError, match="set-17: there is no task 'poetry'; there are: general, coding"):
        TaskTable({"set-17": "poetry"})


def test_a_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text("[1]")

    with pytest.raises(ValueError, match="it has to be an object of datasets and tasks"):
        load(path)
