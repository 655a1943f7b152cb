"""Arms beside each other: areas, accuracy at a budget, cost of an accuracy, and how far one is above another.

Range of costs: from the anchor's to the dearest corner of any curve but the oracle's; a curve that ends before goes on flat.
``narrow`` is from the same to the least of the swept curves' dearest corners: the costs at which each of them has points of
its own.  Everything is computed again in each resample, its range included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.routing.arms import Arm
from benchmarks.routing.score import Curve, Interval, aiq, cost_at, hull, interval, quality_at, resampled

Floats = NDArray[np.float64]

OURS: Final = "ours"
BASE: Final = "composite"
GAIN: Final = 0.01
"""How much more area than the base is aimed at."""
AS_GOOD_AS: Final = ("tokenledger", "thegent")
ANCHOR: Final = "cheapest"
ORACLE: Final = "oracle"
BUDGETS: Final = (0.1, 0.25, 0.5, 0.75)
"""Budgets that accuracy is told at, as shares of the range of costs."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """An arm.  aiq, narrow_aiq: over the two ranges; log_aiq: over the logarithm of the first.

    at: accuracy at each budget.  cost_of: USD a prompt for the accuracy of the best single model in hindsight, and of the
    best by the index.  own: its own setting's cost and quality.
    """

    name: str
    aiq: Interval
    narrow_aiq: Interval
    log_aiq: Interval
    at: tuple[Interval, ...]
    cost_of: tuple[Interval, ...]
    points: tuple[tuple[float, float, str], ...]
    curve: tuple[tuple[float, float], ...]
    own: tuple[float, float] | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is aimed at: the difference, what it should be at least, whether it is."""

    name: str
    difference: Interval
    least: float
    met: bool


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All arms.  low, high, narrow: USD a prompt.  budgets: at which ``at`` is told; targets: the accuracies of ``cost_of``."""

    low: float
    high: float
    narrow: float
    budgets: tuple[float, ...]
    targets: tuple[tuple[str, float], ...]
    standings: tuple[Standing, ...]
    verdicts: tuple[Verdict, ...]


class _Figures(msgspec.Struct, kw_only=True):
    """The figures of one draw, in the order of the arms."""

    curves: list[Curve]
    low: float
    high: float
    narrow: float
    budgets: list[float]
    values: dict[str, float]


def compare(arms: Sequence[Arm], /, *, times: int, seed: int, budgets: Sequence[float] = ()) -> Comparison:
    """Compare them.  times: resamples; 0: no intervals.  budgets: USD a prompt; none: shares of the range.

    Needs the arm ``cheapest``.
    """
    count = sum(len(arm.labels) for arm in arms)
    rows = [row for arm in arms for row in arm.quality] + [row for arm in arms for row in arm.cost]
    whole = np.array([float(np.mean(row, dtype=np.float64)) for row in rows])
    figures = _figures(arms, whole[:count], whole[count:], budgets)
    draws: dict[str, list[float]] = {name: [] for name in figures.values}
    for means in resampled(rows, times=times, seed=seed):
        for name, value in _figures(arms, means[:count], means[count:], budgets).values.items():
            draws[name].append(value)
    found = {name: interval(value, draws[name]) for name, value in figures.values.items()}
    return Comparison(
        low=figures.low,
        high=figures.high,
        narrow=figures.narrow,
        budgets=tuple(figures.budgets),
        targets=_targets(arms, whole[:count]),
        standings=tuple(_standings(arms, figures, found, whole[:count], whole[count:])),
        verdicts=tuple(_verdicts(arms, found)),
    )


def _slices(arms: Sequence[Arm]) -> dict[str, slice]:
    places, at = {}, 0
    for arm in arms:
        places[arm.name] = slice(at, at + len(arm.labels))
        at += len(arm.labels)
    return places


def _own(arms: Sequence[Arm]) -> dict[str, int]:
    """The row of each arm's own setting."""
    places = _slices(arms)
    return {arm.name: places[arm.name].start + arm.own for arm in arms if arm.own is not None}


def _targets(arms: Sequence[Arm], quality: Floats) -> tuple[tuple[str, float], ...]:
    own = _own(arms)
    return tuple((name, float(quality[own[name]])) for name in ("hindsight", "best") if name in own)


def _figures(arms: Sequence[Arm], quality: Floats, cost: Floats, budgets: Sequence[float]) -> _Figures:
    places, own = _slices(arms), _own(arms)
    anchor = own[ANCHOR]
    low = float(cost[anchor])
    curves = []
    dearest: dict[str, float] = {}
    for arm in arms:
        rows = [*range(*places[arm.name].indices(len(cost))), anchor]
        curves.append(hull(cost[rows], quality[rows]))
        if arm.name != ORACLE:
            dearest[arm.name] = float(curves[-1][0][-1])
    high = max(dearest.values())
    swept = [dearest[arm.name] for arm in arms if len(arm.labels) > 1 and arm.name in dearest]
    narrow = max(min(swept, default=high), low)
    amounts = list(budgets) or [low + share * (high - low) for share in BUDGETS]
    values: dict[str, float] = {}
    targets = _targets(arms, quality)
    for arm, curve in zip(arms, curves, strict=True):
        values[f"{arm.name} aiq"] = aiq(curve, low, high)
        values[f"{arm.name} narrow"] = aiq(curve, low, narrow)
        values[f"{arm.name} log"] = _log_aiq(curve, low, high)
        for place, amount in enumerate(amounts):
            values[f"{arm.name} at {place}"] = quality_at(curve, amount)
        for name, target in targets:
            values[f"{arm.name} cost of {name}"] = cost_at(curve, target)
    by_name = {arm.name: curve for arm, curve in zip(arms, curves, strict=True)}
    if OURS in by_name:
        for name in by_name:
            values[f"{OURS} over {name}"] = values[f"{OURS} aiq"] - values[f"{name} aiq"]
        for name in AS_GOOD_AS:
            if name in own:
                here = max(float(cost[own[name]]), float(by_name[OURS][0][0]))
                values[f"{OURS} beside {name}"] = quality_at(by_name[OURS], here) - float(quality[own[name]])
                values[f"{OURS} least above {name}"] = _least_above(by_name[OURS], by_name[name], low, high)
    return _Figures(curves=curves, low=low, high=high, narrow=narrow, budgets=amounts, values=values)


def _log_aiq(curve: Curve, low: float, high: float) -> float:
    """The mean quality over budgets that are even in their logarithm."""
    if not 0 < low < high:
        return quality_at(curve, low)
    budgets = np.geomspace(low, high, 400)
    return float(np.interp(budgets, *curve).mean())


def _least_above(ours: Curve, theirs: Curve, low: float, high: float) -> float:
    """How far our curve is above theirs where it is so least.  Between two corners of either both are straight."""
    budgets = np.unique(np.concatenate(([low, high], ours[0], theirs[0])))
    budgets = budgets[(budgets >= low) & (budgets <= high)]
    return float((np.interp(budgets, *ours) - np.interp(budgets, *theirs)).min())


def _standings(
    arms: Sequence[Arm], figures: _Figures, found: Mapping[str, Interval], quality: Floats, cost: Floats
) -> list[Standing]:
    places, own = _slices(arms), _own(arms)
    targets = [name for name, _ in _targets(arms, quality)]
    standings = []
    for arm, curve in zip(arms, figures.curves, strict=True):
        rows = range(*places[arm.name].indices(len(cost)))
        points = tuple((float(cost[row]), float(quality[row]), label) for row, label in zip(rows, arm.labels, strict=True))
        mine = own.get(arm.name)
        standings.append(
            Standing(
                name=arm.name,
                aiq=found[f"{arm.name} aiq"],
                narrow_aiq=found[f"{arm.name} narrow"],
                log_aiq=found[f"{arm.name} log"],
                at=tuple(found[f"{arm.name} at {place}"] for place in range(len(figures.budgets))),
                cost_of=tuple(found[f"{arm.name} cost of {name}"] for name in targets),
                points=points,
                curve=tuple(zip(curve[0].tolist(), curve[1].tolist(), strict=True)),
                own=None if mine is None else (float(cost[mine]), float(quality[mine])),
            )
        )
    return standings


def _verdicts(arms: Sequence[Arm], found: Mapping[str, Interval]) -> list[Verdict]:
    names = {arm.name for arm in arms}
    wanted = []
    if {OURS, BASE} <= names:
        wanted.append((f"AIQ of {OURS} less that of {BASE}", f"{OURS} over {BASE}", GAIN))
    wanted += [
        (f"accuracy of {OURS} less that of {name} at {name}'s cost", f"{OURS} beside {name}", 0.0)
        for name in AS_GOOD_AS
        if f"{OURS} beside {name}" in found
    ]
    return [
        Verdict(name=name, difference=found[key], least=least, met=found[key].value >= least) for name, key, least in wanted
    ]
