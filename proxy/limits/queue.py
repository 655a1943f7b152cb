"""A short wait instead of a refusal: in turn, fair between keys, those of higher priority first."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable

import msgspec

PRIORITIES = ("high", "normal", "low")
NORMAL = PRIORITIES.index("normal")
LOW = PRIORITIES.index("low")
PRIORITY_HEADER = b"x-tollway-priority"


def rank_of(priority: str, asked: str | None = None) -> int:
    """0 for ``high`` to 2 for ``low``.  asked: a header's value; it may put a request back, never forward."""
    rank = PRIORITIES.index(priority) if priority in PRIORITIES else NORMAL
    return max(rank, PRIORITIES.index(asked)) if asked in PRIORITIES else rank


class Blocked(msgspec.Struct, frozen=True):
    """What there is too little of.  wait_s: until there is enough; infinite where only others can give it back."""

    name: Hashable
    wait_s: float = math.inf


class Ticket:
    """A place in a line.  ``sleep``: done when it is called (``True``) or too late (``False``); ``None`` while it tries."""

    __slots__ = ("key", "rank", "sleep")

    def __init__(self, key: str, rank: int) -> None:
        self.key = key
        self.rank = rank
        self.sleep: asyncio.Future[bool] | None = None


class Line:
    """Who waits for one thing.  First by rank; within a rank key by key, one each; within a key as they came.  Pure."""

    def __init__(self) -> None:
        self._ranks: tuple[OrderedDict[str, deque[Ticket]], ...] = tuple(OrderedDict() for _ in PRIORITIES)

    def __bool__(self) -> bool:
        return any(self._ranks)

    def join(self, ticket: Ticket) -> None:
        """Stand behind the others of the same key."""
        self._ranks[ticket.rank].setdefault(ticket.key, deque()).append(ticket)

    def head(self) -> Ticket | None:
        """Whose turn it is."""
        keys = next(filter(None, self._ranks), None)
        return next(iter(keys.values()))[0] if keys else None

    def leave(self, ticket: Ticket, *, served: bool) -> None:
        """Give up the place.  served: then it is another key's turn."""
        keys = self._ranks[ticket.rank]
        tickets = keys[ticket.key]
        tickets.remove(ticket)
        if not tickets:
            del keys[ticket.key]
        elif served:
            keys.move_to_end(ticket.key)


class _Turnstile:
    """A line, of which at most one at a time has been called and not yet said how it went."""

    __slots__ = ("_again", "_called", "_due_s", "_loop", "_timer", "line")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.line = Line()
        self._loop = loop
        self._called: Ticket | None = None
        self._again = False
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = math.inf

    def call(self) -> None:
        """Call whose turn it is; as soon as whoever was called before has said how it went."""
        head = self.line.head()
        if self._called is None and head is not None and head.sleep is not None and not head.sleep.done():
            self._again = False
            self._called = head
            head.sleep.set_result(True)
        else:
            self._again = True

    def refused(self, wait_s: float) -> None:
        """Whoever was called has tried in vain and sleeps again."""
        self._called = None
        self.arm(wait_s)
        if self._again:
            self.call()

    def leave(self, ticket: Ticket, *, served: bool) -> None:
        """Take it out, whether it was called or not.  There may be enough for the next one."""
        self.line.leave(ticket, served=served)
        if self._called is ticket:
            self._called = None
        if self.line:
            self.call()
        elif self._timer is not None:
            self._timer.cancel()

    def arm(self, wait_s: float) -> None:
        """Call at the latest then."""
        due_s = self._loop.time() + wait_s
        if due_s < self._due_s:
            if self._timer is not None:
                self._timer.cancel()
            self._due_s = due_s
            self._timer = self._loop.call_at(due_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._due_s = math.inf
        self.call()


Attempt = Callable[[], Awaitable[Blocked | None]]
"""Tries to take what is waited for.  ``None``: it has it; else what there is too little of.  Asked by one waiter at a time."""


class FairQueue:
    """Requests that wait, each for a named thing, for a bounded time, in a bounded number.

    Whose turn it is tries; the others sleep.  It is called when something was given back (``signal``) and when the time has
    come that the last try was told.  Nobody polls.  One event loop.
    wait_max_s: the longest wait.   length_max: requests that wait, over all lines.
    """

    def __init__(self, *, wait_max_s: float, length_max: int) -> None:
        self._wait_max_s = wait_max_s
        self._length_max = length_max
        self._turnstiles: dict[Hashable, _Turnstile] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def names(self) -> tuple[Hashable, ...]:
        """What is waited for."""
        return tuple(self._turnstiles)

    async def wait(self, attempt: Attempt, blocked: Blocked, *, key: str, rank: int, tried: bool = True) -> Blocked | None:
        """Wait in the line for ``blocked``, and in those for whatever the attempts say next.

        key: whose request it is.   tried: it has been tried just now; otherwise it is at once, if nobody goes before.
        ``None``: an attempt succeeded.  Otherwise what it waits for in vain: the queue is full, or the time is over, or will
        be before there is enough.  Cancelled: its place is free, and the next one is called in its stead.
        """
        if self._length >= self._length_max or self._wait_max_s < blocked.wait_s < math.inf:
            return blocked
        deadline_s = asyncio.get_running_loop().time() + self._wait_max_s
        ticket = Ticket(key, rank)
        self._length += 1
        try:
            while True:
                found = await self._stand(ticket, attempt, blocked, deadline_s, tried=tried)
                if found is None or found.name == blocked.name:
                    return found
                # There is enough of this now, and too little of something else: another line.
                blocked, tried = found, True
        finally:
            self._length -= 1

    def signal(self, name: Hashable) -> None:
        """Some of it was given back: call whose turn it is."""
        turnstile = self._turnstiles.get(name)
        if turnstile is not None:
            turnstile.call()

    async def _stand(
        self, ticket: Ticket, attempt: Attempt, blocked: Blocked, deadline_s: float, *, tried: bool
    ) -> Blocked | None:
        """In one line until it succeeded, the time is over, or something else is missing."""
        name = blocked.name
        loop = asyncio.get_running_loop()
        turnstile = self._turnstiles.get(name)
        if turnstile is None:
            turnstile = self._turnstiles[name] = _Turnstile(loop)
        turnstile.line.join(ticket)
        served = False
        late: asyncio.TimerHandle | None = None
        try:
            ticket.sleep = sleep = loop.create_future()
            late = loop.call_at(deadline_s, _oversleep, ticket)
            if tried:
                turnstile.arm(blocked.wait_s)
            elif turnstile.line.head() is ticket:
                turnstile.call()
            while await sleep:
                ticket.sleep = None
                found = await attempt()
                served = found is None
                if found is None or found.name != name:
                    return found
                blocked = found
                if loop.time() >= deadline_s:
                    return blocked
                ticket.sleep = sleep = loop.create_future()
                turnstile.refused(found.wait_s)
            return blocked
        finally:
            if late is not None:
                late.cancel()
            ticket.sleep = None
            turnstile.leave(ticket, served=served)
            if not turnstile.line:
                del self._turnstiles[name]


def _oversleep(ticket: Ticket) -> None:
    if ticket.sleep is not None and not ticket.sleep.done():
        ticket.sleep.set_result(False)
