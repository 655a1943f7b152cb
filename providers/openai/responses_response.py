"""OpenAI's Responses API: a whole answer from JSON to the canonical form, and back.

Source: platform.openai.com/docs/api-reference/responses/object, read 2026-11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from providers import characters
from providers.canonical import (
    NOTHING,
    Choice,
    Family,
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
from providers.openai import response as peek
from providers.openai.responses_items import (
    FAMILY,
    ITEM,
    Seal,
    annotation,
    call_json,
    parts_of,
    reasoning_json,
    sealed,
)
from providers.openai.responses_tools import Own, free_text, names, owned
from providers.reading import Fields
from providers.usage import Semantics, Usage, semantics_of

SEMANTICS: Final = semantics_of("openai", "responses")

_REASONS: Final[Mapping[str, Finish]] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_REASON_WORDS: Final[Mapping[Finish, str]] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
    "refusal": "content_filter",
}
_KNOWN: Final = frozenset(("id", "object", "created_at", "model", "output", "usage"))
_NAME = re.compile(r"[^a-zA-Z0-9_-]")


# --- from JSON -----------------------------------------------------------------------------------------------------------


def decode(body: bytes, semantics: Semantics = SEMANTICS) -> Response:
    """A provider's answer.  Raises: InvalidResponse; RefusedInBody, if it is an error in disguise."""
    body = characters.whole(body)
    read = peek.decode(body, semantics)
    try:
        value = json.loads(body)
        if value.get("status") == "failed":
            raise RefusedInBody(peek.error_body(body)) if read.usage is None else InvalidResponse(peek.error_body(body).message)
        parts = tuple(part for at, item in enumerate(value["output"]) for part in written(item, f"output[{at}]"))
    except (ValueError, KeyError, TypeError, AttributeError, Malformed, RecursionError) as error:
        raise InvalidResponse("The upstream's answer is not a response.") from error
    created = value.get("created_at")
    return Response(
        family=FAMILY,
        id=str(value.get("id") or ""),
        model=read.model,
        choices=(
            Choice(
                parts=parts,
                finish=finish_of(value, parts),
                native_finish=str(value.get("status") or ""),
                logprobs=_logprobs(parts),
            ),
        ),
        created_s=int(created) if isinstance(created, int | float) else None,
        usage=read.usage,
        usage_raw=read.usage_raw,
        extra={name: field for name, field in value.items() if name not in _KNOWN},
    )


def written(item: Mapping[str, Any], at: str) -> Iterator[Part]:
    """The parts of an item of an answer.  Raises: Malformed."""
    fields = Fields(item, at)
    return parts_of(fields, fields.required("type"))


def finish_of(response: Mapping[str, Any], parts: Iterable[Part]) -> Finish:
    """Why a response ended.  parts: what is in it."""
    if response.get("status") == "incomplete":
        return _REASONS.get((response.get("incomplete_details") or {}).get("reason") or "", "other")
    return "tool_calls" if any(isinstance(part, ToolCall) for part in parts) else "stop"


def _logprobs(parts: Sequence[Part]) -> Any:
    """In the form that chat completions have: the elements are the same."""
    each = [part.extra.get("logprobs") for part in parts if isinstance(part, Text)]
    told = [it for listed in each if isinstance(listed, list) for it in listed]
    return {"content": told} if told else None


# --- to JSON -------------------------------------------------------------------------------------------------------------


def encode(
    response: Response, *, model: str, created_s: int, name: str = "tollway", asked: Mapping[str, Any] = NOTHING
) -> bytes:
    """The body for a client.

    model: what it is told answered.  created_s: the time, where the provider did not say it.  name: the request's, for an
    answer without an id.  asked: the client's request, which an answer of another family does not repeat as this
    protocol's do.
    """
    same = response.family == FAMILY
    choice = response.choices[0] if response.choices else Choice(parts=(), finish="other")
    own = name
    name = response_id(response.id or name, same=same)
    # A local server's ids come again; what a client refers to by those of items is to be found by them alone.
    items = Items(name if same else own, same=same, family=response.family)
    known = NOTHING if same else names(asked)
    for part in choice.parts:
        items.add(_owned(part, known) if isinstance(part, ToolCall) else part)
    output = [*items.output, *items.seals()]
    if not same and isinstance(choice.logprobs, dict):
        _with_logprobs(output, choice.logprobs.get("content"))
    told = msgspec.Raw(response.usage_raw) if same and response.usage_raw else usage_json(response.usage)
    ending = {"status": choice.native_finish or "completed"} if same else ending_of(choice.finish)
    body = {
        "id": name,
        "object": "response",
        "created_at": response.created_s or created_s,
        "model": model,
        "output": output,
        **({} if same else {**echo(asked), "error": None}),
        **ending,
        **(response.extra if same else {}),
        "usage": told,
    }
    return msgspec.json.encode(body)


def _owned(call: ToolCall, known: Mapping[str, Own]) -> ToolCall:
    """The call as the client knows its tool."""
    own = owned(call, known)
    return replace(own, arguments=free_text(call.arguments)) if own.custom and not call.custom else own


def response_id(given: str, *, same: bool) -> str:
    """The response's id: another protocol's gets this one's prefix, which clients check for."""
    return given if same else f"resp_{_NAME.sub('_', given)}"


def ending_of(finish: Finish) -> dict[str, Any]:
    """The fields that say how an answer of another family ended."""
    reason = _REASON_WORDS.get(finish)
    if finish == "error":
        return {"status": "failed", "error": {"code": "server_error", "message": "The model broke off."}}
    if reason is None:
        return {"status": "completed", "incomplete_details": None}
    return {"status": "incomplete", "incomplete_details": {"reason": reason}}


_ECHO: Final[Mapping[str, Any]] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}


def echo(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a response repeats of its request.  Nothing is kept, whatever was asked for, where no provider keeps it."""
    return {**{name: usual if (said := asked.get(name)) is None else said for name, usual in _ECHO.items()}, "store": False}


def _with_logprobs(output: Sequence[dict[str, Any]], told: Any) -> None:
    """The answer's logprobs go to its first text."""
    texts = [it for item in output if item["type"] == "message" for it in item["content"] if it["type"] == "output_text"]
    if texts and isinstance(told, list):
        texts[0]["logprobs"] = told


class Items:
    """The output items of one answer, as its parts come.

    name: the response's id, from which those of items are made that the provider gave none.
    family: whose seals stand on calls.
    """

    def __init__(self, name: str, *, same: bool, family: Family) -> None:
        self._stem = name.removeprefix("resp_")[-_STEM_MAX:]
        self._same = same
        self._family = family
        self._made = 0
        self._open = False
        self.output: list[dict[str, Any]] = []
        self._calls: dict[str, str] = {}

    def id(self, prefix: str) -> str:
        """A new one.  OpenAI looks at the prefix if an item comes back to it."""
        self._made += 1
        return f"{prefix}_{self._stem}_{self._made}"

    def add(self, part: Part) -> None:
        """One more part of a whole answer."""
        match part:
            case Text() | Refusal():
                if not self._open or (self._same and ITEM in part.extra):
                    self.output.append(self.message(part))
                    self._open = True
                self.output[-1]["content"].append(content_json(part, same=self._same))
            case Native() if part.text and part.family != FAMILY:
                self.add(Text(text=part.text))
            case _:
                item = self.item(part)
                if item is not None:
                    self._open = False
                    self.output.append(item)

    def message(self, part: Text | Refusal) -> dict[str, Any]:
        """The message item that begins with a part, without its content."""
        head = dict(part.extra.get(ITEM, NOTHING)) if self._same else {}
        head.pop("type", None)
        name = head.pop("id", None) or self.id("msg")
        return {"id": name, "type": "message", "role": "assistant", "status": "completed", "content": [], **head}

    def item(self, part: Part) -> dict[str, Any] | None:
        """The item of a part that is one by itself; ``None``: this protocol's clients have no use for it."""
        match part:
            case Reasoning():
                return {"id": part.id or self.id("rs"), **reasoning_json(part)}
            case ToolCall():
                if part.signature:
                    self._calls[part.id] = part.signature
                prefix = "ctc" if part.custom else "fc"
                made = {"id": part.item_id or self.id(prefix), **call_json(part, same=self._same)}
                return {**made, "status": "completed"} if "status" not in made and not part.custom else made
            case Native() if part.family == FAMILY:
                return dict(part.value)
            case Image() if part.media.data:
                said = {"type": "image_generation_call", "status": "completed", "result": part.media.data}
                return {"id": self.id("ig"), **said}
            case _:
                return None

    def sign(self, call: str, signature: str) -> None:
        """Keep the seal of a call; its id."""
        self._calls[call] = signature

    def seals(self) -> list[dict[str, Any]]:
        """An item that brings the seals of the calls back, if there are any: clients return it and read nothing of it."""
        if not self._calls:
            return []
        encrypted = sealed(Seal(family=self._family, calls=self._calls))
        return [{"id": self.id("rs"), "type": "reasoning", "summary": [], "encrypted_content": encrypted}]


_STEM_MAX: Final = 40
"""OpenAI takes ids of at most 64 characters."""


def content_json(part: Text | Refusal, *, same: bool) -> dict[str, Any]:
    """A content part of a message."""
    extra = {name: value for name, value in part.extra.items() if name != ITEM} if same else {}
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text, **extra}
    cited = [noted for it in part.citations if (noted := annotation(it)) is not None]
    return {"type": "output_text", "text": part.text, "annotations": cited, "logprobs": [], **extra}


def usage_json(usage: Usage | None) -> dict[str, Any] | None:
    """The usage object of a response; ``None`` where the provider told none."""
    if usage is None:
        return None
    into, out = usage.input_tokens, usage.output_tokens
    return {
        "input_tokens": into,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read + usage.cache_read_audio,
            "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
        },
        "output_tokens": out,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": into + out,
    }
