"""The tables of what is served and what can be said are asked of the code, and say what it does."""

from __future__ import annotations

import pytest

from docs.features import CALLED, FEATURES, MEDIA, PROTOCOLS, media, protocols, serves, takes, vendors
from providers.openai.vendors import VENDORS
from providers.provider import INNER
from providers.registry import WIRES


def test_every_endpoint_has_a_column_and_every_vendor_a_row() -> None:
    assert {*CALLED, *MEDIA} == set(WIRES) - INNER
    assert [row[0].strip("`") for row in vendors()] == list(VENDORS)


def test_what_is_never_translated_has_a_table_of_those_who_serve_it() -> None:
    rows = {name.strip("`"): cells for name, *cells in media()}

    assert rows["cohere"] == ["–"] * 7 + ["yes"]
    assert rows["openai"] == ["yes"] * 7 + ["–"]
    assert "anthropic" not in rows
    assert all(WIRES[endpoint].codec is None for endpoint in MEDIA)


@pytest.mark.parametrize(
    ("vendor", "cells"),
    [
        ("openai", "yes yes yes yes yes yes yes translated translated translated translated translated translated"),
        ("azure", "yes yes estimate yes yes yes yes translated estimate translated estimate translated translated"),
        ("anthropic", "translated translated translated – – – – yes yes translated translated – –"),
        ("gemini", "translated translated translated – – yes – translated translated yes yes yes yes"),
    ],
)
def test_a_vendor_serves_what_it_speaks_and_what_can_be_translated_to_that(vendor: str, cells: str) -> None:
    assert [serves(VENDORS[vendor], endpoint) for endpoint in CALLED] == cells.split()


def test_every_feature_can_be_said_in_some_protocol_but_for_what_belongs_to_one_provider() -> None:
    nowhere = {row[0] for row in protocols() if "yes" not in row[1:]}

    assert nowhere == {"another provider's files, by id", "another provider's own tools"}


def test_what_a_protocol_takes_is_found_out_by_asking_it() -> None:
    features = dict(FEATURES)

    assert [takes(endpoint, "seed", features["seed"]) for endpoint in PROTOCOLS] == ["yes", "dropped", "dropped", "yes"]
    assert [takes(endpoint, "sound", features["sound"]) for endpoint in PROTOCOLS] == ["yes", "yes", "refused", "yes"]
