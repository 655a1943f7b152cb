"""The one writer of a ledger's file: many entries to a transaction, one transaction at a time.

The event loop puts entries into a queue; a thread takes everything queued, writes it in one transaction and wakes the
loop once for all who wait.  The busier it is, the larger the batches.  Two rules keep it cheap and the file whole:

* Python's sqlite3 gives up the GIL at every statement and has to win it back from a busy loop each time, so rows go in
  by statements of many rows, and a batch of one statement has no BEGIN and COMMIT around it.
* The file has one writing connection and no memory map: SQLite before 3.51.3 can lose a WAL reset between two.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from ledger.errors import EntryRefused, LedgerError, LedgerUnavailable
from ledger.journal.batch import Batch, Statements, append, is_there
from ledger.journal.books import Books
from ledger.journal.recovery import Watermark
from ledger.ports import Entry
from ledger.records import Progress

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]
# Who waits, if anybody does; the entries to write, or the job to run; whether the entries must survive a power cut.
Item = tuple["asyncio.Future[Any] | None", Sequence[Entry | Progress], "Job[Any] | None", bool]

# After these the connection is opened anew: what it has in memory may no longer be what the disk holds.
REOPEN = frozenset((sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB))
# SQLite's number for ``PRAGMA synchronous = FULL``.
FULL = 2
TOUCH = "INSERT INTO marks (name, value) VALUES ('flushed', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
# What sqlite3 raises for a value that no disk would take: a bug of the caller, not a fault of the file.
REFUSED = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
    sqlite3.NotSupportedError,
    sqlite3.InterfaceError,
)


class GroupCommitWriter:
    """Appends entries from a thread of its own; one event loop at a time may use it.

    connect: opens the writing connection with ``isolation_level=None``; called in the thread, again after an I/O error.
    queue_limit: entries that may wait; beyond it ``write`` refuses at once instead of falling ever further behind.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], *, queue_limit: int = 10_000) -> None:
        self.watermark = Watermark()
        self._books = Books()
        self.failing = False  # the last transaction was refused by the disk
        self._connect = connect
        self._queue_limit = queue_limit
        self._queue: SimpleQueue[Item | None] = SimpleQueue()
        self._put_count = 0  # entries; written by the loop alone
        self._done_count = 0  # entries; written by the thread alone
        self._taken: list[Item] = []
        self._closing = False
        self._dead = threading.Event()
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def write(self, entries: Sequence[Entry], /, *, power: bool = False) -> asyncio.Future[None]:
        """Queue entries for the next transaction; the future is done when they are durable, all or none.

        power: durable is what survives a power cut, also where the connection promises less; the whole transaction is then.
        An entry that is there already is left as it is.  Call it on the event loop; it never blocks.
        Raises: LedgerUnavailable, at once if the queue is full or the writer has stopped, else from the future;
        EntryRefused, from the future, for an entry that cannot be written at all.
        """
        if self._put_count - self._done_count + len(entries) > self._queue_limit:
            raise LedgerUnavailable(f"more than {self._queue_limit} entries are waiting to be written")
        future = self._put(entries, None, power=power)
        self._put_count += len(entries)
        return future

    def progress(self, marks: Sequence[Progress], /) -> None:
        """Note how far streams have come, with the next transaction.  Nobody waits for it; what has no room is dropped."""
        room = (self._queue_limit - (self._put_count - self._done_count)) // 2  # the rest is for what matters more
        marks = marks[: max(room, 0)]
        if not marks or self._closing or self._dead.is_set():
            return
        self._put_count += len(marks)
        self._queue.put((None, marks, None, False))

    def run(self, job: Job[T], /) -> asyncio.Future[T]:
        """Run ``job`` in the thread, in a transaction of its own, after everything written before it.

        Raises: LedgerUnavailable, as ``write``; and what the job raises, which undoes it.
        """
        return self._put((), job)

    def close(self, deadline_s: int = 10) -> bool:
        """Write what is queued, stop the thread, close the file.  ``False``: not done within the deadline."""
        if not self._closing:
            self._closing = True
            self._queue.put(None)
        self._thread.join(deadline_s)
        return not self._thread.is_alive()

    def _put(self, entries: Sequence[Entry], job: Job[T] | None, *, power: bool = False) -> asyncio.Future[Any]:
        if self._closing or self._dead.is_set():
            raise LedgerUnavailable("the ledger's writer has stopped")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.put((future, entries, job, power))
        if self._dead.is_set():  # it died between the check and the put, and may not have seen this one
            self._abandon()
        return future

    # --- below, all but _abandon runs in the thread alone --------------------------------------------------

    def _run(self) -> None:
        try:
            while self._serve():
                pass
            self._mark()
        finally:
            self._dead.set()
            self._abandon()
            self._disconnect()

    def _serve(self) -> bool:
        """Wait for work and do all of it; ``False``: that was the last."""
        going = True
        first = self._queue.get()
        items = [first, *(self._queue.get_nowait() for _ in range(self._queue.qsize()))]
        if None in items:
            going = False
        self._taken = [item for item in items if item is not None]
        writes: list[Item] = []
        for item in self._taken:
            if item[2] is None:
                writes.append(item)
                continue
            self._write(writes)
            writes = []
            self._do(item[0], item[2])
        self._write(writes)
        self._taken = []
        if self.watermark.due:
            self._mark()
        return going

    def _write(self, items: list[Item]) -> None:
        """Write these together.  If one of them cannot be written on any disk, the others are written without it."""
        if not items:
            return
        error: LedgerError | None = None
        power = any(item[3] for item in items)
        try:
            batch = Batch([entry for item in items for entry in item[1]])
            try:
                self._append(batch, power=power)
            except sqlite3.IntegrityError as there:
                if not is_there(there):
                    raise
                batch = self._transact(batch.without_seen)
                self._append(batch, power=power)
        except LedgerError as refused:
            error = refused
        except Exception as refused:  # a background task's edge: whatever is wrong with these, the next ones are fine
            error = EntryRefused(f"{type(refused).__name__}: {refused}")
            error.__cause__ = refused
        if isinstance(error, EntryRefused) and len(items) > 1:
            for item in items:
                self._write([item])
            return
        self._done_count += sum(len(item[1]) for item in items)
        _resolve([item[0] for item in items], None, error)

    def _append(self, batch: Batch, *, power: bool) -> None:
        """Write a batch.  Nobody expects it to be there already, so it is not asked first; sqlite3.IntegrityError says so."""
        books = self._books
        statements = self._transact(lambda connection: batch.statements(connection, books), whole=False)
        if power:
            # Also where nothing is left to append: what is there already may have been written without a flush.
            self._transact(lambda connection: _synced(connection, statements), whole=False)
        elif len(batch):
            self._transact(lambda connection: append(connection, statements), whole=len(statements) > 1)
        else:
            self._transact(lambda connection: _unsynced(connection, statements), whole=False)
        books.committed(statements.head, batch.reserves, (*batch.settles, *batch.voids))
        self.watermark.observe(batch)

    def _do(self, future: asyncio.Future[Any] | None, job: Job[T]) -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = self._transact(job)
        except Exception as raised:  # a background task's edge: what the job raises belongs to who waits for it
            error = raised
        self._books.doubt()  # it may have appended entries of its own
        _resolve([future], result, error)

    def _transact(self, work: Job[T], *, whole: bool = True) -> T:
        """Do ``work`` in a transaction; ``whole=False``: it is one statement, which is a transaction by itself."""
        try:
            connection = self._connection or self._reconnect()
            result = _within(connection, work) if whole else work(connection)
        except REFUSED:
            raise
        except sqlite3.Error as error:
            self._books.doubt()
            stuck = self._connection is not None and self._connection.in_transaction
            if stuck or getattr(error, "sqlite_errorcode", 0) & 0xFF in REOPEN:
                self._disconnect()
            self.failing = True
            raise LedgerUnavailable(f"the ledger's file cannot be written: {error}") from error
        self.failing = False
        return result

    def _mark(self) -> None:
        # It only shortens the next recovery: if the disk refuses, the next one is tried.
        with suppress(LedgerUnavailable):
            self._transact(self.watermark.mark)

    def _reconnect(self) -> sqlite3.Connection:
        self._connection = self._connect()
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _abandon(self) -> None:
        """Tell everybody who still waits that nothing will come."""
        items, self._taken = self._taken, []
        with suppress(Empty):
            while True:
                item = self._queue.get_nowait()
                if item is not None:
                    items.append(item)
        _resolve([item[0] for item in items], None, LedgerUnavailable("the ledger's writer has stopped"))


def _within(connection: sqlite3.Connection, work: Job[T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return result


def _synced(connection: sqlite3.Connection, statements: Statements) -> None:
    """Append what must survive a power cut.  SQLite takes the setting between transactions only."""
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    if synchronous >= FULL:
        _append_or_touch(connection, statements)
        return
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = 1")
    try:
        _append_or_touch(connection, statements)
    finally:
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA fullfsync = 0")


def _append_or_touch(connection: sqlite3.Connection, statements: Statements) -> None:
    if len(statements) > 1:
        _within(connection, lambda it: append(it, statements))
    elif statements:
        append(connection, statements)
    else:
        connection.execute(TOUCH)  # only a commit that writes something flushes the log


def _unsynced(connection: sqlite3.Connection, statements: Statements) -> None:
    """Append what may be lost in a power cut, so that it does not cost a flush; the next flush covers it too."""
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        append(connection, statements)
    finally:
        connection.execute(f"PRAGMA synchronous = {synchronous}")


def _resolve(waiting: list[asyncio.Future[Any] | None], result: object, error: BaseException | None) -> None:
    """Wake the loop once for all of them (once for each loop, should there be several)."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[Any]]] = {}
    for future in waiting:
        if future is not None:
            loops.setdefault(future.get_loop(), []).append(future)
    for loop, futures in loops.items():
        with suppress(RuntimeError):  # that loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_finish, futures, result, error)


def _finish(futures: list[asyncio.Future[Any]], result: object, error: BaseException | None) -> None:
    for future in futures:
        if future.done():  # who waited was cancelled
            continue
        if error is None:
            future.set_result(result)
        elif len(futures) == 1:
            future.set_exception(error)
        else:  # each who waits raises its own: a shared one would collect all their tracebacks
            own = type(error)(*error.args)
            own.__cause__ = error.__cause__
            future.set_exception(own)
