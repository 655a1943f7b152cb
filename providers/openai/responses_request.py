"""OpenAI's Responses API: a request from JSON to the canonical form, and back.

Source: platform.openai.com/docs/api-reference/responses/create, read 2026-11; what other servers of the protocol add is in
``extra``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from providers.canonical import (
    Function,
    Malformed,
    Message,
    NativeTool,
    OutputFormat,
    ReasoningAsk,
    Request,
    Text,
    Tool,
    ToolChoice,
    Unsupported,
)
from providers.openai.responses_items import FAMILY, TOOLS_ITEM, items_json, turns
from providers.openai.responses_tools import away, tool_of
from providers.reading import Fields, without_nothing
from providers.thinking import ANY, Thinking, effort_of, in_own_words

INSTRUCTIONS: Final = "instructions"
_LOGPROBS: Final = "message.output_text.logprobs"
_KINDS: Final = {
    "web_search": "web_search",
    "code_interpreter": "code_execution",
    "file_search": "file_search",
    "image_generation": "image_generation",
}


# --- from JSON -----------------------------------------------------------------------------------------------------------


def decode(body: Mapping[str, Any]) -> Request:
    """A client's request.  Raises: Malformed, naming the field."""
    fields = Fields(body)
    text = fields.fields("text")
    reasoning = fields.fields("reasoning")
    include = tuple(_texts(fields, "include"))
    return Request(
        family=FAMILY,
        model=fields.required("model"),
        messages=tuple(_messages(fields)),
        stream=fields.flag("stream"),
        stream_usage=True,
        tools=tuple(_tool(tool) for tool in fields.each("tools")),
        tool_choice=_tool_choice(fields),
        parallel_tools=fields.flag("parallel_tool_calls"),
        output_format=None if text is None else _output_format(text.fields("format")),
        verbosity="" if text is None else text.text("verbosity"),
        reasoning=_reasoning_ask(reasoning),
        output_max=fields.whole("max_output_tokens"),
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.whole("top_k"),
        presence_penalty=fields.number("presence_penalty"),
        frequency_penalty=fields.number("frequency_penalty"),
        logprobs=True if _LOGPROBS in include else None,
        top_logprobs=fields.whole("top_logprobs"),
        user=fields.text("user"),
        metadata=fields.object("metadata"),
        service_tier=fields.text("service_tier"),
        prompt_cache_key=fields.text("prompt_cache_key"),
        extra={**_include(include), **fields.rest, **_rest("text", text), **_rest("reasoning", reasoning)},
    )


def _include(include: tuple[str, ...]) -> dict[str, Any]:
    others = [it for it in include if it != _LOGPROBS]
    return {"include": others} if others else {}


def _rest(name: str, fields: Fields | None) -> dict[str, Any]:
    return {name: fields.rest} if fields is not None and fields.rest else {}


def _messages(fields: Fields) -> Iterator[Message]:
    instructions = fields.text(INSTRUCTIONS)
    if instructions:
        yield Message(role="system", parts=(Text(text=instructions),), extra={"as": INSTRUCTIONS})
    said = fields.any("input")
    if isinstance(said, str):
        yield Message(role="user", parts=(Text(text=said),))
    elif isinstance(said, list):
        yield from turns(fields.each("input"))
    elif said is not None:
        raise Malformed("input", "must be a text or a list of items")
    elif not any(fields.has(name) for name in _ELSEWHERE):
        raise Malformed("input", "is missing")


def _texts(fields: Fields, name: str) -> Iterator[str]:
    for index, value in enumerate(fields.list(name)):
        if not isinstance(value, str):
            raise Malformed(f"{fields.place(name)}[{index}]", "must be a text")
        yield value


def _tool(tool: Fields) -> Tool:
    own = tool_of(tool)
    if own is not None:
        return own
    kind = tool.required("type")
    what = next((name for prefix, name in _KINDS.items() if kind.startswith(prefix)), "")
    return NativeTool(family=FAMILY, value={"type": kind, **tool.rest}, kind=what)  # type: ignore[arg-type]  # of the table


def _tool_choice(fields: Fields) -> ToolChoice | None:
    choice = fields.any("tool_choice")
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            raise Malformed("tool_choice", f"{choice!r} is none of auto, none, required")
        return ToolChoice(mode=choice)  # type: ignore[arg-type]  # checked above
    said = Fields(choice, "tool_choice")
    kind = said.required("type")
    if kind in ("function", "custom"):
        return ToolChoice(mode="required", names=(said.required("name"),))
    if kind == "allowed_tools":
        listed = list(said.each("tools"))
        if all(tool.text("type") in ("function", "custom") for tool in listed):
            names = tuple(tool.required("name") for tool in listed)
            return ToolChoice(mode="required" if said.text("mode") == "required" else "auto", names=names)
    return ToolChoice(mode="required", native=choice)


def _output_format(said: Fields | None) -> OutputFormat | None:
    if said is None:
        return None
    match said.required("type"):
        case "text":
            return OutputFormat(kind="text")
        case "json_object":
            return OutputFormat(kind="json")
        case "json_schema":
            return OutputFormat(
                kind="schema",
                schema=said.object("schema"),
                name=said.text("name"),
                description=said.text("description"),
                strict=said.flag("strict"),
            )
        case other:
            raise Malformed(said.place("type"), f"{other!r} is none of text, json_object, json_schema")


def _reasoning_ask(said: Fields | None) -> ReasoningAsk | None:
    if said is None:
        return None
    effort, summary = said.text("effort"), said.text("summary")
    if not effort and not summary:
        return None
    return ReasoningAsk(effort=effort, summary=summary, shown=True if summary else None)


# --- what no other protocol can say -------------------------------------------------------------------------------------------

_ELSEWHERE: Final = {
    "previous_response_id": "only the provider that made it can go on from an earlier response",
    "conversation": "only the provider that holds it can go on with a conversation",
    "prompt": "only the provider that holds it can fill a stored prompt",
}
DROPS: Final = frozenset(
    (
        "include",
        "store",
        "truncation",
        "context_management",
        "max_tool_calls",
        "safety_identifier",
        "prompt_cache_retention",
        "prompt_cache_options",
        "stream_options",
        "client_metadata",
        "reasoning.context",
        "reasoning.generate_summary",
    )
)
"""Fields without which another family's answer is still the one that was asked for; ``docs/protocols/responses.md``."""

_LEFT_OUT: Final = frozenset(
    (
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        # What a provider's own tools once did; their results are in the text that followed.
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_list_tools",
        "mcp_call",
        TOOLS_ITEM,
        "tool_search_call",
        "tool_search_output",
        "program",
        "program_output",
    )
)
"""Items that another family's model is told, or can do without."""


_CALL: Final = frozenset(("type", "id", "call_id", "name", "namespace", "status", "caller", "created_by", "async"))
_SAID: Final[Mapping[str, frozenset[str]]] = {
    "message": frozenset(("type", "role", "content", "id", "status", "phase", "name", "end_turn")),
    "function_call": _CALL | {"arguments"},
    "custom_tool_call": _CALL | {"input"},
    "function_call_output": _CALL | {"output"},
    "custom_tool_call_output": _CALL | {"output"},
}
"""What items say that another family's model is told of, or does not miss: ids, and what became of a call."""
_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "input_text": frozenset(("text", "annotations", "logprobs")),
    "output_text": frozenset(("text", "annotations", "logprobs")),
    "text": frozenset(("text", "annotations", "logprobs")),
    "input_image": frozenset(("image_url", "detail")),
    "input_file": frozenset(("file_data", "file_url", "filename", "detail")),
    "input_audio": frozenset(("input_audio",)),
    "refusal": frozenset(("refusal",)),
}
_HINTS: Final = frozenset(("type", "id", "index", "prompt_cache_breakpoint"))
_TOOL: Final = frozenset(("format", "defer_loading", "allowed_callers", "async", "output_schema"))


def _check(value: Mapping[str, Any], known: frozenset[str], at: str) -> None:
    """Raises: Unsupported, for a field that is none of these and says something."""
    for name, said in value.items():
        if name not in known and said is not None and said is not False and said not in ("", [], {}):
            raise Unsupported(f"{at}.{name}", "only its own protocol has this field")


def _check_part(part: Mapping[str, Any], at: str) -> None:
    kind = str(part.get("type"))
    if kind not in _PARTS:
        raise Unsupported(at, f"only its own protocol has parts of the type {kind!r}")
    _check(part, _PARTS[kind] | _HINTS, at)


def leave(request: Request) -> Request:
    """The request as another family's provider can take it over.

    Raises: Unsupported, naming the field, for what lives at the provider that made it, and what only OpenAI's models do.
    """
    for name, why in _ELSEWHERE.items():
        if request.extra.get(name) is not None:
            raise Unsupported(name, why)
    if request.extra.get("background"):
        raise Unsupported("background", "this provider answers while the client waits")
    for at, item in enumerate(_items(request)):
        kind = item.get("type", "message")
        if kind not in _LEFT_OUT:
            raise Unsupported(f"input[{at}]", f"only the provider that made it understands {kind}")
        if kind in _SAID:
            _check(item, _SAID[kind], f"input[{at}]")
        content = item.get("content") or item.get("output")
        for place, part in enumerate(content if isinstance(content, list) else ()):
            name = "content" if "content" in item else "output"
            if isinstance(part, dict) and part.get("file_id"):
                raise Unsupported(f"input[{at}].{name}[{place}]", "a file by its id belongs to the provider that holds it")
            if isinstance(part, dict) and kind in _SAID:
                _check_part(part, f"input[{at}].{name}[{place}]")
    for at, tool in enumerate(request.tools):
        if isinstance(tool, Function):
            _check(tool.extra, _TOOL, f"tools[{at}]")
    if request.tool_choice is not None and request.tool_choice.native:
        raise Unsupported("tool_choice", "that tool is run by another provider")
    return away(request)


def _items(request: Request) -> list[dict[str, Any]]:
    same = request.family == FAMILY
    return items_json([it for it in request.messages if it.extra.get("as") != INSTRUCTIONS], same=same)


# --- to JSON -------------------------------------------------------------------------------------------------------------


def encode(request: Request, *, thinking: Thinking = ANY) -> dict[str, Any]:
    """The body for a provider.  thinking: what the model can be told of that.

    Raises: Unsupported, naming the field, for what this protocol cannot say.
    """
    same = request.family == FAMILY
    _refuse(request)
    extra = dict(request.extra) if same else {}
    include = [*([_LOGPROBS] if request.logprobs else []), *extra.pop("include", [])]
    custom = {tool.name for tool in request.tools if isinstance(tool, Function) and tool.custom}
    body = without_nothing(
        {
            "model": request.model,
            INSTRUCTIONS: "".join(
                part.text
                for it in request.messages
                for part in it.parts
                if isinstance(part, Text) and it.extra.get("as") == INSTRUCTIONS
            ),
            "tools": [_tool_json(tool, f"tools[{at}]", same=same) for at, tool in enumerate(request.tools)],
            "tool_choice": _tool_choice_json(request.tool_choice, custom),
            "parallel_tool_calls": request.parallel_tools,
            "text": {
                **without_nothing({"format": _output_format_json(request.output_format), "verbosity": request.verbosity}),
                **extra.pop("text", {}),
            },
            "reasoning": {
                **_reasoning_json(request.reasoning, ANY if in_own_words(request, FAMILY) else thinking),
                **extra.pop("reasoning", {}),
            },
            "max_output_tokens": request.output_max,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k if same else None,
            "presence_penalty": request.presence_penalty if same else None,
            "frequency_penalty": request.frequency_penalty if same else None,
            "top_logprobs": request.top_logprobs,
            "user": request.user,
            "metadata": request.metadata,
            "service_tier": request.service_tier,
            "prompt_cache_key": request.prompt_cache_key,
            "include": include,
        }
    )
    body["input"] = _items(request)
    if request.stream is not None:
        body["stream"] = request.stream
    if not same:
        # Clients of other protocols ask for an answer, not for one that is kept: here it would be, unless told otherwise.
        body["store"] = False
    return {**body, **extra}


def _refuse(request: Request) -> None:
    if request.choices is not None and request.choices > 1:
        raise Unsupported("n", "this model gives one answer to a request")
    if request.stop:
        raise Unsupported("stop", "this protocol has no stop sequences")
    if set(request.modalities) - {"text"}:
        raise Unsupported("modalities", "this model answers in text")
    if request.family == FAMILY:
        return
    for name, value in (("presence_penalty", request.presence_penalty), ("frequency_penalty", request.frequency_penalty)):
        if value:
            raise Unsupported(name, "this protocol has no such setting")


def _tool_json(tool: Tool, at: str, *, same: bool) -> dict[str, Any]:
    if isinstance(tool, NativeTool):
        if tool.family != FAMILY:
            raise Unsupported(at, "this tool is run by another provider")
        return dict(tool.value)
    said: dict[str, Any] = {"type": "custom" if tool.custom else "function", "name": tool.name}
    said |= without_nothing({"description": tool.description})
    if not tool.custom:
        # Both are required; without a word of the client's, the schema is no stricter than it was.
        said |= {"parameters": tool.parameters, "strict": tool.strict if tool.strict is not None or same else False}
    return {**said, **(tool.extra if same else {})}


def _tool_choice_json(choice: ToolChoice | None, custom: set[str]) -> Any:
    if choice is None:
        return None
    if choice.native:
        return dict(choice.native)
    if not choice.names:
        return choice.mode
    named = [{"type": "custom" if name in custom else "function", "name": name} for name in choice.names]
    if choice.mode == "required" and len(named) == 1:
        return named[0]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": named}


def _output_format_json(wanted: OutputFormat | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    match wanted.kind:
        case "text":
            return {"type": "text"}
        case "json":
            return {"type": "json_object"}
        case "schema":
            named = {"name": wanted.name or "answer", "description": wanted.description, "strict": wanted.strict}
            return {"type": "json_schema", **without_nothing(named), "schema": wanted.schema or {}}


def _reasoning_json(ask: ReasoningAsk | None, thinking: Thinking) -> dict[str, Any]:
    if ask is None or not thinking.thinks:
        return {}
    return without_nothing({"effort": effort_of(ask, thinking), "summary": ask.summary or ("auto" if ask.shown else "")})
