"""Anthropic's messages: a whole answer from JSON to the canonical form, and back.

Source: platform.claude.com/docs/en/api/messages, read 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from providers import characters, usage
from providers.anthropic.request import EMPTY_INPUT, FAMILY, block_part, tool_id
from providers.canonical import (
    Choice,
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
)
from providers.errors import InvalidResponse, RefusedInBody
from providers.openai.response import error_body
from providers.reading import Fields, without_nothing
from providers.usage import Semantics, Usage, semantics_of

SEMANTICS: Final = semantics_of("anthropic", "messages")

FINISHES: Final[Mapping[str, Finish]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "pause_turn": "pause",
    # It has summed up the conversation, as it was asked to before it goes on.
    "compaction": "pause",
}

FINISH_WORDS: Final[Mapping[Finish, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
    "error": "end_turn",
    "other": "end_turn",
}

_KNOWN: Final = frozenset(("id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"))


class _Peek(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw(b"null")


_peek = msgspec.json.Decoder(_Peek).decode


def decode(body: bytes, semantics: Semantics = SEMANTICS) -> Response:
    """A provider's answer.  Raises: InvalidResponse; RefusedInBody, if it is an error in disguise."""
    body = characters.whole(body)
    try:
        value = json.loads(body)
        if value.get("type") == "error":
            raise RefusedInBody(error_body(body))
        raw = bytes(_peek(body).usage)
        parts = tuple(block_part(Fields(block, f"content[{at}]")) for at, block in enumerate(value["content"]))
    except (ValueError, KeyError, TypeError, AttributeError, Malformed, RecursionError, msgspec.DecodeError) as error:
        raise InvalidResponse("The upstream's answer is not a message.") from error
    word = str(value.get("stop_reason") or "")
    choice = Choice(
        parts=parts,
        finish=FINISHES.get(word, "other"),
        stopped_by=value.get("stop_sequence") or "",
        native_finish=word,
    )
    return Response(
        family=FAMILY,
        id=str(value.get("id") or ""),
        model=str(value.get("model") or ""),
        choices=(choice,),
        usage=None if raw == b"null" else usage.read(raw, semantics),
        usage_raw=b"" if raw == b"null" else raw,
        extra={name: field for name, field in value.items() if name not in _KNOWN and field is not None},
    )


def encode(response: Response, *, model: str) -> bytes:
    """The body for a client.  model: what it is told answered."""
    same = response.family == FAMILY
    choice = response.choices[0] if response.choices else Choice(parts=(), finish="other")
    body = {
        "id": response.id or "msg_tollway",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [block for part in choice.parts if (block := block_json(part, same=same)) is not None],
        "stop_reason": finish_word(choice.finish, choice.stopped_by, choice.native_finish if same else ""),
        "stop_sequence": choice.stopped_by or None,
        "usage": msgspec.Raw(response.usage_raw) if same and response.usage_raw else usage_json(response.usage),
        **(response.extra if same else {}),
    }
    return msgspec.json.encode(body)


def finish_word(finish: Finish, stopped_by: str, native: str) -> str:
    """Why it ended, in this protocol's words."""
    return native or ("stop_sequence" if stopped_by else FINISH_WORDS[finish])


def block_json(part: Part, *, same: bool) -> dict[str, Any] | None:
    """A block of an answer; ``None``: nothing that this protocol's clients could read."""
    extra = getattr(part, "extra", {}) if same else {}
    match part:
        case Text():
            cited = [dict(it.native) for it in part.citations if it.family == FAMILY]
            return {"type": "text", "text": part.text, **without_nothing({"citations": cited}), **extra}
        case Refusal():
            return {"type": "text", "text": part.text}
        case Reasoning(family=family) if family == FAMILY and part.encrypted:
            return {"type": "redacted_thinking", "data": part.encrypted, **extra}
        case Reasoning():
            text = part.text or "\n\n".join(part.summary)
            # The field is required.  An empty seal says that nobody made one; such thoughts are not sent back to any provider.
            seal = part.signature if part.family == FAMILY else ""
            return {"type": "thinking", "thinking": text, "signature": seal, **extra} if text or seal else None
        case ToolCall():
            return {
                "type": "tool_use",
                "id": tool_id(part.id or part.name),
                "name": part.name,
                "input": input_of(part),
                **extra,
            }
        case Native():
            if part.family == FAMILY:
                return dict(part.value)
            return {"type": "text", "text": part.text} if part.text else None
        case Image():
            return None
        case _:
            return None


def input_of(call: ToolCall) -> dict[str, Any]:
    """A call's arguments, as the object that they are here; what is none is in one."""
    if call.custom:
        return {"input": call.arguments}
    try:
        value = characters.loads(call.arguments or EMPTY_INPUT)
    except ValueError:
        # The model wrote no JSON.  The client sees what it wrote, rather than nothing.
        return {"input": call.arguments}
    return value if isinstance(value, dict) else {"input": value}


def usage_json(read: Usage | None) -> dict[str, Any]:
    """The usage object of a message; its counts are required."""
    told = read or Usage()
    return {
        "input_tokens": told.input_uncached + told.input_audio + told.input_image,
        "cache_creation_input_tokens": told.cache_write + told.cache_write_1h,
        "cache_read_input_tokens": told.cache_read + told.cache_read_audio,
        "output_tokens": told.output_tokens,
        **({"output_tokens_details": {"thinking_tokens": told.reasoning}} if told.reasoning else {}),
    }
