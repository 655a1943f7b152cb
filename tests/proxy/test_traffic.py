"""What the configuration makes of the stages that decide who is asked."""

from __future__ import annotations

import pytest

from proxy.breaker import Rules
from proxy.config import CircuitBreakerConfig, Config, HedgingConfig, LoadBalancerConfig, RetriesConfig
from proxy.cooldown import CooldownRules
from proxy.hedging import HedgeRules
from proxy.retry_budget import BudgetRules
from proxy.stages.circuit_breaker import Breaking
from proxy.stages.fallback import Retries
from proxy.stages.load_balancer import Balancing
from proxy.traffic import balancing, breaking, hedging, is_meant, retries, spending


def test_the_defaults_of_the_configuration_are_those_of_the_stages() -> None:
    assert breaking(Config()).circuit == Rules()
    assert breaking(Config()).cooldown == CooldownRules()
    assert breaking(Config()).account.failures_max == 1
    assert balancing(Config()) == Balancing()
    assert retries(Config()) == Retries()


def test_what_is_configured_reaches_the_breaker() -> None:
    said = CircuitBreakerConfig(
        enabled=False, never_last=False, failures=2, error_percent=25, min_requests=8, park_s=7, park_max_s=9, cooldown_max_s=3
    )

    made = breaking(Config(circuit_breaker=said))

    assert made == Breaking(
        enabled=False,
        never_last=False,
        circuit=Rules(failures_max=2, error_ratio=0.25, requests_min=8),
        account=Rules(failures_max=1, requests_min=2**31, open_s=7, open_max_s=9),
        cooldown=CooldownRules(base_s=1, max_s=3),
    )


def test_what_is_configured_reaches_the_balancer_and_the_retries() -> None:
    config = Config(
        load_balancer=LoadBalancerConfig(strategy="weighted", affinity=False),
        retries=RetriesConfig(max_attempts=7, wait_s=0, budget_percent=50, budget_floor=9),
    )

    assert balancing(config) == Balancing(strategy="weighted", affinity=False)
    assert (retries(config).attempts_max, retries(config).wait_s) == (7, 0)
    assert retries(config).budget == BudgetRules(ratio=0.5, floor=9)


def test_what_is_configured_reaches_the_hedging() -> None:
    config = Config(hedging=HedgingConfig(enabled=True, after="p99", max_percent=1, max_cost_usd=0.5))

    assert hedging(Config()) == HedgeRules()
    assert hedging(config) == HedgeRules(quantile=0.99, ratio=0.01, cost_max_nusd=500_000_000)


def test_the_ledger_is_only_asked_what_was_spent_where_somebody_may_not_spend_what_he_likes() -> None:
    asked = []

    def spent() -> dict[tuple[str, str], int]:
        asked.append(1)
        return {("a", "x"): 5}

    assert spending({}, spent, lambda: 0) is None
    assert asked == []
    made = spending({("a", "x"): 9}, spent, lambda: 0)
    assert made is not None
    assert made.spent_nusd("a", "x") == 5


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("", [True, True]),
        ("a", [True, True]),
        ("a@x", [True, True]),
        ("a/org/gpt", [True, False]),
        ("a/org/gpt@x", [True, False]),
        ("a@y", [False, False]),
        ("a/org", [False, False]),
        ("a/", [False, False]),
        ("b", [False, False]),
    ],
)
def test_a_name_means_a_provider_an_account_a_model_or_one_deployment(name: str, meant: list[bool]) -> None:
    assert [is_meant(name, key) for key in (("a", "x", "org/gpt"), ("a", "x", ""))] == meant
