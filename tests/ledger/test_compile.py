"""The compiled list is what the installed genai-prices says."""

from datetime import UTC, date, datetime
from datetime import time as day_time
from decimal import Decimal

import pytest

pytest.importorskip("genai_prices", reason="genai-prices is what the list is compiled from; serving does without it")

from genai_prices import types
from genai_prices.data import providers

from ledger.adapters.genai_prices import FILE, matches
from ledger.data.compile import listing, text
from ledger.prices.book import holds
from ledger.prices.cost import cost_nusd
from ledger.prices.listed import ListedRow, price
from ledger.records import Tokens

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000


def rows(*prices: types.ConditionalPrice, variants: list[types.PriceVariant] | None = None) -> tuple[ListedRow, ...]:
    model = types.ModelInfo(id="m", match=types.ClauseEquals(equals="m"), prices=list(prices), price_variants=variants)
    made = listing([types.Provider(id="p", name="P", api_pattern="", models=[model])], release="1", compiled_us=0)
    return made.providers["p"].models[0].rows


def model_price(usd: str) -> types.ModelPrice:
    return types.ModelPrice(input_mtok=Decimal(usd), output_mtok=Decimal(usd))


def test_each_change_begins_a_row_and_hours_of_the_day_come_last() -> None:
    found = rows(
        types.ConditionalPrice(prices=model_price("1")),
        types.ConditionalPrice(types.StartDateConstraint(start_date=date(1970, 1, 2)), prices=model_price("2")),
        types.ConditionalPrice(
            types.TimeOfDateConstraint(start_time=day_time(1, tzinfo=UTC), end_time=day_time(2, 30, tzinfo=UTC)),
            prices=model_price("0.0000003"),
        ),
    )

    day_us = 86_400_000_000
    assert [(it.amounts["input"], it.from_us, it.to_us, it.daily) for it in found] == [
        (10**9, None, day_us, None),
        (2 * 10**9, day_us, None, None),
        (300, day_us, None, (3600, 9000)),
    ]


def test_a_variant_is_a_service_in_the_stretch_in_which_it_begins() -> None:
    batch = types.PriceVariant(
        when={"processing": "batch"},
        prices=model_price("0.5"),
        constraint=types.StartDateConstraint(start_date=date(1970, 1, 5)),
    )
    found = rows(
        types.ConditionalPrice(prices=model_price("1")),
        types.ConditionalPrice(types.StartDateConstraint(start_date=date(1970, 1, 2)), prices=model_price("2")),
        variants=[batch],
    )

    assert [sorted(it.services) for it in found] == [[], ["batch"]]


def test_the_whole_list_prices_as_genai_prices_itself_does() -> None:
    usage = types.Usage(input_tokens=250_000, cache_read_tokens=30_000, output_tokens=7_000)
    tokens = Tokens(input_uncached=220_000, cache_read=30_000, output_text=7_000)
    made = listing(providers, release="1", compiled_us=0)
    wrong = []
    for provider in providers:
        rows_of = {model.id: model.rows for model in made.providers[provider.id].models}
        for model in provider.models:
            standing = model.get_prices(NOW)
            if standing.input_mtok is None or any(
                isinstance(it.constraint, types.TimeOfDateConstraint) for it in conditional(model)
            ):
                continue
            said = standing.calc_price(usage)
            row = [it for it in (price(it, source="") for it in rows_of[model.id]) if holds(it, NOW_US)][-1]
            cost = cost_nusd(row, tokens) - row.request_nusd
            requests = standing.requests_kcount or Decimal(0)
            if cost != round((said["total_price"] - requests / 1000) * 10**9):
                wrong.append((provider.id, model.id, cost, said))

    assert wrong == []


def conditional(model: types.ModelInfo) -> list[types.ConditionalPrice]:
    return model.prices if isinstance(model.prices, list) else []


def test_every_model_that_has_a_price_is_found_by_its_own_name() -> None:
    made = listing(providers, release="1", compiled_us=0)

    lost = [
        (name, model.id)
        for name, provider in made.providers.items()
        for model in provider.models
        if matches(model.match, model.id.lower()) is not original(name, model.id)
    ]

    assert lost == []


def original(provider: str, model: str) -> bool:
    return next(it.is_match(model) for p in providers if p.id == provider for it in p.models if it.id == model)


def test_the_file_can_be_made_again_from_what_it_says() -> None:
    made = FILE.read_bytes()

    assert made.count(b"\n") > 2000
    assert text(listing([], release="1", compiled_us=0)).endswith(b"{\n\n}}\n")
