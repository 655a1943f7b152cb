"""When this process has more to do than it can: whom it sends away, and how it finds out.  Pure: it is told everything.

Two measures.  The event loop's lag says *whether* there is too much: a closed circle of clients makes it late too, but
only for as long as they are many.  While there is, each turn of the loop says *how much* may come in: what a request costs
is known from the turns before, and a turn is held so short that whoever is sent away hears of it soon.  A queue of requests
that wait for the loop never forms, so nothing has to be guessed about its length.
"""

from __future__ import annotations

import msgspec

from proxy.limits.queue import PRIORITIES

LATE_MEASUREMENTS = 2
LATE_LAGS = 8.0
"""In a row, and with so many times the lag allowed between them.  A collection, a very large body, a burst of streams that all
have much to say are no overload."""

CALM_MEASUREMENTS = 10
"""In a row, without anybody sent away, after which it is over."""

TURN_RATIO = 0.25
"""Of the lag allowed, what a turn of the loop may take while some are sent away.

Who is sent away waits for about two turns; and the more requests are at work at once, the more each costs.
"""

MEMORY = 0.97
"""What a turn counts still one turn later.  The work of a request is spread over several turns, with a wait for the journal in
between; a shorter memory takes that wait for room."""

FIRST_TURNS = 50
"""For so many turns after somebody was sent away, nobody of lower priority comes in."""

SHARES = (8.0, 1.0, 0.75)
"""Of what may come in during a turn, by rank: how much of it may be taken when one of that rank comes.

What is more than all of it, the next turns have less.
"""

RETRY_SPREAD_S = 4


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """lag_s: of the event loop.   requests: at work at once; the lower priorities have a tenth less each."""

    lag_s: float = 0.025
    requests: int = 10_000


class Overload:
    """Lets in what there is time for.  One event loop."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._turn_s = bounds.lag_s * TURN_RATIO
        self._late = 0
        self._late_for_s = 0.0
        self._calm = 0
        self._is_late = False
        self._told = 0
        # Of the time so far, the older the less: requests let in, and the processor time they took.
        self._came = 0.0
        self._busy_s = 0.0
        # Of the turn: how many may come in, how many still may, how many have.
        self._room = 1.0
        self._left = 1.0
        self._let_in = 0
        self._turn = 0
        self._sent_away = [-FIRST_TURNS] * len(PRIORITIES)
        self.late_s = 0.0
        """How long the loop has been late in all, whoever's doing it was."""
        self.shed = [0] * len(PRIORITIES)
        """How many requests were sent away, by rank: high, normal, low."""

    @property
    def is_late(self) -> bool:
        """Whether the loop has too much to do."""
        return self._is_late

    def measured(self, lag_s: float, busy_s: float, came: int) -> None:
        """How late the event loop was, measured at regular times.

        busy_s: the processor time that the loop had since the last one.  What it is late beyond that is the doing of other
        processes: to send requests away would not make it less late.   came: requests let in since then.
        """
        self.late_s += max(lag_s, 0.0)
        if not self._is_late:
            self._learn(came, busy_s)
        if min(lag_s, busy_s) > self._bounds.lag_s:
            self._late += 1
            self._late_for_s += min(lag_s, busy_s)
            self._calm = 0
            is_enough = self._late >= LATE_MEASUREMENTS and self._late_for_s >= LATE_LAGS * self._bounds.lag_s
            if is_enough and not self._is_late:
                self._is_late = True
                self._left, self._let_in = self._room, 0
            return
        self._late, self._late_for_s = 0, 0.0
        shed = sum(self.shed)
        self._calm = self._calm + 1 if shed == self._told else 0
        self._told = shed
        if self._calm >= CALM_MEASUREMENTS:
            self._is_late = False

    def turned(self, busy_s: float) -> None:
        """A turn of the loop is over; told of each while it is late.  busy_s: the processor time that the turn took."""
        if not self._is_late:
            return
        self._learn(self._let_in, busy_s)
        self._let_in = 0
        self._turn += 1
        # Requests do not come evenly: what one turn does not use the next one may; what it used beyond is owed.
        self._left = min(self._left + self._room, 2 * self._room)

    def is_pressed(self, at_work: int) -> bool:
        """Whether anybody may have to be sent away.  0.1 µs."""
        return self._is_late or at_work * 5 >= self._bounds.requests * 4

    def sheds(self, rank: int, at_work: int) -> bool:
        """Whether to send a request away.  rank: 0 for high priority to 2 for low."""
        if at_work * 10 < self._bounds.requests * (10 - rank) and (not self._is_late or self._has_room(rank)):
            self._let_in += 1
            self._left -= 1
            return False
        self._sent_away[rank] = self._turn
        self.shed[rank] += 1
        return True

    @property
    def retry_after_s(self) -> int:
        """When to come again; not the same for all, so that they do not all come at once."""
        return 1 + sum(self.shed) % RETRY_SPREAD_S

    def _has_room(self, rank: int) -> bool:
        if self._left <= self._room * (1 - SHARES[rank]):
            return False
        return self._turn - max(self._sent_away[:rank], default=-FIRST_TURNS) >= FIRST_TURNS

    def _learn(self, came: int, busy_s: float) -> None:
        self._came = self._came * MEMORY + came
        self._busy_s = self._busy_s * MEMORY + busy_s
        # At least one: what it costs to answer is learned from those that come in.
        self._room = max(self._turn_s * self._came / max(self._busy_s, 1e-6), 1.0)
