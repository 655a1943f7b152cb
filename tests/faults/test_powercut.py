"""The power fails: what was acknowledged is there.  ``python -m tests.faults.powercut`` cuts it a thousand times."""

from pathlib import Path

import pytest

pytest.importorskip("apsw", reason="the simulated disk is made of apsw")

from tests.faults import powercut


def test_with_durability_power_no_cut_takes_what_was_acknowledged(tmp_path: Path) -> None:
    found = powercut.run(tmp_path, cuts=50, durability="power", seed=1)

    assert found.acknowledged > 1000
    assert (found.cuts, found.lost, found.broken) == (50, 0, 0)


def test_what_is_under_a_budget_survives_every_cut_whatever_the_durability_is(tmp_path: Path) -> None:
    found = powercut.run(tmp_path, cuts=25, durability="budgeted", seed=3)

    assert found.acknowledged > 200
    assert (found.cuts, found.lost, found.broken) == (25, 0, 0)


def test_with_durability_process_a_cut_takes_the_last_moments_and_leaves_the_file_whole(tmp_path: Path) -> None:
    """It also shows that the simulated disk does lose what was not synced."""
    found = powercut.run(tmp_path, cuts=25, durability="process", seed=2)

    assert found.lost > 0
    assert found.broken == 0
