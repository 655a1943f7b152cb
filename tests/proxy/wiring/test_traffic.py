"""What the configuration makes of the stages that decide who is asked."""

from __future__ import annotations

import pytest

from proxy.attempts.balance import Loads
from proxy.attempts.breaker import Rules
from proxy.attempts.cooldown import CooldownRules
from proxy.attempts.hedging import HedgeRules
from proxy.attempts.retry_budget import BudgetRules
from proxy.call import Fault
from proxy.config import CircuitBreakerConfig, Config, HedgingConfig, LoadBalancerConfig, RetriesConfig
from proxy.deployments.models import ModelTable, Provider
from proxy.stages.circuit_breaker import Breaking, CircuitBreaker
from proxy.stages.fallback import Retries
from proxy.stages.load_balancer import Balancing, LoadBalancer
from proxy.wiring.traffic import Clocks, Traffic, balancing, breaking, hedging, is_meant, retries, spending
from tests.proxy.samples import attempt, call, deployment, upstream


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


# --- who cannot be asked ------------------------------------------------------------------------------------------------


class _World:
    """A provider with two accounts and two models, and one with one of each."""

    def __init__(self, caps_nusd: dict[tuple[str, str], int] | None = None) -> None:
        self.now_s = 0.0
        self.table = ModelTable(
            [
                Provider(name="a", accounts=((upstream("a", "1"), 1), (upstream("a", "2"), 1)), models=("m", "n")),
                Provider(name="b", accounts=((upstream("b", "1"), 1),), models=("m",)),
            ]
        )
        self.breaker = CircuitBreaker(Breaking(), clock_s=lambda: self.now_s, chance=lambda: 0.0)
        loads = Loads(clock_s=lambda: self.now_s)
        clocks = Clocks(s=lambda: self.now_s, us=lambda: 0, chance=lambda: 0.0)
        self.traffic = Traffic(
            load_balancer=LoadBalancer(Balancing(), loads=loads, clock_s=clocks.s, chance=clocks.chance),
            circuit_breaker=self.breaker,
            fallback=None,  # type: ignore[arg-type]  # nobody is asked here
            loads=loads,
            spending=spending(caps_nusd or {}, lambda: dict(caps_nusd or {}), clocks.us),
            clocks=clocks,
        )

    def fail(self, name: str, account: str, *, fault: Fault = "upstream", times: int = 5) -> None:
        for number in range(times):
            it = attempt(number + 1, deployment=deployment(name, account=account), outcome="upstream_error", fault=fault)
            self.breaker.observe(call(), it)


def test_an_offer_is_broken_when_every_account_of_it_is() -> None:
    world = _World()

    world.fail("a/m", "1")
    one = world.traffic.broken(world.table)
    world.fail("a/m", "2")
    both = world.traffic.broken(world.table)

    assert (one, list(both)) == ({}, ["a/m"])


def test_an_account_that_is_parked_takes_all_of_its_models_with_it() -> None:
    world = _World()

    world.fail("b/m", "1", fault="account", times=1)

    assert list(world.traffic.broken(world.table)) == ["b/m"]


def test_an_account_that_has_spent_its_share_cannot_be_asked() -> None:
    assert _World({("b", "1"): 5}).traffic.broken(_World().table) == {
        "b/m": "it is kept back: it has spent what it may in a day"
    }
    assert _World({("a", "1"): 5}).traffic.broken(_World().table) == {}


def test_as_long_as_all_is_well_nobody_is_broken() -> None:
    assert _World().traffic.broken(_World().table) == {}


def test_who_is_parked_or_has_spent_its_share_is_given_nothing_new() -> None:
    world = _World({("b", "1"): 5})

    world.fail("a/m", "1", fault="account", times=1)
    world.fail("a/m", "2")

    assert world.traffic.parked() == {("a", "1"), ("b", "1")}
