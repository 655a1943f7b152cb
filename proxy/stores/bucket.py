"""One token bucket, in integers: nothing is rounded, so nothing is gained or lost over any number of steps.  Pure."""

from __future__ import annotations

from proxy.stores.store import DEBT_MINUTES, Limit

PARTS = 60_000_000
"""Parts of a unit.  At N units a minute, N parts flow in every microsecond: exactly, whatever N is."""

_US_PER_S = 1_000_000


class Bucket:
    """Full when made.  now_us: a monotonic clock; a time before the last one counts as the last one."""

    __slots__ = ("_at_us", "_limit", "_parts")

    def __init__(self, limit: Limit, now_us: int) -> None:
        self._limit = limit
        self._parts = limit.capacity * PARTS
        self._at_us = now_us

    def refill(self, limit: Limit, now_us: int) -> None:
        """``age``, and take over a limit that was changed."""
        # As ``age`` does, without another call: this is asked three times and more for each request.
        old = self._limit
        passed_us = now_us - self._at_us
        if passed_us > 0:
            self._at_us = now_us
            full = old.capacity * PARTS
            if self._parts < full and old.per_minute:
                self._parts = min(self._parts + passed_us * old.per_minute, full)
        if limit is not old and limit != old:
            # What was used stays used.  A lower limit is no debt, except where what was taken will be given back.
            parts = self._parts + (limit.capacity - old.capacity) * PARTS
            self._parts = max(parts, min(self._parts, 0)) if limit.per_minute else parts
            self._limit = limit

    def age(self, now_us: int) -> None:
        """Let flow in what did since the last time."""
        passed_us = now_us - self._at_us
        if passed_us > 0:
            self._at_us = now_us
            limit = self._limit
            full = limit.capacity * PARTS
            if self._parts < full and limit.per_minute:
                self._parts = min(self._parts + passed_us * limit.per_minute, full)

    def short_s(self, amount: int) -> float:
        """Seconds until the amount is there: 0.0 if it is, infinite if it never will be by itself."""
        missing = amount * PARTS - self._parts
        if missing <= 0 or amount == 0:
            return 0.0
        limit = self._limit
        if not limit.per_minute or amount > limit.capacity:
            return float("inf")
        return missing / (limit.per_minute * _US_PER_S)

    def take(self, amount: int) -> None:
        """Take what is there, as ``short_s`` has said."""
        self._parts -= amount * PARTS

    def give(self, amount: int) -> None:
        """Put back up to the capacity; a negative amount is taken, down to the largest debt."""
        limit = self._limit
        parts = self._parts + amount * PARTS
        if amount > 0:
            self._parts = min(parts, limit.capacity * PARTS)
        else:
            self._parts = max(parts, min(self._parts, -limit.per_minute * DEBT_MINUTES * PARTS))

    @property
    def capacity(self) -> int:
        """What it holds when it is full."""
        return self._limit.capacity

    @property
    def left(self) -> int:
        """Whole units in it, at least 0."""
        return self._parts // PARTS if self._parts > 0 else 0

    @property
    def full_s(self) -> float:
        """Seconds until it is full by itself; 0.0 for one that does not fill."""
        return self.level()[1]

    def level(self) -> tuple[int, float]:
        """``left`` and ``full_s``."""
        parts, limit = self._parts, self._limit
        per_minute = limit.per_minute
        return (
            parts // PARTS if parts > 0 else 0,
            (limit.capacity * PARTS - parts) / (per_minute * _US_PER_S) if per_minute else 0.0,
        )

    @property
    def is_full(self) -> bool:
        """Whether forgetting it changes nothing."""
        return self._parts == self._limit.capacity * PARTS

    @property
    def is_lent(self) -> bool:
        """Whether something was taken from it that somebody will give back: it must not be forgotten."""
        return not self._limit.per_minute and not self.is_full
