"""A stream of generated content passes untouched, and what metering needs is read from it."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from providers.errors import InvalidResponse
from providers.gemini.tap import Tap
from providers.gemini.wire import peek
from providers.usage import semantics_of
from tests.recordings import Recording, recordings

STREAMS = [it for it in recordings("gemini") if it.streamed and it.status == 200]


def event(text: str, **more: str) -> bytes:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, **more}
    usage = {"promptTokenCount": 4, "candidatesTokenCount": len(text)}
    said = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-x"}
    return b"data: %b\r\n\r\n" % json.dumps(said, separators=(",", ":")).encode()


LAST = event("abc", finishReason="STOP")


def tap() -> Tap:
    return Tap(semantics_of("gemini", "generateContent"))


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_recorded_stream_passes_byte_for_byte_but_for_its_last_event_which_is_held_back(recording: Recording) -> None:
    chance = random.Random(7)  # noqa: S311  # where to cut, no secret
    cuts = sorted(chance.randrange(len(recording.body)) for _ in range(20))
    reader = tap()

    passed = b"".join(
        reader.feed(recording.body[start:end]) for start, end in itertools.pairwise([0, *cuts, len(recording.body)])
    )

    assert reader.finish()
    assert b'"finishReason"' in reader.closing
    assert passed + reader.closing == recording.body
    assert reader.usage is not None and reader.usage.output_tokens > 0
    assert reader.model.startswith("gemini")


def test_nothing_is_held_back_before_a_reason_to_finish_and_then_one_event_at_most() -> None:
    reader = tap()

    passed = [reader.feed(it) for it in (event("a"), event("ab"), LAST, LAST)]

    assert passed == [event("a"), event("ab"), b"", LAST]
    assert reader.closing == LAST


def test_a_stream_that_ends_without_a_reason_is_not_whole() -> None:
    reader = tap()
    reader.feed(event("a"))

    assert not reader.finish()


def test_a_last_event_without_its_blank_line_counts() -> None:
    reader = tap()

    passed = reader.feed(event("a") + LAST.rstrip())

    assert passed == event("a")
    assert reader.finish()
    assert reader.closing == LAST
    assert reader.usage is not None and reader.usage.output_tokens == 3


def test_a_refused_prompt_is_a_whole_stream() -> None:
    reader = tap()

    reader.feed(b'data: {"promptFeedback":{"blockReason":"SAFETY"},"modelVersion":"m"}\r\n\r\n')

    assert reader.finish()


def test_an_error_event_ends_the_stream_and_is_passed_on_as_it_is() -> None:
    reader = tap()
    error = b'data: {"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}\r\n\r\n'

    passed = reader.feed(event("a") + error + LAST)

    assert passed == event("a")
    assert reader.done and reader.closing == error
    assert reader.error is not None and (reader.error.code, reader.error.message) == ("UNAVAILABLE", "busy")


def test_an_event_that_is_no_json_is_no_answer() -> None:
    with pytest.raises(InvalidResponse):
        tap().feed(b"data: {\n\n")


@pytest.mark.parametrize(("reason", "expected"), [("STOP", False), ("MAX_TOKENS", True)])
def test_an_answer_that_had_come_to_its_length_is_known_to_be_cut(reason: str, expected: bool) -> None:
    last = event("abc", finishReason=reason)
    reader = tap()
    whole = peek(last.removeprefix(b"data: "), semantics_of("gemini", "generateContent"))

    reader.feed(last)

    assert (reader.truncated, whole.truncated) == (expected, expected)


@pytest.mark.parametrize(
    ("last", "counted"),
    [
        (b'"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":8}', (3, 8)),
        (b'"usageMetadata": null', (3, 5)),
        (b'"usageMetadata":{', (3, 5)),
        (b'"responseId":"r"', (3, 5)),
    ],
)
def test_a_stream_that_is_cut_off_has_the_last_usage_that_can_be_read(last: bytes, counted: tuple[int, int]) -> None:
    reader = tap()
    first = b'{"modelVersion":"m","usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":5}}'
    events = [b"data: %b\r\n\r\n" % it for it in (first, b"{%b}" % last)]

    passed = [reader.feed(it) for it in events]

    assert passed == events
    assert reader.usage is not None and (reader.usage.input_tokens, reader.usage.output_tokens) == counted
    assert not reader.finish()
