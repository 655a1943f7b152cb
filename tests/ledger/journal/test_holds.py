import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest

from ledger import migrations
from ledger.adapters.sqlite import SqliteLedger
from ledger.journal.batch import write
from ledger.journal.holds import ROUND, AfterHold, lapse
from ledger.journal.reports import usage
from ledger.journal.verify import verify
from tests.ledger.samples import record, reservation, rows, settlement

HEAD_SQL = Path(migrations.__file__).with_name("head.sql").read_text()
HOUR_US = 3_600_000_000


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(HEAD_SQL)
        yield connection


def hold(connection: sqlite3.Connection, request_id: str, at_us: int, quality: str = "held") -> None:
    write(
        connection,
        [
            reservation(request_id, at_us=at_us),
            settlement(request_id, at_us=at_us, quality=quality, cost_nusd=700),
            record(request_id, at_us=at_us, quality=quality, cost_nusd=700),
        ],
    )


@pytest.mark.parametrize(("policy", "cost_nusd"), [("charge", 3 * 700), ("waive", 2 * 700)])
def test_after_its_time_a_held_try_is_charged_or_waived_once(
    connection: sqlite3.Connection, policy: AfterHold, cost_nusd: int
) -> None:
    hold(connection, "old", HOUR_US)
    hold(connection, "young", 3 * HOUR_US)
    hold(connection, "known", HOUR_US, quality="estimated")

    found = [lapse(connection, before_us=2 * HOUR_US, at_us=5 * HOUR_US, policy=policy) for _ in range(2)]

    assert [[(it.request_id, it.at_us) for it in lapsed] for lapsed in found] == [[("old", HOUR_US)], []]
    assert sum(row.cost_nusd or 0 for row in usage(connection, by="day")) == cost_nusd
    assert verify(connection).faults == ()


def test_every_policy_is_one_that_a_reason_can_be_made_of() -> None:
    assert {f"{policy}d" for policy in get_args(AfterHold)} == {"charged", "waived"}


async def test_many_are_resolved_in_rounds(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite", clock_us=lambda: 100 * HOUR_US) as ledger:
        for number in range(ROUND + 5):
            name = f"req_{number}"
            await ledger.write([reservation(name)])
            await ledger.write([settlement(name, quality="held", cost_nusd=9), record(name, quality="held", cost_nusd=9)])

        count = await ledger.lapse_holds(hold_us=24 * HOUR_US, policy="waive")

    assert count == ROUND + 5
    assert rows(tmp_path / "ledger.sqlite", "SELECT sum(cost_nusd) FROM entries WHERE kind = 'ADJUST'") == [(-9 * count,)]
