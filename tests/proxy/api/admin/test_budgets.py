"""Budgets by HTTP: dollars go in, nano-dollars are kept, exactly."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.records import Budget
from proxy.api.admin.budgets import Standing, dollars, nano
from proxy.errors import InvalidRequest
from tests.proxy.api.admin.rooms import Room


@pytest.mark.parametrize(
    ("usd", "expected"),
    [
        ("12.50", 12_500_000_000),
        (0.1, 100_000_000),
        (1e-9, 1),
        ("1e3", 10**12),
        (9_999_999_999, 9_999_999_999 * 10**9),
        ("007", 7 * 10**9),
    ],
)
def test_an_amount_is_exact_to_the_nano_dollar(usd: str | float, expected: int) -> None:
    assert nano(usd) == expected


@pytest.mark.parametrize(
    "usd", ["", "ten", "1,5", "NaN", "-Infinity", "0.0000000001", 1e10, "1e999999999", "1e-999999999", "$5"]
)
def test_what_is_no_amount_is_refused(usd: str | float) -> None:
    with pytest.raises(InvalidRequest):
        nano(usd)


@given(st.integers(0, 10**19 - 1))
def test_what_is_shown_is_what_was_meant(limit_nusd: int) -> None:
    assert nano(dollars(limit_nusd)) == limit_nusd
    assert Decimal(dollars(limit_nusd)) == Decimal(limit_nusd).scaleb(-9)


async def test_a_budget_is_made_changed_and_removed(room: Room) -> None:
    heard: list[Budget | None] = []
    room.office.directory.on_budget_change(lambda _, budget: heard.append(budget))
    await room.office.team("search")

    made = await room.done("POST", "budgets", {"scope": "team:SEARCH", "period": "month", "usd": 12.5})
    changed = await room.done("PATCH", f"budgets/{made['id']}", {"usd": "20", "warn_percent": None})
    listed = await room.done("GET", "budgets", scope="team:search")
    removed = await room.done("DELETE", f"budgets/{made['id']}")

    assert (made["scope"], made["unit"], made["period"]) == ("team:search", "usd", "month")
    assert (made["limit"], made["usd"], made["warn_percent"], made["standing"]) == (12_500_000_000, "12.50", 80, None)
    assert (changed["limit"], changed["usd"], changed["warn_percent"]) == (20_000_000_000, "20.00", None)
    assert (listed["data"], removed) == ([changed], changed)
    assert [it and it.limit for it in heard] == [12_500_000_000, 20_000_000_000, None]


async def test_how_a_budget_stands_is_told_by_whoever_counts_it(room: Room) -> None:
    made = await room.done("POST", "budgets", {"scope": "global", "period": "total", "tokens": 500})
    room.standings[made["id"]] = Standing(settled=100, reserved=20, period_start_us=1_000_000, period_end_us=None)

    shown = await room.done("GET", f"budgets/{made['id']}")

    assert (shown["unit"], shown["limit"], shown["usd"]) == ("tokens", 500, None)
    assert shown["standing"] == {"settled": 100, "reserved": 20, "period_start": 1, "period_end": None}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "usd"),
        ({"usd": 1, "tokens": 1}, "tokens"),
        ({"usd": 0}, "limit"),
        ({"usd": -1}, "limit"),
        ({"usd": "1e9", "tokens": None, "requests": None, "scope": "team:none"}, "scope"),
        ({"requests": 0}, "limit"),
        ({"requests": 10**19}, "limit"),
        ({"tokens": 1, "period": "year"}, "period"),
        ({"tokens": 1, "warn_percent": 0}, "warn_percent"),
        ({"tokens": 1, "warn_percent": 101}, "warn_percent"),
    ],
)
async def test_what_is_no_budget_is_refused(room: Room, body: dict[str, Any], param: str) -> None:
    refused = await room.refused("POST", "budgets", {"scope": "global", "period": "day", **body})

    assert refused == (400, "invalid_value", param)
    assert room.office.store.log == []


async def test_a_second_budget_of_a_kind_is_a_conflict_and_a_unit_stays(room: Room) -> None:
    made = await room.done("POST", "budgets", {"scope": "global", "period": "day", "usd": 1})

    assert await room.refused("POST", "budgets", {"scope": "global", "period": "day", "usd": 2}) == (409, "name_taken", "scope")
    assert await room.refused("PATCH", f"budgets/{made['id']}", {"tokens": 2}) == (400, "invalid_value", "tokens")
    assert await room.refused("GET", "budgets", scope="team:none") == (400, "invalid_value", "scope")
