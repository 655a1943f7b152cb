"""OpenAI's endpoints as the gateway speaks them to an upstream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from providers.canonical import Request, Response
from providers.openai import chat_request, chat_response, chat_stream, embedding, request, response
from providers.openai.stream import StreamReader
from providers.protocol import Ability, Codec, Posting, Reader, Refusal, Told, Wire
from providers.provider import Endpoint, HttpRequest
from providers.usage import Semantics


def passed(body: bytes, posting: Posting) -> HttpRequest:
    """The client's own bytes; see ``request.encode``."""
    return request.encode(
        body,
        upstream=posting.upstream,
        endpoint=posting.endpoint,
        asked_model=posting.asked_model,
        model=posting.model,
        ask_usage=posting.ask_usage,
        stream_options=posting.stream_options,
        request_id=posting.request_id,
        cut=posting.cut,
    )


def posted(body: bytes, posting: Posting) -> HttpRequest:
    """A body of ours."""
    return request.post(body, upstream=posting.upstream, endpoint=posting.endpoint, request_id=posting.request_id)


def refusal(status: int, body: bytes) -> Refusal:
    """What an error answer says."""
    return Refusal(status=status, body=response.error_body(body))


def _decode_request(fields: Mapping[str, Any], model: str, stream: bool) -> Request:
    del model, stream  # both stand in the body
    return chat_request.decode(fields)


def _encode_request(asked: Request, ability: Ability) -> dict[str, Any]:
    usage = True if asked.stream and ability.asks_usage else None
    return chat_request.encode(replace(asked, stream_usage=usage), older_bound=not ability.newer_bound)


def _encode_answer(answer: Response, told: Told) -> bytes:
    return chat_response.encode(answer, model=told.model, created_s=told.created_s)


def _encoder(told: Told) -> chat_stream.Encoder:
    return chat_stream.Encoder(model=told.model, created_s=told.created_s, include_usage=told.include_usage)


CHAT = Codec(
    family="openai-chat",
    drops=frozenset(
        ("cache", "store", "prediction", "safety_identifier", "verbosity", "prompt_cache_retention", "prompt_cache_options")
    ),
    decode_request=_decode_request,
    encode_request=_encode_request,
    decode_answer=chat_response.decode,
    encode_answer=_encode_answer,
    decoder=chat_stream.Decoder,
    encoder=_encoder,
)


def _tap(endpoint: Endpoint) -> Any:
    def tap(strip_usage: bool, semantics: Semantics) -> Reader:
        return StreamReader(endpoint, strip_usage=strip_usage, semantics=semantics)

    return tap


def _wire(endpoint: Endpoint, **more: Any) -> Wire:
    return Wire(
        endpoint=endpoint, passed=passed, posted=posted, peek=response.decode, tap=_tap(endpoint), refusal=refusal, **more
    )


WIRES = (
    _wire("chat/completions", kind="chat", codec=CHAT),
    _wire("completions", kind="text"),
    _wire("embeddings", kind="embedding", codec=embedding.CODEC),
    _wire("responses", kind="response"),
)
