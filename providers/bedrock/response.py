"""Bedrock's Converse: a whole answer from JSON to the canonical form, and back.

Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, read 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from providers import characters, usage
from providers.bedrock.models import Limits, limits_of
from providers.bedrock.request import FAMILY, block_part, reasoning_json, text_json, tool_id
from providers.canonical import (
    Choice,
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
from providers.errors import InvalidResponse
from providers.openai.response import served
from providers.reading import Fields
from providers.usage import Semantics, Usage, semantics_of

SEMANTICS: Final = semantics_of("bedrock", "converse")

FINISHES: Final[Mapping[str, Finish]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
    # Claude says so beside the list that is published.
    "refusal": "refusal",
}

FINISH_WORDS: Final[Mapping[Finish, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
    "refusal": "content_filtered",
    "pause": "end_turn",
    "error": "malformed_model_output",
    "other": "end_turn",
}

_KNOWN: Final = frozenset(("output", "stopReason", "usage"))


class _Peek(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw(b"null")


_peek = msgspec.json.Decoder(_Peek).decode


def decode(body: bytes, semantics: Semantics = SEMANTICS, *, model: str = "") -> Response:
    """A provider's answer.  model: who was asked, if that is known; the answer does not say.  Raises: InvalidResponse."""
    limits = limits_of(model)
    body = characters.whole(body)
    try:
        value = json.loads(body)
        raw = bytes(_peek(body).usage)
        content = value["output"]["message"]["content"]
        parts = tuple(block_part(Fields(block, f"content[{at}]"), limits) for at, block in enumerate(content))
        word = str(value["stopReason"])
    except (ValueError, KeyError, TypeError, Malformed, RecursionError, msgspec.DecodeError) as error:
        raise InvalidResponse("The upstream's answer is not a conversation's.") from error
    choice = Choice(
        parts=parts,
        finish=FINISHES.get(word, "other"),
        stopped_by=stopped_by(value.get("additionalModelResponseFields")),
        native_finish=word,
    )
    return Response(
        family=FAMILY,
        id="",
        model=model,
        choices=(choice,),
        usage=read_usage(raw, value.get("serviceTier"), semantics) if raw != b"null" else None,
        usage_raw=b"" if raw == b"null" else raw,
        extra={name: field for name, field in value.items() if name not in _KNOWN and field is not None},
    )


def stopped_by(more: object) -> str:
    """The stop sequence, which Claude tells beside the answer if it is asked."""
    said = more.get("stop_sequence") if isinstance(more, dict) else None
    return said if isinstance(said, str) else ""


def read_usage(raw: bytes, tier: object, semantics: Semantics) -> Usage | None:
    """The usage, with the tier that stands beside it."""
    return served(usage.read(raw, semantics), tier.get("type") if isinstance(tier, dict) else None)


def encode(response: Response) -> bytes:
    """The body for a client, which is not told who answered."""
    same = response.family == FAMILY
    choice = response.choices[0] if response.choices else Choice(parts=(), finish="other")
    limits = limits_of(response.model)
    content = [block for part in choice.parts if (block := block_json(part, limits, same=same)) is not None]
    body = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": finish_word(choice.finish, choice.stopped_by, choice.native_finish if same else ""),
        "usage": msgspec.Raw(response.usage_raw) if same and response.usage_raw else usage_json(response.usage),
        "metrics": {"latencyMs": 0},
        **(response.extra if same else {}),
    }
    return msgspec.json.encode(body)


def finish_word(finish: Finish, stopped: str, native: str) -> str:
    """Why it ended, in this protocol's words."""
    return native or ("stop_sequence" if stopped else FINISH_WORDS[finish])


def block_json(part: Part, limits: Limits, *, same: bool) -> dict[str, Any] | None:
    """A block of an answer; ``None``: nothing that this protocol's clients could read."""
    extra = dict(getattr(part, "extra", {})) if same else {}
    match part:
        case Text():
            return text_json(part, extra, limits) if part.text or same else None
        case Refusal():
            return {"text": part.text}
        case Reasoning():
            sealed = reasoning_json(part, limits)
            text = part.text or "\n\n".join(part.summary)
            return sealed or ({"reasoningContent": {"reasoningText": {"text": text}}} if text else None)
        case ToolCall():
            return {"toolUse": {"toolUseId": tool_id(part.id or part.name), "name": part.name, "input": _input(part), **extra}}
        case Native():
            if part.family == FAMILY:
                return dict(part.value)
            return {"text": part.text} if part.text else None
        case _:
            return None


def _input(call: ToolCall) -> Any:
    if call.custom:
        return {"input": call.arguments}
    try:
        value = json.loads(call.arguments or "{}")
    except ValueError:
        # The model wrote no JSON.  The client sees what it wrote, rather than nothing.
        return {"input": call.arguments}
    return value if isinstance(value, dict) else {"input": value}


def usage_json(read: Usage | None) -> dict[str, Any]:
    """The usage object; its counts are required, and cached tokens are beside the input's."""
    told = read or Usage()
    cached, written = told.cache_read + told.cache_read_audio, told.cache_write + told.cache_write_1h
    return {
        "inputTokens": told.input_tokens - cached - written,
        "outputTokens": told.output_tokens,
        "totalTokens": told.input_tokens + told.output_tokens,
        "cacheReadInputTokens": cached,
        "cacheWriteInputTokens": written,
    }
