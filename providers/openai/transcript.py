"""Whole answers that say what was heard: their usage, or how long the sound was, which some vendors say beside the text."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from providers.openai import response
from providers.provider import Answer
from providers.usage import Semantics, Usage

DURATION_MAX_S: Final = 10**6


class _Peek(msgspec.Struct):
    duration: Any = None


_peek = msgspec.json.Decoder(_Peek, float_hook=Decimal).decode


def decode(body: bytes, semantics: Semantics) -> Answer:
    """Peek at a 200's body.  Raises: InvalidResponse, RefusedInBody, as of every other endpoint.

    Where no usage is reported, ``duration`` says what is charged: the seconds of the sound, a number or a text.
    Source: platform.openai.com/docs/api-reference/audio/verbose-json-object, and console.groq.com/docs/speech-to-text, read
    2026-11.
    """
    answer = response.decode(body, semantics)
    if answer.usage is not None:
        return answer
    try:
        audio_ms = _milliseconds(_peek(body).duration)
    except (msgspec.DecodeError, UnicodeDecodeError):  # half of a character in the text, which is none of ours
        audio_ms = 0
    return replace(answer, usage=Usage(counted=False, audio_ms=audio_ms)) if audio_ms else answer


def _milliseconds(value: Any) -> int:
    """0, if it is no number of seconds."""
    try:
        seconds = Decimal(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else Decimal(0)
    except InvalidOperation:
        return 0
    return int(seconds * 1000) if seconds.is_finite() and 0 < seconds <= DURATION_MAX_S else 0
