"""All stages of the pipeline, with budgets: between a scripted provider and whatever journal a test brings along."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ledger.budgets.accounts import Accounts
from ledger.ports import JournalPort
from ledger.records import Bounds, Budget, Price
from providers.provider import HttpRequest, Timeouts
from proxy.attempts.balance import Loads
from proxy.caching.flight import Bounds as FlightBounds
from proxy.caching.flight import Flights
from proxy.caching.policy import Policies, Policy
from proxy.call import Call, Principal
from proxy.deployments.models import ModelTable, Named, Provider, Target
from proxy.limits.rates import Declared, RateBook
from proxy.metering.holds import Holds
from proxy.metering.outbox import Outbox
from proxy.metering.worst_case import Assumptions, WorstCases
from proxy.pipeline import Pipeline, Stages
from proxy.stages.auth import Auth
from proxy.stages.budget import Budget as BudgetStage
from proxy.stages.cache import Cache
from proxy.stages.circuit_breaker import Breaking, CircuitBreaker
from proxy.stages.fallback import Fallback, Retries, Sender
from proxy.stages.load_balancer import Balancing, LoadBalancer
from proxy.stages.meter import Meter
from proxy.stages.model_router import ModelRouter
from proxy.stages.rate_limiter import Enforcement, RateLimiter
from proxy.stores.memory_buckets import MemoryBuckets
from proxy.stores.memory_cache import MemoryCache
from tests.proxy.samples import call, upstream
from tests.proxy.scripted import Answer, Clock, ScriptedTransport

CENT = 10_000_000
USD = 10**9
PRINCIPAL = Principal(key_id="key_1", name="alice", user="alice", team="search")
A_CENT = Price(source="a cent", input_nusd_per_mtok=0, output_nusd_per_mtok=0, request_nusd=CENT)


def budget(limit: int, **changes: Any) -> Budget:
    fields: dict[str, Any] = {"id": "b", "scope": "team:search", "unit": "usd", "period": "month"}
    return Budget(limit=limit, **{**fields, **changes})


def answer(input_tokens: int = 10, output_tokens: int = 20) -> Answer:
    """A whole answer that used so many tokens."""
    usage = {"prompt_tokens": input_tokens, "completion_tokens": output_tokens, "total_tokens": input_tokens + output_tokens}
    return Answer(json.dumps({"model": "gpt", "choices": [], "usage": usage}).encode())


class Prices:
    """One price for every model of the provider ``acme``; nothing is known of others."""

    def __init__(self, price: Price = A_CENT) -> None:
        self.row = price

    def price(self, provider: str, _model: str, _at_us: int | None = None, /) -> Price | None:
        return self.row if provider in ("acme", "beta") else None


class Keys:
    """Every key is somebody's: ``tw-`` and the name of its user."""

    def find(self, secret: str, /) -> Principal | None:
        user = secret.removeprefix("tw-")
        return PRINCIPAL if user == "x" else Principal(key_id=f"key_{user}", name=user, user=user, team="search")


class Busy:
    """A provider that answers each request after some turns of the event loop, with whatever ``reply`` makes of it."""

    def __init__(
        self, reply: Callable[[int], Answer | Exception], turns: Callable[[int], int] = lambda number: number % 7
    ) -> None:
        self._reply = reply
        self._turns = turns
        self.sent = 0

    async def send(self, _request: HttpRequest, *, timeouts: Timeouts, deadline_s: float) -> Answer:
        del timeouts, deadline_s
        self.sent += 1
        number = self.sent
        for _ in range(self._turns(number)):
            await turn()
        reply = self._reply(number)
        if isinstance(reply, Exception):
            raise reply
        return reply


class Turn:
    def __await__(self) -> Any:
        yield None


def turn() -> Turn:
    """One turn of the event loop."""
    return Turn()


class House:
    """A gateway without its edges.  Its model ``smart`` is at the first of the providers, and falls back to the others."""

    def __init__(
        self,
        journal: JournalPort,
        *budgets: Budget,
        transport: Sender | None = None,
        prices: Prices | None = None,
        providers: Sequence[str] = ("acme",),
        spent: int = 0,
        wait_s: float = 0.0,
        attempts_max: int = 3,
        assumptions: Assumptions | None = None,
        bounds: Bounds | None = None,
        clock: Clock | None = None,
        serialise: bool = True,
    ) -> None:
        self.clock = clock = clock or Clock()
        self.journal = journal
        self.prices = prices or Prices()
        self.accounts = Accounts(serialise=serialise)
        for it in budgets:
            self.accounts.put(it, clock.us())
            self.accounts.seed(it.id, [(0, (spent, spent, spent))])
        worst_cases = WorstCases(self.prices, bounds=lambda *_: bounds or Bounds(), assumptions=assumptions or Assumptions())
        self.holds = Holds(self.accounts, worst_cases, wait_s=wait_s)
        self.outbox = Outbox(journal, pause_s=0.01)
        self.meter = meter = Meter(journal, self.prices, clock.us, holds=self.holds, outbox=self.outbox)
        table = ModelTable(
            [Provider(name=name, accounts=((upstream(name), 1),), models=("gpt",)) for name in providers],
            models={
                "smart": Named(
                    targets=(Target(f"{providers[0]}/gpt"),), fallbacks=tuple(f"{name}/gpt" for name in providers[1:])
                )
            },
        )
        self.transport = transport or ScriptedTransport(answer())
        loads = Loads(clock_s=clock.s)
        self.fallback = Fallback(
            self.transport,
            reserve=meter.reserve,
            watch=meter.watch,
            retries=Retries(attempts_max=attempts_max, wait_s=0),
            clock_s=clock.s,
            clock_us=clock.us,
        )
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
                budget=BudgetStage(self.holds),
                load_balancer=LoadBalancer(Balancing(), loads=loads, clock_s=clock.s, chance=lambda: 0.0),
                circuit_breaker=CircuitBreaker(Breaking(enabled=False), clock_s=clock.s, chance=lambda: 0.0),
                fallback=self.fallback,
            )
        )

    def call(self, request_id: str = "req_1", model: str = "acme/gpt", **changes: Any) -> Call:
        return call(model, id=request_id, principal=None, **changes)

    def standing(self) -> list[tuple[int, int]]:
        """Of each budget: what is spent, and what is reserved."""
        return [(it.settled, it.reserved) for it in self.accounts.standing(self.clock.us())]
