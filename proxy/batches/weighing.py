"""What a batch asks for, from its requests: models, files, and the worst case, which is reserved beforehand.

Nobody can stop a batch when a budget runs out, so a request without a bound of its answer counts with all that its model can
give.  About 17 µs a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ledger.budgets.accounts import Amounts, WorstCase
from ledger.ports import PricingPort
from ledger.records import Price, Rates
from providers.openai import stored
from providers.provider import Endpoint, Upstream
from proxy.batches.rates import TIER, offered
from proxy.call import Call, Deployment, Head
from proxy.errors import InvalidRequest, ProxyError
from proxy.metering.worst_case import WorstCases

LINE_MAX_BYTES: Final = 32 * 1024 * 1024
MODELS_MAX: Final = 16
FILES_MAX: Final = 10_000


class Weighed(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch asks for, and may cost.

    models: those that its requests name; unpriced: those of them without a known price.  files: ids of files that they name.
    """

    requests: int
    files: frozenset[str]
    models: tuple[str, ...]
    unpriced: tuple[str, ...]
    worst: WorstCase


def at_batch(price: Price) -> Price:
    """The row with the batch service's rates as its only ones; without such a service it is charged as standard."""
    for service in price.service_tiers:
        if service.name == TIER:
            rates = {name: getattr(service.rates, name) for name in Rates.__struct_fields__}
            return Price(source=price.source, **rates, context_tiers=service.context_tiers)
    return msgspec.structs.replace(price, service_tiers=())


class Weighing:
    """Reads an input file as it comes, or takes requests one by one.

    endpoint: ``None``: its worst case does not matter, and what cannot be read is left to the provider.
    admit: a request's body as the gate has it; raises ProxyError.   param: the field that is to blame.
    """

    def __init__(
        self,
        upstream: Upstream,
        endpoint: Endpoint | None,
        *,
        worst_cases: WorstCases,
        prices: PricingPort,
        admit: Callable[[bytes], Head],
        at_us: int,
        param: str = "input_file_id",
    ) -> None:
        self._upstream = upstream
        self._endpoint = endpoint
        self._worst_cases = worst_cases
        self._prices = prices
        self._admit = admit
        self._at_us = at_us
        self._param = param
        self._lines = stored.Lines(LINE_MAX_BYTES)
        self._offers: dict[str, tuple[Deployment, Price | None]] = {}
        self._reserve: list[int] = [0, 0]
        self._most: list[int] = [0, 0]
        self._count = 0
        self._files: set[str] = set()

    def feed(self, data: bytes) -> None:
        """More of the file.  Raises: InvalidRequest, for a request whose worst case nobody knows."""
        for line in self._lines.feed(data):
            self._read(line)

    def take(self, body: bytes, head: Head) -> None:
        """One more request, that was read already.  Raises: InvalidRequest, if it names too many files, or models."""
        self._count += 1
        self._files.update(head.weight.files)
        deployment, price = self._offer(head.model)
        if self._endpoint is not None:
            self._weigh(self._endpoint, body, head, deployment, price)

    def end(self) -> Weighed:
        """The sum of all of it.  Raises: InvalidRequest."""
        if last := self._lines.end():
            self._read(last)
        if self._lines.too_long and self._endpoint is not None:
            raise self._unknown(f"a line is longer than {LINE_MAX_BYTES // 1024 // 1024} MiB")
        models = tuple(self._offers)
        # One record for each model is what it comes to.
        records = max(len(models), 1)
        reserve: Amounts = (self._reserve[0], self._reserve[1], records)
        most: Amounts = (self._most[0], self._most[1], records)
        return Weighed(
            requests=self._count,
            files=frozenset(self._files),
            models=models,
            unpriced=tuple(name for name, (_, price) in self._offers.items() if price is None),
            worst=WorstCase(reserve, most),
        )

    def _read(self, line: bytes) -> None:
        self._count += 1
        try:
            asked = stored.asked(line)
            if asked is None:
                raise self._unknown(f"line {self._count} is no request")
            body = asked[1]
            head = self._admitted(body)
            self._files.update(head.weight.files)
            if len(self._files) > FILES_MAX:
                raise self._unknown(f"it names more than {FILES_MAX:,} files")
            deployment, price = self._offer(head.model)
        except InvalidRequest:
            if self._endpoint is not None:
                raise
            return
        if self._endpoint is not None:
            self._weigh(self._endpoint, body, head, deployment, price)

    def _admitted(self, body: bytes) -> Head:
        try:
            return self._admit(body)
        except ProxyError as error:
            raise self._unknown(f"line {self._count}: {error.message}") from error

    def _weigh(self, endpoint: Endpoint, body: bytes, head: Head, deployment: Deployment, price: Price | None) -> None:
        # The rates are the service's alone; what a request says of services is not asked in a batch.
        if head.weight.service_tier:
            head = msgspec.structs.replace(head, weight=msgspec.structs.replace(head.weight, service_tier=""))
        call = Call(
            id="",
            endpoint=endpoint,
            authorization=(),
            body=body,
            head=head,
            received_us=self._at_us,
            started_s=0.0,
        )
        worst = self._worst_cases.of(call, deployment, price)
        reserve = worst.most if head.output_max is None else worst.reserve
        for unit in (0, 1):
            self._reserve[unit] += reserve[unit]
            self._most[unit] += worst.most[unit]

    def _offer(self, model: str) -> tuple[Deployment, Price | None]:
        known = self._offers.get(model)
        if known is None:
            if len(self._offers) >= MODELS_MAX:
                raise self._unknown(f"it names more than {MODELS_MAX} models")
            price = self._prices.price(self._upstream.provider, model, self._at_us)
            known = (
                Deployment(upstream=self._upstream, model=model),
                self._rate(price),
            )
            self._offers[model] = known
        return known

    def _rate(self, price: Price | None) -> Price | None:
        return None if price is None else at_batch(offered(price, self._upstream.vendor))

    def _unknown(self, why: str) -> InvalidRequest:
        return InvalidRequest(f"What this batch may do and cost cannot be told: {why}.", param=self._param)
