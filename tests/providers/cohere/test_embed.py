"""Cohere's embed: recorded exchanges, for clients of OpenAI's."""

from __future__ import annotations

import json

import pytest

from providers.canonical import Malformed
from providers.cohere import embed
from providers.cohere.wire import peek_embedding
from providers.errors import InvalidResponse
from providers.openai import embedding as openai_embedding
from providers.protocol import Told
from providers.usage import semantics_of
from tests.recordings import Recording, recordings

MADE = [it for it in recordings("cohere") if it.path == "/v2/embed"]
GOOD = [it for it in MADE if it.status == 200]
SEMANTICS = semantics_of("cohere", "v2/embed")


@pytest.mark.parametrize("recording", MADE, ids=lambda recording: recording.id)
def test_a_recorded_request_comes_back_as_it_was(recording: Recording) -> None:
    again = embed.encode_request(embed.decode_request(recording.request, recording.model))

    said = {name: value for name, value in recording.request.items() if value is not None}
    assert {name: value for name, value in again.items() if value is not None} == said


@pytest.mark.parametrize("recording", GOOD, ids=lambda recording: recording.id)
def test_a_client_of_openais_reads_the_same_from_a_recorded_answer(recording: Recording) -> None:
    was = json.loads(recording.body)
    read = embed.decode_answer(recording.body, SEMANTICS)

    told = json.loads(openai_embedding.encode_answer(read, Told(model="m", created_s=0)))

    assert [row["embedding"] for row in told["data"]] == was["embeddings"]["float"]
    assert told["usage"]["prompt_tokens"] == was["meta"]["billed_units"]["input_tokens"]
    assert peek_embedding(recording.body, SEMANTICS).usage == read.usage
    assert embed.decode_answer(embed.encode_answer(read), SEMANTICS) == read


def test_what_openais_clients_ask_has_its_purpose_said() -> None:
    asked = openai_embedding.decode_request({"model": "m", "input": ["a", "b"], "dimensions": 256}, "embed-v4.0")

    assert embed.encode_request(asked) == {
        "model": "embed-v4.0",
        "texts": ["a", "b"],
        "input_type": "search_document",
        "embedding_types": ["float"],
        "output_dimension": 256,
    }


@pytest.mark.parametrize("body", [b"", b"{}", b'{"embeddings":{"float":[]}}', b'{"embeddings":[[1]]}'])
def test_what_has_no_vectors_is_an_invalid_response(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        embed.decode_answer(body, SEMANTICS)


def test_a_request_without_texts_is_none() -> None:
    with pytest.raises(Malformed):
        embed.decode_request({"model": "m", "texts": []}, "m")
