"""The ledger in one SQLite file: the journal, the request records and the keys.

One process has it open for writing, by a lock beside the file; anybody may read it meanwhile.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from ledger import migrations
from ledger.errors import KeyExists, LedgerCorrupt, LedgerLocked, LedgerTooNew, LedgerUnavailable
from ledger.journal.books import Books
from ledger.journal.connection import Durability, connect, connect_reader
from ledger.journal.entries import KEY, REQUEST, key_row, read_key, read_request
from ledger.journal.recovery import Recovery, recover
from ledger.journal.reports import usage
from ledger.journal.writer import GroupCommitWriter
from ledger.ports import Entry, PricingPort
from ledger.records import By, Key, Progress, RequestRecord, UsageRow

T = TypeVar("T")

# After an unclean end the file is checked for at most so long: a large one is not worth a late start, since SQLite
# repairs itself from the WAL and notices damage wherever it reads.
CHECK_LIMIT_S = 3.0
MIGRATION_LIMIT_S = 3600.0
HEAD_SQL = Path(migrations.__file__).with_name("head.sql")

_REQUEST = f"SELECT {','.join(REQUEST)} FROM requests WHERE request_id = ?"  # noqa: S608  # only names from entries.py
_KEYS = f"SELECT {','.join(KEY)} FROM keys ORDER BY created_us, id"  # noqa: S608  # as above
_CREATE_KEY = f"INSERT INTO keys ({','.join(KEY)}) VALUES ({','.join('?' * len(KEY))})"  # noqa: S608  # as above
_PROBE = "INSERT INTO marks (name, value) VALUES ('probe', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
_REVOKE_KEY = "UPDATE keys SET revoked_us = ? WHERE id = ? AND revoked_us IS NULL"


def _probe(connection: sqlite3.Connection) -> None:
    connection.execute(_PROBE)


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


class SqliteLedger:
    """The journal and the keys in one file, which is created (0600, its folder 0700) if it is not there.

    durability: ``process`` loses nothing when the process is killed; ``power`` nothing when the power fails either, at
    the price of one fsync per batch.  prices: what recovery charges by; ``None``: recovered costs are unknown.
    queue_limit: entries that may wait to be written.  Close it, or use it as a context manager.

    Raises: LedgerLocked, LedgerCorrupt, LedgerTooNew; LedgerUnavailable, when the file cannot be opened or made.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        durability: Durability = "process",
        prices: PricingPort | None = None,
        clock_us: Callable[[], int] = now_us,
        queue_limit: int = 10_000,
    ) -> None:
        self.path = Path(path).resolve()
        self.sqlite_version = sqlite3.sqlite_version
        self._prices = prices
        self._clock_us = clock_us
        self._lock = FileLock(self.path)
        try:
            _prepare(self.path, check=self._lock.was_held)
        except BaseException:
            self._lock.release(clean=not self._lock.was_held)
            raise
        self._writer = GroupCommitWriter(partial(connect, self.path, durability), queue_limit=queue_limit)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="ledger-reader")
        self._reading: sqlite3.Connection | None = None
        self._closed = False

    def write(self, entries: Sequence[Entry], /) -> Awaitable[None]:
        """Write the entries in one transaction, durable when awaited; what is there already is left alone.

        It is queued at once, whether or not the result is awaited.  Raises: LedgerUnavailable; EntryRefused.
        """
        return self._writer.write(entries)

    def progress(self, marks: Sequence[Progress], /) -> None:
        """Note how far streams have come, with the next transaction; if that cannot be, it is not noted."""
        self._writer.progress(marks)

    def run(self, job: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]:
        """Run a job in the writer's thread, in a transaction of its own; entries wait for it, so it is to be short.

        Raises: LedgerUnavailable; and what the job raises, which undoes it.
        """
        return self._writer.run(job)

    async def chain_head(self) -> bytes:
        """The hash that stands for everything in the journal up to now."""
        return await self._writer.run(Books().head)

    async def recover(self) -> Recovery:
        """Settle what a crash left open.  Call it once, before the first write."""
        at_us = self._clock_us()
        recovery = await self._writer.run(partial(recover, at_us=at_us, prices=self._prices))
        self._writer.watermark.enabled = True
        return recovery

    async def is_writable(self) -> bool:
        """Whether entries can be written.  Asks the disk only while the last write failed; that is how it recovers."""
        if self._writer.failing:
            try:
                await self._writer.run(_probe)
            except LedgerUnavailable:
                return False
        return not self._closed

    async def request(self, request_id: str, /) -> RequestRecord | None:
        """The record of one request."""
        rows = await self._read(_REQUEST, (request_id,))
        return read_request(rows[0]) if rows else None

    async def usage(self, by: By, /, *, since_us: int, until_us: int, key_id: str | None) -> Sequence[UsageRow]:
        """What was asked, answered and charged, from the hour of ``since_us`` to before that of ``until_us``."""

        def report() -> list[UsageRow]:
            return usage(self.path, by=by, since_us=since_us, until_us=until_us, key_id=key_id)

        if self._closed:
            raise LedgerUnavailable("the ledger is closed")
        return await asyncio.get_running_loop().run_in_executor(self._reader, report)

    async def keys(self) -> Sequence[Key]:
        """Every key that was ever made, oldest first, revoked ones too."""
        return tuple(read_key(row) for row in await self._read(_KEYS, ()))

    async def create_key(self, key: Key, /) -> None:
        """Keep a new key.  Raises: KeyExists, when a live key has that name (or any key that id or digest)."""
        row = key_row(key)

        def job(connection: sqlite3.Connection) -> None:
            try:
                connection.execute(_CREATE_KEY, row)
            except sqlite3.IntegrityError as error:
                raise KeyExists(f"there is a key named {key.name!r} already") from error

        await self._writer.run(job)

    async def revoke_key(self, key_id: str, at_us: int, /) -> bool:
        """Revoke it; ``False`` if there is no such live key."""

        def job(connection: sqlite3.Connection) -> bool:
            return connection.execute(_REVOKE_KEY, (at_us, key_id)).rowcount == 1

        return await self._writer.run(job)

    def close(self, deadline_s: int = 10) -> bool:
        """Write what is queued and let go of the file.  ``False``: the disk took longer than the deadline.

        Blocks; from a running event loop use ``aclose``.  Closing twice does nothing.
        """
        self._closed = True
        self._reader.shutdown()
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        closed = self._writer.close(deadline_s)
        if closed:
            self._lock.release(clean=True)
        return closed

    async def aclose(self, deadline_s: int = 10) -> bool:
        """``close``, without blocking the event loop."""
        return await asyncio.to_thread(self.close, deadline_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()

    async def _read(self, sql: str, values: tuple[str, ...]) -> list[tuple[object, ...]]:
        if self._closed:
            raise LedgerUnavailable("the ledger is closed")
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._fetch, sql, values)

    def _fetch(self, sql: str, values: tuple[str, ...]) -> list[tuple[object, ...]]:
        try:
            if self._reading is None:
                self._reading = connect_reader(self.path)
            return self._reading.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"the ledger's file cannot be read: {error}") from error


class FileLock:
    """The right to write the file, held through ``<file>.lock`` until released or until the process ends.

    was_held: the last holder ended without releasing it.   Raises: LedgerLocked; LedgerUnavailable.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerUnavailable(f"{path} cannot be made: {error}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            pid = int(holder) if holder.isdecimal() else None
            raise LedgerLocked(f"{path} is in use by process {pid or 'unknown'}; a ledger has one writer", pid=pid) from error
        self.was_held = os.fstat(self._file).st_size > 0
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self, *, clean: bool) -> None:
        """Let go.  clean: the next holder need not look for damage.  Releasing twice does nothing."""
        if self._file < 0:
            return
        if clean:
            os.ftruncate(self._file, 0)
        os.close(self._file)
        self._file = -1


def _prepare(path: Path, *, check: bool) -> None:
    """Make the file, or see that it is a sound ledger of this release.  The caller holds its lock."""
    if not path.exists():
        if Path(f"{path}-wal").exists():  # SQLite would play it into whatever file has that name
            raise LedgerCorrupt(f"{path} is gone but {path.name}-wal is there; restore the one or move the other away")
        _create(path)
        return
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None)
        try:
            if check:
                _check(path, connection)
            revision = _revision(path, connection)
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise LedgerUnavailable(f"{path} cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        raise LedgerCorrupt(f"{path} is damaged: {error}; it is left as it is, restore a backup or move it away") from error
    if revision > migrations.HEAD:
        raise LedgerTooNew(
            f"{path} has revision {revision}, this release knows revisions up to {migrations.HEAD}; use a newer release"
        )
    if revision < migrations.HEAD:
        _migrate(path)


def _create(path: Path) -> None:
    """Make a ledger under another name and put it in place whole: a file of that name is never half made."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(new, isolation_level=None)
        try:
            connection.executescript(f"BEGIN;\n{HEAD_SQL.read_text('ascii')}COMMIT;")
        finally:
            connection.close()
        new.rename(path)
    except (OSError, sqlite3.Error) as error:
        raise LedgerUnavailable(f"{path} cannot be made: {error}") from error


def _check(path: Path, connection: sqlite3.Connection) -> None:
    deadline_s = time.monotonic() + CHECK_LIMIT_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline_s, 100_000)
    try:
        found = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        connection.set_progress_handler(None, 0)
    if found != ["ok"]:
        raise LedgerCorrupt(f"{path} is damaged: {found[0]}; it is left as it is, restore a backup or move it away")


def _revision(path: Path, connection: sqlite3.Connection) -> str:
    tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchall()
    revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall() if tables else []
    if not revisions:
        raise LedgerCorrupt(f"{path} is no ledger: it has none of its tables; it is left as it is, name another file")
    return str(revisions[0][0])


def _migrate(path: Path) -> None:
    """Bring an older file to this release's revision, in a process that takes Alembic with it when it ends."""
    root = Path(migrations.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root), os.environ.get("PYTHONPATH", "")))}
    command = [sys.executable, "-m", "ledger.migrations", "migrate", str(path)]
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter, our own module, a path
            command, env=environment, capture_output=True, text=True, check=False, timeout=MIGRATION_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LedgerUnavailable(f"{path} could not be migrated: {error}") from error
    if done.returncode:
        raise LedgerUnavailable(f"{path} could not be migrated: {done.stderr.strip().rpartition(chr(10))[2]}")
