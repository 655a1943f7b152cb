"""What reading the ledger's sources costs, and what it does to requests: ``python -m benchmarks.micro.sources``.

Reads every recorded payload and both installed price lists in a row; then, as a running server does, in a child process,
and for comparison in a thread, while the event loop wakes every millisecond: how late it wakes a request would notice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from pathlib import Path

from ledger.adapters import artificial_analysis, genai_prices, litellm_prices, openrouter
from ledger.facts import Parsed
from ledger.refresh import gates
from ledger.refresh.ports import ThreadReader
from ledger.refresh.source import Parse
from proxy.facts.reader import ChildReader
from proxy.facts.sources import read_seed
from tests.ledger.refresh.memory_facts import MemoryFacts

DATA = Path(__file__).parents[2] / "tests" / "ledger" / "adapters" / "data"
TICK_S = 0.001


def payloads() -> list[tuple[str, Callable[[], Parsed]]]:
    """Every payload there is, and how it is read."""
    spec = find_spec("litellm")
    assert spec is not None
    listed = Path(next(iter(spec.submodule_search_locations or ())), litellm_prices.FILE).read_bytes()
    compiled = genai_prices.FILE.read_bytes()
    old, new = ((DATA / f"llms-models-2026-{day}.json").read_bytes() for day in ("03-01", "05-07"))
    routed = (DATA / "openrouter-models-2026-08-01.json").read_bytes()
    return [
        ("artificial_analysis 2026-03-01", lambda: artificial_analysis.parse(old, fetched_at_us=1)),
        ("artificial_analysis 2026-05-07", lambda: artificial_analysis.parse(new, fetched_at_us=2)),
        ("openrouter 2026-08-01", lambda: openrouter.parse(routed, fetched_at_us=3)),
        ("litellm (installed)", lambda: litellm_prices.facts(listed, fetched_at_us=4)),
        ("genai_prices (compiled)", lambda: genai_prices.facts(compiled, fetched_at_us=5)),
        ("seed", read_seed),
    ]


def raw() -> list[tuple[str, Parse, bytes]]:
    """The payloads that are fetched, by their sources' names."""
    found = find_spec("litellm")
    assert found is not None
    listed = Path(next(iter(found.submodule_search_locations or ())), litellm_prices.FILE).read_bytes()
    return [
        ("artificial_analysis", artificial_analysis.parse, (DATA / "llms-models-2026-05-07.json").read_bytes()),
        ("openrouter", openrouter.parse, (DATA / "openrouter-models-2026-08-01.json").read_bytes()),
        ("litellm", litellm_prices.facts, listed),
    ]


async def lags(work: Coroutine[None, None, object]) -> list[float]:
    """How late the loop woke, in seconds, while ``work`` was done."""
    late: list[float] = []
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        while not task.done():
            due_s = time.perf_counter() + TICK_S
            await asyncio.sleep(TICK_S)
            late.append(max(time.perf_counter() - due_s, 0.0))
    return late


async def main() -> None:
    """Print what was measured."""
    total_s = 0.0
    store = MemoryFacts()
    for name, read in payloads():
        began_s = time.perf_counter()
        parsed = read()
        took_s = time.perf_counter() - began_s
        kept = await store.ingest(parsed, source=name, fetched_at_us=1)
        judged_s = time.perf_counter()
        gates.reasons(parsed, parsed)
        judged_s = time.perf_counter() - judged_s
        total_s += took_s
        print(
            f"{name:32} {took_s * 1e3:6.1f} ms  {len(parsed.models):5} models {kept.kept:6} readings "
            f"{len(parsed.prices):5} prices {len(parsed.problems):4} left out  gates {judged_s * 1e3:5.1f} ms"
        )
    print(f"{'all':32} {total_s * 1e3:6.1f} ms")
    for where, reader in (("a child", ChildReader()), ("a thread", ThreadReader())):
        late: list[float] = []
        for _ in range(3):
            for name, parse, payload in raw():
                late += await lags(reader.read(name, parse, payload, fetched_at_us=1))
        tell(where, late)


def tell(where: str, late: list[float]) -> None:
    """Print how late the loop woke."""
    late.sort()
    at = {share: late[min(int(len(late) * share), len(late) - 1)] * 1e3 for share in (0.5, 0.99, 0.999)}
    print(
        f"read in {where}, the loop wakes late by {at[0.5]:.2f} ms (p50), {at[0.99]:.2f} ms (p99), {at[0.999]:.2f} ms (p99.9)"
    )


if __name__ == "__main__":
    asyncio.run(main())
