import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import migrations
from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import EntryRefused, LedgerUnavailable
from ledger.journal import batch
from ledger.journal.reports import fees, hours, spent_by_account, usage
from ledger.journal.subscriptions import DAY_US, HOUR_US
from ledger.journal.verify import verify
from ledger.records import Adjustment, By, Subscription, Tokens, UsageRow
from tests.ledger.samples import change, key, record, reservation, settlement

HEAD_SQL = Path(migrations.__file__).with_name("head.sql").read_text()
DAY = 20_000  # 2024-10-04
PERIODS: tuple[Literal["week", "month"], ...] = ("week", "month")


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
        held=0,
        nusd_per_mtok=7 * 10**6 // (2 * (4321 + 765)),
    )


def test_where_no_cost_is_known_the_sum_is_unknown_and_not_zero(connection: sqlite3.Connection) -> None:
    write(connection, record("a", cost_nusd=None))

    (row,) = usage(connection, by="model")

    assert (row.cost_nusd, row.unpriced) == (None, 1)


def test_a_day_ends_at_midnight_utc(connection: sqlite3.Connection) -> None:
    write(connection, record("a", at_us=DAY * DAY_US - 1), record("b", at_us=DAY * DAY_US))

    days = [row.group for row in usage(connection, by="day")]

    assert days == ["2024-10-03", "2024-10-04"]


def test_the_period_is_of_whole_hours_and_holds_its_first_and_not_its_last(connection: sqlite3.Connection) -> None:
    ends_us = (HOUR_US - 1, HOUR_US, 3 * HOUR_US - 1, 3 * HOUR_US)
    write(connection, *(record(str(at_us), at_us=at_us) for at_us in ends_us))

    (row,) = usage(connection, by="day", since_us=HOUR_US + 5, until_us=3 * HOUR_US)

    assert row.requests == 2


def test_weeks_are_those_of_the_iso_calendar_and_months_those_of_the_calendar(connection: sqlite3.Connection) -> None:
    first = date(2024, 12, 28).toordinal() - date(1970, 1, 1).toordinal()
    write(connection, *(record(str(n), at_us=(first + n) * DAY_US, cost_nusd=1) for n in range(6)))

    weeks, months = ([(row.group, row.requests, row.cost_nusd) for row in usage(connection, by=by)] for by in PERIODS)

    assert weeks == [("2024-W52", 2, 2), ("2025-W01", 4, 4)]
    assert months == [("2024-12", 4, 4), ("2025-01", 2, 2)]


def test_one_keys_usage_has_nothing_of_the_others(connection: sqlite3.Connection) -> None:
    write(connection, record("a", key_id="key_1"), record("b", key_id="key_2"), record("c", key_id="key_2"))

    assert [row.requests for row in usage(connection, by="provider", key_id="key_2")] == [2]


def test_an_adjustment_changes_what_its_request_cost(connection: sqlite3.Connection) -> None:
    change = Adjustment(request_id="a", attempt=1, at_us=9, cost_nusd=-250_000, reason="report", evidence="report 7")
    batch.write(connection, [reservation("a"), settlement("a"), record("a", tags=("nightly",))])

    for _ in range(2):  # the same evidence counts once
        batch.write(connection, [change])

    (row,) = usage(connection, by="model")
    (tagged,) = usage(connection, by="tag")
    assert row.cost_nusd == tagged.cost_nusd == 4_000_000
    assert connection.execute("SELECT sum(amount_nusd) FROM postings").fetchone() == (0,)


def test_what_has_not_ended_cannot_be_adjusted(connection: sqlite3.Connection) -> None:
    change = Adjustment(request_id="a", attempt=1, at_us=9, cost_nusd=1, reason="report", evidence="report 7")
    batch.write(connection, [reservation("a")])

    with pytest.raises(EntryRefused, match="has not ended"):
        batch.write(connection, [change])


def test_hours_are_what_other_programs_can_sum(connection: sqlite3.Connection) -> None:
    write(connection, record("a", at_us=HOUR_US), record("b", at_us=HOUR_US), record("c", at_us=2 * HOUR_US, provider=""))

    (hour,) = hours(connection)

    assert (hour.hour, hour.provider, hour.model, hour.requests, hour.cost_nusd) == (1, "openai", "gpt-4o", 2, 8_500_000)


RECORDS = st.lists(
    st.builds(
        lambda **fields: fields,
        at_us=st.integers(0, 40 * DAY_US),
        key_id=st.sampled_from(["key_1", "key_2", ""]),
        model=st.sampled_from(["auto", "gpt"]),
        provider=st.sampled_from(["openai", "groq"]),
        upstream_model=st.sampled_from(["gpt-4o", "llama", ""]),
        outcome=st.sampled_from(["ok", "client_closed", "interrupted", "upstream_error", "model_not_found"]),
        quality=st.sampled_from(["exact", "estimated", "held"]),
        tokens=st.builds(Tokens, **dict.fromkeys(Tokens.__struct_fields__, st.integers(0, 10**6))),
        cost_nusd=st.none() | st.integers(0, 10**12),
        user=st.sampled_from(["ann", ""]),
        team=st.sampled_from(["search", ""]),
        tags=st.lists(st.sampled_from(["a", 'b"', "c,", "ü"]), max_size=3, unique=True).map(tuple),
        cache=st.sampled_from(["", "hit"]),
        saved_nusd=st.integers(0, 10**12),
    ),
    max_size=20,
)


@settings(max_examples=100, deadline=None)
@given(RECORDS)
def test_a_report_is_the_sum_of_the_requests(fields: list[dict[str, Any]]) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(HEAD_SQL)
        records = [record(str(n), **each) for n, each in enumerate(fields)]
        for each in [*records, *records]:
            write(connection, each)

        found = {by: usage(connection, by=by) for by in get_args(By) if by != "tag"}
        tags = {row.group: row for row in usage(connection, by="tag")}
        faults = verify(connection).faults

    assert [fault for fault in faults if "rollups" in fault] == []
    for rows in found.values():
        assert sum(row.requests for row in rows) == len(records)
        assert sum(row.cost_nusd or 0 for row in rows) == sum(each.cost_nusd or 0 for each in records)
        assert sum(row.unpriced for row in rows) == sum(each.cost_nusd is None for each in records)
        assert sum(row.input_tokens for row in rows) == sum(each.tokens.input_tokens for each in records)
        assert sum(row.output_tokens for row in rows) == sum(each.tokens.output_tokens for each in records)
        assert sum(row.failed for row in rows) == sum(each.outcome not in ("ok", "client_closed") for each in records)
        assert sum(row.held for row in rows) == sum(each.quality == "held" for each in records)
        assert sum(row.cached_requests for row in rows) == sum(each.cache == "hit" for each in records)
        assert sum(row.saved_nusd for row in rows) == sum(each.saved_nusd for each in records)
    assert tags.keys() == {tag for each in records for tag in each.tags}
    for tag, row in tags.items():
        tagged = [each for each in records if tag in each.tags]
        assert row.requests == len(tagged)
        assert row.output_tokens == sum(each.tokens.output_tokens for each in tagged)
        assert row.saved_nusd == sum(each.saved_nusd for each in tagged)


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
        await ledger.put(change("key_1"), key("key_1", name="alice"))
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


# --- subscriptions -----------------------------------------------------------------------------------------------------

FEE_NUSD = 100_000_000_001
PLAN = Subscription(name="plan", provider="openai", month_nusd=FEE_NUSD)
OCTOBER_US = 19_997 * DAY_US  # 2024-10-01


def at(day: int, **fields: Any) -> dict[str, Any]:
    return {"at_us": OCTOBER_US + (day - 1) * DAY_US, **fields}


def test_a_months_fee_is_shared_by_tokens_and_nothing_of_it_is_lost(connection: sqlite3.Connection) -> None:
    write(
        connection,
        *(
            record(str(n), **at(n % 31 + 1, key_id=f"key_{n % 7}", team=f"t{n % 3}"), tokens=Tokens(output_text=n))
            for n in range(97)
        ),
        record("free", **at(3, provider="groq"), tokens=Tokens(output_text=10**6)),
    )

    reports = {by: usage(connection, by=by, subscriptions=[PLAN]) for by in get_args(By) if by != "tag"}

    assert {by: sum(row.subscription_nusd for row in rows) for by, rows in reports.items()} == dict.fromkeys(reports, FEE_NUSD)
    assert {row.group: row.subscription_nusd for row in reports["provider"]} == {"openai": FEE_NUSD, "groq": 0}
    (openai, _) = reports["provider"]
    assert openai.nusd_per_mtok == (97 * 4_250_000 + FEE_NUSD) * 10**6 // sum(range(97))
    assert sum(row.subscription_nusd for row in hours(connection, subscriptions=[PLAN])) == FEE_NUSD


def test_what_is_shown_of_a_month_has_its_part_of_the_fee(connection: sqlite3.Connection) -> None:
    write(
        connection, record("a", **at(1), tokens=Tokens(output_text=300)), record("b", **at(2), tokens=Tokens(output_text=100))
    )

    (row,) = usage(connection, by="day", since_us=OCTOBER_US + DAY_US, subscriptions=[PLAN])

    assert row.subscription_nusd == FEE_NUSD - FEE_NUSD * 3 // 4 - 1


def test_a_key_sees_its_share_and_not_what_nobody_used(connection: sqlite3.Connection) -> None:
    write(
        connection,
        record("a", **at(1), tokens=Tokens(output_text=1)),
        record("b", **at(1, key_id="k"), tokens=Tokens(output_text=1)),
    )
    other = Subscription(name="other", provider="groq", month_nusd=5)

    mine = usage(connection, by="key", key_id="k", subscriptions=[PLAN, other])
    everybodys = usage(connection, by="key", subscriptions=[PLAN, other])

    assert [(row.group, row.subscription_nusd) for row in mine] == [("k", FEE_NUSD // 2)]
    assert ("(unused)", 5) in [(row.group, row.subscription_nusd) for row in everybodys]


def test_a_subscription_is_for_its_models_and_costs_by_the_days_that_it_holds(connection: sqlite3.Connection) -> None:
    plan = Subscription(
        name="plan",
        provider="openai",
        month_nusd=31_000,
        models=("gpt-5*",),
        from_us=OCTOBER_US + 10 * DAY_US,
        to_us=OCTOBER_US + 31 * DAY_US,
    )
    write(
        connection,
        record("a", **at(1, upstream_model="gpt-5-mini")),
        record("b", **at(1)),
        record("c", **at(40, upstream_model="gpt-5")),
    )

    models = {row.group: row.subscription_nusd for row in usage(connection, by="model", subscriptions=[plan])}

    assert models == {"openai/gpt-5-mini": 21_000, "openai/gpt-4o": 0, "openai/gpt-5": 0}


def test_the_fees_of_months_are_told_with_whether_they_were_used(connection: sqlite3.Connection) -> None:
    other = Subscription(name="other", provider="groq", month_nusd=5)
    write(connection, record("a", **at(1)), record("b", **at(32)))

    told = [(it.subscription.name, it.fee_nusd, it.used) for it in fees(connection, [PLAN, other])]

    assert told == [("plan", FEE_NUSD, True), ("other", 5, False)] * 2


def test_a_tag_has_the_share_of_its_requests(connection: sqlite3.Connection) -> None:
    write(connection, record("a", **at(1), tags=("x", "y")), record("b", **at(1)))

    shares = {row.group: row.subscription_nusd for row in usage(connection, by="tag", subscriptions=[PLAN])}

    assert shares.keys() == {"x", "y"}
    assert all(abs(2 * share - FEE_NUSD) <= 1 for share in shares.values())


async def test_what_each_account_was_charged_since_a_moment_is_summed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    since_us = DAY * DAY_US
    tries = [("a", "x", since_us - 1, 5), ("b", "x", since_us, 7), ("c", "x", since_us + 9, 11), ("d", "y", since_us, None)]
    with SqliteLedger(path) as ledger:
        for request_id, account, at_us, cost_nusd in tries:
            await ledger.write((reservation(request_id, 1, account=account, at_us=at_us),))
            await ledger.write((settlement(request_id, 1, at_us=at_us, cost_nusd=cost_nusd),))

        spent = spent_by_account(path, since_us=since_us)

    assert spent == {(reservation("a").provider, "x"): 18}


def test_what_was_charged_in_a_file_that_is_none_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        spent_by_account(tmp_path / "none.sqlite", since_us=0)
