"""The arm of the router is the router: its estimates, and its choices."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks.routing.__main__ import simulated_setup
from benchmarks.routing.ours import Router, ours, past_traffic, policy
from benchmarks.routing.setup import Setup
from benchmarks.routing.simulate import Regime, world
from ledger.live import LiveMetrics, Sample
from ledger.live.view import Views
from proxy.routing.estimate import Scope
from proxy.routing.policy import POLICIES
from proxy.routing.router import decide
from tests.benchmarks.routing.worlds import NAN, facts, outcomes, setup

REGIME = Regime(name="small", models=8, datasets=5, prompts=300, unlisted=0.25)


def simulated(warmup: float = 0.3) -> Setup:
    return simulated_setup(world(REGIME, seed=1), warmup=warmup, seed=7)


def with_gaps(made: Setup) -> Setup:
    """The same, where some models were not asked some prompts."""
    can = made.can & (np.random.default_rng(2).random(made.can.shape) < 0.6)
    can[:, 0] |= ~can.any(axis=1)
    return replace(made, can=can)


@pytest.mark.parametrize("warmup", [0.0, 0.3])
def test_all_settings_at_once_choose_what_decide_does(warmup: float) -> None:
    router = Router(with_gaps(simulated(warmup)))
    settings = [1, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 1_000_000_000]

    at_once = router.swept(POLICIES["auto:value"], settings)

    one_by_one = [router.decided(replace(POLICIES["auto:value"], point_nusd=it)) for it in settings]
    assert [it.tolist() for it in at_once] == [it.tolist() for it in one_by_one]
    assert len({it.tobytes() for it in at_once}) > 3


def test_only_who_answered_is_asked() -> None:
    made = with_gaps(simulated())
    prompts = np.arange(len(made.held.prompts))

    chosen = Router(made).decided(POLICIES["auto"])

    assert made.can[prompts, chosen].all()


def test_past_traffic_is_what_live_metrics_make_of_the_same_answers() -> None:
    made = simulated()
    metrics = LiveMetrics(lambda: 0.0)
    for row, kind in enumerate(made.warm_kinds):
        for column, name in enumerate(made.models):
            tokens = int(made.warm.output_tokens[row, column])
            metrics.observe(Sample(offer=f"recorded/{name}", outcome="ok", e2e_ms=1.0, output_tokens=tokens, task=str(kind)))
    views = Views(metrics, clock_s=lambda: 0.0)
    for _ in views.renew(all_of=True):
        pass

    live = past_traffic(made).offers

    for name in made.models:
        for kind in ("", *set(made.warm_kinds.tolist())):
            offer = f"recorded/{name}"
            ours, theirs = (it.by_offer(offer, kind)["tokens_out_per_answer"] for it in (live, views.view))
            assert (ours.value, ours.n) == (pytest.approx(theirs.value), theirs.n)


def test_nothing_of_the_held_out_prompts_is_known() -> None:
    made = simulated()
    other = replace(made, held=replace(made.held, score=1 - made.held.score, output_tokens=made.held.output_tokens * 9))

    assert Router(made).decided(POLICIES["auto"]).tolist() == Router(other).decided(POLICIES["auto"]).tolist()


def test_a_sweep_goes_from_about_the_cheapest_to_about_the_best() -> None:
    made = simulated()
    arm = ours(Router(made))

    ends = arm.cost.mean(axis=1)
    cheapest = np.where(made.can, made.held.cost, np.inf).mean(axis=0).min()

    assert ends[0] == pytest.approx(cheapest, rel=0.3)
    assert ends[-1] > 2 * ends[0]


def test_who_is_wordy_is_not_taken_for_cheap() -> None:
    # Half the price for a token, and ten times the tokens.
    prompts = 200
    made = setup(
        outcomes(
            ["gpt-terse", "gpt-wordy"],
            [[1, 1]] * prompts,
            [[200e-6, 1000e-6]] * prompts,
            inputs=[[0.0, 0.0]] * prompts,
            outputs=[[100.0, 1000.0]] * prompts,
        ),
        facts(**{"gpt-terse": 50.0, "gpt-wordy": 50.0}),
        warmup=0.3,
        prices={"gpt-terse": (2.0, 2.0), "gpt-wordy": (1.0, 1.0)},
    )

    chosen = Router(made).decided(POLICIES["auto:value"])

    assert set(chosen.tolist()) == {0}


def test_where_no_tokens_are_known_costs_are_learned_as_they_are() -> None:
    made = setup(
        outcomes(["gpt-a", "gpt-b"], [[1, 1]] * 100, [[1e-4, 9e-4]] * 100), facts(**{"gpt-a": 5.0, "gpt-b": 5.0}), warmup=0.3
    )
    router = Router(made)

    decision = decide(router.field, router.groups[0].features, POLICIES["auto"], live=router.live, scope=Scope())

    costs = dict(zip(decision.slate.names, decision.costs, strict=True))
    assert costs == {"recorded/gpt-a": pytest.approx(100_000, rel=0.3), "recorded/gpt-b": pytest.approx(900_000, rel=0.3)}


def test_a_price_that_nobody_knows_is_no_reason_to_fail() -> None:
    made = setup(outcomes(["gpt-a", "gpt-b"], [[1, 1]], [[0.1, NAN]]), facts(**{"gpt-a": 5.0}))

    assert policy(Router(made), "auto").quality.tolist() == [[1.0]]


def test_a_policy_that_there_is_not_is_refused() -> None:
    with pytest.raises(LookupError, match="there is no policy 'auto:lucky'; there are: auto, auto:balanced"):
        policy(Router(simulated()), "auto:lucky")
