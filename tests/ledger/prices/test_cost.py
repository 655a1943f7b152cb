from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ledger.prices.cost import cost_nusd, half_even, rates_for, sum_nusd
from ledger.records import Price, Rates, Tokens

COUNTS = st.integers(0, 2**31)
PRICES_NUSD = st.integers(0, 10**12)
OPTIONAL = st.none() | PRICES_NUSD

some_tokens = st.builds(Tokens, **dict.fromkeys(Tokens.__struct_fields__, COUNTS))
some_price = st.builds(
    Price,
    source=st.just(""),
    input_nusd_per_mtok=PRICES_NUSD,
    output_nusd_per_mtok=PRICES_NUSD,
    cache_read_nusd_per_mtok=OPTIONAL,
    cache_write_nusd_per_mtok=OPTIONAL,
    input_audio_nusd_per_mtok=OPTIONAL,
    reasoning_nusd_per_mtok=OPTIONAL,
    output_audio_nusd_per_mtok=OPTIONAL,
    request_nusd=PRICES_NUSD,
    cache_write_1h_nusd_per_mtok=OPTIONAL,
    cache_read_audio_nusd_per_mtok=OPTIONAL,
    input_image_nusd_per_mtok=OPTIONAL,
    output_image_nusd_per_mtok=OPTIONAL,
    search_nusd=OPTIONAL,
)


def price(**changes: int) -> Price:
    return Price(**{"source": "", "input_nusd_per_mtok": 3_000_000, "output_nusd_per_mtok": 15_000_000, **changes})


def exact(p: Price, t: Tokens) -> Fraction:
    def own(value: int | None, general: int) -> int:
        return general if value is None else value

    rates = (
        (t.input_uncached, p.input_nusd_per_mtok),
        (t.cache_read, own(p.cache_read_nusd_per_mtok, p.input_nusd_per_mtok)),
        (t.cache_write, own(p.cache_write_nusd_per_mtok, p.input_nusd_per_mtok)),
        (t.input_audio, own(p.input_audio_nusd_per_mtok, p.input_nusd_per_mtok)),
        (t.output_text, p.output_nusd_per_mtok),
        (t.reasoning, own(p.reasoning_nusd_per_mtok, p.output_nusd_per_mtok)),
        (t.output_audio, own(p.output_audio_nusd_per_mtok, p.output_nusd_per_mtok)),
        (t.cache_write_1h, own(p.cache_write_1h_nusd_per_mtok, own(p.cache_write_nusd_per_mtok, p.input_nusd_per_mtok))),
        (t.cache_read_audio, own(p.cache_read_audio_nusd_per_mtok, own(p.cache_read_nusd_per_mtok, p.input_nusd_per_mtok))),
        (t.input_image, own(p.input_image_nusd_per_mtok, p.input_nusd_per_mtok)),
        (t.output_image, own(p.output_image_nusd_per_mtok, p.output_nusd_per_mtok)),
    )
    pieces = p.request_nusd + t.web_searches * own(p.search_nusd, 0)
    return sum((Fraction(count * rate, 1_000_000) for count, rate in rates), Fraction(pieces))


def test_a_thousand_tokens_in_and_two_hundred_out_of_a_known_model_cost_what_the_vendor_says() -> None:
    gpt_4o = price(input_nusd_per_mtok=2_500_000_000, output_nusd_per_mtok=10_000_000_000)

    cost = cost_nusd(gpt_4o, Tokens(input_uncached=1000, output_text=200))

    assert cost == 4_500_000  # $2.50 and $10 per million: 0.0025 + 0.0020 USD


def test_each_bucket_has_its_own_price() -> None:
    priced = price(
        input_nusd_per_mtok=1_000_000,
        output_nusd_per_mtok=2_000_000,
        cache_read_nusd_per_mtok=3_000_000,
        cache_write_nusd_per_mtok=4_000_000,
        input_audio_nusd_per_mtok=5_000_000,
        reasoning_nusd_per_mtok=6_000_000,
        output_audio_nusd_per_mtok=7_000_000,
        request_nusd=1,
        cache_write_1h_nusd_per_mtok=8_000_000,
        cache_read_audio_nusd_per_mtok=9_000_000,
        input_image_nusd_per_mtok=1_000_000,
        output_image_nusd_per_mtok=2_000_000,
        search_nusd=3_000_000_000_000,
    )
    digits = Tokens(
        input_uncached=1,
        output_text=10,
        cache_read=100,
        cache_write=1000,
        input_audio=10_000,
        reasoning=100_000,
        output_audio=1_000_000,
        cache_write_1h=10_000_000,
        cache_read_audio=100_000_000,
        input_image=1_000_000_000,
        output_image=10_000_000_000,
        web_searches=1,
    )

    cost = cost_nusd(priced, digits)

    assert cost == 3_021_987_654_321 + 1


def test_a_bucket_without_a_price_costs_what_the_more_general_one_costs() -> None:
    plain = price(input_nusd_per_mtok=1_000_000, output_nusd_per_mtok=1_000_000_000)
    tokens = Tokens(input_uncached=1, cache_read=1, cache_write=1, input_audio=1, output_text=1, reasoning=1, output_audio=1)

    cost = cost_nusd(plain, tokens)

    assert cost == 4 * 1 + 3 * 1000


def test_a_bucket_with_price_zero_is_free_and_does_not_fall_back() -> None:
    free_reads = price(cache_read_nusd_per_mtok=0)

    cost = cost_nusd(free_reads, Tokens(cache_read=1_000_000))

    assert cost == 0


def test_the_sum_is_rounded_once_and_not_each_bucket() -> None:
    half_a_nusd_each = price(input_nusd_per_mtok=500_000, output_nusd_per_mtok=500_000)

    cost = cost_nusd(half_a_nusd_each, Tokens(input_uncached=1, output_text=1))

    assert cost == 1


def test_a_tie_is_rounded_to_the_even_neighbour() -> None:
    half = price(input_nusd_per_mtok=500_000)

    costs = [cost_nusd(half, Tokens(input_uncached=count)) for count in (1, 3, 5, 7)]

    assert costs == [0, 2, 2, 4]


def test_negative_counts_and_prices_cost_nothing() -> None:
    cost = cost_nusd(price(input_nusd_per_mtok=-5, request_nusd=-1), Tokens(input_uncached=10**9, output_text=-5))

    assert cost == 0


@given(some_price, some_tokens)
def test_the_cost_is_the_exact_fraction_rounded_half_to_even(p: Price, t: Tokens) -> None:
    cost = cost_nusd(p, t)

    assert type(cost) is int
    assert cost == round(exact(p, t))


@given(some_price, some_tokens, st.sampled_from(Tokens.__struct_fields__), st.integers(1, 2**31))
def test_one_more_token_never_costs_less(p: Price, t: Tokens, bucket: str, more: int) -> None:
    grown = Tokens(**{name: getattr(t, name) + (more if name == bucket else 0) for name in Tokens.__struct_fields__})

    assert cost_nusd(p, grown) >= cost_nusd(p, t) >= 0


@given(some_price, some_tokens, some_tokens)
def test_splitting_a_request_in_two_changes_the_cost_by_one_rounding_at_most(p: Price, a: Tokens, b: Tokens) -> None:
    whole = Tokens(**{name: getattr(a, name) + getattr(b, name) for name in Tokens.__struct_fields__})

    apart = cost_nusd(p, a) + cost_nusd(p, b) - p.request_nusd

    assert abs(apart - cost_nusd(p, whole)) <= 1


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**12))
def test_half_even_agrees_with_exact_arithmetic(dividend: int, divisor: int) -> None:
    assert half_even(dividend, divisor) == round(Fraction(dividend, divisor))


@given(some_price, st.lists(some_tokens, min_size=1, max_size=5), st.sampled_from(["", "batch"]))
def test_many_requests_of_one_tier_cost_what_they_cost_but_for_the_rounding(
    p: Price, requests: list[Tokens], service_tier: str
) -> None:
    rates = rates_for(p, 0, service_tier)
    whole = Tokens(**{name: sum(getattr(it, name) for it in requests) for name in Tokens.__struct_fields__})
    fields = {name: getattr(rates, name) for name in Rates.__struct_fields__}
    alone = Price(source="", **{**fields, "search_nusd": p.search_nusd if rates.search_nusd is None else rates.search_nusd})

    together = sum_nusd(p, rates, whole, len(requests))

    assert abs(together - sum(cost_nusd(alone, it) for it in requests)) <= len(requests)
