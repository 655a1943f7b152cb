"""What the operator says counts, for as long as they said, and only with a name and a reason."""

import pytest
import yaml

from ledger.adapters.overrides import parse
from ledger.errors import SourceUnreadable
from ledger.facts import Parsed

AT_US = 1_763_769_600_000_000  # 2025-11-22
ROW = {
    "model": "openai/gpt-5",
    "effort": "high",
    "metric": "swe_bench_verified",
    "value": 0.71,
    "unit": "fraction",
    "who": "dana@example.com",
    "why": "our own run",
    "expires": "2026-05-01",
}


def read(*rows: object) -> Parsed:
    return parse(yaml.safe_dump(list(rows)), fetched_at_us=AT_US)


def test_an_override_is_a_reading_that_says_who_and_why() -> None:
    (reading,) = read(ROW).readings

    assert (reading.source, reading.source_version) == ("override", "dana@example.com: our own run")
    assert (reading.subject.source_name, reading.subject.effort) == ("openai/gpt-5", "high")
    assert (reading.value, reading.unit, reading.confidence) == (0.71, "fraction", 1.0)


def test_a_day_may_be_written_without_quotes() -> None:
    text = yaml.safe_dump([ROW]).replace("'2026-05-01'", "2026-05-01")

    assert len(parse(text, fetched_at_us=AT_US).readings) == 1


def test_an_expired_override_is_ignored_and_said() -> None:
    parsed = read(ROW | {"expires": "2025-11-22"}, ROW | {"expires": "2025-11-23"})

    assert len(parsed.readings) == 1
    assert parsed.problems == ("override 1: expired on 2025-11-22 (openai/gpt-5, swe_bench_verified); ignored",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"who": ""}, "does not say who"),
        ({"why": None, "expires": None}, "does not say why, expires"),
        ({"value": "0.7"}, "no number"),
        ({"value": float("nan")}, "no number"),
        ({"value": True}, "no number"),
        ({"expires": "soon"}, "no day"),
        ({"effort": "as much as it takes!"}, "no word"),
        ({"valeu": 1}, "no field valeu"),
    ],
)
def test_what_lacks_something_is_refused_with_its_place(change: dict[str, object], said: str) -> None:
    parsed = read(ROW | change)

    assert parsed.readings == ()
    assert said in parsed.problems[0]
    assert parsed.problems[0].startswith("override 1: ")


def test_of_two_values_the_first_counts() -> None:
    parsed = read(ROW, ROW | {"value": 0.9})

    assert [it.value for it in parsed.readings] == [0.71]
    assert "two values" in parsed.problems[0]


def test_an_empty_file_overrides_nothing() -> None:
    assert parse(b"", fetched_at_us=AT_US) == Parsed()


@pytest.mark.parametrize(
    "text", ["a: [", "just words", "{}", "- &a [*a", "!!python/object/apply:os.getcwd []", "x" * 2_000_000]
)
def test_what_is_no_list_is_unreadable(text: str) -> None:
    with pytest.raises(SourceUnreadable):
        parse(text, fetched_at_us=AT_US)
