"""How many tokens a request is taken to need before it is sent, and how many it needed in the end."""

from __future__ import annotations

from collections.abc import Sequence

from providers.provider import protocol_of
from providers.registry import WIRES
from proxy.call import Attempt, Call
from proxy.metering import pieces

BYTES_PER_TOKEN = 4
"""A JSON body of English text has 3.5 to 4.5 bytes a token."""

FILE_TOKENS = 1_000
"""What a picture or a document that comes inside of the body as a data URL is taken for: its bytes say nothing of its tokens.
Source: OpenAI's guide "Images and vision", tokens of a 1024 x 1024 picture at high detail: 765 to 1,105; read 2026-11."""

_MARK = b";base64,"


ANSWERLESS = frozenset(name for name, wire in WIRES.items() if wire.kind in pieces.ANSWERLESS or wire.kind == "count")
"""Endpoints whose answers have no tokens of their own."""


def input_of(call: Call) -> int:
    """What goes in, by the body's size.  At least 1."""
    weight = call.head.weight
    if weight.repeated_bytes:
        return (len(call.body) + weight.repeated_bytes) // BYTES_PER_TOKEN
    if protocol_of(call.endpoint) == "openai" or not weight.payload_bytes:
        return input_tokens(call.body)
    # Elsewhere nothing marks data as such; the edge has found it.
    text = max(len(call.body) - weight.payload_bytes, 0)
    return text // BYTES_PER_TOKEN + weight.references * FILE_TOKENS or 1


def input_tokens(body: bytes) -> int:
    """What goes in, by the body's size.  At least 1.  About 0.2 µs for a body without files."""
    text = len(body)
    if text < 1_000 or _MARK not in body:
        return text // BYTES_PER_TOKEN or 1
    files = 0
    at = body.find(_MARK)
    while at >= 0:
        end = body.find(b'"', at)
        end = len(body) if end < 0 else end
        text -= end - at
        files += 1
        at = body.find(_MARK, end)
    return text // BYTES_PER_TOKEN + files * FILE_TOKENS


def expected_tokens(call: Call, input_count: int, output_count: int) -> int:
    """Input and output together.  output_count: what one answer is taken to have at most, unless its caller says less."""
    if call.endpoint in ANSWERLESS:
        return 0 if WIRES[call.endpoint].free else input_count
    head = call.head
    if head.weight.pieces.images:
        return input_count + pieces.drawn_tokens(head.weight.pieces)
    if head.weight.pieces.characters:
        return input_count + pieces.spoken_tokens(head.weight.pieces.characters)
    if head.weight.pieces.audio_ms:
        audio_ms = head.weight.pieces.audio_ms
        return input_count + pieces.heard_tokens(audio_ms) + pieces.said_tokens(audio_ms)
    asked = head.output_max
    return input_count + (output_count if asked is None or asked > output_count else asked) * head.choices


def used_tokens(trail: Sequence[Attempt], input_count: int) -> int:
    """What the tries used: what was reported, else what came out and an estimate of what went in; nothing for a try that
    failed and gave nothing."""
    return sum(used_by(attempt, input_count) for attempt in trail)


def used_by(attempt: Attempt, input_count: int) -> int:
    """The same for one try."""
    usage = attempt.usage
    if attempt.outcome == "ok" and not attempt.may_cost:
        return 0
    if usage is not None and usage.counted:
        return usage.input_tokens + usage.output_tokens
    if attempt.outcome == "ok" or attempt.output_estimate or (attempt.may_cost and attempt.fault == "client"):
        return input_count + attempt.output_estimate
    return 0
