"""What the models list says of a model besides its name: how much it takes and gives, of which kinds, and what it costs.

The names are OpenRouter's, which clients that choose among many models read.
Source: openrouter.ai/docs/overview/models, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec
from msgspec import UNSET, UnsetType

from ledger.records import Price
from proxy.deployments.models import ModelTable
from proxy.routing.field import BIT, Field, Offer

_INPUTS = (("vision", "image"), ("audio_in", "audio"), ("video", "video"), ("file", "file"))
_OUTPUTS = (("audio_out", "audio"), ("image_out", "image"))
_PERCEIVES = sum(BIT[name] for name, _ in (*_INPUTS, *_OUTPUTS))


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """What goes in and what comes out: ``text``, ``image``, ``audio``, ``video``, ``file``.  modality: both, in one text."""

    modality: str
    input_modalities: tuple[str, ...]
    output_modalities: tuple[str, ...]


class Pricing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """US dollars as decimals, exactly: of a token, of a request, of a web search.  Not there: charged as the more general one.

    Cliffs, services and times of the day are not in it.
    """

    prompt: str
    completion: str
    request: str = "0"
    web_search: str = "0"
    internal_reasoning: str = ""
    input_cache_read: str = ""
    input_cache_write: str = ""
    audio: str = ""
    audio_output: str = ""


class TopProvider(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of who answers."""

    context_length: int | None
    max_completion_tokens: int | None


class Stated(msgspec.Struct, frozen=True, kw_only=True):
    """What is known; ``UNSET``: nobody says."""

    context_length: int | UnsetType = UNSET
    output_most: int | UnsetType = UNSET
    architecture: Architecture | UnsetType = UNSET
    pricing: Pricing | UnsetType = UNSET

    @property
    def top_provider(self) -> TopProvider | UnsetType:
        """The limits once more, as OpenRouter's clients look for them."""
        window, most = self.context_length, self.output_most
        if window is UNSET and most is UNSET:
            return UNSET
        return TopProvider(
            context_length=None if window is UNSET else window, max_completion_tokens=None if most is UNSET else most
        )


UNKNOWN = Stated()
Known = Callable[[str], Stated]
"""What is known of a name."""


def nothing(name: str) -> Stated:
    """Of any name."""
    del name
    return UNKNOWN


def of(name: str, table: ModelTable, field: Field) -> Stated:
    """What is known of a name in the list; of a name of the operator's own, what all that it means first have in common.

    No I/O.  About 10 µs, and 20 for a name of the operator's own.
    """
    place = field.places.get(name)
    if place is not None:
        return stated((field.offers[place],))
    tiers = [tier for tier in table.resolve(name) if not tier.detour]
    places = [field.places.get(it.name) for it in tiers[0].deployments] if tiers else []
    found = [field.offers[it] for it in dict.fromkeys(places) if it is not None]
    return stated(found) if found and None not in places else UNKNOWN


def stated(offers: Sequence[Offer]) -> Stated:
    """What all of these have in common; at least one."""
    windows, most = [it.window_tokens for it in offers], [it.output_most for it in offers]
    prices = [it.price if it.charged else None for it in offers]
    first = prices[0]
    return Stated(
        context_length=_least(windows),
        output_most=_least(most),
        architecture=_architecture(offers),
        pricing=pricing(first) if first is not None and all(_costs_as(first, it) for it in prices) else UNSET,
    )


def pricing(price: Price) -> Pricing:
    """A row of prices in dollars."""
    return Pricing(
        prompt=_usd(price.input_nusd_per_mtok, 15),
        completion=_usd(price.output_nusd_per_mtok, 15),
        request=_usd(price.request_nusd, 9),
        web_search=_usd(price.search_nusd or 0, 9),
        internal_reasoning=_each(price.reasoning_nusd_per_mtok),
        input_cache_read=_each(price.cache_read_nusd_per_mtok),
        input_cache_write=_each(price.cache_write_nusd_per_mtok),
        audio=_each(price.input_audio_nusd_per_mtok),
        audio_output=_each(price.output_audio_nusd_per_mtok),
    )


def _costs_as(one: Price, other: Price | None) -> bool:
    return other is one or (other is not None and pricing(one) == pricing(other))


def _least(counts: Sequence[int | None]) -> int | UnsetType:
    known = [it for it in counts if it is not None]
    return min(known) if len(known) == len(counts) else UNSET


def _architecture(offers: Sequence[Offer]) -> Architecture | UnsetType:
    if any(not it.known & _PERCEIVES or not it.writes for it in offers):
        return UNSET
    can = offers[0].can
    for it in offers[1:]:
        can &= it.can
    takes = ("text", *(name for need, name in _INPUTS if can & BIT[need]))
    gives = ("text", *(name for need, name in _OUTPUTS if can & BIT[need]))
    return Architecture(modality=f"{'+'.join(takes)}->{'+'.join(gives)}", input_modalities=takes, output_modalities=gives)


def _each(nusd_per_mtok: int | None) -> str:
    return "" if nusd_per_mtok is None else _usd(nusd_per_mtok, 15)


def _usd(amount: int, places: int) -> str:
    """A whole number of 10^-places dollars as a decimal without an exponent: ``0.0000025``."""
    text = f"{Decimal(amount).scaleb(-places):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
