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
ROUNDS: Final = 3
_KIND_WORTH: Final = 1.0
"""How many offers the assumption about a kind counts for."""


class Measured(msgspec.Struct, frozen=True):
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
    """The lengths of all kinds and offers that anything was measured of.  About 2 µs a pair.

    An offer's wordiness is found against what kinds are assumed to have; then the kinds with the wordiness taken out; and
    so on, a few times.
    """
    cells = [(it.offer, it.kind, math.log(max(it.tokens, 1.0)), it.n) for it in pairs if it.n > 0]
    if not cells:
        return Lengths()
    usual = {kind: math.log(tokens) for kind, tokens in assumed.items()}
    for _, kind, log, _ in cells:
        usual.setdefault(kind, log)
    wordiness: dict[str, float] = {}
    for _ in range(ROUNDS):
        by_offer: dict[str, list[float]] = {}
        for offer, kind, log, n in cells:
            of_offer = by_offer.setdefault(offer, [0.0, WORTH])
            of_offer[0] += n * (log - usual[kind])
            of_offer[1] += n
        wordiness = {offer: total / weight for offer, (total, weight) in by_offer.items()}
        by_kind: dict[str, list[float]] = {}
        for offer, kind, log, n in cells:
            start = [_KIND_WORTH * math.log(assumed[kind]), _KIND_WORTH] if kind in assumed else [0.0, 0.0]
            of_kind = by_kind.setdefault(kind, start)
            of_kind[0] += n / (n + WORTH) * (log - wordiness[offer])
            of_kind[1] += n / (n + WORTH)
        usual |= {kind: total / weight for kind, (total, weight) in by_kind.items()}
    # What all offers have in common is no wordiness: a stranger is expected to answer at such a length too.
    common = sum(wordiness.values()) / (len(wordiness) + 1)
    return Lengths(
        usual={kind: math.exp(log + common) for kind, log in usual.items()},
        wordiness={offer: math.exp(log - common) for offer, log in wordiness.items()},
    )
