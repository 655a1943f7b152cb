"""Harness results: the envelope that is documented, what is refused of it and why, and heliosHarness' own evidence."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ledger.adapters.helios import parse
from ledger.errors import SourceUnreadable
from ledger.facts import Parsed, Reading
from tests.ledger.adapters.hostile import attack

SCHEMA = json.loads((Path(__file__).parents[3] / "ledger" / "data" / "benchmarks.schema.json").read_bytes())
AT_US = 1_795_000_000_000_000
RESULT = {
    "model": "openai/gpt-5",
    "effort": "high",
    "metric": "swe_bench_verified",
    "value": 0.71,
    "unit": "fraction",
    "n": 500,
}
ENVELOPE = {
    "schema": "tollway.benchmarks/1",
    "harness": {"name": "helios", "version": "1.4.0", "run_id": "run_1", "repo": "example/repo", "commit": "abc"},
    "observed_at": "2026-11-01T12:00:00Z",
    "results": [RESULT, {"model": "my/model", "metric": "task_completion_rate", "passed": 41, "n": 50}],
}
EVIDENCE = {
    "schema_version": "1.0.0",
    "run_id": "run_x",
    "subject": {"repo": "r", "commit": "c", "harness": "helios-harness", "runtime": "python", "model": "gpt-5.4"},
    "task_manifest": {"judge": {"name": "helios-harness", "version": "0.1.0"}},
    "runs": [
        {"status": "passed", "returncode": 0, "duration_ms": 12},
        {"status": "failed", "returncode": 1, "duration_ms": 9},
        {"status": "timeout", "returncode": None, "duration_ms": 1000},
        {"status": "passed", "returncode": 0, "duration_ms": 7},
    ],
    "provenance": {"collector": "helios-harness", "collected_at": "2026-11-01T12:00:00+00:00"},
}


def bounds(reading: Reading) -> str | None:
    """As the catalogue looks at a reading: two metrics, in fractions."""
    if reading.metric not in ("swe_bench_verified", "task_completion_rate"):
        return f"there is no metric {reading.metric!r}"
    if reading.unit != "fraction":
        return f"{reading.metric} is in fraction, not in {reading.unit!r}"
    return None if 0 <= reading.value <= 1 else f"{reading.value} is out of bounds"


def read(payload: Any) -> Parsed:
    return parse(json.dumps(payload), fetched_at_us=AT_US, check=bounds)


def test_an_envelope_becomes_readings_with_their_harness() -> None:
    parsed = read(ENVELOPE)

    found = [(it.source, it.source_version, it.subject.source_name, it.metric, it.value, it.n) for it in parsed.readings]
    assert found == [
        ("harness:helios", "1.4.0", "openai/gpt-5", "swe_bench_verified", 0.71, 500),
        ("harness:helios", "1.4.0", "my/model", "task_completion_rate", 0.82, 50),
    ]
    assert parsed.readings[0].observed_at_us == 1_793_534_400_000_000
    assert parsed.problems == ()


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (RESULT | {"metric": "vibes"}, "there is no metric 'vibes'"),
        (RESULT | {"unit": "percent"}, "is in fraction, not in 'percent'"),
        (RESULT | {"value": 71}, "71.0 is out of bounds"),
        (RESULT | {"value": "0.71"}, "'value' is no number"),
        (RESULT | {"n": 0}, "'n' is no positive whole number"),
        (RESULT | {"confidence": 2}, "'confidence' is no number from 0 to 1"),
        (RESULT | {"passed": 3}, "'passed' is a whole number"),
        (RESULT | {"modle": "x"}, "there is no field 'modle'"),
        (RESULT | {"effort": "very high"}, "'effort' is no word"),
        ({"model": "m", "metric": "task_completion_rate", "passed": 51, "n": 50}, "'passed' is a whole number"),
        ({"metric": "task_completion_rate", "passed": 1, "n": 50}, "it needs 'model' and 'metric'"),
        ("nothing", "it is no object"),
    ],
)
def test_a_wrong_result_is_refused_with_its_place_and_the_others_count(result: Any, said: str) -> None:
    parsed = read(ENVELOPE | {"results": [result, ENVELOPE["results"][1]]})

    assert [it.subject.source_name for it in parsed.readings] == ["my/model"]
    assert len(parsed.problems) == 1
    assert parsed.problems[0].startswith("results[0]: ")
    assert said in parsed.problems[0]


def test_the_same_model_and_metric_twice_counts_once() -> None:
    parsed = read(ENVELOPE | {"results": [RESULT, RESULT | {"value": 0.1}]})

    assert [it.value for it in parsed.readings] == [0.71]
    assert parsed.problems[0].startswith("results[1]: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "tollway.benchmarks/2"}, "schema"),
        ({"observed_at": "yesterday"}, "observed_at"),
        ({"observed_at": "2199-01-01T00:00:00Z"}, "yet to come"),
        ({"harness": {}}, "harness"),
        ({"harness": {"name": "a b"}}, "harness"),
        ({"harness": {"name": "a", "colour": "red"}}, "harness"),
        ({"results": []}, "results"),
        ({"results": None}, "results"),
        ({"results": [RESULT] * 10_001}, "several envelopes"),
        ({"extra": 1}, "'extra'"),
    ],
)
def test_a_wrong_envelope_is_refused_as_a_whole(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SourceUnreadable, match=said):
        read(ENVELOPE | change)


def test_the_evidence_of_helios_harness_is_one_rate() -> None:
    (reading,) = read(EVIDENCE).readings

    assert (reading.source, reading.subject.source_name) == ("harness:helios-harness", "gpt-5.4")
    assert (reading.metric, reading.value, reading.n) == ("task_completion_rate", 0.5, 4)


def test_evidence_about_no_model_in_particular_is_refused() -> None:
    with pytest.raises(SourceUnreadable, match="which model"):
        read(EVIDENCE | {"subject": {**EVIDENCE["subject"], "model": "unknown"}})  # type: ignore[dict-item]  # a literal


@pytest.mark.parametrize("envelope", [ENVELOPE, ENVELOPE | {"harness": {"name": "x"}}])
def test_what_is_read_keeps_to_the_schema(envelope: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    jsonschema.validate(envelope, SCHEMA)

    assert read(envelope).problems == ()


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "other"},
        {"harness": {}},
        {"results": []},
        {"extra": 1},
        {"results": [RESULT | {"modle": 1}]},
        {"results": [RESULT | {"passed": 3}]},
        {"results": [{"model": "m", "metric": "x", "value": 1}]},
    ],
)
def test_what_the_schema_refuses_is_refused(change: dict[str, Any]) -> None:
    envelope = ENVELOPE | change

    assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(envelope))
    try:
        parsed = read(envelope)
    except SourceUnreadable:
        return
    assert parsed.problems


def test_no_broken_payload_becomes_a_wrong_value() -> None:
    assert attack(lambda payload: parse(payload, fetched_at_us=AT_US, check=bounds), ENVELOPE) > 50
    assert attack(lambda payload: parse(payload, fetched_at_us=AT_US, check=bounds), EVIDENCE) > 50
