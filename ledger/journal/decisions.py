"""Routed requests beside the journal: why each went where it went, what could be checked of it, what people think of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from ledger.errors import LedgerUnavailable
from ledger.journal.connection import connect_reader
from ledger.journal.entries import DECISION, read_decision
from ledger.records import AttemptRecord, Checked, DecisionRecord, Feedback, Routed

FOREVER_US: Final = 2**63 - 1
NEWEST: Final = 100_000
"""So many rows are read at most unless more are asked for: some 200 MB."""
AT_ONCE: Final = 2_000
"""Rows that one transaction removes: the journal waits a few milliseconds for it."""

FEEDBACK: Final = Feedback.__struct_fields__
CHECKED: Final = Checked.__struct_fields__

_DECIDED = f"SELECT {','.join(DECISION)} FROM decisions WHERE request_id = ?"  # noqa: S608  # only our own names
_GIVE = (
    f"INSERT INTO feedback ({','.join(FEEDBACK)}) "  # noqa: S608  # only our own names
    f"VALUES ({','.join('?' * len(FEEDBACK))})"
)
_THERE = (
    f"SELECT {','.join(FEEDBACK)} FROM feedback "  # noqa: S608  # only our own names
    "WHERE request_id = ? AND source = ? AND other_id = ?"
)
_GIVEN = (
    f"SELECT {','.join(FEEDBACK)} FROM feedback "  # noqa: S608  # only our own names
    "WHERE at_us >= ? ORDER BY at_us DESC, id DESC LIMIT ?"
)
_CHECK = (
    f"INSERT INTO checks ({','.join(CHECKED)}) "  # noqa: S608  # only our own names
    f"VALUES ({','.join('?' * len(CHECKED))})"
)
_CHECKED = (
    f"SELECT {','.join(CHECKED)} FROM checks "  # noqa: S608  # only our own names
    "WHERE at_us >= ? ORDER BY at_us DESC, id DESC LIMIT ?"
)
_FORGET = (
    "DELETE FROM decisions WHERE id IN (SELECT id FROM decisions WHERE at_us < ? ORDER BY at_us LIMIT ?)",
    "DELETE FROM checks WHERE id IN (SELECT id FROM checks WHERE at_us < ? ORDER BY at_us LIMIT ?)",
)

_METERED = (
    *("key_id", "provider", "upstream_model", "stream", "outcome", "cache", "attempts", "quality", "cost_nusd"),
    *("ttfb_us", "duration_us"),
    "input_uncached + cache_read + cache_write + input_audio + cache_write_1h + cache_read_audio + input_image",
    "output_text + reasoning + output_audio + output_image",
)
_ROUTED = f"""SELECT {",".join(f"d.{name}" for name in DECISION)}, {",".join(_METERED[:8])}, r.cost_nusd,
  {",".join(_METERED[9:])},
  (SELECT group_concat(it, ';') FROM (SELECT passed || '/' || failed AS it FROM checks
    WHERE request_id = d.request_id ORDER BY id)),
  (SELECT group_concat(it, ';') FROM (SELECT score_ppm || ' ' || weight_ppm AS it FROM feedback
    WHERE request_id = d.request_id ORDER BY id))
FROM (SELECT * FROM decisions WHERE at_us >= ?1 AND at_us < ?2 AND (?3 = '' OR policy = ?3)
  ORDER BY at_us DESC, id DESC LIMIT ?4) AS d
JOIN requests AS r ON r.request_id = d.request_id ORDER BY d.at_us, d.id"""  # noqa: S608  # only our own names


_attempts = msgspec.json.Decoder(tuple[AttemptRecord, ...]).decode


def decision(connection: sqlite3.Connection, request_id: str) -> DecisionRecord | None:
    """Why a request went where it went."""
    found = connection.execute(_DECIDED, (request_id,)).fetchone()
    return None if found is None else read_decision(found)


def routed(
    source: sqlite3.Connection | Path | str,
    *,
    since_us: int = 0,
    until_us: int = FOREVER_US,
    policy: str = "",
    newest: int = NEWEST,
) -> list[Routed]:
    """The newest so many routed requests from ``since_us`` to before ``until_us``, the oldest first.  About 20 µs each.

    source: the ledger's file, which may be in use, or a connection to it.  policy: those of this policy alone.
    Raises: LedgerUnavailable.
    """
    if isinstance(source, sqlite3.Connection):
        return list(map(_routed, source.execute(_ROUTED, (since_us, until_us, policy, newest))))
    path = Path(source)
    if not path.exists():
        return []
    try:
        with closing(connect_reader(path)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'decisions'").fetchone():
                return []  # of an earlier release, which is migrated when it is written
            return routed(connection, since_us=since_us, until_us=until_us, policy=policy, newest=newest)
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"the ledger's file cannot be read: {error}") from error


def give(connection: sqlite3.Connection, rows: Sequence[Feedback]) -> list[Feedback]:
    """Keep what is not there yet, within the caller's transaction; the rows that stand now.

    If one of them is there already, none is written: what belongs together was given together.
    """
    standing = [found for it in rows if (found := _there(connection, it)) is not None]
    if standing:
        return standing
    connection.executemany(_GIVE, [tuple(getattr(it, name) for name in FEEDBACK) for it in rows])
    return list(rows)


def given(connection: sqlite3.Connection, *, since_us: int, newest: int) -> list[Feedback]:
    """The newest so many rows of feedback since then, the oldest first."""
    found = [_feedback(row) for row in connection.execute(_GIVEN, (since_us, newest))]
    return found[::-1]


def note_checks(connection: sqlite3.Connection, rows: Iterable[Checked]) -> None:
    """Keep what could be checked of answers, within the caller's transaction."""
    values = [(it.request_id, it.at_us, it.offer, it.task, " ".join(it.passed), " ".join(it.failed)) for it in rows]
    connection.executemany(_CHECK, values)


def checked(connection: sqlite3.Connection, *, since_us: int, newest: int) -> list[Checked]:
    """The newest so many checks since then, the oldest first."""
    found = []
    for request_id, at_us, offer, task, passed, failed in connection.execute(_CHECKED, (since_us, newest)):
        found.append(
            Checked(
                request_id=request_id,
                at_us=at_us,
                offer=offer,
                task=task,
                passed=tuple(passed.split()),
                failed=tuple(failed.split()),
            )
        )
    return found[::-1]


def forget(connection: sqlite3.Connection, before_us: int) -> int:
    """Remove some of what is older; how many rows.  0: there was nothing."""
    return sum(connection.execute(sql, (before_us, AT_ONCE)).rowcount for sql in _FORGET)


def _there(connection: sqlite3.Connection, it: Feedback) -> Feedback | None:
    found = connection.execute(_THERE, (it.request_id, it.source, it.other_id)).fetchone()
    return None if found is None else _feedback(found)


def _feedback(row: Sequence[object]) -> Feedback:
    return msgspec.convert(dict(zip(FEEDBACK, row, strict=True)), Feedback)


def _routed(row: Sequence[object]) -> Routed:
    """A row of ``_ROUTED``."""
    decided, metered = row[: len(DECISION)], row[len(DECISION) :]
    key_id, provider, model, stream, outcome, cache, attempts, quality, cost, ttfb, took, tokens_in, tokens_out = metered[:13]
    tries = _attempts(str(attempts))
    passed: list[str] = []
    failed: list[str] = []
    for check in _parts(metered[13]):
        good, _, bad = check.partition("/")
        passed += good.split()
        failed += bad.split()
    scores = (tuple(map(int, it.split())) for it in _parts(metered[14]))
    fields: Mapping[str, object] = {
        "decision": read_decision(decided),
        "key_id": key_id,
        "offer": f"{provider}/{model}" if provider else "",
        "stream": bool(stream),
        "outcome": outcome,
        "cache": cache,
        "tries": len(tries),
        "quality": quality,
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "cost_nusd": cost,
        "ttfb_us": ttfb,
        "duration_us": took,
        "passed": tuple(passed),
        "failed": tuple(failed),
        "feedback": tuple(scores),
    }
    return msgspec.convert(fields, Routed)


def _parts(joined: object) -> Iterator[str]:
    if joined:
        yield from str(joined).split(";")
