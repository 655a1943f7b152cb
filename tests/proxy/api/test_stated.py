"""What the models list says of a model: exactly what is known, and what several have in common."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from ledger.records import Price
from proxy.api.stated import Architecture, Pricing, pricing, stated
from proxy.routing.field import BIT, Offer

EVERYTHING = sum(BIT.values())


def offer(**changes: Any) -> Offer:
    fields: dict[str, Any] = {
        "name": "acme/gpt",
        "provider": "acme",
        "model": "gpt",
        "endpoints": frozenset(),
        "subject": "acme/gpt",
        "host": "acme/gpt@acme",
        "effort": "",
        "family": "acme",
        "can": BIT["vision"] | BIT["tools"],
        "known": EVERYTHING,
        "window_tokens": 1_000,
        "output_most": 100,
        "stated_tokens": None,
        "price": Price(source="list", input_nusd_per_mtok=2_500_000_000, output_nusd_per_mtok=10_000_000_000),
        "charged": True,
    }
    return Offer(**{**fields, **changes})


def test_a_model_has_its_limits_kinds_and_price() -> None:
    found = stated((offer(),))

    assert (1_000, 100) == (found.context_length, found.output_most)
    assert found.architecture == Architecture(
        modality="text+image->text", input_modalities=("text", "image"), output_modalities=("text",)
    )
    assert found.pricing == Pricing(prompt="0.0000025", completion="0.00001")


def test_what_nobody_says_is_not_there() -> None:
    found = stated((offer(window_tokens=None, output_most=None, known=BIT["tools"], price=None, charged=False),))

    assert (UNSET, UNSET, UNSET, UNSET, UNSET) == (
        found.context_length,
        found.output_most,
        found.architecture,
        found.pricing,
        found.top_provider,
    )


def test_a_price_that_is_only_stated_somewhere_is_none_of_ours() -> None:
    assert stated((offer(charged=False),)).pricing is UNSET


def test_several_have_what_all_of_them_have() -> None:
    other = offer(window_tokens=500, output_most=None, can=BIT["vision"] | BIT["audio_in"])
    found = stated((offer(can=BIT["audio_in"]), other))

    assert (500, UNSET) == (found.context_length, found.output_most)
    assert isinstance(found.architecture, Architecture)
    assert ("text", "audio") == found.architecture.input_modalities
    assert Pricing(prompt="0.0000025", completion="0.00001") == found.pricing


def test_several_that_cost_differently_have_no_price() -> None:
    dear = Price(source="list", input_nusd_per_mtok=3_000_000_000, output_nusd_per_mtok=10_000_000_000)

    assert stated((offer(), offer(price=dear))).pricing is UNSET
    assert stated((offer(), offer(price=None))).pricing is UNSET


@pytest.mark.parametrize(
    ("field", "name", "text"),
    [
        ("cache_read_nusd_per_mtok", "input_cache_read", "0.00000125"),
        ("cache_write_nusd_per_mtok", "input_cache_write", "0.00000125"),
        ("reasoning_nusd_per_mtok", "internal_reasoning", "0.00000125"),
        ("input_audio_nusd_per_mtok", "audio", "0.00000125"),
        ("output_audio_nusd_per_mtok", "audio_output", "0.00000125"),
        ("request_nusd", "request", "1.25"),
        ("search_nusd", "web_search", "1.25"),
    ],
)
def test_every_price_has_its_place(field: str, name: str, text: str) -> None:
    row = Price(source="list", input_nusd_per_mtok=0, output_nusd_per_mtok=0, **{field: 1_250_000_000})

    assert {"prompt": "0", "completion": "0", name: text} == msgspec.to_builtins(pricing(row))


@given(st.integers(0, 10**15))
def test_a_price_is_exact_and_has_no_exponent(nusd_per_mtok: int) -> None:
    text = pricing(Price(source="list", input_nusd_per_mtok=nusd_per_mtok, output_nusd_per_mtok=0)).prompt

    assert Decimal(text) * 10**15 == nusd_per_mtok
    assert set(text) <= set("0123456789.")
