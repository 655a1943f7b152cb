"""How much may be tried again, over all requests: so that an outage is not answered with a storm."""

from __future__ import annotations

import msgspec

BUCKETS = 10


class BudgetRules(msgspec.Struct, frozen=True, kw_only=True):
    """Within window_s at most ``floor`` retries, and ``ratio`` of the requests that came in it.

    Source: Finagle's RetryBudget, Envoy's retry budgets: 20 %, at least 3.
    """

    ratio: float = 0.2
    floor: int = 3
    window_s: float = 10.0


class RetryBudget:
    """Counts requests, and the tries beyond the first that are under way or were in vain.

    A retry that is answered is given back: it has shown that there is somebody who can.  So the budget never stands in the
    way of a deployment that takes over for another one, and in an outage of all it holds.
    """

    __slots__ = ("_bucket", "_requests", "_retries", "_rules")

    def __init__(self, rules: BudgetRules) -> None:
        self._rules = rules
        self._bucket = 0
        self._requests = [0] * BUCKETS
        self._retries = [0] * BUCKETS

    def request(self, now_s: float) -> None:
        """A request has come."""
        self._turn(now_s)
        self._requests[self._bucket % BUCKETS] += 1

    def take(self, now_s: float) -> int | None:
        """Take a retry out of the budget: its receipt, for ``give_back``; ``None`` if there is none left."""
        self._turn(now_s)
        if sum(self._retries) + 1 > self._rules.floor + self._rules.ratio * sum(self._requests):
            return None
        self._retries[self._bucket % BUCKETS] += 1
        return self._bucket

    def give_back(self, receipt: int) -> None:
        """The retry was answered, or not made."""
        # One that is older than the window is counted no more.
        if receipt > self._bucket - BUCKETS and self._retries[receipt % BUCKETS] > 0:
            self._retries[receipt % BUCKETS] -= 1

    def _turn(self, now_s: float) -> None:
        bucket = int(now_s * BUCKETS / self._rules.window_s)
        passed = bucket - self._bucket
        if passed <= 0:
            return
        for number in range(self._bucket + 1, self._bucket + 1 + min(passed, BUCKETS)):
            self._requests[number % BUCKETS] = 0
            self._retries[number % BUCKETS] = 0
        self._bucket = bucket
