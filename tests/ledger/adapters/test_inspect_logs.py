"""Logs of Inspect: a finished run of a known benchmark with one scorer is one value."""

import json
from typing import Any

import pytest

from ledger.adapters.inspect_logs import parse
from ledger.errors import SourceUnreadable
from ledger.facts import Parsed
from tests.ledger.adapters.hostile import attack

AT_US = 1_795_000_000_000_000
LOG = {
    "version": 2,
    "status": "success",
    "eval": {
        "created": "2026-10-01T10:00:00+00:00",
        "task": "inspect_evals/gpqa_diamond",
        "task_version": "1-A",
        "dataset": {"name": "gpqa", "samples": 198},
        "model": "openai/gpt-5",
        "model_generate_config": {"reasoning_effort": "high"},
        "packages": {"inspect_ai": "0.3.150", "inspect_evals": "0.5.1"},
    },
    "results": {
        "total_samples": 198,
        "completed_samples": 198,
        "scores": [
            {
                "name": "choice",
                "scorer": "choice",
                "metrics": {"accuracy": {"name": "accuracy", "value": 0.854}, "stderr": {"name": "stderr", "value": 0.02}},
            }
        ],
    },
    "stats": {"started_at": "2026-10-01T10:00:01+00:00", "completed_at": "2026-10-01T10:30:00+00:00"},
}


def read(payload: Any) -> Parsed:
    return parse(json.dumps(payload), fetched_at_us=AT_US)


def changed(section: str, **fields: Any) -> dict[str, Any]:
    return LOG | {section: {**LOG[section], **fields}}  # type: ignore[dict-item]  # every section is an object


def test_a_log_is_one_value_with_its_model_effort_and_samples() -> None:
    (reading,) = read(LOG).readings

    assert (reading.metric, reading.value, reading.unit, reading.n) == ("gpqa_diamond", 0.854, "fraction", 198)
    assert (reading.subject.source_name, reading.subject.effort) == ("openai/gpt-5", "high")
    assert reading.source_version == "gpqa_diamond, version 1-A, inspect_evals 0.5.1"
    assert reading.observed_at_us == 1_790_850_600_000_000


def test_swe_bench_counts_only_on_the_verified_set() -> None:
    verified = changed("eval", task="swe_bench", dataset={"name": "princeton-nlp/SWE-bench_Verified"})
    lite = changed("eval", task="swe_bench", dataset={"name": "princeton-nlp/SWE-bench_Lite"})

    assert [it.metric for it in read(verified).readings] == ["swe_bench_verified"]
    assert read(lite).readings == ()


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (changed("eval", task="my_task"), "no metric of the catalogue"),
        (changed("results", scores=[]), "0 scorers"),
        (changed("results", scores=LOG["results"]["scores"] * 2), "2 scorers"),  # type: ignore[index]  # a literal
        (changed("results", scores=[{"metrics": {"f1": {"value": 0.5}}}]), "none of accuracy"),
        (changed("results", scores=[{"metrics": {"accuracy": {"value": 85.4}}}]), "no fraction"),
    ],
)
def test_what_is_no_value_of_a_benchmark_is_said(log: dict[str, Any], said: str) -> None:
    parsed = read(log)

    assert parsed.readings == ()
    assert said in parsed.problems[0]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"PK\x03\x04 a zip", "inspect log convert"),
        (json.dumps(LOG | {"status": "error"}), "did not end well"),
        (json.dumps({"results": {}}), "no log of Inspect"),
        (json.dumps(changed("eval", model="none/none")), "which model"),
    ],
)
def test_another_file_or_an_unfinished_run_is_refused(payload: bytes | str, said: str) -> None:
    with pytest.raises(SourceUnreadable, match=said):
        parse(payload, fetched_at_us=AT_US)


def test_no_broken_payload_becomes_a_wrong_value() -> None:
    assert attack(lambda payload: parse(payload, fetched_at_us=AT_US), LOG) > 100
