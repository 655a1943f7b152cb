"""Quantiles in bins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.live.histogram import ERROR, Histogram

NUMBERS = st.floats(min_value=1e-5, max_value=1e8)


def of(*numbers: float) -> Histogram:
    histogram = Histogram()
    for number in numbers:
        histogram.add(number)
    return histogram


def test_nothing_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None


@given(st.lists(NUMBERS, min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_near_a_number_that_was_seen(numbers: list[float], share: float) -> None:
    quantile = of(*numbers).quantile(share)

    true = sorted(numbers)[int(share * (len(numbers) - 1))]
    assert quantile == pytest.approx(true, rel=2 * ERROR)


@given(st.lists(NUMBERS, max_size=50), st.lists(NUMBERS, max_size=50))
def test_two_that_are_merged_are_one_that_saw_both(some: list[float], others: list[float]) -> None:
    merged = of(*some)
    merged.merge(of(*others))

    assert (merged.bins, merged.count) == (of(*some, *others).bins, len(some) + len(others))


@given(st.floats(allow_nan=False))
def test_whatever_is_counted_the_bins_are_bounded(number: float) -> None:
    assert -300 < min(of(number).bins) <= max(of(number).bins) < 450


@given(st.lists(NUMBERS, max_size=50))
def test_what_was_counted_can_be_written_down(numbers: list[float]) -> None:
    histogram = of(*numbers)

    assert Histogram(dict(histogram.bins)).count == histogram.count
