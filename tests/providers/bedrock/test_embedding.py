"""Embeddings behind InvokeModel: recorded exchanges of every family, for clients of OpenAI's."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest

from providers.bedrock import embedding
from providers.bedrock.wire import peek_embedding
from providers.canonical import Unsupported
from providers.errors import InvalidResponse
from providers.openai import embedding as openai_embedding
from providers.protocol import Told
from providers.usage import semantics_of
from tests.recordings import Recording, recordings

MADE = [it for it in recordings("bedrock") if it.path.endswith("/invoke") and "embed" in it.path]
SEMANTICS = semantics_of("bedrock", "invoke")


def model_of(recording: Recording) -> str:
    return unquote(recording.path.split("/")[2])


def vectors_of(recording: Recording) -> list[list[float]]:
    """The vectors, read directly."""
    said = json.loads(recording.body)
    if "embedding" in said:
        return [said["embedding"]]
    found = said["embeddings"]
    if isinstance(found, dict):
        return list(found["float"])
    return [it["embedding"] if isinstance(it, dict) else it for it in found]


def test_there_are_exchanges_of_every_family() -> None:
    assert {embedding.kind_of(model_of(it)) for it in MADE} == {"titan", "titan-v1", "cohere", "cohere-v3", "nova"}


@pytest.mark.parametrize("recording", MADE, ids=lambda recording: recording.id)
def test_a_recorded_request_comes_back_as_it_was(recording: Recording) -> None:
    asked = embedding.decode_request(recording.request, model_of(recording))

    assert embedding.encode_request(asked) == recording.request
    assert all(text in json.dumps(recording.request) for text in asked.texts)


@pytest.mark.parametrize("recording", MADE, ids=lambda recording: recording.id)
def test_a_client_of_openais_reads_the_same_from_a_recorded_answer(recording: Recording) -> None:
    read = embedding.decode_answer(recording.body, SEMANTICS)

    told = json.loads(openai_embedding.encode_answer(read, Told(model="m", created_s=0)))

    assert [row["embedding"] for row in told["data"]] == vectors_of(recording)
    count = json.loads(recording.body).get("inputTextTokenCount")
    assert (None if read.usage is None else read.usage.input_tokens) == count
    assert peek_embedding(recording.body, SEMANTICS).usage == read.usage
    assert embedding.decode_answer(embedding.encode_answer(read), SEMANTICS).vectors == read.vectors


def encoded(model: str, **fields: Any) -> dict[str, Any]:
    body = {"model": "m", "input": "hello", "encoding_format": "float", **fields}
    return embedding.encode_request(openai_embedding.decode_request(body, model))


@pytest.mark.parametrize(
    ("model", "fields", "body"),
    [
        ("amazon.titan-embed-text-v2:0", {"dimensions": 256}, {"inputText": "hello", "dimensions": 256}),
        ("amazon.titan-embed-text-v1", {}, {"inputText": "hello"}),
        ("cohere.embed-v4:0", {"input": ["a", "b"], "dimensions": 512},
         {"texts": ["a", "b"], "input_type": "search_document", "embedding_types": ["float"], "output_dimension": 512}),
        ("cohere.embed-english-v3", {}, {"texts": ["hello"], "input_type": "search_document", "embedding_types": ["float"]}),
        ("amazon.nova-2-multimodal-embeddings-v1:0", {"dimensions": 256},
         {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {
             "text": {"value": "hello", "truncationMode": "NONE"}, "embeddingPurpose": "GENERIC_INDEX",
             "embeddingDimension": 256}}),
    ],
)  # fmt: skip
def test_each_family_has_its_own_body(model: str, fields: dict[str, Any], body: dict[str, Any]) -> None:
    assert encoded(model, **fields) == body


@pytest.mark.parametrize(
    ("model", "fields", "place"),
    [
        ("amazon.titan-embed-text-v2:0", {"input": ["a", "b"]}, "input"),
        ("amazon.nova-2-multimodal-embeddings-v1:0", {"input": ["a", "b"]}, "input"),
        ("amazon.titan-embed-text-v1", {"dimensions": 256}, "dimensions"),
        ("cohere.embed-english-v3", {"dimensions": 256}, "dimensions"),
        ("us.anthropic.claude-opus-4-8", {}, "model"),
    ],
)
def test_what_a_family_cannot_do_is_refused_by_name(model: str, fields: dict[str, Any], place: str) -> None:
    with pytest.raises(Unsupported) as refused:
        encoded(model, **fields)

    assert refused.value.field == place


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"embeddings":[]}', b'{"embeddings":{"int8":[[1]]}}', b'{"embedding":"x"}']
)
def test_what_has_no_vectors_is_an_invalid_response(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        embedding.decode_answer(body, SEMANTICS)
