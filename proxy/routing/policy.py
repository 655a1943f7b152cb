"""Which point of the front is taken: the rules that a policy can have.

Every rule measures a candidate by itself, on scales that are the same whoever else there is; or, for a quality "within so
many points of the best", against the best alone.  So another candidate that is beaten changes nothing, and nobody loses a
place by becoming cheaper, faster or better.  That is why there is no scaling to the range of the front here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, log10
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from proxy.call import RouteField
from proxy.routing.pareto import UNKNOWN_MS, UNKNOWN_NUSD, UNKNOWN_QUALITY, Point, front

Rule = Literal[
    "weights",
    "value",
    "knee",
    "cheapest",
    "best",
    "fastest",
    "throughput",
    "pareto",
    "cost-aware",
    "hybrid",
    "quality",
    "speed",
]
Percentile = Literal["p50", "p90", "p99"]

LEAST_NUSD: Final = 10_000
"""A hundred-thousandth of a dollar: below it, cheaper is not worth much more."""
LEAST_MS: Final = 200.0
"""Below it, faster is not worth much more."""
MOST_NUSD: Final = 10_000_000_000
"""Ten dollars: beyond it nothing is worse, an unknown cost neither."""
MOST_MS: Final = 600_000.0
"""Ten minutes, likewise."""
# Where a knee is nothing worth at all: a hundred dollars, a hundred minutes.
_WORST_NUSD: Final = 100_000_000_000
_WORST_MS: Final = 6_000_000.0

HARD: Final = frozenset(("coding", "math", "reasoning", "agentic"))
"""The kinds for which ``hybrid`` weighs quality against cost; for all others it takes the cheapest that will do."""


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """What a factor of ten in cost, or in latency, is worth beside ten points of quality, which are worth ``quality``."""

    quality: float = 1.0
    cost: float = 0.5
    latency: float = 0.2


class Abstain(msgspec.Struct, frozen=True, kw_only=True):
    """From when on a quality counts as known; whose is not, is not asked where others are.

    coverage, confidence: in [0, 1]; the confidence falls with age.
    """

    coverage: float = 0.05
    confidence: float = 0.02


class Explore(msgspec.Struct, frozen=True, kw_only=True):
    """fraction: of the requests that go to another candidate of the front than the rule's, drawn evenly.

    max_cost_nusd: what such a request may cost more than the rule's choice.  seed: of the draws.
    """

    fraction: float = 0.0
    max_cost_nusd: int = 10_000_000
    seed: int = 0


class Stick(msgspec.Struct, frozen=True, kw_only=True):
    """When a session leaves the model that it began with: for so many points of quality, or so many times less in cost (the
    prompt cache that it would lose is part of that) or latency."""

    points: float = 5.0
    cost_ratio: float = 1.5
    latency_ratio: float = 2.0


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What ``auto`` means under a name.

    weights: of the rule of that name.  point_nusd: what one point of a hundred of quality is worth, for one request, by the
    rule ``value``.  min_quality, within_points: the floor of ``cheapest`` and ``fastest``: absolute, in
    [0, 1], or below the best by at most so many points of a hundred; where nobody reaches it, the best is taken.
    max_cost_nusd: the ceiling of ``best`` and ``cost-aware``; where nobody keeps to it, the cheapest is taken.
    percentile: of latency.  caution: how many standard errors are taken off a quality.
    allow, deny: patterns of ``provider/model``.  default: who answers if too little is known.  fallback: who answers if
    nobody meets what is asked; empty: nobody.  fallbacks: how many others stand by.
    limits: what nobody may break who answers, beside what the caller asks.
    task: what every request is taken for; empty: as it looks.
    """

    name: str = "auto"
    rule: Rule = "weights"
    weights: Weights = Weights()
    point_nusd: int = 1_000_000
    min_quality: float | None = None
    within_points: float | None = None
    max_cost_nusd: int | None = None
    percentile: Percentile = "p50"
    caution: float = 1.0
    task: str = ""
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    default: str = ""
    fallback: str = ""
    fallbacks: int = 3
    abstain: Abstain | None = Abstain()
    explore: Explore = Explore()
    stick: Stick | None = Stick()
    limits: RouteField = RouteField()


_AUTO: Final = Policy()
POLICIES: Final[Mapping[str, Policy]] = MappingProxyType(
    {
        "auto": _AUTO,
        "auto:balanced": Policy(name="auto:balanced", rule="knee"),
        "auto:value": Policy(name="auto:value", rule="value"),
        "auto:cheap": Policy(name="auto:cheap", rule="cheapest", within_points=20),
        "auto:fast": Policy(name="auto:fast", rule="fastest", within_points=20),
        "auto:best": Policy(name="auto:best", rule="best"),
        "auto:coding": Policy(name="auto:coding", task="coding"),
        "auto:floor": Policy(name="auto:floor", rule="cheapest", stick=None),
        "auto:nitro": Policy(name="auto:nitro", rule="throughput", stick=None),
        "auto:pareto": Policy(name="auto:pareto", rule="pareto"),
        "auto:cost-aware": Policy(name="auto:cost-aware", rule="cost-aware"),
        "auto:hybrid": Policy(name="auto:hybrid", rule="hybrid", within_points=20),
        "auto:quality": Policy(name="auto:quality", rule="quality"),
        "auto:speed": Policy(name="auto:speed", rule="speed"),
    }
)
"""The policies that there are without a configuration."""

Key = tuple[float, ...]


class Axes(msgspec.Struct, frozen=True, gc=False):
    """What the candidates are judged by, as parallel lists, as ``pareto`` has them.  rates_ms: for each token of an answer.

    task: the kind of the request.
    """

    qualities: Sequence[float]
    costs: Sequence[int]
    latencies: Sequence[float]
    rates_ms: Sequence[float]
    task: str = "general"


def choose(points: Sequence[Point], policy: Policy, *, task: str = "general") -> Point | None:
    """The point of the front that the policy takes; equal ones go by name.  ``None``: there is none."""
    kept = front(points)
    if not kept:
        return None
    axes = Axes(
        [UNKNOWN_QUALITY if it.quality is None else it.quality for it in kept],
        [UNKNOWN_NUSD if it.cost_nusd is None else it.cost_nusd for it in kept],
        [UNKNOWN_MS if it.latency_ms is None else it.latency_ms for it in kept],
        [0.0] * len(kept),
        task,
    )
    return kept[rank(policy, axes, [it.name for it in kept])[0]]


def rank(policy: Policy, axes: Axes, names: Sequence[str]) -> list[int]:
    """The places of the candidates, whom the policy takes first first; at least one.

    Every key ends in all the axes, so that of two of which one beats the other the better comes first.
    """
    keys = _RULES[policy.rule](policy, axes)
    each = zip(keys, axes.qualities, axes.costs, axes.latencies, names, strict=True)
    ranked = [(key, -quality, cost, ms, name, place) for place, (key, quality, cost, ms, name) in enumerate(each)]
    ranked.sort()
    return [it[-1] for it in ranked]


def _weights(policy: Policy, axes: Axes) -> list[Key]:
    return _weighed(policy.weights, axes)


def _weighed(weights: Weights, axes: Axes) -> list[Key]:
    each = zip(axes.qualities, axes.costs, axes.latencies, strict=True)
    return [(-worth(weights, quality, cost, latency),) for quality, cost, latency in each]


def worth(weights: Weights, quality: float, cost_nusd: int, latency_ms: float) -> float:
    """What a candidate is worth, in tens of points of quality."""
    return (
        weights.quality * 10 * quality
        - weights.cost * log10(1 + min(cost_nusd, MOST_NUSD) / LEAST_NUSD)
        - weights.latency * log10(1 + min(latency_ms, MOST_MS) / LEAST_MS)
    )


def _value(policy: Policy, axes: Axes) -> list[Key]:
    """What an answer is worth in money, less what it costs.

    Weighed request by request, it spends a budget over many requests where it buys most.
    """
    each = zip(axes.qualities, axes.costs, strict=True)
    point_nusd = 100 * policy.point_nusd
    return [(cost - quality * point_nusd,) for quality, cost in each]  # a cost that is not known is the largest there is


def _knee(_: Policy, axes: Axes) -> list[Key]:
    """The largest product of what is gained on each axis over the worst there could be.

    Source: Nash, The Bargaining Problem, 1950, with a fixed point of disagreement.
    """
    keys: list[Key] = []
    for quality, cost, latency in zip(axes.qualities, axes.costs, axes.latencies, strict=True):
        cheap = log10((_WORST_NUSD + LEAST_NUSD) / (min(cost, MOST_NUSD) + LEAST_NUSD))
        quick = log10((_WORST_MS + LEAST_MS) / (min(latency, MOST_MS) + LEAST_MS))
        # Quality counts twice: the other two are both a price of it.
        keys.append((-(max(quality, 0.0) ** 2) * cheap * quick,))
    return keys


def _cheapest(policy: Policy, axes: Axes) -> list[Key]:
    floor = _floor(policy, axes.qualities)
    each = zip(axes.qualities, axes.costs, strict=True)
    return [(0.0, cost) if quality >= floor else (1.0, -quality) for quality, cost in each]


def _fastest(policy: Policy, axes: Axes) -> list[Key]:
    floor = _floor(policy, axes.qualities)
    each = zip(axes.qualities, axes.latencies, strict=True)
    return [(0.0, latency) if quality >= floor else (1.0, -quality) for quality, latency in each]


def _throughput(_: Policy, axes: Axes) -> list[Key]:
    return [(rate_ms,) for rate_ms in axes.rates_ms]


def _best(policy: Policy, axes: Axes) -> list[Key]:
    ceiling = UNKNOWN_NUSD if policy.max_cost_nusd is None else policy.max_cost_nusd
    each = zip(axes.qualities, axes.costs, strict=True)
    return [(0.0, -quality) if cost <= ceiling else (1.0, cost) for quality, cost in each]


def _ratio(_: Policy, axes: Axes) -> list[Key]:
    """The most quality for the money; of those that cost nothing the best.  Source: thegent, ``ParetoRouter.select``."""
    each = zip(axes.qualities, axes.costs, strict=True)
    return [(-max(quality, 0.0) / cost if cost else -inf,) for quality, cost in each]


def _cost_aware(policy: Policy, axes: Axes) -> list[Key]:
    """The best within what a request may cost; where nothing is said of that, a factor of ten in cost is ten points.

    thegent's router of that name takes the best of the cheaper half.  There a model can lose its place by becoming cheaper:
    it beats one of that half, the half shrinks, and somebody dearer is the best of it.
    """
    return _weighed(_COST_AWARE, axes) if policy.max_cost_nusd is None else _best(policy, axes)


_COST_AWARE: Final = Weights(quality=1.0, cost=1.0, latency=0.0)


def _hybrid(policy: Policy, axes: Axes) -> list[Key]:
    """Weighed where the task is hard, otherwise the cheapest that will do.  Source: thegent, ``models/hybrid_router``."""
    return (_weights if axes.task in HARD else _cheapest)(policy, axes)


def _floor(policy: Policy, qualities: Sequence[float]) -> float:
    floor = UNKNOWN_QUALITY if policy.min_quality is None else policy.min_quality
    if policy.within_points is not None:
        floor = max(floor, max(qualities) - policy.within_points / 100)
    return floor


_RULES: Final[Mapping[str, Callable[[Policy, Axes], list[Key]]]] = {
    "weights": _weights,
    "value": _value,
    "knee": _knee,
    "cheapest": _cheapest,
    "best": _best,
    "fastest": _fastest,
    "throughput": _throughput,
    "pareto": _ratio,
    "cost-aware": _cost_aware,
    "hybrid": _hybrid,
    "quality": _best,
    "speed": _fastest,
}
"""For each candidate a key; less is better."""
