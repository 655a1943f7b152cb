"""Gemini's generateContent: a whole answer from JSON to the canonical form, and back.

Source: ai.google.dev/api/generate-content, read 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from providers import characters, usage
from providers.canonical import (
    Audio,
    Choice,
    Citation,
    File,
    Finish,
    Image,
    Malformed,
    Native,
    Part,
    Reasoning,
    Refusal,
    Response,
    Text,
    ToolCall,
    Video,
)
from providers.errors import InvalidResponse, RefusedInBody
from providers.gemini.errors import error_body
from providers.gemini.request import FAMILY, fields_of, part_of
from providers.reading import without_nothing
from providers.usage import Semantics, Usage, semantics_of

SEMANTICS: Final = semantics_of("gemini", "generateContent")

FINISHES: Final[Mapping[str, Finish]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "MALFORMED_FUNCTION_CALL": "error",
    "MALFORMED_RESPONSE": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "LANGUAGE": "other",
    "OTHER": "other",
}

_NUMBERS: Final[Mapping[object, str]] = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}
"""The first of the reasons as numbers, which Vertex AI writes where a client's library asks for that.

Source: cloud.google.com/vertex-ai/generative-ai/docs/reference/rest, ``$alt=json;enum-encoding=int``, read 2026-11.
"""

FINISH_WORDS: Final[Mapping[Finish, str]] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    "pause": "STOP",
    "error": "OTHER",
    "other": "OTHER",
}

_KNOWN: Final = frozenset(("candidates", "usageMetadata", "modelVersion", "responseId"))
_CANDIDATE: Final = frozenset(("content", "finishReason", "index", "logprobsResult"))


class _Peek(msgspec.Struct, rename="camel"):
    usage_metadata: msgspec.Raw = msgspec.Raw(b"null")


_peek = msgspec.json.Decoder(_Peek).decode


def decode(body: bytes, semantics: Semantics = SEMANTICS) -> Response:
    """A provider's answer.  Raises: InvalidResponse; RefusedInBody, if it is an error in disguise."""
    body = characters.whole(body)
    try:
        value = json.loads(body)
        if value.get("error"):
            raise RefusedInBody(error_body(body))
        raw = bytes(_peek(body).usage_metadata)
        candidates = value.get("candidates") or ()
        choices = tuple(candidate(it, at) for at, it in enumerate(candidates)) or blocked(value)
    except (ValueError, KeyError, TypeError, AttributeError, Malformed, RecursionError, msgspec.DecodeError) as error:
        raise InvalidResponse("The upstream's answer is not a generated content.") from error
    return Response(
        family=FAMILY,
        id=str(value.get("responseId") or ""),
        model=str(value.get("modelVersion") or ""),
        choices=choices,
        usage=None if raw == b"null" else used(raw, semantics, blocked=not candidates and bool(value.get("promptFeedback"))),
        usage_raw=b"" if raw == b"null" else raw,
        extra={name: field for name, field in value.items() if name not in _KNOWN},
    )


def used(raw: bytes, semantics: Semantics, *, blocked: bool) -> Usage | None:
    """What a usage object reports.  blocked: the prompt was refused; without a count it has not even come to the model."""
    read = usage.read(raw, semantics)
    return Usage(raw=raw) if read is None and blocked else read


def blocked(value: Mapping[str, Any]) -> tuple[Choice, ...]:
    """The prompt was refused, or the model had nothing to say.  Raises: KeyError, if that is not so either."""
    if not value.get("promptFeedback") and value["usageMetadata"]:
        return (Choice(parts=(), finish="other"),)
    reason = value["promptFeedback"]["blockReason"]
    return (Choice(parts=(), finish="content_filter", native_finish="", extra={"blocked": str(reason)}),)


def candidate(value: Mapping[str, Any], at: int) -> Choice:
    """One of the answers.  Raises: Malformed, KeyError, TypeError."""
    content = value.get("content") or {}
    grounding = value.get("groundingMetadata")
    parts = tuple(_with_citations(list(_parts(content)), grounding))
    word = word_of(value.get("finishReason"))
    return Choice(
        index=index if isinstance(index := value.get("index"), int) else at,
        parts=parts,
        finish=finish_of(word, called=any(isinstance(part, ToolCall) for part in parts)),
        native_finish=word,
        logprobs=value.get("logprobsResult"),
        extra={name: field for name, field in value.items() if name not in _CANDIDATE},
    )


def word_of(reason: object) -> str:
    """The name of a reason to have finished; empty: none is told yet."""
    return _NUMBERS.get(reason) or str(reason or "") if isinstance(reason, str | int) else ""


def finish_of(word: str, *, called: bool) -> Finish:
    """Why an answer ended; this protocol says that it stopped, or even that it did not expect it, when it called a tool."""
    return "tool_calls" if called and word in ("STOP", "UNEXPECTED_TOOL_CALL") else FINISHES.get(word, "other")


def _parts(content: Mapping[str, Any]) -> Iterator[Part]:
    calls: dict[str, list[str]] = {}
    for at, value in enumerate(content.get("parts") or ()):
        yield part_of(fields_of(value, f"content.parts[{at}]"), calls)


_PLACES: Final = ("web", "retrievedContext", "maps")
"""Where a search has looked: each has its ``uri`` and ``title``."""


def citations(grounding: object, text: str) -> tuple[Citation, ...]:
    """What an answer rests on: the places of a search that support it.

    text: the whole of the answer; a place in it is counted in bytes there, in characters here.
    Source: ai.google.dev/api/generate-content#GroundingMetadata, and recorded answers, read 2026-11.
    """
    if not isinstance(grounding, dict):
        return ()
    chunks = grounding.get("groundingChunks") or ()
    found = []
    for support in grounding.get("groundingSupports") or ():
        segment = support.get("segment") or {}
        for index in support.get("groundingChunkIndices") or ():
            chunk = chunks[index] if 0 <= index < len(chunks) else {}
            place: Mapping[str, Any] = next((chunk[name] for name in _PLACES if chunk.get(name)), {})
            if place.get("uri"):
                end = segment.get("endIndex")
                cited = Citation(
                    family=FAMILY,
                    native={},
                    url=place["uri"],
                    title=place.get("title") or "",
                    quoted=segment.get("text") or "",
                    start=_characters(text, segment.get("startIndex") or 0),
                    end=None if end is None else _characters(text, end),
                )
                found.append(cited)
    return tuple(found)


def _characters(text: str, size_bytes: int) -> int:
    return size_bytes if text.isascii() else len(text.encode("utf-8", "replace")[:size_bytes].decode(errors="ignore"))


def _with_citations(parts: list[Part], grounding: object) -> Iterator[Part]:
    """The parts, the first text with what the answer rests on."""
    cited = citations(grounding, "".join(part.text for part in parts if isinstance(part, Text)))
    for part in parts:
        if cited and isinstance(part, Text):
            yield msgspec.structs.replace(part, citations=cited)
            cited = ()
        else:
            yield part


def encode(response: Response, *, model: str) -> bytes:
    """The body for a client.  model: what it is told answered."""
    same = response.family == FAMILY
    body = {
        "candidates": [candidate_json(it, same=same) for it in response.choices if "blocked" not in it.extra],
        "usageMetadata": msgspec.Raw(response.usage_raw) if same and response.usage_raw else usage_json(response.usage),
        "modelVersion": model,
        **without_nothing({"responseId": response.id}),
        **(response.extra if same else {}),
    }
    return msgspec.json.encode(without_nothing(body))


def candidate_json(choice: Choice, *, same: bool) -> dict[str, Any]:
    """One of the answers."""
    parts = [made for part in choice.parts if (made := part_json(part, same=same)) is not None]
    word = choice.native_finish if same else FINISH_WORDS[choice.finish]
    content = {"parts": parts, "role": "model"} if parts else {}
    logprobs = {"logprobsResult": choice.logprobs} if same and choice.logprobs is not None else {}
    finish = {"finishReason": word} if word else {}
    return {"content": content, **finish, "index": choice.index, **logprobs, **(choice.extra if same else {})}


def part_json(part: Part, *, same: bool) -> dict[str, Any] | None:
    """A part of an answer; ``None``: nothing that this protocol's clients could read."""
    extra = dict(getattr(part, "extra", {})) if same else {}
    seal = {"thoughtSignature": part.signature} if isinstance(part, Text | ToolCall | Reasoning) and part.signature else {}
    match part:
        case Text():
            return {"text": part.text, **seal, **extra} if part.text or same else None
        case Refusal():
            return {"text": part.text}
        case Reasoning():
            text = part.text or "\n\n".join(part.summary)
            if not text and not (seal and part.family == FAMILY):
                return None
            return {"text": text, "thought": True, **(seal if part.family == FAMILY else {}), **extra}
        case ToolCall():
            made_up = extra.pop("no_id", False)
            call = without_nothing({"id": "" if made_up else part.id}) | {"name": part.name, "args": arguments(part)}
            return {"functionCall": call, **seal, **extra}
        case Image() | Audio() | Video() | File():
            if part.media.data:
                return {"inlineData": {"mimeType": part.media.media_type, "data": part.media.data}, **extra}
            return (
                {"fileData": {"mimeType": part.media.media_type, "fileUri": part.media.url}, **extra}
                if part.media.url
                else None
            )
        case Native():
            if part.family == FAMILY:
                return dict(part.value)
            return {"text": part.text} if part.text else None
        case _:
            return None


def arguments(call: ToolCall) -> dict[str, Any]:
    """A call's arguments, which are an object here."""
    if call.custom:
        return {"input": call.arguments}
    try:
        value = characters.loads(call.arguments or "{}")
    except ValueError:
        # The model wrote no JSON.  The client sees what it wrote, rather than nothing.
        return {"input": call.arguments}
    return value if isinstance(value, dict) else {"input": value}


def usage_json(read: Usage | None) -> dict[str, Any] | None:
    """The usage object: here thoughts are beside the candidates' tokens, and cached tokens inside the prompt's."""
    if read is None:
        return None
    return {
        "promptTokenCount": read.input_tokens,
        "candidatesTokenCount": read.output_tokens - read.reasoning,
        "totalTokenCount": read.input_tokens + read.output_tokens,
        **without_nothing({"thoughtsTokenCount": read.reasoning or None}),
        **without_nothing({"cachedContentTokenCount": (read.cache_read + read.cache_read_audio) or None}),
    }
