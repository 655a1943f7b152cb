"""The most that a try may cost: what is reserved of a budget before it is sent.

Two figures for each try.  The *reserve* rests on what is usual: so many bytes a token, so many tokens of answer where the
client sets no bound.  The *most* rests on what is certain: a token is at least one byte, and an answer ends where its model
does.  Where the client bounds the answer and refers to nothing, only the bytes a token tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from ledger.budgets.accounts import Amounts, WorstCase
from ledger.ports import PricingPort
from ledger.prices.cost import MTOK
from ledger.records import Bounds, Price, Rates
from proxy.call import Call, Deployment, Weight

INPUT_MOST_TOKENS = 2_000_000
OUTPUT_MOST_TOKENS = 131_072
"""What a model takes and gives at most where no list says it: no model takes more than two million tokens, and the longest
answers end at 128 Ki.  Source: litellm's list, in litellm 1.109.1, read 2026-11-22."""


class Assumptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is usual.  reference_tokens: of a picture, a file, a sound, or whatever else is not text in the body."""

    input_bytes_per_token: int = 2
    output_tokens: int = 4096
    reference_tokens: int = 2000


class Size(msgspec.Struct, frozen=True, gc=False):
    """Tokens of a request, in and out: what is reserved for, and the most."""

    input_tokens: int
    input_most: int
    output_tokens: int
    output_most: int


class WorstCases:
    """What a try at a deployment may cost.  About 4 µs.

    bounds: the most that a provider's model takes and gives.
    """

    def __init__(self, prices: PricingPort, *, bounds: Callable[[str, str], Bounds], assumptions: Assumptions) -> None:
        self._prices = prices
        self._bounds = bounds
        self._assumptions = assumptions

    def price(self, call: Call, deployment: Deployment) -> Price | None:
        """The row that holds when the call comes; ``None``: its price is unknown."""
        return self._prices.price(deployment.upstream.provider, deployment.model, call.received_us)

    def of(self, call: Call, deployment: Deployment, price: Price | None, *, requests: int = 1) -> WorstCase:
        """The worst case of a try; without a price it costs nothing, which only budgets of tokens and requests may take.

        requests: 1 for a request's first try, 0 for the others.
        """
        size = self.size(call, deployment)
        reserve_nusd = most_nusd = 0
        if price is not None:
            weight = call.head.weight
            reserve_nusd = cost_most_nusd(price, size.input_tokens, size.output_tokens, weight)
            most_nusd = reserve_nusd
            if size.input_most > size.input_tokens or size.output_most > size.output_tokens:
                most_nusd = cost_most_nusd(price, size.input_most, size.output_most, weight)
        return WorstCase(
            (reserve_nusd, size.input_tokens + size.output_tokens, requests),
            (most_nusd, size.input_most + size.output_most, requests),
        )

    def reached(self, call: Call, deployment: Deployment, price: Price | None, output_tokens: int) -> Amounts:
        """What a stream that has come so far may have cost."""
        size = self.size(call, deployment)
        cost = 0 if price is None else cost_most_nusd(price, size.input_tokens, output_tokens, call.head.weight)
        return cost, size.input_tokens + output_tokens, 0

    def size(self, call: Call, deployment: Deployment) -> Size:
        """How large the request is taken to be, and how large it can be."""
        assumed = self._assumptions
        head = call.head
        weight = head.weight
        references = weight.references
        size_bytes = len(call.body)
        input_tokens = -(-(size_bytes - weight.payload_bytes) // assumed.input_bytes_per_token)
        input_most = size_bytes
        bounds: Bounds | None = None
        if references:
            bounds = self._bounds(deployment.upstream.provider, deployment.model)
            input_tokens += references * assumed.reference_tokens
            input_most = max(input_tokens, bounds.input_tokens or INPUT_MOST_TOKENS)
        if call.endpoint == "embeddings":
            return Size(input_tokens, input_most, 0, 0)
        answers = head.choices if weight.answers == 1 else head.choices * weight.answers
        if head.output_max is not None:
            output_tokens = output_most = head.output_max
        else:
            bounds = bounds or self._bounds(deployment.upstream.provider, deployment.model)
            output_most = bounds.output_tokens or OUTPUT_MOST_TOKENS
            output_tokens = min(assumed.output_tokens, output_most)
        return Size(input_tokens, input_most, output_tokens * answers, output_most * answers)


def cost_most_nusd(price: Price, input_tokens: int, output_tokens: int, weight: Weight) -> int:
    """The most that so many tokens cost, of whatever kind they are, by whichever tier they may be charged; rounded up."""
    input_nusd = output_nusd = pieces_nusd = 0
    for rates in _reachable(price, input_tokens, weight.service_tier):
        dearest_in, dearest_out = _dearest(rates, weight)
        input_nusd = max(input_nusd, dearest_in)
        output_nusd = max(output_nusd, dearest_out)
        # Only what a request refers to, a tool of the provider's, searches; so often is assumed.
        searches_nusd = weight.references * (rates.search_nusd or price.search_nusd or 0)
        pieces_nusd = max(pieces_nusd, rates.request_nusd + searches_nusd)
    return max(pieces_nusd, 0) - (-(input_tokens * input_nusd + output_tokens * output_nusd) // MTOK)


def _reachable(price: Price, input_tokens: int, service_tier: str) -> Iterator[Rates]:
    """The rates of every tier that a request of that size may be charged by; of a service, only if it asks for one."""
    yield price
    cliffs = [price.context_tiers]
    if service_tier:
        for service in price.service_tiers:
            yield service.rates
            cliffs.append(service.context_tiers)
    for tiers in cliffs:
        for tier in tiers:
            if input_tokens > tier.above_tokens:
                yield tier.rates


def _dearest(rates: Rates, weight: Weight) -> tuple[int, int]:
    """The dearest price of a token in, and of one out."""
    dearest_in = max(
        rates.input_nusd_per_mtok,
        rates.cache_read_nusd_per_mtok or 0,
        rates.cache_write_nusd_per_mtok or 0,
        rates.cache_write_1h_nusd_per_mtok or 0,
    )
    # A model that draws does so without being asked for it by a field.
    dearest_out = max(rates.output_nusd_per_mtok, rates.reasoning_nusd_per_mtok or 0, rates.output_image_nusd_per_mtok or 0)
    if weight.references:
        dearest_in = max(dearest_in, rates.input_image_nusd_per_mtok or 0, rates.input_audio_nusd_per_mtok or 0)
    if weight.audio:
        dearest_in = max(dearest_in, rates.input_audio_nusd_per_mtok or 0, rates.cache_read_audio_nusd_per_mtok or 0)
        dearest_out = max(dearest_out, rates.output_audio_nusd_per_mtok or 0)
    return dearest_in, dearest_out
