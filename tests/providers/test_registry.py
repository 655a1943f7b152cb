"""Which endpoint of an upstream answers which of a client's."""

from __future__ import annotations

from typing import get_args

import pytest
from msgspec.structs import replace

from providers.openai.vendors import CUSTOM, CUSTOMS, LAYERS, VENDORS, vendor_of
from providers.provider import Endpoint, Protocol, protocol_of
from providers.registry import PREFERRED, WIRES, way


def test_every_endpoint_is_spoken() -> None:
    assert tuple(WIRES) == get_args(Endpoint)
    assert all(wire.endpoint == endpoint for endpoint, wire in WIRES.items())


def test_what_can_be_translated_has_a_place_among_the_preferred() -> None:
    assert {endpoint for endpoint, wire in WIRES.items() if wire.codec is not None} <= set(PREFERRED)


@pytest.mark.parametrize(
    ("vendor", "endpoint", "expected"),
    [
        ("openai", "chat/completions", "chat/completions"),
        ("openai", "messages", "chat/completions"),
        ("openai", "generateContent", "chat/completions"),
        ("openai", "countTokens", "responses/input_tokens"),
        ("mistral", "countTokens", None),
        ("openai", "responses/compact", "responses/compact"),
        ("azure", "responses/compact", "responses/compact"),
        ("groq", "responses/compact", None),
        ("anthropic", "responses/compact", None),
        ("anthropic", "chat/completions", "messages"),
        ("anthropic", "messages", "messages"),
        ("anthropic", "generateContent", "messages"),
        ("anthropic", "embeddings", None),
        ("anthropic", "completions", None),
        ("gemini", "chat/completions", "generateContent"),
        ("gemini", "messages", "generateContent"),
        ("gemini", "embeddings", "embeddings"),
        ("gemini", "embedContent", "embedContent"),
        ("openai", "embedContent", "embeddings"),
        ("openai", "batchEmbedContents", "embeddings"),
        ("mistral", "messages", "chat/completions"),
        ("azure", "responses", "responses"),
        ("azure", "messages", "chat/completions"),
        ("bedrock", "chat/completions", "converse"),
        ("bedrock", "messages", "converse"),
        ("bedrock", "embeddings", "invoke"),
        ("bedrock", "batchEmbedContents", "invoke"),
        ("cohere", "embeddings", "v2/embed"),
        ("vertex", "embeddings", "embedContent"),
        ("cohere", "generateContent", "v2/chat"),
        ("vertex", "messages", "generateContent"),
        ("vertex-anthropic", "messages", "messages"),
        ("openai", "moderations", "moderations"),
        ("openai", "rerank", None),
        ("azure", "moderations", None),
        ("cohere", "rerank", "rerank"),
        ("gemini", "images/generations", "images/generations"),
        ("anthropic", "images/generations", None),
    ],
)
def test_an_upstream_is_spoken_to_in_the_clients_words_if_it_knows_them(
    vendor: str, endpoint: Endpoint, expected: Endpoint | None
) -> None:
    assert way(VENDORS[vendor], endpoint) == expected


def test_of_several_endpoints_the_vendors_own_is_translated_to() -> None:
    both = replace(VENDORS["anthropic"], endpoints=frozenset({"messages", "chat/completions"}))

    assert way(both, "generateContent") == "messages"


@pytest.mark.parametrize(
    ("name", "protocol", "base_url", "expected"),
    [
        ("openai", None, "", VENDORS["openai"]),
        ("anthropic", None, "", VENDORS["anthropic"]),
        ("anthropic", "anthropic", "", VENDORS["anthropic"]),
        ("anthropic", "openai", "", LAYERS["anthropic"]),
        ("gemini", "openai", "", LAYERS["gemini"]),
        ("gemini", None, "https://host/v1beta/openai/", LAYERS["gemini"]),
        ("gemini", None, "https://host/v1beta", VENDORS["gemini"]),
        ("mine", "openai", "http://host/v1", CUSTOM),
        ("mine", "anthropic", "http://host/v1", CUSTOMS["anthropic"]),
        ("mine", "gemini", "http://host/v1beta", CUSTOMS["gemini"]),
        ("groq", "anthropic", "http://host/v1", CUSTOMS["anthropic"]),
        ("mine", "bedrock", "", VENDORS["bedrock"]),
        ("mine", "azure", "https://host", VENDORS["azure"]),
    ],
)
def test_a_provider_is_what_its_name_its_type_and_its_address_say(
    name: str, protocol: Protocol | None, base_url: str, expected: object
) -> None:
    assert vendor_of(name, protocol, base_url) == expected


def test_a_vendor_has_an_endpoint_of_its_own_protocol() -> None:
    words: dict[Protocol, Protocol] = {"azure": "openai", "vertex": "gemini", "vertex-anthropic": "anthropic"}
    own = {it.name: words.get(it.protocol, it.protocol) for it in VENDORS.values()}

    assert [it.name for it in VENDORS.values() if not any(protocol_of(name) == own[it.name] for name in it.endpoints)] == []
