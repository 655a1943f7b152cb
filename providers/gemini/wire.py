"""Gemini's methods as the gateway speaks them to an upstream."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from providers import count
from providers.canonical import Request, Response
from providers.errors import InvalidResponse, RefusedInBody
from providers.gemini import embedding, request, response, stream
from providers.gemini.errors import error_body, refusal
from providers.gemini.tap import Tap, is_truncated
from providers.openai.request import without
from providers.openai.response import with_whole_characters
from providers.protocol import Ability, Codec, CountCodec, Posting, Reader, Told, Wire
from providers.provider import Answer, Endpoint, HttpRequest
from providers.usage import Semantics

# A resource's name as it stands in a path; everything else is a bare model's, whatever it contains.
_RESOURCE = re.compile(r"(?:models|tunedModels)/[A-Za-z0-9._~-]+")
_UNSAFE = re.compile(rb"[^A-Za-z0-9._~-]")
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def resource(model: str) -> str:
    """A model's name as part of a URL: nothing in it can lead anywhere else."""
    if _RESOURCE.fullmatch(model) is not None:
        return model
    return "models/" + _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], model.encode("utf-8", "replace")).decode()


def passed(body: bytes, posting: Posting) -> HttpRequest:
    """The client's own bytes.  Where they name the model, besides the URL, it is exchanged there too."""
    if posting.cut:
        body = without(body, posting.cut)
    if b'model"' in body:
        body = _with_model(body, posting.model)
    return posted(body, posting)


def _with_model(body: bytes, model: str) -> bytes:
    """The body with the upstream's name wherever the protocol has one; every other value keeps its bytes."""
    fields = _FIELDS.decode(body)
    name = msgspec.Raw(msgspec.json.encode(model if _RESOURCE.fullmatch(model) is not None else f"models/{model}"))
    changed = _renamed(fields, name)
    for inner in ("generateContentRequest", "generate_content_request"):
        if inner in fields and bytes(fields[inner])[:1] == b"{":
            asked = _FIELDS.decode(fields[inner])
            if _renamed(asked, name):
                fields[inner] = msgspec.Raw(msgspec.json.encode(asked))
                changed = True
    if bytes(fields.get("requests", b""))[:1] == b"[":
        asks = msgspec.json.decode(fields["requests"], type=list[dict[str, msgspec.Raw]])
        if [ask for ask in asks if _renamed(ask, name)]:
            fields["requests"] = msgspec.Raw(msgspec.json.encode(asks))
            changed = True
    return msgspec.json.encode(fields) if changed else body


def _renamed(fields: dict[str, msgspec.Raw], name: msgspec.Raw) -> bool:
    if "model" not in fields:
        return False
    fields["model"] = name
    return True


def posted(body: bytes, posting: Posting) -> HttpRequest:
    """A body of ours."""
    upstream = posting.upstream
    headers = {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "x-request-id": posting.request_id,
    }
    if upstream.api_key is not None:
        headers["x-goog-api-key"] = upstream.api_key
    if not upstream.vendor.keeps_alive:
        headers["connection"] = "close"
    method = "streamGenerateContent?alt=sse" if posting.stream and posting.endpoint == "generateContent" else posting.endpoint
    return HttpRequest(f"{upstream.base_url}/{resource(posting.model)}:{method}", headers, body)


class _Peek(msgspec.Struct, rename="camel"):
    model_version: Any = None
    usage_metadata: msgspec.Raw = msgspec.Raw(b"null")
    prompt_feedback: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


_peek = msgspec.json.Decoder(_Peek).decode


def peek(body: bytes, semantics: Semantics) -> Answer:
    """Peek at a 200's body.  Raises: InvalidResponse; RefusedInBody."""
    try:
        try:
            read = _peek(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            whole = with_whole_characters(body)
            if whole is None:
                raise
            read = _peek(whole)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidResponse("The upstream's answer is not the JSON object that the protocol promises.") from error
    raw = bytes(read.usage_metadata)
    if bytes(read.error) != b"null" and raw == b"null":
        raise RefusedInBody(error_body(body))
    return Answer(
        model=read.model_version if isinstance(read.model_version, str) else "",
        usage=response.used(raw, semantics, blocked=b'"blockReason"' in bytes(read.prompt_feedback))
        if raw != b"null"
        else None,
        usage_raw=b"" if raw == b"null" else raw,
        truncated=is_truncated(body),
    )


def tap(strip_usage: bool, semantics: Semantics) -> Reader:
    """Reads a stream that passes untouched; its usage always belongs to it."""
    del strip_usage
    return Tap(semantics)


def _decode_request(fields: Mapping[str, Any], model: str, stream: bool) -> Request:
    return request.decode(fields, model=model, stream=stream)


def _encode_request(asked: Request, ability: Ability) -> dict[str, Any]:
    # A budget of thinking is understood by all of its models that think.
    return request.encode(asked, request.Limits(thinking=ability.thinking))


def _encode_answer(answer: Response, told: Told) -> bytes:
    return response.encode(answer, model=told.model)


CODEC = Codec(
    family="gemini",
    drops=frozenset(
        (
            "model",
            "safetySettings",
            "labels",
            "store",
            "generationConfig.mediaResolution",
            "toolConfig.retrievalConfig",
            "toolConfig.functionCallingConfig",
            "toolConfig.includeServerSideToolInvocations",
        )
    ),
    decode_request=_decode_request,
    encode_request=_encode_request,
    decode_answer=response.decode,
    encode_answer=_encode_answer,
    decoder=stream.Decoder,
    encoder=lambda told: stream.Encoder(model=told.model),
    leave=request.leave,
)


_WHOLE: Final = "generateContentRequest"
"""Where a count has more than ``contents``; Vertex AI has it all at the top.
Sources: ai.google.dev/api/tokens, cloud.google.com/vertex-ai/generative-ai/docs/reference/rest (countTokens), read 2026-11."""


def _posted_count(body: bytes, posting: Posting) -> HttpRequest:
    if posting.upstream.vendor.protocol == "vertex":
        fields = _FIELDS.decode(body)
        if _WHOLE in fields:
            inner = _FIELDS.decode(fields[_WHOLE])
            inner.pop("model", None)
            body = msgspec.json.encode(inner)
    return posted(body, posting)


def _decode_count(fields: Mapping[str, Any], model: str) -> Request:
    whole = fields.get(_WHOLE) or fields.get("generate_content_request")
    return request.decode(whole if isinstance(whole, Mapping) else fields, model=model, stream=False)


def _encode_count(asked: Request, ability: Ability) -> dict[str, Any]:
    body = _encode_request(asked, ability)
    if body.keys() == {"contents"}:
        return body
    return {_WHOLE: {"model": resource(asked.model), **body}}


COUNT: Final = CountCodec(
    drops=CODEC.drops,
    decode_request=_decode_count,
    encode_request=_encode_count,
    decode_answer=partial(count.decode, field="totalTokens"),
    encode_answer=partial(count.encode, field="totalTokens"),
)


def _wire(endpoint: Endpoint, *, posted: Callable[[bytes, Posting], HttpRequest] = posted, **more: Any) -> Wire:
    return Wire(endpoint=endpoint, passed=passed, posted=posted, peek=peek, tap=tap, refusal=refusal, **more)


WIRES: Final = (
    _wire("generateContent", kind="chat", codec=CODEC, json_streams=True),
    _wire("countTokens", kind="count", free=True, posted=_posted_count, codec=COUNT),
    _wire("embedContent", kind="embedding", codec=embedding.ONE),
    _wire("batchEmbedContents", kind="embedding", codec=embedding.MANY),
)
