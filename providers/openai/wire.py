"""OpenAI's endpoints as the gateway speaks them to an upstream."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from providers import count
from providers.canonical import File, Function, Part, Request, Response, ToolResult, Unsupported
from providers.openai import (
    chat_request,
    chat_response,
    chat_stream,
    embedding,
    images,
    realtime,
    request,
    rerank,
    response,
    responses_decoder,
    responses_encoder,
    responses_request,
    responses_response,
    transcript,
)
from providers.openai.stream import StreamReader
from providers.openai.typed_stream import Opaque, TypedReader
from providers.protocol import Ability, Codec, CountCodec, Posting, Reader, Refusal, Told, Wire
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
    return request.post(
        body, upstream=posting.upstream, endpoint=posting.endpoint, model=posting.model, request_id=posting.request_id
    )


def refusal(status: int, body: bytes) -> Refusal:
    """What an error answer says."""
    return Refusal(status=status, body=response.error_body(body))


def _decode_request(fields: Mapping[str, Any], model: str, stream: bool) -> Request:
    del model, stream  # both stand in the body
    return chat_request.decode(fields)


USER_MAX: Final = 64
"""Characters of a user's name; OpenAI refuses longer ones.  Source: its error ``string_above_max_length``, seen 2026-11."""
_TIERS: Final = {"auto": "auto", "standard_only": "default"}
_OWN: Final = frozenset(("openai-chat", "openai-responses"))
"""Protocols that have OpenAI's names for service tiers."""


def _encode_request(asked: Request, ability: Ability) -> dict[str, Any]:
    asked = replace(asked, stream_usage=True if asked.stream and ability.asks_usage else None)
    if asked.family != CHAT.family:
        asked = _presentable(asked, ability)
        for at, message in enumerate(asked.messages):
            if any(isinstance(part, File) and part.media.file_id for part in message.parts):
                raise Unsupported(f"messages[{at}]", "a file by its id belongs to the provider that holds it")
    return chat_request.encode(asked, older_bound=not ability.newer_bound, thinking=ability.thinking)


def _presentable(asked: Request, ability: Ability) -> Request:
    """What a client of another protocol asks: what OpenAI's providers would stumble over is said so that they do not."""
    own = asked.family in _OWN
    asked = replace(
        asked,
        service_tier=asked.service_tier if own else _TIERS.get(asked.service_tier, ""),
        # Still the same user's, and nobody else's.
        user=sha256(asked.user.encode()).hexdigest() if len(asked.user) > USER_MAX else asked.user,
    )
    return asked if ability.cache_hints else _without_hints(asked)


def _without_hints(asked: Request) -> Request:
    messages = tuple(replace(it, parts=tuple(map(_unhinted, it.parts))) for it in asked.messages)
    tools = tuple(replace(it, cache=None) if isinstance(it, Function) and it.cache else it for it in asked.tools)
    return replace(asked, messages=messages, tools=tools)


def _unhinted(part: Part) -> Part:
    if isinstance(part, ToolResult):
        return replace(part, cache=None, content=tuple(map(_unhinted, part.content)))
    return replace(part, cache=None) if getattr(part, "cache", None) is not None else part


def _encode_answer(answer: Response, told: Told) -> bytes:
    return chat_response.encode(answer, model=told.model, created_s=told.created_s)


def _encoder(told: Told) -> chat_stream.Encoder:
    return chat_stream.Encoder(model=told.model, created_s=told.created_s, include_usage=told.include_usage)


CHAT = Codec(
    family="openai-chat",
    drops=frozenset(
        (
            "store",
            "prediction",
            "safety_identifier",
            "prompt_cache_retention",
            "prompt_cache_options",
            # Asked in a vendor's words, and read: ``chat_request.leave``.
            "reasoning",
            "thinking",
            "enable_thinking",
            "thinking_budget",
            "random_seed",
            # In which field thoughts are told (Groq): always in the same one.
            "reasoning_format",
            "include_reasoning",
            # OpenRouter's way of asking for what is always told.
            "usage",
        )
    ),
    leave=chat_request.leave,
    decode_request=_decode_request,
    encode_request=_encode_request,
    decode_answer=chat_response.decode,
    encode_answer=_encode_answer,
    decoder=chat_stream.Decoder,
    encoder=_encoder,
)


def _decode_responses(fields: Mapping[str, Any], model: str, stream: bool) -> Request:
    del model, stream  # both stand in the body
    return responses_request.decode(fields)


def _encode_responses(asked: Request, ability: Ability) -> dict[str, Any]:
    if asked.family != RESPONSES.family:
        asked = _presentable(asked, ability)
    return responses_request.encode(asked, thinking=ability.thinking)


def _encode_response(answer: Response, told: Told) -> bytes:
    return responses_response.encode(answer, model=told.model, created_s=told.created_s, name=told.id, asked=told.asked)


def _response_encoder(told: Told) -> responses_encoder.Encoder:
    return responses_encoder.Encoder(model=told.model, created_s=told.created_s, name=told.id, asked=told.asked)


RESPONSES = Codec(
    family="openai-responses",
    drops=responses_request.DROPS,
    leave=responses_request.leave,
    decode_request=_decode_responses,
    encode_request=_encode_responses,
    decode_answer=responses_response.decode,
    encode_answer=_encode_response,
    decoder=responses_decoder.Decoder,
    encoder=_response_encoder,
)

COUNTED: Final = frozenset(
    (
        "model",
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "text",
        "reasoning",
        "truncation",
        "previous_response_id",
        "conversation",
        "personality",
    )
)
"""What may be asked for with a count.
Source: platform.openai.com/docs/api-reference/responses/input-tokens, and openai 2 (Python), read 2026-11."""


def _decode_count(fields: Mapping[str, Any], model: str) -> Request:
    del model  # it stands in the body
    return responses_request.decode(fields)


def _encode_count(asked: Request, ability: Ability) -> dict[str, Any]:
    # How an answer is to be is nothing that is counted; what the protocol has no word for is no reason to refuse it.
    asked = replace(asked, choices=None, stop=(), modalities=(), presence_penalty=None, frequency_penalty=None)
    body = _encode_responses(asked, ability)
    return {name: value for name, value in body.items() if name in COUNTED}


def _encode_counted(tokens: int) -> bytes:
    return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": tokens})


COUNT = CountCodec(
    drops=RESPONSES.drops | {"personality"},
    leave=responses_request.leave,
    decode_request=_decode_count,
    encode_request=_encode_count,
    decode_answer=partial(count.decode, field="input_tokens"),
    encode_answer=_encode_counted,
)


def _tap(endpoint: Endpoint) -> Any:
    def tap(strip_usage: bool, semantics: Semantics) -> Reader:
        return StreamReader(endpoint, strip_usage=strip_usage, semantics=semantics)

    return tap


def _drawn(strip_usage: bool, semantics: Semantics) -> Reader:
    del strip_usage  # nobody asks for it
    return TypedReader(".completed", semantics=semantics, drawn=True, tokens_per_event=images.PARTIAL_TOKENS)


def _spoken(strip_usage: bool, semantics: Semantics) -> Reader:
    del strip_usage  # as above
    return TypedReader("speech.audio.done", semantics=semantics)


def _heard(strip_usage: bool, semantics: Semantics) -> Reader:
    del strip_usage  # as above
    return TypedReader("transcript.text.done", semantics=semantics)


def _wire(endpoint: Endpoint, **more: Any) -> Wire:
    plain: dict[str, Any] = {"peek": response.decode, "tap": _tap(endpoint)}
    return Wire(endpoint=endpoint, passed=passed, posted=posted, refusal=refusal, **(plain | more))


def _pictures(endpoint: Endpoint) -> Wire:
    return _wire(endpoint, kind="image", peek=images.decode, tap=_drawn, answer_max_bytes=images.ANSWER_MAX_BYTES)


# Source: OpenAI's, Groq's, vLLM's and faster-whisper-server's answers to response_format text, srt and vtt.
_TEXTS: Final = frozenset(("text/plain", "text/vtt", "text/srt", "application/x-subrip"))

WIRES = (
    _wire("chat/completions", kind="chat", codec=CHAT),
    _wire("completions", kind="text"),
    _wire("embeddings", kind="embedding", codec=embedding.CODEC),
    _wire("responses", kind="chat", codec=RESPONSES),
    _wire("responses/input_tokens", kind="count", free=True, codec=COUNT),
    # Its answer is sealed for who made it: nobody else could make one, or read it.
    _wire("responses/compact", kind="compaction"),
    _wire("moderations", kind="moderation"),
    _pictures("images/generations"),
    _pictures("images/edits"),
    _pictures("images/variations"),
    _wire("audio/speech", kind="speech", tap=_spoken, opaque=Opaque),
    _wire("audio/transcriptions", kind="transcript", peek=transcript.decode, tap=_heard, plain=_TEXTS),
    _wire("audio/translations", kind="transcript", peek=transcript.decode, tap=_heard, plain=_TEXTS),
    _wire("rerank", kind="rerank", peek=rerank.decode),
    # A socket: nothing of it is posted, and its handshake is refused as a request is.
    _wire("realtime", kind="session", lets_through=frozenset(name.encode() for name in realtime.LETS_THROUGH)),
)
