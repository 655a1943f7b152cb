"""Who is beaten by nobody on quality, cost and latency at once.

One point beats another if it is at least as good on all three axes and better on one.  Equal points beat each other on none
and are all kept.  What is not known counts as the worst there is: an unknown cost or latency beats nobody on that axis, and
is beaten by any that is known; so is an unknown quality.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import msgspec

UNKNOWN_QUALITY: Final = -1.0
UNKNOWN_NUSD: Final = 1 << 62
UNKNOWN_MS: Final = float("inf")


class Point(msgspec.Struct, frozen=True):
    """quality: more is better.  cost_nusd, latency_ms: less is better.  ``None``: not known."""

    name: str
    quality: float | None
    cost_nusd: int | None
    latency_ms: float | None


def front(points: Sequence[Point], /) -> tuple[Point, ...]:
    """The points that no other one beats, the best in quality first, then the cheapest, the fastest, by name."""
    ranked = sorted(points, key=_key)
    kept = frontier(
        [_or(point.quality, UNKNOWN_QUALITY) for point in ranked],
        [UNKNOWN_NUSD if point.cost_nusd is None else point.cost_nusd for point in ranked],
        [_or(point.latency_ms, UNKNOWN_MS) for point in ranked],
    )
    return tuple(ranked[index] for index in kept)


def frontier(qualities: Sequence[float], costs: Sequence[int], latencies: Sequence[float], /) -> list[int]:
    """The places of those that no other one beats, rising.

    qualities: falling; those of equal quality in any order.  O(n log n) but for what leaves the staircase: about 0.15 µs a
    point that is beaten by one before it.
    """
    # Of all so far, those beaten by nobody in cost and latency alone: costs rise, latencies fall.
    step_costs: list[int] = []
    step_latencies: list[float] = []
    step_places: list[int] = []
    kept: list[int] = []
    beaten: set[int] = set()
    twins: dict[int, list[int]] = {}
    for place, cost in enumerate(costs):
        latency = latencies[place]
        step = bisect_right(step_costs, cost)
        if step and step_latencies[step - 1] <= latency:
            other = step_places[step - 1]
            if qualities[other] == qualities[place] and step_costs[step - 1] == cost and step_latencies[step - 1] == latency:
                twins.setdefault(other, []).append(place)
                kept.append(place)
            continue
        # Not beaten by anybody of higher quality; those that it beats now can only be of the same.
        first = step - 1 if step and step_costs[step - 1] == cost else step
        last = first
        while last < len(step_costs) and step_latencies[last] >= latency:
            if qualities[step_places[last]] == qualities[place]:
                beaten.add(step_places[last])
            last += 1
        step_costs[first:last] = [cost]
        step_latencies[first:last] = [latency]
        step_places[first:last] = [place]
        kept.append(place)
    if not beaten:
        return kept
    for place in tuple(beaten):
        beaten.update(twins.get(place, ()))
    return [place for place in kept if place not in beaten]


def _key(point: Point) -> tuple[float, int, float, str]:
    return (
        -_or(point.quality, UNKNOWN_QUALITY),
        UNKNOWN_NUSD if point.cost_nusd is None else point.cost_nusd,
        _or(point.latency_ms, UNKNOWN_MS),
        point.name,
    )


def _or(value: float | None, unknown: float) -> float:
    return unknown if value is None else value
