"""Counts of a chat's tokens, asked in one protocol's words and answered in another's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.errors import InvalidResponse
from providers.gemini.wire import WIRES as GEMINI
from providers.openai.vendors import VENDORS
from providers.protocol import Ability, CountCodec, Posting
from providers.provider import Endpoint, Upstream
from providers.registry import WIRES, way

ENDPOINTS: tuple[Endpoint, ...] = ("messages/count_tokens", "countTokens", "count-tokens", "responses/input_tokens")
FIELDS = {
    "messages/count_tokens": "input_tokens",
    "countTokens": "totalTokens",
    "count-tokens": "inputTokens",
    "responses/input_tokens": "input_tokens",
}
ASKED: dict[str, Any] = {
    "model": "m",
    "system": "be brief",
    "messages": [{"role": "user", "content": "hello"}],
    "tools": [{"name": "look", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}}}],
}


def codec_of(endpoint: Endpoint) -> CountCodec:
    codec = WIRES[endpoint].codec
    assert isinstance(codec, CountCodec)
    return codec


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_number_comes_back_under_each_protocols_name(endpoint: Endpoint) -> None:
    codec = codec_of(endpoint)

    body = codec.encode_answer(42)

    assert json.loads(body)[FIELDS[endpoint]] == 42
    assert codec.decode_answer(body) == 42


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("value", ["true", "-1", '"5"', "1e3", "1000000000001", "null", "[]"])
def test_what_is_no_count_is_an_invalid_response(endpoint: Endpoint, value: str) -> None:
    for body in (f'{{"{FIELDS[endpoint]}":{value}}}', "", "[]", "{}", value):
        with pytest.raises(InvalidResponse):
            codec_of(endpoint).decode_answer(body.encode())


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_is_to_be_counted_is_said_in_each_protocols_words(endpoint: Endpoint) -> None:
    asked = codec_of("messages/count_tokens").decode_request(ASKED, "m")

    again = codec_of(endpoint).decode_request(codec_of(endpoint).encode_request(asked, Ability()), "m")

    assert [it.parts for it in again.messages] == [it.parts for it in asked.messages]
    assert [it.name for it in again.tools] == ["look"]  # type: ignore[union-attr]  # functions


def test_only_what_may_stand_in_a_count_does() -> None:
    asked = codec_of("messages/count_tokens").decode_request({**ASKED, "max_tokens": 5, "temperature": 1}, "m")

    told = codec_of("messages/count_tokens").encode_request(asked, Ability())

    assert set(told) == {"model", "system", "messages", "tools"}


def test_how_an_answer_is_to_be_does_not_keep_its_question_from_being_counted() -> None:
    settings = {"stopSequences": ["x"], "candidateCount": 3, "presencePenalty": 1.0, "maxOutputTokens": 5}
    plain = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}], "generationConfig": settings}
    asked = codec_of("countTokens").decode_request({"generateContentRequest": {"model": "models/m", **plain}}, "m")

    told = codec_of("responses/input_tokens").encode_request(asked, Ability())

    assert told.keys() <= {"model", "input"}
    assert "hello" in json.dumps(told["input"])


def test_openais_count_says_what_it_is() -> None:
    body = codec_of("responses/input_tokens").encode_answer(42)

    assert json.loads(body) == {"object": "response.input_tokens", "input_tokens": 42}


def test_geminis_clients_may_wrap_what_is_to_be_counted_and_vertex_is_told_without_the_wrapping() -> None:
    plain = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    codec = codec_of("countTokens")
    wire = next(it for it in GEMINI if it.endpoint == "countTokens")

    bare = codec.decode_request(plain, "m")
    wrapped = codec.decode_request({"generateContentRequest": {"model": "models/m", **plain}}, "m")
    asked = codec_of("messages/count_tokens").decode_request({**ASKED, "model": "gemini-x"}, "gemini-x")
    body = json.dumps(codec.encode_request(asked, Ability())).encode()
    sent = {name: json.loads(wire.posted(body, posting(name)).body) for name in ("gemini", "vertex")}

    assert (bare.messages, codec.encode_request(bare, Ability())) == (wrapped.messages, plain)
    assert sent["gemini"].keys() == {"generateContentRequest"}
    assert sent["gemini"]["generateContentRequest"]["model"] == "models/gemini-x"
    assert sent["vertex"] == {name: it for name, it in sent["gemini"]["generateContentRequest"].items() if name != "model"}


def posting(vendor: str) -> Posting:
    upstream = Upstream(provider=vendor, account="a", vendor=VENDORS[vendor], base_url="http://g.invalid", api_key="k")
    return Posting(upstream=upstream, endpoint="countTokens", model="gemini-x", stream=False, request_id="req_1")


def test_each_is_counted_by_whom_its_provider_has() -> None:
    found = {vendor: way(VENDORS[vendor], "messages/count_tokens") for vendor in ("anthropic", "gemini", "vertex", "bedrock")}

    assert found == {
        "anthropic": "messages/count_tokens",
        "gemini": "countTokens",
        "vertex": "countTokens",
        "bedrock": "count-tokens",
    }
    counts = ("messages/count_tokens", "countTokens", "responses/input_tokens")
    assert {way(VENDORS["openai"], it) for it in counts} == {"responses/input_tokens"}
    assert {way(VENDORS["azure"], it) for it in counts} == {None}
    assert way(VENDORS["anthropic"], "responses/input_tokens") == "messages/count_tokens"
