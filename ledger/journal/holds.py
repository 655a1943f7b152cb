"""Tries that are held: sent, and never heard of.  A report of the provider resolves them; else, some time later, a policy."""

from __future__ import annotations

import sqlite3
from typing import Final, Literal

from ledger.journal.adjusting import book
from ledger.records import Adjusted, Adjustment

AfterHold = Literal["charge", "waive"]
"""What becomes of a try that nobody ever heard of: it is charged what was held for it, or nothing."""

EVIDENCE: Final = "hold lapsed"
ROUND: Final = 200
"""Resolved in one transaction: whoever writes meanwhile waits for about so many times 0.1 ms."""

_HELD: Final = """
SELECT t.request_id, t.attempt, coalesce(t.cost_nusd, 0) FROM entries AS t
WHERE t.quality = 'held' AND t.at_us < ?
  AND EXISTS (SELECT 1 FROM requests AS q WHERE q.request_id = t.request_id)
  AND NOT EXISTS (SELECT 1 FROM entries AS a
                  WHERE a.kind = 'ADJUST' AND a.request_id = t.request_id AND a.attempt = t.attempt)
ORDER BY t.id LIMIT ?
"""


def lapse(connection: sqlite3.Connection, *, before_us: int, at_us: int, policy: AfterHold) -> list[Adjusted]:
    """Resolve the next tries that were held before that time, inside the caller's transaction.  Which they were.

    A try that was adjusted, by a report or by this, is held no longer.  ``charge`` adjusts by nothing, ``waive`` by all.
    """
    rows = connection.execute(_HELD, (before_us, ROUND)).fetchall()
    return book(
        connection,
        [
            Adjustment(
                request_id=request_id,
                attempt=attempt,
                at_us=at_us,
                cost_nusd=-cost_nusd if policy == "waive" else 0,
                reason=f"held and never heard of: {policy}d",
                evidence=EVIDENCE,
            )
            for request_id, attempt, cost_nusd in rows
        ],
    )
