"""Every row of the fault catalogue holds: 20 repeats each, fewer where a row takes seconds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.catalogue.bench import run
from tests.faults.catalogue.not_injected import NOT_INJECTED
from tests.faults.catalogue.register import ROWS

GROUPS = sorted({row.group for row in ROWS.values()})


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("group", GROUPS)
def test_the_rows_hold(group: str, tmp_path: Path) -> None:
    outcomes = asyncio.run(run([row for row in ROWS.values() if row.group == group], tmp_path))

    assert {outcome.row.id: outcome.problem for outcome in outcomes if outcome.problem} == {}
    assert all(outcome.passed == outcome.row.repeats for outcome in outcomes)


def test_a_row_is_injected_or_says_why_not() -> None:
    expected = {f"A{n}" for n in range(1, 27)} | {f"B{n}" for n in range(1, 18)}
    expected |= {f"C{n}" for n in range(1, 23)} | {f"D{n}" for n in range(1, 20)} | {f"G{n}" for n in range(10, 17)}

    assert expected - ROWS.keys() - NOT_INJECTED.keys() == set()
    assert ROWS.keys() & NOT_INJECTED.keys() == set()
