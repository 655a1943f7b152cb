"""A kept answer cannot be changed unnoticed; and only an answer that is whole is kept."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.provider import Endpoint
from providers.usage import Usage
from proxy.caching.entry import OPENED_MAX_BYTES, Entry, Sealer, is_whole, is_whole_stream
from proxy.call import Head, Origin

SEALER = Sealer(b"s" * 32)
ORIGIN = Origin(
    provider="acme",
    model="gpt",
    answered_model="gpt-1",
    at_us=7,
    usage=Usage(input_uncached=3, output_text=2),
    usage_raw=b'{"prompt_tokens":3,"completion_tokens":2}',
    output_estimate=4,
)
ENTRY = Entry(made_us=5, form="stream", content_type=b"text/event-stream", body=b"data: {}\n\n", origin=ORIGIN, closing=b"x")
HEAD = Head(model="m")
BOUNDED = Head(model="m", output_max=5)


# --- the seal --------------------------------------------------------------------------------------------------------


def test_what_was_sealed_comes_out_as_it_was() -> None:
    assert SEALER.open(b"key", SEALER.seal(b"key", ENTRY)) == ENTRY


@given(data=st.data())
def test_one_changed_byte_anywhere_makes_it_nothing(data: st.DataObject) -> None:
    sealed = bytearray(SEALER.seal(b"key", ENTRY))
    place = data.draw(st.integers(0, len(sealed) - 1))

    sealed[place] ^= data.draw(st.integers(1, 255))

    assert SEALER.open(b"key", bytes(sealed)) is None


@given(length=st.integers(0, 60))
def test_half_of_it_is_nothing(length: int) -> None:
    assert SEALER.open(b"key", SEALER.seal(b"key", ENTRY)[:length]) is None


def test_it_is_good_in_its_own_place_and_for_its_own_secret_only() -> None:
    sealed = SEALER.seal(b"key", ENTRY)

    assert (SEALER.open(b"other", sealed), Sealer(b"t" * 32).open(b"key", sealed)) == (None, None)


def test_the_very_same_bytes_are_looked_at_once_and_equal_or_damaged_ones_again() -> None:
    sealer = Sealer(b"s" * 32)
    sealed = sealer.seal(b"key", ENTRY)

    first, again, equal = (
        sealer.open(b"key", sealed),
        sealer.open(b"key", sealed),
        sealer.open(b"key", bytes(bytearray(sealed))),
    )
    damaged = sealer.open(b"key", sealed[:-1] + bytes([sealed[-1] ^ 1]))

    assert first is again
    assert (equal, equal is first, damaged) == (ENTRY, False, None)


def test_what_was_opened_is_remembered_up_to_a_bound() -> None:
    sealer = Sealer(b"s" * 32)
    large = msgspec.structs.replace(ENTRY, body=b"x" * (OPENED_MAX_BYTES // 16))
    kept = {b"%d" % number: sealer.seal(b"%d" % number, large) for number in range(20)}

    opened = {key: sealer.open(key, data) for key, data in kept.items()}
    again = sum(sealer.open(key, kept[key]) is opened[key] for key in reversed(kept))

    assert list(opened.values()) == [large] * 20
    assert 0 < again < 20


def test_what_has_another_shape_is_nothing_though_its_seal_is_good() -> None:
    payload = msgspec.msgpack.encode(["not", "an", "entry"])
    sealed = b"tw\x01" + SEALER._seal(b"key", payload) + payload

    assert SEALER.open(b"key", sealed) is None


# --- whole or not ----------------------------------------------------------------------------------------------------


def chat(*reasons: str | None, **more: Any) -> dict[str, Any]:
    choices = [{"index": n, "message": {"content": "hi"}, "finish_reason": reason} for n, reason in enumerate(reasons)]
    return {"choices": choices, **more}


def response(status: str, reason: str | None = None, error: Any = None) -> dict[str, Any]:
    return {"status": status, "error": error, "incomplete_details": reason and {"reason": reason}, "output": []}


# Endpoint, body, kept without a bound of its own, kept where the request set one.
WHOLE: list[tuple[Endpoint, Any, bool, bool]] = [
    ("chat/completions", chat("stop"), True, True),
    ("chat/completions", chat("tool_calls"), True, True),
    ("chat/completions", chat("function_call"), True, True),
    ("chat/completions", chat("length"), False, True),
    ("chat/completions", chat("stop", "length"), False, True),
    ("chat/completions", chat("content_filter"), False, False),
    ("chat/completions", chat("stop", "content_filter"), False, False),
    ("chat/completions", chat(None), False, False),
    ("chat/completions", chat("stop", None), False, False),
    ("chat/completions", chat(), False, False),
    ("chat/completions", chat("stop", error={"message": "half way"}), False, False),
    ("chat/completions", chat("error"), False, False),
    ("chat/completions", {}, False, False),
    ("chat/completions", [], False, False),
    ("chat/completions", {"choices": 5}, False, False),
    ("completions", {"choices": [{"text": "hi", "finish_reason": "stop"}]}, True, True),
    ("embeddings", {"data": [{"embedding": [0.5]}]}, True, True),
    ("embeddings", {"data": []}, False, False),
    ("embeddings", {"data": [{"embedding": [0.5]}], "error": {"message": "no"}}, False, False),
    ("responses", response("completed"), True, True),
    ("responses", response("incomplete", "max_output_tokens"), False, True),
    ("responses", response("incomplete", "content_filter"), False, False),
    ("responses", response("incomplete"), False, False),
    ("responses", response("failed", error={"message": "no"}), False, False),
    ("responses", response("completed", error={"message": "no"}), False, False),
    ("responses", response("in_progress"), False, False),
    ("responses", response("queued"), False, False),
    ("responses", {}, False, False),
]


@pytest.mark.parametrize(("endpoint", "body", "kept", "kept_bounded"), WHOLE, ids=lambda it: json.dumps(it)[:60])
def test_only_a_whole_answer_is_one(endpoint: Endpoint, body: Any, kept: bool, kept_bounded: bool) -> None:
    raw = json.dumps(body).encode()

    assert (is_whole(endpoint, HEAD, raw), is_whole(endpoint, BOUNDED, raw)) == (kept, kept_bounded)


def test_what_is_no_json_is_no_answer() -> None:
    assert [is_whole("chat/completions", HEAD, body) for body in (b"", b"{", b"\xff", b"<html>")] == [False] * 4


def test_as_many_choices_as_were_asked_for_have_to_be_there() -> None:
    two = Head(model="m", choices=2)

    assert [is_whole("chat/completions", two, json.dumps(chat(*it)).encode()) for it in (("stop",), ("stop", "stop"))] == [
        False,
        True,
    ]


def event(*reasons: str | None, content: str = "hi") -> bytes:
    choices = [{"index": n, "delta": {"content": content}, "finish_reason": reason} for n, reason in enumerate(reasons)]
    return b"data: " + json.dumps({"choices": choices}).encode() + b"\n\n"


STREAMS: list[tuple[bytes, bool, bool]] = [
    (event(None) + event("stop"), True, True),
    (event(None) + event("length"), False, True),
    (event(None) + event("content_filter"), False, False),
    (event(None), False, False),
    (b"", False, False),
    # An answer's words are no finish reason, however they look.
    (event(None, content='"finish_reason":"stop"'), False, False),
    (event(None, content='"finish_reason":"content_filter"') + event("stop"), True, True),
]


@pytest.mark.parametrize(("body", "kept", "kept_bounded"), STREAMS, ids=str)
def test_only_a_whole_stream_is_one(body: bytes, kept: bool, kept_bounded: bool) -> None:
    done = b"data: [DONE]\n\n"
    found = [is_whole_stream("chat/completions", head, body, done) for head in (HEAD, BOUNDED)]

    assert found == [kept, kept_bounded]


@pytest.mark.parametrize(
    ("kind", "status", "kept"),
    [
        ("response.completed", "completed", True),
        ("response.incomplete", "incomplete", False),
        ("response.failed", "failed", False),
    ],
)
def test_a_response_that_is_streamed_is_judged_by_the_event_that_ends_it(kind: str, status: str, kept: bool) -> None:
    closing = b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, "response": response(status)}).encode())

    assert is_whole_stream("responses", HEAD, b"data: {}\n\n", closing) is kept


def test_a_response_without_an_end_is_none() -> None:
    assert [is_whole_stream("responses", HEAD, b"data: {}\n\n", it) for it in (b"", b"data: {}\n\n", b"data: [DONE]\n\n")] == [
        False
    ] * 3


@pytest.mark.parametrize(
    ("endpoint", "body", "kept"),
    [
        ("messages", {"stop_reason": "end_turn"}, True),
        ("messages", {"stop_reason": "tool_use"}, True),
        ("messages", {"stop_reason": "max_tokens"}, False),
        ("messages", {"stop_reason": "refusal"}, False),
        ("messages", {"stop_reason": None}, False),
        ("messages", {"type": "error", "error": {}}, False),
        ("generateContent", {"candidates": [{"finishReason": "STOP"}]}, True),
        ("generateContent", {"candidates": [{"finishReason": "SAFETY"}]}, False),
        ("generateContent", {"candidates": []}, False),
        ("generateContent", {"promptFeedback": {"blockReason": "SAFETY"}}, False),
        ("embedContent", {"embedding": {"values": [1]}}, True),
        ("batchEmbedContents", {"embeddings": [{}]}, True),
        ("batchEmbedContents", {"embeddings": []}, False),
    ],
)
def test_answers_of_other_protocols_are_whole_by_their_own_words(endpoint: Endpoint, body: Any, kept: bool) -> None:
    assert is_whole(endpoint, HEAD, json.dumps(body).encode()) is kept


def test_streams_of_other_protocols_are_whole_by_their_own_words() -> None:
    message = b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n'
    content = b'data: {"candidates":[{"finishReason":"STOP"}]}\r\n\r\n'

    assert is_whole_stream("messages", HEAD, message, b"event: message_stop\n\n")
    assert is_whole_stream("messages", HEAD, b"", message + b"event: message_stop\n\n")
    assert is_whole_stream("generateContent", HEAD, b"", content)
    assert not is_whole_stream("messages", HEAD, message.replace(b"end_turn", b"refusal"), b"")
    # vLLM has such a field in chunks of chat completions, for the text that it stopped at.
    chat = b'data: {"choices":[{"finish_reason":"stop","stop_reason":"###"}]}\n\n'
    assert is_whole_stream("chat/completions", HEAD, chat, b"data: [DONE]\n\n")
