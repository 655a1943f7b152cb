"""Adjustments are booked once, and whoever counts what is spent hears of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import LedgerUnavailable
from ledger.journal.adjusting import book
from ledger.records import Adjusted, Adjustment
from tests.ledger.samples import record, reservation, rows, settlement

HOUR_US = 3_600_000_000


def adjustment(request_id: str, cost_nusd: int, evidence: str = "a report") -> Adjustment:
    return Adjustment(
        request_id=request_id, attempt=1, at_us=9 * HOUR_US, cost_nusd=cost_nusd, reason="reconciled", evidence=evidence
    )


async def done(ledger: SqliteLedger, request_id: str, *, quality: str = "exact", team: str = "") -> None:
    """A request that has ended."""
    await ledger.write(
        [
            reservation(request_id, at_us=HOUR_US, team=team),
            settlement(request_id, at_us=HOUR_US, quality=quality, cost_nusd=700),
            record(request_id, at_us=HOUR_US, quality=quality, cost_nusd=700, team=team),
        ]
    )


async def test_each_is_booked_once_and_says_whose_it_is(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await done(ledger, "mine", team="search")
        entries = [adjustment("mine", 5), adjustment("mine", 9), adjustment("mine", -2, "another report")]

        first = await ledger.run(lambda connection: book(connection, entries))
        again = await ledger.run(lambda connection: book(connection, entries))

    key_id = record("mine").key_id
    assert first == [
        Adjusted(request_id="mine", key_id=key_id, user="", team="search", at_us=HOUR_US, cost_nusd=cost) for cost in (5, -2)
    ]
    assert again == []
    assert rows(tmp_path / "ledger.sqlite", "SELECT sum(cost_nusd) FROM entries WHERE kind = 'ADJUST'") == [(3,)]


class Follower:
    """Hears of adjustments.  handed: some were handed to the writer; heard: some were written."""

    def __init__(self) -> None:
        self.handed = asyncio.Event()
        self.heard = asyncio.Event()
        self.told: list[tuple[str, int]] = []

    def __call__(self) -> Callable[[Sequence[Adjusted]], None]:
        self.handed.set()
        return self.written

    def written(self, found: Sequence[Adjusted]) -> None:
        self.told += [(it.request_id, it.cost_nusd) for it in found]
        self.heard.set()


async def test_whoever_follows_hears_of_what_lapsed_in_the_same_turn(tmp_path: Path) -> None:
    follower = Follower()
    with SqliteLedger(tmp_path / "ledger.sqlite", clock_us=lambda: 100 * HOUR_US) as ledger:
        ledger.follow_adjustments(follower)
        await done(ledger, "held", quality="held")

        count = await ledger.lapse_holds(hold_us=HOUR_US, policy="waive")

    assert (count, follower.told) == (1, [("held", -700)])


async def test_whoever_follows_hears_of_it_also_if_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    follower = Follower()
    with SqliteLedger(tmp_path / "ledger.sqlite", clock_us=lambda: 100 * HOUR_US) as ledger:
        ledger.follow_adjustments(follower)
        await done(ledger, "held", quality="held")
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(ledger.lapse_holds(hold_us=HOUR_US, policy="waive"))
            await follower.handed.wait()

            waiting.cancel()

        async with asyncio.timeout(10):
            await follower.heard.wait()

    assert follower.told == [("held", -700)]


async def test_what_cannot_be_booked_is_told_to_nobody(tmp_path: Path) -> None:
    follower = Follower()
    ledger = SqliteLedger(tmp_path / "ledger.sqlite", clock_us=lambda: 100 * HOUR_US)
    ledger.follow_adjustments(follower)
    await done(ledger, "held", quality="held")
    ledger.close()

    with pytest.raises(LedgerUnavailable):
        await ledger.lapse_holds(hold_us=HOUR_US, policy="waive")

    assert follower.told == []
