"""How busy, how fast and how reliable each deployment is just now, and which of two is better."""

from __future__ import annotations

from collections.abc import Callable

from proxy.call import Attempt, Call, Deployment, Gate
from proxy.errors import Hedged

LOADS_MAX = 4096
"""Names of models may come from callers: of no more than so many deployments something is remembered."""
FORGET_S = 10.0
"""Half of what was learned is forgotten in so many seconds in which nothing is heard: who was slow gets another chance."""
NEWEST = 0.3
"""How much the latest answer counts beside all before it."""
ERROR_NEWEST = 0.1
ERROR_WEIGHT = 10.0
"""A deployment that fails always counts as this much slower, and one more."""
UNKNOWN_S = 0.0

Key = tuple[str, str, str]


class Load:
    """One deployment.  in_flight: tries under way.  Times to the first byte apart for streams and whole answers: the latter
    wait for the whole text.
    """

    __slots__ = ("_error", "_error_s", "_ttfb_s", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self._ttfb_s: list[tuple[float, float]] = [(UNKNOWN_S, 0.0), (UNKNOWN_S, 0.0)]  # of whole answers, of streams; when
        self._error = 0.0
        self._error_s = 0.0

    def answered(self, ttfb_s: float, now_s: float, *, stream: bool) -> None:
        """An answer has begun, or the wait for one was given up, after so long."""
        before_s, _ = self._ttfb_s[stream]
        # An answer in no time at all would pass for none.
        ttfb_s = max(ttfb_s, 1e-6)
        self._ttfb_s[stream] = (ttfb_s if before_s == UNKNOWN_S else before_s + NEWEST * (ttfb_s - before_s), now_s)

    def ended(self, now_s: float, *, failed: bool) -> None:
        """A try is over."""
        if failed or self._error:
            ratio = self.error_ratio(now_s)
            self._error = ratio + ERROR_NEWEST * (failed - ratio)
            self._error_s = now_s

    def ttfb_s(self, *, stream: bool) -> float:
        """About how long it took to the first byte when it was heard last; 0: unknown."""
        return self._ttfb_s[stream][0]

    def error_ratio(self, now_s: float) -> float:
        """About which share fails, in [0, 1]."""
        return self._error * 0.5 ** min((now_s - self._error_s) / FORGET_S, 64.0) if self._error else 0.0

    def score(self, now_s: float, *, stream: bool, best_s: float, share: float) -> float:
        """What one more request costs here; less is better.

        share: the deployment's weight over the mean of its tier.  best_s: the best time to the first byte of the tier:
        whose own is not known, or was heard long ago, is taken to be as good.
        """
        ttfb_s, heard_s = self._ttfb_s[stream]
        # Half a second more or less does not change an order.
        if now_s - heard_s > 0.5:
            ttfb_s *= 0.5 ** min((now_s - heard_s) / FORGET_S, 64.0)
        cost = (self.in_flight / share + 1.0) * max(ttfb_s, best_s)
        return cost * (1.0 + ERROR_WEIGHT * self.error_ratio(now_s)) if self._error else cost


class Loads(Gate):
    """The load of every deployment that was tried.  Lets everything in and counts it."""

    def __init__(self, *, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._loads: dict[Key, Load] = {}

    def of(self, deployment: Deployment) -> Load:
        """A deployment's load; made when it is asked for first."""
        key = deployment.key
        load = self._loads.get(key)
        if load is None:
            if len(self._loads) >= LOADS_MAX:
                self._forget()
            load = self._loads[key] = Load()
        return load

    def all(self) -> dict[Key, Load]:
        """Everything that is remembered, by provider, account and model."""
        return dict(self._loads)

    def enter(self, call: Call, number: int, deployment: Deployment, /) -> bool:  # noqa: ARG002  # a Gate's
        """Count it."""
        self.of(deployment).in_flight += 1
        return True

    def begun(self, call: Call, number: int, deployment: Deployment, ttfb_us: int, /) -> None:  # noqa: ARG002  # a Gate's
        """Learn how long it took."""
        self.of(deployment).answered(ttfb_us / 1e6, self._clock_s(), stream=call.head.stream)

    def leave(self, call: Call, number: int, deployment: Deployment, /) -> None:  # noqa: ARG002  # a Gate's
        """Count it no more."""
        load = self.of(deployment)
        # What was forgotten meanwhile begins at nothing.
        load.in_flight = max(load.in_flight - 1, 0)

    def observe(self, call: Call, attempt: Attempt) -> None:
        """Learn from a try that has ended.  Whose client left, or which was refused for its own fault, tells nothing."""
        if attempt.fault in ("", "upstream", "timeout", "rate_limit", "account"):
            load = self.of(attempt.deployment)
            now_s = self._clock_s()
            if attempt.outcome == "ok" or attempt.fault:
                load.ended(now_s, failed=bool(attempt.fault))
            # Who was given up, for whatever reason, takes at least as long as it was waited for.
            if (attempt.fault == "timeout" or attempt.outcome == Hedged.code) and attempt.ttfb_us is None:
                load.answered(attempt.duration_us / 1e6, now_s, stream=call.head.stream)

    def reset(self, chosen: Callable[[Key], bool]) -> None:
        """Forget how slow and unreliable those have been; not what is under way."""
        for key in [key for key in self._loads if chosen(key)]:
            in_flight = self._loads[key].in_flight
            self._loads[key] = Load()
            self._loads[key].in_flight = in_flight

    def _forget(self) -> None:
        """Let go of the oldest that nothing is under way to."""
        idle = next((key for key, load in self._loads.items() if load.in_flight == 0), next(iter(self._loads)))
        del self._loads[idle]
