"""What one transaction appends: entries sorted by kind, and the few statements that write them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final

from ledger.errors import EntryRefused
from ledger.journal.books import Attempt, Books
from ledger.journal.chain import link
from ledger.journal.entries import (
    TYPES,
    Value,
    adjust_row,
    append_decisions,
    append_entries,
    append_kind,
    append_requests,
    decision_row,
    note_progress,
    progress_row,
    request_row,
    reserve_row,
    settle_row,
    void_row,
)
from ledger.ports import Entry
from ledger.records import Adjustment, DecisionRecord, Progress, RequestRecord, Reservation, Settlement, Void

# Rows of one kind in one statement: at most 64 x (16 + 21) variables, of the 32,766 that SQLite allows.
ROWS_LIMIT = 64

Row = list[Value]
Statement = tuple[str, list[Value]]

# Where an entry goes, what its row is called, what makes it.
_KINDS: Final[dict[type, tuple[str, str, Callable[[Any], Row]]]] = {
    Reservation: ("reserves", "RESERVE", reserve_row),
    Settlement: ("settles", "SETTLE", settle_row),
    RequestRecord: ("requests", "REQUEST", request_row),
    Void: ("voids", "VOID", void_row),
    Progress: ("progress", "PROGRESS", progress_row),
    Adjustment: ("adjusts", "ADJUST", adjust_row),
    DecisionRecord: ("decisions", "DECISION", decision_row),
}
# What SQLite says when a row is there already: the unique keys, and the triggers that stand before them.
_THERE: Final = frozenset(
    (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_TRIGGER)
)
_SEEN: Final = {
    "reserves": "SELECT 1 FROM entries WHERE kind = 'RESERVE' AND request_id = ? AND attempt = ?",
    "settles": "SELECT 1 FROM entries WHERE kind IN ('SETTLE', 'VOID') AND request_id = ? AND attempt = ?",
    "adjusts": "SELECT 1 FROM entries WHERE kind = 'ADJUST' AND request_id = ? AND attempt = ? AND evidence = ?",
    "requests": "SELECT 1 FROM requests WHERE request_id = ?",
    "decisions": "SELECT 1 FROM decisions WHERE request_id = ?",
}

_ADJUSTABLE: Final = (
    "SELECT 1 FROM requests WHERE request_id = ? AND EXISTS "
    "(SELECT 1 FROM entries WHERE kind IN ('SETTLE', 'VOID') AND request_id = ? AND attempt = ?)"
)
_ADJUST_ROLLUP: Final = """
UPDATE rollups SET adjusted_nusd = adjusted_nusd + ? WHERE (hour, key_id, user, team, provider, model, outcome) = (
    SELECT at_us / 3600000000, key_id, user, team, provider, CASE upstream_model WHEN '' THEN model ELSE upstream_model END,
           CASE WHEN outcome IN ('ok', 'client_closed', 'interrupted') THEN outcome ELSE 'failed' END
    FROM requests WHERE request_id = ?)
"""
_ADJUST_ROLLUP_TAGS: Final = """
UPDATE rollup_tags SET adjusted_nusd = adjusted_nusd + ? WHERE (hour, key_id, tag, provider, model, outcome) IN (
    SELECT at_us / 3600000000, key_id, value, provider, CASE upstream_model WHEN '' THEN model ELSE upstream_model END,
           CASE WHEN outcome IN ('ok', 'client_closed', 'interrupted') THEN outcome ELSE 'failed' END
    FROM requests, json_each(tags) WHERE request_id = ? AND tags <> '')
"""


class Batch:
    """Entries that are written together, all or none.

    Raises: EntryRefused, for something that is no entry, or holds a value of the wrong type.
    """

    __slots__ = ("adjusts", "decisions", "progress", "requests", "reserves", "settles", "voids")

    def __init__(self, entries: Iterable[Entry | Progress]) -> None:
        self.reserves: list[Row] = []
        self.settles: list[Row] = []
        self.voids: list[Row] = []
        self.adjusts: list[Row] = []
        self.progress: list[Row] = []
        self.requests: list[Row] = []
        self.decisions: list[Row] = []
        for entry in entries:
            kind = type(entry)
            if kind not in _KINDS:
                raise EntryRefused(f"{kind.__name__} is no journal entry")
            rows, name, row_of = _KINDS[kind]
            row = row_of(entry)
            if tuple(map(type, row)) not in TYPES[name]:
                raise EntryRefused(f"a {name} has a value of the wrong type: {', '.join(type(it).__name__ for it in row)}")
            getattr(self, rows).append(row)

    def __len__(self) -> int:
        """How many entries and records; notes of progress are neither."""
        entries = len(self.reserves) + len(self.settles) + len(self.voids) + len(self.adjusts)
        return entries + len(self.requests) + len(self.decisions)

    def statements(self, connection: sqlite3.Connection, books: Books) -> Statements:
        """The statements that append all rows, each linked to the one before it.

        Raises: EntryRefused, for the end of a try that was never reserved.
        """
        return Statements(self, connection, books)

    def without_seen(self, connection: sqlite3.Connection) -> Batch:
        """What of it is not in the file yet, each once: the first end of an attempt is the one that counts."""
        rest = Batch(())
        rest.progress = self.progress
        ended: set[tuple[Value, ...]] = set()
        rest.reserves = _unseen(connection, "reserves", self.reserves, 2, set())
        rest.settles = _unseen(connection, "settles", self.settles, 2, ended)
        rest.voids = _unseen(connection, "settles", self.voids, 2, ended)
        rest.requests = _unseen(connection, "requests", self.requests, 1, set())
        rest.decisions = _unseen(connection, "decisions", self.decisions, 1, set())
        adjusted: set[tuple[Value, ...]] = set()
        for row in self.adjusts:
            key = (row[0], row[1], row[5])
            if key not in adjusted and not connection.execute(_SEEN["adjusts"], key).fetchone():
                adjusted.add(key)
                rest.adjusts.append(row)
        return rest


class Statements(list[Statement]):
    """What appends a batch.  head: the chain's last hash once it is committed."""

    def __init__(self, batch: Batch, connection: sqlite3.Connection, books: Books) -> None:
        self.head = books.head(connection)
        self._connection = connection
        self._books = books
        self._max_costs: dict[Attempt, Value] = {(row[0], row[1]): row[-1] for row in batch.reserves}
        within = bool(batch.reserves) and any((row[0], row[1]) in self._max_costs for row in batch.settles)
        reserves, settles = 0, 0
        while reserves < len(batch.reserves) or settles < len(batch.settles):
            r, s = _power(len(batch.reserves) - reserves), _power(len(batch.settles) - settles)
            if within and reserves + r < len(batch.reserves):
                s = 0  # one of them ends a reservation of this batch, and comes after it
            values: list[Value] = []
            self._link(values, "RESERVE", batch.reserves[reserves : reserves + r])
            self._link(values, "SETTLE", batch.settles[settles : settles + s])
            self.append((append_entries(r, s), values))
            reserves, settles = reserves + r, settles + s
        for kind, rows in (("VOID", batch.voids), ("ADJUST", batch.adjusts)):
            for chunk in _chunks(rows):
                values = []
                self._link(values, kind, chunk)
                self.append((append_kind(kind, len(chunk)), values))
        for row in batch.adjusts:
            if not connection.execute(_ADJUSTABLE, (row[0], row[0], row[1])).fetchone():
                raise EntryRefused(f"attempt {row[1]!r} of {row[0]!r} has not ended, so there is nothing to adjust")
            self.append((_ADJUST_ROLLUP, [row[3], row[0]]))
            self.append((_ADJUST_ROLLUP_TAGS, [row[3], row[0]]))
        for chunk in _chunks(batch.progress):
            self.append((note_progress(len(chunk)), [value for row in chunk for value in row]))
        for chunk in _chunks(batch.requests):
            self.append((append_requests(len(chunk)), [value for row in chunk for value in row]))
        for chunk in _chunks(batch.decisions):
            self.append((append_decisions(len(chunk)), [value for row in chunk for value in row]))

    def _link(self, values: list[Value], kind: str, rows: list[Row]) -> None:
        head = self.head
        ends = kind in ("SETTLE", "VOID")
        for row in rows:
            if ends:
                attempt = (row[0], row[1])
                if attempt in self._max_costs:
                    row[-1] = self._max_costs[attempt]
                else:
                    row[-1] = self._books.max_cost_nusd(self._connection, attempt)
            head = link(head, kind, row)
            values += row
            values.append(bytearray(head))
        self.head = head


def append(connection: sqlite3.Connection, statements: Iterable[Statement], /) -> None:
    """Execute them; the caller has opened the transaction."""
    for text, values in statements:
        connection.execute(text, values)


def write(connection: sqlite3.Connection, entries: Iterable[Entry | Progress], /) -> Batch:
    """Append entries inside the caller's transaction; what is there already is left alone."""
    batch = Batch(entries).without_seen(connection)
    append(connection, batch.statements(connection, Books()))
    return batch


def is_there(error: sqlite3.IntegrityError, /) -> bool:
    """Whether a row was refused because the file has it already."""
    return error.sqlite_errorcode in _THERE


def _unseen(connection: sqlite3.Connection, kind: str, rows: list[Row], width: int, seen: set[tuple[Value, ...]]) -> list[Row]:
    unseen = []
    for row in rows:
        key = tuple(row[:width])
        if key not in seen and not connection.execute(_SEEN[kind], key).fetchone():
            seen.add(key)
            unseen.append(row)
    return unseen


def _power(count: int) -> int:
    """The largest power of two within ``count`` and ROWS_LIMIT, 0 for 0: few different statements, all prepared."""
    return min(ROWS_LIMIT, 1 << (count.bit_length() - 1)) if count else 0


def _chunks(rows: list[Row]) -> Iterable[list[Row]]:
    start = 0
    while start < len(rows):
        count = _power(len(rows) - start)
        yield rows[start : start + count]
        start += count
