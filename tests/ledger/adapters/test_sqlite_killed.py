"""``kill -9`` in the middle of writes: nothing that was acknowledged is lost, nothing is there twice, nothing stays open."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest

from ledger.adapters.sqlite import SqliteLedger
from ledger.journal.recovery import Recovery
from ledger.journal.reports import usage
from tests.ledger.samples import OnePrice, rows

ROOT = Path(__file__).parents[3]
CLIENTS = 24
KILLS = 4
ACKNOWLEDGED_BEFORE_A_KILL = 3000

# Every client reserves, fails over now and then, settles and records, and prints what the ledger acknowledged.
CHILD = """
import asyncio, os, sys
from ledger.adapters.sqlite import SqliteLedger
from tests.ledger.samples import record, reservation, settlement, void

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def client(ledger, run, number):
    turn = 0
    if number % 2:  # half of them a step behind the others, or all would be idle at once
        request_id = f"req_{run}_{number}_{turn}"
        await ledger.write([reservation(request_id), settlement(request_id), record(request_id)])
    while True:
        turn += 1
        request_id = f"req_{run}_{number}_{turn}"
        await ledger.write([reservation(request_id, 1)])
        say("RESERVE", request_id, 1)
        last = 1
        if turn % 5 == 0:
            await ledger.write([void(request_id, 1), reservation(request_id, 2)])
            say("VOID", request_id, 1)
            say("RESERVE", request_id, 2)
            last = 2
        await ledger.write([settlement(request_id, last), record(request_id)])
        say("SETTLE", request_id, last)
        say("RECORD", request_id, 0)

async def main(path, durability, run):
    ledger = SqliteLedger(path, durability=durability)
    await ledger.recover()
    async with asyncio.TaskGroup() as clients:
        for number in range(int(sys.argv[4])):
            clients.create_task(client(ledger, run, number))

asyncio.run(main(*sys.argv[1:4]))
"""


def killed_run(path: Path, durability: str, run: int) -> list[tuple[str, str, int]]:
    """What a child was told is written before it was killed while it wrote on."""
    command = [sys.executable, "-c", CHILD, str(path), durability, str(run), str(CLIENTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(ACKNOWLEDGED_BEFORE_A_KILL + run * 37)]
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.readlines()
        assert child.wait(30) == -signal.SIGKILL
    # A line is written whole or not at all, being shorter than PIPE_BUF.
    return [(kind, request_id, int(attempt)) for kind, request_id, attempt in map(str.split, lines)]


@pytest.mark.parametrize("durability", ["process", "power"])
async def test_a_killed_writer_loses_nothing_that_it_acknowledged(
    tmp_path: Path, durability: Literal["process", "power"]
) -> None:
    path = tmp_path / "ledger.sqlite"

    acknowledged = [entry for run in range(KILLS) for entry in killed_run(path, durability, run)]
    with SqliteLedger(path, durability=durability, prices=OnePrice()) as ledger:
        recovered = await ledger.recover()
        recovered_again = await ledger.recover()

    entries = Counter(rows(path, "SELECT kind, request_id, attempt FROM entries"))
    records = Counter(i for (i,) in rows(path, "SELECT request_id FROM requests"))
    assert len(acknowledged) >= KILLS * ACKNOWLEDGED_BEFORE_A_KILL
    assert [e for e in acknowledged if e[0] != "RECORD" and e not in entries] == []
    assert [e for e in acknowledged if e[0] == "RECORD" and e[1] not in records] == []
    assert set(entries.values()) == set(records.values()) == {1}
    reserved = {entry[1:] for entry in entries if entry[0] == "RESERVE"}
    assert sorted(entry[1:] for entry in entries if entry[0] != "RESERVE") == sorted(reserved)
    assert set(records) == {request_id for request_id, _ in reserved}
    assert 0 < recovered.attempts_settled <= CLIENTS
    assert recovered_again == Recovery()
    assert sum(row.requests for row in usage(path, by="day")) == len(records)


async def test_what_was_interrupted_is_priced_by_its_estimate_after_every_kill(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    killed_run(path, "process", 0)
    with SqliteLedger(path, prices=OnePrice()) as ledger:
        recovered = await ledger.recover()

    interrupted = rows(path, "SELECT status, quality, cost_nusd FROM requests WHERE outcome = 'interrupted'")

    assert len(interrupted) == recovered.requests_interrupted > 0
    assert {(status, quality) for status, quality, _ in interrupted} == {(0, "held")}
    assert {cost_nusd for _, _, cost_nusd in interrupted} <= {2_500_000, 4_250_000}
