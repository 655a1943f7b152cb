"""Anthropic's endpoints as the gateway speaks them to an upstream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from providers import count
from providers.anthropic import request, response, stream, vertex
from providers.anthropic.tap import TRUNCATIONS, Tap
from providers.canonical import Request, Response
from providers.openai import response as peek
from providers.openai.request import with_model, without
from providers.protocol import Ability, Codec, CountCodec, Posting, Reader, Refusal, Told, Wire
from providers.provider import Answer, HttpRequest, Upstream
from providers.usage import Semantics

VERSION: Final = "2023-06-01"
"""The protocol's version that is asked for where no client names one.
Source: platform.claude.com/docs/en/api/versioning, read 2026-11."""


def passed(body: bytes, posting: Posting) -> HttpRequest:
    """The client's own bytes, with the model's name spliced in."""
    if posting.cut:
        body = without(body, posting.cut)
    if posting.model != posting.asked_model:
        body = with_model(body, posting.model)
    return posted(body, posting)


def posted(body: bytes, posting: Posting) -> HttpRequest:
    """A body of ours."""
    upstream = posting.upstream
    if upstream.vendor.protocol == "vertex-anthropic":
        return vertex.posted(body, posting)
    return sent("POST", upstream.vendor.path(posting.endpoint), upstream, posting.request_id, posting.headers, body)


def sent(
    method: str, path: str, upstream: Upstream, request_id: str, headers: tuple[tuple[str, str], ...], body: bytes
) -> HttpRequest:
    """A request to an account at Anthropic, or at who speaks like it.  path: below its base URL.  headers: the client's."""
    said = {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "x-request-id": request_id,
        "anthropic-version": VERSION,
        **dict(headers),
    }
    if upstream.api_key is not None:
        said["x-api-key"] = upstream.api_key
    if not upstream.vendor.keeps_alive:
        said["connection"] = "close"
    return HttpRequest(f"{upstream.base_url}/{path}", said, body, method)


PAYMENT: Final = 402
_UNPAID: Final = ("Your credit balance is too low", "You have reached your specified API usage limits")
"""How a 400 begins that is the account's fault: it has no type or code of its own, though the reference names
``billing_error`` (402) for it.
Source: platform.claude.com/docs/en/api/errors, read 2026-11, and answers that users of Anthropic's clients have reported."""


def refusal(status: int, body: bytes) -> Refusal:
    """What an error answer says.  A request that nobody pays for is no wrong request."""
    said = peek.error_body(body)
    if status == 400 and said.message.startswith(_UNPAID):
        status = PAYMENT
    return Refusal(status=status, body=said)


def tap(strip_usage: bool, semantics: Semantics) -> Reader:
    """Reads a stream that passes untouched; its usage always belongs to it."""
    del strip_usage
    return Tap(semantics)


_STOPPED = re.compile(rb'"stop_reason"\s*:\s*"([a-z_]+)"')


def _peek(body: bytes, semantics: Semantics) -> Answer:
    """Peek at a 200's body.  Raises: InvalidResponse, RefusedInBody."""
    answer = peek.decode(body, semantics)
    stopped = {found.decode() for found in _STOPPED.findall(body)}
    return answer if stopped.isdisjoint(TRUNCATIONS) else replace(answer, truncated=True)


def _decode_request(fields: Mapping[str, Any], model: str, stream: bool) -> Request:
    del model, stream  # both stand in the body
    return request.decode(fields)


def _encode_request(asked: Request, ability: Ability) -> dict[str, Any]:
    return request.encode(asked, request.Limits(output_max=ability.output_max, thinking=ability.thinking))


def _decode_answer(body: bytes, semantics: Semantics) -> Response:
    return response.decode(body, semantics)


def _encode_answer(answer: Response, told: Told) -> bytes:
    return response.encode(answer, model=told.model)


CODEC = Codec(
    family="anthropic",
    drops=frozenset(("context_management", "output_config", "output_format", "thinking", "speed", "diagnostics")),
    decode_request=_decode_request,
    encode_request=_encode_request,
    decode_answer=_decode_answer,
    encode_answer=_encode_answer,
    decoder=stream.Decoder,
    encoder=lambda told: stream.Encoder(model=told.model),
    leave=request.leave,
)

_COUNTED: Final = ("model", "messages", "system", "thinking", "tool_choice", "tools")
"""What may be asked for with a count.  Source: platform.claude.com/docs/en/api/messages-count-tokens, read 2026-11."""


def _decode_count(fields: Mapping[str, Any], model: str) -> Request:
    del model  # it stands in the body
    return request.decode(fields)


def _encode_count(asked: Request, ability: Ability) -> dict[str, Any]:
    body = _encode_request(asked, ability)
    return {name: value for name, value in body.items() if name in _COUNTED}


COUNT = CountCodec(
    drops=CODEC.drops,
    decode_request=_decode_count,
    encode_request=_encode_count,
    decode_answer=partial(count.decode, field="input_tokens"),
    encode_answer=partial(count.encode, field="input_tokens"),
)

HEADERS: Final = frozenset({b"anthropic-version", b"anthropic-beta"})
"""Those of a client's that go on."""

WIRES = (
    Wire(
        endpoint="messages",
        kind="chat",
        passed=passed,
        posted=posted,
        peek=_peek,
        tap=tap,
        refusal=refusal,
        lets_through=HEADERS,
        codec=CODEC,
    ),
    Wire(
        endpoint="messages/count_tokens",
        kind="count",
        passed=passed,
        posted=posted,
        peek=_peek,
        tap=tap,
        refusal=refusal,
        lets_through=HEADERS,
        free=True,
        codec=COUNT,
    ),
)
