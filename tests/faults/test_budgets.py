"""Budgets under everything at once, in small.  ``python -m tests.faults.budgets`` prints the figures of the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.faults import budgets
from tests.proxy.house import CENT, USD


@pytest.mark.parametrize("wait_s", [0.0, 5.0])
async def test_a_dollar_is_a_hundred_requests_of_a_cent_whoever_comes_first(tmp_path: Path, wait_s: float) -> None:
    rounds = [await budgets.exact(tmp_path, seed, wait_s=wait_s) for seed in range(3)]

    assert rounds == [budgets.Round(admitted=100, spent_nusd=USD, booked_nusd=USD, reserved_nusd=0)] * 3


async def test_of_requests_that_cost_twice_what_is_assumed_one_at_most_exceeds_the_budget(tmp_path: Path) -> None:
    found = await budgets.assumed(tmp_path, 1)

    reserve_nusd = budgets.ASSUMED_TOKENS * 10_000
    assert found.spent_nusd == found.booked_nusd
    assert 0 < found.spent_nusd - budgets.LEFT_NUSD <= reserve_nusd
    assert found.reserved_nusd == 0


async def test_without_serialising_more_than_one_would(tmp_path: Path) -> None:
    """It also shows that the measurement can see it."""
    found = await budgets.assumed(tmp_path, 1, serialise=False)

    assert found.spent_nusd - budgets.LEFT_NUSD > CENT


async def test_of_a_new_users_first_requests_one_passes(tmp_path: Path) -> None:
    assert await budgets.first(tmp_path, 1) == budgets.Round(admitted=1, spent_nusd=CENT, booked_nusd=CENT, reserved_nusd=0)


async def test_nothing_is_held_two_leases_after_requests_that_failed_in_every_way(tmp_path: Path) -> None:
    with capture_logs():
        left = await budgets.leaks(tmp_path, 1500)

    assert left.outcomes >= 6
    assert left.late > 0
    assert (left.reserved_nusd, left.open, left.faults) == (0, 0, ())
    assert left.spent_nusd == left.booked_nusd > 0
