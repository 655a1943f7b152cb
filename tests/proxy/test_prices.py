"""What an offer costs, by the names of our providers."""

from __future__ import annotations

import pytest

from ledger.records import Price
from providers.openai.vendors import VENDORS
from proxy.prices import OfferPrices

PRICE = Price(source="a list", input_nusd_per_mtok=1, output_nusd_per_mtok=2)


class List:
    """Has a price for everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def price(self, provider: str, model: str, /) -> Price | None:
        self.asked.append((provider, model))
        return PRICE


@pytest.mark.parametrize(("provider", "listed"), [("openai", "openai"), ("together", "together_ai"), ("nvidia", "nvidia_nim")])
def test_a_vendor_is_looked_up_by_the_lists_own_name(provider: str, listed: str) -> None:
    prices = List()

    assert OfferPrices(prices).price(provider, "gpt") == PRICE
    assert prices.asked == [(listed, "gpt")]


@pytest.mark.parametrize("provider", [vendor.name for vendor in VENDORS.values() if vendor.free])
def test_a_model_on_the_users_own_machine_costs_nothing(provider: str) -> None:
    price = OfferPrices(List()).price(provider, "anything")

    assert price is not None
    assert (price.input_nusd_per_mtok, price.output_nusd_per_mtok, price.request_nusd) == (0, 0, 0)


@pytest.mark.parametrize("provider", ["my-vllm", "vllm", ""])
def test_a_provider_that_no_list_knows_has_no_price(provider: str) -> None:
    prices = List()

    assert OfferPrices(prices).price(provider, "gpt") is None
    assert prices.asked == []
