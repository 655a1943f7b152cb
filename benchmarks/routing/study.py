"""What the router's estimates are worth, in worlds where the truth is known: ``python -m benchmarks.routing.study``.

Each row is a way to estimate, each column a regime of ``simulate``; a figure is the AIQ, the mean over seeds.  All rows but
the first three have the router's own predictions of costs, and are swept over what a point of quality is worth.

=================  ===================================================================================================
composite          one index for all tasks, list prices (the arm of that name)
tokenledger        its formula, swept (the arm)
hindsight          the single model that turns out best, mixed with the cheapest
published          benchmarks of the kind of task; nothing was judged
answers            the share of judged answers alone
index, k=N         ``(n * share + N * index) / (n + N)``, the index as it is
line, k=N          the same, the index read through the line that ``proxy.routing.scale`` fits
ours               the router: the line, and N as it is found
ours, log cost     the same quality against the logarithm of cost
oracle             who knows every outcome
=================  ===================================================================================================
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from benchmarks.routing import arms, compare, simulate
from benchmarks.routing.__main__ import simulated_setup
from benchmarks.routing.arms import SETTINGS, Arm
from benchmarks.routing.ours import Router, ours
from benchmarks.routing.report import aligned
from benchmarks.routing.simulate import REGIMES, Regime
from proxy.routing.estimate import Slate, costs_of
from proxy.routing.field import Outlook
from proxy.routing.policy import POLICIES

Floats = NDArray[np.float64]
Estimate = Callable[[Outlook, int], float | None]
"""The quality of the offer at a place of the field; ``None``: unknown."""

WORTHS: Final = (10, 25, 50, 100, 200)


def _published(outlook: Outlook, place: int) -> float | None:
    grade = outlook.field.grades(outlook.kind, outlook.effort)[place]
    return None if grade is None else grade.value


def _judged(outlook: Outlook, place: int) -> tuple[float, int]:
    found = outlook.live.offers.by_offer(outlook.field.names[place], outlook.kind).get("live_pass_rate")
    return (0.0, 0) if found is None else (found.value, found.n)


def _answers(outlook: Outlook, place: int) -> float | None:
    share, n = _judged(outlook, place)
    return share if n else None


def _blended(worth: int, *, line: bool) -> Estimate:
    def estimate(outlook: Outlook, place: int) -> float | None:
        index = _published(outlook, place)
        share, n = _judged(outlook, place)
        if index is None:
            index = outlook.field.assumptions.quality if n else None
        if index is None:
            return None
        prior = outlook.scale.expected(index) if line else index
        return (n * share + worth * prior) / (n + worth)

    return estimate


def _expected(outlook: Outlook, place: int) -> float | None:
    return outlook.expected[place]


ESTIMATES: Final[Mapping[str, Estimate]] = {
    "published": _published,
    "answers": _answers,
    **{f"index, k={worth}": _blended(worth, line=False) for worth in WORTHS},
    **{f"line, k={worth}": _blended(worth, line=True) for worth in WORTHS},
    "ours, log cost": _expected,
}


def swept(router: Router, name: str, estimate: Estimate, /, *, log: bool = False) -> Arm:
    """The arm that goes by other estimates of quality, and the router's of cost."""
    held = router.setup.held
    weights = np.concatenate(([0.0], np.geomspace(1e-3, 30, SETTINGS) if log else np.geomspace(1e-12, 1e-1, 2 * SETTINGS)))
    choices = [np.zeros(len(held.prompts), dtype=np.int64) for _ in weights]
    policy = POLICIES["auto:value"]
    for group in router.groups:
        offered: Slate = router.slate(group.features, policy)
        columns = np.array([router.columns[it] for it in offered.names])
        known = [estimate(offered.outlook, place) for place in offered.places]
        quality = np.array([-1.0 if it is None else it for it in known])
        cost = np.array(costs_of(offered, group.features, None), dtype=np.float64)
        if log:
            cost = np.log(np.maximum(cost, 1.0))
        can = router.setup.can[np.ix_(group.rows, columns)]
        for weight, chosen in zip(weights.tolist(), choices, strict=True):
            chosen[group.rows] = columns[np.where(can, quality - weight * cost, -np.inf).argmax(axis=1)]
    return arms.by_choice(router.setup, name, [(f"{it:.3g}", chosen) for it, chosen in zip(weights, choices, strict=True)])


def study(regime: Regime, /, *, seed: int, warmup: float) -> dict[str, float]:
    """The AIQ of every row."""
    made = simulated_setup(simulate.world(regime, seed=seed), warmup=warmup, seed=seed)
    router = Router(made)
    found = [arms.ARMS[name](made) for name in ("cheapest", "composite", "tokenledger", "hindsight")]
    found += [swept(router, name, estimate, log="log" in name) for name, estimate in ESTIMATES.items()]
    found += [ours(router), arms.oracle(made)]
    return {it.name: it.aiq.value for it in compare.compare(found, times=0, seed=seed).standings}


def table(found: Mapping[str, Iterable[Mapping[str, float]]], /) -> str:
    """Rows by regimes; the last columns: the mean, and the furthest below the best row of a regime but the oracle."""
    means = {regime: _mean(rows) for regime, rows in found.items()}
    names = list(next(iter(means.values())))
    best = {regime: max(value for name, value in row.items() if name != "oracle") for regime, row in means.items()}
    rows = [["AIQ", *means, "mean", "furthest below"]]
    for name in names:
        values = [row[name] for row in means.values()]
        below = min(row[name] - best[regime] for regime, row in means.items())
        mean = sum(values) / len(values)
        rows.append([name, *(f"{it:.3f}" for it in values), f"{mean:.4f}", "" if name == "oracle" else f"{below:+.3f}"])
    return aligned(rows)


def _mean(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    every = list(rows)
    return {name: sum(row[name] for row in every) / len(every) for name in every[0]}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="worlds of each regime (default 5)")
    parser.add_argument("--warmup", type=float, default=0.3, help="the share of prompts that is past traffic (default 0.3)")
    parser.add_argument("--prompts", type=int, help="how many prompts a world has (default: as the regime has it)")
    arguments = parser.parse_args()
    found = {}
    for regime in REGIMES:
        it = regime if arguments.prompts is None else replace(regime, prompts=arguments.prompts)
        found[regime.name] = [study(it, seed=seed, warmup=arguments.warmup) for seed in range(arguments.seeds)]
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
