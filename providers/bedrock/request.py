"""Bedrock's Converse: a request from JSON to the canonical form, and back.

Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, read 2026-11.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from zlib import crc32

from msgspec.structs import replace

from providers.bedrock.models import Limits, limits_of
from providers.canonical import (
    Audio,
    CacheHint,
    Citation,
    Family,
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
from providers.thinking import effort_of, in_own_words, keeps_still, of_claude

FAMILY: Final = "bedrock"
ID_MAX: Final = 64
NAME_MAX: Final = 200
_ID: Final = re.compile(r"[^a-zA-Z0-9_.:-]")
_NAME: Final = re.compile(r"[^a-zA-Z0-9()\[\]\s-]")
_ROLES: Final[Mapping[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}
_MEDIA: Final[Mapping[str, Mapping[str, str]]] = {
    "image": {"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"},
    "video": {
        "mp4": "video/mp4",
        "mov": "video/quicktime",
        "mkv": "video/x-matroska",
        "webm": "video/webm",
        "flv": "video/x-flv",
        "mpeg": "video/mpeg",
        "mpg": "video/mpg",
        "wmv": "video/x-ms-wmv",
        "three_gp": "video/3gpp",
    },
    "audio": {
        "wav": "audio/wav",
        "mp3": "audio/mpeg",
        "flac": "audio/flac",
        "aac": "audio/aac",
        "ogg": "audio/ogg",
        "opus": "audio/opus",
        "m4a": "audio/mp4",
        "webm": "audio/webm",
        "pcm": "audio/pcm",
    },
    "document": {
        "pdf": "application/pdf",
        "txt": "text/plain",
        "md": "text/markdown",
        "csv": "text/csv",
        "html": "text/html",
        "doc": "application/msword",
        "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xls": "application/vnd.ms-excel",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    },
}
_FORMATS: Final = {kind: {media: name for name, media in names.items()} for kind, names in _MEDIA.items()}
# Other names for the same; OpenAI's for sounds are names of formats.
_FORMATS["image"]["image/jpg"] = "jpeg"
_FORMATS["audio"] |= {"audio/x-wav": "wav", "audio/mp3": "mp3", "wav": "wav", "mp3": "mp3", "flac": "flac", "opus": "opus"}


# --- from JSON -----------------------------------------------------------------------------------------------------------


def decode(body: Mapping[str, Any], *, model: str, stream: bool) -> Request:
    """A client's request; the model and whether it is to be streamed stand in its URL.  Raises: Malformed."""
    fields = Fields(body)
    limits = limits_of(model)
    config = fields.fields("inferenceConfig") or Fields({})
    tools = fields.fields("toolConfig")
    output = fields.fields("outputConfig")
    more = dict(fields.object("additionalModelRequestFields") or {})
    tier = fields.fields("serviceTier")
    request = Request(
        family=FAMILY,
        model=model,
        messages=(*_system(fields, limits), *_messages(fields, limits)),
        stream=stream,
        stream_usage=True if stream else None,
        tools=tuple(_tools(tools)) if tools is not None else (),
        tool_choice=_tool_choice(tools) if tools is not None else None,
        output_format=None if output is None else _output_format(output),
        reasoning=_reasoning_ask(more, output),
        output_max=config.whole("maxTokens"),
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        stop=tuple(_texts(config, "stopSequences")),
        metadata=fields.object("requestMetadata"),
        service_tier="" if tier is None else tier.required("type"),
    )
    rests = {
        "inferenceConfig": config.rest,
        "toolConfig": tools.rest if tools is not None else {},
        "outputConfig": output.rest if output is not None else {},
        "additionalModelRequestFields": more,
    }
    return replace(request, extra={**fields.rest, **{name: dict(rest) for name, rest in rests.items() if rest}})


def _system(fields: Fields, limits: Limits) -> Iterator[Message]:
    parts = _blocks(fields.list("system"), "system", limits)
    if parts:
        yield Message(role="system", parts=parts)


def _messages(fields: Fields, limits: Limits) -> Iterator[Message]:
    if not fields.has("messages"):
        raise Malformed("messages", "is missing")
    for message in fields.each("messages"):
        role = message.required("role")
        if role not in _ROLES:
            raise Malformed(message.place("role"), f"{role!r} is none of user, assistant, system")
        if not message.has("content"):
            raise Malformed(message.place("content"), "is missing")
        parts = _blocks(message.list("content"), message.place("content"), limits)
        results = role == "user" and bool(parts) and all(isinstance(part, ToolResult) for part in parts)
        yield Message(role="tool" if results else _ROLES[role], parts=parts, extra=message.rest)


def _blocks(blocks: Iterable[Any], at: str, limits: Limits) -> tuple[Part, ...]:
    parts: list[Part] = []
    for index, value in enumerate(blocks):
        block = Fields(value, f"{at}[{index}]")
        point = block.fields("cachePoint")
        last = parts[-1] if parts else None
        if point is None:
            parts.append(block_part(Fields(value, block.at), limits))
        elif isinstance(last, Text | Image | File | ToolCall | ToolResult) and last.cache is None:
            parts[-1] = replace(last, cache=CacheHint(ttl=point.text("ttl")))
        else:
            parts.append(Native(family=FAMILY, value=value))
    return tuple(parts)


def block_part(block: Fields, limits: Limits) -> Part:
    """One content block.  Raises: Malformed."""
    if block.has("text"):
        return Text(text=block.required("text"), extra=block.rest)
    for kind in ("image", "video", "audio", "document"):
        if (said := block.fields(kind)) is not None:
            return _media_part(kind, said)
    if (call := block.fields("toolUse")) is not None:
        return _tool_call(call)
    if (result := block.fields("toolResult")) is not None:
        return _tool_result(result, limits)
    if (thought := block.fields("reasoningContent")) is not None:
        return reasoning_part(thought, limits)
    if (content := block.fields("citationsContent")) is not None:
        text = "".join(it.text("text") for it in content.each("content"))
        return Text(text=text, citations=tuple(citation(it, limits) for it in content.list("citations")))
    value = dict(block.rest)
    if not value:
        raise Malformed(block.at, "has no content")
    return Native(family=FAMILY, value=value, text=_dumps(value["json"]) if "json" in value else "")


def _media_part(kind: str, said: Fields) -> Part:
    form = said.text("format")
    source = said.fields("source")
    if source is None:
        raise Malformed(said.place("source"), "is missing")
    media_type = _MEDIA[kind].get(form, f"{kind}/{form}" if form else "")
    name = said.text("name")
    if source.has("text"):
        return File(text=source.required("text"), name=name, extra={**said.rest, **without_nothing({"format": form})})
    place = source.fields("s3Location")
    if place is not None:
        media = Media(url=place.required("uri"), media_type=media_type)
        extra = {**said.rest, **({"s3Location": dict(place.rest)} if place.rest else {})}
    elif source.has("bytes"):
        media = Media(data=source.required("bytes"), media_type=media_type)
        extra = dict(said.rest)
    else:
        return Native(family=FAMILY, value={kind: {**said.rest, "format": form, "name": name, "source": dict(source.rest)}})
    match kind:
        case "image":
            return Image(media=media, extra=extra)
        case "video":
            return Video(media=media, extra=extra)
        case "audio":
            return Audio(media=media, format=form, extra=extra)
        case _:
            return File(media=media, name=name, extra=extra)


def _tool_call(call: Fields) -> Part:
    kind = call.text("type")
    if kind == "server_tool_use":
        return Native(family=FAMILY, value={"toolUse": {**call.rest, "type": kind}})
    return ToolCall(
        id=call.required("toolUseId"),
        name=call.required("name"),
        arguments=_dumps(call.any("input") or {}),
        extra={**call.rest, **without_nothing({"type": kind})},
    )


def _tool_result(result: Fields, limits: Limits) -> Part:
    kind = result.text("type")
    if kind:
        # What a tool gave that the provider ran.
        return Native(family=FAMILY, value={"toolResult": {**result.rest, "type": kind}})
    status = result.text("status")
    return ToolResult(
        id=result.required("toolUseId"),
        content=_blocks(result.list("content"), result.place("content"), limits),
        failed=status == "error",
        extra={**result.rest, **without_nothing({"status": status})},
    )


def reasoning_part(thought: Fields, limits: Limits) -> Reasoning:
    """Thoughts; those of Claude as Anthropic has them, whose seals are the same here.  Raises: Malformed.

    Source: platform.claude.com/docs/en/build-with-claude/extended-thinking, "compatible across platforms", read 2026-11.
    """
    family: Family = "anthropic" if limits.claude else FAMILY
    sealed = thought.text("redactedContent")
    if sealed:
        return sealed_part(sealed, limits)
    text = thought.fields("reasoningText")
    if text is None:
        raise Malformed(thought.at, "has no content")
    return Reasoning(family=family, text=text.text("text"), signature=text.text("signature"), extra=text.rest)


def sealed_part(content: str, limits: Limits) -> Reasoning:
    """Thoughts that are not shown.  content: base64, here even of what is a text at Anthropic's."""
    if limits.claude:
        try:
            return Reasoning(family="anthropic", encrypted=b64decode(content, validate=True).decode("ascii"))
        except ValueError:
            # Not what Anthropic has; it can only go back as it came.
            pass
    return Reasoning(family=FAMILY, encrypted=content)


_PLACES: Final = {
    "documentChar": ("char_location", "documentIndex", "document_index", "start_char_index", "end_char_index"),
    "documentPage": ("page_location", "documentIndex", "document_index", "start_page_number", "end_page_number"),
    "documentChunk": ("content_block_location", "documentIndex", "document_index", "start_block_index", "end_block_index"),
    "searchResultLocation": (
        "search_result_location", "searchResultIndex", "search_result_index", "start_block_index", "end_block_index",
    ),
}  # fmt: skip
"""Where Claude found what it cites: Anthropic's name of it; which of them it is, here and there; from where to where, there."""
_NAMES: Final = {theirs: ours for ours, (theirs, *_) in _PLACES.items()}


def citation(value: Any, limits: Limits) -> Citation:
    """One citation of a text; Claude's as Anthropic has it, unless it says what has no place there."""
    said = Fields(value, "citation")
    texts = [str(it.get("text") or "") for it in said.list("sourceContent") if isinstance(it, dict)]
    location = said.object("location") or {}
    title, source, quoted = said.text("title"), said.text("source"), "".join(texts)
    web = location.get("web")
    url = web.get("url") if isinstance(web, dict) else source if source.startswith(("http://", "https://")) else ""
    own = _anthropics(location, title, source, texts) if limits.claude else None
    return Citation(
        family=FAMILY if own is None else "anthropic", native=own or value, url=str(url or ""), title=title, quoted=quoted
    )


def _anthropics(location: Mapping[str, Any], title: str, source: str, texts: Sequence[str]) -> dict[str, Any] | None:
    ((name, at),) = location.items() if len(location) == 1 else (("", None),)
    if name not in _PLACES or not isinstance(at, dict) or len(texts) != 1:
        return None
    kind, index, theirs, start, end = _PLACES[name]
    found = {theirs: at.get(index), start: at.get("start"), end: at.get("end")}
    if None in found.values() or len(at) != len(found):
        return None
    if kind == "search_result_location":
        return {"type": kind, "cited_text": texts[0], "title": title or None, "source": source, **found}
    return None if source else {"type": kind, "cited_text": texts[0], "document_title": title or None, **found}


def cited(it: Citation, limits: Limits) -> dict[str, Any] | None:
    """A citation as this family has it; ``None``: it has it not."""
    said = it.native
    name = _NAMES.get(str(said.get("type"))) if it.family == "anthropic" and limits.claude else None
    if name is None:
        return dict(said) if it.family == FAMILY else None
    _, index, theirs, start, end = _PLACES[name]
    titles = {"title": said.get("title") or said.get("document_title"), "source": said.get("source")}
    place = {index: said.get(theirs), "start": said.get(start), "end": said.get(end)}
    return {**without_nothing(titles), "sourceContent": [{"text": said.get("cited_text") or ""}], "location": {name: place}}


def _tools(config: Fields) -> Iterator[Tool]:
    last: Tool | None = None
    for index, value in enumerate(config.list("tools")):
        tool = Fields(value, f"{config.place('tools')}[{index}]")
        spec, point = tool.fields("toolSpec"), tool.fields("cachePoint")
        if point is not None and isinstance(last, Function):
            yield replace(last, cache=CacheHint(ttl=point.text("ttl")))
            last = None
            continue
        if last is not None:
            yield last
        last = NativeTool(family=FAMILY, value=value, kind=_kind(value)) if spec is None else _function(spec)
    if last is not None:
        yield last


def _kind(value: Mapping[str, Any]) -> Any:
    said = value.get("systemTool")
    name = said.get("name") if isinstance(said, dict) else ""
    return {"nova_code_interpreter": "code_execution", "nova_grounding": "web_search"}.get(str(name), "")


def _function(spec: Fields) -> Function:
    schema = spec.fields("inputSchema")
    return Function(
        name=spec.required("name"),
        description=spec.text("description"),
        parameters=None if schema is None else schema.object("json"),
        strict=spec.flag("strict"),
        extra=spec.rest,
    )


def _tool_choice(config: Fields) -> ToolChoice | None:
    choice = config.fields("toolChoice")
    if choice is None:
        return None
    if choice.has("auto"):
        return ToolChoice(mode="auto")
    if choice.has("any"):
        return ToolChoice(mode="required")
    tool = choice.fields("tool")
    if tool is None:
        raise Malformed(choice.at, "is none of auto, any, tool")
    return ToolChoice(mode="required", names=(tool.required("name"),))


def _output_format(output: Fields) -> OutputFormat | None:
    form = output.fields("textFormat")
    if form is None:
        return None
    structure = form.fields("structure") or Fields({}, form.place("structure"))
    said = structure.fields("jsonSchema")
    if form.required("type") != "json_schema" or said is None:
        raise Malformed(form.at, "must be a json_schema with its structure")
    try:
        schema = json.loads(said.required("schema"))
    except ValueError as error:
        raise Malformed(said.place("schema"), "must be JSON") from error
    return OutputFormat(kind="schema", schema=schema, name=said.text("name"), description=said.text("description"))


def _reasoning_ask(more: dict[str, Any], output: Fields | None) -> ReasoningAsk | None:
    """What is asked of Claude's thinking, or of an effort; other models' words stay where they are."""
    effort = output.text("effort") if output is not None else ""
    thinking = more.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") not in ("enabled", "adaptive", "disabled"):
        word = more.pop("reasoning_effort", effort)
        return ReasoningAsk(effort=str(word)) if word else None
    del more["thinking"]
    kind, budget, display = thinking["type"], thinking.get("budget_tokens"), thinking.get("display")
    if kind == "disabled":
        return ReasoningAsk(effort="none")
    return ReasoningAsk(
        effort=effort,
        adaptive=kind == "adaptive",
        budget_tokens=budget if isinstance(budget, int) else None,
        shown=None if display is None else display != "omitted",
    )


def _texts(fields: Fields, name: str) -> Iterator[str]:
    for index, value in enumerate(fields.list(name)):
        if not isinstance(value, str):
            raise Malformed(f"{fields.place(name)}[{index}]", "must be a text")
        yield value


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- to JSON -------------------------------------------------------------------------------------------------------------

_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_TIERS: Final = {"default": "default", "flex": "flex", "priority": "priority", "standard_only": "default"}


def encode(request: Request, limits: Limits | None = None) -> dict[str, Any]:
    """The body for the provider; the model and whether it is to be streamed are in its URL.

    limits: what the model takes; by default what is known of its publisher's.
    Raises: Unsupported, naming the field, for what this protocol cannot say.
    """
    limits = limits_of(request.model) if limits is None else limits
    same = request.family == FAMILY
    if not same:
        _refuse(request, limits)
    extra = dict(request.extra) if same else {}
    writer = _Writer(limits, same=same, claudes=limits.claude and request.family == "anthropic")
    head = [it for at, it in enumerate(request.messages) if _leads(request.messages, at, same=same)]
    turns = [it for at, it in enumerate(request.messages) if not _leads(request.messages, at, same=same)]
    more, output = _thinking(request, limits)
    if request.top_k is not None:
        more |= {"top_k": request.top_k} if limits.top_k == "top_k" else {"inferenceConfig": {"topK": request.top_k}}
    choice = request.tool_choice
    forbidden = choice is not None and choice.mode == "none"
    one_by_one = request.parallel_tools is False and bool(request.tools) and limits.claude and not (same or forbidden)
    if one_by_one:
        more["tool_choice"] = _one_by_one(choice)
    if request.output_format is not None and request.output_format.kind == "schema":
        output["textFormat"] = _schema_json(request.output_format)
    messages = writer.turns(turns)
    if request.cache is not None and messages and "messages" in limits.caches:
        messages[-1]["content"] += _point(request.cache)
    thinks = limits.claude and more.get("thinking", {}).get("type") in ("enabled", "adaptive")
    inference = {
        "maxTokens": request.output_max,
        # While it thinks Claude takes no other temperature than its own.
        "temperature": None if thinks and not same else request.temperature,
        "topP": request.top_p,
        "stopSequences": list(request.stop),
    }
    if not same and limits.claude and request.stop:
        # Which of them it was, is told only where it is asked for.
        extra["additionalModelResponseFieldPaths"] = ["/stop_sequence"]
    tier = request.service_tier if same else _TIERS.get(request.service_tier, "")
    body = without_nothing(
        {
            "messages": messages,
            "system": writer.system(head),
            "inferenceConfig": {**without_nothing(inference), **extra.pop("inferenceConfig", {})},
            "toolConfig": {**_tool_config(request, limits, same=same, chosen=one_by_one), **extra.pop("toolConfig", {})},
            "additionalModelRequestFields": {**more, **extra.pop("additionalModelRequestFields", {})},
            "outputConfig": {**output, **extra.pop("outputConfig", {})},
            "requestMetadata": dict(request.metadata or {}) if same else None,
            "serviceTier": {"type": tier} if tier else None,
        }
    )
    return {**body, **extra}


def count_tokens(request: Request, limits: Limits | None = None) -> dict[str, Any]:
    """The body of a CountTokens request.  Raises: Unsupported.

    Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html, read 2026-11.
    """
    counted = ("messages", "system", "toolConfig", "additionalModelRequestFields")
    return {"input": {"converse": {name: value for name, value in encode(request, limits).items() if name in counted}}}


def _refuse(request: Request, limits: Limits) -> None:
    if request.choices is not None and request.choices > 1:
        raise Unsupported("n", "this model gives one answer to a request")
    if request.logprobs:
        raise Unsupported("logprobs", "this model does not tell them")
    if request.output_format is not None and request.output_format.kind == "json":
        raise Unsupported("response_format", "this model takes a JSON schema, not JSON without one")
    if set(request.modalities) - {"text"}:
        raise Unsupported("modalities", "this model answers in text")
    if request.parallel_tools is False and request.tools and not limits.claude:
        raise Unsupported("parallel_tool_calls", "this model cannot be told to call one tool at a time")
    if request.temperature is not None and request.temperature > 1:
        raise Unsupported("temperature", "this model takes 0 to 1")
    if request.top_k is not None and not limits.top_k:
        raise Unsupported("top_k", "this model has no such setting")
    for name, value in (("presence_penalty", request.presence_penalty), ("frequency_penalty", request.frequency_penalty)):
        if value:
            raise Unsupported(name, "this model has no such setting")


def _leads(messages: Sequence[Message], at: int, *, same: bool) -> bool:
    """Whether a message is one of the instructions; in the middle they stay there, as this family has them itself."""
    if messages[at].role not in ("system", "developer"):
        return False
    return not same or all(it.role in ("system", "developer") for it in messages[:at])


def _thinking(request: Request, limits: Limits) -> tuple[dict[str, Any], dict[str, Any]]:
    """What stands in ``additionalModelRequestFields`` and in ``outputConfig``."""
    ask, can = request.reasoning, limits.thinking
    if ask is None or not can.thinks or not limits.thinks:
        return {}, {}
    if limits.thinks == "claude":
        own = in_own_words(request, FAMILY)
        thinking, effort = _as_asked(ask) if own else of_claude(ask, can, request.output_max)
        if not own and keeps_still(request, thinking):
            thinking = {}
        return without_nothing({"thinking": thinking}), without_nothing({"effort": effort})
    off = ask.effort == "none" or ask.budget_tokens == 0
    word = _EFFORTS.get(effort_of(ask, can), "medium")
    match limits.thinks:
        case "nova":
            on = {"type": "enabled", "maxReasoningEffort": word}
            return {"reasoningConfig": {"type": "disabled"} if off else on}, {}
        case "effort":
            # It cannot be told not to.
            return {"reasoning_effort": "low" if off else word}, {}
        case _:
            return ({}, {}) if off else ({"reasoning_config": word}, {})


def _as_asked(ask: ReasoningAsk) -> tuple[dict[str, Any], str]:
    """Claude's ``thinking`` field, and the effort beside it, in the words that they came in."""
    display = {} if ask.shown is None else {"display": "summarized" if ask.shown else "omitted"}
    if ask.effort == "none":
        return {"type": "disabled"}, ""
    if ask.adaptive or ask.budget_tokens is None:
        return ({"type": "adaptive", **display} if ask.adaptive else {}), ask.effort
    return {"type": "enabled", "budget_tokens": ask.budget_tokens, **display}, ask.effort


def _schema_json(form: OutputFormat) -> dict[str, Any]:
    said = without_nothing({"name": form.name, "description": form.description})
    return {"type": "json_schema", "structure": {"jsonSchema": {**said, "schema": _dumps(form.schema or {})}}}


class _Writer:
    """Turns messages into JSON; remembers how documents were named, since no two may have the same name.

    claudes: what is asked of Claude in Anthropic's own words, some of which are the same here.
    """

    def __init__(self, limits: Limits, *, same: bool, claudes: bool) -> None:
        self._limits = limits
        self._same = same
        self._claudes = claudes
        self._names: set[str] = set()

    def system(self, head: Sequence[Message]) -> list[dict[str, Any]]:
        caches = self._same or "system" in self._limits.caches
        return [it for message in head for part in message.parts for it in self._blocks(part, "system", caches=caches)]

    def turns(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        turns: list[dict[str, Any]] = []
        caches = self._same or "messages" in self._limits.caches
        for at, message in enumerate(messages):
            role = "user" if message.role == "tool" else message.role
            blocks = [it for part in message.parts for it in self._blocks(part, f"messages[{at}]", caches=caches)]
            if not blocks and not self._same:
                # An empty turn is refused there; what follows joins the turn before.
                continue
            # Results of tools come as messages of their own elsewhere, and belong into one turn here.
            if not self._same and turns and turns[-1]["role"] == role:
                turns[-1]["content"] += blocks
            else:
                turns.append({"role": role, "content": blocks, **(message.extra if self._same else {})})
        return turns

    def _blocks(self, part: Part, at: str, *, caches: bool) -> list[dict[str, Any]]:
        block = self._block(part, at)
        if block is None:
            return []
        hint = getattr(part, "cache", None)
        return [block, *(_point(hint) if caches and hint is not None else ())]

    def _block(self, part: Part, at: str) -> dict[str, Any] | None:
        extra = dict(getattr(part, "extra", {})) if self._same else {}
        match part:
            case Text() if self._claudes and part.extra.get("type") == "search_result":
                return {"searchResult": _search_result(part.extra)}
            case Text():
                return text_json(part, extra, self._limits) if self._same or part.text.strip() else None
            case Refusal():
                return {"text": part.text} if part.text.strip() else None
            case Image():
                return {"image": _media_json("image", part.media, "", at, extra)}
            case Video():
                return {"video": _media_json("video", part.media, "", at, extra)}
            case Audio():
                return {"audio": _media_json("audio", part.media, part.format, at, extra)}
            case File():
                if self._claudes and part.extra.get("citations"):
                    extra["citations"] = part.extra["citations"]
                return {"document": self._document(part, at, extra)}
            case Reasoning():
                return reasoning_json(part, self._limits)
            case ToolCall():
                return {"toolUse": {"toolUseId": tool_id(part.id or part.name), "name": part.name, **_input(part, at), **extra}}
            case ToolResult():
                content = [it for inner in part.content for it in self._blocks(inner, at, caches=False)]
                status = {"status": "error"} if part.failed else {}
                return {"toolResult": {"toolUseId": tool_id(part.id), "content": content, **status, **extra}}
            case Native():
                if part.family == FAMILY:
                    return dict(part.value)
                return {"text": part.text} if part.text.strip() else None

    def _document(self, part: File, at: str, extra: dict[str, Any]) -> dict[str, Any]:
        if self._same:
            named = without_nothing({"name": part.name})
            if part.text:
                return {**named, "source": {"text": part.text}, **extra}
            return {**named, **_media_json("document", part.media, "", at, extra)}
        stem = _NAME.sub(" ", part.name.rpartition(".")[0] or part.name)
        name = " ".join(stem.split())[:NAME_MAX] or f"Document {len(self._names) + 1}"
        while name in self._names:
            name = f"{name[: NAME_MAX - 4]} {len(self._names) + 1}"
        self._names.add(name)
        media = part.media
        if part.text:
            media = Media(data=b64encode(part.text.encode()).decode(), media_type="text/plain")
        return {"name": name, **_media_json("document", media, "", at, extra)}


def _search_result(block: Mapping[str, Any]) -> dict[str, Any]:
    """Anthropic's block of what a search has found; its fields have the same names here."""
    content = [{"text": it["text"]} for it in block["content"]]
    said = {name: block.get(name) for name in ("source", "title", "citations")}
    return {**without_nothing(said), "content": content}


def _point(hint: CacheHint) -> list[dict[str, Any]]:
    return [{"cachePoint": without_nothing({"type": "default", "ttl": hint.ttl})}]


def text_json(part: Text, extra: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """A text, with what it rests on if this family told it, or Claude."""
    citations = [said for it in part.citations if (said := cited(it, limits)) is not None]
    if citations:
        return {"citationsContent": {"content": [{"text": part.text}] if part.text else [], "citations": citations}}
    return {"text": part.text, **extra}


def reasoning_json(part: Reasoning, limits: Limits) -> dict[str, Any] | None:
    """Thoughts go back to who sealed them; Claude's without a seal are refused there."""
    if part.family != ("anthropic" if limits.claude else FAMILY):
        if part.family == FAMILY and part.encrypted:
            return {"reasoningContent": {"redactedContent": part.encrypted}}
        return None
    if part.encrypted:
        sealed = b64encode(part.encrypted.encode()).decode() if part.family == "anthropic" else part.encrypted
        return {"reasoningContent": {"redactedContent": sealed}}
    if limits.claude and not part.signature:
        return None
    said = {"text": part.text, **without_nothing({"signature": part.signature})}
    return {"reasoningContent": {"reasoningText": said}}


def tool_id(given: str) -> str:
    """A call's id in the characters and the length that are allowed; the same for the call and for its result."""
    plain = _ID.sub("_", given)
    return plain if len(plain) <= ID_MAX else f"{plain[: ID_MAX - 9]}_{crc32(plain.encode()):08x}"


def _input(call: ToolCall, at: str) -> dict[str, Any]:
    if call.custom:
        return {"input": {"input": call.arguments}}
    try:
        value = json.loads(call.arguments or "{}")
    except ValueError as error:
        raise Unsupported(at, "a tool call's arguments have to be JSON here") from error
    return {"input": value if isinstance(value, dict) else {"input": value}}


def _media_json(kind: str, media: Media, form: str, at: str, extra: dict[str, Any]) -> dict[str, Any]:
    if media.file_id:
        raise Unsupported(at, "a file by its id belongs to the provider that holds it")
    if media.data:
        source: dict[str, Any] = {"bytes": media.data}
    elif media.url.startswith("s3://"):
        source = {"s3Location": {"uri": media.url, **extra.pop("s3Location", {})}}
    else:
        raise Unsupported(at, "this provider takes the data itself, or a place in S3, not a URL")
    formats = _FORMATS[kind]
    name = formats.get(media.media_type) or formats.get(form) or form
    if not name and media.media_type.startswith(f"{kind}/"):
        name = media.media_type.partition("/")[2]
    if not name:
        raise Unsupported(at, f"{media.media_type or 'data of an unknown kind'} is no {kind} that this provider takes")
    return {"format": name, "source": source, **extra}


def _one_by_one(choice: ToolChoice | None) -> dict[str, Any]:
    """A choice of tools in Claude's own words, which alone can ask for one call at a time; what stands here must not stand in
    ``toolConfig`` as well.  Raises: Unsupported.

    Source: platform.claude.com/docs/en/agents-and-tools/tool-use, "Parallel tool use"; requests that users of Converse report.
    """
    said = _tool_choice_json(choice) or {"auto": {}}
    ((kind, fields),) = said.items()
    return {"type": kind, **fields, "disable_parallel_tool_use": True}


def _tool_config(request: Request, limits: Limits, *, same: bool, chosen: bool = False) -> dict[str, Any]:
    choice = request.tool_choice
    called = any(isinstance(part, ToolCall | ToolResult) for message in request.messages for part in message.parts)
    if choice is not None and choice.mode == "none" and not same:
        if called:
            raise Unsupported("tool_choice", "this provider cannot forbid tools once one has been called")
        return {}
    if called and not request.tools and not same:
        raise Unsupported("tools", "this provider has to be told the tools that the messages have calls of")
    tools: list[dict[str, Any]] = []
    for at, tool in enumerate(request.tools):
        if isinstance(tool, NativeTool):
            if tool.family != FAMILY:
                raise Unsupported(f"tools[{at}]", "this tool is run by another provider")
            tools.append(dict(tool.value))
            continue
        tools.append(_tool_json(tool, limits, same=same))
        if tool.cache is not None and (same or "tools" in limits.caches):
            tools += _point(tool.cache)
    return without_nothing({"tools": tools, "toolChoice": _tool_choice_json(choice) if tools and not chosen else None})


def _tool_json(tool: Function, limits: Limits, *, same: bool) -> dict[str, Any]:
    schema: Mapping[str, Any] = tool.parameters or {"type": "object", "properties": {}}
    if tool.custom:
        schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    said = without_nothing({"name": tool.name, "description": tool.description})
    if tool.strict is not None and (same or limits.strict):
        said["strict"] = tool.strict
    return {"toolSpec": {**said, "inputSchema": {"json": schema}, **(tool.extra if same else {})}}


def _tool_choice_json(choice: ToolChoice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    if choice.native:
        raise Unsupported("tool_choice", "this model does not know that tool")
    match choice.mode:
        case "required" if len(choice.names) == 1:
            return {"tool": {"name": choice.names[0]}}
        case "required" if not choice.names:
            return {"any": {}}
        case "auto" if not choice.names:
            return {"auto": {}}
        case _:
            raise Unsupported("tool_choice", "this model may be offered all of the tools, or made to call one")
