"""Budgets of a configuration and of the store, and what was spent of them before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from pathlib import Path

import pytest

from ledger.adapters.sqlite import SqliteLedger
from ledger.budgets.accounts import Accounts, WorstCase
from ledger.budgets.periods import DAY_US
from ledger.errors import LedgerUnavailable
from ledger.records import Adjustment, Budget, Spent
from proxy.config import Config
from proxy.metering.budgets import Budgets, declared
from tests.ledger.samples import record, reservation, settlement
from tests.proxy.house import budget

NOW_US = 20_779 * DAY_US + 5  # 2026-11-22, a Sunday


class House:
    """Accounts over a journal in a file."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.accounts = Accounts()
        self.freed: list[str] = []
        self.budgets = Budgets(self.accounts, ledger, freed=self.freed.extend, clock_us=lambda: NOW_US)

    def spent(self) -> dict[str, int]:
        return {it.budget.id: it.settled for it in self.budgets.standing()}


async def spend(ledger: SqliteLedger, request_id: str, key_id: str = "key_1", day: int = 20_779, cost_nusd: int = 100) -> None:
    """One request of 1,200 tokens, of the team that both keys belong to."""
    at_us = day * DAY_US + 7_200_000_000
    team = "" if key_id == "key_gone" else "search"
    await ledger.write([reservation(request_id, key_id=key_id, at_us=at_us)])
    await ledger.write(
        [
            settlement(request_id, cost_nusd=cost_nusd),
            record(request_id, key_id=key_id, team=team, at_us=at_us, cost_nusd=cost_nusd),
        ]
    )


def test_a_declared_budget_has_its_limit_in_nano_dollars_or_as_a_count() -> None:
    config = Config(
        budgets={
            "money": {"scope": "team:search", "usd": 0.1, "period": "week", "warn_percent": 0},
            "tokens": {"tokens": 5},
            "requests": {"requests": 7, "scope": "key:k", "period": "total"},
        }
    )

    assert declared(config) == [
        Budget(id="money", scope="team:search", unit="usd", period="week", limit=100_000_000, warn_percent=None),
        Budget(id="tokens", scope="global", unit="tokens", period="month", limit=5),
        Budget(id="requests", scope="key:k", unit="requests", period="total", limit=7),
    ]


async def test_a_budget_begins_with_what_the_journal_has_for_its_scope_and_period(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.recover()
        await spend(ledger, "today")
        await spend(ledger, "colleague", key_id="key_2")
        await spend(ledger, "yesterday", day=20_778)
        await spend(ledger, "last_month", day=20_740)
        await spend(ledger, "stranger", key_id="key_gone")
        house = House(ledger)

        await house.budgets.declare(
            [
                budget(1000, id="day", period="day"),
                budget(1000, id="week", period="week"),
                budget(1000, id="month"),
                budget(1000, id="total", period="total"),
                budget(1000, id="key", scope="key:key_gone"),
                budget(1000, id="global", scope="global"),
                budget(9000, id="tokens", unit="tokens"),
                budget(1000, id="requests", unit="requests"),
            ]
        )

    assert house.spent() == {
        "day": 200,
        "week": 300,
        "month": 300,
        "total": 400,
        "key": 100,
        "global": 400,
        "tokens": 3600,
        "requests": 3,
    }


async def test_what_was_refused_before_it_was_sent_does_not_count(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.recover()
        at_us = 20_779 * DAY_US
        await ledger.write([record("refused", at_us=at_us, provider="", cost_nusd=0)])
        house = House(ledger)

        await house.budgets.declare([budget(10, unit="requests")])

    assert house.spent() == {"b": 0}


async def test_what_reconciliation_booked_counts(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.recover()
        await spend(ledger, "req_1")
        await ledger.write(
            [Adjustment(request_id="req_1", attempt=1, at_us=NOW_US, cost_nusd=-30, reason="report", evidence="1")]
        )
        house = House(ledger)

        await house.budgets.declare([budget(1000)])

    assert house.spent() == {"b": 70}


async def test_what_is_written_while_a_budget_is_put_counts_once(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.recover()
        house = House(ledger)
        await ledger.write([reservation(f"req_{number}", at_us=NOW_US) for number in range(100)])

        async def end(request_id: str) -> None:
            ending = house.accounts.ending(request_id, ("key:key_1", "team:search", "global"), NOW_US)
            await ledger.write(
                [settlement(request_id, cost_nusd=100), record(request_id, team="search", at_us=NOW_US, cost_nusd=100)]
            )
            if ending is not None:
                house.accounts.settle(request_id, ending, (100, 1200, 1))

        ends = [end(f"req_{number}") for number in range(100)]
        await asyncio.gather(*ends[:40], house.budgets.put(budget(10**6)), *ends[40:])

    assert house.spent() == {"b": 100 * 100}


async def test_a_budget_that_cannot_be_seeded_is_not_put() -> None:
    class Dead:
        def spent(self, since_us: int, /) -> Awaitable[Sequence[Spent]]:
            raise LedgerUnavailable(f"not since {since_us}")

    accounts = Accounts()
    budgets = Budgets(accounts, Dead(), freed=lambda _: None, clock_us=lambda: NOW_US)

    with pytest.raises(LedgerUnavailable):
        await budgets.put(budget(10))

    assert accounts.budgets() == []


async def test_a_budget_can_be_changed_and_removed_at_any_time(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.recover()
        house = House(ledger)
        await house.budgets.put(budget(10))
        refused = house.accounts.admit("r", house.accounts.counting(["team:search"]), WorstCase((11, 0, 1), (11, 0, 1)), NOW_US)
        await house.budgets.put(budget(11))
        admitted = house.accounts.admit(
            "r", house.accounts.counting(["team:search"]), WorstCase((11, 0, 1), (11, 0, 1)), NOW_US
        )

        removed = [house.budgets.remove("b"), house.budgets.remove("b")]

    assert [type(refused).__name__, type(admitted).__name__, *removed] == ["Denied", "Hold", True, False]
    assert house.freed == ["b"] * 4
    assert house.spent() == {}
