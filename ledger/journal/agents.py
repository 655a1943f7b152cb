"""What coding agents used, beside the journal: kept by event, and read on where their logs were left."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Final

from ledger.errors import LedgerUnavailable
from ledger.journal.connection import connect_reader
from ledger.records import AgentBatch, AgentRow, AgentStored, AgentUsage, LogCursor

TOKENS: Final = ("input_uncached", "cache_read", "cache_write", "cache_write_1h", "output_text", "reasoning", "web_searches")
COLUMNS: Final = (
    *("event_hash", "total", "at_us", "agent", "session", "project", "provider", "model", "service_tier"),
    *TOKENS,
    "reported_nusd",
)
CURSOR: Final = LogCursor.__struct_fields__
HASH_BYTES: Final = 16
TOGETHER: Final = 50
"""Rows of one statement: the interpreter is asked for once for all of them."""
MANY: Final = 10_000
"""From so many rows of one transaction on, its pages are to stay in memory until it ends, and the trigger is put aside."""
CACHE_KIB: Final = 128 * 1024

_ONE = f"({','.join('?' * len(COLUMNS))})"
_INTO = f"INSERT INTO agent_usage ({','.join(COLUMNS)}) VALUES "  # noqa: S608  # our names
_KNOWN = " ON CONFLICT (event_hash, total) DO NOTHING"
_INSERT = _INTO + _ONE + _KNOWN
_INSERT_TOGETHER = _INTO + ",".join([_ONE] * TOGETHER) + _KNOWN
_ONLY_NEWS = "agent_usage_only_news"
_CURSOR = (
    f"INSERT INTO agent_files ({','.join(CURSOR)}) VALUES ({','.join('?' * len(CURSOR))}) "  # noqa: S608  # our names
    f"ON CONFLICT DO UPDATE SET {','.join(f'{name} = excluded.{name}' for name in CURSOR[1:])}"
)
_CURSORS = f"SELECT {','.join(CURSOR)} FROM agent_files"  # noqa: S608  # our names


def store(connection: sqlite3.Connection, batch: AgentBatch) -> AgentStored:
    """Insert what is news of each event, within the caller's transaction.  About 8 µs an event."""
    new = store_rows(connection, largest(map(row_of, batch.events)), batch.cursors)
    return AgentStored(new=new, duplicate=len(batch.events) - new)


def store_rows(connection: sqlite3.Connection, rows: Sequence[AgentRow], cursors: Sequence[LogCursor]) -> int:
    """The same of rows, each event once and in the order of their hashes; how many were news.  About 6 µs a row, 4 µs of many.

    Of many, one that says less of its event than what is there is kept; nobody counts it.
    """
    with _unguarded(connection) if len(rows) >= MANY else nullcontext():
        return _stored(connection, rows, cursors)


@contextmanager
def _unguarded(connection: sqlite3.Connection) -> Iterator[None]:
    """Without the trigger, for which SQLite copies every statement's rows into a table of their own before it inserts them.

    Nobody else sees it gone: it is back before the transaction ends, however that ends.
    """
    (trigger,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (_ONLY_NEWS,)).fetchone()
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"DROP TRIGGER {_ONLY_NEWS}")
    yield
    connection.execute(trigger)


def _stored(connection: sqlite3.Connection, rows: Sequence[AgentRow], cursors: Sequence[LogCursor]) -> int:
    # In the order of the index: a transaction then touches each of its pages once.
    whole = len(rows) // TOGETHER * TOGETHER
    together = (tuple(chain.from_iterable(rows[at : at + TOGETHER])) for at in range(0, whole, TOGETHER))
    new = connection.executemany(_INSERT_TOGETHER, together).rowcount if whole else 0
    if whole < len(rows):
        new += connection.executemany(_INSERT, rows[whole:]).rowcount
    if cursors:
        connection.executemany(_CURSOR, [tuple(getattr(it, name) for name in CURSOR) for it in cursors])
    return new


def largest(rows: Iterable[AgentRow]) -> list[AgentRow]:
    """Of each event the row that says most, in the order of their hashes."""
    rows = list(rows)
    found = {row[0]: row for row in rows}
    if len(found) == len(rows):
        return sorted(rows, key=itemgetter(0))
    found.clear()
    for row in rows:
        known = found.get(row[0])
        if known is None or row[1] > known[1]:
            found[row[0]] = row
    return sorted(found.values(), key=itemgetter(0))


def cursors(path: Path, /) -> dict[bytes, LogCursor]:
    """How far each file is read, by the hash of its path; nothing where there is no ledger yet.  Raises: LedgerUnavailable."""
    if not path.exists():
        return {}
    try:
        with closing(connect_reader(path)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'agent_files'").fetchone():
                return {}  # of an earlier release, which is migrated when it is written
            found = [LogCursor(**dict(zip(CURSOR, row, strict=True))) for row in connection.execute(_CURSORS)]
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"the ledger's file cannot be read: {error}") from error
    return {it.file_hash: it for it in found}


def row_of(event: AgentUsage) -> AgentRow:
    """The event as it is kept: its hash, its size, and its columns."""
    tokens = event.tokens
    counts = (
        tokens.input_uncached,
        tokens.cache_read,
        tokens.cache_write,
        tokens.cache_write_1h,
        tokens.output_text,
        tokens.reasoning,
    )
    name = hashlib.md5(f"{event.agent}\0{event.event}".encode("utf-8", "replace"), usedforsecurity=False).digest()
    return (
        name,
        sum(counts),
        event.at_us,
        event.agent,
        event.session,
        event.project,
        event.provider,
        event.model,
        event.service_tier,
        *counts,
        tokens.web_searches,
        event.reported_nusd,
    )
