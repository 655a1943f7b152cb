"""What a batch is charged by: the price list's row of the service, and what Anthropic says of all of its own."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from ledger.records import ContextTier, Price, Rates, ServiceTier
from providers.provider import Vendor

TIER: Final = "batch"
"""What price lists call the service."""

_BY_THE_TOKEN: Final = tuple(name for name in Rates.__struct_fields__ if name.endswith("_per_mtok"))


def offered(price: Price, vendor: Vendor) -> Price:
    """The row with the batch service that its vendor offers.  Anthropic charges half of everything by the token, with caches
    and long contexts; lists say that of some of it.  Of any other vendor's what the list does not say is charged as standard.

    Source: platform.claude.com/docs/en/about-claude/pricing, "Batch processing", read 2026-11.
    """
    if vendor.name != "anthropic":
        return price
    service = next((it for it in price.service_tiers if it.name == TIER), None)
    long = {it.above_tokens: it.rates for it in price.context_tiers}
    listed = {it.above_tokens: it.rates for it in service.context_tiers} if service is not None else {}
    half = ServiceTier(
        name=TIER,
        rates=_halved(price, service.rates if service is not None else None),
        context_tiers=tuple(
            ContextTier(above_tokens=above, rates=_halved(long[above], listed.get(above)) if above in long else listed[above])
            for above in sorted(long.keys() | listed.keys())
        ),
    )
    return replace(price, service_tiers=(*(it for it in price.service_tiers if it.name != TIER), half))


def _halved(standard: Rates, listed: Rates | None) -> Rates:
    """Half of each rate by the token, rounded up; what the list has lower than standard counts as it says."""
    rates = {name: getattr(standard, name) for name in Rates.__struct_fields__}
    for name in _BY_THE_TOKEN:
        usual, said = rates[name], getattr(listed, name) if listed is not None else None
        if said is not None and (usual is None or said < usual):
            rates[name] = said
        elif usual is not None:
            rates[name] = -(-usual // 2)
    return Rates(**rates)
