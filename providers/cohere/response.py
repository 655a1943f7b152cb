"""Cohere's chat: a whole answer from JSON to the canonical form, and back.

Source: docs.cohere.com/reference/chat, read 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from providers import characters, usage
from providers.canonical import (
    Choice,
    Citation,
    Finish,
    Malformed,
    Native,
    Part,
    Reasoning,
    Refusal,
    Response,
    Text,
    ToolCall,
)
from providers.cohere.request import FAMILY, PLAN, message_parts
from providers.errors import InvalidResponse
from providers.reading import Fields, without_nothing
from providers.usage import Semantics, Usage, semantics_of

SEMANTICS: Final = semantics_of("cohere", "chat")

FINISHES: Final[Mapping[str, Finish]] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR": "error",
    "TIMEOUT": "error",
    "ERROR_TOXIC": "content_filter",
    "ERROR_LIMIT": "length",
}

FINISH_WORDS: Final[Mapping[Finish, str]] = {
    "stop": "COMPLETE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "content_filter": "COMPLETE",
    "refusal": "COMPLETE",
    "pause": "COMPLETE",
    "error": "ERROR",
    "other": "COMPLETE",
}

_KNOWN: Final = frozenset(("id", "finish_reason", "message", "usage", "logprobs"))


class _Peek(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw(b"null")


_peek = msgspec.json.Decoder(_Peek).decode


def decode(body: bytes, semantics: Semantics = SEMANTICS, *, model: str = "") -> Response:
    """A provider's answer.  model: who was asked, if that is known; the answer does not say.  Raises: InvalidResponse."""
    body = characters.whole(body)
    try:
        value = json.loads(body)
        raw = bytes(_peek(body).usage)
        message = Fields(value["message"], "message")
        parts = list(message_parts(message))
        cited = tuple(citation(it) for it in message.list("citations"))
        word = str(value["finish_reason"])
    except (ValueError, KeyError, TypeError, Malformed, RecursionError, msgspec.DecodeError) as error:
        raise InvalidResponse("The upstream's answer is not a chat's.") from error
    first = next((at for at, part in enumerate(parts) if isinstance(part, Text)), None)
    if cited and first is not None:
        parts[first] = msgspec.structs.replace(parts[first], citations=cited)
    choice = Choice(parts=tuple(parts), finish=FINISHES.get(word, "other"), native_finish=word, logprobs=value.get("logprobs"))
    return Response(
        family=FAMILY,
        id=str(value.get("id") or ""),
        model=model,
        choices=(choice,),
        usage=None if raw == b"null" else usage.read(raw, semantics),
        usage_raw=b"" if raw == b"null" else raw,
        extra={name: field for name, field in value.items() if name not in _KNOWN and field is not None},
    )


def citation(value: Any) -> Citation:
    """One citation; its places are characters of the text.  Raises: Malformed."""
    said = Fields(value, "citation")
    source = next(iter(said.list("sources")), None)
    document = source.get("document") if isinstance(source, dict) else None
    known = document if isinstance(document, dict) else {}
    return Citation(
        family=FAMILY,
        native=value,
        url=str(known.get("url") or ""),
        title=str(known.get("title") or ""),
        quoted=said.text("text"),
        start=said.whole("start"),
        end=said.whole("end"),
    )


def encode(response: Response) -> bytes:
    """The body for a client, which is not told who answered."""
    same = response.family == FAMILY
    choice = response.choices[0] if response.choices else Choice(parts=(), finish="other")
    plans = [it.text for it in choice.parts if isinstance(it, Reasoning) and it.extra == PLAN]
    content = [block for part in choice.parts if (block := block_json(part)) is not None]
    calls = [call_json(part) for part in choice.parts if isinstance(part, ToolCall)]
    cited = [dict(it.native) for part in choice.parts if isinstance(part, Text) for it in part.citations if it.family == FAMILY]
    said = {"tool_plan": "".join(plans), "content": content, "tool_calls": calls, "citations": cited}
    body = {
        "id": response.id or "tollway",
        "finish_reason": choice.native_finish if same else FINISH_WORDS[choice.finish],
        "message": {"role": "assistant", **without_nothing(said)},
        "usage": msgspec.Raw(response.usage_raw) if same and response.usage_raw else usage_json(response.usage),
        **({"logprobs": choice.logprobs} if same and choice.logprobs is not None else {}),
        **(response.extra if same else {}),
    }
    return msgspec.json.encode(body)


def block_json(part: Part) -> dict[str, Any] | None:
    """A block of an answer's content; ``None``: nothing that stands there."""
    match part:
        case Text() | Refusal():
            return {"type": "text", "text": part.text} if part.text else None
        case Reasoning() if part.extra != PLAN:
            text = part.text or "\n\n".join(part.summary)
            return {"type": "thinking", "thinking": text} if text else None
        case Native():
            if part.family == FAMILY:
                return dict(part.value)
            return {"type": "text", "text": part.text} if part.text else None
        case _:
            return None


def call_json(call: ToolCall) -> dict[str, Any]:
    """A call of one of the client's tools."""
    arguments = json.dumps({"input": call.arguments}, ensure_ascii=False) if call.custom else call.arguments
    return {"id": call.id or call.name, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def usage_json(read: Usage | None) -> dict[str, Any]:
    """The usage object: what is billed is all that another provider told."""
    told = read or Usage()
    counts = {"input_tokens": told.input_tokens, "output_tokens": told.output_tokens}
    return {"billed_units": counts, "tokens": counts}
