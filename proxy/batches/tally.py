"""What a batch used, from the file with its answers: each is priced by its own size, and rounded with all of its kind."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

import msgspec

from ledger.ports import PricingPort
from ledger.prices.cost import rates_for, sum_nusd
from ledger.records import Price, Rates, Tokens
from providers.errors import InvalidResponse, RefusedInBody
from providers.openai import response, stored
from providers.provider import Upstream
from providers.registry import keeping
from providers.usage import Usage, semantics_of
from proxy.batches.rates import TIER, offered

LINE_MAX_BYTES: Final = 64 * 1024 * 1024
MODELS_MAX: Final = 64
BYTES_PER_TOKEN: Final = 4

_COUNTS: Final = Tokens.__struct_fields__
_NUMBERS: Final = 1 << 128


def mark_of(custom_ids: Iterable[str]) -> str:
    """What tells a batch of requests with these names from others, in whatever order they come."""
    return _hex(sum(map(_number, custom_ids)))


def _number(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=16).digest())


def _hex(number: int) -> str:
    return f"{number % _NUMBERS:032x}"


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """What one model's answers came to.

    model: as it was asked, if that is known; answered_model: as it answered.  cost_nusd: ``None``: its price is unknown.
    unmetered: answers that say nothing of their usage, and whose tokens are guessed.
    """

    model: str
    answered_model: str
    answers: int
    tokens: Tokens
    cost_nusd: int | None
    price_source: str
    unmetered: int = 0


class _Model:
    """One model's answers so far.  groups: by the rates that they are charged by."""

    def __init__(self, name: str, price: Price | None) -> None:
        self.name = name
        self.price = price
        self.groups: dict[int, tuple[Rates | None, list[int], list[int]]] = {}
        self.unmetered = 0

    def add(self, usage: Usage, *, answers: int = 1) -> None:
        rates = None if self.price is None else rates_for(self.price, usage.input_tokens, TIER)
        _, total, requests = self.groups.setdefault(id(rates), (rates, [0] * len(_COUNTS), [0]))
        requests[0] += answers
        for at, name in enumerate(_COUNTS):
            total[at] += getattr(usage, name)


class Tally:
    """Reads an output file as it comes.  models: those that were asked for, as far as somebody knows.

    at_us: when the batch was made; its prices are of that moment.
    """

    def __init__(self, upstream: Upstream, endpoint: str, *, models: tuple[str, ...], prices: PricingPort, at_us: int) -> None:
        self._provider = upstream.provider
        self._vendor = upstream.vendor
        self._answered = keeping(upstream.vendor).answered
        self._names = 0
        self._semantics = semantics_of(upstream.vendor.name, endpoint)
        self._asked = models
        self._prices = prices
        self._at_us = at_us
        self._lines = stored.Lines(LINE_MAX_BYTES)
        self._models: dict[str, _Model] = {}
        self._garbled = 0

    def feed(self, data: bytes) -> None:
        """More of the file."""
        for line in self._lines.feed(data):
            self._count(line)

    def end(self) -> tuple[Sum, ...]:
        """What it comes to, by the models' names.  Call it once."""
        if last := self._lines.end():
            self._count(last)
        return tuple(self._sum(self._models[name]) for name in sorted(self._models))

    @property
    def unread(self) -> int:
        """Lines that are no answers, or too long for one."""
        return self._lines.too_long + self._garbled

    @property
    def mark(self) -> str:
        """What tells its answers from another batch's, as ``mark_of`` makes it of the names of their requests."""
        return _hex(self._names)

    def _count(self, line: bytes) -> None:
        answered = self._answered(line)
        if answered is None:
            self._garbled += 1
            return
        if answered.custom_id:
            self._names += _number(answered.custom_id)
        if answered.status_code is None or not 200 <= answered.status_code < 300:
            return
        try:
            read = response.decode(answered.body, self._semantics)
        except RefusedInBody:
            return
        except InvalidResponse:
            self._garbled += 1
            return
        model = self._of(read.model)
        usage = read.usage
        if usage is None or not usage.counted:
            model.unmetered += 1
            usage = Usage(output_text=max(len(answered.body) // BYTES_PER_TOKEN, 1))
        model.add(usage)
        for aside in usage.asides:
            (self._of(aside.model) if aside.model else model).add(aside.usage, answers=0)

    def _of(self, name: str) -> _Model:
        known = self._models.get(name)
        if known is None:
            if len(self._models) >= MODELS_MAX:
                # Whoever answers by so many names is priced as the first of them.
                return next(iter(self._models.values()))
            known = self._models[name] = _Model(name, self._price(name))
        return known

    def _price(self, name: str) -> Price | None:
        """The row of the model that answered; of the one that was asked if its name has none."""
        price = self._prices.price(self._provider, name, self._at_us) if name else None
        if price is None and (asked := self._asked_for(name)) != name:
            price = self._prices.price(self._provider, asked, self._at_us)
        return None if price is None else offered(price, self._vendor)

    def _asked_for(self, name: str) -> str:
        """What a model was called in the request whose answer calls it so: the longest such name that it begins with."""
        if len(self._asked) == 1:
            return self._asked[0]
        return max((it for it in self._asked if name.startswith(it)), key=len, default=name)

    def _sum(self, it: _Model) -> Sum:
        total = [0] * len(_COUNTS)
        answers = 0
        cost: int | None = None if it.price is None else 0
        for rates, counts, (requests,) in it.groups.values():
            answers += requests
            total = [a + b for a, b in zip(total, counts, strict=True)]
            if cost is not None and it.price is not None and rates is not None:
                cost += sum_nusd(it.price, rates, Tokens(**dict(zip(_COUNTS, counts, strict=True))), requests)
        return Sum(
            model=self._asked_for(it.name) or "unknown",
            answered_model=it.name,
            answers=answers,
            tokens=Tokens(**dict(zip(_COUNTS, total, strict=True))),
            cost_nusd=cost,
            price_source="" if it.price is None else it.price.source,
            unmetered=it.unmetered,
        )
