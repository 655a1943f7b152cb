"""What was expected of the chosen models, beside what was metered: how good the router's estimates are.  Pure folds.

Only requests that tell are counted: answered, by the one that was chosen, at the first try, with the provider's own usage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from ledger.records import Routed

By = Literal["model", "task", "policy"]
"""What requests are grouped by."""

ALL: Final = "all"


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How one expected number compares with what was metered.

    error_median: the median of |expected - metered| / metered.  bias: the median of expected / metered; above 1: too high.
    covered: the share of requests whose metered number was at most the expected one: a half, if that is to be a median.
    low, high: within which four fifths of metered / expected are.
    """

    n: int
    error_median: float
    bias: float
    covered: float
    low: float
    high: float


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Of those that somebody judged: the mean quality that was expected, and the mean score, both from 0 to 1."""

    n: int
    expected: float
    score: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one model, task or policy, or ``all`` of them.  ``None``: nothing was both expected and metered.

    requests: those that were routed; compared: those that tell.
    """

    group: str
    requests: int
    compared: int
    cost: Fit | None
    output_tokens: Fit | None
    ttft: Fit | None
    latency: Fit | None
    quality: Scores | None


Pair = tuple[float, float]
"""Expected, and metered."""


def calibration(routed: Iterable[Routed], *, by: By = "model") -> list[Row]:
    """A row for each group, those with the most requests first; and one for all, first of all."""
    group_of = _GROUPS[by]
    groups: dict[str, list[Routed]] = {}
    every: list[Routed] = []
    for it in routed:
        groups.setdefault(group_of(it), []).append(it)
        every.append(it)
    rows = [_row(name, found) for name, found in sorted(groups.items(), key=lambda it: (-len(it[1]), it[0]))]
    return [_row(ALL, every), *rows] if every else []


def is_telling(it: Routed) -> bool:
    """Whether what was metered is what was estimated."""
    return (
        it.outcome == "ok"
        and it.tries == 1
        and it.offer == it.decision.chosen
        and it.quality == "exact"
        and it.cache in ("", "miss", "bypass")
    )


def score_of(it: Routed) -> float | None:
    """What was thought of the answer, from 0 to 1: the weighted mean; ``None``: nobody said anything."""
    weight = sum(weight for _, weight in it.feedback)
    return sum(score * weight for score, weight in it.feedback) / weight / 1e6 if weight else None


def fit(pairs: Sequence[Pair]) -> Fit | None:
    """How well the expected numbers are met; ``None`` for none.  Numbers are positive; a metered 0 is left out."""
    pairs = [(expected, metered) for expected, metered in pairs if metered > 0 and expected > 0]
    if not pairs:
        return None
    ratios = sorted(metered / expected for expected, metered in pairs)
    return Fit(
        n=len(pairs),
        error_median=_quantile(sorted(abs(expected - metered) / metered for expected, metered in pairs), 0.5),
        bias=_quantile(sorted(expected / metered for expected, metered in pairs), 0.5),
        covered=sum(metered <= expected for expected, metered in pairs) / len(pairs),
        low=_quantile(ratios, 0.1),
        high=_quantile(ratios, 0.9),
    )


def cost_ratios(routed: Iterable[Routed], *, least: int = 20) -> Mapping[str, float]:
    """By model, by how much its metered costs were above the expected ones, in sum; those with enough requests, and ``""``:
    all together.
    """
    sums: dict[str, list[float]] = {}
    for it in routed:
        expected = it.decision.cost_nusd
        if is_telling(it) and it.cost_nusd is not None and expected:
            for name in (it.offer, ""):
                found = sums.setdefault(name, [0.0, 0.0, 0.0])
                found[0] += 1
                found[1] += expected
                found[2] += it.cost_nusd
    return {name: metered / expected for name, (n, expected, metered) in sums.items() if n >= least}


_GROUPS: Final[Mapping[By, Callable[[Routed], str]]] = {
    "model": lambda it: it.decision.chosen or "(nobody)",
    "task": lambda it: it.decision.task,
    "policy": lambda it: it.decision.policy,
}


def _row(name: str, routed: Sequence[Routed]) -> Row:
    telling = [it for it in routed if is_telling(it)]
    return Row(
        group=name,
        requests=len(routed),
        compared=len(telling),
        cost=fit(list(_pairs(telling, lambda it: it.decision.cost_nusd, lambda it: it.cost_nusd))),
        output_tokens=fit(list(_pairs(telling, lambda it: it.decision.output_tokens, lambda it: it.output_tokens))),
        ttft=fit(list(_pairs(telling, lambda it: it.decision.ttft_us, lambda it: it.ttfb_us if it.stream else None))),
        latency=fit(list(_pairs(telling, lambda it: it.decision.latency_us, lambda it: it.duration_us))),
        quality=_quality(telling),
    )


def _quality(routed: Sequence[Routed]) -> Scores | None:
    """A single score is 0 or 1 more often than not, so only means can be compared."""
    judged = [
        (it.decision.quality_ppm / 1e6, score)
        for it in routed
        if it.decision.quality_ppm is not None and (score := score_of(it)) is not None
    ]
    n = len(judged)
    if not n:
        return None
    return Scores(n=n, expected=sum(it for it, _ in judged) / n, score=sum(it for _, it in judged) / n)


def _pairs(
    routed: Iterable[Routed], expected: Callable[[Routed], int | None], metered: Callable[[Routed], int | None]
) -> Iterator[Pair]:
    for it in routed:
        first, second = expected(it), metered(it)
        if first is not None and second is not None:
            yield float(first), float(second)


def _quantile(ranked: Sequence[float], share: float) -> float:
    """Between the two numbers that are nearest; of an even count the median is their mean."""
    at = share * (len(ranked) - 1)
    low = int(at)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (at - low)
