"""The most that a try may cost: what is reserved of a budget before it is sent.

Two figures for each try.  The *reserve* rests on what is usual: so many bytes a token, so many tokens of answer where the
client sets no bound.  The *most* rests on what is certain: a token is at least one byte, and an answer ends where its model
does.  Where the client bounds the answer and refers to nothing, only the bytes a token tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from msgspec.structs import replace

from ledger.budgets.accounts import Amounts, WorstCase
from ledger.ports import PricingPort
from ledger.prices.cost import MTOK
from ledger.prices.pieces import pieces_nusd
from ledger.records import NO_PIECES, Bounds, Pieces, Price, Rates
from providers.openai.images import PARTIAL_TOKENS
from providers.registry import WIRES
from proxy.call import Call, Deployment, Weight
from proxy.metering.pieces import ANSWERLESS, drawn_tokens, heard_tokens, most_of, said_tokens, spoken_tokens

INPUT_MOST_TOKENS = 2_000_000
OUTPUT_MOST_TOKENS = 131_072
"""What a model takes and gives at most where no list says it: no model takes more than two million tokens, and the longest
answers end at 128 Ki.  Source: litellm's list, in litellm 1.109.1, read 2026-11-22."""
PICTURE_MOST_TOKENS = 16_384
"""Of a picture that is edited: one that is looked at closely has 6,144 tokens beside the 1,600 or so of every picture, and
newer models may take twice that.  Source: platform.openai.com/docs/guides/image-generation, input fidelity, read 2026-11."""


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


NO_SIZE = Size(0, 0, 0, 0)
"""Of a question that nobody charges for."""


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
            dearest = dearest_of(price, size.input_tokens, weight)
            reserve_nusd = dearest.cost_nusd(size.input_tokens, size.output_tokens)
            if price.context_tiers or weight.service_tier:
                dearest = dearest_of(price, size.input_most, weight)
            most_nusd = dearest.cost_nusd(size.input_most, size.output_most)
            if weight.pieces is not NO_PIECES:
                reserve_nusd = max(reserve_nusd, _by_the_piece(price, weight.pieces))
                most = most_of(weight.pieces, size.input_most)
                if weight.audio_most_ms:
                    most = replace(most, audio_ms=weight.audio_most_ms)
                most_nusd = max(most_nusd, _by_the_piece(price, most))
        return WorstCase(
            (reserve_nusd, size.input_tokens + size.output_tokens, requests),
            (most_nusd, size.input_most + size.output_most, requests),
        )

    def reserve_nusd(self, call: Call, deployment: Deployment, price: Price) -> int:
        """What a try is reserved at, where no budget asks for more than that."""
        size = self.size(call, deployment)
        weight = call.head.weight
        reserve_nusd = dearest_of(price, size.input_tokens, weight).cost_nusd(size.input_tokens, size.output_tokens)
        return reserve_nusd if weight.pieces is NO_PIECES else max(reserve_nusd, _by_the_piece(price, weight.pieces))

    def reached(self, call: Call, deployment: Deployment, price: Price | None, output_tokens: int) -> Amounts:
        """What a stream that has come so far may have cost."""
        size = self.size(call, deployment)
        cost = 0
        if price is not None:
            weight = call.head.weight
            cost = dearest_of(price, size.input_tokens, weight).cost_nusd(size.input_tokens, output_tokens)
            if weight.pieces is not NO_PIECES:
                cost = max(cost, _by_the_piece(price, weight.pieces))
        return cost, size.input_tokens + output_tokens, 0

    def size(self, call: Call, deployment: Deployment) -> Size:
        """How large the request is taken to be, and how large it can be."""
        assumed = self._assumptions
        head = call.head
        weight = head.weight
        references = weight.references
        size_bytes = len(call.body) + weight.repeated_bytes
        input_tokens = -(-(size_bytes - weight.payload_bytes) // assumed.input_bytes_per_token)
        input_most = size_bytes
        bounds: Bounds | None = None
        kind = WIRES[call.endpoint].kind
        if kind == "image":
            return self._drawn(call, input_tokens)
        if kind == "transcript":
            return self._heard(call, deployment, input_tokens)
        if references:
            bounds = self._bounds(deployment.upstream.provider, deployment.model)
            input_tokens += references * assumed.reference_tokens
            input_most = max(input_tokens, bounds.input_tokens or INPUT_MOST_TOKENS)
        if kind == "count":
            return NO_SIZE
        if kind in ANSWERLESS:
            return Size(input_tokens, input_most, 0, 0)
        if kind == "speech":
            characters = weight.pieces.characters
            return Size(input_tokens, input_most, spoken_tokens(characters), spoken_tokens(characters, most=True))
        if kind == "session":
            return self._of_session(weight, self._bounds(deployment.upstream.provider, deployment.model))
        answers = head.choices if weight.answers == 1 else head.choices * weight.answers
        if head.output_max is not None:
            output_tokens = output_most = head.output_max
        else:
            bounds = bounds or self._bounds(deployment.upstream.provider, deployment.model)
            output_most = bounds.output_tokens or OUTPUT_MOST_TOKENS
            output_tokens = min(assumed.output_tokens, output_most)
        return Size(input_tokens, input_most, output_tokens * answers, output_most * answers)

    def _drawn(self, call: Call, input_tokens: int) -> Size:
        """The same of pictures that are made, perhaps of others, which are not in the body."""
        weight = call.head.weight
        early = weight.early_images * PARTIAL_TOKENS
        return Size(
            input_tokens + weight.references * self._assumptions.reference_tokens,
            len(call.body) + weight.references * PICTURE_MOST_TOKENS,
            drawn_tokens(weight.pieces) + early,
            drawn_tokens(weight.pieces, most=True) + early,
        )

    def _heard(self, call: Call, deployment: Deployment, input_tokens: int) -> Size:
        """The same of a sound, which is not in the body."""
        usual_ms, most_ms = call.head.weight.pieces.audio_ms, call.head.weight.audio_most_ms
        bounds = self._bounds(deployment.upstream.provider, deployment.model)
        output_most = bounds.output_tokens or OUTPUT_MOST_TOKENS
        return Size(
            input_tokens + heard_tokens(usual_ms),
            len(call.body) + heard_tokens(most_ms),
            min(said_tokens(usual_ms), output_most),
            min(said_tokens(most_ms, most=True), output_most),
        )

    def _of_session(self, weight: Weight, bounds: Bounds) -> Size:
        """One answer of a session.  What is said before it begins is not here yet, when it is reserved."""
        input_most = bounds.input_tokens or INPUT_MOST_TOKENS
        output_most = bounds.output_tokens or OUTPUT_MOST_TOKENS
        return Size(
            min(weight.said_tokens + self._assumptions.reference_tokens, input_most),
            input_most,
            min(self._assumptions.output_tokens, output_most),
            output_most,
        )


class Dearest(msgspec.Struct, frozen=True, gc=False):
    """The dearest that a token in and one out may be charged at, and what is charged beside the tokens."""

    input_nusd_per_mtok: int
    output_nusd_per_mtok: int
    pieces_nusd: int

    def cost_nusd(self, input_tokens: int, output_tokens: int) -> int:
        """The most that so many tokens cost, of whatever kind they are; rounded up."""
        cost_nusd_mtok = input_tokens * self.input_nusd_per_mtok + output_tokens * self.output_nusd_per_mtok
        return self.pieces_nusd - (-cost_nusd_mtok // MTOK)


def _by_the_piece(price: Price, pieces: Pieces) -> int:
    return price.request_nusd + (pieces_nusd(price, pieces) or 0)


def dearest_of(price: Price, input_tokens: int, weight: Weight) -> Dearest:
    """The dearest of all tiers that a request of that size may be charged by."""
    if not price.context_tiers and not (weight.service_tier and price.service_tiers):
        return Dearest(*_dearest(price, weight), max(_pieces(price, price, weight), 0))
    input_nusd = output_nusd = pieces_nusd = 0
    for rates in _reachable(price, input_tokens, weight.service_tier):
        dearest_in, dearest_out = _dearest(rates, weight)
        input_nusd = max(input_nusd, dearest_in)
        output_nusd = max(output_nusd, dearest_out)
        pieces_nusd = max(pieces_nusd, _pieces(rates, price, weight))
    return Dearest(input_nusd, output_nusd, pieces_nusd)


def _pieces(rates: Rates, price: Price, weight: Weight) -> int:
    """What is charged beside the tokens.  Only what a request refers to, a tool of the provider's, searches: once each."""
    if not weight.references:
        return rates.request_nusd
    return rates.request_nusd + weight.references * (rates.search_nusd or price.search_nusd or 0)


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
    dearest_in, dearest_out = rates.input_nusd_per_mtok, rates.output_nusd_per_mtok
    if (read := rates.cache_read_nusd_per_mtok) is not None and read > dearest_in:
        dearest_in = read
    if (write := rates.cache_write_nusd_per_mtok) is not None and write > dearest_in:
        dearest_in = write
    if (write := rates.cache_write_1h_nusd_per_mtok) is not None and write > dearest_in:
        dearest_in = write
    if (thought := rates.reasoning_nusd_per_mtok) is not None and thought > dearest_out:
        dearest_out = thought
    if weight.pieces.characters:
        dearest_out = max(dearest_out, rates.output_audio_nusd_per_mtok or 0)
    # A model that draws does so without being asked for it by a field.
    if (drawn := rates.output_image_nusd_per_mtok) is not None and drawn > dearest_out:
        dearest_out = drawn
    if weight.references:
        dearest_in = max(dearest_in, rates.input_image_nusd_per_mtok or 0, rates.input_audio_nusd_per_mtok or 0)
    if weight.audio:
        dearest_in = max(dearest_in, rates.input_audio_nusd_per_mtok or 0, rates.cache_read_audio_nusd_per_mtok or 0)
        dearest_out = max(dearest_out, rates.output_audio_nusd_per_mtok or 0)
    return dearest_in, dearest_out
