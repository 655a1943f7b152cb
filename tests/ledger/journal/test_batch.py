import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import migrations
from ledger.errors import EntryRefused
from ledger.journal.batch import ROWS_LIMIT, Batch, append, write
from ledger.journal.books import Books
from ledger.journal.entries import ENTRY
from ledger.ports import Entry
from tests.ledger.samples import record, reservation, settlement, void

# SQLITE_MAX_VARIABLE_NUMBER.  Source: https://www.sqlite.org/limits.html
VARIABLES_LIMIT = 32_766
HEAD_SQL = Path(migrations.__file__).with_name("head.sql").read_text()


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """A ledger in which the tries ``s0``, ``s1``, … and ``v0``, ``v1``, … are reserved."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(HEAD_SQL)
        write(connection, (reservation(f"{name}{n}") for name in "sv" for n in range(200)))
        yield connection


def batch(reserves: int = 0, settles: int = 0, voids: int = 0, requests: int = 0) -> Batch:
    entries: list[Entry] = []
    entries += [reservation(f"r{n}") for n in range(reserves)]
    entries += [settlement(f"s{n}") for n in range(settles)]
    entries += [void(f"v{n}") for n in range(voids)]
    entries += [record(f"q{n}") for n in range(requests)]
    return Batch(entries)


def test_one_entry_is_one_statement(connection: sqlite3.Connection) -> None:
    for single in (batch(1), batch(0, 1), batch(0, 0, 1), batch(0, 0, 0, 1)):
        assert len(single.statements(connection, Books())) == 1


def test_reservations_and_settlements_share_a_statement(connection: sqlite3.Connection) -> None:
    assert len(batch(reserves=4, settles=2).statements(connection, Books())) == 1


def test_a_batch_of_any_size_takes_few_statements(connection: sqlite3.Connection) -> None:
    counts = {n: len(batch(reserves=n, settles=n, requests=n).statements(connection, Books())) for n in (1, 2, 63, 64, 65)}

    assert counts == {1: 2, 2: 2, 63: 12, 64: 2, 65: 4}


def test_each_statement_has_a_value_for_each_place_and_stays_within_the_limit(connection: sqlite3.Connection) -> None:
    for text, values in batch(ROWS_LIMIT * 2 - 1, ROWS_LIMIT, 3, ROWS_LIMIT).statements(connection, Books()):
        assert text.count("?") == len(values) <= VARIABLES_LIMIT


def test_batches_of_many_sizes_use_a_bounded_number_of_different_statements(connection: sqlite3.Connection) -> None:
    texts = {text for n in range(1, 200) for text, _ in batch(n, n // 2, n % 5, n // 3).statements(connection, Books())}

    assert len(texts) <= 8 * 8 + 7 + 7


def test_the_same_shape_is_the_same_text_object_so_that_it_stays_prepared(connection: sqlite3.Connection) -> None:
    (first, _), (second, _) = batch(3).statements(connection, Books())[0], batch(3).statements(connection, Books())[0]

    assert first is second


def test_every_row_is_appended_once(connection: sqlite3.Connection) -> None:
    statements = batch(reserves=77, settles=5).statements(connection, Books())

    names = [value for _, values in statements for value in values if isinstance(value, str) and re.match(r"[rs]\d", value)]
    assert sorted(names) == sorted([*(f"r{n}" for n in range(77)), *(f"s{n}" for n in range(5))])


def test_something_else_is_refused() -> None:
    with pytest.raises(EntryRefused, match="int is no journal entry"):
        Batch([reservation(), 5])  # type: ignore[list-item]  # on purpose


def test_what_ends_a_try_comes_after_its_reservation_also_within_one_batch(connection: sqlite3.Connection) -> None:
    ids = [f"new{n}" for n in range(65)]

    write(connection, [*(settlement(i) for i in ids), *(reservation(i) for i in ids)])

    assert (
        connection.execute(
            "SELECT count(*) FROM entries AS t JOIN entries AS r USING (request_id, attempt) "
            "WHERE t.kind = 'SETTLE' AND r.kind = 'RESERVE' AND r.id < t.id"
        ).fetchone()[0]
        == 65
    )


@pytest.mark.parametrize("end", [settlement("req_new"), void("req_new")], ids=["settle", "void"])
def test_a_try_that_was_never_reserved_cannot_end(connection: sqlite3.Connection, end: Entry) -> None:
    with pytest.raises(EntryRefused, match="attempt 1 of 'req_new' was never reserved"):
        Batch([end]).statements(connection, Books())


def test_what_ends_a_try_repeats_what_was_reserved_for_it(connection: sqlite3.Connection) -> None:
    write(connection, [reservation("a", max_cost_nusd=7), reservation("b")])

    write(connection, [settlement("a"), void("b")])

    found = connection.execute("SELECT max_cost_nusd FROM entries WHERE request_id IN ('a', 'b') AND kind != 'RESERVE'")
    assert found.fetchall() == [(7,), (None,)]


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.just([]), st.just({}), st.just("5")
)
COLUMN = st.sampled_from([name for name in ENTRY if name not in ("kind", "h", "evidence")])


@settings(max_examples=500, deadline=None)
@given(st.sampled_from([reservation, settlement, void, record]), COLUMN, ANYTHING)
def test_a_hostile_value_is_kept_exactly_or_refused(make: Any, field: str, value: object) -> None:
    """Never a float, never a negative cost, never something else than what was given."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(HEAD_SQL)
        write(connection, [reservation("req_1")])
        fields = make().__struct_fields__
        entry = make("req_2" if make is reservation else "req_1")
        hostile = convert(entry, field, value)
        before = connection.execute("SELECT count(*) FROM entries").fetchone()[0]

        try:
            batch = Batch([hostile])
            append(connection, batch.statements(connection, Books()))
        except (EntryRefused, sqlite3.Error, OverflowError, UnicodeError, TypeError, AttributeError):
            assert connection.execute("SELECT count(*) FROM entries").fetchone()[0] == before
            return

        table = "requests" if make is record else "entries"
        (row,) = connection.execute(f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT 1").fetchall()  # noqa: S608  # our own names
        names = [it[1] for it in connection.execute(f"PRAGMA table_info({table})")]
        assert not any(isinstance(it, float) for it in row)
        assert all(it >= 0 for name, it in zip(names, row, strict=True) if name.endswith("_nusd") and it is not None)
        if field in fields and field in names and field not in ("stream", "attempts", "tags"):
            stored = row[names.index(field)]
            assert (type(stored), stored) == (type(value), value)


def convert(entry: Any, field: str, value: object) -> Entry:
    """The entry with another value, of whatever type, in a field or a token bucket."""
    if field in entry.__struct_fields__:
        return msgspec.structs.replace(entry, **{field: value})
    if "tokens" in entry.__struct_fields__ and field in entry.tokens.__struct_fields__:
        return msgspec.structs.replace(entry, tokens=msgspec.structs.replace(entry.tokens, **{field: value}))
    return entry
