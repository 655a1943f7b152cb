"""Simulated worlds are what their description says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.routing.__main__ import simulated_setup
from benchmarks.routing.simulate import REGIMES, Regime, lengths, world
from benchmarks.routing.study import study, table

REGIME = Regime(name="small", models=10, datasets=5, prompts=400)


def test_the_same_seed_makes_the_same_world_and_another_one_another() -> None:
    one, same, other = (world(REGIME, seed=seed) for seed in (1, 1, 2))

    assert (one.outcomes.score == same.outcomes.score).all()
    assert one.observations == same.observations
    assert (one.outcomes.score != other.outcomes.score).any()


def test_costs_are_those_of_the_tokens_at_the_prices() -> None:
    made = world(REGIME, seed=1)
    column, (input_usd, output_usd) = 3, made.prices[made.outcomes.models[3]]
    tokens = (made.outcomes.input_tokens[:, column], made.outcomes.output_tokens[:, column])

    assert made.outcomes.cost[:, column] == pytest.approx((tokens[0] * input_usd + tokens[1] * output_usd) / 1e6)


def test_lengths_have_a_heavy_tail() -> None:
    found = lengths(np.random.default_rng(1), 100_000)

    assert np.median(found) == pytest.approx(1, rel=0.1)
    assert np.quantile(found, 0.995) > 5
    assert found.max() <= 150


def test_models_differ_in_wordiness_by_an_order_of_magnitude() -> None:
    tokens = world(REGIMES[0], seed=1).outcomes.output_tokens.mean(axis=0)

    assert tokens.max() / tokens.min() > 8


def test_what_is_published_tells_who_is_good() -> None:
    made = simulated_setup(world(REGIMES[4], seed=1), warmup=0.0, seed=1)
    known = [(it, made.indices.quality(it.variant)) for it in made.joined]
    index = [quality.value for _, quality in known if quality is not None]
    score = [made.held.score[:, column].mean() for column, (_, quality) in enumerate(known) if quality is not None]

    assert np.corrcoef(index, score)[0, 1] > 0.7


def test_a_study_has_every_row_and_the_router_stands_above_one_index_for_all() -> None:
    found = study(REGIME, seed=1, warmup=0.3)

    assert found["cheapest"] < found["composite"] < found["ours"] < found["oracle"]
    assert table({"small": [found, found]}).splitlines()[0].split() == ["AIQ", "small", "mean", "furthest", "below"]
