"""Simulated power cuts under the ledger's writer: only what was synced is there afterwards.

``python -m tests.faults.powercut [--cuts 1000] [--durability process | budgeted]``

The writer works on a file system of ours, below SQLite.  Bytes reach a shadow of the file only when SQLite syncs it; a
cut is a copy of the shadow, taken at some write or sync in the middle of whatever is going on.  What had been
acknowledged by then must be in the copy, and the copy must be whole: SQLite's own check, and the journal's.
``budgeted`` is a ledger of durability ``process`` half of whose clients are under a budget: what of those was acknowledged
must be there.  It is stricter than most disks, of which some keep what was never synced; it does not tear sectors.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import apsw
import msgspec

from ledger import migrations
from ledger.journal.connection import pragmas
from ledger.journal.verify import verify
from ledger.journal.writer import GroupCommitWriter
from tests.ledger.samples import record, reservation, settlement

CUTS_PER_FILE = 25
CLIENTS = 8
EVENTS_BETWEEN_CUTS = (1, 60)

Acknowledged = list[tuple[str, str]]
Mode = Literal["power", "process", "budgeted"]


class Outcome(msgspec.Struct):
    """lost: acknowledged entries and records that a cut took.  broken: copies that were not whole."""

    cuts: int = 0
    acknowledged: int = 0
    lost: int = 0
    broken: int = 0


class Disk:
    """A file system whose unsynced bytes do not survive, and a power switch."""

    def __init__(self, folder: Path, cuts: int, chance: random.Random) -> None:
        self.acknowledged: Acknowledged = []
        self.cuts: list[tuple[Path, int]] = []  # each copy, and how much had been acknowledged
        self.shadow = folder / "shadow"
        self._folder = folder
        self._count = cuts
        self._chance = chance
        self._events = chance.randint(*EVENTS_BETWEEN_CUTS)

    @property
    def done(self) -> bool:
        return len(self.cuts) == self._count

    def event(self) -> None:
        """Something is about to happen; perhaps the power fails before it does."""
        self._events -= 1
        if self._events == 0 and not self.done:
            copy = self._folder / f"cut-{len(self.cuts)}"
            count = len(self.acknowledged)
            shutil.copytree(self.shadow, copy)
            self.cuts.append((copy, count))
            self._events = self._chance.randint(*EVENTS_BETWEEN_CUTS)


def file_system(disk: Disk) -> apsw.VFS:
    """What SQLite sees: the operating system's files, and behind them the shadow."""

    class File(apsw.VFSFile):
        def __init__(self, name: Any, flags: list[int]) -> None:
            path = name.filename() if hasattr(name, "filename") else name
            self._path = Path(path) if path else None
            self._unsynced: dict[int, bytes] = {}
            self._length: int | None = None
            super().__init__("", name, flags)

        def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # SQLite's name
            disk.event()
            super().xWrite(data, offset)
            self._unsynced[offset] = bytes(data)

        def xTruncate(self, size: int) -> None:  # noqa: N802  # SQLite's name
            disk.event()
            super().xTruncate(size)
            self._length = size

        def xSync(self, flags: int) -> None:  # noqa: N802  # SQLite's name
            disk.event()
            super().xSync(flags)
            if self._path is None:
                return
            shadow = os.open(disk.shadow / self._path.name, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                for offset, data in self._unsynced.items():
                    os.pwrite(shadow, data, offset)
                if self._length is not None:
                    os.ftruncate(shadow, self._length)
            finally:
                os.close(shadow)
            self._unsynced.clear()
            self._length = None
            disk.event()

    class FileSystem(apsw.VFS):
        def __init__(self) -> None:
            super().__init__("power", "")

        def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  # SQLite's name
            return File(name, flags)

        def xDelete(self, name: str, sync: bool) -> None:  # noqa: N802  # SQLite's name
            super().xDelete(name, sync)
            (disk.shadow / Path(name).name).unlink(missing_ok=True)

    return FileSystem()


def run(folder: Path, *, cuts: int, durability: Mode, seed: int) -> Outcome:
    """Cut the power so often, on fresh files, and look at what is left."""
    outcome = Outcome()
    chance = random.Random(seed)  # noqa: S311  # it decides when the power fails
    while outcome.cuts < cuts:
        part = folder / f"part-{outcome.cuts}"
        part.mkdir()
        disk = Disk(part, min(CUTS_PER_FILE, cuts - outcome.cuts), chance)
        asyncio.run(_work(part, disk, durability))
        for copy, count in disk.cuts:
            _judge(copy / "ledger.sqlite", disk.acknowledged[:count], outcome)
        shutil.rmtree(part)
    return outcome


async def _work(folder: Path, disk: Disk, durability: Mode) -> None:
    path = folder / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as fresh:
        fresh.executescript(Path(migrations.__file__).with_name("head.sql").read_text("ascii"))
        fresh.execute("PRAGMA journal_mode = WAL")
    disk.shadow.mkdir()
    shutil.copyfile(path, disk.shadow / path.name)
    system = file_system(disk)

    def connect() -> Any:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs="power")
        for name, value in pragmas("power" if durability == "power" else "process").items():
            connection.execute(f"PRAGMA {name} = {value}")
        connection.execute("PRAGMA wal_autocheckpoint = 50")  # so that cuts fall into checkpoints too
        return connection

    async def client(number: int) -> None:
        turn = 0
        power = durability == "budgeted" and number % 2 == 0
        told = disk.acknowledged if power or durability != "budgeted" else []
        while not disk.done:
            turn += 1
            request_id = f"req_{number}_{turn}"
            await writer.write([reservation(request_id)], power=power)
            told.append(("RESERVE", request_id))
            await writer.write([settlement(request_id), record(request_id)], power=power)
            told.append(("SETTLE", request_id))
            told.append(("RECORD", request_id))

    writer = GroupCommitWriter(connect)
    async with asyncio.TaskGroup() as clients:
        for number in range(CLIENTS):
            clients.create_task(client(number))
    assert writer.close(30)
    system.unregister()


def _judge(path: Path, acknowledged: Acknowledged, outcome: Outcome) -> None:
    """Open what the cut left, as the next start would."""
    outcome.cuts += 1
    outcome.acknowledged += len(acknowledged)
    with closing(sqlite3.connect(path)) as connection:
        try:
            whole = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)] and not verify(connection).faults
            found = set(connection.execute("SELECT kind, request_id FROM entries"))
            found |= {("RECORD", request_id) for (request_id,) in connection.execute("SELECT request_id FROM requests")}
        except sqlite3.DatabaseError:
            whole, found = False, set()
    outcome.broken += not whole
    outcome.lost += len(set(acknowledged) - found)


def main() -> int:
    """Print what was found; 1 if the power can take anything that was acknowledged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--durability", choices=("power", "process", "budgeted"), default="power")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), cuts=arguments.cuts, durability=arguments.durability, seed=arguments.seed)
    print(
        f"{arguments.durability}: {found.cuts} cuts, {found.acknowledged} entries and records acknowledged before them, "
        f"{found.lost} lost, {found.broken} files not whole (SQLite {apsw.sqlite_lib_version()})"
    )
    return 1 if found.lost or found.broken else 0


if __name__ == "__main__":
    sys.exit(main())
