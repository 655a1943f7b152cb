"""What every decoder of server-sent streams does with what is too large, not whole, or not what was promised."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.canonical import Ended, Event, UsageSeen
from providers.decoding import EVENT_MAX_BYTES
from providers.errors import InvalidResponse
from providers.provider import Endpoint
from providers.usage import semantics_of
from proxy.attempts.translation import codec_of

SPOKEN: dict[Endpoint, str] = {
    "chat/completions": "openai",
    "responses": "openai",
    "messages": "anthropic",
    "generateContent": "gemini",
    "v2/chat": "cohere",
}


def decoder(endpoint: Endpoint) -> Any:
    return codec_of(endpoint).decoder(semantics_of(SPOKEN[endpoint], endpoint))


def generated(text: str, **fields: Any) -> bytes:
    return b"data: " + json.dumps({"candidates": [{"content": {"parts": [{"text": text}]}, **fields}]}).encode() + b"\r\n\r\n"


def counted(count: int) -> bytes:
    return b'data: {"usageMetadata":{"promptTokenCount":%d}}\r\n\r\n' % count


def usages(events: list[Event]) -> list[int]:
    return [it.usage.input_tokens for it in events if isinstance(it, UsageSeen) and it.usage is not None]


@pytest.mark.parametrize("endpoint", SPOKEN)
def test_an_event_of_more_than_eight_mebibytes_is_refused_before_it_is_whole(endpoint: Endpoint) -> None:
    it = decoder(endpoint)

    assert it.feed(b"data: " + b"x" * (EVENT_MAX_BYTES - 6)) == []
    with pytest.raises(InvalidResponse, match="8 MiB"):
        it.feed(b"x")


@pytest.mark.parametrize("endpoint", SPOKEN)
@pytest.mark.parametrize("data", [b"{", b"[]", b"1", b"null", b"\xff"])
def test_an_event_that_is_not_as_promised_is_refused(endpoint: Endpoint, data: bytes) -> None:
    with pytest.raises(InvalidResponse):
        decoder(endpoint).feed(b"data: " + data + b"\n\n")


@pytest.mark.parametrize("endpoint", SPOKEN)
def test_half_an_event_at_the_end_is_dropped(endpoint: Endpoint) -> None:
    it = decoder(endpoint)

    assert it.feed(b'data: {"id":"a","type":"ping') == []
    assert it.finish() == []


def test_a_usage_that_comes_with_every_event_is_told_with_the_end_of_the_answer() -> None:
    it = decoder("generateContent")

    told = [usages(it.feed(piece)) for piece in (counted(1), counted(2), generated("a", finishReason="STOP"), counted(4))]
    last = it.finish()

    assert told == [[], [], [2], []]
    assert (usages(last), isinstance(last[-1], Ended)) == ([4], True)


def test_a_usage_that_was_not_told_is_pending_once() -> None:
    it = decoder("generateContent")
    it.feed(generated("a") + counted(7))

    assert (usages(it.pending()), it.pending()) == ([7], [])
