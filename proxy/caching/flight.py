"""One upstream call for everybody who asks the same at the same time.

The first of them starts it; it runs in a task of its own, so that it goes on when that one leaves.  The others join it,
also in the middle of a stream, and get all of it from its start.  Whoever listens has a queue of events that are not read
yet; a client that keeps up is written to at once, and no task is woken for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from msgspec.structs import replace

from proxy.call import Call, Client, Completed, Streaming
from proxy.errors import (
    DRAINING,
    Draining,
    FellBehind,
    Headers,
    ProxyError,
    UpstreamTimedOut,
    of_cancellation,
    to_client_event,
)
from proxy.stage import Service

log = structlog.get_logger("tollway.cache")

Write = Callable[[bytes], bool]
Landing = Callable[["Flight"], Awaitable[None]]
"""What is done with a flight that has its whole reply, before anybody who listens gets the end of it."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """flights_max: calls under way at once; more are not shared.  kept_max_bytes: of one answer, so that later callers can
    get it from its start, and how far one may lag behind.  held_max_bytes: of all answers together.  lifespan_s: of one
    call, after which it is ended whatever it does.
    """

    flights_max: int = 1024
    kept_max_bytes: int = 1024 * 1024
    held_max_bytes: int = 64 * 1024 * 1024
    lifespan_s: float = 900.0


class Listener:
    """One caller's end of a flight; for a stream the Chunks that its client is sent."""

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._pending: list[bytes] = []
        self._write: Write | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.behind_bytes = 0
        self.fault: ProxyError | None = None

    async def boarded(self) -> None:
        """Wait until the flight has its reply, or has failed."""
        while not self._flight.is_answered:
            await self._wait()

    async def read(self, write: Write | None = None) -> bytes:
        """Write events as they come, and return those that could not be written at once; ``b""`` when there are no more."""
        while self.fault is None:
            if self._pending:
                events = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
                self._pending.clear()
                self.behind_bytes = 0
                self._flight.make_room()
                return events
            if self._flight.is_over:
                return b""
            self._write = write
            try:
                await self._wait()
            finally:
                self._write = None
        return b""

    @property
    def closing(self) -> bytes:
        """What ends the stream: its own terminator, or why this client got no further."""
        flight = self._flight
        return flight.closing if self.fault is None else to_client_event(self.fault, flight.call.endpoint)

    def fail(self, error: ProxyError) -> None:
        """This client's stream ends here; the others' goes on."""
        if not self._flight.is_over and self.fault is None:
            self.fault = error
            self._flight.leave(self)

    def close(self) -> None:
        """Listen no longer."""
        self._flight.leave(self)

    def give(self, events: bytes) -> None:
        """Send the events on, or keep them until they are read."""
        if self._write is not None and not self._pending and self._write(events):
            return
        self._pending.append(events)
        self.behind_bytes += len(events)
        self.wake()

    def cut(self, error: ProxyError) -> None:
        """It has had what it gets."""
        self.fault = error
        self._pending.clear()
        self.behind_bytes = 0
        self.wake()

    def wake(self) -> None:
        """Look again: something has changed."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class Flight:
    """One upstream call, and whoever listens to it.  The first of them sets the pace.

    call: whose tries these are.  whole: the answer, if it is one.  stream: the status and headers of one.
    error: why there is none.  outcome: the error's code, if a stream was cut.
    persists: it is not ended when nobody listens.
    """

    def __init__(self, key: bytes, call: Call, flights: Flights, *, persists: bool = False) -> None:
        self.key = key
        self.call = call
        self._persists = persists
        self.whole: Completed | None = None
        self.stream: tuple[int, Headers] | None = None
        self.error: Exception | None = None
        self.outcome = ""
        self.closing = b""
        self.is_over = False
        self._flights = flights
        self._listeners: list[Listener] = []
        self._parts: list[bytes] | None = []
        self._size = 0
        self._room: asyncio.Future[None] | None = None
        self._landed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._more: int | None = None
        self._aborted = False

    # --- listeners ---

    def join(self) -> Listener:
        """A listener that gets everything from the start."""
        listener = Listener(self)
        for events in self._parts or ():
            listener.give(events)
        if not self.is_over:
            self._listeners.append(listener)
        return listener

    @property
    def is_answered(self) -> bool:
        """Whether there is a reply, or an error."""
        return self.whole is not None or self.stream is not None or self.error is not None

    @property
    def events(self) -> bytes | None:
        """All of the stream so far; ``None`` if it was too long to be kept."""
        return None if self._parts is None else b"".join(self._parts)

    def leave(self, listener: Listener) -> None:
        """It listens no longer.  When nobody does, the flight is ended, unless whose it is has said otherwise."""
        if listener not in self._listeners:
            return
        self._listeners.remove(listener)
        self.make_room()
        if self._listeners or self.is_over or (self._persists and not isinstance(listener.fault, Draining)):
            return
        policy, _, tokens = self.call.principal.disconnect.partition(":") if self.call.principal else ("cancel", "", "")
        if policy != "drain" or self.stream is None:
            self.abort(*((DRAINING,) if isinstance(listener.fault, Draining) else ()))
        elif tokens.isdigit():
            self._more = int(tokens)

    def abort(self, *reason: str) -> None:
        """End it now; nobody can join it any more."""
        self._flights.forget(self)
        if self._task is not None and not self._aborted:
            self._aborted = True
            self._task.cancel(*reason)

    async def landed(self) -> None:
        """Wait until every try is on the call's trail.  Whoever is cancelled meanwhile ends the flight, and waits on."""
        while not self._landed.is_set():
            try:
                await self._landed.wait()
            except asyncio.CancelledError as cancelled:
                self.abort(*cancelled.args)
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()

    # --- events ---

    @property
    def is_full(self) -> bool:
        """Whether whoever sets the pace lags so far behind that the upstream has to wait."""
        return bool(self._listeners) and self._listeners[0].behind_bytes > self._flights.bounds.kept_max_bytes

    def write(self, events: bytes) -> bool:
        """Give the events to everybody, if there is room for them."""
        if self.is_full:
            return False
        self.give(events)
        return True

    def give(self, events: bytes) -> None:
        """Give the events to everybody; cut those off who have fallen too far behind the first."""
        self._keep(events)
        if not self._listeners:
            self._count_down(events)
        elif len(self._listeners) == 1:
            self._listeners[0].give(events)
            return
        lag_max = self._flights.bounds.kept_max_bytes
        first_behind = 0
        for place, listener in enumerate(tuple(self._listeners)):
            listener.give(events)
            if place == 0:
                first_behind = listener.behind_bytes
            elif listener.behind_bytes - first_behind > lag_max:
                listener.cut(FellBehind("The answer was read too slowly to be shared with others who asked the same."))
                self._listeners.remove(listener)

    async def room(self) -> None:
        """Wait until the first listener has read on, or has left."""
        while self.is_full:
            self._room = asyncio.get_running_loop().create_future()
            try:
                await self._room
            finally:
                self._room = None

    def make_room(self) -> None:
        """Somebody has read on, or left."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _keep(self, events: bytes) -> None:
        """Keep them for those who come later, as long as there is not too much of it."""
        if self._parts is None:
            return
        self._size += len(events)
        self._flights.held_bytes += len(events)
        bounds = self._flights.bounds
        if self._size <= bounds.kept_max_bytes and self._flights.held_bytes <= bounds.held_max_bytes:
            self._parts.append(events)
        else:
            self.release()
            if not self._persists:
                self._flights.forget(self)

    @property
    def is_kept(self) -> bool:
        """Whether who joins now gets it from its start."""
        return self._parts is not None

    def release(self) -> None:
        """Keep nothing of it."""
        self._parts = None
        self._flights.held_bytes -= self._size
        self._size = 0

    def _count_down(self, events: bytes) -> None:
        """Nobody listens any more: so many events are still let through."""
        if self._more is not None:
            self._more -= events.count(b"data:")
            if self._more < 0:
                self.abort()

    # --- its life ---

    def start(self, task: asyncio.Task[None]) -> None:
        """It is this task that goes through it."""
        self._task = task

    def board(self, reply: Completed | Streaming) -> None:
        """The reply is here."""
        if isinstance(reply, Completed):
            self.whole = reply
        else:
            self.stream = (reply.status, reply.headers)
            self._wake()

    def fail(self, error: Exception) -> None:
        """There will be no reply, or no more of it."""
        self._flights.forget(self)
        self.error = error

    def land(self) -> None:
        """All of it is over, and every try is on the trail."""
        self.is_over = True
        self._flights.forget(self)
        self.release()
        self._landed.set()
        self._wake()
        self._listeners.clear()

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.wake()


class Flights:
    """All calls that are under way, each in a task that this owns."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.held_bytes = 0
        self.under_way = 0
        self._joinable: dict[bytes, Flight] = {}
        self._group: asyncio.TaskGroup
        self._is_open = False

    async def run(self) -> None:
        """Own the tasks until cancelled; before and after that nothing is shared."""
        async with asyncio.TaskGroup() as self._group:
            self._is_open = True
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._is_open = False

    def find(self, key: bytes) -> Flight | None:
        """The flight that somebody who asks this can join."""
        return self._joinable.get(key)

    def launch(
        self, key: bytes, call: Call, next: Service, landing: Landing, *, joinable: bool, persists: bool = False
    ) -> Flight | None:
        """Make the call in a task of its own; ``None``, if there are as many already as there may be.

        persists: it goes on when nobody listens any more, and can be found as long as it does.
        """
        bounds = self.bounds
        if not self._is_open or self.under_way >= bounds.flights_max or self.held_bytes >= bounds.held_max_bytes:
            return None
        flight = Flight(key, call, self, persists=persists)
        if joinable:
            self._joinable[key] = flight
        self.under_way += 1
        flight.start(self._group.create_task(self._fly(flight, next, landing), name=f"flight {call.id}"))
        return flight

    def forget(self, flight: Flight) -> None:
        """Nobody can join it any more."""
        if self._joinable.get(flight.key) is flight:
            del self._joinable[flight.key]

    async def _fly(self, flight: Flight, next: Service, landing: Landing) -> None:
        try:
            async with asyncio.timeout(self.bounds.lifespan_s) as timer:
                try:
                    # The one who asked first may leave; what is made for the others goes on.
                    reply = await next(replace(flight.call, client=Client()))
                    flight.board(reply)
                    if isinstance(reply, Streaming):
                        await _carry(flight, reply, timer)
                    await landing(flight)
                except asyncio.CancelledError as cancelled:
                    flight.fail(_reason(cancelled, timer))
                except Exception as error:  # around a background task: whoever started it raises this
                    if flight.is_answered:
                        log.exception("flight_failed", request_id=flight.call.id)
                    flight.fail(error)
        finally:
            self.under_way -= 1
            flight.land()


async def _carry(flight: Flight, reply: Streaming, timer: asyncio.Timeout) -> None:
    """Read the stream and give it to whoever listens, as the edge would to the one client."""
    chunks = reply.chunks
    fault: ProxyError | None = None
    try:
        while events := await chunks.read(flight.write):
            await flight.room()
            flight.give(events)
        await reply.finish()
    except asyncio.CancelledError as cancelled:
        # Also when it was cut while its end was being settled: it must not look whole.
        fault = _reason(cancelled, timer)
        chunks.fail(fault)
        await _finish_failed(reply)
    except Exception as error:  # around a background task, as above; but its answer has begun
        fault = error if isinstance(error, ProxyError) else ProxyError("Something went wrong in the gateway.")
        if fault is not error:
            log.exception("flight_failed", request_id=flight.call.id)
        chunks.fail(fault)
        await _finish_failed(reply)
    finally:
        chunks.close()
    trail = flight.call.trail
    flight.closing = chunks.closing if fault is None else to_client_event(fault, flight.call.endpoint)
    if fault is not None:
        flight.outcome = fault.code
    elif trail and trail[-1].outcome != "ok":
        flight.outcome = trail[-1].outcome
    else:
        flight.outcome = reply.outcome  # somebody else's stream, which it had joined, was cut


async def _finish_failed(reply: Streaming) -> None:
    """Run the taps of a stream that has failed already; what they refuse now is nobody's to hear."""
    with contextlib.suppress(ProxyError):
        await reply.finish()


def _reason(cancelled: asyncio.CancelledError, timer: asyncio.Timeout) -> ProxyError:
    return UpstreamTimedOut("The answer took too long.") if timer.expired() else of_cancellation(cancelled)
