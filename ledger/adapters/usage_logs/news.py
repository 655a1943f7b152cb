"""Many logs at once: what is new in them, as rows of the ledger, read in processes of their own where that pays.

A job is some small files, or a slice of a large one.  Whoever keeps the rows has only to insert them.
"""

from __future__ import annotations

import gc
import marshal
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import PurePath
from types import TracebackType
from typing import Self

import msgspec

from ledger.adapters.usage_logs.scan import FORMATS, LogFile, Reader
from ledger.errors import SourceUnreadable
from ledger.journal.agents import largest, row_of
from ledger.records import AgentRow, LogCursor

SLICE_BYTES = 8 << 20
"""Of a log that is read in one job."""
FILES_AT_ONCE = 64
WORTH_BYTES = 4 << 20
"""From so much on, processes of their own are worth their start."""
WORKERS_MAX = 8
AHEAD = 32
"""Jobs that may be under way or done before their news are asked for."""
READERS_NICE = 5
"""By so much less urgent than whoever keeps the rows: what that one has not done when all is read, one processor does alone."""
PARENT_S = 1.0
"""Between two looks at whether the process that wants the news is still there."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A file to be read on, from ``before`` to ``until_bytes``.  keeps: how far it is read may be noted."""

    file: LogFile
    before: LogCursor | None
    until_bytes: int
    keeps: bool = True

    @property
    def from_bytes(self) -> int:
        """Where it was left."""
        return 0 if self.before is None else min(self.before.offset_bytes, self.file.size_bytes)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Parts to be read together.

    since_us: events before it are left out.  paths: whole paths of projects are kept.  slice_bytes: of a large file so much
    is read at once.
    """

    parts: tuple[Part, ...]
    since_us: int = 0
    paths: bool = False
    slice_bytes: int = SLICE_BYTES


Sums = tuple[int, int, int, int, int]
"""Calls; tokens: in, of them cached, out, of them reasoning."""


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What was new.

    rows: marshalled: of each event the row that says most, in the order of their hashes.  sums: of these, by provider and
    model.  events: lines that told of usage.
    early: those before ``since_us``, which were left out; such a file has no cursor, so that they are found another time.
    skipped: what else was left out, by reason.  cursors: how far the files are read.  rest: what is left of a large file.
    read_bytes: how much was looked at.
    """

    rows: bytes
    sums: dict[tuple[str, str], Sums]
    events: int
    early: int
    skipped: dict[str, int]
    cursors: tuple[LogCursor, ...]
    rest: Part | None
    read_bytes: int

    def unpacked(self) -> list[AgentRow]:
        """The rows."""
        rows: list[AgentRow] = marshal.loads(self.rows)  # noqa: S302  # made by our own child
        return rows


def jobs(
    places: Iterable[tuple[LogFile, LogCursor | None]],
    *,
    since_us: int = 0,
    paths: bool = False,
    slice_bytes: int = SLICE_BYTES,
) -> Iterator[Job]:
    """The files in jobs: small ones together, of large ones the first slice."""

    def job(parts: Iterable[Part]) -> Job:
        return Job(parts=tuple(parts), since_us=since_us, paths=paths, slice_bytes=slice_bytes)

    group: list[Part] = []
    group_bytes = 0
    for file, before in places:
        part = _slice(Part(file=file, before=before, until_bytes=file.size_bytes), slice_bytes)
        part_bytes = part.until_bytes - part.from_bytes
        if group and (group_bytes + part_bytes > slice_bytes or len(group) >= FILES_AT_ONCE):
            yield job(group)
            group, group_bytes = [], 0
        if part.until_bytes < file.size_bytes:
            yield job((part,))
            continue
        group.append(part)
        group_bytes += part_bytes
    if group:
        yield job(group)


def read(job: Job) -> News:
    """Do a job.  About 9 µs for an event and the line beside it."""
    rows: list[AgentRow] = []
    cursors: list[LogCursor] = []
    skipped: dict[str, int] = {}
    early = read_bytes = 0
    rest: Part | None = None
    for part in job.parts:
        whole = part.until_bytes == part.file.size_bytes
        file = part.file if whole else msgspec.structs.replace(part.file, size_bytes=part.until_bytes)
        reader = Reader(file, part.before, paths=job.paths)
        left_out = 0
        for event in reader.events():
            if event.at_us < job.since_us:
                left_out += 1
            else:
                rows.append(row_of(event))
        for reason, count in reader.reading.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
        early += left_out
        read_bytes += part.until_bytes - part.from_bytes
        keeps = part.keeps and not left_out
        if keeps and reader.cursor is not None:
            cursors.append(reader.cursor)
        if not whole and reader.cursor is not None:
            rest = _rest(part, reader.cursor, job.slice_bytes, keeps=keeps)
    events = len(rows)
    rows = largest(rows)
    return News(
        rows=marshal.dumps(rows),
        sums=summed(rows),
        events=events,
        early=early,
        skipped=skipped,
        cursors=tuple(cursors),
        rest=rest,
        read_bytes=read_bytes,
    )


def summed(rows: Iterable[AgentRow]) -> dict[tuple[str, str], Sums]:
    """What rows come to, by provider and model."""
    groups: dict[tuple[str, str], list[AgentRow]] = {}
    for row in rows:
        groups.setdefault((row[6], row[7]), []).append(row)
    return {key: _sums(group) for key, group in groups.items()}


def _sums(group: Sequence[AgentRow]) -> Sums:
    # Column by column, each in one call: there are many rows, and few models.
    uncached, cached, written, written_1h, text, thought = map(sum, list(zip(*group, strict=True))[9:15])
    return len(group), uncached + cached + written + written_1h, cached, text + thought, thought


class Readers:
    """Does jobs, in as many processes as there are processors if there is enough to read, else here.

    They are forked when it is entered: enter it before there are threads.   worth: whether there is enough to read.
    """

    def __init__(self, *, worth: bool, workers: int | None = None) -> None:
        here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._workers = min(here, WORKERS_MAX) if workers is None else workers
        if not worth or "fork" not in multiprocessing.get_all_start_methods() or self._workers < 2:
            self._workers = 0
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._workers:
            self._pool = ProcessPoolExecutor(
                self._workers, multiprocessing.get_context("fork"), initializer=_begin, initargs=(os.getpid(),)
            )
            self._pool.submit(os.getpid).result()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def news(self, work: Iterable[Job], /) -> Iterator[News]:
        """What every job and the rest of each large file brings, in the order in which they are done.

        Raises: SourceUnreadable, when a process was ended from outside.
        """
        try:
            yield from self._news(work)
        except BrokenProcessPool as error:
            raise SourceUnreadable("a process that was reading logs was ended") from error

    def _news(self, work: Iterable[Job]) -> Iterator[News]:
        todo = iter(work)
        rests: deque[Job] = deque()
        pending: set[Future[News]] = set()
        by_future: dict[Future[News], Job] = {}
        while True:
            while len(pending) < (AHEAD if self._pool else 1):
                job = rests.popleft() if rests else next(todo, None)
                if job is None:
                    break
                future = self._begin(job)
                pending.add(future)
                by_future[future] = job
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                job = by_future.pop(future)
                found = future.result()
                if found.rest is not None:
                    rests.append(msgspec.structs.replace(job, parts=(found.rest,)))
                yield found

    def _begin(self, job: Job) -> Future[News]:
        if self._pool is not None:
            return self._pool.submit(read, job)
        future: Future[News] = Future()
        future.set_result(read(job))
        return future


def size_bytes(places: Iterable[tuple[LogFile, LogCursor | None]], /) -> int:
    """How much there is to read in these files."""
    return sum(file.size_bytes - min(before.offset_bytes if before else 0, file.size_bytes) for file, before in places)


def worth(places: Iterable[tuple[LogFile, LogCursor | None]], /) -> bool:
    """Whether that is enough for processes of their own."""
    return size_bytes(places) >= WORTH_BYTES


def _slice(part: Part, length_bytes: int) -> Part:
    """As much of it as is read at once; all of it where it is no file of lines."""
    if PurePath(part.file.path).suffix not in FORMATS[part.file.agent].lines:
        return part
    return msgspec.structs.replace(part, until_bytes=min(part.from_bytes + length_bytes, part.file.size_bytes))


def _rest(part: Part, cursor: LogCursor, length_bytes: int, *, keeps: bool) -> Part:
    """What comes after a slice; the same again and more of it, where not one line of it was whole."""
    if cursor.offset_bytes <= part.from_bytes:
        length_bytes = 2 * (part.until_bytes - part.from_bytes)
    return _slice(msgspec.structs.replace(part, before=cursor, until_bytes=part.file.size_bytes, keeps=keeps), length_bytes)


def _begin(parent: int) -> None:
    """A reader's process leaves with the one that wants the news, and leaves interruptions to it."""
    gc.disable()  # it makes rows by the hundred thousand and not one cycle
    os.nice(READERS_NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
