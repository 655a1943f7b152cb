"""Converse, and InvokeModel of embedding models, as the gateway speaks it to an upstream."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from providers import count
from providers.bedrock import embedding, models, request, response, stream
from providers.canonical import Request, Response
from providers.openai.request import without
from providers.openai.response import error_body
from providers.protocol import Ability, Codec, CountCodec, Posting, Refusal, Told, Wire
from providers.provider import Answer, HttpRequest
from providers.reading import Fields
from providers.usage import Semantics

MODEL_FAILED: Final = 424
"""What Bedrock answers where the model behind it failed.
Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, ModelErrorException, read 2026-11."""


def passed(body: bytes, posting: Posting) -> HttpRequest:
    """The client's own bytes; the model's name is in the URL alone."""
    return posted(without(body, posting.cut) if posting.cut else body, posting)


def posted(body: bytes, posting: Posting) -> HttpRequest:
    """A body of ours.  Without a key of Bedrock's own it has to be signed."""
    upstream = posting.upstream
    headers = {
        "content-type": "application/json",
        "accept": stream.CONTENT_TYPE if posting.stream else "application/json",
        "accept-encoding": "identity",
        "x-request-id": posting.request_id,
    }
    if upstream.api_key is not None:
        headers["authorization"] = f"Bearer {upstream.api_key}"
    action = "converse-stream" if posting.stream and posting.endpoint == "converse" else posting.endpoint
    return HttpRequest(models.url(upstream.base_url, posting.model, action), headers, body)


def peek(body: bytes, semantics: Semantics) -> Answer:
    """The metered side of a whole answer.  Raises: InvalidResponse."""
    read = response.decode(body, semantics)
    return Answer(model="", usage=read.usage, usage_raw=read.usage_raw)


def peek_embedding(body: bytes, semantics: Semantics) -> Answer:
    """The same of an answer of vectors.  Raises: InvalidResponse."""
    read = embedding.decode_answer(body, semantics)
    return Answer(model="", usage=read.usage, usage_raw=read.usage_raw)


def refusal(status: int, body: bytes) -> Refusal:
    """What an error answer says."""
    return Refusal(status=500 if status == MODEL_FAILED else status, body=error_body(body))


def _decode_request(fields: Mapping[str, Any], model: str, stream: bool) -> Request:
    return request.decode(fields, model=model, stream=stream)


def _encode_request(asked: Request, ability: Ability) -> dict[str, Any]:
    return request.encode(asked, models.limits_of(asked.model, ability.thinking, caches=ability.caches))


def _encode_answer(answer: Response, told: Told) -> bytes:
    del told  # it names no model
    return response.encode(answer)


CODEC: Final = Codec(
    family="bedrock",
    drops=frozenset(("requestMetadata", "performanceConfig")),
    decode_request=_decode_request,
    encode_request=_encode_request,
    decode_answer=response.decode,
    encode_answer=_encode_answer,
    decoder=stream.Decoder,
    encoder=lambda told: stream.Encoder(model=told.model),
)


def _decode_count(fields: Mapping[str, Any], model: str) -> Request:
    """Nobody calls it: it is an upstream's alone."""
    whole = Fields(fields).fields("input") or Fields({}, "input")
    return request.decode(whole.object("converse") or {}, model=model, stream=False)


def _encode_count(asked: Request, ability: Ability) -> dict[str, Any]:
    return request.count_tokens(asked, models.limits_of(asked.model, ability.thinking, caches=ability.caches))


COUNT: Final = CountCodec(
    drops=CODEC.drops,
    decode_request=_decode_count,
    encode_request=_encode_count,
    decode_answer=partial(count.decode, field="inputTokens"),
    encode_answer=partial(count.encode, field="inputTokens"),
)

WIRES: Final = (
    Wire(
        endpoint="converse",
        kind="chat",
        passed=passed,
        posted=posted,
        peek=peek,
        tap=None,
        refusal=refusal,
        stream_type=stream.CONTENT_TYPE,
        codec=CODEC,
    ),
    Wire(
        endpoint="count-tokens",
        kind="count",
        passed=passed,
        posted=posted,
        peek=peek,
        tap=None,
        refusal=refusal,
        free=True,
        codec=COUNT,
    ),
    Wire(
        endpoint="invoke",
        kind="embedding",
        passed=passed,
        posted=posted,
        peek=peek_embedding,
        tap=None,
        refusal=refusal,
        codec=embedding.CODEC,
    ),
)
