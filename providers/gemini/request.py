"""Gemini's generateContent: a request from JSON to the canonical form, and back.

Source: ai.google.dev/api/generate-content, read 2026-11.  Its JSON is protobuf's: every field may be written in camelCase or in
snake_case, and bytes in either alphabet of base64.
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
from providers.reading import Fields, without_nothing
from providers.thinking import ANY, Thinking, budget_of, effort_of, in_own_words

FAMILY: Final = "gemini"
_SNAKE = re.compile(r"_([a-z])")
_KINDS: Final = {
    "googleSearch": "web_search",
    "googleSearchRetrieval": "web_search",
    "urlContext": "web_fetch",
    "codeExecution": "code_execution",
    "fileSearch": "file_search",
}
_LEVELS: Final = {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high", "XHIGH": "xhigh"}


def camel(value: object) -> object:
    """The object with its own names in camelCase, as protobuf's JSON allows; what is inside stays as it is."""
    if not isinstance(value, dict):
        return value
    return {_SNAKE.sub(lambda match: match[1].upper(), name): field for name, field in value.items()}


def fields_of(value: object, at: str = "") -> Fields:
    """The object, to be taken apart by its names in camelCase.  Raises: Malformed."""
    return Fields(camel(value), at)


def _many(fields: Fields, name: str) -> Sequence[Any]:
    """A list, of which one element may stand alone, as the protocol's own examples have it.  Raises: Malformed."""
    return (fields.object(name),) if isinstance(fields.any(name), dict) else fields.list(name)


# --- from JSON -----------------------------------------------------------------------------------------------------------


def decode(body: Mapping[str, Any], *, model: str, stream: bool) -> Request:
    """A client's request; the model and whether it is to be streamed stand in its URL.  Raises: Malformed."""
    fields = fields_of(body)
    config = fields_of(fields.object("generationConfig") or {}, "generationConfig")
    instruction = fields.object("systemInstruction")
    head = [] if instruction is None else [_instruction(fields_of(instruction, "systemInstruction"))]
    logprobs = config.flag("responseLogprobs")
    return Request(
        family=FAMILY,
        model=model,
        messages=(*head, *_messages(fields)),
        stream=stream,
        stream_usage=True if stream else None,
        tools=tuple(
            tool for at, value in enumerate(_many(fields, "tools")) for tool in _tools(fields_of(value, f"tools[{at}]"))
        ),
        tool_choice=_tool_choice(fields.object("toolConfig")),
        output_format=_output_format(config),
        reasoning=_reasoning_ask(config.object("thinkingConfig")),
        output_max=config.whole("maxOutputTokens"),
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        top_k=_top_k(config),
        stop=tuple(config.list("stopSequences")),
        seed=config.whole("seed"),
        choices=config.whole("candidateCount"),
        presence_penalty=config.number("presencePenalty"),
        frequency_penalty=config.number("frequencyPenalty"),
        logprobs=logprobs,
        top_logprobs=config.whole("logprobs"),
        service_tier=fields.text("serviceTier"),
        modalities=tuple(str(it).lower() for it in config.list("responseModalities")),
        extra={**fields.rest, **_rests(fields, config)},
    )


def _rests(fields: Fields, config: Fields) -> dict[str, Any]:
    """What else stood in objects that were taken apart."""
    rest: dict[str, Any] = {"generationConfig": dict(config.rest)} if config.rest else {}
    said = fields.object("toolConfig")
    if said is not None:
        tool_config = fields_of(said, "toolConfig")
        calling = fields_of(tool_config.object("functionCallingConfig") or {}, "toolConfig.functionCallingConfig")
        others = dict(tool_config.rest)
        mode = calling.text("mode")
        calling.list("allowedFunctionNames")
        # A mode that no other protocol has.
        own = {} if mode.upper() in ("", "AUTO", "ANY", "NONE") else {"mode": mode}
        if own or calling.rest:
            others["functionCallingConfig"] = {**own, **calling.rest}
        if others:
            rest["toolConfig"] = others
    return rest


def _top_k(config: Fields) -> int | None:
    # It is a whole number that the protocol keeps as a float.
    said = config.number("topK")
    return None if said is None else int(said)


def _instruction(fields: Fields) -> Message:
    return Message(role="system", parts=tuple(_parts(fields, {})))


def _messages(fields: Fields) -> Iterator[Message]:
    if not fields.has("contents"):
        raise Malformed("contents", "is missing")
    names: dict[str, list[str]] = {}
    for at, value in enumerate(_many(fields, "contents")):
        content = fields_of(value, f"contents[{at}]")
        said = content.text("role", "user")
        roles: dict[str, Role] = {"user": "user", "model": "assistant", "function": "user", "tool": "user", "system": "system"}
        if said not in roles:
            raise Malformed(content.place("role"), f"{said!r} is none of user, model")
        parts = tuple(_parts(content, names))
        results = bool(parts) and all(isinstance(part, ToolResult) for part in parts)
        yield Message(role="tool" if results else roles[said], parts=parts, extra=content.rest)


def _parts(content: Fields, calls: dict[str, list[str]]) -> Iterator[Part]:
    """calls: by the tool's name, the ids that were made up for calls without one and wait for their results."""
    for at, value in enumerate(_many(content, "parts")):
        yield part_of(fields_of(value, f"{content.place('parts')}[{at}]"), calls)


def part_of(part: Fields, calls: dict[str, list[str]]) -> Part:
    """One part.  Raises: Malformed."""
    signature = part.text("thoughtSignature")
    if part.is_empty:
        # A text of none: protobuf leaves it out.
        return Text(text="")
    if part.has("text"):
        text = part.required("text")
        if part.flag("thought"):
            return Reasoning(family=FAMILY, text=text, signature=signature, extra=part.rest)
        return Text(text=text, signature=signature, extra=part.rest)
    if part.has("functionCall"):
        call = fields_of(part.object("functionCall"), part.place("functionCall"))
        name = call.required("name")
        given = call.text("id")
        waiting = calls.setdefault(name, [])
        made = given or f"call_{name}_{sum(map(len, calls.values()))}"
        waiting.append(made)
        arguments = _dumps(call.object("args") or {})
        extra = {**part.rest, **({} if given else {"no_id": True})}
        if signature == UNSEALED:
            signature, extra["thoughtSignature"] = "", signature
        return ToolCall(id=made, name=name, arguments=arguments, signature=signature, extra=extra)
    if part.has("functionResponse"):
        return _tool_result(fields_of(part.object("functionResponse"), part.place("functionResponse")), calls)
    if part.has("inlineData") and part.any("thought") is True:
        # A sketch on the way to the picture: none of the answer.
        return Native(
            family=FAMILY, value={"inlineData": part.any("inlineData"), "thought": True, **_seal(signature), **part.rest}
        )
    if part.has("inlineData"):
        data = fields_of(part.object("inlineData"), part.place("inlineData"))
        kind = data.text("mimeType")
        media = Media(data=_standard(data.required("data")), media_type=kind)
        return media_part(media, data.text("displayName"), part.rest)
    if part.has("fileData"):
        data = fields_of(part.object("fileData"), part.place("fileData"))
        media = Media(url=data.required("fileUri"), media_type=data.text("mimeType"))
        return media_part(media, data.text("displayName"), part.rest)
    return Native(family=FAMILY, value={**part.rest, **_seal(signature)}, text="")


_EXTENSION: Final = re.compile(r"[^?#]*\.([A-Za-z0-9]{2,4})(?:[?#].*)?", re.DOTALL)
_KINDS_OF_FILES: Final = {
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "mp3": "audio/mp3",
    "mp4": "video/mp4",
    "mov": "video/mov",
    "pdf": "application/pdf",
    "png": "image/png",
    "txt": "text/plain",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
}
"""What a file is by the end of its address, where nobody says more: Vertex AI wants to be told.

Source: cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference#filedata, read 2026-11.
"""
_FILMS: Final = re.compile(r"https?://(?:(?:www|m)\.)?(?:youtube\.com|youtu\.be)/", re.IGNORECASE)


def kind_of(url: str) -> str:
    """What kind of file it is, as far as its address says; empty: it does not."""
    return "video/mp4" if _FILMS.match(url) else _KINDS_OF_FILES.get(_EXTENSION.sub(r"\1", url).lower(), "")


def media_part(media: Media, name: str, extra: Mapping[str, Any]) -> Part:
    """A part by what kind of data it is."""
    kind = (media.media_type or kind_of(media.url)).partition("/")[0]
    match kind:
        case "image":
            return Image(media=media, extra=extra)
        case "audio":
            return Audio(media=media, format=_AUDIO.get(media.media_type, ""), extra=extra)
        case "video":
            return Video(media=media, extra=extra)
        case _:
            return File(media=media, name=name, extra=extra)


_AUDIO: Final = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/flac": "flac"}


def _standard(data: str) -> str:
    """Base64 in the usual alphabet, as every other protocol has it."""
    plain = data.replace("-", "+").replace("_", "/")
    return plain + "=" * (-len(plain) % 4)


def _tool_result(result: Fields, calls: dict[str, list[str]]) -> ToolResult:
    name = result.required("name")
    given = result.text("id")
    waiting = calls.get(name, [])
    if given in waiting:
        waiting.remove(given)
    # Without an id the results of a tool answer its calls in their order.
    made = given or (waiting.pop(0) if waiting else f"call_{name}")
    said = result.any("response")
    failed = isinstance(said, dict) and set(said) == {"error"}
    pieces = result.any("parts")
    shown = tuple(
        part_of(fields_of(it, f"{result.place('parts')}[{at}]"), {})
        for at, it in enumerate(pieces if isinstance(pieces, list) else ())
    )
    kept = {"response": said, **({} if pieces is None else {"parts": pieces})}
    return ToolResult(
        id=made,
        name=name,
        content=(Text(text="" if said is None else _result_text(said, name)), *shown),
        failed=failed,
        extra={**result.rest, **kept, **({} if given else {"no_id": True})},
    )


def _result_text(said: object, tool: str) -> str:
    """What a tool gave, as text: the value that stands alone under the usual names, or all of it as JSON.

    The AI SDK says the tool's name beside it once more.
    """
    if isinstance(said, dict) and len(said) == 2 and said.get("name") == tool and "content" in said:
        said = said["content"]
    elif isinstance(said, dict) and len(said) == 1:
        (name, value), *_ = said.items()
        if name in ("output", "result", "return_value", "error", "content") and isinstance(value, str):
            return value
    return said if isinstance(said, str) else _dumps(said)


def _tools(tool: Fields) -> Iterator[Tool]:
    for at, value in enumerate(_many(tool, "functionDeclarations")):
        function = fields_of(value, f"{tool.place('functionDeclarations')}[{at}]")
        schema = function.object("parametersJsonSchema")
        own = function.object("parameters")
        if schema is None:
            made = None if own is None else from_own_schema(own, function.place("parameters"))
        yield Function(
            name=function.required("name"),
            description=function.text("description"),
            parameters=made if schema is None else schema,
            extra={**function.rest, **({} if schema is not None else {"parameters": own})},
        )
    for name, value in tool.rest.items():
        yield NativeTool(family=FAMILY, value={name: value}, kind=_KINDS.get(name, ""))  # type: ignore[arg-type]  # of the table


def _tool_choice(config: Mapping[str, Any] | None) -> ToolChoice | None:
    if config is None:
        return None
    said = fields_of(config, "toolConfig").object("functionCallingConfig")
    if said is None:
        return None
    calling = fields_of(said, "toolConfig.functionCallingConfig")
    names = tuple(calling.list("allowedFunctionNames"))
    match calling.text("mode").upper():
        case "ANY":
            return ToolChoice(mode="required", names=names)
        case "NONE":
            return ToolChoice(mode="none")
        case _:
            return ToolChoice(mode="auto", names=names)


def _output_format(config: Fields) -> OutputFormat | None:
    kind = config.text("responseMimeType")
    schema, own = config.object("responseJsonSchema"), config.object("responseSchema")
    if schema is not None or own is not None:
        if schema is None:
            schema = from_own_schema(own or {}, config.place("responseSchema"))
        return OutputFormat(kind="schema", schema=schema)
    if kind == "application/json":
        return OutputFormat(kind="json")
    return OutputFormat(kind="text") if kind == "text/plain" else None


def _reasoning_ask(config: Mapping[str, Any] | None) -> ReasoningAsk | None:
    if config is None:
        return None
    said = fields_of(config, "generationConfig.thinkingConfig")
    level = said.text("thinkingLevel").upper()
    return ReasoningAsk(
        effort=_LEVELS.get(level, ""), budget_tokens=said.whole("thinkingBudget"), shown=said.flag("includeThoughts")
    )


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_HELD: Final = re.compile(r"gs:|https://[a-z0-9.-]*generativelanguage\.googleapis\.com/")


def leave(request: Request) -> Request:
    """The request as another family's provider can take it over.

    Raises: Unsupported, naming the field, for files that only Google's services can read, and for pieces of films.
    """
    first = sum(message.role == "system" for message in request.messages[:1])
    for at, message in enumerate(request.messages):
        place = f"contents[{at - first}]" if at >= first else "systemInstruction"
        for number, part in enumerate(message.parts):
            held = part.content if isinstance(part, ToolResult) else (part,)
            for it in held:
                if isinstance(it, Image | Audio | Video | File):
                    _check_leaves(it, f"{place}.parts[{number}]")
    return request


def _check_leaves(part: Image | Audio | Video | File, at: str) -> None:
    if _HELD.match(part.media.url):
        raise Unsupported(f"{at}.fileData", "a file that Google holds can be read by its own models only")
    if part.extra.get("videoMetadata"):
        raise Unsupported(f"{at}.videoMetadata", "only its own protocol has this field")


# --- schemas -------------------------------------------------------------------------------------------------------------


def from_own_schema(schema: object, at: str) -> dict[str, Any]:
    """A JSON schema from the protocol's own kind: an OpenAPI schema with its types in capitals.

    at: its place in the request.   Raises: Malformed.
    Source: ai.google.dev/api/caching#Schema, read 2026-11.
    """
    made: dict[str, Any] = {}
    own = camel(schema)
    if not isinstance(own, dict):
        raise Malformed(at, "must be an object")
    for name, value in own.items():
        match name:
            case "type" if isinstance(value, str):
                made["type"] = value.lower()
            case "properties" if isinstance(value, dict):
                made["properties"] = {key: from_own_schema(it, f"{at}.properties.{key}") for key, it in value.items()}
            case "items" if isinstance(value, dict):
                made["items"] = from_own_schema(value, f"{at}.items")
            case "anyOf" if isinstance(value, list):
                made["anyOf"] = [from_own_schema(it, f"{at}.anyOf[{number}]") for number, it in enumerate(value)]
            case "nullable":
                pass
            case "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties":
                made[name] = _count(value, f"{at}.{name}")
            case "propertyOrdering":
                pass
            case _:
                made[name] = value
    if own.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made


def _count(value: object, at: str) -> int:
    """A whole number, which protobuf's JSON may write as a text.  Raises: Malformed."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    raise Malformed(at, "must be a whole number")


# --- to JSON -------------------------------------------------------------------------------------------------------------


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a model of this family can do.

    levels: it takes a level of thinking instead of a budget.  thinking: what it can be told of that.
    """

    levels: bool = False
    thinking: Thinking = ANY


USUAL: Final = Limits()
LEVELS: Final = ("minimal", "low", "medium", "high")
BUDGET_MIN: Final = 128
BUDGET_MAX: Final = 24_576
"""What all models that take budgets take.  Source: ai.google.dev/gemini-api/docs/thinking, read 2026-11."""


def encode(request: Request, limits: Limits = USUAL) -> dict[str, Any]:
    """The body for a provider.  Raises: Unsupported, naming the field, for what this protocol cannot say."""
    same = request.family == FAMILY
    extra = dict(request.extra) if same else {}
    head = [it for it in request.messages if it.role in ("system", "developer")]
    turns = [it for it in request.messages if it.role not in ("system", "developer")]
    instruction = [part for at, it in enumerate(head) for part in _parts_json(it.parts, f"messages[{at}]", {}, same=same)]
    config = {**_config(request, limits), **extra.pop("generationConfig", {})}
    tool_config = _tool_config(request)
    for name, value in extra.pop("toolConfig", {}).items():
        tool_config[name] = {**tool_config.get(name, {}), **value} if isinstance(value, dict) else value
    body = without_nothing(
        {
            "systemInstruction": {"role": "user", "parts": instruction} if instruction else None,
            "contents": _contents(turns, same=same),
            "tools": _tools_json(request.tools, same=same),
            "toolConfig": tool_config,
            "generationConfig": config,
            "serviceTier": request.service_tier if same else "",
        }
    )
    return {**body, **extra}


def _config(request: Request, limits: Limits) -> dict[str, Any]:
    modalities = [it.upper() for it in request.modalities]
    return without_nothing(
        {
            "maxOutputTokens": request.output_max,
            "temperature": request.temperature,
            "topP": request.top_p,
            "topK": request.top_k,
            "stopSequences": list(request.stop),
            "seed": request.seed,
            "candidateCount": request.choices,
            "presencePenalty": request.presence_penalty,
            "frequencyPenalty": request.frequency_penalty,
            "responseLogprobs": request.logprobs,
            "logprobs": request.top_logprobs,
            "responseModalities": modalities,
            "thinkingConfig": _thinking(request.reasoning, limits, same=in_own_words(request, FAMILY)),
            **_format_json(request.output_format),
        }
    )


def _format_json(wanted: OutputFormat | None) -> dict[str, Any]:
    if wanted is None:
        return {}
    match wanted.kind:
        case "text":
            return {"responseMimeType": "text/plain"}
        case "json":
            return {"responseMimeType": "application/json"}
        case "schema":
            return {"responseMimeType": "application/json", "responseJsonSchema": wanted.schema or {}}


def _thinking(ask: ReasoningAsk | None, limits: Limits, *, same: bool) -> dict[str, Any]:
    if ask is None or not (same or limits.thinking.thinks):
        return {}
    shown = {} if ask.shown is None else {"includeThoughts": ask.shown}
    if same:
        level = {} if not ask.effort else {"thinkingLevel": ask.effort.upper()}
        budget = {} if ask.budget_tokens is None else {"thinkingBudget": ask.budget_tokens}
        return {**shown, **level, **budget}
    # Clients of other protocols see thoughts where there are any.
    shown = shown or {"includeThoughts": True}
    can = limits.thinking
    if limits.levels:
        effort = effort_of(ask, replace(can, efforts=can.efforts or LEVELS))
        return {**shown, "thinkingLevel": effort.upper()} if effort else shown
    tokens = budget_of(
        ask, replace(can, budget_min=max(can.budget_min, BUDGET_MIN), budget_max=min(can.budget_max, BUDGET_MAX))
    )
    if tokens is None:
        return {}
    unwanted = ask.effort == "none" or ask.budget_tokens == 0
    return {**({} if unwanted else shown), "thinkingBudget": tokens}


UNSEALED: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""What stands in the place of the seal of a call that another model made, or whose seal its client could not keep; Gemini 3
refuses the first call of a turn without any.

Source: ai.google.dev/gemini-api/docs/thought-signatures, questions (``skip_thought_signature_validator``, here in base64), read
2026-11, and recorded requests.
"""


def _contents(turns: Sequence[Message], *, same: bool) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for at, message in enumerate(turns):
        role = "model" if message.role == "assistant" else "user"
        parts = list(_parts_json(message.parts, f"messages[{at}]", names, same=same))
        first = next((it for it in parts if "functionCall" in it), None)
        if first is not None and not same:
            first.setdefault("thoughtSignature", UNSEALED)
        if not parts:
            continue
        if not same and contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts, **(message.extra if same else {})})
    # A question of no words is one too, and has to be there.
    return contents if contents or same or not turns else [{"role": "user", "parts": [{"text": ""}]}]


def _parts_json(parts: Iterable[Part], at: str, names: dict[str, str], *, same: bool) -> Iterator[dict[str, Any]]:
    """names: the tool of each call, by its id: a result has to say it."""
    for part in parts:
        made = _part_json(part, at, names, same=same)
        if made is not None:
            yield made


def _part_json(part: Part, at: str, names: dict[str, str], *, same: bool) -> dict[str, Any] | None:
    extra = dict(getattr(part, "extra", {})) if same else {}
    match part:
        case Text():
            return {"text": part.text, **_seal(part.signature), **extra} if part.text or part.signature or same else None
        case Refusal():
            return {"text": part.text}
        case Reasoning():
            if part.family != FAMILY:
                return None
            return {"text": part.text, "thought": True, **_seal(part.signature), **extra}
        case Image() | Audio() | Video():
            return {**_media_json(part.media, at), **extra}
        case File():
            if part.text:
                return {"text": part.text}
            return {**_media_json(part.media, at, part.name), **extra}
        case ToolCall():
            names[part.id] = part.name
            made_up = extra.pop("no_id", False)
            call = without_nothing({"id": "" if made_up else part.id}) | {"name": part.name, "args": _args(part, at)}
            return {"functionCall": call, **_seal(part.signature), **extra}
        case ToolResult():
            return _result_json(part, at, names, extra)
        case Native():
            if part.family == FAMILY:
                return dict(part.value)
            return {"text": part.text} if part.text else None


def _seal(signature: str) -> dict[str, Any]:
    return {"thoughtSignature": signature} if signature else {}


def _args(call: ToolCall, at: str) -> Any:
    if call.custom:
        return {"input": call.arguments}
    try:
        value = characters.loads(call.arguments or "{}")
    except ValueError as error:
        raise Unsupported(at, "a tool call's arguments have to be JSON here") from error
    return value if isinstance(value, dict) else {"input": value}


def _result_json(part: ToolResult, at: str, names: dict[str, str], extra: dict[str, Any]) -> dict[str, Any]:
    name = part.name or names.get(part.id, "")
    if not name:
        raise Unsupported(at, "a result has to name its tool here, and no call before it has that id")
    made_up = extra.pop("no_id", False)
    named = without_nothing({"id": "" if made_up else part.id}) | {"name": name}
    if "response" in extra:
        return {"functionResponse": {**named, **{it: value for it, value in extra.items() if value is not None}}}
    text = "".join(it.text for it in part.content if isinstance(it, Text))
    others = [it for it in part.content if not isinstance(it, Text)]
    response: dict[str, Any] = {"error": text} if part.failed else _as_object(text)
    if others:
        inside = [_media_json(it.media, at) for it in others if isinstance(it, Image | File | Audio | Video)]
        return {"functionResponse": {**named, "response": response, "parts": inside}}
    return {"functionResponse": {**named, "response": response}}


def _as_object(text: str) -> dict[str, Any]:
    """A result has to be an object here."""
    try:
        value = json.loads(text)
    except ValueError:
        return {"output": text}
    return value if isinstance(value, dict) else {"output": text}


def _media_json(media: Media, at: str, name: str = "") -> dict[str, Any]:
    named = without_nothing({"displayName": name})
    if not (media.data or media.url):
        raise Unsupported(at, "what is known by its id alone belongs to the provider that made it")
    if media.file_id:
        raise Unsupported(at, "a file by its id belongs to the provider that holds it")
    if media.data:
        if not media.media_type:
            raise Unsupported(at, "what kind of data it is has to be said here")
        return {"inlineData": {"mimeType": media.media_type, "data": media.data, **named}}
    return {
        "fileData": {**without_nothing({"mimeType": media.media_type or kind_of(media.url)}), "fileUri": media.url, **named}
    }


def _tools_json(tools: Sequence[Tool], *, same: bool) -> list[dict[str, Any]]:
    functions = []
    others = []
    for at, tool in enumerate(tools):
        if isinstance(tool, NativeTool):
            if tool.family != FAMILY:
                raise Unsupported(f"tools[{at}]", "this tool is run by another provider")
            others.append(dict(tool.value))
        else:
            functions.append(_function_json(tool, same=same))
    return [*([{"functionDeclarations": functions}] if functions else []), *others]


def _function_json(tool: Function, *, same: bool) -> dict[str, Any]:
    said: dict[str, Any] = without_nothing({"name": tool.name, "description": tool.description})
    extra = dict(tool.extra) if same else {}
    if extra.get("parameters") is not None:
        return {**said, **extra}
    extra.pop("parameters", None)
    if tool.custom:
        said["parametersJsonSchema"] = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    elif tool.parameters is not None:
        said["parametersJsonSchema"] = tool.parameters
    return {**said, **extra}


def _tool_config(request: Request) -> dict[str, Any]:
    choice = request.tool_choice
    if choice is None:
        return {}
    if choice.native:
        raise Unsupported("tool_choice", "this model does not know that tool")
    mode = {"auto": "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]
    if choice.mode == "auto" and choice.names:
        # Words, or a call of one of these.  Source: ai.google.dev/gemini-api/docs/function-calling, modes, read 2026-11.
        mode = "VALIDATED"
    return {"functionCallingConfig": without_nothing({"mode": mode, "allowedFunctionNames": list(choice.names)})}
