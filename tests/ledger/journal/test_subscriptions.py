from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.journal.subscriptions import DAY_US, HOUR_US, Shares, covers, fee_nusd, months
from ledger.records import Subscription


def hour(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 3600


def plan(**changes: object) -> Subscription:
    return Subscription(**{"name": "plan", "provider": "openai", "month_nusd": 30_000, **changes})  # type: ignore[arg-type]  # as given


def test_months_are_those_of_the_calendar_in_utc() -> None:
    found = list(months(hour("2023-12-31T23:00"), hour("2024-02-01T01:00")))

    assert found == [
        (hour("2023-12-01"), hour("2024-01-01")),
        (hour("2024-01-01"), hour("2024-02-01")),
        (hour("2024-02-01"), hour("2024-03-01")),
    ]


@given(st.integers(0, 2_000_000), st.integers(1, 50_000))
def test_months_leave_no_hour_out_and_do_not_overlap(first: int, count: int) -> None:
    found = list(months(first, first + count))

    assert found[0][0] <= first < found[0][1]
    assert found[-1][0] < first + count <= found[-1][1]
    assert all(a[1] == b[0] for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("since", "until", "fee"),
    [
        (None, None, 30_000),
        ("2024-11-01", None, 30_000),
        ("2024-11-16", None, 15_000),
        (None, "2024-11-02", 1_000),
        ("2024-11-10", "2024-11-20", 10_000),
        ("2024-12-01", None, 0),
        (None, "2024-11-01", 0),
    ],
)
def test_a_month_costs_the_days_that_it_holds(since: str | None, until: str | None, fee: int) -> None:
    (november,) = months(hour("2024-11-05"), hour("2024-11-06"))
    days = [None if day is None else hour(day) * HOUR_US for day in (since, until)]

    assert fee_nusd(plan(from_us=days[0], to_us=days[1]), november) == fee
    assert DAY_US == 24 * HOUR_US


def test_it_covers_its_providers_models_that_fit_a_pattern() -> None:
    some = plan(models=("gpt-5*", "o3"))

    assert [covers(some, "openai", it) for it in ("gpt-5-mini", "o3", "o3-mini")] == [True, True, False]
    assert (covers(plan(), "openai", "anything"), covers(plan(), "groq", "anything")) == (True, False)


@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**12), min_size=1, max_size=50))
def test_shares_add_up_to_the_fee(fee: int, tokens: list[int]) -> None:
    if not sum(tokens):
        return
    found = Shares()

    found.add(fee, list(enumerate(tokens)), sum(tokens))

    assert sum(found.nusd.values()) == fee
    assert all(abs(found.nusd[n] - fee * own / sum(tokens)) <= 1 + fee / 10**12 for n, own in enumerate(tokens))
