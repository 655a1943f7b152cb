import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import migrations
from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import LedgerUnavailable
from ledger.journal import batch
from ledger.journal.reports import DAY_US, UsageRow, usage
from ledger.records import Tokens
from tests.ledger.samples import key, record

HEAD_SQL = Path(migrations.__file__).with_name("head.sql").read_text()
DAY = 20_000  # 2024-10-04


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(HEAD_SQL)
    yield connection
    connection.close()


def write(connection: sqlite3.Connection, *requests: object) -> None:
    batch.write(connection, requests)  # type: ignore[arg-type]  # records


def test_requests_tokens_and_cost_are_summed(connection: sqlite3.Connection) -> None:
    tokens = Tokens(
        input_uncached=1, cache_read=20, cache_write=300, input_audio=4000, output_text=5, reasoning=60, output_audio=700
    )
    write(
        connection,
        record("a", at_us=DAY * DAY_US, tokens=tokens, cost_nusd=3),
        record("b", at_us=DAY * DAY_US + 1, tokens=tokens, cost_nusd=4, quality="estimated", outcome="client_closed"),
        record("c", at_us=DAY * DAY_US + 2, tokens=Tokens(), cost_nusd=None, outcome="upstream_error"),
    )

    (row,) = usage(connection, by="day")

    assert row == UsageRow(
        group="2024-10-04",
        label="",
        requests=3,
        failed=1,
        input_tokens=2 * 4321,
        cached_tokens=40,
        output_tokens=2 * 765,
        reasoning_tokens=120,
        cost_nusd=7,
        unpriced=1,
        estimated=1,
    )


def test_where_no_cost_is_known_the_sum_is_unknown_and_not_zero(connection: sqlite3.Connection) -> None:
    write(connection, record("a", cost_nusd=None))

    (row,) = usage(connection, by="model")

    assert (row.cost_nusd, row.unpriced) == (None, 1)


def test_a_day_ends_at_midnight_utc(connection: sqlite3.Connection) -> None:
    write(connection, record("a", at_us=DAY * DAY_US - 1), record("b", at_us=DAY * DAY_US))

    days = [row.group for row in usage(connection, by="day")]

    assert days == ["2024-10-03", "2024-10-04"]


def test_the_period_holds_its_start_and_not_its_end(connection: sqlite3.Connection) -> None:
    write(connection, *(record(str(at_us), at_us=at_us) for at_us in (9, 10, 19, 20)))

    (row,) = usage(connection, by="day", since_us=10, until_us=20)

    assert row.requests == 2


def test_models_are_what_was_paid_for_and_the_dearest_comes_first(connection: sqlite3.Connection) -> None:
    write(
        connection,
        record("a", model="auto", provider="groq", upstream_model="llama", cost_nusd=1),
        record("b", model="smart", provider="openai", upstream_model="gpt-5", cost_nusd=5),
        record("c", model="groq/llama", provider="groq", upstream_model="llama", cost_nusd=1),
        record("d", model="gpt-99", provider="", upstream_model="", cost_nusd=None, outcome="model_not_found"),
    )

    models = [(row.group, row.requests, row.cost_nusd) for row in usage(connection, by="model")]

    assert models == [("openai/gpt-5", 1, 5), ("groq/llama", 2, 2), ("gpt-99", 1, None)]


async def test_keys_are_named_and_the_file_may_be_in_use(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.create_key(key("key_1", name="alice"))
        await ledger.write([record("a"), record("b", key_id="key_gone", cost_nusd=1)])

        rows = [(row.group, row.label) for row in usage(tmp_path / "ledger.sqlite", by="key")]

    assert rows == [("key_1", "alice"), ("key_gone", "")]


async def test_a_closed_ledger_can_be_read_too(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.write([record()])

    assert [row.requests for row in usage(tmp_path / "ledger.sqlite", by="day")] == [1]


def test_an_empty_ledger_has_no_rows(connection: sqlite3.Connection) -> None:
    assert [usage(connection, by=by) for by in ("day", "model", "key")] == [[], [], []]


def test_a_report_neither_makes_a_file_nor_hides_that_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        usage(tmp_path / "none.sqlite", by="day")

    assert list(tmp_path.iterdir()) == []
