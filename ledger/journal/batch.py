"""What one transaction appends: entries sorted by kind, and the few statements that write them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from ledger.errors import EntryRefused
from ledger.journal.entries import (
    Value,
    append_entries,
    append_requests,
    request_row,
    reserve_row,
    settle_row,
    void_row,
)
from ledger.ports import Entry
from ledger.records import RequestRecord, Reservation, Settlement, Void

# Rows of one kind in one statement: at most 64 x (11 + 14) variables, of the 32,766 that SQLite allows.
ROWS_LIMIT = 64

Row = tuple[Value, ...]
Statement = tuple[str, list[Value]]


class Batch:
    """Entries that are written together, all or none.

    Raises: EntryRefused, for something that is no entry.
    """

    __slots__ = ("requests", "reserves", "settles", "voids")

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.reserves: list[Row] = []
        self.settles: list[Row] = []
        self.voids: list[Row] = []
        self.requests: list[Row] = []
        for entry in entries:
            kind = type(entry)
            if kind is Reservation:
                self.reserves.append(reserve_row(entry))  # type: ignore[arg-type]  # mypy does not narrow by `type() is`
            elif kind is Settlement:
                self.settles.append(settle_row(entry))  # type: ignore[arg-type]  # as above
            elif kind is RequestRecord:
                self.requests.append(request_row(entry))  # type: ignore[arg-type]  # as above
            elif kind is Void:
                self.voids.append(void_row(entry))  # type: ignore[arg-type]  # as above
            else:
                raise EntryRefused(f"{kind.__name__} is no journal entry")

    def __len__(self) -> int:
        return len(self.reserves) + len(self.settles) + len(self.voids) + len(self.requests)

    def statements(self) -> list[Statement]:
        """The statements, with their values, that append all rows.  Reservations come before what ends them."""
        statements: list[Statement] = []
        reserves, settles = 0, 0
        while reserves < len(self.reserves) or settles < len(self.settles):
            r, s = _power(len(self.reserves) - reserves), _power(len(self.settles) - settles)
            values = _flat(self.reserves, reserves, r)
            values += _flat(self.settles, settles, s)
            statements.append((append_entries(r, s, 0), values))
            reserves, settles = reserves + r, settles + s
        voids = 0
        while voids < len(self.voids):
            v = _power(len(self.voids) - voids)
            statements.append((append_entries(0, 0, v), _flat(self.voids, voids, v)))
            voids += v
        requests = 0
        while requests < len(self.requests):
            q = _power(len(self.requests) - requests)
            statements.append((append_requests(q), _flat(self.requests, requests, q)))
            requests += q
        return statements


def append(connection: sqlite3.Connection, statements: Iterable[Statement], /) -> None:
    """Execute them; the caller has opened the transaction."""
    for text, values in statements:
        connection.execute(text, values)


def _power(count: int) -> int:
    """The largest power of two within ``count`` and ROWS_LIMIT, 0 for 0: few different statements, all prepared."""
    return min(ROWS_LIMIT, 1 << (count.bit_length() - 1)) if count else 0


def _flat(rows: list[Row], start: int, count: int) -> list[Value]:
    values: list[Value] = []
    for row in rows[start : start + count]:
        values += row
    return values
