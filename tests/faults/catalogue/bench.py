"""A running Tollway with a scripted upstream behind every provider, and what has to be true of both after a row."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.fakes.openai_upstream import OpenAIUpstream
from tests.faults.catalogue.case import Case
from tests.faults.catalogue.peers import Peers, peers
from tests.faults.catalogue.row import Row
from tests.process import TollwayProcess, config, tollway

CONNECT_S = 1.0
FIRST_BYTE_S = 2.0
IDLE_S = 2.0
TRY_S = 6.0
TOTAL_S = 16.0
LAST_OPEN_S = 1.0
HEADER_S = 3.0
BODY_S = 3.0
WRITE_S = 1.5
KEEP_ALIVE_S = 1.0
BODY_MAX_BYTES = 1_000_000
REPEATS_A_BATCH = 120
SETTLED_S = 5.0
"""How long after a row everything may take to be back where it was."""

PRICES = {"input_usd_per_mtok": 3, "output_usd_per_mtok": 15, "cache_read_usd_per_mtok": 0.3}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a row.  problem: the first thing that was not as it should be; empty if all was."""

    row: Row
    passed: int
    took_s: float
    problem: str = ""


class Bench:
    """The proxy under test."""

    def __init__(self, upstream: OpenAIUpstream, proxy: TollwayProcess, client: httpx.AsyncClient) -> None:
        self.upstream = upstream
        self.proxy = proxy
        self.client = client

    async def run(self, row: Row) -> Outcome:
        """Repeat a row, and check what has to be true after it.  Never raises."""
        started_s = time.monotonic()
        before = await self._files()
        room = asyncio.Semaphore(row.at_once)

        async def repeat(number: int) -> str:
            async with room:
                case = Case(self, row, number)
                try:
                    async with asyncio.timeout(30):
                        await row.scenario(case)
                        await case.check_books()
                except (AssertionError, TimeoutError, EOFError, httpx.HTTPError, OSError, KeyError, ValueError) as error:
                    place = traceback.extract_tb(error.__traceback__)[-1]
                    return f"repeat {number}: {type(error).__name__} at {place.line!r}: {str(error)[:600]}"
                return ""

        problems = [it for it in await asyncio.gather(*map(repeat, range(row.repeats))) if it]
        passed = row.repeats - len(problems)
        problems += [it for it in (await self._healthy(), await self._settled(before)) if it]
        return Outcome(row=row, passed=passed, took_s=time.monotonic() - started_s, problem=problems[0] if problems else "")

    def resident_kb(self) -> int:
        """How much memory the proxy has."""
        status = Path(f"/proc/{self.proxy.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))

    async def _healthy(self) -> str:
        answer = await self.client.post("/chat/completions", json={"model": "healthy/ok", "messages": Case.ASK})
        return "" if answer.status_code == 200 else f"the next healthy request was answered {answer.status_code}"

    async def _settled(self, before: int) -> str:
        """Every connection is closed again, and every reservation ended."""
        deadline_s = time.monotonic() + SETTLED_S
        while True:
            files, opened = await self._files(), self.proxy.open_reservations()
            if files <= before and not opened:
                return ""
            if time.monotonic() > deadline_s:
                return f"left behind: {files - before} connections, open reservations {opened[:3]}"
            await asyncio.sleep(0.05)

    async def _files(self) -> int:
        """Open sockets and files of the proxy without what it keeps for the next request: its connections to upstreams, and the
        file of answers that have a name.
        """
        return await asyncio.to_thread(self._count) - self.upstream.live

    def _count(self) -> int:
        count = 0
        for descriptor in Path(f"/proc/{self.proxy.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                count += "idempotency.sqlite" not in descriptor.readlink().name
        return count


async def run(rows: Sequence[Row], home: Path, show: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
    """Run rows, some at a time, each batch against a Tollway of its own.  show: is told of each when it is over."""
    outcomes = []
    for number, batch in enumerate(_batches(rows)):
        async with bench(home / str(number), batch) as running:
            for row in batch:
                outcomes.append(await running.run(row))
                show(outcomes[-1])
    return outcomes


def _batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """A configuration has a largest size, and every repeat has two providers in it."""
    batch: list[Row] = []
    for row in rows:
        if batch and sum(it.repeats for it in (*batch, row)) > REPEATS_A_BATCH:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@asynccontextmanager
async def bench(home: Path, rows: Sequence[Row]) -> AsyncIterator[Bench]:
    """A bench that is set up for these rows.  At its end the proxy's logs are checked."""
    with OpenAIUpstream() as upstream, peers(home) as others, running(home, rows, upstream, others) as proxy:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(
            base_url=proxy.base_url, headers=proxy.headers, timeout=20, trust_env=False, limits=limits
        ) as client:
            yield Bench(upstream, proxy, client)
        problems = [it for it in upstream.problems if "the upstream failed" not in it or "GoneError" not in it]
        assert problems == [], problems[:3]


@contextmanager
def running(home: Path, rows: Sequence[Row], upstream: OpenAIUpstream, others: Peers) -> Iterator[TollwayProcess]:
    """Tollway with two providers and one pair of them for every repeat of every row."""
    upstream.serve("ok")
    names: dict[str, list[str]] = {"healthy": ["ok"]}
    fields: dict[str, dict[str, Any]] = {}
    models: dict[str, Any] = {}
    prices = [{"model": "healthy/ok", **PRICES}]
    for row in rows:
        impatient = {
            "connect_timeout_s": CONNECT_S,
            "first_byte_timeout_s": FIRST_BYTE_S,
            "idle_timeout_s": IDLE_S,
            "total_timeout_s": TRY_S,
            **row.provider,
        }
        for number in range(row.repeats):
            case = Case.name(row, number)
            faulty, good = f"{case}-a", f"{case}-b"
            names[faulty], names[good] = [faulty], [good]
            elsewhere = {"base_url": others.addresses[row.at[number % len(row.at)]]} if row.at else {}
            fields[faulty], fields[good] = {**impatient, **elsewhere}, impatient
            models[f"{case}-pair"] = {"targets": [f"{faulty}/{faulty}"], "fallbacks": [f"{good}/{good}"]}
            models[f"{case}-both"] = {"targets": [f"{faulty}/{faulty}", f"{good}/{good}"]}
            prices += [{"model": f"{name}/{name}", **PRICES} for name in (faulty, good)]
    setting = config(
        upstream,
        names,
        fields=fields,
        models=models,
        ledger={"prices": prices},
        circuit_breaker={"last_open_s": LAST_OPEN_S},
        # Twenty repeats fail at the same moment: with the usual retry budget, one would use up what another is to show.
        # tests/e2e/test_traffic.py shows outages with it.
        retries={"total_timeout_s": TOTAL_S, "budget_percent": 100, "budget_floor": 1000},
        # Twenty repeats of large answers at once are a burst; tests/proxy/limits shows what becomes of too much of that.
        limits={"overload": {"max_lag_ms": 0}},
        server={
            "header_timeout_s": HEADER_S,
            "body_timeout_s": BODY_S,
            "write_timeout_s": WRITE_S,
            "max_body_bytes": BODY_MAX_BYTES,
            "keep_alive_timeout_s": KEEP_ALIVE_S,
        },
    )
    setting.env["SSL_CERT_FILE"] = str(others.authority)
    with tollway(home, setting, timeout_s=60) as proxy:
        yield proxy
