"""Quantiles of a stream of positive numbers, to a fixed relative error, whatever their range."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

ERROR = 0.025
"""How far, relatively, a quantile may be from a number that was really seen."""

# A bin reaches from GROWTH^i to GROWTH^(i+1); its middle is at most ERROR from either end.
GROWTH = (1 + ERROR) / (1 - ERROR)
_PER_LOG = 1 / math.log(GROWTH)
_MIDDLE = 2 / (1 + 1 / GROWTH)

# From a millionth to a billion: 692 bins and no more, whoever sends what.
_SMALLEST, _LARGEST = 1e-6, 1e9

Bin = Annotated[int, msgspec.Meta(ge=-300, le=450)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Histogram(msgspec.Struct):
    """Counts in bins whose width grows with the number; two of them can be added up.

    Source: the binning of DDSketch (Masson, Rim, Lee 2019), section 2.1.
    """

    bins: dict[Bin, Count] = msgspec.field(default_factory=dict)
    count: Count = 0

    def __post_init__(self) -> None:
        self.count = sum(self.bins.values())

    def add(self, number: float) -> None:
        """Count one number; what is outside of the bins counts in the first or the last of them.  About 0.5 µs."""
        index = math.floor(math.log(min(max(number, _SMALLEST), _LARGEST)) * _PER_LOG)
        self.bins[index] = self.bins.get(index, 0) + 1
        self.count += 1

    def merge(self, other: Histogram) -> None:
        """Count everything that the other one has counted."""
        bins = self.bins
        if not bins:
            self.bins = dict(other.bins)
        else:
            for index, count in other.bins.items():
                bins[index] = bins.get(index, 0) + count
        self.count += other.count

    def quantile(self, share: float) -> float | None:
        """The number that ``share`` (0 to 1) of all are not above, within ERROR; ``None`` if there is none."""
        found = self.quantiles(share)
        return found[0] if found else None

    def quantiles(self, *shares: float) -> list[float]:
        """The same for several shares, which ascend; empty if there is none."""
        if not self.count:
            return []
        found: list[float] = []
        seen = 0
        index = 0
        for index in sorted(self.bins):
            seen += self.bins[index]
            while len(found) < len(shares) and seen > shares[len(found)] * (self.count - 1):
                found.append(GROWTH**index * _MIDDLE)
        while len(found) < len(shares):
            found.append(GROWTH**index * _MIDDLE)
        return found
