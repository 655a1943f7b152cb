"""What the configuration makes of the policies."""

from __future__ import annotations

from typing import Any

from proxy.call import RouteField
from proxy.config import Config
from proxy.routing.kinds import KINDS, POLICY_NAMES
from proxy.routing.policy import POLICIES, Abstain, Explore, Policy, Stick, Weights
from proxy.wiring.policies import assumptions, memory, policies


def config(**sections: Any) -> Config:
    return Config.model_validate(sections)


def test_without_a_word_they_are_those_that_come_with_tollway() -> None:
    assert dict(policies(config())) == dict(POLICIES)
    assert set(POLICY_NAMES) == set(POLICIES)


def test_what_is_said_goes_over_what_comes_with_it() -> None:
    found = policies(config(policies={"auto:cheap": {"within_points": 5}, "auto": {"percentile": "p90", "caution": 0.5}}))

    assert found["auto:cheap"] == Policy(name="auto:cheap", rule="cheapest", within_points=5)
    assert found["auto"] == Policy(percentile="p90", caution=0.5)


def test_one_of_ones_own_has_everything_that_is_said() -> None:
    found = policies(
        config(
            policies={
                "auto:mine": {
                    "rule": "best",
                    "weights": {"cost": 2},
                    "point_usd": 0.002,
                    "min_quality": 0.3,
                    "max_cost_usd": 0.5,
                    "task": "coding",
                    "allow": ["openai/*"],
                    "deny": ["*/x"],
                    "default": "openai/gpt-5",
                    "fallback": "openai/gpt-4",
                    "fallbacks": 1,
                    "limits": {"max_cost_usd": 1, "max_ttft_ms": 500},
                    "abstain": {"coverage": 0.5},
                    "explore": {"percent": 2, "max_cost_usd": 0.1, "seed": 3},
                    "sessions": {"points": 1},
                }
            }
        )
    )

    assert found["auto:mine"] == Policy(
        name="auto:mine",
        rule="best",
        weights=Weights(cost=2),
        point_nusd=2_000_000,
        min_quality=0.3,
        max_cost_nusd=500_000_000,
        task="coding",
        allow=("openai/*",),
        deny=("*/x",),
        default="openai/gpt-5",
        fallback="openai/gpt-4",
        fallbacks=1,
        limits=RouteField(max_cost_nusd=10**9, max_ttft_ms=500),
        abstain=Abstain(coverage=0.5),
        explore=Explore(fraction=0.02, max_cost_nusd=100_000_000, seed=3),
        stick=Stick(points=1),
    )


def test_another_rule_does_not_inherit_what_was_good_enough_for_the_first() -> None:
    found = policies(config(policies={"auto:cheap": {"rule": "fastest"}}))

    assert found["auto:cheap"] == Policy(name="auto:cheap", rule="fastest")


def test_what_is_switched_off_is_off() -> None:
    found = policies(config(policies={"auto": {"abstain": {"enabled": False}, "sessions": {"enabled": False}}}))

    assert (found["auto"].abstain, found["auto"].stick) == (None, None)


def test_assumptions_and_memory_are_as_configured() -> None:
    it = config(routing={"output_tokens": {"coding": 5}, "bytes_per_token": 3, "receipts": 7, "warm_s": 60})

    assert assumptions(it).output_tokens == {**{name: kind.output_tokens for name, kind in KINDS.items()}, "coding": 5}
    assert (assumptions(it).bytes_per_token, memory(it).receipts_max, memory(it).warm_s) == (3, 7, 60)
