"""A cache in a file, for what has to outlive the process: sealed, so that nobody reads answers in it who has not the secret."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

T = TypeVar("T")

OVERHEAD_BYTES: Final = 128
"""What an entry takes in the file beside its value: its key, its times, its seal, its place in the index."""
BUSY_MS: Final = 1_000

_NONCE_BYTES = 12
_TABLE = (
    "CREATE TABLE IF NOT EXISTS kept (id INTEGER PRIMARY KEY, slot BLOB NOT NULL UNIQUE, until_s REAL NOT NULL, "
    "value BLOB NOT NULL)"
)
_SIZE = f"SELECT coalesce(sum(length(value) + {OVERHEAD_BYTES}), 0) FROM kept"  # noqa: S608  # our number
_OLDEST = "DELETE FROM kept WHERE id = (SELECT min(id) FROM kept) RETURNING length(value)"

log = structlog.get_logger("tollway.cache_file")


class CacheFile:
    """A CacheStore of one process, bounded in bytes: the oldest makes room.  About 0.2 ms for a read or a write, in a thread.

    What was put outlives the process when ``put`` returns, not the machine's power.
    path: made when it is first needed, 0600; one that is damaged is begun anew.   secret: 32 bytes.   clock_s: wall clock,
    since it goes on while there is no process.
    """

    def __init__(self, path: Path, secret: bytes, *, max_bytes: int, clock_s: Callable[[], float]) -> None:
        self._path = path
        self._cipher = AESGCM(secret)
        self._max_bytes = max_bytes
        self._clock_s = clock_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache file")
        self._connection: sqlite3.Connection | None = None
        self._size_bytes = 0
        self._complained = False
        if path.exists():
            # What is over leaves the disk, although nobody asks for anything.
            self._thread.submit(self._guarded, self._opened, None)

    async def get(self, key: bytes, /) -> bytes | None:
        """What is kept there."""
        return await self._run(lambda: self._get(key), None)

    async def put(self, key: bytes, value: bytes, /, *, ttl_s: float) -> None:
        """Keep it; one that is larger than the whole is not kept."""
        await self._run(lambda: self._put(key, value, ttl_s), None)

    async def delete(self, key: bytes, /) -> None:
        """Keep it no longer."""
        await self._run(lambda: self._delete(key), None)

    def close(self) -> None:
        """Let go of the file; what was begun is ended."""
        self._thread.submit(self._close)
        self._thread.shutdown()

    # --- in the thread ---

    async def _run(self, work: Callable[[], T], without: T) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work, without)

    def _guarded(self, work: Callable[[], T], without: T) -> T:
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            if not self._complained:
                self._complained = True
                log.warning("cache_file_unusable", reason=str(error))
            return without

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        try:
            connection = self._connect()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            log.warning("cache_file_damaged")
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            connection = self._connect()
        self._connection = connection
        self._drop_expired(connection)
        self._size_bytes = connection.execute(_SIZE).fetchone()[0]
        return connection

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (f"busy_timeout = {BUSY_MS}", "journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute(_TABLE)
            connection.execute("CREATE INDEX IF NOT EXISTS kept_until ON kept (until_s)")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _get(self, key: bytes) -> bytes | None:
        found = (
            self._opened().execute("SELECT value FROM kept WHERE slot = ? AND until_s > ?", (key, self._clock_s())).fetchone()
        )
        if found is None:
            return None
        sealed: bytes = found[0]
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], key)
        except InvalidTag:
            return None  # of another secret, or changed

    def _put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        connection = self._opened()
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, value, key)
        size = len(sealed) + OVERHEAD_BYTES
        # All of it or nothing; what goes wrong in between is undone.
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            size_bytes = self._size_bytes - self._dropped(connection, "slot = ?", key)
            size_bytes -= self._dropped(connection, "until_s <= ?", self._clock_s())
            if ttl_s > 0 and size <= self._max_bytes:
                while size_bytes + size > self._max_bytes and (oldest := connection.execute(_OLDEST).fetchone()):
                    size_bytes -= oldest[0] + OVERHEAD_BYTES
                connection.execute(
                    "INSERT INTO kept (slot, until_s, value) VALUES (?, ?, ?)", (key, self._clock_s() + ttl_s, sealed)
                )
                size_bytes += size
        self._size_bytes = size_bytes

    def _delete(self, key: bytes) -> None:
        self._size_bytes -= self._dropped(self._opened(), "slot = ?", key)

    def _drop_expired(self, connection: sqlite3.Connection) -> None:
        self._dropped(connection, "until_s <= ?", self._clock_s())

    @staticmethod
    def _dropped(connection: sqlite3.Connection, where: str, value: bytes | float) -> int:
        """How many bytes that was."""
        with closing(connection.execute(f"DELETE FROM kept WHERE {where} RETURNING length(value)", (value,))) as rows:  # noqa: S608  # ours
            return sum(length + OVERHEAD_BYTES for (length,) in rows)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
