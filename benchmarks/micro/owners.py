"""What the directory of keys costs: loading it, finding a key, asking for rates, and changing a team of many keys.

``python -m benchmarks.micro.owners [--keys 10000]``
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ledger.adapters.sqlite import SqliteLedger
from ledger.journal import owners
from ledger.journal.connection import connect
from ledger.records import Change, Key, Team, User
from proxy.owners.directory import THIS_MACHINE, Directory
from proxy.owners.keys import KeyRing

ROUNDS = 7
FINDS = 20_000


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=10_000)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder) / "ledger.sqlite", arguments.keys))


async def measure(path: Path, count: int) -> None:
    """Fill a ledger, and time what is done with it."""
    ring = KeyRing(b"p" * 32, time.time_ns)
    SqliteLedger(path).close()
    fill(path, [ring.digest(f"tw-{number}") for number in range(count)])
    with SqliteLedger(path) as ledger:
        directory = Directory(ring, ledger, time.time_ns)
        started_ns = time.perf_counter_ns()
        await directory.load()
        print(f"load {count} keys from the file {(time.perf_counter_ns() - started_ns) / 1e6:25.1f} ms")
        found_ns = min(_spent_ns(lambda number: ring.find(f"tw-{number % count}")) for _ in range(ROUNDS))
        print(f"KeyRing.find {found_ns / FINDS / 1e3:42.2f} us")
        rated_ns = min(_spent_ns(lambda _: directory.rates("team:search")) for _ in range(ROUNDS))
        print(f"Directory.rates {rated_ns / FINDS / 1e3:39.2f} us")
        changed_ms = []
        for limit in range(1, ROUNDS + 1):
            started_ns = time.thread_time_ns()
            await directory.update_team("search", {"concurrent": limit}, actor=THIS_MACHINE)
            changed_ms.append((time.thread_time_ns() - started_ns) / 1e6)
        print(f"change the team of {count // 2} of them, on the loop {min(changed_ms):13.1f} ms")


def fill(path: Path, digests: Sequence[bytes]) -> None:
    """Half of the keys belong to a user of a team."""
    connection = connect(path, "process")
    change = Change(
        at_us=1, actor_id="a", actor="a", action="create", kind="key", object="a", name="a", before=None, after="{}"
    )
    connection.execute("BEGIN")
    owners.put(connection, change, Team(name="search", created_us=1))
    owners.put(connection, change, User(name="alice", team="search", created_us=1))
    for number, digest in enumerate(digests):
        key = Key(
            id=f"key_{number:016x}",
            name=f"key {number}",
            digest=digest,
            last4="abcd",
            admin=False,
            models=("openai/*",),
            created_us=number,
            user="alice" if number % 2 else "",
        )
        owners.put(connection, change, key)
    connection.execute("COMMIT")
    connection.close()


def _spent_ns(call: object) -> int:
    assert callable(call)
    started_ns = time.process_time_ns()
    for number in range(FINDS):
        call(number)
    return time.process_time_ns() - started_ns


if __name__ == "__main__":
    main()
