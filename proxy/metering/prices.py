"""The price book by the names of our providers: the operator's own rows, then what is free, then the price lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Protocol

from msgspec.structs import replace

from ledger.ports import PricingPort
from ledger.prices.book import MEMO_MAX, Book, Listed, Source
from ledger.prices.days import day_us
from ledger.prices.pieces import charge_nusd, plain_size
from ledger.records import NO_PIECES, Bounds, ContextTier, ImageRate, Price, Rates, ServiceTier, Subscription, Tokens
from providers.openai.vendors import VENDORS
from providers.provider import Traits
from proxy.call import Call, Deployment
from proxy.config import Config, ContextTierConfig, PriceConfig, RatesConfig
from proxy.metering.pieces import media_tokens

NUSD_PER_USD = 10**9

FREE = Price(source="own machine", input_nusd_per_mtok=0, output_nusd_per_mtok=0)
FREE_VARIANT = Price(source="openrouter: a :free variant", input_nusd_per_mtok=0, output_nusd_per_mtok=0)

# What genai-prices calls our vendors; those that it does not have, or has by their hosts only, are left out.
GENAI_WORDS = {
    "anthropic": "anthropic",
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistral",
    "moonshot": "moonshotai",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "xai": "x-ai",
    "zai": "zai",
}
LITELLM_WORDS = {vendor.name: vendor.prices for vendor in VENDORS.values() if vendor.prices}


def book(config: Config, *, litellm: Source, genai: Source, clock_us: Callable[[], int]) -> Book:
    """The book of a configuration.

    A provider that is no known vendor has only the prices that the configuration gives it: the others are unknown, not
    nothing.  About 0.3 µs for a price that was asked for before.
    """
    return Book(
        (Listed(Declared(config)), Listed(Free()), Listed(litellm, litellm_words(config)), Listed(genai, GENAI_WORDS)),
        clock_us=clock_us,
    )


def litellm_words(config: Config) -> dict[str, str]:
    """What litellm's list calls our vendors, and who is reached through litellm."""
    through = {name: it.litellm_provider or name for name, it in config.providers.items() if it.type == "litellm"}
    return {**LITELLM_WORDS, **through}


def subscriptions(config: Config) -> tuple[Subscription, ...]:
    """The flat fees of a configuration."""
    return tuple(
        Subscription(
            name=declared.name,
            provider=declared.provider,
            month_nusd=_nusd(declared.usd_per_month or 0),
            models=declared.models,
            from_us=day_us(declared.effective_from),
            to_us=day_us(declared.effective_to),
        )
        for declared in config.ledger.subscriptions
    )


class BoundsSource(Protocol):
    """A list that knows how large requests may be."""

    def bounds(self, provider: str, model: str, /) -> Bounds:
        """The most tokens that a model takes and gives, in the list's word for the provider."""
        ...


def bounds(litellm: BoundsSource, words: Mapping[str, str] = LITELLM_WORDS) -> Callable[[str, str], Bounds]:
    """What the most is that a model of our providers takes and gives.  About 0.2 µs for one that was asked for before.

    words: what the list calls them.
    """

    def find(provider: str, model: str) -> Bounds:
        word = words.get(provider)
        return litellm.bounds(word, model) if word else Bounds()

    return lru_cache(maxsize=MEMO_MAX)(find)


def told(bounds: Callable[[str, str], Bounds], traits: Callable[[str, str], Traits | None]) -> Callable[[str, str], Bounds]:
    """The same with what a server says itself of the models that it runs.  About 0.3 µs more."""

    def find(provider: str, model: str) -> Bounds:
        said = traits(provider, model)
        if said is None:
            return bounds(provider, model)
        thinks = said.can is None or "thinking" in said.can
        return Bounds(input_tokens=said.context_tokens, reasoning=thinks)

    return find


def windows(bounds: Callable[[str, str], Bounds]) -> Callable[[Deployment], int | None]:
    """How many tokens a deployment takes in, as far as the price list knows."""
    return lambda deployment: bounds(deployment.upstream.provider, deployment.model).input_tokens


OUTPUT_TOKENS = 1000
"""What an answer is taken to have that may have any number of tokens."""
BYTES_PER_TOKEN = 4


def estimates(prices: PricingPort) -> Callable[[Call, Deployment], int | None]:
    """About what a request costs at a deployment, in nano-USD, if it is answered as long as it may be."""

    def estimate(call: Call, deployment: Deployment) -> int | None:
        price = prices.price(deployment.upstream.provider, deployment.model)
        if price is None:
            return None
        output = (OUTPUT_TOKENS if call.head.output_max is None else call.head.output_max) * call.head.choices
        pieces = call.head.weight.pieces
        if pieces is not NO_PIECES:
            output = media_tokens(call, None)
        tokens = Tokens(input_uncached=len(call.body) // BYTES_PER_TOKEN, output_text=output)
        return charge_nusd(price, tokens, pieces, counted=pieces is NO_PIECES)[0]

    return estimate


class Free:
    """A source: what nobody charges for, on the user's own machine or as OpenRouter's variants with ``:free``.

    Source: openrouter.ai/docs/guides/routing/model-variants/free, read 2026-11.
    """

    name = "free"
    dated = True
    as_of_us = None

    def rows(self, provider: str, model: str, /) -> Sequence[Price]:
        """One free row for every model of such a provider, and for every such variant."""
        vendor = VENDORS.get(provider)
        if vendor is None:
            return ()
        if vendor.free:
            return (FREE,)
        return (FREE_VARIANT,) if provider == "openrouter" and model.endswith(":free") else ()

    def names(self, provider: str, /) -> Sequence[str]:
        """None: it has no list of them."""
        del provider
        return ()


class Declared:
    """A source: the rows of ``ledger.prices``, by ``provider/model``."""

    name = "configuration"
    dated = True
    as_of_us = None

    def __init__(self, config: Config) -> None:
        self._rows: dict[str, list[Price]] = {}
        for declared in config.ledger.prices:
            self._rows.setdefault(declared.model, []).append(declared_price(declared))

    def rows(self, provider: str, model: str, /) -> Sequence[Price]:
        """The operator's rows for a model; their dates do not overlap."""
        return self._rows.get(f"{provider}/{model}", ())

    def names(self, provider: str, /) -> Sequence[str]:
        """The models that the operator has priced."""
        return [name.removeprefix(f"{provider}/") for name in self._rows if name.startswith(f"{provider}/")]


def declared_price(declared: PriceConfig, /) -> Price:
    """A row of the operator's as a price row; what is not filled in of input and output is 0."""
    base = _rates(declared, Rates(input_nusd_per_mtok=0, output_nusd_per_mtok=0))
    since = f" from {declared.effective_from}" if declared.effective_from else ""
    return Price(
        source=f"configuration: {declared.model}{since}",
        **{field: getattr(base, field) for field in Rates.__struct_fields__},
        context_tiers=_context_tiers(declared.context_tiers, base),
        service_tiers=tuple(
            ServiceTier(
                name=tier.name,
                rates=(rates := _rates(tier, base)),
                # A service without cliffs of its own has those of the standard price.
                context_tiers=_context_tiers(tier.context_tiers, rates) or _context_tiers(declared.context_tiers, rates),
            )
            for tier in declared.service_tiers
        ),
        effective_from_us=day_us(declared.effective_from),
        effective_to_us=day_us(declared.effective_to),
        images=tuple(
            ImageRate(size=plain_size(it.size), quality=it.quality, image_nusd=_nusd(it.image_usd or 0))
            for it in declared.images
        ),
    )


def _context_tiers(declared: Sequence[ContextTierConfig], base: Rates) -> tuple[ContextTier, ...]:
    tiers = []
    for tier in sorted(declared, key=lambda it: it.above_tokens):
        base = _rates(tier, base)
        tiers.append(ContextTier(above_tokens=tier.above_tokens, rates=base))
    return tuple(tiers)


def _rates(declared: RatesConfig, base: Rates) -> Rates:
    """``base`` with what is declared over it, dollars as integer nano-dollars."""
    own = {}
    for field in Rates.__struct_fields__:
        usd = getattr(declared, field.replace("_nusd", "_usd"))
        if usd is not None:
            own[field] = _nusd(usd)
    return replace(base, **own)


def _nusd(usd: float) -> int:
    # The shortest decimal of a float is what somebody wrote into the file.
    return int((Decimal(str(usd)) * NUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))
