"""The order of the stages, and what the edge itself refuses."""

from __future__ import annotations

import pytest

from ledger.budgets.accounts import Accounts
from ledger.records import Bounds
from proxy.attempts.balance import Loads
from proxy.caching.flight import Bounds as FlightBounds
from proxy.caching.flight import Flights
from proxy.caching.policy import Policies, Policy
from proxy.call import Completed, Principal
from proxy.deployments.models import ModelTable, Provider
from proxy.errors import InvalidApiKey, InvalidJson, ModelNotFound
from proxy.limits.rates import Declared, RateBook
from proxy.metering.holds import Holds
from proxy.metering.worst_case import Assumptions, WorstCases
from proxy.pipeline import Pipeline, Stages
from proxy.stages.auth import Auth
from proxy.stages.budget import Budget
from proxy.stages.cache import Cache
from proxy.stages.circuit_breaker import Breaking, CircuitBreaker
from proxy.stages.fallback import Fallback, Retries
from proxy.stages.load_balancer import Balancing, LoadBalancer
from proxy.stages.meter import Meter
from proxy.stages.model_router import ModelRouter
from proxy.stages.rate_limiter import Enforcement, RateLimiter
from proxy.stores.memory_buckets import MemoryBuckets
from proxy.stores.memory_cache import MemoryCache
from tests.proxy.samples import call, upstream
from tests.proxy.scripted import Answer, Clock, MemoryJournal, Prices, ScriptedTransport

ANSWER = b'{"model":"gpt","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}'


class Keys:
    def find(self, secret: str, /) -> Principal | None:
        return Principal(key_id="key_1", name="alice") if secret == "tw-x" else None


class House:
    """All stages, between a scripted transport and a journal in memory."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.journal = MemoryJournal(story=self.story, strict=True)
        clock = Clock()
        prices = Prices()
        meter = Meter(self.journal, prices, clock.us)
        worst_cases = WorstCases(prices, bounds=lambda *_: Bounds(), assumptions=Assumptions())
        table = ModelTable([Provider(name="acme", accounts=((upstream(), 1),), models=("gpt",))])
        transport = ScriptedTransport(Answer(ANSWER), story=self.story)
        self.pipeline = Pipeline(
            Stages(
                auth=Auth(Keys()),
                meter=meter,
                model_router=ModelRouter(lambda: table),
                cache=Cache(
                    MemoryCache(1024, clock.s),
                    Flights(FlightBounds()),
                    policies=Policies(Policy()),
                    scope="key",
                    secret=b"s" * 32,
                    single_flight=True,
                    entry_max_bytes=1024,
                    clock_us=clock.us,
                ),
                rate_limiter=RateLimiter(
                    MemoryBuckets(clock.us), RateBook(Declared(), burst_s=60), enforcement=Enforcement(), clock_s=clock.s
                ),
                budget=Budget(Holds(Accounts(), worst_cases, wait_s=0)),
                load_balancer=LoadBalancer(Balancing(), loads=Loads(clock_s=clock.s), clock_s=clock.s, chance=lambda: 0.0),
                circuit_breaker=CircuitBreaker(Breaking(), clock_s=clock.s, chance=lambda: 0.0),
                fallback=Fallback(
                    transport, reserve=meter.reserve, watch=meter.watch, retries=Retries(), clock_s=clock.s, clock_us=clock.us
                ),
            )
        )


async def test_a_request_is_reserved_sent_settled_and_recorded_in_that_order() -> None:
    house = House()

    reply = await house.pipeline(call("gpt", principal=None))

    assert isinstance(reply, Completed)
    assert reply.body == ANSWER
    assert house.story == ["reservation 1", "send acme", "settlement 1", "requestrecord"]
    assert [(it.key_id, it.cost_nusd) for it in house.journal.records] == [("key_1", 7_000)]


async def test_a_request_that_leads_nowhere_is_recorded() -> None:
    house = House()

    with pytest.raises(ModelNotFound):
        await house.pipeline(call("unknown"))

    assert [(it.status, it.outcome) for it in house.journal.records] == [(404, "model_not_found")]


async def test_what_the_edge_refuses_is_on_the_record_of_whoever_is_calling() -> None:
    house = House()

    with pytest.raises(InvalidJson):
        await house.pipeline.refuse(call(principal=None), InvalidJson("no"))

    assert [(it.key_id, it.outcome) for it in house.journal.records] == [("key_1", "invalid_json")]


async def test_what_nobody_known_asks_is_refused_first_and_not_recorded() -> None:
    house = House()
    stranger = call(authorization=("Bearer other",))

    with pytest.raises(InvalidApiKey):
        await house.pipeline.refuse(stranger, InvalidJson("no"))
    with pytest.raises(InvalidApiKey):
        await house.pipeline(stranger)

    assert house.story == []
