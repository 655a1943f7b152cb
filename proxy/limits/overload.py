"""When this process has more to do than it can: whom it sends away, and how it finds out.  Pure: it is told everything.

The event loop's lag says how late everything is.  It is held near its bound by sending requests away at the door: those of
low priority first, of the others none before all of those are.
"""

from __future__ import annotations

import msgspec

from proxy.limits.queue import PRIORITIES

GAIN = 0.05
"""Of one class of priority, how much more is sent away after each measurement that finds at least twice the lag allowed, and
how much less after one that finds none.  Lag comes in jolts: bounded to both sides, its middle is held, not its mean."""

JOLT = 8.0
"""Times the lag allowed at which a whole class more is sent away until the next measurement, without waiting for the rest."""

RETRY_SPREAD_S = 4

_MOST = float(len(PRIORITIES))


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """lag_s: of the event loop.   requests: at work at once; the lower priorities have a tenth less each."""

    lag_s: float = 0.025
    requests: int = 10_000


class Overload:
    """Pressure from 0 (everybody is let in) to 3 (nobody is): one for each class of priority, the low one first."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._held = 0.0
        self._pressure = 0.0
        self._owed = [0.0] * len(PRIORITIES)
        self.shed = [0] * len(PRIORITIES)
        """How many requests were sent away, by rank: high, normal, low."""

    @property
    def pressure(self) -> float:
        """0.0 to 3.0."""
        return self._pressure

    def measured(self, lag_s: float, busy_s: float) -> None:
        """How late the event loop was, measured at regular times.

        busy_s: the processor time that the loop had since the last one.  What it is late beyond that is the doing of other
        processes: to send requests away would not make it less late.
        """
        ratio = min(lag_s, busy_s) / self._bounds.lag_s
        self._held = min(max(self._held + GAIN * min(ratio - 1, 1.0), 0.0), _MOST)
        # A single jolt, such as a collection or a very large body, is no overload.
        jolt = min(ratio / JOLT, 1.0) if self._held > GAIN * 2 and ratio > JOLT / 2 else 0.0
        self._pressure = min(self._held + jolt, _MOST)

    def is_pressed(self, at_work: int) -> bool:
        """Whether anybody may have to be sent away.  0.1 µs."""
        return self._pressure > 0 or at_work * 5 >= self._bounds.requests * 4

    def sheds(self, rank: int, at_work: int) -> bool:
        """Whether to send a request away.  rank: 0 for high priority to 2 for low.

        Where a share of a class has to go, every so-manieth goes: no chance is involved.
        """
        share = self._pressure - (len(PRIORITIES) - 1 - rank)
        owed = self._owed[rank] + min(max(share, 0.0), 1.0)
        full = at_work * 10 >= self._bounds.requests * (10 - rank)
        self._owed[rank] = owed - 1 if owed >= 1 else owed
        if owed < 1 and not full:
            return False
        self.shed[rank] += 1
        return True

    @property
    def retry_after_s(self) -> int:
        """When to come again; not the same for all, so that they do not all come at once."""
        return 1 + sum(self.shed) % RETRY_SPREAD_S
