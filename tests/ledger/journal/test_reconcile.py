"""Our journal beside a provider's report: what matches, what does not, and that booking the difference ends it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import migrations
from ledger.journal import batch
from ledger.journal.reconcile import Question, Reconciliation, adjustments, alias_of, compare, merged
from ledger.journal.reports import usage
from ledger.journal.subscriptions import DAY_US
from ledger.journal.verify import verify
from ledger.records import AttemptRecord, Report, ReportedUse, Tokens
from tests.ledger.samples import OnePrice, record, reservation, settlement

HEAD_SQL = Path(migrations.__file__).with_name("head.sql").read_text()
DAY = 20_000
TOKENS = Tokens(input_uncached=600, cache_read=400, output_text=100)


def opened() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(HEAD_SQL)
    return connection


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(opened()) as connection:
        yield connection


def ask(
    connection: sqlite3.Connection,
    request_id: str,
    *,
    day: int = DAY,
    model: str = "gpt-4o",
    answered: str = "gpt-4o-2024-08-06",
    cost_nusd: int | None = 1000,
    quality: Any = "exact",
    account: str = "main",
    upstream_id: str = "",
) -> None:
    """One request of one try is in the journal."""
    at_us = day * DAY_US + 5
    attempt = AttemptRecord(
        attempt=1, provider="openai", account=account, upstream_model=model, outcome="ok", upstream_request_id=upstream_id
    )
    batch.write(
        connection,
        [
            reservation(request_id, at_us=at_us, upstream_model=model, account=account),
            settlement(request_id, at_us=at_us, tokens=TOKENS, cost_nusd=cost_nusd, quality=quality),
            record(
                request_id,
                at_us=at_us,
                upstream_model=model,
                answered_model=answered,
                tokens=TOKENS,
                cost_nusd=cost_nusd,
                quality=quality,
                attempts=(attempt,),
            ),
        ],
    )


def used(model: str, cost_nusd: int | None = None, *, day: int = DAY, **fields: Any) -> ReportedUse:
    return ReportedUse(start_us=day * DAY_US, end_us=(day + 1) * DAY_US, model=model, cost_nusd=cost_nusd, **fields)


def question(*uses: ReportedUse, days: tuple[int, ...] = (DAY,), report_id: str = "r1", **fields: Any) -> Question:
    windows = tuple((day * DAY_US, (day + 1) * DAY_US) for day in days)
    return Question(provider="openai", report=Report(id=report_id, uses=uses, windows=windows), **fields)


def compared(connection: sqlite3.Connection, asked: Question) -> Reconciliation:
    return compare(connection, asked, prices=OnePrice())


def booked(connection: sqlite3.Connection, asked: Question) -> dict[str, int]:
    """Book what it takes; how much each request got."""
    entries = adjustments(connection, asked, at_us=9, prices=OnePrice())
    batch.write(connection, entries)
    return {it.request_id: it.cost_nusd for it in entries}


# --- comparing ---------------------------------------------------------------------------------------------------------


def test_a_cell_that_both_sides_have_alike_does_not_drift(connection: sqlite3.Connection) -> None:
    ask(connection, "a")
    ask(connection, "b")

    found = compared(connection, question(used("gpt-4o-2024-08-06", 2000)))

    (row,) = found.rows
    assert (row.day, row.model, row.drift_nusd, row.alert, found.alert) == ("2024-10-04", "gpt-4o-2024-08-06", 0, False, False)
    assert row.ours is not None
    assert (row.ours.requests, row.ours.input_tokens, row.ours.output_tokens, row.ours.cost_nusd) == (2, 2000, 200, 2000)


@pytest.mark.parametrize(("theirs", "alert"), [(1_000_000, False), (1_001_000, False), (1_001_002, True), (998_000, True)])
def test_a_drift_within_the_tolerance_is_no_alarm(connection: sqlite3.Connection, theirs: int, alert: bool) -> None:
    ask(connection, "a", cost_nusd=1_000_000)

    found = compared(connection, question(used("gpt-4o-2024-08-06", theirs)))

    assert (found.rows[0].drift_nusd, found.alert) == (theirs - 1_000_000, alert)


def test_what_one_side_alone_has_is_listed(connection: sqlite3.Connection) -> None:
    ask(connection, "a", model="o3", answered="")

    found = compared(connection, question(used("gpt-5", 7)))

    assert [(row.model, row.ours is None, row.theirs is None, row.alert) for row in found.rows] == [
        ("gpt-5", True, False, True),
        ("o3", False, True, True),
    ]


def test_what_is_outside_of_the_reports_days_or_of_another_account_is_left_out(connection: sqlite3.Connection) -> None:
    ask(connection, "a")
    ask(connection, "yesterday", day=DAY - 1)
    ask(connection, "other", account="second")

    found = compared(connection, question(used("gpt-4o-2024-08-06", 1000), account="main"))

    assert [row.drift_nusd for row in found.rows] == [0]


def test_of_the_report_one_owners_use_may_be_asked_for(connection: sqlite3.Connection) -> None:
    ask(connection, "a")
    mine = used("gpt-4o-2024-08-06", 1000, owners=("proj_a",))

    found = compared(connection, question(mine, used("gpt-4o-2024-08-06", 5000, owners=("proj_b",)), owner="proj_a"))

    assert [row.drift_nusd for row in found.rows] == [0]


@pytest.mark.parametrize(
    ("asked", "answered", "theirs", "cell"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", ("gpt-4o-2024-08-06",), "gpt-4o-2024-08-06"),
        ("gpt-4o", "", ("gpt-4o-2024-08-06",), "gpt-4o-2024-08-06"),
        ("gpt-4o-2024-08-06", "", ("gpt-4o",), "gpt-4o"),
        ("claude-sonnet-4-latest", "", ("claude-sonnet-4-20250514",), "claude-sonnet-4-20250514"),
        ("gpt-4o", "", ("gpt-4o-2024-08-06", "gpt-4o-2024-11-20"), "gpt-4o"),  # either: neither
        ("gpt-4o", "", ("gpt-4o-mini-2024-07-18",), "gpt-4o"),
        ("gpt-4o", "gpt-4o-2024-08-06", ("",), ""),
    ],
)
def test_models_match_by_name_and_by_the_alias_of_a_snapshot(
    connection: sqlite3.Connection, asked: str, answered: str, theirs: tuple[str, ...], cell: str
) -> None:
    ask(connection, "a", model=asked, answered=answered)

    found = compared(connection, question(*(used(name, 1) for name in theirs)))

    assert [row.model for row in found.rows if row.ours is not None] == [cell]


def test_a_try_without_an_answer_goes_with_those_of_its_model_that_have_one(connection: sqlite3.Connection) -> None:
    ask(connection, "a")
    ask(connection, "b", answered="", quality="held")

    found = compared(connection, question(used("gpt-4o-2024-08-06", 2000), used("gpt-4o-2024-11-20", 5)))

    assert [(row.model, row.held) for row in found.rows if row.ours is not None] == [("gpt-4o-2024-08-06", 1)]


def test_where_the_report_has_no_costs_its_tokens_are_priced_by_our_list(connection: sqlite3.Connection) -> None:
    ask(connection, "a", answered="", cost_nusd=3_500_000)

    found = compared(connection, question(used("gpt-4o", tokens=TOKENS, requests=1)))

    # 1,000 in at $2.50 a million and 100 out at $10.00.
    assert [(row.priced, row.drift_nusd, row.drift_tokens) for row in found.rows] == [(True, 0, 0)]


def test_where_nobody_knows_a_price_tokens_are_compared(connection: sqlite3.Connection) -> None:
    ask(connection, "a", model="o3", answered="", cost_nusd=None)

    found = compared(connection, question(used("o3", tokens=Tokens(input_uncached=2000), requests=1)))

    assert [(row.drift_nusd, row.drift_tokens, row.alert) for row in found.rows] == [(None, 900, True)]


def test_usage_and_costs_are_two_reports_of_one_cell(connection: sqlite3.Connection) -> None:
    ask(connection, "a")
    reports = [
        question(used("gpt-4o-2024-08-06", tokens=TOKENS, requests=1), report_id="usage").report,
        question(used("gpt-4o-2024-08-06", 1000), report_id="costs").report,
    ]

    whole = merged(reports)
    found = compared(connection, Question(provider="openai", report=whole))

    assert [(row.drift_nusd, row.drift_tokens, row.alert) for row in found.rows] == [(0, 0, False)]
    assert whole.id == merged(reports[::-1]).id


@pytest.mark.parametrize("named", ["a", "up_a"])
def test_a_request_is_found_by_our_id_or_the_providers_own(connection: sqlite3.Connection, named: str) -> None:
    ask(connection, "a", upstream_id="up_a", answered="")
    ask(connection, "b", answered="")

    found = compared(connection, question(used("gpt-4o", 1200, request_id=named)))

    assert [(row.request_id, row.drift_nusd, row.theirs is None) for row in found.rows] == [
        ("", None, True),
        (named, 200, False),
    ]


def test_an_alias_is_a_name_without_its_date() -> None:
    names = ("gpt-4o-2024-08-06", "claude-sonnet-4-20250514", "Claude-Opus-4-latest", "gpt-4o-mini", "gemini-2.5-pro@default")

    assert [alias_of(name) for name in names] == ["gpt-4o", "claude-sonnet-4", "claude-opus-4", "gpt-4o-mini", "gemini-2.5-pro"]


# --- booking -----------------------------------------------------------------------------------------------------------


def test_what_is_in_doubt_carries_the_difference_before_what_is_exact(connection: sqlite3.Connection) -> None:
    ask(connection, "exact", cost_nusd=1000)
    ask(connection, "estimated", quality="estimated", cost_nusd=300)
    ask(connection, "held", quality="held", cost_nusd=200)
    asked = question(used("gpt-4o-2024-08-06", 1100))

    shares = booked(connection, asked)

    assert shares == {"held": -200, "estimated": -200}
    assert [(row.drift_nusd, row.held) for row in compared(connection, asked).rows] == [(0, 0)]


def test_a_surplus_goes_to_what_is_held(connection: sqlite3.Connection) -> None:
    ask(connection, "exact")
    ask(connection, "held", quality="held", cost_nusd=200)

    assert booked(connection, question(used("gpt-4o-2024-08-06", 5000))) == {"held": 3800}


def test_a_difference_among_the_exact_is_shared_by_what_they_cost(connection: sqlite3.Connection) -> None:
    ask(connection, "a", cost_nusd=1000)
    ask(connection, "b", cost_nusd=2000)

    assert booked(connection, question(used("gpt-4o-2024-08-06", 3100))) == {"a": 33, "b": 67}


def test_a_held_try_that_the_report_confirms_is_held_no_longer(connection: sqlite3.Connection) -> None:
    ask(connection, "held", quality="held", cost_nusd=200)
    asked = question(used("gpt-4o-2024-08-06", 200))

    assert booked(connection, asked) == {"held": 0}
    assert booked(connection, asked) == {}


def test_a_cell_of_one_side_is_not_touched(connection: sqlite3.Connection) -> None:
    ask(connection, "a", model="o3", answered="")

    assert booked(connection, question(used("gpt-5", 7))) == {}


def test_a_later_report_of_the_same_day_is_booked_too(connection: sqlite3.Connection) -> None:
    ask(connection, "a")

    booked(connection, question(used("gpt-4o-2024-08-06", 1100)))
    booked(connection, question(used("gpt-4o-2024-08-06", 1050), report_id="r2"))

    (row,) = usage(connection, by="day")
    assert row.cost_nusd == 1050


def test_what_was_booked_in_part_is_booked_to_its_end(connection: sqlite3.Connection) -> None:
    for name in "abcd":
        ask(connection, name)
    asked = question(used("gpt-4o-2024-08-06", 4400))
    batch.write(connection, adjustments(connection, asked, at_us=9, prices=None)[:2])  # and the process died

    shares = booked(connection, asked)

    assert shares == {"c": 100, "d": 100}
    assert [row.drift_nusd for row in compared(connection, asked).rows] == [0]


TRIES = st.lists(
    st.builds(
        lambda **fields: fields,
        day=st.integers(DAY, DAY + 2),
        model=st.sampled_from(["gpt-4o", "o3"]),
        answered=st.sampled_from(["gpt-4o-2024-08-06", ""]),
        cost_nusd=st.none() | st.integers(0, 10**9),
        quality=st.sampled_from(["exact", "estimated", "held"]),
    ),
    max_size=12,
)
USES = st.lists(
    st.builds(
        used,
        st.sampled_from(["gpt-4o-2024-08-06", "gpt-4o", "o3", "o3-2025-04-16", "storage"]),
        st.none() | st.integers(0, 10**10),
        day=st.integers(DAY, DAY + 1),
        tokens=st.none() | st.builds(Tokens, input_uncached=st.integers(0, 10**5), output_text=st.integers(0, 10**5)),
    ),
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(TRIES, USES)
def test_after_booking_nothing_drifts_and_booking_again_changes_nothing(
    tries: list[dict[str, Any]], uses: list[ReportedUse]
) -> None:
    with closing(opened()) as connection:
        for number, fields in enumerate(tries):
            ask(connection, f"req_{number}", **fields)
        asked = question(*uses, days=(DAY, DAY + 1))

        booked(connection, asked)
        head = verify(connection)
        again = booked(connection, asked)
        found = compared(connection, asked)

        costs = connection.execute(
            "SELECT coalesce(t.cost_nusd, 0) + (SELECT coalesce(sum(cost_nusd), 0) FROM entries AS a WHERE a.kind = 'ADJUST'"
            " AND a.request_id = t.request_id) FROM entries AS t WHERE t.kind = 'SETTLE'"
        ).fetchall()
    assert head.faults == ()
    assert again == {}
    assert [row.drift_nusd for row in found.rows if row.drift_nusd] == []
    assert all(row.held == 0 for row in found.rows if row.drift_nusd is not None)
    assert all(cost >= 0 for (cost,) in costs)
