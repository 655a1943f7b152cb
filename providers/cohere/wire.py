"""Cohere's chat and embed as the gateway speaks it to an upstream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from providers.canonical import Request, Response
from providers.cohere import embed, request, response, stream
from providers.openai.request import with_model, without
from providers.openai.response import error_body
from providers.protocol import Ability, Codec, Posting, Refusal, Told, Wire
from providers.provider import Answer, HttpRequest
from providers.usage import Semantics


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
    headers = {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "x-request-id": posting.request_id,
    }
    if upstream.api_key is not None:
        headers["authorization"] = f"Bearer {upstream.api_key}"
    return HttpRequest(f"{upstream.base_url}/{upstream.vendor.path(posting.endpoint)}", headers, body)


def peek(body: bytes, semantics: Semantics) -> Answer:
    """The metered side of a whole answer.  Raises: InvalidResponse."""
    read = response.decode(body, semantics)
    return Answer(model="", usage=read.usage, usage_raw=read.usage_raw)


def peek_embedding(body: bytes, semantics: Semantics) -> Answer:
    """The same of an answer of vectors.  Raises: InvalidResponse."""
    read = embed.decode_answer(body, semantics)
    return Answer(model="", usage=read.usage, usage_raw=read.usage_raw)


def refusal(status: int, body: bytes) -> Refusal:
    """What an error answer says."""
    return Refusal(status=status, body=error_body(body))


def _decode_request(fields: Mapping[str, Any], model: str, stream: bool) -> Request:
    del model, stream  # both stand in the body
    return request.decode(fields)


def _encode_request(asked: Request, ability: Ability) -> dict[str, Any]:
    del ability  # the names of its models tell what they take
    return request.encode(asked)


def _encode_answer(answer: Response, told: Told) -> bytes:
    del told  # it names no model
    return response.encode(answer)


def _encoder(told: Told) -> stream.Encoder:
    del told
    return stream.Encoder()


CODEC: Final = Codec(
    family="cohere",
    drops=frozenset(("priority",)),
    decode_request=_decode_request,
    encode_request=_encode_request,
    decode_answer=response.decode,
    encode_answer=_encode_answer,
    decoder=stream.Decoder,
    encoder=_encoder,
)

WIRES: Final = (
    Wire(endpoint="v2/chat", kind="chat", passed=passed, posted=posted, peek=peek, tap=None, refusal=refusal, codec=CODEC),
    Wire(
        endpoint="v2/embed",
        kind="embedding",
        passed=passed,
        posted=posted,
        peek=peek_embedding,
        tap=None,
        refusal=refusal,
        codec=embed.CODEC,
    ),
)
