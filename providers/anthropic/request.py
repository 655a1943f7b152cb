"""Anthropic's messages: a request from JSON to the canonical form, and back.

Source: platform.claude.com/docs/en/api/messages, read 2026-11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from providers.canonical import (
    Audio,
    CacheHint,
    Citation,
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
from providers.reading import Fields, without_nothing
from providers.thinking import ANY, Thinking, in_own_words, keeps_still, of_claude

FAMILY: Final = "anthropic"
EMPTY_INPUT: Final = "{}"
_ID = re.compile(r"[^a-zA-Z0-9_-]")
_KINDS: Final = {
    "web_search": "web_search",
    "web_fetch": "web_fetch",
    "code_execution": "code_execution",
}


# --- from JSON -----------------------------------------------------------------------------------------------------------


def decode(body: Mapping[str, Any]) -> Request:
    """A client's request.  Raises: Malformed, naming the field."""
    fields = Fields(body)
    messages = [*_system(fields), *_messages(fields)]
    metadata = fields.object("metadata")
    output_config = fields.fields("output_config")
    choice = fields.fields("tool_choice")
    return Request(
        family=FAMILY,
        model=fields.required("model"),
        messages=tuple(messages),
        stream=fields.flag("stream"),
        stream_usage=True,
        tools=tuple(_tool(tool) for tool in fields.each("tools")),
        tool_choice=None if choice is None else _tool_choice(choice),
        parallel_tools=_parallel(choice),
        output_format=_output_format(fields.fields("output_format") or (output_config and output_config.fields("format"))),
        reasoning=_reasoning_ask(fields.fields("thinking"), output_config),
        output_max=fields.whole("max_tokens"),
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.whole("top_k"),
        stop=tuple(_texts(fields, "stop_sequences")),
        user=str((metadata or {}).get("user_id") or ""),
        metadata={name: value for name, value in (metadata or {}).items() if name != "user_id"} or None,
        service_tier=fields.text("service_tier"),
        cache=_cache(fields),
        extra={**fields.rest, **_rest("output_config", output_config), **_own_words(body)},
    )


def _rest(name: str, fields: Fields | None) -> Mapping[str, Any]:
    return {name: fields.rest} if fields is not None and fields.rest else {}


def _own_words(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields whose meaning is told elsewhere, though not all that they say; or whose older name is to be kept."""
    thinking, form = body.get("thinking"), body.get("output_format")
    said: dict[str, Any] = {}
    if thinking and (thinking.keys() - _TOLD or any(thinking.get(name) not in words for name, words in _TOLD.items() if words)):
        said["thinking"] = thinking
    return said if form is None else {**said, "output_format": form}


_TOLD: Final[Mapping[str, Sequence[str | None]]] = {
    "type": ("enabled", "adaptive", "disabled"),
    "display": (None, "summarized", "omitted"),
    "budget_tokens": (),
}
"""What the canonical form can say of ``thinking``."""


def _system(fields: Fields) -> Iterator[Message]:
    system = fields.any("system")
    if isinstance(system, str):
        yield Message(role="system", parts=(Text(text=system),))
    elif isinstance(system, list):
        yield Message(role="system", parts=tuple(_blocks(system, "system")))
    elif system is not None:
        raise Malformed("system", "must be a text or a list of blocks")


def _messages(fields: Fields) -> Iterator[Message]:
    if not fields.has("messages"):
        raise Malformed("messages", "is missing")
    for message in fields.each("messages"):
        role = message.required("role")
        roles: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
        if role not in roles:
            raise Malformed(message.place("role"), f"{role!r} is none of user, assistant, system")
        content = message.any("content")
        if isinstance(content, str):
            parts: tuple[Part, ...] = (Text(text=content),)
        elif isinstance(content, list):
            parts = tuple(_blocks(content, message.place("content")))
        else:
            raise Malformed(message.place("content"), "must be a text or a list of blocks")
        yield Message(role=roles[role], parts=parts, extra=message.rest)


def _blocks(blocks: Iterable[Any], at: str) -> Iterator[Part]:
    for index, block in enumerate(blocks):
        yield block_part(Fields(block, f"{at}[{index}]"))


def block_part(block: Fields) -> Part:
    """One content block.  Raises: Malformed."""
    kind = block.required("type")
    match kind:
        case "text":
            cited = tuple(citation(it) for it in block.list("citations"))
            return Text(text=block.required("text"), citations=cited, cache=_cache(block), extra=block.rest)
        case "image":
            return Image(media=_source(block), cache=_cache(block), extra=block.rest)
        case "document":
            return _document(block)
        case "thinking":
            return Reasoning(family=FAMILY, text=block.text("thinking"), signature=block.text("signature"), extra=block.rest)
        case "redacted_thinking":
            return Reasoning(family=FAMILY, encrypted=block.required("data"), extra=block.rest)
        case "tool_use":
            arguments = _dumps(block.any("input") or {})
            cache = _cache(block)
            return ToolCall(
                id=block.required("id"), name=block.required("name"), arguments=arguments, cache=cache, extra=block.rest
            )
        case "tool_result":
            return _tool_result(block)
        case _:
            return Native(family=FAMILY, value={"type": kind, **block.rest})


def _source(block: Fields) -> Media:
    source = block.fields("source")
    if source is None:
        raise Malformed(block.place("source"), "is missing")
    match source.required("type"):
        case "base64":
            return Media(data=source.required("data"), media_type=source.required("media_type"))
        case "url":
            return Media(url=source.required("url"))
        case "file":
            return Media(file_id=source.required("file_id"))
        case other:
            raise Malformed(source.place("type"), f"{other!r} is none of base64, url, file")


def _document(block: Fields) -> Part:
    source = block.any("source")
    kind = source.get("type") if isinstance(source, dict) else None
    name, cache = block.text("title"), _cache(block)
    if kind == "text":
        return File(text=str(source.get("data") or ""), name=name, cache=cache, extra=block.rest)
    if kind == "content":
        hint = _cache_json(cache)
        value = {"type": "document", "source": source, **without_nothing({"title": name}), **block.rest, **hint}
        return Native(family=FAMILY, value=value)
    return File(media=_source(block), name=name, cache=cache, extra=block.rest)


def _tool_result(block: Fields) -> ToolResult:
    content = block.any("content")
    if content is None:
        parts: tuple[Part, ...] = ()
    elif isinstance(content, str):
        parts = (Text(text=content),)
    elif isinstance(content, list):
        parts = tuple(_blocks(content, block.place("content")))
    else:
        raise Malformed(block.place("content"), "must be a text or a list of blocks")
    failed = block.flag("is_error")
    return ToolResult(
        id=block.required("tool_use_id"),
        content=parts,
        failed=failed or False,
        cache=_cache(block),
        extra={**block.rest, **({"is_error": False} if failed is False else {})},
    )


def citation(value: Mapping[str, Any]) -> Citation:
    """One citation of a text."""
    # What a search has found says where, which need not be an address.
    source = str(value.get("source") or "")
    return Citation(
        family=FAMILY,
        native=value,
        url=value.get("url") or (source if source.startswith(("http://", "https://")) else ""),
        title=value.get("title") or value.get("document_title") or "",
        quoted=value.get("cited_text") or "",
    )


def _cache(fields: Fields) -> CacheHint | None:
    hint = fields.fields("cache_control")
    return None if hint is None else CacheHint(ttl=hint.text("ttl"))


def _tool(tool: Fields) -> Tool:
    kind = tool.text("type", "custom")
    if kind == "custom":
        return Function(
            name=tool.required("name"),
            description=tool.text("description"),
            parameters=tool.object("input_schema"),
            strict=tool.flag("strict"),
            cache=_cache(tool),
            extra=tool.rest,
        )
    what = next((name for prefix, name in _KINDS.items() if kind.startswith(prefix)), "")
    return NativeTool(family=FAMILY, value={"type": kind, **tool.rest}, kind=what)  # type: ignore[arg-type]  # of the table


def _tool_choice(choice: Fields) -> ToolChoice:
    match choice.required("type"):
        case "auto":
            return ToolChoice(mode="auto")
        case "any":
            return ToolChoice(mode="required")
        case "none":
            return ToolChoice(mode="none")
        case "tool":
            return ToolChoice(mode="required", names=(choice.required("name"),))
        case other:
            raise Malformed(choice.place("type"), f"{other!r} is none of auto, any, none, tool")


def _parallel(choice: Fields | None) -> bool | None:
    disabled = choice.flag("disable_parallel_tool_use") if choice is not None else None
    return None if disabled is None else not disabled


def _output_format(said: Fields | None) -> OutputFormat | None:
    if said is None:
        return None
    if said.required("type") != "json_schema":
        raise Malformed(said.place("type"), "must be json_schema")
    return OutputFormat(kind="schema", schema=said.object("schema"), name=said.text("name"))


def _reasoning_ask(thinking: Fields | None, output_config: Fields | None) -> ReasoningAsk | None:
    effort = output_config.text("effort") if output_config is not None else ""
    if thinking is None:
        return ReasoningAsk(effort=effort) if effort else None
    kind = thinking.required("type")
    display = thinking.text("display")
    shown = None if not display else display != "omitted"
    match kind:
        case "enabled":
            return ReasoningAsk(effort=effort, budget_tokens=thinking.whole("budget_tokens"), shown=shown)
        case "adaptive":
            return ReasoningAsk(effort=effort, adaptive=True, shown=shown)
        case "between_tools":
            # Between calls of tools alone, as much as it likes.
            return ReasoningAsk(effort=effort, adaptive=True)
        case "disabled":
            return ReasoningAsk(effort="none")
        case _:
            raise Malformed(thinking.place("type"), f"{kind!r} is none of enabled, adaptive, between_tools, disabled")


def _texts(fields: Fields, name: str) -> Iterator[str]:
    for index, value in enumerate(fields.list(name)):
        if not isinstance(value, str):
            raise Malformed(f"{fields.place(name)}[{index}]", "must be a text")
        yield value


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- to other families ---------------------------------------------------------------------------------------------------

_DONE_THERE: Final = frozenset(("server_tool_use", "mcp_tool_use", "mcp_tool_listing", "fallback"))
"""Blocks that tell what the provider itself did in an earlier answer, beside the words that it then said."""
_LEFT: Final[Mapping[type, frozenset[str]]] = {
    Text: frozenset(),
    Image: frozenset(("transformations",)),
    File: frozenset(("citations",)),
    ToolCall: frozenset(("caller", "toolset_name")),
    ToolResult: frozenset(("toolset_name",)),
    Function: frozenset(("allowed_callers", "defer_loading", "eager_input_streaming", "input_examples")),
    Message: frozenset(("output_config",)),
}
"""Settings that are left out where another family is spoken: nothing of what is said hangs on them."""


def leave(request: Request) -> Request:
    """A request as it may be taken to another family.  Blocks that nobody else has are their texts; ``extra`` has them whole.

    Raises: Unsupported, naming the place, for a block or a setting without which it would not be the same request.
    """
    # The field ``system`` stands before the messages, as one of them.
    before = 1 if request.messages and request.messages[0].role == "system" else 0
    messages = [it for at, message in enumerate(request.messages) for it in _taken(message, at - before)]
    for at, tool in enumerate(request.tools):
        if isinstance(tool, Function):
            _check(tool, f"tools[{at}]")
    return replace(request, messages=tuple(messages), tools=tuple(it for it in request.tools if not _searches_tools(it)))


def _searches_tools(tool: Tool) -> bool:
    """Whether it only finds the other tools, of which nobody else has to be kept from reading all."""
    return isinstance(tool, NativeTool) and str(tool.value["type"]).startswith("tool_search_tool")


def _taken(message: Message, at: int) -> Iterator[Message]:
    """A turn as another family may read it; results of tools are turns of their own there."""
    place = "system" if at < 0 else f"messages[{at}]"
    _check(message, place)
    inside = place if at < 0 else f"{place}.content"
    parts = tuple(it for n, part in enumerate(message.parts) for it in _gone(part, f"{inside}[{n}]"))
    results = tuple(part for part in parts if isinstance(part, ToolResult))
    if results:
        yield from (Message(role="tool", parts=(result,)) for result in results)
        parts = tuple(part for part in parts if not isinstance(part, ToolResult))
    if parts or not results:
        yield replace(message, parts=parts)


def _gone(part: Part, at: str) -> Iterator[Part]:
    """A part as another family may read it."""
    if isinstance(part, ToolResult):
        _check(part, at)
        inside = tuple(it for n, inner in enumerate(part.content) for it in _gone(inner, f"{at}.content[{n}]"))
        yield replace(part, content=inside)
    elif isinstance(part, Native):
        kind, text = part.value["type"], _plain(part.value)
        if text:
            yield Text(text=text, extra=part.value)
        elif not (kind in _DONE_THERE or kind.endswith("_tool_result")):
            raise Unsupported(at, f"only its own protocol has a block of type {kind!r}")
    elif isinstance(part, File) and part.extra.get("context"):
        yield Text(text=str(part.extra["context"]))
        rest = {name: value for name, value in part.extra.items() if name != "context"}
        yield from _gone(replace(part, extra=rest), at)
    else:
        if not isinstance(part, Reasoning):
            _check(part, at)
        yield part


def _plain(block: Mapping[str, Any]) -> str:
    """What a block of this family's own says to whoever only reads text; empty if it is more than text, or nothing."""
    match block["type"]:
        case "compaction":
            return _lines(block.get("content"))
        case "search_result":
            return _lines(block.get("content"), block.get("title"), block.get("source"))
        case "tool_reference":
            return _lines(block.get("tool_name"))
        case "document":
            return _lines(block["source"].get("content"), block.get("title"), block.get("context"))
        case _:
            return ""


def _lines(content: Any, *above: Any) -> str:
    """The texts of a list of blocks, or what is one text, below what stands above it."""
    if isinstance(content, str):
        texts = [content]
    elif isinstance(content, list) and all(isinstance(it, dict) and it.get("type") == "text" for it in content):
        texts = [str(it.get("text") or "") for it in content]
    else:
        return ""
    return "\n".join(line for line in (*above, *texts) if isinstance(line, str) and line)


def _check(said: Part | Function | Message, at: str) -> None:
    left = _LEFT.get(type(said), frozenset())
    for name, value in getattr(said, "extra", {}).items():
        if value and name not in left:
            raise Unsupported(f"{at}.{name}", "only its own protocol has this field")


# --- to JSON -------------------------------------------------------------------------------------------------------------


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a model of this family can do, and what has to be said although the client did not.

    output_max: sent as ``max_tokens``, which the protocol requires, where the client set no bound.
    thinking: what it can be told of that; adaptive models take an effort, others a budget of tokens.
    """

    output_max: int = 4_096
    thinking: Thinking = ANY


USUAL: Final = Limits()


def encode(request: Request, limits: Limits = USUAL) -> dict[str, Any]:
    """The body for a provider.  Raises: Unsupported, naming the field, for what this protocol cannot say."""
    same, own = request.family == FAMILY, in_own_words(request, FAMILY)
    _refuse(request)
    output_max = request.output_max if request.output_max is not None else limits.output_max
    asked = request.reasoning
    thinking, effort = _as_asked(asked) if own and asked else of_claude(asked, limits.thinking, output_max)
    head, rest = _without_system(request.messages, keep=same)
    extra = dict(request.extra) if same else {}
    said = extra.pop("thinking", None)
    thinking = said if said is not None and own else thinking
    if not own and keeps_still(request, thinking):
        thinking = {}
    config = {**extra.pop("output_config", {}), **without_nothing({"effort": effort})}
    if request.output_format is not None and request.output_format.kind == "schema" and "output_format" not in extra:
        config["format"] = {"type": "json_schema", "schema": request.output_format.schema or {}}
    thinks = thinking.get("type") in ("enabled", "adaptive")
    body = without_nothing(
        {
            "model": request.model,
            "max_tokens": output_max,
            "system": _system_json(head),
            "messages": _turns(rest, same=same),
            "tools": [_tool_json(tool, f"tools[{at}]", same=same) for at, tool in enumerate(request.tools)],
            "tool_choice": _tool_choice_json(request),
            "thinking": thinking,
            "output_config": config,
            # While it thinks the model takes no other temperature than its own.
            "temperature": None if thinks and not own else _temperature(request),
            "top_p": request.top_p,
            "top_k": None if thinks and not own else request.top_k,
            "stop_sequences": list(request.stop),
            "metadata": {**(request.metadata or {} if same else {}), **without_nothing({"user_id": request.user})},
            "service_tier": _SERVICE_TIERS.get(request.service_tier, request.service_tier if same else ""),
            **_cache_json(request.cache),
        }
    )
    if request.stream is not None:
        body["stream"] = request.stream
    return {**body, **extra}


_SERVICE_TIERS: Final = {"auto": "auto", "default": "standard_only"}


def _refuse(request: Request) -> None:
    if request.choices is not None and request.choices > 1:
        raise Unsupported("n", "this model gives one answer to a request")
    if request.logprobs:
        raise Unsupported("logprobs", "this model does not tell them")
    if request.output_format is not None and request.output_format.kind == "json":
        raise Unsupported("response_format", "this model takes a JSON schema, not JSON without one")
    if set(request.modalities) - {"text"}:
        raise Unsupported("modalities", "this model answers in text")
    for name, value in (("presence_penalty", request.presence_penalty), ("frequency_penalty", request.frequency_penalty)):
        if value:
            raise Unsupported(name, "this model has no such setting")


def _temperature(request: Request) -> float | None:
    if request.temperature is not None and request.temperature > 1 and request.family != FAMILY:
        raise Unsupported("temperature", "this model takes 0 to 1")
    return request.temperature


def _as_asked(ask: ReasoningAsk) -> tuple[dict[str, Any], str]:
    """The ``thinking`` field, and the effort beside it, in the words that they came in."""
    display = {} if ask.shown is None else {"display": "summarized" if ask.shown else "omitted"}
    if ask.effort == "none":
        return {"type": "disabled"}, ""
    if ask.adaptive:
        return {"type": "adaptive", **display}, ask.effort
    if ask.budget_tokens is not None:
        return {"type": "enabled", "budget_tokens": ask.budget_tokens, **display}, ask.effort
    return {}, ask.effort


def _without_system(messages: Sequence[Message], *, keep: bool) -> tuple[list[Message], list[Message]]:
    """The instructions, and the turns.  keep: instructions in the middle stay there, as this family has them itself."""
    head: list[Message] = []
    rest: list[Message] = []
    for message in messages:
        if message.role in ("system", "developer") and not (keep and rest):
            head.append(message)
        else:
            rest.append(message)
    return head, rest


def _system_json(head: Sequence[Message]) -> str | list[dict[str, Any]]:
    parts = [part for message in head for part in message.parts]
    blocks = [it for at, part in enumerate(parts) if (it := _block_json(part, f"system[{at}]")) is not None]
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text = blocks[0]["text"]
        assert isinstance(text, str)  # noqa: S101  # made below
        return text
    return blocks


def _turns(messages: Sequence[Message], *, same: bool) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    for at, message in enumerate(messages):
        role = "user" if message.role == "tool" else message.role
        blocks = [it for part in message.parts if (it := _block_json(part, f"messages[{at}]", same=same)) is not None]
        if not blocks:
            # An empty turn is refused there; what follows joins the turn before.
            continue
        # Results of tools come as messages of their own elsewhere, and belong into one turn here.
        if not same and turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks, **(message.extra if same else {})})
    for turn in turns:
        blocks = turn["content"]
        if not same:
            # Results have to come first.
            blocks.sort(key=lambda block: block["type"] != "tool_result")
        if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
            turn["content"] = blocks[0]["text"]
    if not same and turns and turns[-1]["role"] == "assistant" and isinstance(turns[-1]["content"], str):
        # The beginning of an answer must not end in white space.
        turns[-1]["content"] = turns[-1]["content"].rstrip()
    return turns


def _block_json(part: Part, at: str, *, same: bool = False) -> dict[str, Any] | None:
    extra = getattr(part, "extra", {}) if same else {}
    match part:
        case Text():
            if not part.text:
                return None
            cited = [dict(it.native) for it in part.citations if it.family == FAMILY]
            return {
                "type": "text",
                "text": part.text,
                **without_nothing({"citations": cited}),
                **extra,
                **_cache_json(part.cache),
            }
        case Refusal():
            return {"type": "text", "text": part.text} if part.text else None
        case Image():
            return {"type": "image", "source": _source_json(part.media, at, same=same), **extra, **_cache_json(part.cache)}
        case File():
            return _file_json(part, at, extra, same=same)
        case Audio() | Video():
            raise Unsupported(at, "this model takes text, images and documents")
        case Reasoning():
            return _thinking_json(part, extra)
        case ToolCall():
            said = {"id": tool_id(part.id or part.name), "name": part.name, "input": _input(part, at)}
            return {"type": "tool_use", **said, **extra, **_cache_json(part.cache)}
        case ToolResult():
            inside = [it for block in part.content if (it := _block_json(block, at, same=same)) is not None]
            plain = len(inside) == 1 and inside[0].keys() == {"type", "text"}
            content = inside[0]["text"] if plain else inside
            said = without_nothing({"content": content, "is_error": part.failed or None})
            return {"type": "tool_result", "tool_use_id": tool_id(part.id), **said, **extra, **_cache_json(part.cache)}
        case Native():
            if part.family == FAMILY:
                return dict(part.value)
            return {"type": "text", "text": part.text} if part.text else None


def tool_id(given: str) -> str:
    """A call's id in the characters that are allowed; the same for the call and for its result."""
    return _ID.sub("_", given)


def _input(call: ToolCall, at: str) -> Any:
    if call.custom:
        return {"input": call.arguments}
    try:
        value = json.loads(call.arguments or EMPTY_INPUT)
    except ValueError as error:
        raise Unsupported(at, "a tool call's arguments have to be JSON here") from error
    return value if isinstance(value, dict) else {"input": value}


def _thinking_json(part: Reasoning, extra: Mapping[str, Any]) -> dict[str, Any] | None:
    """Thoughts go back to who sealed them; without a seal they are refused there."""
    if part.family != FAMILY:
        return None
    if part.encrypted:
        return {"type": "redacted_thinking", "data": part.encrypted, **extra}
    if not part.signature:
        return None
    return {"type": "thinking", "thinking": part.text, "signature": part.signature, **extra}


def _file_json(part: File, at: str, extra: Mapping[str, Any], *, same: bool) -> dict[str, Any]:
    if part.text:
        source: dict[str, Any] = {"type": "text", "media_type": "text/plain", "data": part.text}
    else:
        source = _source_json(part.media, at, same=same)
    return {"type": "document", "source": source, **without_nothing({"title": part.name}), **extra, **_cache_json(part.cache)}


def _source_json(media: Media, at: str, *, same: bool) -> dict[str, Any]:
    if media.file_id and not same:
        raise Unsupported(at, "a file by its id belongs to the provider that holds it")
    if media.file_id:
        return {"type": "file", "file_id": media.file_id}
    if media.data:
        if not media.media_type:
            raise Unsupported(at, "what kind of data it is has to be said here")
        return {"type": "base64", "media_type": media.media_type, "data": media.data}
    return {"type": "url", "url": media.url}


def _cache_json(hint: CacheHint | None) -> dict[str, Any]:
    return {} if hint is None else {"cache_control": without_nothing({"type": "ephemeral", "ttl": hint.ttl})}


def _tool_json(tool: Tool, at: str, *, same: bool) -> dict[str, Any]:
    if isinstance(tool, NativeTool):
        if tool.family != FAMILY:
            raise Unsupported(at, "this tool is run by another provider")
        return dict(tool.value)
    if tool.custom:
        text = {"type": "string"}
        schema: Mapping[str, Any] = {"type": "object", "properties": {"input": text}, "required": ["input"]}
    else:
        schema = tool.parameters or {"type": "object", "properties": {}}
    said = without_nothing({"name": tool.name, "description": tool.description})
    # Not to be strict is as it is usual here.
    if tool.strict or (same and tool.strict is not None):
        said["strict"] = tool.strict
    return {**said, "input_schema": schema, **(tool.extra if same else {}), **_cache_json(tool.cache)}


def _tool_choice_json(request: Request) -> dict[str, Any] | None:
    choice, parallel = request.tool_choice, request.parallel_tools
    said: dict[str, Any] = {}
    if choice is not None:
        if choice.native:
            raise Unsupported("tool_choice", "this model does not know that tool")
        match choice.mode:
            case "auto" if choice.names:
                raise Unsupported("tool_choice", "this model may be offered all of the tools, or made to call one")
            case "auto" | "none":
                said["type"] = choice.mode
            case "required" if len(choice.names) == 1:
                said |= {"type": "tool", "name": choice.names[0]}
            case "required" if choice.names:
                raise Unsupported("tool_choice", "this model may be offered all of the tools, or made to call one")
            case "required":
                said["type"] = "any"
    if parallel is not None and said.get("type") != "none" and request.tools:
        said = {**(said or {"type": "auto"}), "disable_parallel_tool_use": not parallel}
    return said or None
