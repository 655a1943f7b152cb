"""OpenAI's embeddings, to the canonical form and back."""

from __future__ import annotations

import base64
import json
from array import array
from typing import Any

import pytest
from msgspec.structs import replace

from providers.canonical import EmbeddingRequest, EmbeddingResponse, Malformed, Unsupported
from providers.errors import InvalidResponse
from providers.openai import embedding
from providers.protocol import Told
from providers.usage import OPENAI_LIKE, Usage
from tests.recordings import every

RECORDED = [it for it in every() if it.endpoint == "embeddings"]
TOLD = Told(model="m", created_s=0)


@pytest.mark.parametrize("said", ["a", ["a", "b"]])
def test_texts_come_back_as_a_list(said: Any) -> None:
    asked = embedding.decode_request({"model": "m", "input": said, "dimensions": 3, "user": "u"}, "m")

    again = embedding.encode_request(asked)

    assert again == {
        "model": "m",
        "input": [said] if isinstance(said, str) else said,
        "encoding_format": "float",
        "dimensions": 3,
        "user": "u",
    }


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, Malformed),
        ({"input": []}, Malformed),
        ({"input": 7}, Malformed),
        ({"input": [1, 2]}, Unsupported),
        ({"input": [[1]]}, Unsupported),
        ({"input": "a", "encoding_format": "hex"}, Malformed),
    ],
)
def test_what_is_no_text_is_named(fields: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        embedding.decode_request(fields, "m")


@pytest.mark.parametrize("recording", RECORDED, ids=lambda recording: recording.id)
def test_a_recorded_answer_comes_back_with_its_vectors(recording: Any) -> None:
    was = json.loads(recording.body)

    read = embedding.decode_answer(recording.body, OPENAI_LIKE)

    again = json.loads(embedding.encode_answer(read, TOLD))
    floats = [it["embedding"] for it in was["data"] if isinstance(it["embedding"], list)]
    assert len(again["data"]) == len(was["data"])
    assert [it["embedding"] for it in again["data"]] == floats or not floats
    assert (again["model"], again["usage"]) == (was["model"], was["usage"])


def test_vectors_may_come_as_base64_and_in_any_order() -> None:
    packed = base64.b64encode(array("f", [1.0, 0.5]).tobytes()).decode()
    body = {"model": "m", "data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": packed}]}

    assert embedding.decode_answer(json.dumps(body).encode(), OPENAI_LIKE).vectors == ((1.0, 0.5), (2.0,))


@pytest.mark.parametrize("body", [b"{}", b'{"data":[]}', b'{"data":[{"embedding":"%%"}]}', b'{"data":[{"embedding":[null]}]}'])
def test_an_answer_without_vectors_is_none(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        embedding.decode_answer(body, OPENAI_LIKE)


def test_an_answer_says_what_was_used() -> None:
    answer = EmbeddingResponse(model="m", vectors=((1.0,),), usage=Usage(input_uncached=4))

    assert json.loads(embedding.encode_answer(answer, TOLD))["usage"] == {"prompt_tokens": 4, "total_tokens": 4}


def test_a_request_says_no_more_than_was_asked() -> None:
    asked = EmbeddingRequest(family="gemini", model="m", texts=("a",), extra={"taskType": "X"})

    assert embedding.encode_request(asked) == {"model": "m", "input": ["a"], "encoding_format": "float"}


def test_vectors_are_packed_for_clients_that_ask_for_base64() -> None:
    answer = EmbeddingResponse(model="m", vectors=((0.5, -2.0), (1.0, 0.0)))

    packed = embedding.encode_answer(answer, replace(TOLD, asked={"encoding_format": "base64"}))

    assert [it["embedding"] for it in json.loads(packed)["data"]] == ["AAAAPwAAAMA=", "AACAPwAAAAA="]
    assert embedding.decode_answer(packed, OPENAI_LIKE).vectors == answer.vectors
