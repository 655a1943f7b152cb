"""Quantiles of a stream of positive numbers, to a fixed relative error, whatever their range."""

from __future__ import annotations

import math
from collections.abc import Mapping

ERROR = 0.025
"""How far, relatively, a quantile may be from a number that was really seen."""

# A bin reaches from GROWTH^i to GROWTH^(i+1); its middle is at most ERROR from either end.
GROWTH = (1 + ERROR) / (1 - ERROR)
_PER_LOG = 1 / math.log(GROWTH)
_MIDDLE = 2 / (1 + 1 / GROWTH)

# From a millionth to a billion: 692 bins and no more, whoever sends what.
_SMALLEST, _LARGEST = 1e-6, 1e9


class Histogram:
    """Counts in bins whose width grows with the number; two of them can be added up.

    Source: the binning of DDSketch (Masson, Rim, Lee 2019), section 2.1.
    """

    __slots__ = ("bins", "count")

    def __init__(self, bins: Mapping[int, int] | None = None) -> None:
        self.bins: dict[int, int] = dict(bins or {})
        self.count = sum(self.bins.values())

    def add(self, number: float) -> None:
        """Count one number; what is outside of the bins counts in the first or the last of them.  About 0.5 µs."""
        index = math.floor(math.log(min(max(number, _SMALLEST), _LARGEST)) * _PER_LOG)
        self.bins[index] = self.bins.get(index, 0) + 1
        self.count += 1

    def merge(self, other: Histogram) -> None:
        """Count everything that the other one has counted."""
        for index, count in other.bins.items():
            self.bins[index] = self.bins.get(index, 0) + count
        self.count += other.count

    def quantile(self, share: float) -> float | None:
        """The number that ``share`` (0 to 1) of all are not above, within ERROR; ``None`` if there is none."""
        if not self.count:
            return None
        rank = share * (self.count - 1)
        seen = 0
        index = 0
        for index in sorted(self.bins):
            seen += self.bins[index]
            if seen > rank:
                break
        return float(GROWTH**index * _MIDDLE)
