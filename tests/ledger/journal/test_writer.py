import asyncio
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

import pytest

from ledger import migrations
from ledger.errors import EntryRefused, LedgerUnavailable
from ledger.journal.connection import connect
from ledger.journal.writer import GroupCommitWriter
from ledger.ports import Entry
from ledger.records import Progress
from tests.ledger.samples import gathered, record, reservation, rows, settlement, void

HEAD_SQL = Path(migrations.__file__).with_name("head.sql").read_text()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(HEAD_SQL)
    connection.close()
    return path


@pytest.fixture
def writer(file: Path) -> Iterator[GroupCommitWriter]:
    writer = GroupCommitWriter(partial(connect, file, "process"))
    yield writer
    assert writer.close(10)


class Gate:
    """Holds the writer's thread inside a job, so that what is written meanwhile waits in the queue."""

    def __init__(self, writer: GroupCommitWriter) -> None:
        self._open = threading.Event()
        self._entered = threading.Event()
        self._job = writer.run(self._wait)

    def _wait(self, _: sqlite3.Connection) -> None:
        self._entered.set()
        assert self._open.wait(10)

    async def __aenter__(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, 10)

    async def __aexit__(self, *_: object) -> None:
        self._open.set()
        await self._job


def verbs(executed: list[str]) -> list[str]:
    """What was executed to write.  What only reads is left out; each trigger shows the statement that fired it again."""
    return [text.split()[0] for text, _ in groupby(executed) if not text.startswith("SELECT")]


async def test_what_is_awaited_is_in_the_file(writer: GroupCommitWriter, file: Path) -> None:
    await writer.write([reservation()])
    await writer.write([settlement(), record()])

    assert rows(file, "SELECT kind, request_id, attempt FROM entries ORDER BY id") == [
        ("RESERVE", "req_1", 1),
        ("SETTLE", "req_1", 1),
    ]
    assert rows(file, "SELECT request_id, cost_nusd FROM requests") == [("req_1", 4_250_000)]


async def test_every_field_of_an_entry_is_in_its_column(writer: GroupCommitWriter, file: Path) -> None:
    await writer.write([reservation(stream=True), settlement(cost_nusd=None), reservation(attempt=2), void(attempt=2)])

    assert rows(
        file,
        "SELECT kind, attempt, at_us, key_id, endpoint, model, provider, account, upstream_model, stream, "
        "input_tokens_estimate, reason FROM entries WHERE kind != 'SETTLE' ORDER BY id",
    ) == [
        *(
            (
                *("RESERVE", attempt, 1_000_000, "key_1", "chat.completions", "openai/gpt-4o", "openai", "main"),
                *("gpt-4o", stream, 1000, None),
            )
            for attempt, stream in ((1, 1), (2, 0))
        ),
        ("VOID", 2, 2_000_000, *[None] * 8, "connect"),
    ]
    assert rows(
        file,
        "SELECT at_us, quality, input_uncached, cache_read, cache_write, input_audio, output_text, reasoning, "
        "output_audio, cost_nusd, price_source, usage_raw, key_id FROM entries WHERE kind = 'SETTLE'",
    ) == [(2_000_000, "exact", 800, 200, 0, 0, 150, 50, 0, None, "a list", b'{"total_tokens":1200}', None)]


async def test_everything_queued_goes_into_one_transaction(writer: GroupCommitWriter, file: Path) -> None:
    commits: list[str] = []
    await writer.run(lambda connection: connection.set_trace_callback(commits.append))

    async with Gate(writer):
        commits.clear()
        writes = [writer.write([reservation(f"req_{n}"), settlement(f"req_{n}"), record(f"req_{n}")]) for n in range(8)]
    await asyncio.gather(*writes)
    await writer.run(lambda connection: connection.set_trace_callback(None))

    assert verbs(commits) == ["COMMIT", "BEGIN", "INSERT", "INSERT", "COMMIT", "BEGIN"]
    assert rows(file, "SELECT count(*) FROM requests") == [(8,)]


async def test_a_single_statement_has_no_transaction_around_it(writer: GroupCommitWriter) -> None:
    executed: list[str] = []
    await writer.run(lambda connection: connection.set_trace_callback(executed.append))
    executed.clear()

    await writer.write([reservation()])
    written = list(executed)
    await writer.run(lambda connection: connection.set_trace_callback(None))

    assert verbs(written) == ["INSERT"]


async def test_the_same_entries_again_change_nothing(writer: GroupCommitWriter, file: Path) -> None:
    story: list[Entry] = [reservation(), settlement(), record(), reservation("req_2"), void("req_2")]
    await writer.write(story)
    before = rows(file, "SELECT * FROM entries"), rows(file, "SELECT * FROM requests")

    await writer.write(story)
    for entry in story:
        await writer.write([entry])

    assert (rows(file, "SELECT * FROM entries"), rows(file, "SELECT * FROM requests")) == before


async def test_the_first_end_of_an_attempt_is_the_one_that_counts(writer: GroupCommitWriter, file: Path) -> None:
    await writer.write([reservation()])
    await writer.write([void()])
    await writer.write([settlement()])

    assert rows(file, "SELECT kind FROM entries ORDER BY id") == [("RESERVE",), ("VOID",)]


async def test_hundreds_of_entries_in_one_write_are_all_there(writer: GroupCommitWriter, file: Path) -> None:
    ids = [f"req_{n:04d}" for n in range(333)]
    entries: list[Entry] = [make(i) for i in ids for make in (reservation, record, settlement)]

    await writer.write([*entries[1::2], *entries[::2], *(reservation(i, 2) for i in ids), *(void(i, 2) for i in ids)])

    assert rows(file, "SELECT kind, count(*), count(DISTINCT request_id) FROM entries GROUP BY kind ORDER BY kind") == [
        ("RESERVE", 666, 333),
        ("SETTLE", 333, 333),
        ("VOID", 333, 333),
    ]
    assert rows(file, "SELECT count(*) FROM requests") == [(333,)]


async def test_who_stops_waiting_disturbs_nobody(writer: GroupCommitWriter, file: Path) -> None:
    async with Gate(writer):
        left = asyncio.ensure_future(writer.write([reservation("req_left")]))
        stays = writer.write([reservation("req_stays")])
        left.cancel()
    await stays

    assert left.cancelled()
    assert rows(file, "SELECT count(*) FROM entries") == [(2,)]


@pytest.mark.parametrize(
    "bad",
    [
        reservation("req_bad", at_us=2**63),
        reservation("req_bad", model={"not": "text"}),
        reservation("req_bad", model="\ud800"),
        reservation("req_bad", at_us=None),
        settlement("req_bad", cost_nusd=-1),
        settlement("req_bad", tokens=None),
        record("req_bad", attempts=(object(),)),
        "no entry at all",
    ],
    ids=["int too large", "wrong type", "lone surrogate", "missing", "negative cost", "no tokens", "no attempts", "no entry"],
)
async def test_an_entry_that_cannot_be_written_fails_alone(writer: GroupCommitWriter, file: Path, bad: Entry) -> None:
    async with Gate(writer):
        writes = [
            writer.write([reservation("req_1")]),
            writer.write([reservation("req_2"), bad]),
            writer.write([reservation("req_3")]),
        ]
    first, second, third = await gathered(*writes)

    assert (first, third) == (None, None)
    assert isinstance(second, EntryRefused)
    assert rows(file, "SELECT request_id FROM entries ORDER BY id") == [("req_1",), ("req_3",)]


async def test_beyond_the_queue_limit_a_write_is_refused_at_once_and_room_comes_back(file: Path) -> None:
    writer = GroupCommitWriter(partial(connect, file, "process"), queue_limit=3)
    async with Gate(writer):
        waiting = [writer.write([reservation("req_1"), reservation("req_2")]), writer.write([reservation("req_3")])]

        with pytest.raises(LedgerUnavailable, match="more than 3 entries"):
            writer.write([reservation("req_4")])
    await asyncio.gather(*waiting)

    await writer.write([reservation("req_5")])

    assert writer.close(10)
    assert [i for (i,) in rows(file, "SELECT request_id FROM entries ORDER BY id")] == ["req_1", "req_2", "req_3", "req_5"]


async def test_a_full_disk_fails_every_write_and_an_emptied_one_takes_them_again(writer: GroupCommitWriter, file: Path) -> None:
    await writer.write([reservation("req_0")])
    pages = await writer.run(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    await writer.run(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    text, bulk = "x" * 100_000, b"x" * 100_000

    async with Gate(writer):
        writes = [writer.write([reservation(f"req_1{n}", model=text), record(f"req_{n}")]) for n in range(3)]
    refused = await gathered(*writes)
    while_full = rows(file, "SELECT kind, request_id FROM entries"), rows(file, "SELECT count(*) FROM requests")
    await writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchone())
    await writer.write([settlement("req_0", usage_raw=bulk), record("req_0")])

    assert [type(error) for error in refused] == [LedgerUnavailable] * 3
    assert len({id(error) for error in refused}) == 3
    assert while_full == ([("RESERVE", "req_0")], [(0,)])
    assert rows(file, "SELECT kind, request_id FROM entries") == [("RESERVE", "req_0"), ("SETTLE", "req_0")]


FILE_TOO_LARGE = """
import asyncio, os, resource, sys
from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import LedgerUnavailable
from tests.ledger.samples import reservation

async def main(path):
    ledger = SqliteLedger(path, durability="power")
    await ledger.write([reservation("req_before")])
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(path + "-wal"), hard))
    for n in range(3):
        try:
            await ledger.write([reservation(f"req_during_{n}")])
        except LedgerUnavailable:
            print("refused", n)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await ledger.write([reservation("req_after")])
    print("closed", ledger.close())

asyncio.run(main(sys.argv[1]))
"""


def test_an_operating_system_that_refuses_to_write_is_survived(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY

    child = subprocess.run(
        [sys.executable, "-c", FILE_TOO_LARGE, str(tmp_path / "ledger.sqlite")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[3],
    )

    assert child.stdout.split("\n") == ["refused 0", "refused 1", "refused 2", "closed True", ""], child.stderr
    assert rows(tmp_path / "ledger.sqlite", "SELECT request_id FROM entries ORDER BY id") == [
        ("req_before",),
        ("req_after",),
    ]


def test_a_file_that_cannot_be_opened_is_tried_again_at_the_next_write(file: Path) -> None:
    async def write(request_id: str) -> None:
        await writer.write([reservation(request_id)])

    away = file.rename(file.with_name("away"))
    writer = GroupCommitWriter(partial(connect, file, "process"))
    with pytest.raises(LedgerUnavailable):
        asyncio.run(write("req_1"))

    away.rename(file)
    asyncio.run(write("req_2"))

    assert writer.close(10)
    assert rows(file, "SELECT request_id FROM entries") == [("req_2",)]


async def test_closing_writes_what_is_queued_and_then_refuses(writer: GroupCommitWriter, file: Path) -> None:
    async with Gate(writer):
        writes = [writer.write([reservation(f"req_{n}")]) for n in range(50)]
    closed = writer.close(10)

    with pytest.raises(LedgerUnavailable, match="stopped"):
        writer.write([reservation("req_late")])
    assert closed
    assert await gathered(*writes) == [None] * 50
    assert rows(file, "SELECT count(*) FROM entries") == [(50,)]


async def test_closing_says_so_when_the_disk_is_slower_than_the_deadline(writer: GroupCommitWriter) -> None:
    async with Gate(writer):
        closed_in_time = writer.close(0)

    assert not closed_in_time
    assert writer.close(10)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_died_fails_all_who_wait_and_every_later_write(file: Path) -> None:
    writer = GroupCommitWriter(partial(connect, file, "process"))

    def die(_: sqlite3.Connection) -> None:
        raise SystemExit

    async with Gate(writer):
        before = writer.write([reservation("req_before")])
        death = writer.run(die)
        after = writer.write([reservation("req_after")])
    outcomes = await asyncio.wait_for(gathered(before, death, after), 10)

    assert [type(error) for error in outcomes] == [type(None), LedgerUnavailable, LedgerUnavailable]
    with pytest.raises(LedgerUnavailable, match="stopped"):
        writer.write([reservation("req_later")])
    assert writer.close(10)


async def test_a_job_sees_what_was_written_before_it_and_its_result_comes_back(writer: GroupCommitWriter) -> None:
    async with Gate(writer):
        writer.write([reservation()])
        counted = writer.run(lambda connection: connection.execute("SELECT count(*) FROM entries").fetchone()[0])
        writer.write([reservation("req_2")])

    assert await counted == 1


async def test_what_a_failing_job_did_is_undone_and_its_error_comes_back(writer: GroupCommitWriter, file: Path) -> None:
    def job(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO marks VALUES ('a', 1)")
        raise KeyError("a")

    with pytest.raises(KeyError):
        await writer.run(job)
    await writer.write([reservation()])

    assert rows(file, "SELECT count(*) FROM marks") == [(0,)]


def test_a_loop_that_is_gone_does_not_stop_the_writer(file: Path) -> None:
    writer = GroupCommitWriter(partial(connect, file, "process"))
    release = threading.Event()

    async def leave() -> None:
        writer.run(lambda _: release.wait(10))
        writer.write([reservation("req_1")])

    async def come() -> None:
        await writer.write([reservation("req_2")])

    asyncio.run(leave())
    release.set()
    asyncio.run(come())

    assert writer.close(10)
    assert rows(file, "SELECT request_id FROM entries ORDER BY id") == [("req_1",), ("req_2",)]


@pytest.mark.parametrize(("durability", "synchronous"), [("process", 1), ("power", 2)])
def test_durability_decides_whether_a_commit_waits_for_the_disk(file: Path, durability: str, synchronous: int) -> None:
    connection = connect(file, "power" if durability == "power" else "process")

    settings = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode", "mmap_size")]
    connection.close()

    assert settings == [synchronous, "wal", 0]


async def test_notes_of_progress_are_written_without_anybody_waiting(file: Path) -> None:
    writer = GroupCommitWriter(partial(connect, file, "power"), queue_limit=10)
    await writer.write([reservation()])
    executed: list[str] = []
    await writer.run(lambda connection: connection.set_trace_callback(executed.append))
    executed.clear()

    writer.progress([Progress(request_id="req_1", attempt=1, output_tokens=n) for n in (3, 7, 5)])
    await writer.run(lambda connection: connection.set_trace_callback(None))
    synchronous = await writer.run(lambda connection: connection.execute("PRAGMA synchronous").fetchone()[0])

    assert rows(file, "SELECT * FROM progress") == [("req_1", 1, 7)]
    assert [text for text in executed if text.startswith("PRAGMA synchronous =")] == [
        "PRAGMA synchronous = NORMAL",
        "PRAGMA synchronous = 2",
    ]
    assert synchronous == 2
    assert writer.close(10)


async def test_notes_of_progress_leave_room_for_entries_and_are_not_taken_after_the_end(file: Path) -> None:
    writer = GroupCommitWriter(partial(connect, file, "process"), queue_limit=10)
    marks = [Progress(request_id=f"req_{n}", attempt=1, output_tokens=1) for n in range(100)]
    async with Gate(writer):
        for _ in range(5):
            writer.progress(marks)
        waiting = writer.write([reservation()])
    await waiting

    assert writer.close(10)
    writer.progress(marks)
    assert 0 < rows(file, "SELECT count(*) FROM progress")[0][0] < 10


# --- entries that must survive a power cut --------------------------------------------------------------


async def executed_by(file: Path, *writes: tuple[list[Entry], bool], durability: str = "process") -> list[str]:
    """The settings that were changed, and the commits, while these were written in one batch."""
    writer = GroupCommitWriter(partial(connect, file, "power" if durability == "power" else "process"))
    executed: list[str] = []
    await writer.run(lambda connection: connection.set_trace_callback(executed.append))
    async with Gate(writer):
        executed.clear()
        futures = [writer.write(entries, power=power) for entries, power in writes]
    await asyncio.gather(*futures)
    synchronous = await writer.run(lambda connection: connection.execute("PRAGMA synchronous").fetchone()[0])
    assert writer.close(10)
    assert synchronous == (2 if durability == "power" else 1)
    return [text for text in executed if text.startswith("PRAGMA synchronous =")]


async def test_one_entry_that_must_survive_a_power_cut_takes_its_whole_batch_along(file: Path) -> None:
    changed = await executed_by(file, ([reservation("req_1")], False), ([reservation("req_2")], True))

    assert changed == ["PRAGMA synchronous = FULL", "PRAGMA synchronous = 1"]
    assert rows(file, "SELECT count(*) FROM entries") == [(2,)]


async def test_a_batch_without_such_an_entry_costs_no_flush(file: Path) -> None:
    assert await executed_by(file, ([reservation("req_1")], False)) == []


async def test_where_every_entry_survives_a_power_cut_nothing_is_switched(file: Path) -> None:
    assert await executed_by(file, ([reservation("req_1")], True), durability="power") == []


async def test_what_is_there_already_is_flushed_when_it_is_handed_in_again(file: Path) -> None:
    writer = GroupCommitWriter(partial(connect, file, "process"))
    await writer.write([reservation("req_1")])

    await writer.write([reservation("req_1")], power=True)

    assert writer.close(10)
    assert rows(file, "SELECT value FROM marks WHERE name = 'flushed'") == [(1,)]
