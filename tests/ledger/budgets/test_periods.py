"""The periods of budgets, held against the standard library's calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.budgets.periods import DAY_US, FOREVER_US, name_of, span_us
from ledger.records import BudgetPeriod

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
US = timedelta(microseconds=1)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  # given a zone by hypothesis


def us(moment: datetime) -> int:
    return (moment - EPOCH) // US


@given(MOMENTS)
def test_a_day_is_the_calendars(moment: datetime) -> None:
    start_us, end_us = span_us("day", us(moment))

    assert start_us == us(moment.replace(hour=0, minute=0, second=0, microsecond=0))
    assert end_us - start_us == DAY_US
    assert name_of("day", start_us) == moment.date().isoformat()


@given(MOMENTS)
def test_a_week_is_the_one_of_iso_8601(moment: datetime) -> None:
    start_us, end_us = span_us("week", us(moment))

    year, week, weekday = moment.isocalendar()
    assert start_us == us(moment.replace(hour=0, minute=0, second=0, microsecond=0)) - (weekday - 1) * DAY_US
    assert end_us - start_us == 7 * DAY_US
    assert name_of("week", start_us) == f"{year}-W{week:02d}"


@given(MOMENTS)
def test_a_month_is_the_calendars(moment: datetime) -> None:
    start_us, end_us = span_us("month", us(moment))

    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert start_us == us(first)
    assert end_us == us((first + timedelta(days=31)).replace(day=1))
    assert name_of("month", start_us) == f"{moment.year}-{moment.month:02d}"


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_a_period_ends_just_before_the_next_one_begins(period: BudgetPeriod) -> None:
    start_us, end_us = span_us(period, us(datetime(2028, 2, 29, 12, tzinfo=UTC)))

    assert span_us(period, end_us - 1) == (start_us, end_us)
    assert span_us(period, end_us)[0] == end_us


def test_all_of_time_is_one_period() -> None:
    assert [span_us("total", at_us) for at_us in (-5, 0, us(datetime(2026, 11, 22, tzinfo=UTC)))] == [(0, FOREVER_US)] * 3
    assert name_of("total", 0) == "total"


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_before_the_epoch_it_is_still_the_epochs_period(period: BudgetPeriod) -> None:
    assert span_us(period, -(10**15)) == span_us(period, 0)
