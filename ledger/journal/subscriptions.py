"""Flat fees: a month's fee is shared by what was used under it in that month, by tokens."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, Final

from ledger.records import Subscription

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
EPOCH_DAY: Final = date(1970, 1, 1).toordinal()

Month = tuple[int, int]
"""The first hour of a month (UTC, since the epoch), and the first of the next."""


def months(first_hour: int, end_hour: int, /) -> Iterator[Month]:
    """The months that have an hour from ``first_hour`` to before ``end_hour``."""
    day = date.fromordinal(EPOCH_DAY + first_hour // 24).replace(day=1)
    while (start := (day.toordinal() - EPOCH_DAY) * 24) < end_hour:
        day = day.replace(year=day.year + day.month // 12, month=day.month % 12 + 1)
        yield start, (day.toordinal() - EPOCH_DAY) * 24


def fee_nusd(subscription: Subscription, month: Month, /) -> int:
    """What a subscription costs in a month: the part of its fee by the days that it holds."""
    first, end = month[0] // 24, month[1] // 24
    since = first if subscription.from_us is None else max(first, subscription.from_us // DAY_US)
    until = end if subscription.to_us is None else min(end, subscription.to_us // DAY_US)
    return subscription.month_nusd * max(until - since, 0) // (end - first)


def covers(subscription: Subscription, provider: str, model: str, /) -> bool:
    """Whether the use of a provider's model is under it."""
    patterns = subscription.models
    return provider == subscription.provider and (not patterns or any(fnmatchcase(model, it) for it in patterns))


class Shares:
    """Of every fee, what each group of a report used of it.  The shares of a month that is shown whole are the fee.

    A month in which nobody used a subscription leaves its fee with no group: ``unused`` has it.
    """

    def __init__(self) -> None:
        self.nusd: dict[Any, int] = {}
        self.unused: list[tuple[Subscription, Month, int]] = []

    def add(self, fee: int, used: Sequence[tuple[Any, int]], total: int) -> None:
        """Share a fee among groups by their tokens; ``total``: everybody's."""
        taken, tokens = 0, 0
        for group, own in used:
            # By the running sum, so that what is rounded off one share goes to the next.
            tokens += own
            share = fee * tokens // total - taken
            taken += share
            self.nusd[group] = self.nusd.get(group, 0) + share


def shares(
    connection: sqlite3.Connection,
    subscriptions: Sequence[Subscription],
    *,
    columns: str,
    name_of: Callable[[tuple[Any, ...]], Any],
    table: str = "rollups",
    first_hour: int,
    end_hour: int,
    key_id: str | None = None,
) -> Shares:
    """What the groups of a report used of the subscriptions in its hours.

    columns: what the report groups by; ``name_of`` makes a group's name of their values.  key_id: only this key's use is
    shown, everybody's is counted.
    """
    found = Shares()
    begun, last = connection.execute("SELECT min(hour), max(hour) FROM rollups").fetchone()
    if last is None:
        return found
    for month in months(max(first_hour, begun), min(end_hour, last + 1)):
        fees = [(it, fee) for it in subscriptions if (fee := fee_nusd(it, month))]
        if not fees:
            continue
        everybody = connection.execute(_TOKENS, month).fetchall()
        within = (max(month[0], first_hour), min(month[1], end_hour))
        shown = _shown(connection, columns, table, within, key_id)
        for subscription, fee in fees:
            total = sum(tokens for provider, model, tokens in everybody if covers(subscription, provider, model))
            if not total:
                found.unused.append((subscription, month, fee))
                continue
            under = [row for row in shown if covers(subscription, *row[-3:-1])]
            found.add(fee, [(name_of(row[:-3]), row[-1]) for row in under], total)
    return found


_TOKENS: Final = (
    "SELECT provider, model, sum(input_tokens + output_tokens) FROM rollups WHERE hour >= ? AND hour < ? GROUP BY 1, 2"
)


def _shown(
    connection: sqlite3.Connection, columns: str, table: str, within: Month, key_id: str | None
) -> list[tuple[Any, ...]]:
    mine = "" if key_id is None else "AND key_id = ?"
    sql = (
        f"SELECT {columns}, provider, model, sum(input_tokens + output_tokens) FROM {table} "  # noqa: S608  # our own names
        f"WHERE hour >= ? AND hour < ? {mine} GROUP BY {columns}, provider, model"
    )
    return connection.execute(sql, within if key_id is None else (*within, key_id)).fetchall()
