"""The ledger in one SQLite file: the journal, the request records, the keys and their owners.

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
from contextlib import closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from ledger import migrations
from ledger.errors import LedgerCorrupt, LedgerLocked, LedgerTooNew, LedgerUnavailable
from ledger.journal import agents, decisions, owners
from ledger.journal.adjusting import book
from ledger.journal.books import Books
from ledger.journal.connection import Durability, connect, connect_reader
from ledger.journal.entries import REQUEST, read_request
from ledger.journal.holds import AfterHold, lapse
from ledger.journal.reconcile import Question, Reconciliation, adjustments, compare
from ledger.journal.recovery import Recovery, recover
from ledger.journal.reports import spent, usage
from ledger.journal.writer import GroupCommitWriter
from ledger.ports import Entry, PricingPort
from ledger.records import (
    Adjusted,
    AgentBatch,
    AgentRow,
    AgentStored,
    By,
    Change,
    Checked,
    DecisionRecord,
    Feedback,
    Kind,
    LogCursor,
    Owned,
    Progress,
    RequestRecord,
    Routed,
    Spent,
    Subscription,
    UsageRow,
)

T = TypeVar("T")


# After an unclean end the file is checked for at most so long: a large one is not worth a late start, since SQLite
# repairs itself from the WAL and notices damage wherever it reads.
CHECK_LIMIT_S = 3.0
MIGRATION_LIMIT_S = 3600.0
ADJUSTMENTS_AT_ONCE = 200
HEAD_SQL = Path(migrations.__file__).with_name("head.sql")

_REQUEST = f"SELECT {','.join(REQUEST)} FROM requests WHERE request_id = ?"  # noqa: S608  # only names from entries.py
_ADJUSTED = "SELECT coalesce(sum(cost_nusd), 0) FROM entries WHERE kind = 'ADJUST' AND request_id = ?"
# A mark whose name takes pages of its own: a full disk often has room for one page, and not for an entry.
_PROBE = "INSERT INTO marks (name, value) VALUES ('probe' || hex(zeroblob(16384)), 1)"
_FORGET = "DELETE FROM marks WHERE name >= 'probe' AND name < 'probf'"


def _probe(connection: sqlite3.Connection) -> None:
    connection.execute(_FORGET)
    connection.execute(_PROBE)


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


class SqliteLedger:
    """The journal and the keys in one file, which is created (0600, its folder 0700) if it is not there.

    durability: ``process`` loses nothing when the process is killed; ``power`` nothing when the power fails either, at
    the price of one fsync per batch.  prices: what recovery charges by; ``None``: recovered costs are unknown.
    subscriptions: flat fees that reports share.  queue_limit: entries that may wait to be written.  Close it, or use it as
    a context manager.

    Raises: LedgerLocked, LedgerCorrupt, LedgerTooNew; LedgerUnavailable, when the file cannot be opened or made.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        durability: Durability = "process",
        prices: PricingPort | None = None,
        subscriptions: Sequence[Subscription] = (),
        clock_us: Callable[[], int] = now_us,
        queue_limit: int = 10_000,
    ) -> None:
        self.path = Path(path).resolve()
        self.sqlite_version = sqlite3.sqlite_version
        self._prices = prices
        self._subscriptions = subscriptions
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
        self._handed: Callable[[], Callable[[Sequence[Adjusted]], None]] = lambda: lambda _: None

    def write(self, entries: Sequence[Entry], /, *, power: bool = False) -> Awaitable[None]:
        """Write the entries in one transaction, durable when awaited; what is there already is left alone.

        power: durable as in the mode ``power``, whatever this ledger's is.
        It is queued at once, whether or not the result is awaited.  Raises: LedgerUnavailable; EntryRefused.
        """
        return self._writer.write(entries, power=power)

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

    def spent(self, since_us: int, /) -> Awaitable[Sequence[Spent]]:
        """What every key spent in each day from that of ``since_us`` on, by the entries that were handed in before.

        It is queued at once among the writes.  Raises: LedgerUnavailable.
        """
        return self._writer.run(partial(spent, since_us=since_us))

    async def recover(self) -> Recovery:
        """Settle what a crash left open.  Call it once, before the first write."""
        at_us = self._clock_us()
        recovery = await self._writer.run(partial(recover, at_us=at_us, prices=self._prices))
        self._writer.watermark.enabled = True
        return recovery

    async def lapse_holds(self, *, hold_us: int, policy: AfterHold) -> int:
        """Resolve the tries that were held for longer than that.  How many they were.  Raises: LedgerUnavailable."""
        at_us = self._clock_us()
        work = partial(lapse, before_us=at_us - hold_us, at_us=at_us, policy=policy)
        total = 0
        while found := await self._adjust(work):
            total += len(found)
        return total

    def follow_adjustments(self, handed: Callable[[], Callable[[Sequence[Adjusted]], None]]) -> None:
        """Have somebody told of every adjustment that is booked from now on.

        handed: called in the step in which adjustments are handed to the writer, after everything that was handed in before;
        what it returns is called once they are written.
        """
        self._handed = handed

    def _adjust(self, job: Callable[[sqlite3.Connection], list[Adjusted]]) -> Awaitable[list[Adjusted]]:
        """Book adjustments, and tell of them also if whoever asked for them waits no longer.  Raises: LedgerUnavailable."""
        written = self._handed()
        future = self._writer.run(job)

        def done(future: asyncio.Future[list[Adjusted]]) -> None:
            if not future.cancelled() and future.exception() is None:
                written(future.result())

        future.add_done_callback(done)
        return asyncio.shield(future)

    async def reconcile(self, question: Question, /, *, apply: bool) -> Reconciliation:
        """Compare a provider's report with the journal; ``apply``: book what makes ours theirs, and compare again.

        Raises: LedgerUnavailable.
        """
        if not apply:
            return await self._apart(partial(compare, question=question, prices=self._prices))
        at_us = self._clock_us()
        plan = partial(adjustments, question=question, at_us=at_us, prices=self._prices)
        entries = await self._apart(plan)
        booked: list[Adjusted] = []
        for start in range(0, len(entries), ADJUSTMENTS_AT_ONCE):
            booked += await self._adjust(partial(book, entries=entries[start : start + ADJUSTMENTS_AT_ONCE]))
        found = await self.reconcile(question, apply=False)
        found.adjusted, found.adjusted_nusd = len(booked), sum(it.cost_nusd for it in booked)
        return found

    def store_agents(self, batch: AgentBatch, /) -> asyncio.Future[AgentStored]:
        """Keep what coding agents used, and how far their logs are read: all of it or nothing; what is there is left alone.

        Raises: LedgerUnavailable.
        """
        return self._writer.run(partial(agents.store, batch=batch))

    def store_agent_rows(self, rows: Sequence[AgentRow], cursors: Sequence[LogCursor], /) -> asyncio.Future[int]:
        """The same of rows as ``agents.row_of`` makes them, each event once and in the order of their hashes; how many were
        news.  For those who have the ledger for themselves: entries would wait for it.   Raises: LedgerUnavailable.
        """
        return self._writer.run(partial(agents.store_rows, rows=rows, cursors=cursors))

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
        found = await self._query(lambda connection: connection.execute(_REQUEST, (request_id,)).fetchone())
        return read_request(found) if found else None

    async def adjusted_nusd(self, request_id: str, /) -> int:
        """By how much its tries' costs were adjusted since they were settled."""
        (total,) = await self._query(lambda connection: connection.execute(_ADJUSTED, (request_id,)).fetchone())
        return int(total)

    async def usage(self, by: By, /, *, since_us: int, until_us: int, key_id: str | None) -> Sequence[UsageRow]:
        """What was asked, answered and charged, from the hour of ``since_us`` to before that of ``until_us``."""

        def report() -> list[UsageRow]:
            return usage(
                self.path, by=by, since_us=since_us, until_us=until_us, key_id=key_id, subscriptions=self._subscriptions
            )

        return await self._offload(report)

    async def decision(self, request_id: str, /) -> DecisionRecord | None:
        """Why a request went where it went; ``None``: it was not routed, or that is no longer kept."""
        return await self._query(partial(decisions.decision, request_id=request_id))

    async def routed(
        self,
        *,
        since_us: int,
        until_us: int = decisions.FOREVER_US,
        policy: str = "",
        newest: int = decisions.NEWEST,
    ) -> Sequence[Routed]:
        """The newest so many routed requests of a stretch of time, the oldest first.  Raises: LedgerUnavailable."""
        work = partial(decisions.routed, since_us=since_us, until_us=until_us, policy=policy, newest=newest)
        return await self._apart(work)

    def give(self, rows: Sequence[Feedback], /) -> Awaitable[Sequence[Feedback]]:
        """Keep feedback, all rows or none; the rows that stand now: the given ones, or those that were there before.

        It is queued at once, and durable when awaited.  Raises: LedgerUnavailable.
        """
        return self._writer.run(partial(decisions.give, rows=rows))

    async def given(self, *, since_us: int, newest: int) -> Sequence[Feedback]:
        """The newest so many rows of feedback since then, the oldest first.  Raises: LedgerUnavailable."""
        return await self._apart(partial(decisions.given, since_us=since_us, newest=newest))

    async def note_checks(self, rows: Sequence[Checked], /) -> None:
        """Keep what could be checked of answers.  Raises: LedgerUnavailable."""
        await self._writer.run(partial(decisions.note_checks, rows=rows))

    async def checked(self, *, since_us: int, newest: int) -> Sequence[Checked]:
        """The newest so many checks since then, the oldest first.  Raises: LedgerUnavailable."""
        return await self._apart(partial(decisions.checked, since_us=since_us, newest=newest))

    async def forget_decisions(self, before_us: int, /) -> int:
        """Remove decisions and checks that are older; how many rows.  Raises: LedgerUnavailable."""
        total = 0
        while count := await self._writer.run(partial(decisions.forget, before_us=before_us)):
            total += count
        return total

    async def owned(self) -> Owned:
        """Every key, team, user and budget that is stored; revoked and removed ones too."""
        return await self._query(owners.owned)

    def put(self, change: Change, owner: owners.Owner | None, /) -> asyncio.Future[None]:
        """Keep an object and the line of the audit log, both or neither; ``None`` removes the budget that the change names.

        Raises: LedgerUnavailable; NameTaken, when something live has that name (or anything that digest).
        """
        return self._writer.run(lambda connection: owners.put(connection, change, owner))

    async def changes(
        self, *, limit: int, before_id: int | None = None, kind: Kind | None = None, object: str | None = None
    ) -> Sequence[Change]:
        """The audit log, the latest first."""
        return await self._query(partial(owners.changes, limit=limit, before_id=before_id, kind=kind, object=object))

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

    async def _query(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """What ``job`` reads, in the reader's thread.  Raises: LedgerUnavailable."""
        return await self._offload(partial(self._fetch, job))

    async def _offload(self, work: Callable[[], T]) -> T:
        """Do it in the thread that reads."""
        if self._closed:
            raise LedgerUnavailable("the ledger is closed")
        return await asyncio.get_running_loop().run_in_executor(self._reader, work)

    async def _apart(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read in a thread and through a connection of its own, since it takes long and others want to read meanwhile."""
        if self._closed:
            raise LedgerUnavailable("the ledger is closed")
        return await asyncio.to_thread(self._reading_of, work)

    def _reading_of(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with closing(connect_reader(self.path)) as connection:
                connection.execute("BEGIN")  # one moment for all that is read
                return work(connection)
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"the ledger's file cannot be read: {error}") from error

    def _fetch(self, job: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._reading is None:
                self._reading = connect_reader(self.path)
            return job(self._reading)
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
