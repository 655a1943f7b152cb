"""How long answers are: what a kind of task asks for, times how much an offer talks.

What is measured of an offer at a kind counts most; but most pairs of the two have few answers or none, and then the length
is put together from what the kind's answers have at other offers, and what this offer's have at other kinds.  Lengths are
multiplied, so logarithms are averaged; the mean of a pair itself stays a plain one, since it is what answers cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

WORTH: Final = 10.0
"""How many measured answers a length that was put together counts for."""
ROUNDS: Final = 2
_KIND_WORTH: Final = 1.0
"""How many offers the assumption about a kind counts for."""


class Measured(msgspec.Struct, frozen=True, gc=False):
    """Answers of an offer at a kind of task: their mean, in tokens, and how many they are."""

    offer: str
    kind: str
    tokens: float
    n: int


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """usual: by kind, in tokens; empty: nothing is measured.  wordiness: by offer, how many times as long as usual; who is not
    here is as usual."""

    usual: Mapping[str, float] = MappingProxyType({})
    wordiness: Mapping[str, float] = MappingProxyType({})

    def expected(self, offer: str, kind: str, assumed: float, /) -> float:
        """Of a pair that nothing was measured of; ``assumed``: of the kind, where nothing is measured at all."""
        return self.usual.get(kind, assumed) * self.wordiness.get(offer, 1.0)


def blended(tokens: float, n: int, expected: float, /) -> float:
    """What was measured of a pair, tempered by what was expected of it."""
    return (n * tokens + WORTH * expected) / (n + WORTH)


def fit(pairs: Iterable[Measured], assumed: Mapping[str, int], /) -> Lengths:
    """The lengths of all kinds and offers that anything was measured of.  About 1 µs a pair.

    An offer's wordiness is found against what kinds are assumed to have; then the kinds with the wordiness taken out; and
    so on, a few times.
    """
    offers: dict[str, int] = {}
    kinds = {kind: place for place, kind in enumerate(assumed)}
    usual = [math.log(tokens) for tokens in assumed.values()]
    # Of each offer and each kind: the weight of what is known of it.
    of_offer: list[float] = []
    of_kind = [_KIND_WORTH] * len(usual)
    believed = [_KIND_WORTH * log for log in usual]
    cells: list[tuple[int, int, float, int, float]] = []
    for it in pairs:
        n = it.n
        if n <= 0:
            continue
        log = math.log(it.tokens) if it.tokens > 1.0 else 0.0
        offer = offers.setdefault(it.offer, len(of_offer))
        if offer == len(of_offer):
            of_offer.append(WORTH)
        kind = kinds.setdefault(it.kind, len(usual))
        if kind == len(usual):  # of which nothing was assumed
            usual.append(log)
            of_kind.append(0.0)
            believed.append(0.0)
        share = n / (n + WORTH)
        of_offer[offer] += n
        of_kind[kind] += share
        cells.append((offer, kind, log, n, share))
    if not cells:
        return Lengths()
    wordy: list[float] = []
    for _ in range(ROUNDS):
        totals = [0.0] * len(of_offer)
        for offer, kind, log, n, _share in cells:
            totals[offer] += n * (log - usual[kind])
        wordy = [total / weight for total, weight in zip(totals, of_offer, strict=True)]
        totals = believed[:]
        for offer, kind, log, _n, share in cells:
            totals[kind] += share * (log - wordy[offer])
        usual = [total / weight for total, weight in zip(totals, of_kind, strict=True)]
    # What all offers have in common is no wordiness: a stranger is expected to answer at such a length too.
    common = sum(wordy) / (len(wordy) + 1)
    return Lengths(
        usual={kind: math.exp(usual[place] + common) for kind, place in kinds.items()},
        wordiness={offer: math.exp(wordy[place] - common) for offer, place in offers.items()},
    )
