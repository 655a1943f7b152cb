"""Many logs at once, in slices and by several processes, bring what one reader finds."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.adapters.usage_logs import news, scan
from ledger.errors import SourceUnreadable
from ledger.journal.agents import largest, row_of
from ledger.records import AgentRow, LogCursor
from tests.ledger.adapters.usage_logs.logs import AGENTS, DATA
from tests.ledger.adapters.usage_logs.test_scan import put, whole


def places(root: Path, agent: str) -> list[tuple[scan.LogFile, LogCursor | None]]:
    return [(log, None) for log in scan.files(agent, root, {})]


def alone(root: Path, agent: str) -> tuple[list[AgentRow], list[LogCursor | None]]:
    """What one reader finds, and where it leaves the files."""
    rows, cursors = [], []
    for log, before in places(root, agent):
        reader = scan.Reader(log, before)
        rows += map(row_of, reader.events())
        cursors.append(reader.cursor)
    return largest(rows), cursors


def gathered(work: Iterable[news.News]) -> tuple[list[AgentRow], dict[bytes, LogCursor], list[news.News]]:
    rows, cursors, every = [], {}, []
    for told in work:
        every.append(told)
        rows += told.unpacked()
        cursors |= {it.file_hash: it for it in told.cursors}
    return largest(rows), cursors, every


@pytest.mark.parametrize("agent", AGENTS)
@settings(deadline=None, max_examples=25)
@given(slice_bytes=st.integers(1, 3_000))
def test_however_a_file_is_sliced_the_same_is_found(agent: str, slice_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        put(root, agent, whole(agent))

        with news.Readers(worth=False) as readers:
            rows, cursors, every = gathered(readers.news(news.jobs(places(root, agent), slice_bytes=slice_bytes)))

        expected, (cursor,) = alone(root, agent)
        assert cursor is not None
        assert rows == expected
        assert cursors == {cursor.file_hash: cursor}
        assert sum(told.read_bytes for told in every) >= len(whole(agent))


def test_files_of_no_lines_are_read_whole() -> None:
    root = DATA / "cursor.csv"

    with news.Readers(worth=False) as readers:
        rows, _, every = gathered(readers.news(news.jobs(places(root, "cursor"), slice_bytes=10)))

    assert (rows, len(every)) == (alone(root, "cursor")[0], 1)
    assert rows


def copies(root: Path, count: int) -> None:
    """Sessions that repeat each other."""
    for number in range(count):
        path = root / f"{number}" / "session.jsonl"
        path.parent.mkdir(parents=True)
        path.write_bytes(whole("claude-code"))


def test_small_files_are_read_together_and_each_is_noted(tmp_path: Path) -> None:
    copies(tmp_path, 2 * news.FILES_AT_ONCE + 1)
    work = list(news.jobs(places(tmp_path, "claude-code")))

    with news.Readers(worth=False) as readers:
        rows, cursors, every = gathered(readers.news(work))

    assert [len(job.parts) for job in work] == [news.FILES_AT_ONCE, news.FILES_AT_ONCE, 1]
    assert (rows, len(cursors)) == (alone(tmp_path, "claude-code")[0], 2 * news.FILES_AT_ONCE + 1)
    assert sum(told.events for told in every) > len(rows)


def test_several_processes_find_what_one_does(tmp_path: Path) -> None:
    copies(tmp_path, 40)

    with news.Readers(worth=True, workers=2) as readers:
        rows, cursors, every = gathered(readers.news(news.jobs(places(tmp_path, "claude-code"), slice_bytes=2_000)))

    assert rows == alone(tmp_path, "claude-code")[0]
    assert len(cursors) == 40
    assert len(every) > 40
    assert multiprocessing.active_children() == []


def test_what_rows_come_to_is_summed_by_provider_and_model(tmp_path: Path) -> None:
    put(tmp_path, "claude-code", whole("claude-code"))

    with news.Readers(worth=False) as readers:
        rows, _, (told,) = gathered(readers.news(news.jobs(places(tmp_path, "claude-code"))))

    assert told.sums == news.summed(rows)
    assert sum(it[0] for it in told.sums.values()) == len(rows)
    assert sum(it[1] + it[3] for it in told.sums.values()) == sum(row[1] for row in rows)


@given(slice_bytes=st.integers(200, 5_000))
@settings(deadline=None, max_examples=25)
def test_events_that_are_too_early_are_found_when_they_are_wanted(slice_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        put(root, "claude-code", whole("claude-code"))
        every_row, _ = alone(root, "claude-code")
        since_us = sorted(row[2] for row in every_row)[len(every_row) // 2]

        with news.Readers(worth=False) as readers:
            asked = news.jobs(places(root, "claude-code"), since_us=since_us, slice_bytes=slice_bytes)
            late, cursors, every = gathered(readers.news(asked))
            again = [(log, cursors.get(log.file_hash)) for log, _ in places(root, "claude-code")]
            rest, _, _ = gathered(readers.news(news.jobs(again)))

    assert sum(told.early for told in every) > 0
    assert all(row[2] >= since_us for row in late)
    assert largest([*late, *rest]) == every_row


def test_what_was_read_is_read_on_from_there(tmp_path: Path) -> None:
    path = put(tmp_path, "codex", whole("codex"))
    _, (cursor,) = alone(tmp_path, "codex")
    assert cursor is not None
    with path.open("ab") as file:
        file.write(b"\n")
    (log,) = scan.files("codex", tmp_path, {})

    (job,) = news.jobs([(log, cursor)])

    assert [(part.from_bytes, part.until_bytes) for part in job.parts] == [(cursor.offset_bytes, log.size_bytes)]
    assert news.size_bytes([(log, cursor)]) == log.size_bytes - cursor.offset_bytes
    assert news.read(job).events == 0


def test_little_is_read_here_and_much_elsewhere(tmp_path: Path) -> None:
    put(tmp_path, "codex", whole("codex"))
    (place,) = places(tmp_path, "codex")
    large = scan.LogFile(place[0].agent, place[0].path, place[0].below, news.WORTH_BYTES, 0)

    assert (news.worth([place]), news.worth([(large, None)])) == (False, True)


def test_a_process_that_is_ended_from_outside_is_told(tmp_path: Path) -> None:
    copies(tmp_path, 2)

    with news.Readers(worth=True, workers=2) as readers, pytest.raises(SourceUnreadable):
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)
        gathered(readers.news(news.jobs(places(tmp_path, "claude-code"))))


FORSAKEN = """
import multiprocessing, time
from ledger.adapters.usage_logs import news
with news.Readers(worth=True, workers=2):
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(60)
"""


def is_there(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody asked about does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it looks at processes as Linux shows them")
def test_readers_leave_with_the_process_that_wants_the_news() -> None:
    with subprocess.Popen([sys.executable, "-c", FORSAKEN], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(word) for word in parent.stdout.readline().split()]

        parent.kill()

    deadline_s = time.monotonic() + 20
    while left := [pid for pid in children if is_there(pid)]:
        assert time.monotonic() < deadline_s, f"{left} are still there"
        time.sleep(0.05)
    assert len(children) == 2
