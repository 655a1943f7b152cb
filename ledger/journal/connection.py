"""How the ledger's file is opened: once to write, any number of times to read."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final, Literal

Durability = Literal["process", "power"]

BUSY_LIMIT_MS: Final = 5000


def connect(path: Path, durability: Durability, /) -> sqlite3.Connection:
    """The writing connection of an existing file; ``path`` is absolute."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None)
    for name, value in pragmas(durability).items():
        connection.execute(f"PRAGMA {name} = {value}")
    return connection


def pragmas(durability: Durability, /) -> dict[str, str | int]:
    """How the writing connection is set, in this order."""
    return {
        "busy_timeout": BUSY_LIMIT_MS,
        "journal_mode": "WAL",
        "synchronous": "FULL" if durability == "power" else "NORMAL",
        "fullfsync": int(durability == "power"),  # macOS: fsync alone stops at the drive's cache
        "mmap_size": 0,
        "recursive_triggers": "ON",  # else INSERT OR REPLACE removes rows behind the triggers' back
        # A large batch keeps an undo journal; in memory it needs no room in another file system, which may be full too.
        "temp_store": "MEMORY",
    }


def connect_reader(path: Path, /) -> sqlite3.Connection:
    """A connection that can only read, also while another process writes.  Any thread may use it, one at a time."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_LIMIT_MS}")
    connection.execute("PRAGMA mmap_size = 0")
    return connection
