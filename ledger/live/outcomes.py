"""What our own traffic says of how good answers are: by offer and kind of task, the newer the more it counts.

Judgements are rare where milliseconds are plenty, so they are not kept in windows: each metric of an offer is one weighted
mean whose weights halve with age.  It comes to the same number in whatever order the judgements come in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from ledger.live.metrics import Value

DAY_S: Final = 86_400.0
HALF_LIVES_S: Final[Mapping[str, float]] = {
    "live_user_accept_rate": 14 * DAY_S,
    "live_pass_rate": 14 * DAY_S,
    "check_pass_rate": 2 * DAY_S,
    "schema_adherence_rate": 2 * DAY_S,
    "tool_call_success_rate": 2 * DAY_S,
    "truncation_rate": 2 * DAY_S,
    "refusal_rate": 2 * DAY_S,
}
"""The metrics, and in what time half of an observation's weight is gone: people say little, machines a lot."""

ANY = ""
"""All tasks together."""
PAIRS_MAX: Final = 10_000
"""Offers and tasks that are remembered; beyond them the one that was heard of longest ago is forgotten."""
NOTHING: Final = 0.05
"""Observations; a mean that rests on fewer is not told."""

_NONE: Final[Mapping[str, Value]] = MappingProxyType({})


class _Mean(msgspec.Struct):
    """A weighted mean as of ``at_s``."""

    at_s: float
    n: float = 0.0
    total: float = 0.0


class Outcomes:
    """Every offer's means.  About 2 µs an observation.

    clock_s: wall time in seconds.  pairs_max: offers and tasks that are remembered.
    changed: the offers and tasks that were judged since somebody cleared it.
    """

    def __init__(self, clock_s: Callable[[], float], *, pairs_max: int = PAIRS_MAX) -> None:
        self._clock_s = clock_s
        self._pairs_max = pairs_max
        self._pairs: dict[tuple[str, str], dict[str, _Mean]] = {}
        self.changed: set[tuple[str, str]] = set()

    def observe(
        self, offer: str, task: str, metric: str, score: float, *, weight: float = 1.0, at_s: float | None = None
    ) -> None:
        """Count one judgement, for the task and for all tasks together.

        score: from 0 to 1.  weight: in observations; a negative one takes back what was counted.  at_s: when it was made.
        """
        at_s = self._clock_s() if at_s is None else at_s
        for pair in ((offer, task), (offer, ANY)) if task else ((offer, ANY),):
            means = self._pairs.pop(pair, None) or {}
            self._pairs[pair] = means
            self.changed.add(pair)
            mean = means.get(metric)
            if mean is None:
                mean = means[metric] = _Mean(at_s)
            counts = 0.5 ** (abs(at_s - mean.at_s) / HALF_LIVES_S[metric])
            if at_s > mean.at_s:
                mean.at_s, mean.n, mean.total = at_s, mean.n * counts, mean.total * counts
                counts = 1.0
            mean.n += weight * counts
            mean.total += weight * counts * score
        while len(self._pairs) > self._pairs_max:
            del self._pairs[next(iter(self._pairs))]

    def pairs(self) -> list[tuple[str, str]]:
        """Every offer and task that anything is known of; ``ANY``: all tasks together."""
        return sorted(self._pairs)

    def values(self, offer: str, task: str = ANY, /) -> Mapping[str, Value]:
        """What is known of an offer at a task, by the names of the metric catalogue; ``n``: how many observations, rounded
        up, as much as they still count.
        """
        means = self._pairs.get((offer, task))
        if means is None:
            return _NONE
        now_s = self._clock_s()
        found = {}
        for metric, mean in means.items():
            n = mean.n * 0.5 ** (max(now_s - mean.at_s, 0.0) / HALF_LIVES_S[metric])
            if n >= NOTHING:
                found[metric] = Value(min(max(mean.total / mean.n, 0.0), 1.0), math.ceil(n))
        return found
