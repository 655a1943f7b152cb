"""What a try used and what that costs: by what the provider counted, else by our own count, at the prices of its time."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from ledger.ports import PricingPort
from ledger.prices.cost import cost_nusd
from ledger.prices.pieces import charge_nusd
from ledger.records import NO_PIECES, Pieces, Price, Quality, Tokens
from providers.usage import Usage
from proxy.call import Attempt, Call, Origin
from proxy.metering.pieces import estimated, is_told, pieces_of

BYTES_PER_TOKEN = 4
"""What an unmetered input is taken to hold; a JSON body of English text has 3.5 to 4.5 bytes a token."""


class Cost(msgspec.Struct, frozen=True):
    """What a try comes to.  nusd: ``None``: nobody knows.  source: whose price it is; empty: nobody's."""

    tokens: Tokens
    nusd: int | None
    source: str
    quality: Quality


class Costs:
    """What tries cost, by a price book."""

    def __init__(self, prices: PricingPort) -> None:
        self._prices = prices

    def of(self, call: Call, attempt: Attempt) -> Cost:
        """What a try that has ended comes to."""
        tokens = _used(call, attempt.usage, attempt.output_estimate, attempt.input_estimate)
        origin = _origin(attempt)
        cost, source, told = self._cost(origin, tokens, pieces_of(call, attempt.usage))
        if attempt.usage is not None and attempt.usage.asides:
            tokens, cost = self._with_asides(origin, attempt.usage, tokens, cost)
        return Cost(tokens, cost, source, _quality(attempt, told=told and attempt.outcome == "ok"))

    def saved_nusd(self, call: Call, origin: Origin) -> int:
        """What the answer would have cost, had it been asked for now; 0 if nobody knows."""
        now = replace(origin, at_us=call.received_us)
        usage = origin.usage
        tokens = _used(call, usage, origin.output_estimate)
        cost = self._cost(now, tokens, pieces_of(call, usage))[0]
        if usage is not None and usage.asides:
            tokens, cost = self._with_asides(now, usage, tokens, cost)
        return cost or 0

    def _with_asides(self, origin: Origin, usage: Usage, tokens: Tokens, cost: int | None) -> tuple[Tokens, int | None]:
        """Tokens and cost together with those of what the provider did besides, each at the price of the model that did it;
        of the one that answered, if it has no row."""
        for aside in usage.asides:
            spent = _counted(aside.usage)
            tokens = total(tokens, spent)
            price = self._prices.price(origin.provider, aside.model, origin.at_us) if aside.model else None
            price = price or self._price(origin)
            if price is not None and cost is not None:
                cost += cost_nusd(price, spent, service_tier=usage.service_tier)
        return tokens, cost

    def _cost(self, origin: Origin, tokens: Tokens, pieces: Pieces) -> tuple[int | None, str, bool]:
        """What a try costs, who says so, and whether that is by pieces that are known: its price row, else what the provider
        says that it charged, else nobody."""
        usage = origin.usage
        price = self._price(origin)
        if price is not None:
            tier = "" if usage is None else usage.service_tier
            if pieces is NO_PIECES and (cost := cost_nusd(price, tokens, service_tier=tier)):
                return cost, price.source, False
            counted = usage is not None and usage.counted
            charged, by_piece = charge_nusd(price, tokens, pieces, counted=counted, service_tier=tier)
            told = by_piece and (is_told(usage) or (bool(pieces.characters) and price.characters_nusd_per_mchar is not None))
            return charged, "" if charged is None else price.source, told
        if usage is not None and usage.cost_nusd is not None:
            return usage.cost_nusd, f"reported by {origin.provider}", False
        return None, "", False

    def _price(self, origin: Origin) -> Price | None:
        """The row of the model that answered, as it was when the try began; of the one that was asked if the answer's
        name has none.
        """
        price = None
        if origin.answered_model and origin.answered_model != origin.model:
            price = self._prices.price(origin.provider, origin.answered_model, origin.at_us)
        return price or self._prices.price(origin.provider, origin.model, origin.at_us)


def _origin(attempt: Attempt) -> Origin:
    return Origin(
        provider=attempt.deployment.upstream.provider,
        model=attempt.deployment.model,
        answered_model=attempt.answered_model,
        at_us=attempt.started_us,
        usage=attempt.usage,
    )


def _used(call: Call, usage: Usage | None, output_estimate: int, input_estimate: int = 0) -> Tokens:
    """What the provider counted; else what we do."""
    if usage is None or not usage.counted:
        return estimated(call, input_estimate or guessed_input(call), output_estimate)
    return _counted(usage)


def _counted(usage: Usage) -> Tokens:
    return Tokens(
        input_uncached=usage.input_uncached,
        cache_read=usage.cache_read,
        cache_write=usage.cache_write,
        input_audio=usage.input_audio,
        output_text=usage.output_text,
        reasoning=usage.reasoning,
        output_audio=usage.output_audio,
        cache_write_1h=usage.cache_write_1h,
        cache_read_audio=usage.cache_read_audio,
        input_image=usage.input_image,
        output_image=usage.output_image,
        web_searches=usage.web_searches,
    )


def _quality(attempt: Attempt, *, told: bool) -> Quality:
    """Held, if it was sent and nothing at all came back: nobody but the provider knows whether it did anything.

    told: it is charged by pieces that are known.
    """
    if told or (attempt.usage is not None and (attempt.usage.counted or attempt.usage.cost_nusd is not None)):
        return "exact"
    return "held" if attempt.status is None else "estimated"


def total(a: Tokens, b: Tokens) -> Tokens:
    """Both together."""
    if a == _NONE:
        return b
    return Tokens(**{name: getattr(a, name) + getattr(b, name) for name in Tokens.__struct_fields__})


def guessed_input(call: Call) -> int:
    """About how many tokens a request has, by its size."""
    return max(len(call.body) // BYTES_PER_TOKEN + call.head.weight.said_tokens, 1)


_NONE = Tokens()
