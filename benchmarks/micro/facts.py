"""What the ledger of facts costs: to ingest, to build a snapshot of, to look up; and what a request notices of it.

``python -m benchmarks.micro.facts``

Takes the recorded payloads (two days of Artificial Analysis, one of OpenRouter) through resolution, the file and the
snapshot, while a task on the same event loop measures how late it is woken.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import timeit
from collections.abc import Awaitable, Callable
from pathlib import Path

from ledger.adapters import aliases
from ledger.adapters.sqlite import SqliteLedger, now_us
from ledger.adapters.sqlite_facts import SqliteFacts
from ledger.catalogue.identity import Resolver
from ledger.catalogue.indices import Indices
from ledger.catalogue.snapshot import Snapshot
from ledger.facts import Observation
from tests.ledger import recorded
from tests.ledger.recorded import AUGUST, MARCH, MAY, us

ROUNDS = 5
LOOKUPS = 200_000


async def main() -> None:
    """Print the figures."""
    payloads = [("artificial_analysis", day, recorded.artificial_analysis(day)) for day in (MARCH, MAY)]
    payloads.append(("openrouter", AUGUST, recorded.openrouter()))
    with tempfile.TemporaryDirectory() as folder, SqliteLedger(Path(folder) / "ledger.sqlite") as ledger:
        async with SqliteFacts(ledger.path, aliases=aliases.load(), clock_us=now_us, run=ledger.run) as facts:
            idle_s = await lag(asyncio.sleep(0.5))

            async def ingest() -> tuple[float, int]:
                began_s, kept = time.perf_counter(), 0
                for source, day, parsed in payloads:
                    kept += (await facts.ingest(parsed, source=source, fetched_at_us=us(day))).kept
                return time.perf_counter() - began_s, kept

            first: list[tuple[float, int]] = []

            async def ingest_and_refresh() -> None:
                first.append(await ingest())
                await facts.refresh()

            busy_s = await lag(ingest_and_refresh())
            before = facts.snapshot
            again_s, kept = await ingest()
            after = await facts.refresh()
        took_s, rows = first[0]
        print(f"ingest    {took_s:.2f} s for {rows} rows of {len(payloads)} payloads, in bursts with rests between")
        print(f"again     {again_s:.2f} s, {kept} rows, the snapshot is {'the same' if after.id == before.id else 'ANOTHER'}")
        print(f"loop lag  p50 {busy_s[0] * 1e3:.2f} ms, p99 {busy_s[1] * 1e3:.2f} ms, max {busy_s[2] * 1e3:.2f} ms; "
              f"idle p99 {idle_s[1] * 1e3:.2f} ms, max {idle_s[2] * 1e3:.2f} ms")  # fmt: skip
        whole = SqliteFacts(ledger.path, aliases=aliases.load(), clock_us=now_us)
        opened_s = []
        for _ in range(ROUNDS):
            began_s = time.perf_counter()
            await whole.open()
            opened_s.append(time.perf_counter() - began_s)
        await whole.close()
        print(f"open      {min(opened_s) * 1e3:.0f} ms: read the file, resolve, build, at the start of a server")
        build(payloads[1][2].readings)
        look_up(after)


def build(readings: tuple[recorded.Reading, ...]) -> None:
    """How long a snapshot of one day's observations takes, and its indices."""
    resolver = Resolver(aliases.load())
    observations = [it for reading in readings if isinstance(it := resolver.observe(reading), Observation)]
    snapshot = Snapshot(observations)
    built_s = best(lambda: Snapshot(observations))
    ranked_s = best(lambda: Indices(snapshot).rankings("coding"))
    size = f"{len(snapshot.names())} models, {len(snapshot.scores)} variants, {len(observations)} values"
    print(f"snapshot  {built_s * 1e3:.0f} ms for {size}")
    print(f"rankings  {ranked_s * 1e3:.1f} ms with the indices of all")


def look_up(snapshot: Snapshot) -> None:
    """What a look-up costs: of a value that is there, of an offer's that is its variant's, of one that nobody has."""
    indices = Indices(snapshot)
    asked = {
        "a value": lambda: snapshot.score("openai/gpt-5-5#high", "gpqa_diamond"),
        "an offer's": lambda: snapshot.score("openai/gpt-5-5#high@openrouter", "gpqa_diamond"),
        "nobody's": lambda: snapshot.score("nobody/nothing@nowhere", "gpqa_diamond"),
        "a price": lambda: snapshot.price("openai/gpt-5-5@openrouter"),
        "a quality": lambda: indices.quality("openai/gpt-5-5#high", "coding"),
    }
    for what, ask in asked.items():
        print(f"look-up   {min(timeit.repeat(ask, number=LOOKUPS, repeat=3)) / LOOKUPS * 1e6:.2f} µs {what}")


async def lag(work: Awaitable[None]) -> tuple[float, float, float]:
    """How late a task is woken while ``work`` goes on: median, 99th percentile, worst, in seconds."""
    late_s: list[float] = []

    async def watch() -> None:
        while True:
            began_s = time.perf_counter()
            await asyncio.sleep(0.001)
            late_s.append(time.perf_counter() - began_s - 0.001)

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        await work
        watching.cancel()
    late_s.sort()
    return late_s[len(late_s) // 2], late_s[int(len(late_s) * 0.99)], late_s[-1]


def best(work: Callable[[], object]) -> float:
    """The shortest of a few runs, in seconds."""
    return min(timeit.repeat(work, number=1, repeat=ROUNDS))


if __name__ == "__main__":
    asyncio.run(main())
