"""Usage: what was asked, answered and charged, by period, model, provider or key.  Reads the rollups, never the requests."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from ledger.errors import LedgerUnavailable
from ledger.journal.connection import connect_reader
from ledger.records import By, UsageRow

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
FOREVER_US: Final = 2**63 - 1

# What is named, and what is grouped by: plain columns, since an expression would be computed for every row.
_GROUPS: Final[dict[By, tuple[str, str]]] = {
    **dict.fromkeys(("day", "week", "month"), ("hour", "hour")),
    # What was paid for; a request that was refused before it had an upstream goes by the name that the client used.
    "model": ("CASE WHEN provider = '' THEN model ELSE provider || '/' || model END", "provider, model"),
    "provider": ("provider", "provider"),
    "key": ("key_id", "key_id"),
}
_PERIODS: Final = frozenset(("day", "week", "month"))


class HourRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one key spent on one model in one hour (since the epoch)."""

    hour: int
    key_id: str
    key_name: str
    provider: str
    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost_nusd: int


def usage(
    source: sqlite3.Connection | Path | str,
    *,
    by: By,
    since_us: int = 0,
    until_us: int = FOREVER_US,
    key_id: str | None = None,
) -> list[UsageRow]:
    """Usage from the hour of ``since_us`` to before that of ``until_us``: periods in order, others by cost, dearest first.

    source: the ledger's file, which may be in use, or a connection to it.  key_id: of this key alone.
    Raises: LedgerUnavailable.
    """
    condition = "hour >= ? AND hour < ?"
    values: tuple[int | str, ...] = (since_us // HOUR_US, until_us // HOUR_US)
    if key_id is not None:
        condition, values = f"{condition} AND key_id = ?", (*values, key_id)
    name, columns = _GROUPS[by]
    sql = f"""
        SELECT {name}, sum(requests), sum(CASE WHEN outcome IN ('ok', 'client_closed') THEN 0 ELSE requests END),
               sum(input_tokens), sum(cached_tokens), sum(output_tokens), sum(reasoning_tokens),
               sum(cost_nusd + adjusted_nusd), sum(unpriced), sum(estimated), sum(held)
        FROM rollups WHERE {condition} GROUP BY {columns}
    """  # noqa: S608  # the expressions come from this file
    found, labels = _read(source, sql, values, labels=by == "key")
    if by in _PERIODS:
        return sorted(_summed(found, lambda hour: _period(hour, by)), key=lambda row: row.group)
    rows = _summed(found, str, labels)
    return sorted(rows, key=lambda row: (row.cost_nusd is None, -(row.cost_nusd or 0), -row.requests, row.group))


def hours(source: sqlite3.Connection | Path | str, *, since_us: int = 0, until_us: int = FOREVER_US) -> list[HourRow]:
    """What was charged, hour by hour, for other programs to sum.  Raises: LedgerUnavailable."""
    sql = """
        SELECT hour, key_id, provider, model, sum(requests), sum(input_tokens), sum(output_tokens),
               sum(cost_nusd + adjusted_nusd)
        FROM rollups WHERE hour >= ? AND hour < ? AND provider != '' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    """
    found, labels = _read(source, sql, (since_us // HOUR_US, until_us // HOUR_US), labels=True)
    names = ("hour", "key_id", "provider", "model", "requests", "input_tokens", "output_tokens", "cost_nusd")
    return [HourRow(key_name=labels.get(row[1], ""), **dict(zip(names, row, strict=True))) for row in found]


def spent_by_account(source: Path | str, *, since_us: int) -> dict[tuple[str, str], int]:
    """What each account, by provider and name, was charged from a moment on, in nano-USD.  Raises: LedgerUnavailable.

    Reads backwards from the newest entry, as far as it has to.
    """
    spent: dict[tuple[str, str], int] = {}
    sql = """
        SELECT s.at_us, r.provider, r.account, s.cost_nusd FROM entries AS s
        JOIN entries AS r ON r.request_id = s.request_id AND r.attempt = s.attempt AND r.kind = 'RESERVE'
        WHERE s.kind IN ('SETTLE', 'ADJUST') ORDER BY s.id DESC
    """
    try:
        with closing(connect_reader(Path(source))) as connection:
            for at_us, provider, account, cost_nusd in connection.execute(sql):
                # Entries are written in the order of their moments, but for those of one group.
                if at_us < since_us - HOUR_US:
                    break
                if at_us >= since_us and cost_nusd is not None:
                    spent[provider, account] = spent.get((provider, account), 0) + cost_nusd
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"the ledger's file cannot be read: {error}") from error
    return spent


Found = list[tuple[Any, ...]]


def _read(
    source: sqlite3.Connection | Path | str, sql: str, values: tuple[int | str, ...], *, labels: bool
) -> tuple[Found, dict[str, str]]:
    """The rows, and the names of the keys where they are asked for."""
    try:
        if isinstance(source, sqlite3.Connection):
            names = dict(source.execute("SELECT id, name FROM keys")) if labels else {}
            return source.execute(sql, values).fetchall(), names
        with closing(connect_reader(Path(source))) as connection:
            return _read(connection, sql, values, labels=labels)
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"the ledger's file cannot be read: {error}") from error


def _summed(found: Found, name_of: Callable[[Any], str], labels: dict[str, str] | None = None) -> list[UsageRow]:
    """A row for each name; several that were found may have the same one."""
    sums: dict[str, list[int]] = {}
    for group, *numbers in found:
        name = name_of(group)
        sums[name] = [a + b for a, b in zip(sums[name], numbers, strict=True)] if name in sums else numbers
    return [_row(name, (labels or {}).get(name, ""), numbers) for name, numbers in sums.items()]


def _period(hour: int, by: By) -> str:
    day = date.fromordinal(EPOCH_DAY + hour // 24)
    if by == "month":
        return day.isoformat()[:7]
    if by == "week":
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02d}"
    return day.isoformat()


def _row(group: str, label: str, numbers: list[int]) -> UsageRow:
    requests, failed, input_tokens, cached, output_tokens, reasoning, cost_nusd, unpriced, estimated, held = numbers
    return UsageRow(
        group=group,
        label=label,
        requests=requests,
        failed=failed,
        input_tokens=input_tokens,
        cached_tokens=cached,
        output_tokens=output_tokens,
        reasoning_tokens=reasoning,
        cost_nusd=None if unpriced == requests and not cost_nusd else cost_nusd,
        unpriced=unpriced,
        estimated=estimated,
        held=held,
    )


def month_of(hour: int, /) -> tuple[date, date]:
    """The first day of the month that an hour is in, and that of the next."""
    first = date.fromordinal(EPOCH_DAY + hour // 24).replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)
