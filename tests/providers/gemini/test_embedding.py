"""Gemini's embeddings, to the canonical form and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.canonical import EmbeddingRequest, Malformed, Unsupported
from providers.errors import InvalidResponse
from providers.gemini.embedding import MANY, ONE
from providers.protocol import Told
from providers.usage import semantics_of
from tests.recordings import Recording, recordings

TOLD = Told(model="m", created_s=0)

SEMANTICS = semantics_of("gemini", "batchEmbedContents")
RECORDED = [it for it in recordings("gemini") if it.path.endswith(":batchEmbedContents")]


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "models/m", "content": {"parts": [{"text": text}]}, **more}


def test_one_text_is_asked_for_one_vector() -> None:
    asked = ONE.decode_request(ask("a", outputDimensionality=3, taskType="SEMANTIC_SIMILARITY"), "m")

    assert (asked.texts, asked.dimensions, asked.extra) == (("a",), 3, {"taskType": "SEMANTIC_SIMILARITY"})
    assert ONE.encode_request(asked) == {"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 3}


def test_several_texts_are_asked_for_at_once() -> None:
    asked = MANY.decode_request({"requests": [ask("a", output_dimensionality=3), ask("b", outputDimensionality=3)]}, "m")

    assert (asked.texts, asked.dimensions) == (("a", "b"), 3)
    assert MANY.encode_request(asked)["requests"][1] == ask("b", outputDimensionality=3)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, Malformed),
        ({"requests": []}, Malformed),
        ({"requests": [7]}, Malformed),
        ({"requests": [ask("a", outputDimensionality=3), ask("b")]}, Unsupported),
        ({"requests": [{"content": {"parts": [{"inlineData": {}}]}}]}, Unsupported),
    ],
)
def test_what_cannot_be_said_elsewhere_is_named(body: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        MANY.decode_request(body, "m")


def test_an_upstream_that_takes_one_text_is_not_asked_for_two() -> None:
    with pytest.raises(Unsupported):
        ONE.encode_request(EmbeddingRequest(family="openai-chat", model="m", texts=("a", "b")))


@pytest.mark.parametrize("recording", RECORDED, ids=lambda recording: recording.id)
def test_a_recorded_answer_comes_back_with_its_vectors(recording: Recording) -> None:
    read = MANY.decode_answer(recording.body, SEMANTICS)

    again = json.loads(MANY.encode_answer(read, TOLD))

    assert again["embeddings"] == [{"values": it["values"]} for it in json.loads(recording.body)["embeddings"]]


def test_one_vector_is_told_alone_with_what_was_used() -> None:
    read = ONE.decode_answer(b'{"embedding":{"values":[1.5]},"usageMetadata":{"promptTokenCount":4}}', SEMANTICS)

    assert read.usage is not None and read.usage.input_tokens == 4
    assert json.loads(ONE.encode_answer(read, TOLD)) == {
        "embedding": {"values": [1.5]},
        "usageMetadata": {"promptTokenCount": 4},
    }


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"embeddings":[]}', b'{"embedding":{}}'])
def test_an_answer_without_vectors_is_none(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        ONE.decode_answer(body, SEMANTICS)
