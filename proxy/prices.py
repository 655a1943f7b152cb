"""The price book by the names of our providers: the operator's own rows, then what is free, then the price lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from msgspec.structs import replace

from ledger.prices.book import Book, Listed, Source
from ledger.prices.days import day_us
from ledger.records import ContextTier, Price, Rates, ServiceTier
from providers.openai.vendors import VENDORS
from proxy.config import Config, ContextTierConfig, PriceConfig, RatesConfig

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
        (Listed(Declared(config)), Listed(Free()), Listed(litellm, LITELLM_WORDS), Listed(genai, GENAI_WORDS)),
        clock_us=clock_us,
    )


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
            # The shortest decimal of a float is what somebody wrote into the file.
            own[field] = int((Decimal(str(usd)) * NUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))
    return replace(base, **own)
