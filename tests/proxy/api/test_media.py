"""What is read of bodies that ask for moderation, pictures, speech and reranking."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.records import NO_PIECES, Pieces
from providers.provider import Endpoint
from proxy.api.heads import admit
from proxy.call import PLAIN, Head
from proxy.errors import InvalidRequest


def head(endpoint: Endpoint, /, **fields: Any) -> Head:
    return admit(json.dumps(fields).encode(), endpoint)


@pytest.mark.parametrize("fields", [{"input": "x"}, {"input": "x", "model": None}])
def test_moderation_without_a_model_has_openais_own(fields: dict[str, Any]) -> None:
    found = head("moderations", **fields)

    assert (found.model, found.names_model) == ("omni-moderation-latest", False)


def test_a_model_that_is_named_counts() -> None:
    found = head("moderations", input="x", model="judge", stream=True)

    assert (found.model, found.names_model, found.stream, found.weight) == ("judge", True, False, PLAIN)


def test_pictures_are_asked_for_by_number_size_and_quality() -> None:
    found = head(
        "images/generations", model="m", prompt="x", n=3, size="1024X1536", quality="hd", stream=True, partial_images=2
    )

    assert (found.choices, found.stream, found.weight.early_images) == (3, True, 2)
    assert found.weight.pieces == Pieces(images=3, image_size="1024x1536", image_quality="hd")


@pytest.mark.parametrize("fields", [{}, {"n": None, "size": None, "quality": None}, {"size": 7, "quality": "x" * 99}])
def test_one_picture_is_what_is_meant_without_a_number(fields: dict[str, Any]) -> None:
    assert head("images/generations", model="m", prompt="x", **fields).weight.pieces == Pieces(images=1)


def test_speech_is_counted_in_characters_and_comes_as_it_is_made() -> None:
    found = head("audio/speech", model="m", input="wörter 😀" + "x" * 142, voice="v", speed=2)

    assert found.stream
    assert found.weight.pieces == Pieces(characters=150, spoken_ms=5_000)


def test_the_query_of_a_reranking_counts_with_every_document() -> None:
    documents = ["a" * 4_000, {"text": "b" * 4_000}, *["c"] * 98]

    found = head("rerank", model="m", query="ö" * 40, documents=documents, top_n=3)

    assert found.weight.repeated_bytes == 80 * 99
    # A hundred documents, two of which are so long that they count as several.
    assert found.weight.pieces == Pieces(queries=2)


@pytest.mark.parametrize("fields", [{}, {"query": 7, "documents": ["x"]}, {"query": "x", "documents": "y"}])
def test_what_has_another_shape_is_for_the_provider_to_refuse(fields: dict[str, Any]) -> None:
    assert head("rerank", model="m", **fields).weight is PLAIN
    assert head("rerank", model="m", query="x", documents=[]).weight.pieces is NO_PIECES
    assert head("audio/speech", model="m", input=["x"]).weight is PLAIN


@pytest.mark.parametrize(
    ("endpoint", "fields", "param"),
    [
        ("images/generations", {"prompt": "x"}, "model"),
        ("images/generations", {"model": "m", "n": 0}, "n"),
        ("images/generations", {"model": "m", "n": "2"}, "n"),
        ("images/generations", {"model": "m", "stream": 1}, "stream"),
        ("images/generations", {"model": "m", "partial_images": -1}, "partial_images"),
        ("audio/speech", {"model": "m", "input": "x", "speed": 0}, "speed"),
        ("audio/speech", {"input": "x"}, "model"),
        ("moderations", {"input": "x", "model": ""}, "model"),
        ("rerank", {"model": "m", "api_base": "http://x"}, "api_base"),
    ],
)
def test_what_is_wrong_is_refused_by_name(endpoint: Endpoint, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        head(endpoint, **fields)

    assert refused.value.param == param
