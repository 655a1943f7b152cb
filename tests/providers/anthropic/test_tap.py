"""A stream of messages passes untouched, and what metering needs is read from it."""

from __future__ import annotations

import itertools
import random

import pytest

from providers.anthropic.tap import STOP, Tap
from providers.errors import InvalidResponse
from providers.usage import semantics_of
from tests.recordings import Recording, recordings

STREAMS = [it for it in recordings("anthropic") if it.streamed]
START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","model":"claude","usage":'
    b'{"input_tokens":5,"cache_read_input_tokens":2,"output_tokens":1}}}\n\n'
)
TEXT = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}\n\n'
)
DELTA = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}\n\n'
)


def tap() -> Tap:
    return Tap(semantics_of("anthropic", "messages"))


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_recorded_stream_passes_byte_for_byte_but_for_its_end_which_is_held_back(recording: Recording) -> None:
    chance = random.Random(7)  # noqa: S311  # where to cut, no secret
    cuts = sorted(chance.randrange(len(recording.body)) for _ in range(20))
    reader = tap()

    passed = b"".join(
        reader.feed(recording.body[start:end]) for start, end in itertools.pairwise([0, *cuts, len(recording.body)])
    )

    assert reader.finish()
    assert b"message_stop" in reader.closing and b"message_stop" not in passed
    assert passed + reader.closing == recording.body
    assert reader.usage is not None and reader.usage.output_tokens > 0
    assert reader.model.startswith("claude")


def test_the_usage_is_what_the_start_and_the_end_say_together() -> None:
    reader = tap()

    reader.feed(START + TEXT)
    before = reader.usage
    reader.feed(DELTA)

    assert before is None
    assert reader.usage is not None
    assert (reader.usage.input_uncached, reader.usage.cache_read, reader.usage.output_text) == (5, 2, 7)
    assert reader.usage_raw == b'{"input_tokens":5,"cache_read_input_tokens":2,"output_tokens":7}'
    assert reader.finished and not reader.done


def test_a_missing_last_event_is_made_where_the_answer_had_finished() -> None:
    reader = tap()
    reader.feed(START + TEXT + DELTA)

    assert not reader.finish()
    reader.complete()

    assert reader.closing == STOP


def test_an_error_event_ends_the_stream_and_is_passed_on_as_it_is() -> None:
    reader = tap()
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'

    passed = reader.feed(START + TEXT + error + TEXT)

    assert passed == START + TEXT
    assert reader.done and reader.closing == error
    assert reader.error is not None and (reader.error.type, reader.error.message) == ("overloaded_error", "Overloaded")


def test_words_that_look_like_events_are_text() -> None:
    reader = tap()
    text = TEXT.replace(b"hi", b'\\"message_stop\\" error message_start')

    assert reader.feed(START + text) == START + text
    assert not reader.done


def test_an_event_that_should_count_and_is_no_json_is_no_answer() -> None:
    with pytest.raises(InvalidResponse):
        tap().feed(b'event: message_start\ndata: {"type":"message_start"\n\n')


def test_output_is_estimated_while_it_comes() -> None:
    reader = tap()

    reader.feed(START + TEXT * 10)

    assert reader.output_tokens == 10
