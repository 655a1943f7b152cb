"""A disk that is really full: nothing is written by halves, and when there is room again it goes on by itself."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import LedgerUnavailable
from ledger.journal.verify import verify
from tests.ledger.samples import record, reservation, rows, settlement


def mount(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not mount(folder, "size=1m"):
        pytest.skip("only root can mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], timeout=10, check=True)


async def write_one(ledger: SqliteLedger, request_id: str) -> bool:
    """Reserve, then settle and record.  ``False``: the disk refused; then nothing of what it refused is there."""
    try:
        await ledger.write([reservation(request_id)])
        await ledger.write([settlement(request_id), record(request_id)])
    except LedgerUnavailable:
        return False
    return True


@pytest.mark.parametrize("durability", ["process", "power"])
async def test_a_full_disk_refuses_and_one_with_room_takes_the_same_entries_again(disk: Path, durability: str) -> None:
    path = disk / "ledger.sqlite"
    with SqliteLedger(path, durability="power" if durability == "power" else "process") as ledger:
        await ledger.recover()
        written = 0
        while await write_one(ledger, f"req_{written}"):
            written += 1
        several = await asyncio.gather(*(write_one(ledger, f"req_more_{n}") for n in range(20)))
        writable_while_full = await ledger.is_writable()

        assert mount(disk, "remount,size=64m")
        writable_with_room = await ledger.is_writable()
        retried = [await write_one(ledger, f"req_{n}") for n in range(written + 1)]
        last = await write_one(ledger, "req_last")

    assert written > 10
    assert (any(several), writable_while_full) == (False, False)
    assert (writable_with_room, all(retried), last) == (True, True, True)
    assert verify(path).faults == ()
    assert rows(path, "SELECT count(*) FROM requests") == [(written + 2,)]
    ends = rows(path, "SELECT count(*) FROM entries WHERE kind = 'SETTLE'")
    assert ends == [(written + 2,)]
