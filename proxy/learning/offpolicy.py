"""What one policy's feedback says of another policy: estimates of its mean score, each with what it rests on.  Pure.

A logged request tells something of a policy only where that policy would have chosen as it was chosen; how much it counts is
the inverse of how likely that choice was (Horvitz and Thompson, 1952).  Where the logged policy never does what the other one
would, no number of requests tells anything, and the report says so.
Source: Dudik, Langford, Li, "Doubly robust policy evaluation and learning", 2011; Swaminathan and Joachims, 2015 (the
self-normalised estimate).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

Z95: Final = 1.959964
"""Standard errors on either side of a mean that 95 % of such means keep within."""

JUDGED_MIN: Final = 30
"""Fewer judged requests say nothing."""
EFFECTIVE_MIN: Final = 20.0
"""Requests' worth of weight, below which a weighted mean says nothing."""
SUPPORT_MIN: Final = 0.9
"""The share of a policy's choices that can have been observed, below which its mean score is not estimated."""
PRIOR_N: Final = 10.0
"""What an expected quality weighs in the model of scores beside what was observed, in requests."""


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """One judged request.

    chosen: who answered; propensity: how likely that was, in (0, 1].  score: from 0 to 1.  task: its kind.
    target: whom the other policy would have chosen.  expected, expected_target: the qualities that were expected of both,
    from 0 to 1; ``None``: nobody knew.
    """

    chosen: str
    propensity: float
    score: float
    task: str = ""
    target: str = ""
    expected: float | None = None
    expected_target: float | None = None


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate, and within what it is with 95 % certainty, kept to [0, 1]."""

    value: float
    low: float
    high: float
    n: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of the other policy.

    n: judged requests.  matched: of them those for which it chooses as it was chosen.  effective: what their weights are worth,
    in requests.  support: an estimate of the share of its choices that the logged policy makes, too, at least sometimes.
    logged: the mean score of what was done.  ips, snips, dr: by inverse propensities, self-normalised, doubly robust;
    ``None``, all three, if nothing can be said; then ``reason`` says why.  On the matched share alone, ``matched_score``.
    """

    n: int
    matched: int
    effective: float
    support: float
    logged: Mean | None
    matched_score: Mean | None
    ips: Mean | None = None
    snips: Mean | None = None
    dr: Mean | None = None
    reason: str = ""


def mean(scores: Sequence[float]) -> Mean | None:
    """The mean of scores from 0 to 1; ``None`` of none.

    Source: the interval is Wilson's (1927), which also holds for few and for extreme ones; a score between 0 and 1 varies less
    than one of 0 and 1 with the same mean, so it is wide enough.
    """
    n = len(scores)
    if not n:
        return None
    value = math.fsum(scores) / n
    low, high = _wilson(value, n)
    return Mean(value=value, low=low, high=high, n=n)


def _wilson(value: float, n: float) -> tuple[float, float]:
    middle = value + Z95 * Z95 / (2 * n)
    spread = Z95 * math.sqrt(max(value * (1 - value), 0.0) / n + Z95 * Z95 / (4 * n * n))
    shrink = 1 + Z95 * Z95 / n
    return max((middle - spread) / shrink, 0.0), min((middle + spread) / shrink, 1.0)


def judge(logged: Sequence[Logged]) -> Verdict:
    """What the feedback says of the policy whose choices are the targets."""
    n = len(logged)
    matched = [it for it in logged if it.chosen == it.target]
    weights = [1 / it.propensity if it.chosen == it.target else 0.0 for it in logged]
    total = math.fsum(weights)
    squares = math.fsum(it * it for it in weights)
    effective = total * total / squares if squares else 0.0
    support = total / n if n else 0.0
    verdict = Verdict(
        n=n,
        matched=len(matched),
        effective=effective,
        support=min(support, 1.0),
        logged=mean([it.score for it in logged]),
        matched_score=mean([it.score for it in matched]),
    )
    if reason := _why_not(logged, weights, effective):
        return msgspec.structs.replace(verdict, reason=reason)
    return msgspec.structs.replace(
        verdict,
        ips=_ips(logged, weights, effective),
        snips=_snips(logged, weights, effective),
        dr=_doubly_robust(logged, weights, effective),
    )


def _why_not(logged: Sequence[Logged], weights: Sequence[float], effective: float) -> str:
    n = len(logged)
    if n < JUDGED_MIN:
        return f"only {n} requests were judged; fewer than {JUDGED_MIN} say nothing"
    support = math.fsum(weights) / n
    # The mean weight is 1 in expectation if all that the policy chooses can have been observed.
    error = math.sqrt(_variance(weights) / n)
    if support + Z95 * error < SUPPORT_MIN:
        return (
            f"for about {1 - support:.0%} of the requests it would choose what was never chosen for such requests; "
            "nothing that was observed says how good that is.  Exploration (policies.NAME.explore) would tell"
        )
    if effective < EFFECTIVE_MIN:
        return (
            f"what was observed is worth {effective:.1f} requests, and fewer than {EFFECTIVE_MIN:g} say nothing; "
            "more feedback, or more exploration, would tell"
        )
    return ""


def _ips(logged: Sequence[Logged], weights: Sequence[float], effective: float) -> Mean:
    return _normal([weight * it.score for weight, it in zip(weights, logged, strict=True)], effective)


def _snips(logged: Sequence[Logged], weights: Sequence[float], effective: float) -> Mean:
    n = len(logged)
    total = math.fsum(weights)
    value = math.fsum(weight * it.score for weight, it in zip(weights, logged, strict=True)) / total
    # The delta method, for a ratio of two means.
    residues = math.fsum((weight * (it.score - value)) ** 2 for weight, it in zip(weights, logged, strict=True))
    error = math.sqrt(residues) / total
    return _kept(value, error, n, effective)


def _doubly_robust(logged: Sequence[Logged], weights: Sequence[float], effective: float) -> Mean:
    model = _Scores(logged)
    terms = []
    for weight, it in zip(weights, logged, strict=True):
        guess = model.without(it, it.target, it.expected_target)
        terms.append(guess + (weight * (it.score - model.without(it, it.chosen, it.expected)) if weight else 0.0))
    return _normal(terms, effective)


class _Scores:
    """The mean score of a model at a kind of task, as observed; where little is, as expected.  Its level is that of scores,
    which people give higher than benchmarks do.
    """

    def __init__(self, logged: Iterable[Logged]) -> None:
        sums: dict[tuple[str, str], list[float]] = {}
        scores, expectations = [], []
        for it in logged:
            found = sums.setdefault((it.chosen, it.task), [0.0, 0.0])
            found[0] += 1
            found[1] += it.score
            scores.append(it.score)
            if it.expected is not None:
                expectations.append(it.expected)
        self._sums: Mapping[tuple[str, str], Sequence[float]] = sums
        self._level = math.fsum(scores) / len(scores)
        self._shift = self._level - math.fsum(expectations) / len(expectations) if expectations else 0.0

    def without(self, it: Logged, name: str, expected: float | None) -> float:
        """The model's guess at somebody's score for this request, by all requests but this one."""
        n, total = self._sums.get((name, it.task), (0.0, 0.0))
        if name == it.chosen:
            n, total = n - 1, total - it.score
        prior = self._level if expected is None else min(max(expected + self._shift, 0.0), 1.0)
        return (total + PRIOR_N * prior) / (n + PRIOR_N)


def _normal(terms: Sequence[float], effective: float) -> Mean:
    n = len(terms)
    value = math.fsum(terms) / n
    return _kept(value, math.sqrt(_variance(terms) / n), n, effective)


def _kept(value: float, error: float, n: int, effective: float) -> Mean:
    """A score is between 0 and 1, and so is what is said of one; nor is anything surer than so much evidence can make it."""
    value = min(max(value, 0.0), 1.0)
    low, high = _wilson(value, effective)
    return Mean(value=value, low=max(min(value - Z95 * error, low), 0.0), high=min(max(value + Z95 * error, high), 1.0), n=n)


def _variance(numbers: Sequence[float]) -> float:
    middle = math.fsum(numbers) / len(numbers)
    return math.fsum((it - middle) ** 2 for it in numbers) / max(len(numbers) - 1, 1)
