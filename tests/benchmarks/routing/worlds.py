"""Small sets of outcomes, and setups of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.routing.facts import Facts, join
from benchmarks.routing.outcomes import Outcomes
from benchmarks.routing.setup import Setup, prepare
from ledger.adapters import aliases
from ledger.catalogue.identity import Resolver
from ledger.catalogue.indices import Indices
from ledger.catalogue.metrics import METRICS
from ledger.catalogue.snapshot import Snapshot
from ledger.facts import Observation, Subject

NOW_US = 1_790_000_000_000_000
NAN = float("nan")


def facts(**indices: float) -> Facts:
    """A ledger that knows the intelligence index of some models of OpenAI's."""
    found = [
        Observation(
            source="artificial_analysis",
            source_version="1",
            variant=f"openai/{name}",
            subject=Subject(source_name=name),
            metric="intelligence_index",
            value=value,
            unit=METRICS["intelligence_index"].unit,
            observed_at_us=NOW_US,
            fetched_at_us=NOW_US,
        )
        for name, value in indices.items()
    ]
    return Facts(indices=Indices(Snapshot(found, at_us=NOW_US)), resolver=Resolver(aliases.load()))


def outcomes(
    models: Sequence[str],
    scores: Sequence[Sequence[float]],
    costs: Sequence[Sequence[float]],
    *,
    inputs: Sequence[Sequence[float]] | None = None,
    outputs: Sequence[Sequence[float]] | None = None,
) -> Outcomes:
    """Outcomes of one dataset; NaN: not asked."""
    score, cost = np.array(scores, dtype=float), np.array(costs, dtype=float)
    unknown = np.full(score.shape, NAN)
    return Outcomes(
        prompts=tuple(f"set/{number}" for number in range(len(score))),
        datasets=("set",),
        dataset=np.zeros(len(score), dtype=np.int32),
        models=tuple(models),
        score=score,
        cost=cost,
        input_tokens=unknown if inputs is None else np.array(inputs, dtype=float),
        output_tokens=unknown if outputs is None else np.array(outputs, dtype=float),
        total_tokens=unknown,
        text_task=("",) * len(score),
        rows=int(np.isfinite(score).sum()),
    )


def setup(
    made: Outcomes,
    known: Facts,
    *,
    warmup: float = 0.0,
    kinds: Sequence[str] | None = None,
    prices: dict[str, tuple[float, float]] | None = None,
) -> Setup:
    """A setup, all of one kind unless told otherwise."""
    of = np.array(kinds if kinds is not None else ["general"] * len(made.prompts))
    return prepare(made, of, join(made.models, known, {}), known, warmup=warmup, seed=7, given=prices)
