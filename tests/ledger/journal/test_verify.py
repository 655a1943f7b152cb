import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger import migrations
from ledger.errors import LedgerUnavailable
from ledger.journal.batch import write
from ledger.journal.chain import GENESIS
from ledger.journal.verify import verify
from ledger.records import Adjustment
from tests.ledger.samples import record, reservation, settlement, void

HEAD_SQL = Path(migrations.__file__).with_name("head.sql").read_text()


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Three requests that ended, one that is open, and an adjustment."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(HEAD_SQL)
        for n in range(3):
            write(connection, [reservation(f"req_{n}", max_cost_nusd=9_000_000)])
            write(connection, [settlement(f"req_{n}"), record(f"req_{n}")])
        write(connection, [reservation("req_open", max_cost_nusd=5), reservation("req_2", 2), void("req_2", 2)])
        write(connection, [adjustment(-250_000)])
        yield connection


def adjustment(cost_nusd: int) -> Adjustment:
    return Adjustment(request_id="req_1", attempt=1, at_us=9, cost_nusd=cost_nusd, reason="report", evidence="report 7")


def tamper(connection: sqlite3.Connection, *statements: str) -> None:
    """What somebody does who has the file and knows SQL."""
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    for _, sql in triggers:
        connection.execute(sql)


def test_a_whole_journal_has_no_faults(connection: sqlite3.Connection) -> None:
    found = verify(connection)

    assert found.faults == ()
    assert (found.entries, found.open_attempts, found.reserved_nusd) == (10, 1, 5)
    assert found.spent_nusd == 3 * 4_250_000 - 250_000
    assert found.head == connection.execute("SELECT lower(hex(h)) FROM entries ORDER BY id DESC LIMIT 1").fetchone()[0]


def test_an_empty_journal_is_whole() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(HEAD_SQL)

        found = verify(connection)

    assert (found.faults, found.entries, found.head) == ((), 0, GENESIS.hex())


@pytest.mark.parametrize(
    ("statement", "at"),
    [
        ("UPDATE entries SET cost_nusd = cost_nusd - 1 WHERE id = 4", 4),
        ("UPDATE entries SET at_us = at_us + 1 WHERE id = 1", 1),
        ("UPDATE entries SET usage_raw = x'00' WHERE id = 6", 6),
        ("UPDATE entries SET key_id = 'key_9' WHERE id = 2", 2),
        ("UPDATE entries SET h = x'00' WHERE id = 5", 5),
        ("DELETE FROM entries WHERE id = 3", 4),
        ("UPDATE entries SET id = 100 WHERE id = 2", 3),
        (
            "INSERT INTO entries (id, kind, request_id, attempt, at_us, h) VALUES (0, 'RESERVE', 'req_9', 1, 1, zeroblob(32))",
            0,
        ),
    ],
)
def test_the_first_break_of_the_chain_is_named(connection: sqlite3.Connection, statement: str, at: int) -> None:
    tamper(connection, statement)

    faults = verify(connection).faults

    assert faults[0].startswith(f"the chain breaks at entry {at}:")


def test_a_journal_that_was_cut_off_lacks_the_head_that_was_noted(connection: sqlite3.Connection) -> None:
    noted = verify(connection).head
    write(connection, [void("req_open")])
    grown = verify(connection, head=noted)

    tamper(connection, "DELETE FROM entries WHERE id >= 10", "UPDATE rollups SET adjusted_nusd = 0")
    cut = verify(connection, head=noted)

    assert grown.faults == ()
    assert [fault.split(" ", 3)[:3] for fault in cut.faults] == [["the", "noted", "head"]]


@pytest.mark.parametrize(
    ("statements", "fault"),
    [
        (["UPDATE requests SET cost_nusd = 0 WHERE request_id = 'req_1'"], "a request costs what its tries cost; 1 times"),
        (["UPDATE rollups SET requests = requests + 1"], "the rollups are the sum of the requests; 2 times"),
        (["DELETE FROM rollups"], "the rollups are the sum of the requests; 1 times"),
        (["UPDATE rollups SET adjusted_nusd = 0"], "the rollups have every adjustment; 1 times"),
        (
            ["DROP INDEX entries_reserve", "UPDATE entries SET request_id = 'req_0' WHERE id = 7"],
            "a try is reserved once; 1 times, as at req_0 attempt 1",
        ),
        (
            ["DROP INDEX entries_terminal", "UPDATE entries SET request_id = 'req_0', attempt = 1 WHERE id = 9"],
            "a try ends once; 1 times, as at req_0 attempt 1",
        ),
        (["UPDATE entries SET attempt = 7 WHERE id = 2"], "entry 2 ends a try that is not open: attempt 7 of req_0"),
        (
            ["UPDATE entries SET max_cost_nusd = 1 WHERE id = 2"],
            "9000004 nano-USD are reserved, but 5 by the tries that are open",
        ),
        (
            ["PRAGMA ignore_check_constraints = ON", "UPDATE entries SET cost_nusd = -1 WHERE id = 2"],
            "entry 2 costs -1, which is no amount",
        ),
        (
            ["PRAGMA ignore_check_constraints = ON", "UPDATE entries SET kind = 'GIFT' WHERE id = 2"],
            "entry 2 is of an unknown kind",
        ),
    ],
)
def test_what_does_not_add_up_is_named(connection: sqlite3.Connection, statements: list[str], fault: str) -> None:
    tamper(connection, *statements)

    faults = verify(connection).faults

    assert any(fault in each for each in faults), faults


def test_long_work_says_how_far_it_is(connection: sqlite3.Connection) -> None:
    steps: list[tuple[int, int]] = []

    verify(connection, step=lambda done, count: steps.append((done, count)), step_entries=4)

    assert steps == [(4, 10), (8, 10)]


def test_no_file_is_no_whole_journal(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        verify(tmp_path / "none.sqlite")
