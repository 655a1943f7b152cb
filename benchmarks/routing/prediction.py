"""How well costs are predicted once a model has answered a few hundred times: ``python -m benchmarks.routing.prediction``.

Lengths are those of ``simulate``: wordiness differs between models eleven times and more, between kinds of task too, and
single answers are log-normal with a Pareto tail.  Every answer goes through the gateway's own live metrics; predictions come
from the router's own estimates.  Two errors, each the median of absolute errors relative to the truth:

* ``expected``: of what such a request costs on average, over all models and kinds;
* ``single``: of what a single request costs.  No prediction is better than chance lets it be; beside it stands the error of
  who knows the true mean.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.routing.simulate import lengths
from ledger.adapters import aliases
from ledger.catalogue.identity import Resolver
from ledger.catalogue.indices import Indices
from ledger.catalogue.snapshot import Snapshot
from ledger.live import LiveMetrics, Sample
from ledger.live.view import Views
from ledger.records import Bounds, Price
from proxy.routing.estimate import ANYTHING, EVERYBODY, costs_of, slate
from proxy.routing.features import BYTES_PER_TOKEN, Features
from proxy.routing.field import Listed, build
from proxy.routing.kinds import KINDS
from proxy.routing.live import Live
from proxy.routing.policy import POLICIES

Floats = NDArray[np.float64]

TARGET: Final = 0.25
MODELS: Final = 20
SPREADS: Final = (0.4, 0.6, 1.0)
"""Deviations of the logarithm of a single answer's length."""
INPUT_TOKENS: Final = 500
PROVIDER: Final = "simulated"


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """Median relative errors.  pairs: of how many models and kinds; best: of single requests, by who knows the true mean."""

    expected: float
    single: float
    best: float
    pairs: int


def measure(*, requests: int, spread: float, seed: int, kinds: Sequence[str] = tuple(KINDS)) -> Errors:
    """Let each model answer so many requests of all kinds, then predict.  spread: of single answers."""
    draw = np.random.default_rng(seed)
    names = [f"model-{number}" for number in range(MODELS)]
    output_usd = 10 ** draw.normal(0, 0.6, MODELS)
    wordy = draw.lognormal(0, 0.7, MODELS)
    usual = draw.lognormal(5.5, 0.8, len(kinds))
    typical = usual[None, :] * wordy[:, None] * draw.lognormal(0, 0.4, (MODELS, len(kinds)))
    share = draw.dirichlet(np.full(len(kinds), 2.0))
    live = LiveMetrics(lambda: 0.0)
    for model, name in enumerate(names):
        asked = draw.choice(len(kinds), requests, p=share)
        answers = np.ceil(typical[model, asked] * lengths(draw, requests, spread=spread))
        for kind, tokens in zip(asked, answers, strict=True):
            sample = Sample(
                offer=f"{PROVIDER}/{name}", outcome="ok", e2e_ms=1_000.0, output_tokens=int(tokens), task=kinds[kind]
            )
            live.observe(sample)
    prices = {
        name: Price(source="simulated", input_nusd_per_mtok=round(usd * 2.5e8), output_nusd_per_mtok=round(usd * 1e9))
        for name, usd in zip(names, output_usd, strict=True)
    }
    predicted = np.array([_predicted(live, prices, kind) for kind in kinds]).T
    mean = float(lengths(np.random.default_rng(0), 1_000_000, spread=spread).mean())
    fixed = INPUT_TOKENS * np.array([prices[name].input_nusd_per_mtok for name in names])[:, None] / 1e6
    rate = np.array([prices[name].output_nusd_per_mtok for name in names])[:, None] / 1e6
    true = fixed + typical * mean * rate
    whose, of = draw.integers(0, MODELS, 20_000), draw.choice(len(kinds), 20_000, p=share)
    single = fixed[whose, 0] + np.ceil(typical[whose, of] * lengths(draw, 20_000, spread=spread)) * rate[whose, 0]
    return Errors(
        expected=_median(predicted, true),
        single=_median(predicted[whose, of], single),
        best=_median(true[whose, of], single),
        pairs=true.size,
    )


def _median(predicted: Floats, true: Floats) -> float:
    return float(np.median(np.abs(predicted - true) / true))


def _predicted(metrics: LiveMetrics, prices: dict[str, Price], kind: str) -> list[float]:
    """What the router takes such a request to cost at each model, in the order of ``prices``."""
    views = Views(metrics, clock_s=lambda: 0.0)
    for _ in views.renew(all_of=True):
        pass
    field = build(
        [Listed(provider=PROVIDER, model=name) for name in prices],
        indices=Indices(Snapshot()),
        resolver=Resolver(aliases.load()),
        prices=lambda _, name: prices[name],
        bounds=lambda _, __: Bounds(),
        at_us=0,
    )
    policy = POLICIES["auto"]
    features = Features(
        endpoint="chat/completions", task=kind, text_bytes=round(INPUT_TOKENS * BYTES_PER_TOKEN), input_tokens=INPUT_TOKENS
    )
    outlook = field.outlook(kind, "", policy.percentile, policy.caution, Live(offers=views.view))
    offered = slate(outlook, features, ANYTHING, policy, EVERYBODY)
    costs = dict(zip(offered.names, costs_of(offered, features, None), strict=True))
    return [float(costs[f"{PROVIDER}/{name}"]) for name in prices]


def main() -> int:
    """Print the figures; the exit code is 1 if the target is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.routing.prediction",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--requests", type=int, default=200, help="answers of each model before it is predicted (default 200)")
    parser.add_argument("--seeds", type=int, default=5, help="how many simulations (default 5)")
    arguments = parser.parse_args()
    worst = 0.0
    print(f"{MODELS} models, {len(KINDS)} kinds of task, {arguments.requests} answers of each model, {arguments.seeds} seeds\n")
    print("spread  expected  single  single, by the true mean")
    for spread in SPREADS:
        found = [measure(requests=arguments.requests, spread=spread, seed=seed) for seed in range(arguments.seeds)]
        expected, single, best = (
            float(np.mean([getattr(it, name) for it in found])) for name in ("expected", "single", "best")
        )
        worst = max(worst, expected)
        print(f"{spread:6.1f}  {expected:8.1%}  {single:6.1%}  {best:24.1%}")
    print(f"\nmedian relative error of the expected cost: at most {worst:.1%}; aimed at under {TARGET:.0%}")
    return 0 if worst < TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
