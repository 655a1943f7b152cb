"""What the writer remembers of the file, so that it need not ask it for every entry."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from ledger.errors import EntryRefused
from ledger.journal.chain import GENESIS
from ledger.journal.entries import Value

Attempt = tuple[Value, Value]

_HEAD: Final = "SELECT h FROM entries ORDER BY id DESC LIMIT 1"
_MAX_COST: Final = "SELECT max_cost_nusd FROM entries WHERE kind = 'RESERVE' AND request_id = ? AND attempt = ?"


class Books:
    """The chain's last hash, and the most that each open try can cost.  The thread that writes has it to itself."""

    def __init__(self) -> None:
        self._head: bytes | None = None
        self._open: dict[Attempt, Value] = {}

    def head(self, connection: sqlite3.Connection, /) -> bytes:
        """The hash that the next entry is linked to."""
        if self._head is None:
            row = connection.execute(_HEAD).fetchone()
            self._head = bytes(row[0]) if row else GENESIS
        return self._head

    def max_cost_nusd(self, connection: sqlite3.Connection, attempt: Attempt, /) -> Value:
        """What was reserved for a try; ``None``: unknown.  Raises: EntryRefused, if nothing ever was."""
        if attempt in self._open:
            return self._open[attempt]
        row: tuple[Value] | None = connection.execute(_MAX_COST, attempt).fetchone()
        if row is None:
            raise EntryRefused(f"attempt {attempt[1]!r} of {attempt[0]!r} was never reserved, so it cannot end")
        return row[0]

    def committed(self, head: bytes, reserves: Iterable[Sequence[Value]], ends: Iterable[Sequence[Value]], /) -> None:
        """The chain is that long now; these rows opened tries, and these ended some."""
        self._head = head
        tries = self._open
        for row in reserves:
            tries[row[0], row[1]] = row[-1]
        for row in ends:
            tries.pop((row[0], row[1]), None)

    def doubt(self) -> None:
        """Somebody else wrote, or nobody knows what the disk holds: ask the file for the chain's head again."""
        self._head = None
