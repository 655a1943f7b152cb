"""Keeps the field of those who can be asked up to date, off the request path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import structlog

from ledger.catalogue.identity import Resolver
from ledger.catalogue.indices import Indices
from ledger.ports import PricingPort
from ledger.prices.pieces import is_by_the_piece
from ledger.records import Bounds, Price
from proxy.deployments.models import ModelTable
from proxy.routing.field import Assumptions, Field, Listed, build

LOOK_S: Final = 0.2
"""Between two looks at whether anything has changed."""
PRICES_S: Final = 0.6
"""Between two looks at prices: they change with the time of the day, too."""
OLD_US: Final = 3_600_000_000
"""After an hour the age of what is known is looked at again."""

WORK_S, REST_S = 0.000_4, 0.000_6
"""How long the thread computes before it lets others: the event loop gets the interpreter at most that much later."""

log = structlog.get_logger("tollway.fields")


class Facts(Protocol):
    """What is known of models, now."""

    @property
    def indices(self) -> Indices:
        """By snapshot."""
        ...

    @property
    def resolver(self) -> Resolver:
        """Who is meant by a name."""
        ...


class Fields:
    """The field of now.  bounds: what a provider's model takes and gives at most."""

    def __init__(
        self,
        table: Callable[[], ModelTable],
        facts: Facts,
        prices: PricingPort,
        bounds: Callable[[str, str], Bounds],
        *,
        assumptions: Assumptions,
        clock_us: Callable[[], int],
    ) -> None:
        self._table = table
        self._facts = facts
        self._prices = prices
        self._bounds = bounds
        self._assumptions = assumptions
        self._clock_us = clock_us
        self._of = table(), facts.indices, facts.resolver
        self._priced_us = clock_us()
        self.field: Field = self._build(lambda: None)

    async def run(self) -> None:
        """Make a new field whenever models, facts or prices have changed, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.renew()

    async def renew(self) -> bool:
        """Look, and make a new field if anything has changed; whether it has."""
        now_us = self._clock_us()
        current = self._table(), self._facts.indices, self._facts.resolver
        changed = any(now is not before for now, before in zip(current, self._of, strict=True))
        if changed or now_us - self.field.at_us > OLD_US:
            self._of = current
            self.field = await asyncio.to_thread(self._build, _Pace())
            log.debug("field_made", models=len(self.field.offers), snapshot=self.field.snapshot.id[:12])
            return True
        if now_us - self._priced_us < PRICES_S * 1e6:
            return False
        self._priced_us = now_us
        charged = ((it.price if it.charged else None, it.provider, it.model) for it in self.field.offers)
        if all(price is self._price(provider, model, now_us) for price, provider, model in charged):
            return False
        self.field = await asyncio.to_thread(self._build, _Pace())
        return True

    def _price(self, provider: str, model: str, at_us: int) -> Price | None:
        """What a model's text costs: a price for pictures or for speech is none."""
        price = self._prices.price(provider, model, at_us)
        return None if price is not None and is_by_the_piece(price) else price

    def _build(self, pause: Callable[[], None]) -> Field:
        table, indices, resolver = self._of
        now_us = self._clock_us()
        return build(
            [
                Listed(
                    provider=provider.name,
                    model=model,
                    endpoints=frozenset(it for upstream, _ in provider.accounts for it in upstream.vendor.endpoints),
                    traits=provider.traits.get(model),
                )
                for provider, model in table.offers()
            ],
            indices=indices,
            resolver=resolver,
            prices=lambda provider, model: self._price(provider, model, now_us),
            bounds=self._bounds,
            at_us=now_us,
            assumptions=self._assumptions,
            pause=pause,
        )


class _Pace:
    """Lets others work now and then."""

    def __init__(self, clock_s: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep) -> None:
        self._clock_s = clock_s
        self._sleep = partial(sleep, REST_S)
        self._until_s = clock_s() + WORK_S

    def __call__(self) -> None:
        if self._clock_s() >= self._until_s:
            self._sleep()
            self._until_s = self._clock_s() + WORK_S
