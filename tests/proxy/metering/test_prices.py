"""The price book as a configuration makes it."""

from collections.abc import Sequence
from typing import Any

import pytest

from ledger.adapters import litellm_prices
from ledger.prices.book import Book
from ledger.prices.cost import cost_nusd
from ledger.prices.days import day_us
from ledger.records import NO_PIECES, Bounds, ImageRate, Pieces, Price, Subscription, Tokens
from providers.provider import Traits
from proxy.call import Head, Weight
from proxy.config import Config
from proxy.metering.prices import book, bounds, estimates, litellm_words, subscriptions, told
from tests.proxy.samples import call, deployment

LISTED = Price(source="list", input_nusd_per_mtok=7, output_nusd_per_mtok=7)


class OneList:
    """A list that has every model, in its own words for providers, and remembers which it was asked for."""

    name = "list"
    dated = True
    as_of_us = None

    def __init__(self, *words: str) -> None:
        self._words = words

    def rows(self, provider: str, model: str, /) -> Sequence[Price]:
        return (LISTED,) if provider in self._words and model else ()

    def names(self, provider: str, /) -> Sequence[str]:
        return ("m",) if provider in self._words else ()


def made(*prices: dict[str, Any], words: tuple[str, ...] = ("openai", "together_ai", "x-ai")) -> Book:
    config = Config(ledger={"prices": prices})
    return book(config, litellm=OneList(*words), genai=OneList(*words), clock_us=lambda: 0)


def test_the_operators_own_price_counts_before_every_list() -> None:
    of = made({"model": "openai/gpt-5", "input_usd_per_mtok": 0.1, "output_usd_per_mtok": 3})

    found = of.price("openai", "gpt-5")

    assert found == Price(
        source="configuration: openai/gpt-5", input_nusd_per_mtok=100_000_000, output_nusd_per_mtok=3_000_000_000
    )


def test_other_models_keep_the_price_of_the_lists() -> None:
    of = made({"model": "openai/gpt-5", "input_usd_per_mtok": 1, "output_usd_per_mtok": 3})

    assert of.price("openai", "gpt-5-mini") == LISTED


@pytest.mark.parametrize(("provider", "expected"), [("together", LISTED), ("xai", LISTED), ("groq", None), ("my-vllm", None)])
def test_each_list_is_asked_in_its_own_words(provider: str, expected: Price | None) -> None:
    assert made().price(provider, "m") == expected


@pytest.mark.parametrize(
    ("provider", "model", "source"),
    [("ollama", "llama3", "own machine"), ("local", "smollm2", "own machine"),
     ("openrouter", "google/gemma:free", "openrouter: a :free variant")],
)  # fmt: skip
def test_what_nobody_charges_for_is_free(provider: str, model: str, source: str) -> None:
    found = made().price(provider, model)

    assert found is not None
    assert (found.source, cost_nusd(found, Tokens(input_uncached=10**9))) == (source, 0)


def test_a_paid_variant_is_not_free() -> None:
    assert made(words=()).price("openrouter", "google/gemma") is None


def test_ones_own_server_may_have_a_price() -> None:
    of = made({"model": "ollama/llama3", "input_usd_per_mtok": 0.5, "output_usd_per_mtok": 0.5})

    found = of.price("ollama", "llama3")

    assert found is not None
    assert cost_nusd(found, Tokens(input_uncached=1_000_000)) == 500_000_000


def test_a_row_holds_from_its_day_on_and_the_lists_before() -> None:
    of = made(
        {"model": "openai/m", "input_usd_per_mtok": 1, "output_usd_per_mtok": 1, "effective_from": "2026-03-01",
         "effective_to": "2026-04-01"},
        {"model": "openai/m", "input_usd_per_mtok": 2, "output_usd_per_mtok": 2, "effective_from": "2026-04-01"},
    )  # fmt: skip
    march_us, april_us = day_us("2026-03-01"), day_us("2026-04-01")
    assert march_us is not None
    assert april_us is not None

    found = [of.price("openai", "m", at_us) for at_us in (march_us - 1, march_us, april_us - 1, april_us)]

    assert [row and row.input_nusd_per_mtok for row in found] == [7, 10**9, 10**9, 2 * 10**9]


def test_tiers_say_only_what_they_change() -> None:
    of = made(
        {
            "model": "openai/m",
            "input_usd_per_mtok": 1,
            "output_usd_per_mtok": 10,
            "cache_read_usd_per_mtok": 0.1,
            "context_tiers": [
                {"above_tokens": 272_000, "output_usd_per_mtok": 30},
                {"above_tokens": 200_000, "input_usd_per_mtok": 2},
            ],
            "service_tiers": [{"name": "batch", "input_usd_per_mtok": 0.5}],
        }
    )
    row = of.price("openai", "m")
    assert row is not None

    def cost_usd(input_tokens: int, service_tier: str = "") -> tuple[int, int]:
        million = Tokens(input_uncached=input_tokens, output_text=0), Tokens(input_uncached=input_tokens, output_text=1_000_000)
        into, both = (cost_nusd(row, tokens, service_tier=service_tier) for tokens in million)
        return into * 1000 // input_tokens, (both - into) // 10**9

    assert [cost_usd(count) for count in (200_000, 200_001, 272_001)] == [(10**6, 10), (2 * 10**6, 10), (2 * 10**6, 30)]
    assert cost_usd(1000, "batch") == (500_000, 10)
    assert [(tier.above_tokens, tier.rates.cache_read_nusd_per_mtok) for tier in row.context_tiers] == [
        (200_000, 100_000_000), (272_000, 100_000_000),
    ]  # fmt: skip


def test_a_flat_fee_is_a_subscription_in_integers() -> None:
    declared = {
        "name": "plan",
        "provider": "openai",
        "usd_per_month": 19.99,
        "models": ["gpt-5*"],
        "effective_from": "2026-01-01",
    }

    (plan,) = subscriptions(Config(ledger={"subscriptions": [declared]}))

    assert plan == Subscription(
        name="plan", provider="openai", month_nusd=19_990_000_000, models=("gpt-5*",), from_us=day_us("2026-01-01")
    )


def test_how_large_requests_may_be_is_asked_in_the_lists_words_and_remembered() -> None:
    asked = []

    class List:
        def bounds(self, provider: str, model: str, /) -> Bounds:
            asked.append((provider, model))
            return Bounds(output_tokens=7)

    of = bounds(List())

    assert [of("together", "m"), of("together", "m"), of("my-vllm", "m")] == [*[Bounds(output_tokens=7)] * 2, Bounds()]
    assert asked == [("together_ai", "m")]


def test_what_a_server_says_of_its_own_model_is_its_bounds() -> None:
    said = {("ollama", "m"): Traits(context_tokens=4_096, can=frozenset({"chat"})), ("ollama", "n"): Traits()}
    listed = bounds(litellm_prices.load())

    known = told(listed, lambda provider, model: said.get((provider, model)))

    assert known("ollama", "m") == Bounds(input_tokens=4_096, reasoning=False)
    assert known("ollama", "n") == Bounds()
    assert known("openai", "gpt-5") == listed("openai", "gpt-5")


def test_pictures_of_ones_own_cost_by_size_and_quality_and_need_no_price_for_tokens() -> None:
    own = made(
        {
            "model": "openai/painter",
            "image_usd": 0.04,
            "images": [{"size": "1024X1536", "quality": "hd", "image_usd": 0.08}, {"quality": "hd", "image_usd": 0.06}],
        }
    )

    row = own.price("openai", "painter")

    assert row is not None
    assert (row.input_nusd_per_mtok, row.output_nusd_per_mtok, row.image_nusd) == (0, 0, 40_000_000)
    assert row.images == (
        ImageRate(size="1024x1536", quality="hd", image_nusd=80_000_000),
        ImageRate(quality="hd", image_nusd=60_000_000),
    )


def test_what_a_request_may_cost_is_estimated_by_what_it_asks_for() -> None:
    cost_of = estimates(made({"model": "acme/gpt", "image_usd": 0.04, "characters_usd_per_mchar": 15}))

    drawn, spoken, said = (
        call(endpoint=endpoint, head=Head(model="acme/gpt", weight=Weight(pieces=pieces)))
        for endpoint, pieces in (
            ("images/generations", Pieces(images=3)),
            ("audio/speech", Pieces(characters=1_000)),
            ("chat/completions", NO_PIECES),
        )
    )

    assert [cost_of(it, deployment()) for it in (drawn, spoken, said)] == [120_000_000, 15_000_000, None]


def test_a_provider_that_is_reached_through_litellm_is_priced_by_litellms_name_for_it() -> None:
    through = {"type": "litellm", "litellm_provider": "watsonx", "models": ["ibm/granite-3-8b-instruct"]}
    config = Config(providers={"ibm": through, "watsonx": {**through, "litellm_provider": ""}})
    listed = litellm_prices.load()

    prices = book(config, litellm=listed, genai=listed, clock_us=lambda: 1)
    known = bounds(listed, litellm_words(config))

    for name in ("ibm", "watsonx"):
        price = prices.price(name, "ibm/granite-3-8b-instruct")
        assert price is not None
        assert price.input_nusd_per_mtok
        assert known(name, "ibm/granite-3-8b-instruct").input_tokens
