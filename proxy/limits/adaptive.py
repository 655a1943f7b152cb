"""How many requests an account may have under way, learned from how it answers.  Pure: every time is an argument.

The limit begins at its maximum, so nothing is held back without a reason.  Two reasons lower it: the account refuses for
being asked too much (429, 503, 529, timeouts), or answers keep coming several times slower than they used to.  While it is
used and there is none, it grows back by its square root a window.  A refusal of one of fewer requests than the limit can be
lowered to says nothing of how many may be under way: it is about their rate.

A slow answer is a weak reason: it may be a jolt on the way, or this machine.  So it has to last; what this process was late
does not count; and the limit is not lowered below what the account has lately been seen to bear, since if it was as fast as
ever with so many, it is not slow for being asked so many.
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

SLOW_S = 2.0
"""How long answers have to be slow, window after window."""

BORNE_S = 300.0
"""For so long, and up to twice as long, it is remembered how many an account has borne."""

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

    def slowness(self, kind: tuple[str, bool], latency_s: float, now_s: float, *, own_s: float = 0.0) -> float:
        """How many times the baseline a latency is, at least 1.0; the baseline learns from it.

        kind: the model, and whether it is a stream.   own_s: how much of it may have been this process: nobody is blamed for
        that, and no baseline becomes faster for it.
        """
        rest_s = max(latency_s - own_s, BASELINE_MIN_S)
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
        return max(rest_s / base_s, 1.0)


class _Window:
    """The answers since ``since_s``: how slow they were, and how many were under way when they were sent."""

    __slots__ = ("peak", "sent_in", "since_s", "slowness")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.slowness: list[float] = []
        self.sent_in: list[int] = []
        self.peak = 0


class Adaptive:
    """The limit of one account."""

    __slots__ = ("_borne", "_borne_s", "_bounds", "_cut_s", "_limit", "_slow_s", "_window")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._limit = float(bounds.most)
        self._window: _Window | None = None
        self._cut_s = -CUT_PAUSE_S
        self._slow_s: float | None = None
        # What it has borne in this span of time and in the one before, and when this one began.
        self._borne = (0.0, 0.0)
        self._borne_s = 0.0

    @property
    def limit(self) -> int:
        """Requests that may be under way at once."""
        return int(self._limit)

    @property
    def is_lowered(self) -> bool:
        """Whether there was a reason to, lately."""
        return self._limit < self._bounds.most

    def answered(self, slowness: float, *, sent_in: int, in_flight: int, now_s: float) -> None:
        """A request was answered.  sent_in, in_flight: how many were under way when it was sent, and now; itself included."""
        window = self._window
        if window is None:
            window = self._window = _Window(now_s)
        window.peak = max(window.peak, in_flight)
        window.slowness.append(slowness)
        window.sent_in.append(sent_in)
        if now_s - window.since_s >= WINDOW_S and len(window.slowness) >= SAMPLES_MIN:
            self._window = _Window(now_s)
            self._judge(window, now_s)

    def refused(self, *, in_flight: int, now_s: float) -> None:
        """The account was asked too much, or did not answer in time."""
        if now_s - self._cut_s < CUT_PAUSE_S:
            return
        # What was really under way, not what would have been allowed.
        peak = self._window.peak if self._window is not None else 0
        used = min(self._limit, max(in_flight, peak))
        if used < self._bounds.least:
            # So few at once are never too many: it is the rate that is refused, and the account says how long that lasts.
            return
        self._cut_s = now_s
        self._set(CUT * used)
        self._window = _Window(now_s)
        # It does not bear what it was seen to bear.
        self._borne = (min(self._borne[0], self._limit), min(self._borne[1], self._limit))

    def _judge(self, window: _Window, now_s: float) -> None:
        """What follows from a window's answers."""
        slow_ratio = self._bounds.slow_ratio
        middle = median(window.slowness)
        if slow_ratio and middle > slow_ratio:
            if self._slow_s is None:
                self._slow_s = now_s
            if now_s - self._slow_s >= SLOW_S:
                gradient = max(slow_ratio / middle, GRADIENT_MIN)
                used = min(self._limit, window.peak)
                self._set(min(max(gradient * used + used**0.5, *self._borne), self._limit))
            return
        self._slow_s = None
        self._bore(median(window.sent_in), now_s)
        if window.peak * 2 >= self._limit and now_s - self._cut_s >= CUT_PAUSE_S:
            self._set(self._limit + self._limit**0.5)

    def _bore(self, count: float, now_s: float) -> None:
        if now_s - self._borne_s >= BORNE_S:
            self._borne = (0.0, self._borne[0])
            self._borne_s = now_s
        self._borne = (max(self._borne[0], count), self._borne[1])

    def _set(self, limit: float) -> None:
        self._limit = min(max(limit, self._bounds.least), self._bounds.most)
