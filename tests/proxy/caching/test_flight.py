"""One upstream call for everybody who asks the same at the same time: how it is read, left, bounded and ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from msgspec.structs import replace

from proxy.caching.flight import Bounds, Flight, Flights
from proxy.call import Call, Completed, Reply, Streaming
from proxy.errors import ClientClosed, Draining, FellBehind, NoHealthyUpstream, ProxyError, UpstreamTimedOut, to_openai_event
from tests.proxy.samples import PRINCIPAL, attempt, call

DONE = b"data: [DONE]\n\n"
BOUNDS = Bounds(kept_max_bytes=100)
WAIT_S = 5.0


class Upstream:
    """A stream whose events come when the test says so.  ``cancelled``: with what its reader was."""

    def __init__(self) -> None:
        self.closing = DONE
        self.closed = 0
        self.reads = 0
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._failed: ProxyError | None = None

    def send(self, *events: bytes) -> None:
        for event in events:
            self._queue.put_nowait(event)

    async def read(self, write: Callable[[bytes], bool] = bool) -> bytes:
        while True:
            self.reads += 1
            events = await self._queue.get()
            if not events or not write(events):
                return events

    def fail(self, error: ProxyError) -> None:
        self._failed = error
        self.closing = to_openai_event(error)

    def close(self) -> None:
        self.closed += 1


class World:
    """Flights, and a terminal that answers with one stream, or waits for an answer that the test gives."""

    def __init__(self, bounds: Bounds = BOUNDS) -> None:
        self.flights = Flights(bounds)
        self.upstream = Upstream()
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.landed: list[Flight] = []
        self.finished = 0

    def streaming(self) -> Streaming:
        reply = Streaming(200, [(b"content-type", b"text/event-stream")], self.upstream)
        reply.on_end(self._finished)
        if not self.reply.done():
            self.reply.set_result(reply)
        return reply

    async def _finished(self) -> None:
        self.finished += 1

    async def terminal(self, call: Call, /) -> Reply:
        try:
            reply = await asyncio.shield(self.reply)
        except asyncio.CancelledError:
            call.trail.append(attempt(outcome="client_closed"))
            raise
        call.trail.append(attempt())
        return reply

    def launch(self, asked: Call | None = None, *, joinable: bool = True) -> Flight:
        flight = self.flights.launch(b"key", asked or call(), self.terminal, self._land, joinable=joinable)
        assert flight is not None
        return flight

    async def _land(self, flight: Flight) -> None:
        self.landed.append(flight)


@asynccontextmanager
async def world(bounds: Bounds = BOUNDS) -> AsyncIterator[World]:
    """A world whose flights have an owner; at the end none is left."""
    made = World(bounds)
    owner = asyncio.get_running_loop().create_task(made.flights.run())
    await turns()
    try:
        yield made
    finally:
        owner.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(owner, WAIT_S)
        assert (made.flights.under_way, made.flights.held_bytes, made.flights.find(b"key")) == (0, 0, None)


async def turns(count: int = 10) -> None:
    """Let everybody who can go on do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def rest(listener: object) -> bytes:
    """All that a listener is given until its end."""
    parts = []
    while events := await asyncio.wait_for(listener.read(), WAIT_S):  # type: ignore[attr-defined]  # any Chunks
        parts.append(events)
    return b"".join(parts)


# --- joining ---------------------------------------------------------------------------------------------------------


async def test_who_joins_in_the_middle_gets_all_of_it_from_its_start() -> None:
    async with world() as it:
        it.streaming()
        flight = it.launch()
        first = flight.join()
        it.upstream.send(b"a", b"b")
        await turns()

        late = flight.join()
        it.upstream.send(b"c", b"")

        assert (await rest(first), await rest(late)) == (b"abc", b"abc")
        assert (first.closing, late.closing) == (DONE, DONE)
        assert (it.landed, it.finished, it.upstream.closed) == ([flight], 1, 1)


async def test_a_client_that_keeps_up_is_written_to_at_once_and_no_event_is_said_twice() -> None:
    async with world() as it:
        it.streaming()
        listener = it.launch().join()
        written: list[bytes] = []
        accepts = [True, True, False, True]

        def write(events: bytes) -> bool:
            if accepts.pop(0):
                written.append(events)
                return True
            return False

        reading = asyncio.get_running_loop().create_task(listener.read(write))
        await turns()
        for event in (b"a", b"b", b"c", b"d"):
            it.upstream.send(event)
        left = await asyncio.wait_for(reading, WAIT_S)
        it.upstream.send(b"")

        assert (written, left + await rest(listener)) == ([b"a", b"b"], b"cd")


async def test_nobody_finds_a_flight_that_is_not_to_be_joined() -> None:
    async with world() as it:
        it.reply.set_result(Completed(status=200, headers=[], body=b"hi"))

        flight = it.launch(joinable=False)
        listener = flight.join()
        found = it.flights.find(b"key")
        await asyncio.wait_for(listener.boarded(), WAIT_S)

        assert (found, flight.whole and flight.whole.body) == (None, b"hi")


async def test_what_has_landed_is_joined_by_nobody() -> None:
    async with world() as it:
        it.reply.set_result(Completed(status=200, headers=[], body=b"hi"))
        flight = it.launch()

        await asyncio.wait_for(flight.join().boarded(), WAIT_S)

        assert (it.flights.find(b"key"), flight.is_over, it.landed) == (None, True, [flight])


# --- leaving ---------------------------------------------------------------------------------------------------------


async def test_it_goes_on_for_the_others_when_the_first_leaves() -> None:
    async with world() as it:
        it.streaming()
        flight = it.launch()
        first, second = flight.join(), flight.join()
        it.upstream.send(b"a")
        await turns()

        first.fail(ClientClosed("left"))
        it.upstream.send(b"b", b"")

        assert await rest(second) == b"ab"
        assert (await rest(first), first.closing) == (b"", to_openai_event(ClientClosed("left")))
        assert flight.outcome == ""


async def test_when_the_last_leaves_it_is_ended_and_nobody_can_join_it() -> None:
    async with world() as it:
        it.streaming()
        flight = it.launch()
        first, second = flight.join(), flight.join()
        await turns()

        for listener in (first, second):
            listener.fail(ClientClosed("left"))
        found = it.flights.find(b"key")
        await asyncio.wait_for(flight.landed(), WAIT_S)

        assert (found, flight.outcome, it.upstream.closed, it.finished) == (None, "client_closed", 1, 1)


async def test_it_is_ended_for_the_reason_that_the_last_one_left_for() -> None:
    async with world() as it:
        it.streaming()
        flight = it.launch()
        listener = flight.join()
        await turns()

        listener.fail(Draining("stopping"))
        await asyncio.wait_for(flight.landed(), WAIT_S)

        assert flight.outcome == "draining"


async def test_it_is_ended_before_its_reply_too() -> None:
    async with world() as it:
        flight = it.launch()
        listener = flight.join()
        await turns()

        listener.fail(ClientClosed("left"))
        await asyncio.wait_for(flight.landed(), WAIT_S)

        assert isinstance(flight.error, ClientClosed)
        assert [tried.outcome for tried in flight.call.trail] == ["client_closed"]


@pytest.mark.parametrize(("disconnect", "outcome"), [("drain", ""), ("drain:2", ""), ("drain:1", "client_closed")])
async def test_a_key_can_have_a_stream_go_on_that_nobody_reads(disconnect: str, outcome: str) -> None:
    async with world() as it:
        it.streaming()
        flight = it.launch(call(principal=replace(PRINCIPAL, disconnect=disconnect)))
        listener = flight.join()
        it.upstream.send(b"data: 1")
        await turns()

        listener.fail(ClientClosed("left"))
        for event in (b"data: 2", b"data: 3", b""):
            it.upstream.send(event)
            await turns()
        await asyncio.wait_for(flight.landed(), WAIT_S)

        assert (flight.outcome, it.landed) == (outcome, [flight])


async def test_whoever_is_cancelled_while_waiting_for_the_landing_ends_it_and_waits_on() -> None:
    async with world() as it:
        it.streaming()
        flight = it.launch()
        listener = flight.join()
        waiting = asyncio.get_running_loop().create_task(flight.landed())
        await turns()

        waiting.cancel()
        await asyncio.wait_for(waiting, WAIT_S)

        assert (flight.is_over, flight.outcome, await rest(listener)) == (True, "client_closed", b"")


# --- bounds ----------------------------------------------------------------------------------------------------------


async def test_an_answer_that_is_too_long_to_be_kept_reaches_those_who_listen_and_nobody_joins_it() -> None:
    async with world() as it:
        it.streaming()
        flight = it.launch()
        listener = flight.join()
        it.upstream.send(b"x" * 60, b"y" * 60, b"")
        await turns()

        found, held = it.flights.find(b"key"), it.flights.held_bytes

        assert (found, held, flight.events) == (None, 0, None)
        assert await rest(listener) == b"x" * 60 + b"y" * 60


async def test_all_answers_together_are_bounded_too() -> None:
    async with world(Bounds(kept_max_bytes=100, held_max_bytes=50)) as it:
        it.streaming()
        flight = it.launch()
        listener = flight.join()

        it.upstream.send(b"x" * 60, b"")
        await turns()

        assert (it.flights.held_bytes, await rest(listener)) == (0, b"x" * 60)


async def test_there_are_no_more_flights_than_there_may_be() -> None:
    async with world(Bounds(flights_max=1)) as it:
        first = it.launch()
        first.join()

        second = it.flights.launch(b"other", call(), it.terminal, it._land, joinable=True)

        assert second is None


async def test_without_an_owner_there_are_no_flights() -> None:
    it = World()

    assert it.flights.launch(b"key", call(), it.terminal, it._land, joinable=True) is None


async def test_the_upstream_waits_for_the_first_who_does_not_read() -> None:
    async with world() as it:
        it.streaming()
        flight = it.launch()
        listener = flight.join()
        for _ in range(20):
            it.upstream.send(b"x" * 30)
            await turns()
        reads = it.upstream.reads

        it.upstream.send(b"")
        heard = await rest(listener)

        # Four that may lag, and the one that waits for room.
        assert reads <= 5
        assert heard == b"x" * 600


async def test_who_falls_too_far_behind_the_first_is_cut_off_and_holds_nobody_up() -> None:
    async with world() as it:
        it.streaming()
        flight = it.launch()
        first, slow = flight.join(), flight.join()
        reading = asyncio.get_running_loop().create_task(rest(first))
        for _ in range(10):
            it.upstream.send(b"x" * 30)
            await turns()

        it.upstream.send(b"")
        heard = await asyncio.wait_for(reading, WAIT_S)

        assert heard == b"x" * 300
        assert await rest(slow) == b""
        assert isinstance(slow.fault, FellBehind)
        assert b"fell_behind" in slow.closing


async def test_when_the_first_has_left_the_next_sets_the_pace() -> None:
    async with world() as it:
        it.streaming()
        flight = it.launch()
        first, second = flight.join(), flight.join()
        for _ in range(10):
            it.upstream.send(b"x" * 30)
            await turns()

        first.fail(ClientClosed("left"))
        it.upstream.send(b"")
        fault = second.fault
        heard = await rest(second)

        assert (fault, heard) == (None, b"x" * 300)


async def test_a_flight_has_a_lifespan() -> None:
    async with world(Bounds(lifespan_s=0.05)) as it:
        flight = it.launch()
        listener = flight.join()

        await asyncio.wait_for(listener.boarded(), WAIT_S)

        assert isinstance(flight.error, UpstreamTimedOut)


# --- failing ---------------------------------------------------------------------------------------------------------


async def test_an_error_before_the_reply_is_everybodys() -> None:
    async with world() as it:
        error = NoHealthyUpstream("nobody there")
        flight = it.launch()
        listeners = [flight.join(), flight.join()]
        await turns()

        it.reply.set_exception(error)
        for listener in listeners:
            await asyncio.wait_for(listener.boarded(), WAIT_S)

        assert flight.error is error
        assert (it.flights.find(b"key"), it.landed) == (None, [])


async def test_what_breaks_while_a_stream_is_settled_ends_it_with_an_error() -> None:
    async def refuse() -> None:
        raise NoHealthyUpstream("nobody there")

    async with world() as it:
        it.streaming().on_end(refuse)
        flight = it.launch()
        listener = flight.join()

        it.upstream.send(b"a", b"")

        assert await rest(listener) == b"a"
        assert listener.closing == to_openai_event(NoHealthyUpstream("nobody there"))
        assert (flight.outcome, it.upstream.closed) == ("no_healthy_upstream", 1)
