"""The cost of one attempt, in integers."""

from __future__ import annotations

from ledger.records import Price, Rates, Tokens

MTOK = 1_000_000


def cost_nusd(price: Price, tokens: Tokens, *, service_tier: str = "") -> int:
    """What ``tokens`` cost at ``price``, in nano-USD, never negative.

    Summed in nano-USD per million tokens and rounded once, half to even, so that buckets lose nothing to each other.
    A bucket without a price of its own is charged at the next more general one; a negative count counts as none.
    """
    rates: Rates = price
    if price.context_tiers or price.service_tiers:
        rates = rates_for(price, tokens.input_tokens, service_tier)
    input_nusd = max(rates.input_nusd_per_mtok, 0)
    output_nusd = max(rates.output_nusd_per_mtok, 0)
    cost_nusd_mtok = 0
    # Most buckets of most requests are empty: each is looked at once, and priced only if there is something in it.
    if (count := tokens.input_uncached) > 0:
        cost_nusd_mtok += count * input_nusd
    if (count := tokens.output_text) > 0:
        cost_nusd_mtok += count * output_nusd
    if (count := tokens.cache_read) > 0:
        cost_nusd_mtok += count * _or(rates.cache_read_nusd_per_mtok, input_nusd)
    if (count := tokens.reasoning) > 0:
        cost_nusd_mtok += count * _or(rates.reasoning_nusd_per_mtok, output_nusd)
    if (count := tokens.cache_write) > 0:
        cost_nusd_mtok += count * _or(rates.cache_write_nusd_per_mtok, input_nusd)
    if (count := tokens.cache_write_1h) > 0:
        write_nusd = _or(rates.cache_write_nusd_per_mtok, input_nusd)
        cost_nusd_mtok += count * _or(rates.cache_write_1h_nusd_per_mtok, write_nusd)
    if (count := tokens.cache_read_audio) > 0:
        read_nusd = _or(rates.cache_read_nusd_per_mtok, input_nusd)
        cost_nusd_mtok += count * _or(rates.cache_read_audio_nusd_per_mtok, read_nusd)
    if (count := tokens.input_audio) > 0:
        cost_nusd_mtok += count * _or(rates.input_audio_nusd_per_mtok, input_nusd)
    if (count := tokens.input_image) > 0:
        cost_nusd_mtok += count * _or(rates.input_image_nusd_per_mtok, input_nusd)
    if (count := tokens.output_audio) > 0:
        cost_nusd_mtok += count * _or(rates.output_audio_nusd_per_mtok, output_nusd)
    if (count := tokens.output_image) > 0:
        cost_nusd_mtok += count * _or(rates.output_image_nusd_per_mtok, output_nusd)
    pieces_nusd = max(rates.request_nusd, 0)
    if (count := tokens.web_searches) > 0:
        # A search costs the same by every tier, unless one says otherwise.
        pieces_nusd += count * _or(rates.search_nusd, _or(price.search_nusd, 0))
    return pieces_nusd + half_even(cost_nusd_mtok, MTOK)


def sum_nusd(price: Price, rates: Rates, tokens: Tokens, requests: int) -> int:
    """What so many requests cost together that are all charged by ``rates``, a tier of ``price``; rounded once, half to even.

    tokens: of all of them.
    """
    fields = {name: getattr(rates, name) for name in Rates.__struct_fields__}
    if fields["search_nusd"] is None:
        fields["search_nusd"] = price.search_nusd
    return cost_nusd(Price(source=price.source, **fields), tokens) + max(requests - 1, 0) * max(rates.request_nusd, 0)


def rates_for(price: Price, input_tokens: int, service_tier: str = "") -> Rates:
    """The rates of the tiers that a request reached: the service it was given, and the cliff that its input exceeds."""
    rates: Rates = price
    tiers = price.context_tiers
    if service_tier:
        for service in price.service_tiers:
            if service.name == service_tier:
                rates, tiers = service.rates, service.context_tiers
                break
    for tier in tiers:
        if input_tokens <= tier.above_tokens:
            break
        rates = tier.rates
    return rates


def half_even(dividend: int, divisor: int) -> int:
    """``dividend / divisor`` to the nearest integer, ties to the even one.  ``divisor`` > 0."""
    quotient, rest = divmod(dividend, divisor)
    if rest * 2 > divisor or (rest * 2 == divisor and quotient % 2):
        return quotient + 1
    return quotient


def _or(own: int | None, general: int) -> int:
    return general if own is None else max(own, 0)
