"""Usage: what was asked, answered and charged, by day, model or key."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Final, Literal

import msgspec

from ledger.errors import LedgerUnavailable
from ledger.journal.connection import connect_reader

By = Literal["day", "model", "key"]

DAY_US: Final = 86_400_000_000
EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
FOREVER_US: Final = 2**63 - 1

_GROUPS: Final[dict[By, str]] = {
    "day": f"at_us / {DAY_US}",
    # What was paid for; a request that was refused before it had an upstream goes by the name that the client used.
    "model": "CASE WHEN upstream_model = '' THEN model ELSE provider || '/' || upstream_model END",
    "key": "key_id",
}


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one day (UTC, ``2026-11-22``), one model (``provider/upstream model``) or one key (its id).

    label: the key's name, else empty.  failed: neither answered nor left by the client.  cached_tokens are part of
    input_tokens, reasoning_tokens of output_tokens.  cost_nusd: the sum of the known costs, ``None`` if none is known;
    unpriced: requests whose cost is unknown.  estimated: requests whose tokens were counted by us, not by the provider.
    """

    group: str
    label: str
    requests: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_nusd: int | None
    unpriced: int
    estimated: int


_NUMBERS: Final = UsageRow.__struct_fields__[2:]


def usage(source: sqlite3.Connection | Path | str, *, by: By, since_us: int = 0, until_us: int = FOREVER_US) -> list[UsageRow]:
    """Usage from ``since_us`` to before ``until_us``: days in order, models and keys by cost, dearest first.

    source: the ledger's file, which may be in use, or a connection to it.  Raises: LedgerUnavailable.
    """
    try:
        if isinstance(source, sqlite3.Connection):
            return _usage(source, by, since_us, until_us)
        with closing(connect_reader(Path(source))) as connection:
            return _usage(connection, by, since_us, until_us)
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"the ledger's file cannot be read: {error}") from error


def _usage(connection: sqlite3.Connection, by: By, since_us: int, until_us: int) -> list[UsageRow]:
    labels = dict(connection.execute("SELECT id, name FROM keys")) if by == "key" else {}
    sql = f"""
        SELECT {_GROUPS[by]}, count(*), sum(outcome NOT IN ('ok', 'client_closed')),
               sum(input_uncached + cache_read + cache_write + input_audio), sum(cache_read),
               sum(output_text + reasoning + output_audio), sum(reasoning),
               sum(cost_nusd), sum(cost_nusd IS NULL), sum(quality = 'estimated')
        FROM requests WHERE at_us >= ? AND at_us < ?
        GROUP BY 1 ORDER BY {"1" if by == "day" else "sum(cost_nusd) DESC NULLS LAST, count(*) DESC, 1"}
    """  # noqa: S608  # the two expressions come from this file
    rows = []
    for group, *numbers in connection.execute(sql, (since_us, until_us)):
        name = date.fromordinal(EPOCH_DAY + group).isoformat() if by == "day" else group
        rows.append(UsageRow(group=name, label=labels.get(group, ""), **dict(zip(_NUMBERS, numbers, strict=True))))
    return rows
