import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import migrations
from ledger.journal import batch, recovery
from ledger.journal.batch import Batch
from ledger.journal.entries import REQUEST, read_request
from ledger.journal.recovery import Recovery, Watermark, recover
from ledger.ports import Entry
from ledger.records import AttemptRecord, Price, Progress, RequestRecord, Tokens
from tests.ledger.samples import TOKENS, OnePrice, record, reservation, settlement, void

HEAD_SQL = Path(migrations.__file__).with_name("head.sql").read_text()


def ledger() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(HEAD_SQL)
    return connection


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = ledger()
    yield connection
    connection.close()


def write(connection: sqlite3.Connection, *entries: Entry | Progress) -> Batch:
    return batch.write(connection, entries)


def read(connection: sqlite3.Connection, request_id: str) -> RequestRecord:
    sql = f"SELECT {','.join(REQUEST)} FROM requests WHERE request_id = ?"  # noqa: S608  # only names from entries.py
    return read_request(connection.execute(sql, (request_id,)).fetchone())


def settled_through(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM marks WHERE name = 'settled_through'").fetchone()
    return int(row[0]) if row else 0


def test_a_reservation_without_an_end_is_charged_its_estimated_input(connection: sqlite3.Connection) -> None:
    write(connection, reservation(input_tokens_estimate=1200))

    recovered = recover(connection, at_us=9_000_000, prices=OnePrice())

    assert recovered == Recovery(attempts_settled=1, attempts_held=1, requests_interrupted=1)
    assert connection.execute(
        "SELECT at_us, quality, input_uncached, output_text, cost_nusd, price_source FROM entries WHERE kind = 'SETTLE'"
    ).fetchall() == [(9_000_000, "held", 1200, 0, 3_000_000, "one price")]


def test_whose_it_was_and_its_tags_outlive_a_crash(connection: sqlite3.Connection) -> None:
    write(connection, reservation("a", user="ann", team="search", tags=("nightly", "x")), reservation("b"))

    recover(connection, at_us=9_000_000, prices=OnePrice())

    found = [read(connection, request_id) for request_id in ("a", "b")]
    assert [(it.user, it.team, it.tags) for it in found] == [("ann", "search", ("nightly", "x")), ("", "", ())]


def test_without_a_price_the_cost_is_unknown_and_not_zero(connection: sqlite3.Connection) -> None:
    write(connection, reservation("req_1"), reservation("req_2", upstream_model="a model without a price"))

    recovered = recover(connection, at_us=9_000_000, prices=OnePrice())

    assert recovered == Recovery(attempts_settled=2, attempts_held=2, attempts_unpriced=1, requests_interrupted=2)
    assert [read(connection, request_id).cost_nusd for request_id in ("req_1", "req_2")] == [2_500_000, None]


def test_a_held_try_is_charged_no_more_than_was_reserved_for_it(connection: sqlite3.Connection) -> None:
    write(connection, reservation(input_tokens_estimate=1200, max_cost_nusd=2_000_000))

    recover(connection, at_us=9_000_000, prices=OnePrice())

    assert connection.execute("SELECT quality, cost_nusd, max_cost_nusd FROM entries WHERE kind = 'SETTLE'").fetchall() == [
        ("held", 2_000_000, 2_000_000)
    ]


class ByThePiece:
    def price(self, provider: str, model: str, at_us: int | None = None, /) -> Price | None:
        del provider, model, at_us
        return Price(source="by the piece", input_nusd_per_mtok=0, output_nusd_per_mtok=0, image_nusd=40_000_000)


def test_what_is_charged_by_the_piece_is_charged_as_it_was_reserved(connection: sqlite3.Connection) -> None:
    write(connection, reservation("a", max_cost_nusd=80_000_000), reservation("b", max_cost_nusd=None))

    recovered = recover(connection, at_us=9_000_000, prices=ByThePiece())

    assert [read(connection, request_id).cost_nusd for request_id in ("a", "b")] == [80_000_000, None]
    assert recovered.attempts_unpriced == 1


def test_a_stream_is_charged_what_it_was_last_known_to_have_sent(connection: sqlite3.Connection) -> None:
    write(connection, reservation(stream=True))
    for output_tokens in (40, 70, 60):
        write(connection, Progress(request_id="req_1", attempt=1, output_tokens=output_tokens))

    recovered = recover(connection, at_us=9_000_000, prices=OnePrice())
    found = read(connection, "req_1")

    assert recovered == Recovery(attempts_settled=1, requests_interrupted=1)
    assert (found.quality, found.tokens) == ("estimated", Tokens(input_uncached=1000, output_text=70))
    assert found.cost_nusd == 2_500_000 + 700_000
    assert connection.execute("SELECT * FROM progress").fetchall() == []


def test_notes_of_streams_that_have_ended_are_removed_with_the_next_mark(connection: sqlite3.Connection) -> None:
    watermark = Watermark()
    watermark.enabled = True
    notes = [Progress(request_id=f"req_{n}", attempt=1, output_tokens=5) for n in (1, 2)]
    watermark.observe(write(connection, reservation("req_1"), reservation("req_2"), *notes))
    watermark.observe(write(connection, settlement("req_1"), record("req_1")))

    watermark.mark(connection)

    assert connection.execute("SELECT request_id FROM progress").fetchall() == [("req_2",)]


def test_a_request_that_was_interrupted_gets_its_record(connection: sqlite3.Connection) -> None:
    write(connection, reservation(stream=True))

    recover(connection, at_us=9_000_000, prices=OnePrice())

    assert read(connection, "req_1") == record(
        answered_model="",
        stream=True,
        status=0,
        outcome="interrupted",
        quality="held",
        tokens=Tokens(input_uncached=1000),
        cost_nusd=2_500_000,
        price_source="one price",
        duration_us=0,
        ttfb_us=None,
        attempts=(AttemptRecord(attempt=1, provider="openai", account="main", upstream_model="gpt-4o", outcome="interrupted"),),
        usage_raw=b"",
    )


def test_the_record_adds_up_all_attempts(connection: sqlite3.Connection) -> None:
    write(
        connection,
        reservation(attempt=1, at_us=1_000_000),
        void(attempt=1, reason="upstream_error"),
        reservation(attempt=2, at_us=3_000_000, provider="groq", account="spare", upstream_model="llama"),
        settlement(attempt=2, cost_nusd=7),
        reservation(attempt=3, at_us=5_000_000),
    )

    recover(connection, at_us=9_000_000, prices=OnePrice())
    found = read(connection, "req_1")

    assert found.tokens == Tokens(input_uncached=1800, cache_read=200, output_text=150, reasoning=50)
    assert found.cost_nusd == 2_500_007
    assert (found.at_us, found.duration_us, found.provider) == (1_000_000, 4_000_000, "openai")
    assert [(a.attempt, a.provider, a.outcome) for a in found.attempts] == [
        (1, "openai", "upstream_error"),
        (2, "groq", "ok"),
        (3, "openai", "interrupted"),
    ]


def test_a_request_whose_attempts_all_ended_still_gets_its_record(connection: sqlite3.Connection) -> None:
    write(connection, reservation(), void(reason="connect"))

    recovered = recover(connection, at_us=9_000_000, prices=OnePrice())

    assert recovered == Recovery(requests_interrupted=1)
    assert read(connection, "req_1").cost_nusd == 0


def test_a_record_that_is_there_stays_as_it_is(connection: sqlite3.Connection) -> None:
    write(connection, reservation(), settlement(), record(), reservation(attempt=2))

    recovered = recover(connection, at_us=9_000_000, prices=None)

    assert recovered == Recovery(attempts_settled=1, attempts_held=1, attempts_unpriced=1)
    assert read(connection, "req_1") == record()


def test_more_than_one_round_of_open_reservations_is_settled(connection: sqlite3.Connection) -> None:
    count = recovery.ROUND * 2 + 3
    write(connection, *(reservation(f"req_{n}", attempt) for n in range(count) for attempt in (1, 2)))

    recovered = recover(connection, at_us=9_000_000, prices=None)

    assert recovered == Recovery(
        attempts_settled=count * 2, attempts_held=count * 2, attempts_unpriced=count * 2, requests_interrupted=count
    )


def test_the_mark_stays_before_the_oldest_open_reservation(connection: sqlite3.Connection) -> None:
    watermark = Watermark()
    watermark.enabled = True
    watermark.observe(write(connection, reservation("req_1"), settlement("req_1"), record("req_1")))
    watermark.mark(connection)
    first = settled_through(connection)
    watermark.observe(write(connection, reservation("req_open"), record("req_open")))
    for n in range(3):
        watermark.observe(write(connection, reservation(f"req_2{n}"), void(f"req_2{n}"), record(f"req_2{n}")))
        watermark.mark(connection)
    with_one_open = settled_through(connection)
    watermark.observe(write(connection, settlement("req_open")))
    watermark.mark(connection)

    assert (first, with_one_open, settled_through(connection)) == (2, 2, 10)


def test_the_mark_stays_before_a_request_without_a_record(connection: sqlite3.Connection) -> None:
    watermark = Watermark()
    watermark.enabled = True
    watermark.observe(write(connection, reservation(), void()))
    watermark.mark(connection)
    without_record = settled_through(connection)
    watermark.observe(write(connection, record()))
    watermark.mark(connection)

    assert (without_record, settled_through(connection)) == (0, 2)


def test_nothing_is_marked_before_an_earlier_run_was_recovered(connection: sqlite3.Connection) -> None:
    watermark = Watermark()
    watermark.observe(write(connection, reservation("req_1"), settlement("req_1")))

    watermark.mark(connection)

    assert settled_through(connection) == 0


ID = st.sampled_from(["a", "b", "c"])
ATTEMPT = st.integers(1, 3)
OPERATIONS = st.lists(
    st.one_of(
        st.builds(lambda i, n: [reservation(i, n)], ID, ATTEMPT),
        st.builds(lambda i, n, cost: [settlement(i, n, cost_nusd=cost)], ID, ATTEMPT, st.none() | st.integers(0, 9)),
        st.builds(lambda i, n: [void(i, n)], ID, ATTEMPT),
        st.builds(lambda i, n: [settlement(i, n), record(i)], ID, ATTEMPT),
        st.just("mark"),
        st.just("crash"),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(OPERATIONS)
def test_whatever_happened_recovery_leaves_nothing_open_and_nothing_twice(operations: list[list[Entry] | str]) -> None:
    connection = ledger()
    watermark = Watermark()
    watermark.enabled = True
    reserved: set[tuple[str, int]] = set()
    written: list[list[Entry]] = []
    for operation in [*operations, "crash"]:
        if operation == "mark":
            watermark.mark(connection)
        elif operation == "crash":
            recover(connection, at_us=9_000_000, prices=OnePrice())
            watermark = Watermark()
            watermark.enabled = True
        else:
            entries = [e for e in operation if not hasattr(e, "attempt") or in_order(e, reserved)]
            watermark.observe(write(connection, *entries))
            written.append(entries)

    entries_before = connection.execute("SELECT * FROM entries").fetchall()
    again = recover(connection, at_us=9_900_000, prices=OnePrice())
    for entries in written:
        write(connection, *entries)
    full_scan = recovery_from_the_start(connection)

    ends = connection.execute(
        "SELECT r.request_id, r.attempt, count(t.id) FROM entries r LEFT JOIN entries t ON t.request_id = r.request_id "
        "AND t.attempt = r.attempt AND t.kind != 'RESERVE' WHERE r.kind = 'RESERVE' GROUP BY 1, 2"
    ).fetchall()
    assert {(i, n) for i, n, _ in ends} == reserved
    assert {count for _, _, count in ends} <= {1}
    assert again == full_scan == Recovery()
    assert connection.execute("SELECT * FROM entries").fetchall() == entries_before
    assert {i for i, _ in reserved} <= {i for (i,) in connection.execute("SELECT request_id FROM requests")}
    connection.close()


def in_order(entry: Entry, reserved: set[tuple[str, int]]) -> bool:
    """The proxy reserves before it settles; an end without its reservation does not happen."""
    attempt = (entry.request_id, entry.attempt)  # type: ignore[union-attr]  # records were let through before
    if type(entry) is type(reservation()):
        reserved.add(attempt)
    return attempt in reserved


def recovery_from_the_start(connection: sqlite3.Connection) -> Recovery:
    """What recovery would still find if there were no mark."""
    connection.execute("DELETE FROM marks")
    return recover(connection, at_us=9_900_000, prices=OnePrice())


def test_the_tokens_of_a_sample_are_what_these_tests_count_on() -> None:
    assert (TOKENS.input_tokens, TOKENS.output_tokens) == (1000, 200)
