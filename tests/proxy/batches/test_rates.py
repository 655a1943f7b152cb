"""What a batch is charged by."""

from __future__ import annotations

from msgspec.structs import replace

from ledger.prices.cost import rates_for
from ledger.records import ContextTier, Price, Rates, ServiceTier
from providers.openai.vendors import VENDORS
from proxy.batches.rates import TIER, offered

ANTHROPIC = VENDORS["anthropic"]
STANDARD = Price(
    source="a list",
    input_nusd_per_mtok=3_000,
    output_nusd_per_mtok=15_001,
    cache_read_nusd_per_mtok=300,
    cache_write_1h_nusd_per_mtok=6_000,
    search_nusd=10_000_000,
    context_tiers=(ContextTier(above_tokens=200, rates=Rates(input_nusd_per_mtok=6_000, output_nusd_per_mtok=22_500)),),
)


def test_anthropics_batches_cost_half_by_the_token_also_of_what_is_cached_and_long() -> None:
    price = offered(STANDARD, ANTHROPIC)

    short, long = rates_for(price, 200, TIER), rates_for(price, 201, TIER)
    assert (short.input_nusd_per_mtok, short.output_nusd_per_mtok) == (1_500, 7_501)
    assert (short.cache_read_nusd_per_mtok, short.cache_write_1h_nusd_per_mtok) == (150, 3_000)
    assert (short.cache_write_nusd_per_mtok, short.search_nusd) == (None, 10_000_000)
    assert (long.input_nusd_per_mtok, long.output_nusd_per_mtok) == (3_000, 11_250)
    assert rates_for(price, 200) == price


def test_what_a_list_says_of_them_counts_and_what_it_leaves_at_the_standard_price_is_half() -> None:
    said = Rates(
        input_nusd_per_mtok=1_000,
        output_nusd_per_mtok=15_001,
        cache_read_nusd_per_mtok=100,
        cache_write_1h_nusd_per_mtok=6_000,
        cache_write_nusd_per_mtok=1_250,
    )
    flex = ServiceTier(name="flex", rates=said)
    listed = (flex, ServiceTier(name=TIER, rates=said, context_tiers=(ContextTier(above_tokens=500, rates=said),)))

    standard = replace(STANDARD, context_tiers=(), service_tiers=listed)

    price = offered(standard, ANTHROPIC)

    rates = rates_for(price, 1, TIER)
    assert (rates.input_nusd_per_mtok, rates.output_nusd_per_mtok) == (1_000, 7_501)
    assert (rates.cache_read_nusd_per_mtok, rates.cache_write_1h_nusd_per_mtok) == (100, 3_000)
    assert rates.cache_write_nusd_per_mtok == 1_250
    assert rates_for(price, 501, TIER) == said
    assert flex in price.service_tiers


def test_other_vendors_are_charged_as_the_list_says() -> None:
    assert offered(STANDARD, VENDORS["openai"]) is STANDARD
