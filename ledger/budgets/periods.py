"""The periods of budgets: half-open spans of UTC, in microseconds since the epoch."""

from __future__ import annotations

import calendar
from typing import Final

from ledger.records import BudgetPeriod

DAY_US: Final = 86_400_000_000
FOREVER_US: Final = 2**63 - 1
THURSDAY: Final = 3  # of a week that begins on Monday; 1970-01-01 was one
LEAP_CYCLE: Final = (400, 146_097)  # so many years have so many days

Span = tuple[int, int]


def span_us(period: BudgetPeriod, at_us: int, /) -> Span:
    """From when until just before when the period lasts that a moment is in.  What is before the epoch counts as it."""
    if period == "total":
        return 0, FOREVER_US
    day = max(at_us, 0) // DAY_US
    if period == "day":
        return day * DAY_US, (day + 1) * DAY_US
    if period == "week":
        monday = day - (day + THURSDAY) % 7
        return monday * DAY_US, (monday + 7) * DAY_US
    year, month = _month_of(day)
    first = _day(year, month)
    return first * DAY_US, (first + calendar.monthrange(year, month)[1]) * DAY_US


def name_of(period: BudgetPeriod, start_us: int, /) -> str:
    """What people call the period that begins then: ``2026-11-22``, ``2026-W47``, ``2026-11``, ``total``."""
    if period == "total":
        return "total"
    day = start_us // DAY_US
    if period == "week":
        # The year of an ISO week is that of its Thursday.
        thursday = day + THURSDAY
        year, _ = _month_of(thursday)
        return f"{year}-W{(thursday - _day(year, 1)) // 7 + 1:02d}"
    year, month = _month_of(day)
    return f"{year}-{month:02d}" if period == "month" else f"{year}-{month:02d}-{day - _day(year, month) + 1:02d}"


def _month_of(day: int) -> tuple[int, int]:
    """Year and month that a day is in."""
    years, days = LEAP_CYCLE
    year = 1970 + day * years // days
    # Near the turn of a year the average is one off, never more.
    year += (day >= _day(year + 1, 1)) - (day < _day(year, 1))
    month = 12
    while _day(year, month) > day:
        month -= 1
    return year, month


def _day(year: int, month: int) -> int:
    """The first day of a month, in days since the epoch."""
    return calendar.timegm((year, month, 1, 0, 0, 0)) // 86_400
