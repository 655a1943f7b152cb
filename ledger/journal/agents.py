"""What coding agents used, beside the journal: kept by event, and read on where their logs were left."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from ledger.errors import LedgerUnavailable
from ledger.journal.connection import connect_reader
from ledger.records import AgentBatch, AgentStored, AgentUsage, LogCursor

TOKENS: Final = ("input_uncached", "cache_read", "cache_write", "cache_write_1h", "output_text", "reasoning", "web_searches")
COLUMNS: Final = (
    *("event_hash", "total", "at_us", "agent", "session", "project", "provider", "model", "service_tier"),
    *TOKENS,
    "reported_nusd",
)
CURSOR: Final = LogCursor.__struct_fields__
HASH_BYTES: Final = 16

_INSERT = f"INSERT INTO agent_usage ({','.join(COLUMNS)}) VALUES ({','.join('?' * len(COLUMNS))})"  # noqa: S608  # our names
_CURSOR = (
    f"INSERT INTO agent_files ({','.join(CURSOR)}) VALUES ({','.join('?' * len(CURSOR))}) "  # noqa: S608  # our names
    f"ON CONFLICT DO UPDATE SET {','.join(f'{name} = excluded.{name}' for name in CURSOR[1:])}"
)
_CURSORS = f"SELECT {','.join(CURSOR)} FROM agent_files"  # noqa: S608  # our names

Row = tuple[bytes, int, int, str, str, str, str, str, str, int, int, int, int, int, int, int, int | None]


def store(connection: sqlite3.Connection, batch: AgentBatch) -> AgentStored:
    """Insert what is news of each event, within the caller's transaction.  About 10 µs an event."""
    largest: dict[bytes, Row] = {}
    for row in map(_row, batch.events):
        known = largest.get(row[0])
        if known is None or row[1] > known[1]:
            largest[row[0]] = row
    # In the order of the index: a batch then touches each of its pages once.
    new = connection.executemany(_INSERT, [largest[name] for name in sorted(largest)]).rowcount if largest else 0
    if batch.cursors:
        connection.executemany(_CURSOR, [tuple(getattr(it, name) for name in CURSOR) for it in batch.cursors])
    return AgentStored(new=new, duplicate=len(batch.events) - new)


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


def _row(event: AgentUsage) -> Row:
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
