"""Cohere's chat: a request from JSON to the canonical form, and back.

Source: docs.cohere.com/reference/chat, read 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from providers.canonical import (
    Audio,
    File,
    Function,
    Image,
    Malformed,
    Media,
    Message,
    Native,
    NativeTool,
    OutputFormat,
    Part,
    Reasoning,
    ReasoningAsk,
    Refusal,
    Request,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Unsupported,
    Video,
)
from providers.reading import Fields, text_of, without_nothing

FAMILY: Final = "cohere"
TOP_P_MAX: Final = 0.99
_ROLES: Final[Mapping[str, Role]] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
PLAN: Final[Mapping[str, Any]] = {"tool_plan": True}
"""What tells a plan of calls, which stands beside the content, from thoughts, which stand in it."""


# --- from JSON -----------------------------------------------------------------------------------------------------------


def decode(body: Mapping[str, Any]) -> Request:
    """A client's request.  Raises: Malformed, naming the field."""
    fields = Fields(body)
    strict = fields.flag("strict_tools")
    return Request(
        family=FAMILY,
        model=fields.required("model"),
        messages=tuple(_messages(fields)),
        stream=fields.flag("stream"),
        stream_usage=True,
        tools=tuple(_tool(tool, strict) for tool in fields.each("tools")),
        tool_choice=_tool_choice(fields),
        output_format=_output_format(fields.fields("response_format")),
        reasoning=_reasoning_ask(fields.fields("thinking")),
        output_max=fields.whole("max_tokens"),
        temperature=fields.number("temperature"),
        top_p=fields.number("p"),
        top_k=fields.whole("k"),
        stop=tuple(_texts(fields, "stop_sequences")),
        seed=fields.whole("seed"),
        presence_penalty=fields.number("presence_penalty"),
        frequency_penalty=fields.number("frequency_penalty"),
        logprobs=fields.flag("logprobs"),
        extra=fields.rest,
    )


def _messages(fields: Fields) -> Iterator[Message]:
    if not fields.has("messages"):
        raise Malformed("messages", "is missing")
    for message in fields.each("messages"):
        role = message.required("role")
        if role not in _ROLES:
            raise Malformed(message.place("role"), f"{role!r} is none of system, user, assistant, tool")
        if role == "tool":
            parts: tuple[Part, ...] = (ToolResult(id=message.required("tool_call_id"), content=tuple(_content(message))),)
        else:
            parts = message_parts(message)
        yield Message(role=_ROLES[role], parts=parts, extra=message.rest)


def message_parts(message: Fields) -> tuple[Part, ...]:
    """What an assistant, a user or a system says.  Raises: Malformed."""
    plan = message.text("tool_plan")
    planned = (Reasoning(family=FAMILY, text=plan, extra=PLAN),) if plan else ()
    return (*_content(message), *planned, *(_call(call) for call in message.each("tool_calls")))


def _content(message: Fields) -> Iterator[Part]:
    content = message.any("content")
    if isinstance(content, str):
        yield Text(text=content)
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield block_part(Fields(value, f"{message.place('content')}[{index}]"))
    elif content is not None:
        raise Malformed(message.place("content"), "must be a text or a list of blocks")


def block_part(block: Fields) -> Part:
    """One content block.  Raises: Malformed."""
    kind = block.required("type")
    match kind:
        case "text":
            return Text(text=block.required("text"), extra=block.rest)
        case "thinking":
            return Reasoning(family=FAMILY, text=block.text("thinking"), extra=block.rest)
        case "image_url":
            image = block.fields("image_url")
            if image is None:
                raise Malformed(block.place("image_url"), "is missing")
            return Image(media=_media(image.required("url")), detail=image.text("detail"), extra=block.rest)
        case _:
            return Native(family=FAMILY, value={"type": kind, **block.rest}, text=_document_text(block))


def _document_text(block: Fields) -> str:
    """What a tool's document says, for whom it is no document."""
    document = block.fields("document")
    data = document.any("data") if document is not None else None
    if isinstance(data, str):
        return data
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) if data is not None else ""


def _media(url: str) -> Media:
    if not url.startswith("data:"):
        return Media(url=url)
    kind, _, data = url[5:].partition(";base64,")
    return Media(data=data, media_type=kind)


def _call(call: Fields) -> ToolCall:
    function = call.fields("function")
    if function is None:
        raise Malformed(call.place("function"), "is missing")
    call.text("type")
    return ToolCall(id=call.text("id"), name=function.required("name"), arguments=function.text("arguments"), extra=call.rest)


def _tool(tool: Fields, strict: bool | None) -> Tool:
    function = tool.fields("function")
    if function is None:
        raise Malformed(tool.place("function"), "is missing")
    return Function(
        name=function.required("name"),
        description=function.text("description"),
        parameters=function.object("parameters"),
        strict=strict,
    )


def _tool_choice(fields: Fields) -> ToolChoice | None:
    match fields.text("tool_choice"):
        case "":
            return None
        case "REQUIRED":
            return ToolChoice(mode="required")
        case "NONE":
            return ToolChoice(mode="none")
        case other:
            raise Malformed("tool_choice", f"{other!r} is none of REQUIRED, NONE")


def _output_format(said: Fields | None) -> OutputFormat | None:
    if said is None:
        return None
    schema = said.object("json_schema")
    match said.required("type"):
        case "text":
            return OutputFormat(kind="text")
        case "json_object":
            return OutputFormat(kind="json") if schema is None else OutputFormat(kind="schema", schema=schema)
        case other:
            raise Malformed(said.place("type"), f"{other!r} is none of text, json_object")


def _reasoning_ask(thinking: Fields | None) -> ReasoningAsk | None:
    if thinking is None:
        return None
    match thinking.required("type"):
        case "enabled":
            return ReasoningAsk(effort="high", budget_tokens=thinking.whole("token_budget"))
        case "disabled":
            return ReasoningAsk(effort="none")
        case other:
            raise Malformed(thinking.place("type"), f"{other!r} is none of enabled, disabled")


def _texts(fields: Fields, name: str) -> Iterator[str]:
    for index, value in enumerate(fields.list(name)):
        if not isinstance(value, str):
            raise Malformed(f"{fields.place(name)}[{index}]", "must be a text")
        yield value


# --- to JSON -------------------------------------------------------------------------------------------------------------


def encode(request: Request) -> dict[str, Any]:
    """The body for the provider.  Raises: Unsupported, naming the field, for what this protocol cannot say."""
    same = request.family == FAMILY
    if not same:
        _refuse(request)
    strict = [tool.strict for tool in request.tools if isinstance(tool, Function) and tool.strict is not None]
    body = without_nothing(
        {
            "model": request.model,
            "messages": [
                made for at, it in enumerate(request.messages) for made in _messages_json(it, f"messages[{at}]", same=same)
            ],
            "tools": _tools_json(request),
            "strict_tools": any(strict) if strict else None,
            "tool_choice": _tool_choice_json(request.tool_choice) if request.tools else None,
            "response_format": _output_format_json(request.output_format),
            "thinking": _thinking(request),
            "max_tokens": request.output_max,
            "temperature": request.temperature,
            # All of them, which others call 1, is the most that is taken.
            "p": request.top_p if request.top_p is None or same else min(request.top_p, TOP_P_MAX),
            "k": request.top_k,
            "stop_sequences": list(request.stop),
            "seed": request.seed,
            "presence_penalty": request.presence_penalty,
            "frequency_penalty": request.frequency_penalty,
            "logprobs": request.logprobs,
        }
    )
    if request.stream is not None:
        body["stream"] = request.stream
    return {**body, **(request.extra if same else {})}


def _refuse(request: Request) -> None:
    if request.choices is not None and request.choices > 1:
        raise Unsupported("n", "this model gives one answer to a request")
    if request.logprobs:
        raise Unsupported("logprobs", "this model tells them in another form")
    if set(request.modalities) - {"text"}:
        raise Unsupported("modalities", "this model answers in text")
    if request.parallel_tools is False and request.tools:
        raise Unsupported("parallel_tool_calls", "this model cannot be told to call one tool at a time")
    for name, value in (("presence_penalty", request.presence_penalty), ("frequency_penalty", request.frequency_penalty)):
        if value is not None and not 0 <= value <= 1:
            raise Unsupported(name, "this model takes 0 to 1")


def _thinking(request: Request) -> dict[str, Any] | None:
    ask = request.reasoning
    # Of the others none thinks, and none takes the field.
    if ask is None or (request.family != FAMILY and "reasoning" not in request.model):
        return None
    if ask.effort == "none" or ask.budget_tokens == 0:
        return {"type": "disabled"}
    if not ask.effort and ask.budget_tokens is None and not ask.adaptive:
        return None
    budget = ask.budget_tokens if ask.budget_tokens is not None and ask.budget_tokens > 0 else None
    return {"type": "enabled", **without_nothing({"token_budget": budget})}


def _messages_json(message: Message, at: str, *, same: bool) -> Iterator[dict[str, Any]]:
    """The messages for one turn: results of tools are messages of their own here, wherever they stood."""
    extra = message.extra if same else {}
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    for result in results:
        said = _content_json(result.content, at) or {"content": ""}
        yield {"role": "tool", "tool_call_id": result.id, **said, **extra}
    rest = [part for part in message.parts if not isinstance(part, ToolResult)]
    if results and not rest:
        return
    role = "system" if message.role == "developer" else message.role
    if role == "tool":
        role = "user"  # what a client of another protocol says beside its results
    calls = [_call_json(part, at) for part in rest if isinstance(part, ToolCall)]
    plans = [part for part in rest if isinstance(part, Reasoning) and part.family == FAMILY and part.extra == PLAN]
    others = [part for part in rest if not isinstance(part, ToolCall) and part not in plans]
    beside = without_nothing({"tool_plan": "".join(it.text for it in plans), "tool_calls": calls})
    said = {**_content_json(others, at), **beside, **extra}
    if not (said or same):
        if role == "assistant":
            return
        said = {"content": ""}
    yield {"role": role, **said}


def _content_json(parts: Sequence[Part], at: str) -> dict[str, Any]:
    blocks = [it for part in parts if (it := _block_json(part, at)) is not None]
    if not blocks:
        return {}
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return {"content": blocks[0]["text"]}
    return {"content": blocks}


def _block_json(part: Part, at: str) -> dict[str, Any] | None:
    match part:
        case Text() | Refusal():
            return {"type": "text", "text": part.text} if part.text else None
        case Image():
            if part.media.file_id:
                raise Unsupported(at, "a file by its id belongs to the provider that holds it")
            media = part.media
            url = f"data:{media.media_type};base64,{media.data}" if media.data else media.url
            return {"type": "image_url", "image_url": {"url": url, **without_nothing({"detail": part.detail})}}
        case Reasoning():
            return {"type": "thinking", "thinking": part.text} if part.family == FAMILY and part.text else None
        case Native():
            if part.family == FAMILY:
                return dict(part.value)
            return {"type": "text", "text": part.text} if part.text else None
        case File() if text := text_of(part):
            return {"type": "text", "text": text}
        case File() | Audio() | Video():
            raise Unsupported(at, "this model takes text and images")
        case _:
            raise Unsupported(at, "results of tools are messages of their own here")


def _call_json(call: ToolCall, at: str) -> dict[str, Any]:
    arguments = json.dumps({"input": call.arguments}) if call.custom else call.arguments
    if not call.custom:
        try:
            json.loads(arguments or "{}")
        except ValueError as error:
            raise Unsupported(at, "a tool call's arguments have to be JSON here") from error
    return {"id": call.id or call.name, "type": "function", "function": {"name": call.name, "arguments": arguments or "{}"}}


def _tools_json(request: Request) -> list[dict[str, Any]]:
    choice = request.tool_choice
    only = choice.names if choice is not None and choice.mode == "required" else ()
    tools = []
    for at, tool in enumerate(request.tools):
        if isinstance(tool, NativeTool):
            raise Unsupported(f"tools[{at}]", "this tool is run by another provider")
        # Which of them has to be called cannot be said, but what is offered alone will be.
        if only and tool.name not in only:
            continue
        schema: Mapping[str, Any] = tool.parameters or {"type": "object", "properties": {}}
        if tool.custom:
            schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
        said = without_nothing({"name": tool.name, "description": tool.description})
        tools.append({"type": "function", "function": {**said, "parameters": schema}})
    return tools


def _tool_choice_json(choice: ToolChoice | None) -> str | None:
    if choice is None:
        return None
    if choice.native:
        raise Unsupported("tool_choice", "this model does not know that tool")
    if choice.mode == "auto" and choice.names:
        raise Unsupported("tool_choice", "this model may be offered all of the tools, or made to call some")
    return {"auto": None, "required": "REQUIRED", "none": "NONE"}[choice.mode]


def _output_format_json(form: OutputFormat | None) -> dict[str, Any] | None:
    if form is None:
        return None
    if form.kind == "text":
        return {"type": "text"}
    return {"type": "json_object", **({"json_schema": form.schema} if form.kind == "schema" and form.schema else {})}
