"""Every value of a stranger's payload is looked at before it is believed."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import SourceUnreadable
from ledger.payload import (
    PROBLEMS_MAX,
    RANGES,
    Problems,
    day,
    decode,
    effort,
    measured,
    moment_us,
    number,
    nusd,
    rows,
    text,
    texts,
    tokens,
    usd,
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"<!DOCTYPE html><title>502</title>", "web page"),
        (b"  <html>", "web page"),
        (b'{"data": [', "not JSON"),
        (b"", "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        ("[1e999]", "not JSON"),
    ],
)
def test_what_is_no_json_is_refused_in_a_sentence(payload: bytes | str, said: str) -> None:
    with pytest.raises(SourceUnreadable, match=said):
        decode(payload)


@given(ANYTHING)
def test_nothing_gets_through_that_is_not_of_its_kind(value: Any) -> None:
    assert isinstance(text(value), str)
    assert all(isinstance(item, str) for item in texts(value))
    assert isinstance(effort(value), str)
    assert isinstance(day(value), str)
    real = number(value)
    assert real is None or math.isfinite(real)
    whole = tokens(value)
    assert whole is None or whole > 0
    assert moment_us(value) is None or isinstance(moment_us(value), int)
    for unit, (low, high) in RANGES.items():
        found = measured(value, unit)
        assert found is None or low <= found <= high


@pytest.mark.parametrize(
    ("written", "nusd_per_mtok"),
    [
        ("0.0000025", 2_500_000_000),
        ("0.00000090000000000000005", 900_000_000),
        ("0.00000008333333333333334", 83_333_333),
        ("0.000000003625", 3_625_000),
        ("1e-7", 100_000_000),
        (1e-07, 100_000_000),
        (3e-06, 3_000_000_000),
    ],
)
def test_money_keeps_every_digit_that_its_author_wrote(written: str | float, nusd_per_mtok: int) -> None:
    amount = usd(written)

    assert amount is not None
    assert nusd(amount, 1_000_000) == nusd_per_mtok


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999999999", "0x10", "$2.50 / 1M tokens", "", "1" * 50, True, None, []])
def test_what_is_no_amount_is_none(value: Any) -> None:
    assert usd(value) is None


@given(st.decimals(0, 1000, places=12))
def test_a_written_amount_is_read_exactly(amount: Decimal) -> None:
    assert usd(f"{amount:f}") == amount


@pytest.mark.parametrize("value", [0, -5, 1.5, 1e30, "200000", True, None])
def test_a_number_of_tokens_is_positive_and_whole(value: Any) -> None:
    assert tokens(value) is None


def test_dates_are_read_with_and_without_a_zone() -> None:
    assert moment_us("2026-11-22") == moment_us("2026-11-22T00:00:00Z") == moment_us("2026-11-22T01:00:00+01:00")
    assert moment_us(1_759_161_676) == 1_759_161_676_000_000
    assert (day("2026-02-30"), day("2026-02-28T10:00:00Z")) == ("", "2026-02-28")


def test_problems_are_counted_when_there_are_too_many_to_keep() -> None:
    problems = Problems()
    for at in range(PROBLEMS_MAX + 7):
        problems.add(f"problem {at}")

    assert len(problems.told()) == PROBLEMS_MAX + 1
    assert problems.told()[-1] == "and 7 more"


def test_a_list_gives_its_objects_and_says_what_else_was_in_it() -> None:
    problems = Problems()

    found = list(rows([{"a": 1}, 3, {"b": 2}], problems, "data"))

    assert found == [{"a": 1}, {"b": 2}]
    assert problems.told() == ("data: entry 2 is no object",)
