"""Answers that say what was heard, and what is charged for it."""

from __future__ import annotations

import pytest

from providers.errors import InvalidResponse, RefusedInBody
from providers.openai.transcript import decode
from providers.usage import semantics_of

OPENAI = semantics_of("openai", "audio/transcriptions")


def test_seconds_are_what_is_charged() -> None:
    answer = decode(b'{"text":"Hallo","usage":{"type":"duration","seconds":9}}', OPENAI)

    assert answer.usage is not None
    assert (answer.usage.counted, answer.usage.audio_ms) == (False, 9_000)


def test_tokens_are_what_is_charged_where_they_are_counted() -> None:
    body = (
        b'{"text":"Hallo","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},'
        b'"output_tokens":3,"total_tokens":17}}'
    )

    usage = decode(body, OPENAI).usage

    assert usage is not None
    assert (usage.input_uncached, usage.input_audio, usage.output_text) == (4, 10, 3)


@pytest.mark.parametrize(("said", "audio_ms"), [(b"8.47", 8_470), (b'"8.470000267028809"', 8_470), (b"12", 12_000)])
def test_the_duration_is_what_is_charged_where_nothing_else_is_said(said: bytes, audio_ms: int) -> None:
    answer = decode(b'{"task":"transcribe","duration":%b,"text":"Hallo"}' % said, OPENAI)

    assert answer.usage is not None
    assert (answer.usage.counted, answer.usage.audio_ms) == (False, audio_ms)


@pytest.mark.parametrize(
    "said", [b"null", b"true", b'"long"', b"-1", b"0", b"1e99", b'"NaN"', b'"Infinity"', b"[]", b'"1e999999"']
)
def test_a_duration_that_is_none_says_nothing(said: bytes) -> None:
    assert decode(b'{"duration":%b,"text":"Hallo"}' % said, OPENAI).usage is None


def test_half_a_character_in_what_was_heard_does_no_harm() -> None:
    assert decode(b'{"duration":3,"text":"\\ud800"}', OPENAI).usage is None


def test_what_is_no_answer_is_refused() -> None:
    with pytest.raises(InvalidResponse):
        decode(b"Hallo", OPENAI)
    with pytest.raises(RefusedInBody):
        decode(b'{"error":{"message":"no"}}', OPENAI)
