"""OpenAI's chat completions: a request from JSON to the canonical form, and back.

Source: platform.openai.com/docs/api-reference/chat/create, read 2026-11; what OpenAI-compatible vendors add is in ``extra``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from providers.canonical import (
    Audio,
    CacheHint,
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
from providers.thinking import ANY, Thinking, effort_of, in_own_words

FAMILY: Final = "openai-chat"
ROLES: Final[frozenset[Role]] = frozenset(("system", "developer", "user", "assistant", "tool"))
_DATA_URL = re.compile(r"data:([^;,]*)(;[^,]*)?;base64,(.*)", re.DOTALL)


# --- from JSON -----------------------------------------------------------------------------------------------------------


def decode(body: Mapping[str, Any]) -> Request:
    """A client's request.  Raises: Malformed, naming the field."""
    fields = Fields(body)
    stream_options = fields.fields("stream_options")
    bound = fields.whole("max_completion_tokens")
    older = fields.whole("max_tokens")
    return Request(
        family=FAMILY,
        model=fields.required("model"),
        messages=tuple(_messages(fields)),
        stream=fields.flag("stream"),
        stream_usage=None if stream_options is None else stream_options.flag("include_usage"),
        tools=tuple(_tool(tool) for tool in fields.each("tools")),
        tool_choice=_tool_choice(fields),
        parallel_tools=fields.flag("parallel_tool_calls"),
        output_format=_output_format(fields.fields("response_format")),
        reasoning=_reasoning_ask(fields),
        output_max=older if bound is None else bound,
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.whole("top_k"),
        stop=_stop(fields),
        seed=fields.whole("seed"),
        choices=fields.whole("n"),
        presence_penalty=fields.number("presence_penalty"),
        frequency_penalty=fields.number("frequency_penalty"),
        logprobs=fields.flag("logprobs"),
        top_logprobs=fields.whole("top_logprobs"),
        verbosity=fields.text("verbosity"),
        user=fields.text("user"),
        metadata=fields.object("metadata"),
        service_tier=fields.text("service_tier"),
        prompt_cache_key=fields.text("prompt_cache_key"),
        modalities=tuple(_texts(fields, "modalities")),
        extra=fields.rest,
    )


def _messages(fields: Fields) -> Iterator[Message]:
    if not fields.has("messages"):
        raise Malformed("messages", "is missing")
    for message in fields.each("messages"):
        role = message.required("role")
        if role == "function":
            yield _function_result(message)
            continue
        if role not in ROLES:
            raise Malformed(message.place("role"), f"{role!r} is none of {', '.join(sorted(ROLES))}")
        parts = tuple(_result(message)) if role == "tool" else (*_reasoning(message), *_content(message), *_calls(message))
        yield Message(role=_as_role(role), parts=parts, name=message.text("name"), extra=_said(message.rest))


def _as_role(role: str) -> Role:
    return next(known for known in ROLES if known == role)


def _said(rest: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in rest.items() if value is not None}


def _function_result(message: Fields) -> Message:
    """The role that came before ``tool``."""
    name = message.required("name")
    return Message(role="tool", parts=(ToolResult(id=name, name=name, content=tuple(_content(message))),))


def _result(message: Fields) -> Iterator[Part]:
    yield ToolResult(
        id=message.required("tool_call_id"),
        content=tuple(_content(message)),
        name=message.text("name"),
        cache=_cache(message),
    )


def _content(message: Fields) -> Iterator[Part]:
    content = message.any("content")
    if isinstance(content, str):
        yield Text(text=content)
    elif isinstance(content, list):
        for index, part in enumerate(content):
            at = f"{message.place('content')}[{index}]"
            if isinstance(part, str):
                yield Text(text=part)
            else:
                yield from _part(Fields(part, at))
    elif content is not None:
        raise Malformed(message.place("content"), "must be a text or a list of parts")
    refusal = message.text("refusal")
    if refusal:
        yield Refusal(text=refusal)
    audio = message.fields("audio")
    if audio is not None:
        yield Audio(media=Media(data=audio.text("data")), id=audio.text("id"), transcript=audio.text("transcript"))


def _part(part: Fields) -> Iterator[Part]:
    kind = part.text("type")
    match kind:
        case "text":
            yield Text(text=part.required("text"), cache=_cache(part), extra=part.rest)
        case "refusal":
            yield Refusal(text=part.required("refusal"), extra=part.rest)
        case "image_url":
            url = part.any("image_url")
            said = Fields({"url": url} if isinstance(url, str) else url, part.place("image_url"))
            media = media_of(said.required("url"))
            yield Image(media=media, detail=said.text("detail"), cache=_cache(part), extra=_extra(part, kind, said))
        case "input_audio":
            said = _inside(part, kind)
            form = said.text("format")
            media = Media(data=said.required("data"), media_type=f"audio/{form}" if form else "")
            yield Audio(media=media, format=form, extra=_extra(part, kind, said))
        case "video_url":
            said = _inside(part, kind)
            yield Video(media=media_of(said.required("url")), extra=_extra(part, kind, said))
        case "file":
            said = _inside(part, kind)
            media = Media(file_id=said.text("file_id"))
            if data := said.text("file_data"):
                media = media_of(data)
            yield File(media=media, name=said.text("filename"), cache=_cache(part), extra=_extra(part, kind, said))
        case "thinking":
            thought = "".join(it.text("text") for it in part.each("thinking"))
            yield Reasoning(family=FAMILY, text=thought, signature=part.text("signature"), extra={"as": "content"})
        case _:
            rest = {"type": kind, **part.rest}
            yield Native(family=FAMILY, value=rest)


def _extra(outer: Fields, name: str, inner: Fields) -> Mapping[str, Any]:
    """What else two objects say, one of which is in the other, by the name."""
    return {**outer.rest, name: inner.rest} if inner.rest else outer.rest


def _with_extra(said: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """An object with what else it said, as ``_extra`` has it."""
    for name, value in extra.items():
        inner = said.get(name)
        said[name] = {**inner, **value} if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return said


def _inside(part: Fields, name: str) -> Fields:
    inside = part.fields(name)
    if inside is None:
        raise Malformed(part.place(name), "is missing")
    return inside


def media_of(url: str) -> Media:
    """Of a URL; a ``data:`` one is taken apart."""
    match = _DATA_URL.fullmatch(url)
    return Media(url=url) if match is None else Media(data=match[3], media_type=match[1])


def _cache(fields: Fields) -> CacheHint | None:
    """Anthropic's hint, which OpenRouter and others take in this protocol too."""
    hint = fields.fields("cache_control")
    return None if hint is None else CacheHint(ttl=hint.text("ttl"))


def _reasoning(message: Fields) -> Iterator[Part]:
    """Thoughts of an earlier turn, under the names that vendors have given them."""
    for name in ("reasoning_content", "reasoning"):
        if message.has(name) and isinstance(text := message.any(name), str) and text:
            yield Reasoning(family=FAMILY, text=text, extra={"as": name})


def _calls(message: Fields) -> Iterator[Part]:
    for call in message.each("tool_calls"):
        kind = call.text("type", "function")
        if kind == "custom":
            custom = _inside(call, "custom")
            yield ToolCall(
                id=call.text("id"),
                name=custom.required("name"),
                arguments=custom.text("input"),
                custom=True,
                extra=_extra(call, "custom", custom),
            )
        else:
            function = _inside(call, "function")
            yield ToolCall(
                id=call.text("id"),
                name=function.required("name"),
                arguments=_arguments(function),
                signature=_signature(call),
                extra=_extra(call, "function", function),
            )
    function_call = message.fields("function_call")
    if function_call is not None:
        name = function_call.required("name")
        yield ToolCall(id=name, name=name, arguments=_arguments(function_call))


def _arguments(function: Fields) -> str:
    said = function.any("arguments")
    if said is None:
        return ""
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def _signature(call: Fields) -> str:
    """Where Google's own OpenAI-compatible layer puts the seal of a call.

    Source: ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11.
    """
    extra = call.any("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else ""


def _tool(tool: Fields) -> Tool:
    kind = tool.text("type", "function")
    if kind == "function":
        said = _inside(tool, "function")
        return Function(
            name=said.required("name"),
            description=said.text("description"),
            parameters=said.object("parameters"),
            strict=said.flag("strict"),
            cache=_cache(tool),
            extra=_extra(tool, "function", said),
        )
    if kind == "custom":
        said = _inside(tool, "custom")
        name, description = said.required("name"), said.text("description")
        return Function(name=name, description=description, custom=True, cache=_cache(tool), extra=_extra(tool, "custom", said))
    return NativeTool(family=FAMILY, value={"type": kind, **tool.rest}, kind="web_search" if "web_search" in kind else "")


def _tool_choice(fields: Fields) -> ToolChoice | None:
    choice = fields.any("tool_choice")
    if choice is None:
        return None
    if isinstance(choice, str):
        match choice:
            case "auto" | "none" | "required":
                return ToolChoice(mode=choice)
            case "any":
                return ToolChoice(mode="required")
        raise Malformed("tool_choice", f"{choice!r} is none of auto, none, required")
    said = Fields(choice, "tool_choice")
    kind = said.text("type", "function")
    if kind in ("function", "custom"):
        return ToolChoice(mode="required", names=(_inside(said, kind).required("name"),))
    if kind == "allowed_tools":
        allowed = _inside(said, "allowed_tools")
        names = tuple(_inside(tool, tool.text("type", "function")).required("name") for tool in allowed.each("tools"))
        return ToolChoice(mode="required" if allowed.text("mode") == "required" else "auto", names=names)
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
            schema = _inside(said, "json_schema")
            return OutputFormat(
                kind="schema",
                schema=schema.object("schema"),
                name=schema.text("name"),
                description=schema.text("description"),
                strict=schema.flag("strict"),
            )
        case other:
            raise Malformed(said.place("type"), f"{other!r} is none of text, json_object, json_schema")


def _reasoning_ask(fields: Fields) -> ReasoningAsk | None:
    effort = fields.text("reasoning_effort")
    return ReasoningAsk(effort=effort) if effort else None


def _asked_of_vendors(extra: Mapping[str, Any]) -> ReasoningAsk | None:
    """How much to think, in other words than OpenAI's.

    Sources: openrouter.ai/docs/use-cases/reasoning-tokens (``reasoning``); docs.z.ai, api-docs.deepseek.com and
    platform.moonshot.ai (``thinking``); help.aliyun.com, Qwen's deep thinking (``enable_thinking``, ``thinking_budget``), read
    2026-11.
    """
    asked, switch = (value if isinstance(value := extra.get(name), dict) else {} for name in ("reasoning", "thinking"))
    effort, budget = asked.get("effort"), asked.get("max_tokens", extra.get("thinking_budget"))
    switches = (asked.get("enabled"), _SWITCHES.get(str(switch.get("type"))), extra.get("enable_thinking"))
    wanted = next((it for it in switches if isinstance(it, bool)), None)
    if wanted is not False and (isinstance(effort, str) or _is_count(budget)):
        shown = False if asked.get("exclude") is True else None
        return ReasoningAsk(
            effort=effort if isinstance(effort, str) else "", budget_tokens=budget if _is_count(budget) else None, shown=shown
        )
    if wanted is None:
        return None
    return ReasoningAsk(adaptive=True) if wanted else ReasoningAsk(effort="none")


_SWITCHES: Final = {"enabled": True, "disabled": False}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _stop(fields: Fields) -> tuple[str, ...]:
    stop = fields.any("stop")
    if stop is None:
        return ()
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(it, str) for it in stops):
        raise Malformed("stop", "must be a text or a list of texts")
    return tuple(stops)


def _texts(fields: Fields, name: str) -> Iterator[str]:
    for index, value in enumerate(fields.list(name)):
        if not isinstance(value, str):
            raise Malformed(f"{fields.place(name)}[{index}]", "must be a text")
        yield value


# --- what no other protocol can say --------------------------------------------------------------------------------------

LEFT_OUT: Final = frozenset(
    (
        # What an answer said of itself, and clients send back with it.
        "annotations",
        "channel",
        "executed_tools",
        "extra_content",
        "id",
        "index",
        "provider_specific_fields",
        "reasoning_details",
        "status",
        "thinking_blocks",
        "thought_signature",
        "timestamp",
        # How the request is to be handled.
        "defer_loading",
        "eager_input_streaming",
        "format",
        "prefix",
        "prompt_cache_breakpoint",
    )
)
"""Fields of messages, parts, calls and tools without which another family's answer is still the one that was asked for."""


def leave(request: Request) -> Request:
    """The request as another family's provider can take it over; what vendors ask in words of their own is read.

    Source: docs.mistral.ai/api (``random_seed``), read 2026-11.

    Raises: Unsupported, naming the field, for what a message, a part of one or a tool says in a field of OpenAI's alone.
    """
    for at, message in enumerate(request.messages):
        _check(message.extra, f"messages[{at}]")
        for part in message.parts:
            _check_part(part, f"messages[{at}].content")
            for inner in part.content if isinstance(part, ToolResult) else ():
                _check_part(inner, f"messages[{at}].content")
    for at, tool in enumerate(request.tools):
        if isinstance(tool, Function):
            _check(tool.extra, f"tools[{at}]")
    seed = request.extra.get("random_seed") if request.seed is None else None
    return replace(
        request,
        reasoning=_asked_of_vendors(request.extra) if request.reasoning is None else request.reasoning,
        seed=seed if _is_count(seed) else request.seed,
    )


def _check_part(part: Part, at: str) -> None:
    match part:
        case Native() | Reasoning():
            # Who may take over parts that only their own protocol knows is the same for all protocols.
            return
        case ToolCall():
            _check(part.extra, at.replace("content", "tool_calls"))
        case _:
            _check(part.extra, at)


def _check(extra: Mapping[str, Any], at: str) -> None:
    for name, value in extra.items():
        if name in LEFT_OUT or value is None or value is False or value in ("", [], {}):
            continue
        if isinstance(value, Mapping) and name in _INSIDE:
            _check(value, f"{at}.{name}")
            continue
        raise Unsupported(f"{at}.{name}", "only its own protocol has this field")


_INSIDE: Final = frozenset(("function", "custom", "image_url", "input_audio", "video_url", "file"))


# --- to JSON -------------------------------------------------------------------------------------------------------------


def encode(request: Request, *, older_bound: bool = False, thinking: Thinking = ANY) -> dict[str, Any]:
    """The body for a provider.

    older_bound: it knows ``max_tokens`` and not ``max_completion_tokens``.  thinking: what the model can be told of that.

    Raises: Unsupported, naming the field, for what chat completions cannot say.
    """
    same = request.family == FAMILY
    body = without_nothing(
        {
            "model": request.model,
            "messages": _messages_json(request.messages, same=same),
            "tools": [_tool_json(tool, f"tools[{at}]", same=same) for at, tool in enumerate(request.tools)],
            "tool_choice": _tool_choice_json(request.tool_choice),
            "parallel_tool_calls": request.parallel_tools,
            "response_format": _output_format_json(request.output_format),
            "reasoning_effort": effort_of(request.reasoning, ANY if in_own_words(request, FAMILY) else thinking),
            "max_tokens" if older_bound else "max_completion_tokens": request.output_max,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k if same else None,
            "stop": list(request.stop),
            "seed": request.seed,
            "n": request.choices,
            "presence_penalty": request.presence_penalty,
            "frequency_penalty": request.frequency_penalty,
            "logprobs": request.logprobs,
            "top_logprobs": request.top_logprobs,
            "verbosity": request.verbosity,
            "user": request.user,
            "metadata": request.metadata,
            "service_tier": request.service_tier,
            "prompt_cache_key": request.prompt_cache_key,
            "modalities": list(request.modalities),
        }
    )
    if request.stream is not None:
        body["stream"] = request.stream
        if request.stream_usage is not None:
            body["stream_options"] = {"include_usage": request.stream_usage}
    return {**body, **request.extra} if same else body


def _messages_json(messages: Sequence[Message], *, same: bool) -> list[dict[str, Any]]:
    said = [made for at, it in enumerate(messages) for made in _message(it, f"messages[{at}]", same=same)]
    return said if same else list(_with_text_results(said))


def _with_text_results(messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The messages with nothing but text in results of tools, as OpenAI demands: what else they gave, the user shows next.

    Source: platform.openai.com/docs/api-reference/chat/create, tool messages, read 2026-11.
    """
    shown: list[dict[str, Any]] = []
    for message in messages:
        content = message["content"]
        if message["role"] == "tool":
            if isinstance(content, list):
                texts = [part for part in content if part["type"] == "text"]
                shown += [part for part in content if part["type"] != "text"]
                plain = len(texts) == 1 and texts[0].keys() == {"type", "text"}
                message["content"] = texts[0]["text"] if plain else texts or ""
        elif shown:
            if message["role"] == "user":
                given = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
                message["content"] = [*shown, *given]
            else:
                yield {"role": "user", "content": shown}
            shown = []
        yield message
    if shown:
        yield {"role": "user", "content": shown}


def _message(message: Message, at: str, *, same: bool) -> Iterator[dict[str, Any]]:
    """The messages for one turn: results of tools are messages of their own here, wherever they stood."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    for result in results:
        content = _content_json(result.content if same else _hinted(result), at, same=same)
        own = {"name": result.name, **_cache_json(result.cache), **message.extra} if same else {}
        yield without_nothing({"role": "tool", "tool_call_id": result.id, **own}) | {
            "content": "" if content is None else content
        }
    others = [part for part in message.parts if not isinstance(part, ToolResult)]
    if results and not others:
        return
    calls = [_call_json(part, same=same) for part in others if isinstance(part, ToolCall)]
    refusals = "".join(part.text for part in others if isinstance(part, Refusal))
    said: dict[str, Any] = {"role": message.role}
    body = [part for part in others if not isinstance(part, ToolCall | Refusal) and not _beside(part)]
    said["content"] = _content_json(body, at, same=same)
    if message.role == "assistant":
        said |= _assistant_extras(others, at)
    elif calls:
        raise Unsupported(at, "only an assistant calls tools")
    said |= message.extra if same else {}
    said |= without_nothing({"name": message.name, "tool_calls": calls, "refusal": refusals})
    if said["content"] is None and not calls and not refusals:
        said["content"] = ""
    yield said


def _beside(part: Part) -> bool:
    """Whether it is no part of the content: thoughts stand there only with those who sent them so."""
    return isinstance(part, Reasoning) and (part.family != FAMILY or part.extra.get("as") != "content")


def _hinted(result: ToolResult) -> Sequence[Part]:
    """What a tool gave; a hint on all of it is one on its last text here."""
    last = result.content[-1] if result.content else None
    if result.cache is None or not isinstance(last, Text):
        return result.content
    return (*result.content[:-1], replace(last, cache=result.cache))


def _assistant_extras(parts: Sequence[Part], at: str) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    for part in parts:
        # Another family's thoughts mean nothing here, and its seals nothing anywhere else.
        if isinstance(part, Reasoning) and part.family == FAMILY and part.text:
            name = str(part.extra.get("as", "reasoning_content"))
            if name != "content":
                extras[name] = part.text
        elif isinstance(part, Audio):
            if not part.id:
                raise Unsupported(at, "an assistant's earlier audio is known by its id alone")
            extras["audio"] = {"id": part.id}
    return extras


def _content_json(parts: Iterable[Part], at: str, *, same: bool) -> str | list[dict[str, Any]] | None:
    """Content: a text where it is one, otherwise a list of parts, ``None`` if there is nothing."""
    listed = [it for part in parts if (it := _part_json(part, at, same=same)) is not None]
    if not listed:
        return None
    if len(listed) == 1 and listed[0].keys() == {"type", "text"}:
        text = listed[0]["text"]
        assert isinstance(text, str)  # noqa: S101  # made below
        return text
    return listed


def _part_json(part: Part, at: str, *, same: bool) -> dict[str, Any] | None:
    said = _content_part_json(part, at)
    if said is None or not same or isinstance(part, Native | Reasoning):
        return said
    return _with_extra(said, part.extra)


def _content_part_json(part: Part, at: str) -> dict[str, Any] | None:
    match part:
        case Text():
            return {"type": "text", "text": part.text, **_cache_json(part.cache)}
        case Image():
            url = without_nothing({"url": _url(part.media, at), "detail": part.detail})
            return {"type": "image_url", "image_url": url, **_cache_json(part.cache)}
        case Audio():
            if part.id and not part.media.data:
                return None
            if not part.media.data:
                raise Unsupported(at, "audio is sent as data here, not as a URL")
            form = part.format or part.media.media_type.rpartition("/")[2].replace("mpeg", "mp3").replace("x-wav", "wav")
            return {"type": "input_audio", "input_audio": without_nothing({"data": part.media.data, "format": form})}
        case Video():
            return {"type": "video_url", "video_url": {"url": _url(part.media, at)}}
        case File():
            return _file_json(part, at)
        case Reasoning():
            told = {"type": "thinking", "thinking": [{"type": "text", "text": part.text}]}
            return {**told, **without_nothing({"signature": part.signature})}
        case Native():
            if part.family == FAMILY:
                return dict(part.value)
            return {"type": "text", "text": part.text} if part.text else None
        case _:
            return None


def _file_json(part: File, at: str) -> dict[str, Any]:
    if part.text:
        return {"type": "text", "text": part.text, **_cache_json(part.cache)}
    # Only OpenRouter takes a URL in the place of the data, and refuses it itself where it does not.
    data = "" if part.media.file_id else _url(part.media, at)
    said = without_nothing({"file_id": part.media.file_id, "file_data": data, "filename": part.name})
    return {"type": "file", "file": said, **_cache_json(part.cache)}


def _url(media: Media, at: str) -> str:
    if media.file_id:
        raise Unsupported(at, "a file by its id belongs to the provider that holds it")
    return media.url or f"data:{media.media_type};base64,{media.data}"


def _cache_json(hint: CacheHint | None) -> dict[str, Any]:
    return {} if hint is None else {"cache_control": without_nothing({"type": "ephemeral", "ttl": hint.ttl})}


def _call_json(call: ToolCall, *, same: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"id": call.id, "type": "custom" if call.custom else "function"}
    if call.custom:
        made["custom"] = {"name": call.name, "input": call.arguments}
    else:
        made["function"] = {"name": call.name, "arguments": call.arguments}
    if call.signature:
        made["extra_content"] = {"google": {"thought_signature": call.signature}}
    return _with_extra(made, call.extra) if same else made


def _tool_json(tool: Tool, at: str, *, same: bool) -> dict[str, Any]:
    if isinstance(tool, NativeTool):
        if tool.family == FAMILY:
            return dict(tool.value)
        raise Unsupported(at, "this tool is run by another provider")
    said = without_nothing({"name": tool.name, "description": tool.description, "strict": tool.strict})
    if tool.parameters is not None:
        said["parameters"] = tool.parameters
    kind = "custom" if tool.custom else "function"
    made = {"type": kind, kind: said, **_cache_json(tool.cache)}
    return _with_extra(made, tool.extra) if same else made


def _tool_choice_json(choice: ToolChoice | None) -> Any:
    if choice is None:
        return None
    if choice.native:
        return dict(choice.native)
    if not choice.names:
        return choice.mode
    named = [{"type": "function", "function": {"name": name}} for name in choice.names]
    if choice.mode == "required" and len(named) == 1:
        return named[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": named}}


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
            return {"type": "json_schema", "json_schema": {**without_nothing(named), "schema": wanted.schema or {}}}
