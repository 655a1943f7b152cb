"""``kill -9`` under load: what a client was told is in the books, once, and they agree with the upstream's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.kills import run

REQUESTS = 20_000
KILLS = 5
WALL_S = 480.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_request_is_lost_doubled_or_made_up_over_five_kills(tmp_path: Path) -> None:
    found = run(tmp_path, requests=REQUESTS, kills=KILLS, durability="process", wall_s=WALL_S)

    print(found)
    assert found.wrong == []
    assert found.sent >= REQUESTS
    assert found.billed >= found.acknowledged
    assert found.acknowledged + found.refused > REQUESTS - KILLS * 100
