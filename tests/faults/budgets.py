"""Budgets under everything at once: is any overrun, and is anything held for ever?

``python -m tests.faults.budgets [--rounds 50] [--requests 100000]``

All stages of the pipeline, a ledger in a file, and a scripted provider.  Each line is a figure; the exit status is 1 if one
of them is not as it must be.

exact        a budget of a dollar, 500 requests at once of exactly a cent each
assumed      the same without a bound to the answer, each of which costs twice what is assumed
first        64 requests at once of a user whom nobody knew before, and money for one
leaks        requests that fail in every way there is, and two leases later
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import structlog
import uvloop

from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import LedgerUnavailable
from ledger.journal.verify import verify
from ledger.ports import Entry
from ledger.records import Bounds, By, Price, Progress, RequestRecord, UsageRow
from providers.errors import ConnectFailed, FirstByteTimedOut, Refused
from providers.openai.response import error_body
from proxy.call import Completed, Streaming
from proxy.errors import ProxyError
from proxy.metering.worst_case import Assumptions
from tests.proxy.house import CENT, USD, Busy, House, Prices, answer, budget, turn
from tests.proxy.scripted import Answer, Hang, stream

EVENT = b'data: {"model":"gpt","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
BY_TOKEN = Price(source="a list", input_nusd_per_mtok=1_000_000_000, output_nusd_per_mtok=10_000_000_000)
ASSUMED_TOKENS = 500
LEFT_NUSD = USD - CENT // 4
"""No multiple of what a request costs, so that the last one exceeds it."""
AT_ONCE = 200


class Round(msgspec.Struct, frozen=True):
    """admitted: requests that were answered.  spent_nusd: by memory; booked_nusd: by the journal.  reserved_nusd: still."""

    admitted: int
    spent_nusd: int
    booked_nusd: int
    reserved_nusd: int


class Leaks(msgspec.Struct, frozen=True):
    """late: requests that were ended when their lease was over.  open: reservations without an end in the journal."""

    requests: int
    outcomes: int
    late: int
    reserved_nusd: int
    open: int
    spent_nusd: int
    booked_nusd: int
    faults: tuple[str, ...]


class Flaky:
    """A ledger whose disk refuses now and then."""

    def __init__(self, ledger: SqliteLedger, chance: random.Random, refuses: float) -> None:
        self._ledger = ledger
        self._chance = chance
        self.refuses = refuses

    def write(self, entries: Sequence[Entry], /, *, power: bool = False) -> Awaitable[None]:
        if self._chance.random() < self.refuses:
            raise LedgerUnavailable("the disk is full")
        return self._ledger.write(entries, power=power)

    def progress(self, marks: Sequence[Progress], /) -> None:
        self._ledger.progress(marks)

    async def request(self, request_id: str, /) -> RequestRecord | None:
        return await self._ledger.request(request_id)

    async def usage(self, by: By, /, *, since_us: int, until_us: int, key_id: str | None) -> Sequence[UsageRow]:
        return await self._ledger.usage(by, since_us=since_us, until_us=until_us, key_id=key_id)


def booked(path: Path) -> tuple[int, int]:
    """What the journal's requests cost in all, and how many of its reservations have no end."""
    with closing(sqlite3.connect(path)) as connection:
        (cost,) = connection.execute("SELECT coalesce(sum(cost_nusd), 0) FROM requests").fetchone()
        (reserves,) = connection.execute("SELECT count(*) FROM entries WHERE kind = 'RESERVE'").fetchone()
        (ends,) = connection.execute("SELECT count(*) FROM entries WHERE kind IN ('SETTLE', 'VOID')").fetchone()
    return cost, reserves - ends


async def _crowd(house: House, requests: int, authorization: str) -> int:
    """Send so many at once; how many were answered."""
    replies = await asyncio.gather(
        *(house.pipeline(house.call(f"req_{number}", authorization=(authorization,))) for number in range(requests)),
        return_exceptions=True,
    )
    unexpected = [it for it in replies if not isinstance(it, Completed | ProxyError)]
    if unexpected:
        raise AssertionError(unexpected[0])
    return sum(isinstance(it, Completed) for it in replies)


async def _judged(house: House, path: Path, admitted: int) -> Round:
    ((spent, reserved),) = house.standing()
    cost, _ = booked(path)
    return Round(admitted, spent, cost, reserved)


async def exact(folder: Path, seed: int, *, wait_s: float = 5.0, requests: int = 500) -> Round:
    """A dollar, and requests of a cent."""
    chance = random.Random(seed)  # noqa: S311  # it decides who is answered when
    path = folder / f"exact-{seed}.sqlite"
    with SqliteLedger(path) as ledger:
        await ledger.recover()
        busy = Busy(lambda _: answer(), lambda _: chance.randrange(20))
        house = House(ledger, budget(USD), transport=busy, wait_s=wait_s)
        return await _judged(house, path, await _crowd(house, requests, "Bearer tw-x"))


async def assumed(folder: Path, seed: int, *, serialise: bool = True, requests: int = 500) -> Round:
    """A dollar, and requests that cost twice what is assumed of them."""
    chance = random.Random(seed)  # noqa: S311  # as above
    path = folder / f"assumed-{seed}.sqlite"
    with SqliteLedger(path) as ledger:
        await ledger.recover()
        house = House(
            ledger,
            budget(LEFT_NUSD),
            transport=Busy(lambda _: answer(0, 2 * ASSUMED_TOKENS), lambda _: chance.randrange(20)),
            prices=Prices(BY_TOKEN),
            assumptions=Assumptions(output_tokens=ASSUMED_TOKENS),
            bounds=Bounds(output_tokens=2 * ASSUMED_TOKENS),
            wait_s=5.0,
            serialise=serialise,
        )
        return await _judged(house, path, await _crowd(house, requests, "Bearer tw-x"))


async def first(folder: Path, seed: int) -> Round:
    """Money for one, and 64 requests of somebody new."""
    path = folder / f"first-{seed}.sqlite"
    with SqliteLedger(path) as ledger:
        await ledger.recover()
        house = House(ledger, budget(CENT, scope="user:new"), transport=Busy(lambda _: answer()), wait_s=5.0)
        return await _judged(house, path, await _crowd(house, 64, "Bearer tw-new"))


class Misfortune:
    """A provider that answers, streams, refuses, breaks off, or says nothing at all."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def send(self, *_: object, **__: object) -> Answer:
        chance = self._chance
        for _turn in range(chance.randrange(5)):
            await turn()
        luck = chance.randrange(10)
        if luck == 0:
            raise ConnectFailed("refused")
        if luck == 1:
            raise FirstByteTimedOut("too slow")
        if luck == 2:
            raise Refused(chance.choice((400, 429, 500)), error_body(b"{}"))
        if luck == 3:
            raise RuntimeError("a bug of ours")
        if luck == 4:
            await Hang()()
        return answer(5, chance.randrange(400))


class Streams(Misfortune):
    """The same for requests for streams, of which some hang and some break off."""

    async def send(self, *_: object, **__: object) -> Answer:
        made = await super().send()
        made.close()
        events = EVENT * self._chance.randrange(1, 50)
        return stream(*self._chance.choice(((events, DONE), (events,), (events, Hang()), (events, FirstByteTimedOut("idle")))))


async def leaks(folder: Path, requests: int, seed: int = 0) -> Leaks:
    """So many requests, each with a misfortune of its own; then what is left of them two leases later."""
    chance = random.Random(seed)  # noqa: S311  # it decides who is unlucky
    path = folder / f"leaks-{seed}.sqlite"
    outcomes: set[str] = set()
    late = 0
    with SqliteLedger(path) as ledger:
        await ledger.recover()
        flaky = Flaky(ledger, chance, 0.01)
        whole, streamed = (
            House(
                flaky,
                budget(10**15),
                transport=transport(chance),
                prices=Prices(BY_TOKEN),
                providers=("acme", "beta"),
                wait_s=0.1,
            )
            for transport in (Misfortune, Streams)
        )

        async def one(number: int) -> None:
            is_stream = number % 2 == 0
            house = streamed if is_stream else whole
            fields = {"stream": True} if is_stream else {"max_tokens": 400}
            made = house.call(f"req_{number}", "smart", fields=fields)
            try:
                async with asyncio.timeout(chance.choice((0.05, 0.5))):
                    reply = await house.pipeline(made)
                    if isinstance(reply, Streaming):
                        if chance.randrange(20) == 0:
                            return  # nobody reads it, and nobody closes it
                        try:
                            while await reply.chunks.read():
                                pass
                        except asyncio.CancelledError:
                            reply.chunks.fail(ProxyError("left"))
                            raise
                        finally:
                            await reply.finish()
                outcomes.add("ok")
            except (ProxyError, RuntimeError, TimeoutError) as error:
                outcomes.add(type(error).__name__)

        waiting = iter(range(requests))

        async def worker() -> None:
            for number in waiting:
                await one(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())
        flaky.refuses = 0.0
        for house in (whole, streamed):
            await house.outbox.flush()
            house.meter.note_progress()
            for _lease in range(2):
                late += await house.meter.end_lapsed()
    cost, left_open = booked(path)
    standing = [*whole.standing(), *streamed.standing()]
    return Leaks(
        requests=requests,
        outcomes=len(outcomes),
        late=late,
        reserved_nusd=sum(reserved for _, reserved in standing),
        open=left_open,
        spent_nusd=sum(settled for settled, _ in standing),
        booked_nusd=cost,
        faults=tuple(verify(path).faults),
    )


async def figures(folder: Path, rounds: int, requests: int) -> bool:
    """Print them; whether all are as they must be."""
    fine = True

    def say(name: str, text: str, holds: bool) -> None:
        nonlocal fine
        fine = fine and holds
        print(f"{name:9} {text}{'' if holds else '   <- MUST NOT BE'}")

    found = [await exact(folder, seed, wait_s=seed % 2 * 5.0) for seed in range(rounds)]
    admitted = sorted({it.admitted for it in found})
    overshoot = max(it.spent_nusd for it in found) - USD
    agree = all(it.spent_nusd == it.booked_nusd and it.reserved_nusd == 0 for it in found)
    say(
        "exact",
        f"{rounds} rounds of 500: {admitted} admitted, overshoot {overshoot} nano-USD",
        admitted == [100] and overshoot == 0 and agree,
    )

    found = [await assumed(folder, seed) for seed in range(max(rounds // 5, 1))]
    per_request = 2 * ASSUMED_TOKENS * 10_000
    overshoot = max(it.spent_nusd for it in found) - LEFT_NUSD
    agree = all(it.spent_nusd == it.booked_nusd and it.reserved_nusd == 0 for it in found)
    say(
        "assumed",
        f"{len(found)} rounds of 500: overshoot at most {overshoot} nano-USD; a request costs {per_request}, twice its reserve",
        overshoot <= per_request // 2 and agree,
    )

    found = [await first(folder, seed) for seed in range(rounds)]
    admitted = sorted({it.admitted for it in found})
    say("first", f"{rounds} rounds of 64: {admitted} admitted", admitted == [1])

    left = await leaks(folder, requests)
    say(
        "leaks",
        f"{left.requests} requests, {left.outcomes} ways to end, {left.late} ended by their lease: "
        f"{left.reserved_nusd} nano-USD reserved and {left.open} reservations open after two leases; "
        f"memory and journal differ by {left.spent_nusd - left.booked_nusd}; faults {left.faults}",
        (left.reserved_nusd, left.open, left.spent_nusd - left.booked_nusd, left.faults) == (0, 0, 0, ()),
    )
    return fine


def main() -> int:
    """Print the figures; 1 if one is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--requests", type=int, default=100_000)
    arguments = parser.parse_args()
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory())
    with tempfile.TemporaryDirectory() as folder:
        return 0 if uvloop.run(figures(Path(folder), arguments.rounds, arguments.requests)) else 1


if __name__ == "__main__":
    sys.exit(main())
