"""Adjustments on their way into the journal, and whom each of them concerns."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from ledger.journal.batch import write
from ledger.records import Adjusted, Adjustment

_THERE: Final = "SELECT 1 FROM entries WHERE kind = 'ADJUST' AND request_id = ? AND attempt = ? AND evidence = ?"
_WHOSE: Final = "SELECT key_id, coalesce(user, ''), coalesce(team, ''), at_us FROM requests WHERE request_id = ?"


def book(connection: sqlite3.Connection, entries: Sequence[Adjustment]) -> list[Adjusted]:
    """Write the adjustments that are not there yet, inside the caller's transaction, and say whose they are.

    Raises: EntryRefused, for one of a try that has not ended.
    """
    new: dict[tuple[str, int, str], Adjustment] = {}
    for entry in entries:
        key = (entry.request_id, entry.attempt, entry.evidence)
        if key not in new and not connection.execute(_THERE, key).fetchone():
            new[key] = entry
    write(connection, list(new.values()))
    found = []
    for entry in new.values():
        key_id, user, team, at_us = connection.execute(_WHOSE, (entry.request_id,)).fetchone()
        found.append(
            Adjusted(request_id=entry.request_id, key_id=key_id, user=user, team=team, at_us=at_us, cost_nusd=entry.cost_nusd)
        )
    return found
