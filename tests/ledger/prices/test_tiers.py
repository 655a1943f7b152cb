"""Cliffs by the size of the input, and the ways to be served."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.prices.cost import cost_nusd, rates_for
from ledger.records import ContextTier, Price, Rates, ServiceTier, Tokens

AMOUNTS = st.integers(0, 10**12)
some_rates = st.builds(
    Rates,
    input_nusd_per_mtok=AMOUNTS,
    output_nusd_per_mtok=AMOUNTS,
    cache_read_nusd_per_mtok=st.none() | AMOUNTS,
    cache_write_nusd_per_mtok=st.none() | AMOUNTS,
)
cliffs = st.lists(st.integers(1, 10**6), min_size=1, max_size=4, unique=True).map(sorted)


def rates(usd: int) -> Rates:
    return Rates(input_nusd_per_mtok=usd * 10**9, output_nusd_per_mtok=usd * 10**9)


PRICE = Price(
    source="",
    input_nusd_per_mtok=10**9,
    output_nusd_per_mtok=10**9,
    context_tiers=(
        ContextTier(above_tokens=128_000, rates=rates(2)),
        ContextTier(above_tokens=200_000, rates=rates(3)),
        ContextTier(above_tokens=272_000, rates=rates(4)),
    ),
    service_tiers=(
        ServiceTier(name="batch", rates=rates(5), context_tiers=(ContextTier(above_tokens=200_000, rates=rates(6)),)),
        ServiceTier(name="flex", rates=rates(7)),
    ),
)


@pytest.mark.parametrize(
    ("input_tokens", "usd"),
    [(0, 1), (128_000, 1), (128_001, 2), (200_000, 2), (200_001, 3), (272_000, 3), (272_001, 4), (10**9, 4)],
)
def test_a_request_is_charged_whole_by_the_tier_that_its_input_reaches(input_tokens: int, usd: int) -> None:
    cost = cost_nusd(PRICE, Tokens(input_uncached=input_tokens, output_text=1000))

    assert cost == (input_tokens + 1000) * usd * 1000


@pytest.mark.parametrize(
    "bucket", ["cache_read", "cache_write", "cache_write_1h", "cache_read_audio", "input_audio", "input_image"]
)
def test_every_kind_of_input_counts_towards_the_cliff(bucket: str) -> None:
    below = cost_nusd(PRICE, Tokens(input_uncached=100_000, **{bucket: 28_000}))
    above = cost_nusd(PRICE, Tokens(input_uncached=100_000, **{bucket: 28_001}))

    assert (below, above) == (128_000 * 1000, 128_001 * 2000)


def test_output_does_not_count_towards_the_cliff() -> None:
    assert cost_nusd(PRICE, Tokens(input_uncached=1, output_text=10**6)) == (10**6 + 1) * 1000


@pytest.mark.parametrize(
    ("service_tier", "input_tokens", "usd"),
    [("batch", 1, 5), ("batch", 200_000, 5), ("batch", 200_001, 6), ("flex", 300_000, 7), ("priority", 1, 1), ("", 1, 1)],
)
def test_a_service_has_its_own_prices_and_cliffs(service_tier: str, input_tokens: int, usd: int) -> None:
    cost = cost_nusd(PRICE, Tokens(input_uncached=input_tokens), service_tier=service_tier)

    assert cost == input_tokens * usd * 1000


def test_a_search_costs_the_same_in_a_tier_that_does_not_say() -> None:
    searching = Price(
        source="", input_nusd_per_mtok=0, output_nusd_per_mtok=0, search_nusd=10_000_000,
        service_tiers=(ServiceTier(name="batch", rates=rates(0)),),
    )  # fmt: skip

    assert cost_nusd(searching, Tokens(web_searches=3), service_tier="batch") == 30_000_000


@given(some_rates, cliffs, st.data())
def test_the_rates_change_at_each_cliff_and_nowhere_else(base: Rates, above: list[int], data: st.DataObject) -> None:
    tiers = tuple(ContextTier(above_tokens=tokens, rates=data.draw(some_rates)) for tokens in above)
    price = Price(source="", context_tiers=tiers, **{f: getattr(base, f) for f in Rates.__struct_fields__})
    tokens = data.draw(st.sampled_from([0, *above, *(it + 1 for it in above), *(it - 1 for it in above)]))

    found = rates_for(price, tokens)

    reached = [tier.rates for tier in tiers if tokens > tier.above_tokens]
    assert found == (reached[-1] if reached else price)


@given(some_rates, st.integers(0, 2**31), st.integers(0, 2**31), st.integers(1, 2**31))
def test_a_tiers_cost_is_rounded_once_half_to_even(tier: Rates, uncached: int, cached: int, out: int) -> None:
    price = Price(
        source="", input_nusd_per_mtok=1, output_nusd_per_mtok=1, context_tiers=(ContextTier(above_tokens=0, rates=tier),)
    )
    tokens = Tokens(input_uncached=uncached + 1, cache_read=cached, output_text=out)

    cost = cost_nusd(price, tokens)

    read = tier.input_nusd_per_mtok if tier.cache_read_nusd_per_mtok is None else tier.cache_read_nusd_per_mtok
    whole = (uncached + 1) * tier.input_nusd_per_mtok + cached * read + out * tier.output_nusd_per_mtok
    assert cost == round(Fraction(whole, 10**6))
