"""What opens a session, and what of its events is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from providers.openai.realtime import handshake, heard
from providers.openai.vendors import VENDORS
from providers.provider import Upstream
from providers.usage import Usage, read, semantics_of

OPENAI = Upstream(
    provider="openai", account="default", vendor=VENDORS["openai"], base_url="https://api.openai.com/v1", api_key="sk-1"
)
AZURE = replace(OPENAI, provider="azure", vendor=VENDORS["azure"], base_url="https://r.openai.azure.com/openai/v1")
# As OpenAI's reference shows it, with a cached part of each kind.
USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 109,
        "audio_tokens": 13,
        "image_tokens": 10,
        "cached_tokens": 70,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 4, "image_tokens": 2},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}


def said(**event: Any) -> bytes:
    return json.dumps(event).encode()


@pytest.mark.parametrize(
    ("upstream", "url", "header"),
    [
        (OPENAI, "https://api.openai.com/v1/realtime?model=gpt-realtime", "authorization"),
        (AZURE, "https://r.openai.azure.com/openai/v1/realtime?model=gpt-realtime", "api-key"),
        (
            replace(AZURE, base_url="https://r.openai.azure.com/openai", api_version="2025-04-01-preview"),
            "https://r.openai.azure.com/openai/realtime?api-version=2025-04-01-preview&deployment=gpt-realtime",
            "api-key",
        ),
    ],
)
def test_a_session_is_opened_where_its_account_is(upstream: Upstream, url: str, header: str) -> None:
    made = handshake(upstream, model="gpt-realtime", request_id="req_1")

    assert (url, "GET", b"") == (made.url, made.method, made.body)
    assert {"x-request-id", header} == made.headers.keys()


def test_a_models_name_leads_nowhere_else() -> None:
    made = handshake(OPENAI, model="a&b=c/../#?", request_id="req_1")

    assert "https://api.openai.com/v1/realtime?model=a%26b%3Dc%2F..%2F%23%3F" == made.url


def test_each_token_of_a_response_is_in_one_bucket() -> None:
    event = heard(said(type="response.done", response={"id": "resp_1", "status": "completed", "usage": USAGE}))

    assert ("resp_1", "completed") == (event.response_id, event.status)
    expected = Usage(
        input_uncached=45,
        cache_read=66,
        cache_read_audio=4,
        input_audio=9,
        input_image=8,
        output_text=30,
        output_audio=91,
        raw=event.usage_raw,
    )
    assert expected == read(event.usage_raw, semantics_of("openai", "realtime"))
    assert (132, 121) == (expected.input_tokens, expected.output_tokens)


def test_a_response_without_usage_has_none() -> None:
    event = heard(said(type="response.done", response={"id": "resp_1", "status": "failed", "usage": None}))

    assert b"" == event.usage_raw


@pytest.mark.parametrize(
    ("session", "model"),
    [
        ({"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}, "gpt-4o-transcribe"),
        ({"input_audio_transcription": {"model": "whisper-1"}}, "whisper-1"),
        ({"audio": {"input": {"transcription": None}}}, ""),
        ({}, ""),
    ],
)
def test_a_session_says_who_writes_down_what_is_heard(session: dict[str, Any], model: str) -> None:
    assert model == heard(said(type="session.updated", session=session)).transcriber


@pytest.mark.parametrize(
    ("session", "size"),
    [
        ({"output_audio_format": "g711_ulaw"}, 533),
        ({"audio": {"output": {"format": {"type": "audio/pcma"}}}}, 533),
        ({"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}}}}, 3_200),
        ({}, 3_200),
    ],
)
def test_a_second_of_sound_has_as_many_bytes_as_its_format_says(session: dict[str, Any], size: int) -> None:
    assert size == heard(said(type="session.created", session=session)).spoken_bytes_per_token


def test_an_error_says_which_event_it_answers() -> None:
    event = heard(said(type="error", error={"type": "invalid_request_error", "message": "No.", "event_id": "mine"}))

    assert ("mine", "No.") == (event.refused, event.message)


def test_a_client_event_keeps_its_id() -> None:
    event = heard(said(event_id="mine", type="response.create"))

    assert ("response.create", "mine") == (event.type, event.event_id)


KEYS = st.sampled_from(("type", "response", "session", "usage", "error", "id", "audio"))
TYPES = st.sampled_from(("response.created", "response.done", "session.updated", "error"))
VALUES = st.recursive(st.none() | st.integers() | st.text() | TYPES, lambda it: st.lists(it) | st.dictionaries(KEYS, it))


@given(st.binary() | VALUES.map(lambda it: json.dumps(it).encode()))
def test_whatever_passes_is_read_without_a_fault(data: bytes) -> None:
    assert heard(data) is not None
