"""Curves of cost and quality, their areas, and what of a difference may be chance.

Everything is over the same held-out prompts; a cost is the mean of US dollars a prompt, a quality the mean of scores.

* A *point* is the cost and quality of one policy at one setting of its trade-off.
* A *curve* is the non-decreasing convex hull of points: who mixes two settings at random gets any point between them, so it
  is the least concave line above the points, from the cheapest to the best one, and flat from there on, since nobody has
  to spend a larger budget.
* The *anchor* is the point of the policy that asks the model with the least list price for everything.  It is a part of
  every curve: any policy can be mixed with it, and an arm of a single point is a curve only by that.
* *AIQ* is the area under a curve between two costs divided by their difference: the mean quality over these budgets.

Source: the hull and the AIQ are those of RouterBench (arXiv 2403.12031, section 3), with the anchor for its null router.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Curve = tuple[Floats, Floats]
"""Costs, rising, and their qualities."""

CHUNK = 50
"""Resamples that are computed at once."""


class Interval(msgspec.Struct, frozen=True):
    """A figure, and between what the middle 95 % of the resamples have it."""

    value: float
    low: float
    high: float


def hull(costs: Floats, qualities: Floats, /) -> Curve:
    """The non-decreasing convex hull of points: its corners, by rising cost and quality.  At least one point is given."""
    order = np.lexsort((-qualities, costs))
    corners: list[tuple[float, float]] = []
    for cost, quality in zip(costs[order].tolist(), qualities[order].tolist(), strict=True):
        if corners and quality <= corners[-1][1]:
            continue
        while len(corners) > 1 and _is_below(corners[-2], corners[-1], (cost, quality)):
            corners.pop()
        corners.append((cost, quality))
    found = np.array(corners)
    return found[:, 0], found[:, 1]


def _is_below(first: tuple[float, float], middle: tuple[float, float], last: tuple[float, float]) -> bool:
    """Whether the middle one is not above the line between its neighbours."""
    return (middle[1] - first[1]) * (last[0] - first[0]) <= (last[1] - first[1]) * (middle[0] - first[0])


def quality_at(curve: Curve, cost: float, /) -> float:
    """The quality that a budget buys; of less than the cheapest point, NaN."""
    return float("nan") if cost < curve[0][0] else float(np.interp(cost, *curve))


def cost_at(curve: Curve, quality: float, /) -> float:
    """The least cost of a quality; NaN: no money buys it.  Of less than the cheapest point's, the cheapest point's cost."""
    return float("nan") if quality > curve[1][-1] else float(np.interp(quality, curve[1], curve[0]))


def aiq(curve: Curve, low: float, high: float, /) -> float:
    """The mean quality over all budgets from ``low`` to ``high``, where the curve begins at ``low`` or before.

    At a single budget it is the quality there.
    """
    if high <= low:
        return quality_at(curve, low)
    inside = curve[0][(curve[0] > low) & (curve[0] < high)]
    costs = np.concatenate(([low], inside, [high]))
    return float(np.trapezoid(np.interp(costs, *curve), costs) / (high - low))


def resampled(rows: Sequence[NDArray[np.float32]], /, *, times: int, seed: int) -> Iterator[Floats]:
    """The means of each row (a value a prompt) over prompts drawn with replacement, ``times`` times: an array a draw.

    The same prompts are drawn for every row, so that differences between rows are of the same prompts.
    """
    if not times:
        return
    table = np.vstack(rows)
    count = table.shape[1]
    draw = np.random.default_rng(seed)
    done = 0
    while done < times:
        size = min(CHUNK, times - done)
        weights = np.stack([np.bincount(draw.integers(0, count, count), minlength=count) for _ in range(size)])
        yield from (table @ weights.T.astype(np.float32)).T.astype(np.float64) / count
        done += size


def interval(value: float, draws: Sequence[float], /) -> Interval:
    """The value with the middle 95 % of what the resamples have; NaN where one of them has nothing."""
    if not draws:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(np.asarray(draws), (0.025, 0.975))
    return Interval(value, float(low), float(high))
