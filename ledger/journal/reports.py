"""Usage: what was asked, answered and charged, by period, model, provider or key.  Reads the rollups, never the requests."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from ledger.errors import LedgerUnavailable
from ledger.journal.connection import connect_reader
from ledger.journal.subscriptions import DAY_US, EPOCH_DAY, HOUR_US, Month, Shares, fee_nusd, months, shares
from ledger.records import By, Spent, Subscription, UsageRow

FOREVER_US: Final = 2**63 - 1

# What is named, and what is grouped by: plain columns, since an expression would be computed for every row.
_GROUPS: Final[dict[By, tuple[str, str]]] = {
    **dict.fromkeys(("day", "week", "month"), ("hour", "hour")),
    # What was paid for; a request that was refused before it had an upstream goes by the name that the client used.
    "model": ("CASE WHEN provider = '' THEN model ELSE provider || '/' || model END", "provider, model"),
    "provider": ("provider", "provider"),
    "key": ("key_id", "key_id"),
    "user": ("user", "user"),
    "team": ("team", "team"),
    "tag": ("tag", "tag"),
}
_PERIODS: Final = frozenset(("day", "week", "month"))


class HourRow(msgspec.Struct, frozen=True):
    """What one key spent on one model in one hour (since the epoch), and its share of the subscriptions' fees."""

    key_name: str
    subscription_nusd: int
    hour: int
    key_id: str
    user: str
    team: str
    provider: str
    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost_nusd: int


class FeeRow(msgspec.Struct, frozen=True):
    """What a subscription cost in one month (its first hour, and that of the next).  used: whether anybody used it."""

    subscription: Subscription
    month: Month
    fee_nusd: int
    used: bool


def usage(
    source: sqlite3.Connection | Path | str,
    *,
    by: By,
    since_us: int = 0,
    until_us: int = FOREVER_US,
    key_id: str | None = None,
    subscriptions: Sequence[Subscription] = (),
) -> list[UsageRow]:
    """Usage from the hour of ``since_us`` to before that of ``until_us``: periods in order, others by cost, dearest first.

    source: the ledger's file, which may be in use, or a connection to it.  key_id: of this key alone.
    subscriptions: whose fees are shared; one that nobody used in a month leaves a row ``(unused)``, where all keys' usage
    is asked for.
    Raises: LedgerUnavailable.
    """
    if not isinstance(source, sqlite3.Connection):
        with _opened(source) as connection:
            return usage(connection, by=by, since_us=since_us, until_us=until_us, key_id=key_id, subscriptions=subscriptions)
    condition = "hour >= ? AND hour < ?"
    values: tuple[int | str, ...] = (since_us // HOUR_US, until_us // HOUR_US)
    if key_id is not None:
        condition, values = f"{condition} AND key_id = ?", (*values, key_id)
    name, columns = _GROUPS[by]
    table = "rollup_tags" if by == "tag" else "rollups"
    sql = f"""
        SELECT {name}, sum(requests), sum(CASE WHEN outcome IN ('ok', 'client_closed') THEN 0 ELSE requests END),
               sum(input_tokens), sum(cached_tokens), sum(output_tokens), sum(reasoning_tokens),
               sum(cost_nusd + adjusted_nusd), sum(unpriced), sum(estimated), sum(held), sum(cached_requests),
               sum(saved_nusd)
        FROM {table} WHERE {condition} GROUP BY {columns}
    """  # noqa: S608  # the expressions come from this file
    with _reading():
        found = source.execute(sql, values).fetchall()
        labels = _labels(source) if by == "key" else {}
        shared = _shares(source, by, table, values, key_id, subscriptions) if subscriptions else Shares()
    name_of = _namer(by)
    rows = _summed(found, name_of, labels, shared.nusd)
    if key_id is None and (unused := sum(fee for _, _, fee in shared.unused)):
        rows.append(_row("(unused)", "", [0] * 12, unused))
    if by in _PERIODS:
        return sorted(rows, key=lambda row: (row.requests == 0, row.group))
    return sorted(rows, key=lambda row: (row.cost_nusd is None, -(row.cost_nusd or 0), -row.requests, row.group))


def hours(
    source: sqlite3.Connection | Path | str,
    *,
    since_us: int = 0,
    until_us: int = FOREVER_US,
    subscriptions: Sequence[Subscription] = (),
) -> list[HourRow]:
    """What was charged, hour by hour, for other programs to sum.  Raises: LedgerUnavailable."""
    if not isinstance(source, sqlite3.Connection):
        with _opened(source) as connection:
            return hours(connection, since_us=since_us, until_us=until_us, subscriptions=subscriptions)
    within = (since_us // HOUR_US, until_us // HOUR_US)
    with _reading():
        # In the order of the rollups' key, so that nothing has to be sorted.
        found = source.execute(_HOURS, within).fetchall()
        labels = _labels(source)
        shared = Shares()
        if subscriptions:
            shared = shares(
                source,
                subscriptions,
                columns="hour, key_id, user, team, provider, model",
                name_of=tuple,
                first_hour=within[0],
                end_hour=within[1],
            )
    return [HourRow(labels.get(row[1], ""), shared.nusd.get(row[:6], 0), *row) for row in found]


def fees(
    source: sqlite3.Connection | Path | str,
    subscriptions: Sequence[Subscription],
    *,
    since_us: int = 0,
    until_us: int = FOREVER_US,
) -> list[FeeRow]:
    """What the subscriptions cost in the months of a report that has any usage.  Raises: LedgerUnavailable."""
    if not isinstance(source, sqlite3.Connection):
        with _opened(source) as connection:
            return fees(connection, subscriptions, since_us=since_us, until_us=until_us)
    within = (since_us // HOUR_US, until_us // HOUR_US)
    with _reading():
        (begun, last) = source.execute("SELECT min(hour), max(hour) FROM rollups").fetchone()
        if last is None:
            return []
        unused = _shares(source, "provider", "rollups", within, None, subscriptions).unused
    return [
        FeeRow(it, month, fee, (it, month, fee) not in unused)
        for month in months(max(within[0], begun), min(within[1], last + 1))
        for it in subscriptions
        if (fee := fee_nusd(it, month))
    ]


_HOURS: Final = """
SELECT hour, key_id, user, team, provider, model, sum(requests), sum(input_tokens), sum(output_tokens),
       sum(cost_nusd + adjusted_nusd)
FROM rollups WHERE hour >= ? AND hour < ? AND provider != '' GROUP BY hour, key_id, user, team, provider, model
"""


def spent(connection: sqlite3.Connection, /, *, since_us: int) -> list[Spent]:
    """What each key's requests came to in each day from that of ``since_us`` on, as far as they were sent to a provider.

    Raises: LedgerUnavailable.
    """
    with _reading():
        found = connection.execute(_SPENT, (since_us // DAY_US * 24,)).fetchall()
    names = ("day", "key_id", "user", "team", "cost_nusd", "tokens", "requests")
    return [Spent(**dict(zip(names, row, strict=True))) for row in found]


_SPENT: Final = """
SELECT hour / 24, key_id, user, team, sum(cost_nusd + adjusted_nusd), sum(input_tokens + output_tokens), sum(requests)
FROM rollups WHERE hour >= ? AND provider != '' GROUP BY 1, 2, 3, 4
"""


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


@contextmanager
def _opened(source: Path | str) -> Iterator[sqlite3.Connection]:
    with _reading():
        connection = connect_reader(Path(source))
    with closing(connection):
        yield connection


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"the ledger's file cannot be read: {error}") from error


def _labels(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT id, name FROM keys"))


def _shares(
    connection: sqlite3.Connection,
    by: By,
    table: str,
    values: Sequence[int | str],
    key_id: str | None,
    subscriptions: Sequence[Subscription],
) -> Shares:
    name_of = _namer(by)
    _, columns = _GROUPS[by]
    return shares(
        connection,
        subscriptions,
        columns="provider, model" if by == "model" else columns,
        # Only what had a provider has a share.
        name_of="/".join if by == "model" else lambda group: name_of(group[0]),
        table=table,
        first_hour=int(values[0]),
        end_hour=int(values[1]),
        key_id=key_id,
    )


def _namer(by: By) -> Callable[[Any], str]:
    return (lambda hour: _period(hour, by)) if by in _PERIODS else str


def _summed(found: Found, name_of: Callable[[Any], str], labels: dict[str, str], shared: Mapping[str, int]) -> list[UsageRow]:
    """A row for each name; several that were found may have the same one."""
    sums: dict[str, list[int]] = {}
    for group, *numbers in found:
        name = name_of(group)
        sums[name] = [a + b for a, b in zip(sums[name], numbers, strict=True)] if name in sums else numbers
    return [_row(name, labels.get(name, ""), numbers, shared.get(name, 0)) for name, numbers in sums.items()]


def _period(hour: int, by: By) -> str:
    day = date.fromordinal(EPOCH_DAY + hour // 24)
    if by == "month":
        return day.isoformat()[:7]
    if by == "week":
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02d}"
    return day.isoformat()


def _row(group: str, label: str, numbers: list[int], subscription_nusd: int) -> UsageRow:
    requests, failed, input_tokens, cached, output_tokens, reasoning, cost_nusd, unpriced, *rest = numbers
    estimated, held, cached_requests, saved_nusd = rest
    tokens = input_tokens + output_tokens
    known = cost_nusd or subscription_nusd or unpriced < requests
    return UsageRow(
        group=group,
        label=label,
        requests=requests,
        failed=failed,
        input_tokens=input_tokens,
        cached_tokens=cached,
        output_tokens=output_tokens,
        reasoning_tokens=reasoning,
        cost_nusd=None if unpriced == requests and requests and not cost_nusd else cost_nusd,
        unpriced=unpriced,
        estimated=estimated,
        held=held,
        cached_requests=cached_requests,
        saved_nusd=saved_nusd,
        subscription_nusd=subscription_nusd,
        nusd_per_mtok=(cost_nusd + subscription_nusd) * 1_000_000 // tokens if tokens and known else None,
    )


def month_of(hour: int, /) -> tuple[date, date]:
    """The first day of the month that an hour is in, and that of the next."""
    first = date.fromordinal(EPOCH_DAY + hour // 24).replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)
