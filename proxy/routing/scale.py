"""What is published and what is judged here, on one scale: the share of answers that will be good.

An index of published benchmarks says who is better at a kind of task, not how many of our own requests of that kind are
answered well: where everybody answers nine of ten, an index still spreads them from bad to good.  So wherever answers of a
kind have been judged, the index is read through a line, fitted to the offers that have both; and how much the line counts
beside an offer's own judged answers is what it has shown to be worth: little where it misses, much where it hits.  An offer
without judged answers is read through the same line, so that it is compared fairly with those that have some.

Slopes are never negative: of two offers with the same judged answers, the one with the better benchmarks stays the better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import msgspec

from ledger.catalogue.merge import PRIOR_SAMPLES

WORTH_MOST: Final = float(PRIOR_SAMPLES["quality"])
"""As many judged answers as the index is ever worth; also where nothing has shown what it is worth."""
WORTH_LEAST: Final = 10.0

# What is believed of a line before anything is known: it is the identity, and offers are this far from it.
_SPREAD: Final = 0.15
_SPREAD_OFFERS: Final = 4.0
_RIDGE: Final = 0.01
_LEVEL_ANSWERS: Final = 5.0
_SLOPE_MOST: Final = 5.0
# Offers with so many judged answers count half in the fit.
_HALF: Final = 50.0


DOUBT: Final = 0.25
"""How far offers are from one another before anything is known."""


class Judged(msgspec.Struct, frozen=True):
    """An offer at a kind of task.  published: its index, in (0, 1); ``None``: nobody knows.  good: the share of ``n``
    judged answers that were good."""

    published: float | None
    good: float
    n: int


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How an index of a kind of task reads as a share of good answers: ``level + slope * (published - middle)``.

    worth: how many judged answers that counts for.  doubt: how far offers are from one another, as a standard deviation: what
    is not known of an offer of which nothing is published.  fitted: whether anything has been judged.
    """

    middle: float = 0.0
    level: float = 0.0
    slope: float = 1.0
    worth: float = WORTH_MOST
    doubt: float = DOUBT
    fitted: bool = False

    def expected(self, published: float, /) -> float:
        """Of an offer of which nothing was judged; where nothing was at all, the index itself."""
        return min(max(self.level + self.slope * (published - self.middle), 0.0), 1.0) if self.fitted else published

    def blended(self, it: Judged, /) -> float:
        """Of an offer with judged answers."""
        prior = self.level if it.published is None else self.expected(it.published)
        return (it.n * it.good + self.worth * prior) / (it.n + self.worth)


PLAIN: Final = Scale()
"""Where nothing is judged."""


def fit(offers: Iterable[Judged], /, *, assumed: float) -> Scale:
    """The line of those that have judged answers; the order of them does not matter but for rounding.

    Weighted least squares with a ridge towards the identity; ``worth`` is the variance of one answer over the variance of
    offers around the line beyond what chance explains (empirical Bayes).  assumed: the share of good answers of offers of
    which nothing is published, before any was judged.  About 1 µs an offer.
    """
    judged = [it for it in offers if it.n > 0]
    if not judged:
        return PLAIN
    answers = float(sum(it.n for it in judged))
    pairs = [(it.published, it.good, it.n, it.n / (it.n + _HALF)) for it in judged if it.published is not None]
    if not pairs:
        good = sum(it.n * it.good for it in judged)
        return Scale(level=(good + WORTH_LEAST * assumed) / (answers + WORTH_LEAST), slope=0.0, worth=WORTH_LEAST, fitted=True)
    total = sum(weight for *_, weight in pairs)
    middle = sum(weight * published for published, _, _, weight in pairs) / total
    good = sum(weight * share for _, share, _, weight in pairs) / total
    across = sum(weight * (published - middle) ** 2 for published, _, _, weight in pairs)
    along = sum(weight * (published - middle) * (share - good) for published, share, _, weight in pairs)
    slope = min(max((along + _RIDGE) / (across + _RIDGE), 0.0), _SLOPE_MOST)
    paired = float(sum(n for _, _, n, _ in pairs))
    level = (paired * good + _LEVEL_ANSWERS * middle) / (paired + _LEVEL_ANSWERS)
    # How far offers are from the line, less what chance explains.  A line through few points is near them by itself.
    beyond = _SPREAD_OFFERS * _SPREAD**2
    apart = _SPREAD_OFFERS * DOUBT**2
    offers_seen = _SPREAD_OFFERS - min(len(pairs) / 4, 1.5)
    for published, share, n, weight in pairs:
        here = min(max(level + slope * (published - middle), 0.02), 0.98)
        beyond += weight * ((share - here) ** 2 - here * (1 - here) / n)
        apart += weight * (share - good) ** 2
        offers_seen += weight
    spread = max(beyond / max(offers_seen, 1.0), 1e-6)
    usual = min(max(level, 0.05), 0.95)
    worth = min(max(usual * (1 - usual) / spread, WORTH_LEAST), WORTH_MOST)
    doubt = math.sqrt(apart / (_SPREAD_OFFERS + total))
    return Scale(middle=middle, level=level, slope=slope, worth=worth, doubt=doubt, fitted=True)
