"""Routed requests beside the journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger import migrations
from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import LedgerUnavailable
from ledger.journal import decisions
from ledger.journal.batch import write
from ledger.records import Tokens
from tests.ledger.samples import checked, decision, feedback, record, reservation, rows, settlement

HEAD_SQL = Path(migrations.__file__).with_name("head.sql").read_text()


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(HEAD_SQL)
        yield connection


def test_a_decision_comes_back_as_it_was_kept(connection: sqlite3.Connection) -> None:
    kept = decision(why="explored", propensity_ppm=25_000)
    unknown = decision("req_2", quality_ppm=None, cost_nusd=None, output_tokens=None, ttft_us=None, latency_us=None)

    write(connection, (kept, unknown))

    assert decisions.decision(connection, "req_1") == kept
    assert decisions.decision(connection, "req_2") == unknown
    assert decisions.decision(connection, "req_3") is None


def test_the_same_decision_twice_is_one(connection: sqlite3.Connection) -> None:
    write(connection, (decision(), record()))

    write(connection, (decision(chosen="another/one"), decision("req_2")))

    assert [it.decision.request_id for it in decisions.routed(connection)] == ["req_1"]
    assert connection.execute("SELECT request_id, chosen FROM decisions ORDER BY id").fetchall() == [
        ("req_1", "openai/gpt-4o"),
        ("req_2", "openai/gpt-4o"),
    ]


async def test_a_decision_is_written_in_the_transaction_of_its_record(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with SqliteLedger(path) as ledger:
        await ledger.write((reservation(),))
        await ledger.write((settlement(), decision(), record()))
        await ledger.write((settlement(), decision(), record()))  # once more, as after a crash

        assert await ledger.decision("req_1") == decision()

    assert rows(path, "SELECT count(*) FROM decisions") == rows(path, "SELECT count(*) FROM requests") == [(1,)]


def test_what_came_of_a_decision_stands_beside_it(connection: sqlite3.Connection) -> None:
    write(connection, (decision(), record(cost_nusd=5, tokens=Tokens(input_uncached=9, cache_read=1, output_text=7))))
    decisions.note_checks(connection, [checked(passed=("answered", "schema")), checked(failed=("kept",), passed=())])
    decisions.give(connection, [feedback(), feedback(source="judge", score_ppm=250_000, weight_ppm=500_000)])

    (found,) = decisions.routed(connection)

    assert found.decision == decision()
    assert (found.key_id, found.offer, found.outcome, found.tries) == ("key_1", "openai/gpt-4o", "ok", 1)
    assert (found.cost_nusd, found.input_tokens, found.output_tokens) == (5, 10, 7)
    assert (found.ttfb_us, found.duration_us) == (900_000, 1_000_000)
    assert (found.passed, found.failed) == (("answered", "schema"), ("kept",))
    assert found.feedback == ((1_000_000, 1_000_000), (250_000, 500_000))


def test_routed_requests_are_those_of_a_time_and_a_policy_the_newest_of_them(connection: sqlite3.Connection) -> None:
    for n in range(6):
        write(connection, (decision(f"r{n}", at_us=n, policy="auto" if n % 2 else "auto:fast"), record(f"r{n}")))

    assert [it.decision.request_id for it in decisions.routed(connection, since_us=1, until_us=5)] == ["r1", "r2", "r3", "r4"]
    assert [it.decision.request_id for it in decisions.routed(connection, newest=2)] == ["r4", "r5"]
    assert [it.decision.request_id for it in decisions.routed(connection, policy="auto", newest=2)] == ["r3", "r5"]


def test_a_request_that_nobody_was_asked_for_has_no_offer(connection: sqlite3.Connection) -> None:
    write(connection, (decision(), record(provider="", upstream_model="", attempts=(), cache="hit")))

    (found,) = decisions.routed(connection)

    assert (found.offer, found.tries, found.cache) == ("", 0, "hit")


def test_feedback_of_one_source_counts_once_and_the_first_stands(connection: sqlite3.Connection) -> None:
    first = decisions.give(connection, [feedback(comment="good")])
    again = decisions.give(connection, [feedback(score_ppm=0)])
    other = decisions.give(connection, [feedback(source="judge")])

    assert first == again == [feedback(comment="good")]
    assert other == [feedback(source="judge")]
    assert decisions.given(connection, since_us=0, newest=10) == [feedback(comment="good"), feedback(source="judge")]


def test_of_a_comparison_that_is_there_in_part_nothing_is_written(connection: sqlite3.Connection) -> None:
    better, worse = feedback("a", other_id="b"), feedback("b", other_id="a", score_ppm=0)
    decisions.give(connection, [better])

    standing = decisions.give(connection, [better, worse])

    assert standing == [better]
    assert connection.execute("SELECT count(*) FROM feedback").fetchone() == (1,)


@pytest.mark.parametrize(
    "forbidden",
    [
        "UPDATE feedback SET score_ppm = 0",
        "DELETE FROM feedback",
        "INSERT OR REPLACE INTO feedback SELECT * FROM feedback",
    ],
)
def test_feedback_is_append_only(connection: sqlite3.Connection, forbidden: str) -> None:
    decisions.give(connection, [feedback()])

    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(forbidden)


def test_the_newest_feedback_and_checks_are_read_the_oldest_first(connection: sqlite3.Connection) -> None:
    decisions.give(connection, [feedback(f"r{n}", at_us=n) for n in range(5)])
    decisions.note_checks(connection, [checked(f"r{n}", at_us=n, failed=("tools", "schema")) for n in range(5)])

    assert [it.request_id for it in decisions.given(connection, since_us=1, newest=3)] == ["r2", "r3", "r4"]
    assert decisions.checked(connection, since_us=3, newest=9) == [
        checked("r3", at_us=3, failed=("tools", "schema")),
        checked("r4", at_us=4, failed=("tools", "schema")),
    ]


async def test_what_is_too_old_is_forgotten_and_feedback_is_not(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.write([decision(f"r{n}", at_us=n) for n in range(10)])
        await ledger.note_checks([checked(f"r{n}", at_us=n) for n in range(10)])
        await ledger.give([feedback("r1", at_us=1)])

        removed = await ledger.forget_decisions(7)

        assert removed == 14
        assert [await ledger.decision(f"r{n}") is not None for n in range(10)] == [False] * 7 + [True] * 3
        assert [it.request_id for it in await ledger.checked(since_us=0, newest=99)] == ["r7", "r8", "r9"]
        assert [it.request_id for it in await ledger.given(since_us=0, newest=99)] == ["r1"]


def test_many_are_forgotten_in_several_short_transactions(connection: sqlite3.Connection) -> None:
    write(connection, [decision(f"r{n}", at_us=n) for n in range(decisions.AT_ONCE + 10)])

    counts = [decisions.forget(connection, decisions.FOREVER_US) for _ in range(3)]

    assert counts == [decisions.AT_ONCE, 10, 0]


def test_a_file_that_is_not_there_has_none_and_one_that_is_no_ledger_is_said_to_be_none(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"no database at all, and longer than a header" * 100)

    assert decisions.routed(tmp_path / "missing.sqlite") == []
    with pytest.raises(LedgerUnavailable):
        decisions.routed(broken)


def test_a_ledger_of_an_earlier_release_has_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE requests (request_id TEXT)")

    assert decisions.routed(path) == []
