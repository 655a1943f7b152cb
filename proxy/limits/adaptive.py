"""How many requests an account may have under way, learned from how it answers.  Pure: every time is an argument.

The limit begins at its maximum, so nothing is held back without a reason.  Two reasons lower it: the account refuses for
being asked too much (429, 503, 529, timeouts), or answers come several times slower than they used to.  While it is used and
there is none, it grows back by its square root a window.
Source: Envoy's adaptive concurrency filter, gradient controller (limit' = gradient x limit + sqrt(limit)), read 2026-11; the
cut on a refusal is TCP's multiplicative decrease.
"""

from __future__ import annotations

from statistics import median

import msgspec

WINDOW_S = 0.2
SAMPLES_MIN = 5
"""A window is looked at when it has as many answers, however long that takes."""

CUT = 0.7
CUT_PAUSE_S = 1.0
"""After a cut: requests that were sent before it still come back refused, and each would cut again."""

GRADIENT_MIN = 0.5
BASELINE_DOUBLES_S = 600.0
"""A baseline follows faster answers at once, slower ones so slowly that an hour's overload does not pass for normal."""

BASELINE_MIN_S = 0.1
"""Faster answers than this are all alike: what makes them differ is this machine, not the account."""

BASELINES_MAX = 1_024
SHORT_TOKENS = 20
"""A whole answer's time is compared as that of an answer with so many tokens."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """least, most: of the limit.   slow_ratio: how many times slower than usual answers may come; 0: however slow."""

    least: int = 16
    most: int = 10_000
    slow_ratio: float = 5.0


class Baselines:
    """For each kind of request of an account, how fast it answers when it is not in a hurry: a slowly rising minimum."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], tuple[float, float]] = {}

    def slowness(self, kind: tuple[str, bool], latency_s: float, now_s: float) -> float:
        """How many times the baseline a latency is, at least 1.0; the baseline learns from it.

        kind: the model, and whether it is a stream.
        """
        latency_s = max(latency_s, BASELINE_MIN_S)
        known = self._known.get(kind)
        if known is None:
            if len(self._known) >= BASELINES_MAX:
                self._known.clear()
            self._known[kind] = (latency_s, now_s)
            return 1.0
        base_s, at_s = known
        base_s = min(base_s * 2 ** min((now_s - at_s) / BASELINE_DOUBLES_S, 10), latency_s)
        self._known[kind] = (base_s, now_s)
        return latency_s / base_s


class Adaptive:
    """The limit of one account."""

    __slots__ = ("_bounds", "_cut_s", "_limit", "_peak", "_samples", "_since_s")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._limit = float(bounds.most)
        self._samples: list[float] = []
        self._since_s: float | None = None
        self._cut_s = -CUT_PAUSE_S
        self._peak = 0

    @property
    def limit(self) -> int:
        """Requests that may be under way at once."""
        return int(self._limit)

    @property
    def is_lowered(self) -> bool:
        """Whether there was a reason to, lately."""
        return self._limit < self._bounds.most

    def answered(self, slowness: float, *, in_flight: int, now_s: float) -> None:
        """A request was answered.  in_flight: how many were under way, this one included."""
        self._peak = max(self._peak, in_flight)
        if self._since_s is None:
            self._since_s = now_s
        self._samples.append(slowness)
        if now_s - self._since_s >= WINDOW_S and len(self._samples) >= SAMPLES_MIN:
            self._close(now_s)

    def refused(self, *, in_flight: int, now_s: float) -> None:
        """The account was asked too much, or did not answer in time."""
        if now_s - self._cut_s < CUT_PAUSE_S:
            return
        self._cut_s = now_s
        # What was really under way, not what would have been allowed.
        self._set(CUT * min(self._limit, max(in_flight, self._peak)))
        self._reset(now_s)

    def _close(self, now_s: float) -> None:
        """The window's verdict."""
        slow_ratio = self._bounds.slow_ratio
        middle = median(self._samples)
        limit = self._limit
        if slow_ratio and middle > slow_ratio:
            gradient = max(slow_ratio / middle, GRADIENT_MIN)
            used = min(limit, self._peak)
            self._set(gradient * used + used**0.5)
        elif self._peak * 2 >= limit and now_s - self._cut_s >= CUT_PAUSE_S:
            self._set(limit + limit**0.5)
        self._reset(now_s)

    def _set(self, limit: float) -> None:
        self._limit = min(max(limit, self._bounds.least), self._bounds.most)

    def _reset(self, now_s: float) -> None:
        self._samples.clear()
        self._since_s = now_s
        self._peak = 0
