import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ledger import migrations
from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import LedgerCorrupt, LedgerLocked, LedgerTooNew, LedgerUnavailable
from ledger.journal.recovery import Recovery
from tests.ledger.samples import OnePrice, change, key, record, reservation, rows, settlement

ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "ledger.sqlite"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def make(path: Path) -> None:
    SqliteLedger(path).close()


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Another process, in the folder that the packages are in."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


def restamp(path: Path, revision: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def test_a_new_ledger_is_for_its_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        with SqliteLedger(path):
            names = {file.name: mode(file) for file in path.parent.iterdir()}
    finally:
        os.umask(before)

    assert mode(path.parent) == 0o700
    assert set(names.values()) == {0o600}
    assert (
        {"ledger.sqlite", "ledger.sqlite.lock"}
        <= names.keys()
        <= {*("ledger.sqlite", "ledger.sqlite.lock", "ledger.sqlite-wal", "ledger.sqlite-shm")}
    )


async def test_a_record_is_read_back_as_it_was_written(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        await ledger.write([record(stream=True, cost_nusd=None)])

        found, missing = await ledger.request("req_1"), await ledger.request("req_2")

    assert (found, missing) == (record(stream=True, cost_nusd=None), None)


async def test_what_was_written_is_there_when_it_opens_again(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        await ledger.write([record()])

    with SqliteLedger(path) as ledger:
        assert await ledger.request("req_1") == record()


async def test_closing_leaves_one_file_and_an_empty_lock(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.write([record()])
    await ledger.request("req_1")

    assert await ledger.aclose()
    assert ledger.close()
    assert sorted((file.name, file.stat().st_size > 0) for file in path.parent.iterdir()) == [
        ("ledger.sqlite", True),
        ("ledger.sqlite.lock", False),
    ]


async def test_a_closed_ledger_refuses_to_read_and_to_write(path: Path) -> None:
    ledger = SqliteLedger(path)
    ledger.close()

    with pytest.raises(LedgerUnavailable):
        ledger.write([record()])
    with pytest.raises(LedgerUnavailable):
        await ledger.request("req_1")
    with pytest.raises(LedgerUnavailable):
        await ledger.owned()
    with pytest.raises(LedgerUnavailable):
        await ledger.put(change(), key())


async def test_recovery_charges_what_a_crash_left_open(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        await ledger.write([reservation()])
    with SqliteLedger(path, prices=OnePrice(), clock_us=lambda: 9_000_000) as ledger:
        first, second = await ledger.recover(), await ledger.recover()
        found = await ledger.request("req_1")

    assert (first, second) == (Recovery(attempts_settled=1, attempts_held=1, requests_interrupted=1), Recovery())
    assert found is not None
    assert (found.outcome, found.status, found.cost_nusd) == ("interrupted", 0, 2_500_000)
    assert rows(path, "SELECT at_us FROM entries WHERE kind = 'SETTLE'") == [(9_000_000,)]


async def test_a_clean_end_notes_that_all_is_settled_so_that_the_next_start_reads_little(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        await ledger.recover()
        await ledger.write([reservation(), settlement(), record()])

    assert rows(path, "SELECT name, value FROM marks") == [("settled_through", 2)]


def test_a_second_opener_is_told_who_has_it(path: Path) -> None:
    with SqliteLedger(path), pytest.raises(LedgerLocked) as refused:
        SqliteLedger(path)

    assert refused.value.pid == os.getpid()
    assert str(refused.value) == f"{path} is in use by process {os.getpid()}; a ledger has one writer"


def test_the_lock_holds_against_another_process_and_through_a_symbolic_link(path: Path) -> None:
    make(path)
    link = path.with_name("link.sqlite")
    link.symlink_to(path)
    code = "import sys; from ledger.adapters.sqlite import SqliteLedger; SqliteLedger(sys.argv[1])"

    with SqliteLedger(path):
        child = python("-c", code, str(link))

    assert child.stderr.strip().endswith(f"LedgerLocked: {path} is in use by process {os.getpid()}; a ledger has one writer")


def test_a_lock_left_by_a_dead_process_stops_nobody(path: Path) -> None:
    make(path)
    Path(f"{path}.lock").write_text("4194304\n")

    with SqliteLedger(path) as ledger:
        assert ledger.path == path
    assert Path(f"{path}.lock").read_text() == ""


def damage(path: Path) -> bytes:
    """Overwrite the index pages with nonsense that only a check of the whole file would find."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entries_reserve'").fetchone()[0]
    data = bytearray(path.read_bytes())
    data[(root - 1) * page_size : root * page_size] = b"\xaa" * page_size
    path.write_bytes(data)
    return bytes(data)


def test_after_an_unclean_end_a_damaged_file_is_found_and_left_alone(path: Path) -> None:
    make(path)
    data = damage(path)
    lock = Path(f"{path}.lock")
    lock.write_text("4194304\n")

    for _ in range(2):  # it is not taken for sound the next time either
        with pytest.raises(LedgerCorrupt, match="is damaged"):
            SqliteLedger(path)

    assert path.read_bytes() == data


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough to look at" * 50], ids=["empty", "text"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(LedgerCorrupt):
        SqliteLedger(path)

    assert path.read_bytes() == content


def test_a_log_without_its_file_is_not_played_into_a_new_one(path: Path) -> None:
    make(path)
    path.rename(path.with_name("ledger.sqlite-wal"))

    with pytest.raises(LedgerCorrupt, match=r"ledger\.sqlite-wal is there"):
        SqliteLedger(path)

    assert not path.exists()


def test_somebody_elses_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE holidays (day)")
    before = path.read_bytes()

    with pytest.raises(LedgerCorrupt, match="is no ledger"):
        SqliteLedger(path)

    assert path.read_bytes() == before


def test_a_file_of_a_later_release_is_refused(path: Path) -> None:
    make(path)
    restamp(path, "9999")

    with pytest.raises(LedgerTooNew, match="revision 9999"):
        SqliteLedger(path)


def test_a_migration_that_fails_says_why_and_lets_go_of_the_lock(path: Path) -> None:
    make(path)
    restamp(path, "0000")

    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match=r"could not be migrated: .*0000"):
            SqliteLedger(path)


OPEN_AND_TELL = """
import sys
from ledger.adapters.sqlite import SqliteLedger
sys.addaudithook(lambda event, _: print(event) if event == "subprocess.Popen" else None)
print("closed", SqliteLedger(sys.argv[1]).close())
"""


@pytest.mark.parametrize("there", [False, True], ids=["new", "up to date"])
def test_a_file_is_opened_without_starting_a_migration(path: Path, there: bool) -> None:
    if there:
        make(path)

    child = python("-c", OPEN_AND_TELL, str(path))

    assert child.stdout == "closed True\n"
    assert rows(path, "SELECT version_num FROM alembic_version") == [(migrations.HEAD,)]


def test_a_file_made_by_the_migrations_command_is_a_ledger(path: Path) -> None:
    async def write_and_read() -> object:
        with SqliteLedger(path) as ledger:
            await ledger.write([reservation(), settlement(), record()])
            return await ledger.request("req_1")

    path.parent.mkdir()

    assert python("-m", "ledger.migrations", "migrate", str(path)).returncode == 0

    assert asyncio.run(write_and_read()) == record()


def test_a_half_made_file_of_a_killed_start_is_made_anew(path: Path) -> None:
    path.parent.mkdir()
    path.with_name("ledger.sqlite.new").write_bytes(b"half")

    make(path)

    assert sorted(file.name for file in path.parent.iterdir()) == ["ledger.sqlite", "ledger.sqlite.lock"]


def test_a_folder_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(LedgerUnavailable, match="file"):
        SqliteLedger(tmp_path / "file" / "ledger.sqlite")


async def test_reads_do_not_wait_for_writes(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        await ledger.write([record()])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            stuck = asyncio.ensure_future(ledger.write([record("req_2")]))

            found = await asyncio.wait_for(ledger.request("req_1"), 5)
            waiting = not stuck.done()
            other.execute("ROLLBACK")
        await stuck

    assert found == record()
    assert waiting
