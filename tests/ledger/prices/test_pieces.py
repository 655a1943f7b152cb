"""What is charged by the piece, and when it is the tokens that are charged instead."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.prices.cost import cost_nusd
from ledger.prices.pieces import charge_nusd, image_nusd, pieces_nusd, pixels, plain_size
from ledger.records import NO_PIECES, ImageRate, Pieces, Price, Tokens

USD = 10**9
TOKENS = Tokens(input_uncached=1_000, output_image=4_000)


def price(**changes: Any) -> Price:
    return Price(**{"source": "a list", "input_nusd_per_mtok": 0, "output_nusd_per_mtok": 0, **changes})


BY_TOKEN = {"input_nusd_per_mtok": 5 * USD, "output_nusd_per_mtok": 40 * USD}


@pytest.mark.parametrize(
    ("rates", "pieces", "expected"),
    [
        ({"image_nusd": 40_000_000}, Pieces(images=3), 120_000_000),
        ({"query_nusd": 2_000_000}, Pieces(queries=2), 4_000_000),
        ({"characters_nusd_per_mchar": 15 * USD}, Pieces(characters=7), 105_000),
        ({"audio_nusd_per_hour": 360_000_000}, Pieces(audio_ms=9_000), 900_000),
        ({"spoken_nusd_per_hour": 900_000_000}, Pieces(characters=60, spoken_ms=4_000), 1_000_000),
        (
            {"spoken_nusd_per_hour": 900_000_000, "characters_nusd_per_mchar": 15 * USD},
            Pieces(characters=7, spoken_ms=4_000),
            105_000,
        ),
        ({"query_nusd": 0}, Pieces(queries=2), 0),
        ({"query_nusd": 1}, Pieces(images=2), None),
        ({}, Pieces(images=2), None),
    ],
)
def test_every_kind_of_piece_has_its_own_price(rates: dict[str, int], pieces: Pieces, expected: int | None) -> None:
    assert pieces_nusd(price(**rates), pieces) == expected


def test_the_providers_count_of_tokens_is_charged_before_pieces() -> None:
    row = price(**BY_TOKEN, image_nusd=40_000_000)

    assert charge_nusd(row, TOKENS, Pieces(images=1), counted=True) == (cost_nusd(row, TOKENS), False)
    assert charge_nusd(row, TOKENS, Pieces(images=1), counted=False) == (40_000_000, True)


def test_a_guess_at_tokens_is_charged_where_the_row_knows_no_such_piece() -> None:
    row = price(**BY_TOKEN)

    assert charge_nusd(row, TOKENS, Pieces(images=1), counted=False) == (cost_nusd(row, TOKENS), False)


def test_what_a_row_has_no_price_for_is_unknown_and_not_free() -> None:
    drawn = price(image_nusd=40_000_000)

    assert charge_nusd(drawn, TOKENS, NO_PIECES, counted=True) == (None, True)
    assert charge_nusd(drawn, TOKENS, Pieces(queries=1), counted=False) == (None, True)
    assert charge_nusd(price(**BY_TOKEN), TOKENS, Pieces(images=1, others=1), counted=True) == (None, True)


def test_what_is_free_is_free_whatever_it_used() -> None:
    assert charge_nusd(price(), TOKENS, Pieces(images=9), counted=False) == (0, False)


def test_a_price_for_each_request_stands_beside_that_of_the_pieces() -> None:
    row = price(image_nusd=40_000_000, request_nusd=7)

    assert charge_nusd(row, TOKENS, Pieces(images=1), counted=False) == (40_000_007, True)
    assert charge_nusd(row, TOKENS, Pieces(queries=1), counted=False) == (7, False)


PLAIN = tuple(
    ImageRate(size=size, quality=quality, image_nusd=nusd)
    for size, quality, nusd in (
        ("1024x1024", "standard", 40),
        ("1024x1792", "standard", 80),
        ("1024x1024", "hd", 81),
        ("1024x1792", "hd", 120),
    )
)
SEVERAL = tuple(
    ImageRate(size=size, quality=quality, image_nusd=nusd)
    for size, quality, nusd in (
        ("1024x1024", "low", 9),
        ("1024x1536", "low", 13),
        ("1024x1024", "high", 133),
        ("1024x1024", "", 9),
    )
)


@pytest.mark.parametrize(
    ("images", "size", "quality", "expected"),
    [
        (PLAIN, "1024x1792", "hd", 120),
        (PLAIN, "", "", 40),
        (PLAIN, "auto", "hd", 81),
        (PLAIN, "512x512", "hd", 120),
        (SEVERAL, "1024x1536", "low", 13),
        (SEVERAL, "1024x1024", "", 133),
        (SEVERAL, "", "auto", 133),
        (SEVERAL, "2048x2048", "max", 133),
    ],
)
def test_a_picture_costs_what_its_size_and_quality_do(
    images: tuple[ImageRate, ...], size: str, quality: str, expected: int
) -> None:
    assert image_nusd(price(images=images), size, quality) == expected


def test_a_picture_of_a_size_without_a_row_costs_what_any_picture_does() -> None:
    row = price(image_nusd=60, images=(ImageRate(size="1024x1024", quality="low", image_nusd=40),))

    assert image_nusd(row, "1024x1024", "low") == 40
    assert image_nusd(row, "1024x1024", "high") == 60
    assert image_nusd(row, "", "") == 60
    assert image_nusd(price(image_nusd=60), "1x1", "hd") == 60


@pytest.mark.parametrize(
    ("text", "plain", "count"),
    [("1024-x-1536", "1024x1536", 1_572_864), ("2X3", "2x3", 6), ("auto", "auto", None), ("", "", None), ("0x5", "0x5", None)],
)
def test_sizes_are_spelled_in_one_way(text: str, plain: str, count: int | None) -> None:
    assert plain_size(text) == plain
    assert pixels(text) == count


COUNTS = st.integers(0, 2**31)
AMOUNTS = st.none() | st.integers(0, 10**12)


@given(
    st.builds(Pieces, images=COUNTS, characters=COUNTS, audio_ms=COUNTS, spoken_ms=COUNTS, queries=COUNTS),
    st.builds(
        Price,
        source=st.just(""),
        input_nusd_per_mtok=st.integers(0, 10**12),
        output_nusd_per_mtok=st.integers(0, 10**12),
        image_nusd=AMOUNTS,
        query_nusd=AMOUNTS,
        characters_nusd_per_mchar=AMOUNTS,
        audio_nusd_per_hour=AMOUNTS,
        spoken_nusd_per_hour=AMOUNTS,
    ),
    st.booleans(),
)
def test_a_charge_is_a_whole_amount_or_unknown_and_never_negative(pieces: Pieces, row: Price, counted: bool) -> None:
    cost, _ = charge_nusd(row, TOKENS, pieces, counted=counted)

    assert cost is None or (type(cost) is int and cost >= 0)
