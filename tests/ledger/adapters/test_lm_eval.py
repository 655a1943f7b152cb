"""Results of lm-evaluation-harness: which tasks count, by which of their measures, and for which model."""

import json
from typing import Any

import pytest

from ledger.adapters.lm_eval import parse
from ledger.errors import SourceUnreadable
from ledger.facts import Parsed
from tests.ledger.adapters.hostile import attack

AT_US = 1_795_000_000_000_000
RESULTS = {
    "results": {
        "mmlu_pro": {"alias": "mmlu_pro", "exact_match,custom-extract": 0.781, "exact_match_stderr,custom-extract": 0.003},
        "gpqa_diamond_cot_zeroshot": {"exact_match,flexible-extract": 0.61, "exact_match,strict-match": 0.2},
        "hellaswag": {"acc,none": 0.6},
    },
    "configs": {"mmlu_pro": {}},
    "versions": {"mmlu_pro": 2.0},
    "n-shot": {"mmlu_pro": 5, "gpqa_diamond_cot_zeroshot": 0},
    "n-samples": {"mmlu_pro": {"original": 12032, "effective": 12000}},
    "config": {"model": "local-chat-completions", "model_args": "base_url=http://127.0.0.1:1/v1,model=llama-3.3-70b,seed=1"},
    "date": 1_794_000_000.5,
    "model_name": "local-chat-completions",
}


def read(payload: Any) -> Parsed:
    return parse(json.dumps(payload), fetched_at_us=AT_US)


def test_known_tasks_become_metrics_and_the_others_are_named() -> None:
    parsed = read(RESULTS)

    assert [(it.metric, it.value, it.unit, it.n, it.source_version) for it in parsed.readings] == [
        ("mmlu_pro", 0.781, "fraction", 12_000, "mmlu_pro, version 2.0, 5-shot, exact_match,custom-extract"),
        ("gpqa_diamond", 0.61, "fraction", None, "gpqa_diamond_cot_zeroshot, 0-shot, exact_match,flexible-extract"),
    ]
    assert parsed.problems == ("results.hellaswag: no metric of the catalogue is this task",)
    assert {it.observed_at_us for it in parsed.readings} == {1_794_000_000_500_000}


@pytest.mark.parametrize(
    ("arguments", "model"),
    [
        ("pretrained=meta-llama/Llama-3.3-70B,dtype=auto", "meta-llama/Llama-3.3-70B"),
        ({"pretrained": "org/name"}, "org/name"),
        ({"model": "gpt-5"}, "gpt-5"),
        ("", "local-chat-completions"),
    ],
)
def test_the_model_is_the_one_that_its_adapter_was_asked_for(arguments: object, model: str) -> None:
    parsed = read(RESULTS | {"config": {"model_args": arguments}})

    assert {it.subject.source_name for it in parsed.readings} == {model}


def test_a_percentage_is_no_fraction() -> None:
    parsed = read(RESULTS | {"results": {"mmlu_pro": {"exact_match,custom-extract": 78.1}}})

    assert parsed.readings == ()
    assert "there is no fraction" in parsed.problems[0]


def test_of_two_tasks_of_one_metric_the_first_counts() -> None:
    results = {"gpqa_diamond_zeroshot": {"acc,none": 0.5}, "gpqa_diamond_n_shot": {"acc,none": 0.6}}

    parsed = read(RESULTS | {"results": results})

    assert [it.value for it in parsed.readings] == [0.5]
    assert len(parsed.problems) == 1


@pytest.mark.parametrize("missing", ["results", "configs"])
def test_another_file_is_refused(missing: str) -> None:
    with pytest.raises(SourceUnreadable, match="no results of lm-evaluation-harness"):
        read({key: value for key, value in RESULTS.items() if key != missing})


def test_no_broken_payload_becomes_a_wrong_value() -> None:
    assert attack(lambda payload: parse(payload, fetched_at_us=AT_US), RESULTS) > 100
