"""The items of OpenAI's Responses API, and the parts that they are in the canonical form.

A conversation is a flat list of items there: a message, a thought, a call and a call's result are one each.  What a model
wrote in one turn is one message of the canonical form; where an item of several parts begins, its first part says so.

Source: platform.openai.com/docs/api-reference/responses, read 2026-11.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeGuard

import msgspec
from msgspec.structs import replace

from providers.canonical import (
    NOTHING,
    Audio,
    CacheHint,
    Citation,
    Family,
    File,
    Image,
    Malformed,
    Media,
    Message,
    Native,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
    Unsupported,
    Video,
)
from providers.reading import Fields, without_nothing

FAMILY: Final = "openai-responses"
ITEM: Final = "item"
"""The key of a part's ``extra`` that holds the rest of the message item which begins with it."""

TOOLS_ITEM: Final = "additional_tools"
NAMESPACE: Final = "namespace"
"""The key of a call's ``extra`` that holds the group of the function; see ``responses_tools``."""
ROLES: Final[Mapping[str, Role]] = {"user": "user", "system": "system", "developer": "developer", "assistant": "assistant"}
_WRITTEN: Final = frozenset(("output_text", "input_text", "refusal"))
_DATA_URL = re.compile(r"data:([^;,]*)(;[^,]*)?;base64,(.*)", re.DOTALL)


# --- seals -----------------------------------------------------------------------------------------------------------------

_SEAL: Final = "tollway:"


class Seal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What another family's provider wants back with its thoughts, in the one field that clients hand back unread.

    calls: seals of calls, by the call's id.  form: the field that the thoughts stood in.
    """

    family: Family
    signature: str = ""
    encrypted: str = ""
    form: str = ""
    calls: dict[str, str] = {}


_read_seal = msgspec.json.Decoder(Seal).decode


def sealed(seal: Seal) -> str:
    """The seal as an ``encrypted_content``."""
    return _SEAL + base64.urlsafe_b64encode(msgspec.json.encode(seal)).decode()


def unsealed(encrypted: str) -> Seal | None:
    """The seal that ``sealed`` made; ``None`` if it is somebody else's.  Raises: ValueError, if it is damaged."""
    if not encrypted.startswith(_SEAL):
        return None
    try:
        return _read_seal(base64.urlsafe_b64decode(encrypted.removeprefix(_SEAL)))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError("not a seal") from error


def seal_of(part: Reasoning) -> str:
    """The ``encrypted_content`` of thoughts: the family's own, or another's wrapped; empty: they have none."""
    if part.family == FAMILY:
        return part.encrypted
    form = part.extra.get("as")
    seal = Seal(
        family=part.family,
        signature=part.signature,
        encrypted=part.encrypted,
        form=form if isinstance(form, str) else "",
    )
    return sealed(seal) if seal.signature or seal.encrypted or seal.form else ""


# --- from JSON -------------------------------------------------------------------------------------------------------------


def turns(items: Iterable[Fields]) -> Iterator[Message]:
    """The turns that a client's list of input items is.  Raises: Malformed."""
    turn: list[Part] = []
    calls: dict[str, str] = {}
    for item in items:
        kind = _kind(item)
        role = _role(item, kind)
        if role == "assistant":
            for part in parts_of(item, kind):
                if not isinstance(part, Reasoning) or (seal := _seal(part, item)) is None:
                    turn.append(part)
                elif seal.calls:
                    calls |= seal.calls
                else:
                    turn.append(_theirs(part, seal))
            continue
        if turn:
            yield _turn(turn, calls)
            turn, calls = [], {}
        yield _message(item, kind, role)
    if turn:
        yield _turn(turn, calls)


def _kind(item: Fields) -> str:
    """The item's type, which may be left out of two of them."""
    return item.text("type") or ("message" if item.has("role") else "item_reference" if item.has("id") else "")


def _role(item: Fields, kind: str) -> Role:
    if kind == "message":
        role = item.required("role")
        if role not in ROLES:
            raise Malformed(item.place("role"), f"{role!r} is none of {', '.join(sorted(ROLES))}")
        return ROLES[role]
    if not kind:
        raise Malformed(item.place("type"), "is missing")
    if kind == TOOLS_ITEM:
        return "developer"
    return "tool" if kind.endswith("_output") else "assistant"


def _seal(part: Reasoning, item: Fields) -> Seal | None:
    try:
        return unsealed(part.encrypted)
    except ValueError as error:
        raise Malformed(item.place("encrypted_content"), "is not what was sent") from error


def _theirs(part: Reasoning, seal: Seal) -> Reasoning:
    """Thoughts as they came from the family that sealed them."""
    return Reasoning(
        family=seal.family,
        # They were told as a summary; whoever sealed them has one text.
        text=part.text or "\n\n".join(part.summary),
        signature=seal.signature,
        encrypted=seal.encrypted,
        extra={"as": seal.form} if seal.form else {},
    )


def _turn(turn: Sequence[Part], calls: Mapping[str, str]) -> Message:
    """What the model wrote.  calls: the seals of its calls, which stand beside them here."""
    return Message(
        role="assistant",
        parts=tuple(
            replace(part, signature=calls[part.id]) if isinstance(part, ToolCall) and part.id in calls else part
            for part in turn
        ),
    )


def _message(item: Fields, kind: str, role: Role) -> Message:
    match kind:
        case "message":
            said = tuple(_content(item))
            return Message(role=role, parts=said, id=item.text("id"), extra=_head(item, kind))
        case "function_call_output" | "custom_tool_call_output":
            result = ToolResult(
                id=item.required("call_id"),
                content=tuple(_content(item, "output")),
                custom=kind == "custom_tool_call_output",
                extra=_rest(item),
            )
            return Message(role="tool", parts=(result,))
        case _:
            return Message(role=role, parts=(Native(family=FAMILY, value={"type": kind, **item.rest}),))


def _head(item: Fields, kind: str) -> dict[str, Any]:
    """What else a message item says.  Its type is optional in a request, and leaves as it came."""
    return {**({"type": kind} if item.has("type") else {}), **_rest(item)}


def _rest(fields: Fields) -> dict[str, Any]:
    return {name: value for name, value in fields.rest.items() if value is not None}


def _content(item: Fields, name: str = "content") -> Iterator[Part]:
    content = item.any(name)
    if isinstance(content, str):
        yield Text(text=content)
    elif isinstance(content, list):
        for part in item.each(name):
            yield _input_part(part)
    else:
        raise Malformed(item.place(name), "must be a text or a list of parts")


def _input_part(part: Fields) -> Part:
    kind = part.required("type")
    match kind:
        case "input_text" | "output_text" | "text":
            return Text(text=part.required("text"), cache=_cache(part), extra=_rest(part))
        case "input_image":
            media = _media(part, "image_url")
            return Image(media=media, detail=part.text("detail"), cache=_cache(part), extra=_rest(part))
        case "input_file":
            media = _media(part, "file_data", "file_url")
            return File(media=media, name=part.text("filename"), cache=_cache(part), extra=_rest(part))
        case "input_audio":
            said = part.fields("input_audio")
            if said is None:
                raise Malformed(part.place("input_audio"), "is missing")
            form = said.text("format")
            media = Media(data=said.required("data"), media_type=f"audio/{form}" if form else "")
            return Audio(media=media, format=form, extra=_rest(part))
        case "refusal":
            return Refusal(text=part.required("refusal"))
        case _:
            return Native(family=FAMILY, value={"type": kind, **part.rest})


def _media(part: Fields, *names: str) -> Media:
    """Of the first field that has a URL, or of a file's id; a ``data:`` URL is taken apart."""
    url = next((said for name in names if (said := part.text(name))), "")
    file_id = part.text("file_id")
    if not url and not file_id:
        raise Malformed(part.place(names[0]), "is missing")
    if not url:
        return Media(file_id=file_id)
    match = _DATA_URL.fullmatch(url)
    return Media(url=url) if match is None else Media(data=match[3], media_type=match[1])


def _cache(part: Fields) -> CacheHint | None:
    """An explicit end of what is worth keeping.

    Its lifetimes are none of the others' (30m, 12h): only the place is translated, and the original stays in ``extra``.
    """
    return CacheHint() if part.has("prompt_cache_breakpoint") else None


def parts_of(item: Fields, kind: str) -> Iterator[Part]:
    """The parts of an item that a model wrote.  Raises: Malformed."""
    match kind:
        case "message":
            yield from _written(item, kind)
        case "reasoning":
            content = [part.text("text") for part in item.each("content")]
            # Several texts are one thought elsewhere, and several again here.
            several = {"content": item.list("content")} if len(content) > 1 else {}
            yield Reasoning(
                family=FAMILY,
                text="".join(content),
                summary=tuple(part.text("text") for part in item.each("summary")),
                encrypted=item.text("encrypted_content"),
                id=item.text("id"),
                extra={**_rest(item), **several},
            )
        case "function_call" | "custom_tool_call":
            custom = kind == "custom_tool_call"
            yield ToolCall(
                id=item.required("call_id"),
                name=item.required("name"),
                arguments=_arguments(item, "input" if custom else "arguments"),
                custom=custom,
                item_id=item.text("id"),
                extra=_rest(item),
            )
        case _:
            yield Native(family=FAMILY, value={"type": kind, **item.rest})


def _arguments(item: Fields, name: str) -> str:
    """As a text; not everyone has them as one."""
    said = item.any(name)
    if said is None or isinstance(said, str):
        return said or ""
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def _written(item: Fields, kind: str) -> Iterator[Part]:
    item.text("role")
    content = item.any("content")
    head = _head(item, kind)
    if isinstance(content, str):
        yield Text(text=content, extra={ITEM: head})
        return
    if content is None:
        return
    if not isinstance(content, list):
        raise Malformed(item.place("content"), "must be a text or a list of parts")
    if not all(isinstance(it, dict) and it.get("type") in _WRITTEN for it in content):
        shown = "".join(it["text"] for it in content if isinstance(it, dict) and isinstance(it.get("text"), str))
        yield Native(family=FAMILY, value={**head, "type": kind, "role": "assistant", "content": content}, text=shown)
        return
    for at, part in enumerate(item.each("content")):
        yield answer_part(part, {ITEM: head} if at == 0 else NOTHING)


def answer_part(part: Fields, head: Mapping[str, Any] = NOTHING) -> Part:
    """A content part that a model wrote.  head: what goes into its ``extra`` besides.  Raises: Malformed."""
    if part.required("type") == "refusal":
        return Refusal(text=part.text("refusal"), extra={**_rest(part), **head})
    cited = tuple(citation(it) for it in part.list("annotations") if isinstance(it, dict))
    return Text(text=part.text("text"), citations=cited, extra={**_rest(part), **head})


def citation(value: Mapping[str, Any]) -> Citation:
    """One annotation of a text."""
    start, end = value.get("start_index"), value.get("end_index")
    return Citation(
        family=FAMILY,
        native=value,
        url=str(value.get("url") or ""),
        title=str(value.get("title") or value.get("filename") or ""),
        start=start if isinstance(start, int) else None,
        end=end if isinstance(end, int) else None,
    )


# --- to JSON ---------------------------------------------------------------------------------------------------------------


def items_json(messages: Sequence[Message], *, same: bool) -> list[dict[str, Any]]:
    """The input items that the turns are.  same: they came in this protocol.

    Raises: Unsupported, naming the place, for what it cannot say.
    """
    custom = {part.id for message in messages for part in message.parts if isinstance(part, ToolCall) and part.custom}
    return [
        item for at, message in enumerate(messages) for item in _items(message, f"messages[{at}]", custom=custom, same=same)
    ]


def _items(message: Message, at: str, *, custom: AbstractSet[str], same: bool) -> Iterator[dict[str, Any]]:
    writes = message.role == "assistant"
    head: Mapping[str, Any] = {} if writes or not same else {**_id(message.id), **message.extra}
    content: list[dict[str, Any]] = []
    for part in message.parts:
        apart = _item(part, message.role, at, custom=custom, same=same)
        begun = part.extra.get(ITEM) if writes and same and isinstance(part, Text | Refusal) else None
        if content and (apart or begun is not None):
            yield _message_json(message.role, content, head)
            content = []
        yield from apart
        if begun is not None:
            head = begun
        if not apart and (said := _part_json(part, at, writes=writes, same=same)) is not None:
            content.append(said)
    if content:
        yield _message_json(message.role, content, head)


def _id(name: str) -> dict[str, Any]:
    return {"id": name} if name else {}


def _message_json(role: Role, content: list[dict[str, Any]], head: Mapping[str, Any]) -> dict[str, Any]:
    # The tool's results are items of their own; whatever else stood beside them is the user's.
    said: dict[str, Any] = {"role": "user" if role == "tool" else role}
    plain = len(content) == 1 and content[0].keys() == {"type", "text"}
    said["content"] = content[0]["text"] if plain else content
    if not plain and role == "assistant" and not head:
        said["type"] = "message"
    return {**said, **head}


def _item(part: Part, role: Role, at: str, *, custom: AbstractSet[str], same: bool) -> list[dict[str, Any]]:
    """The item that a part is; none for one that is content of a message."""
    match part:
        case ToolCall():
            return [call_json(part, same=same)]
        case ToolResult():
            kind = "custom_tool_call_output" if part.custom or part.id in custom else "function_call_output"
            extra = part.extra if same else {}
            return [{"type": kind, "call_id": part.id, "output": _output_json(part.content, at, same=same), **extra}]
        case Reasoning() if part.family == FAMILY:
            return [reasoning_json(part)]
        case Native() if part.family == FAMILY and (role in ("assistant", "tool") or part.value["type"] == TOOLS_ITEM):
            return [dict(part.value)]
        case _:
            return []


def call_json(call: ToolCall, *, same: bool) -> dict[str, Any]:
    """A call's item."""
    kind, name = ("custom_tool_call", "input") if call.custom else ("function_call", "arguments")
    said = {"type": kind, **_id(call.item_id), "call_id": call.id, "name": call.name, name: call.arguments}
    if same:
        return {**said, **call.extra}
    return {**said, NAMESPACE: call.extra[NAMESPACE]} if NAMESPACE in call.extra else said


def told_as_summary(part: Reasoning) -> bool:
    """Whether the text of these thoughts stands where summaries do: those of every other family, whole or summed up.

    Clients show and return a summary.  Many of them (the AI SDK, LangChain, Codex unless it is told to) leave the field for
    raw thoughts out, in which OpenAI shows none of its own.
    """
    return part.family != FAMILY and bool(part.text) and not part.summary


def reasoning_json(part: Reasoning) -> dict[str, Any]:
    """The item of thoughts.  Its summary has to be there, and its content only if there is any."""
    if told_as_summary(part):
        part = replace(part, text="", summary=(part.text,))
    extra = dict(part.extra) if part.family == FAMILY else {}
    content = extra.pop("content", None) or ([{"type": "reasoning_text", "text": part.text}] if part.text else [])
    return {
        "type": "reasoning",
        **_id(part.id),
        "summary": [{"type": "summary_text", "text": text} for text in part.summary],
        **without_nothing({"content": list(content), "encrypted_content": seal_of(part)}),
        **extra,
    }


def _output_json(content: Sequence[Part], at: str, *, same: bool) -> str | list[dict[str, Any]]:
    said = [it for part in content if (it := _part_json(part, at, writes=False, same=same)) is not None]
    if not said:
        return ""
    if len(said) == 1 and said[0].keys() == {"type", "text"}:
        return str(said[0]["text"])
    return said


def _part_json(part: Part, at: str, *, writes: bool, same: bool) -> dict[str, Any] | None:
    """The content part; ``None``: this protocol's readers have no use for it.  writes: the model wrote it."""
    extra = {name: value for name, value in part.extra.items() if name != ITEM} if same and _has_extra(part) else {}
    if not same and isinstance(part, Image | File | Audio | Video) and part.media.file_id:
        raise Unsupported(at, "a file by its id belongs to the provider that holds it")
    match part:
        case Text():
            cited = [noted for it in part.citations if (noted := annotation(it)) is not None] if writes else []
            kind = "output_text" if writes else "input_text"
            return {"type": kind, "text": part.text, **without_nothing({"annotations": cited}), **extra}
        case Refusal():
            return {"type": "refusal", "refusal": part.text, **extra}
        case Image() | Audio() | Video() | File() if writes:
            raise Unsupported(at, "an assistant's earlier turn is text and calls here")
        case Image():
            where = {"file_id": part.media.file_id} if part.media.file_id else {"image_url": _url(part.media)}
            return {"type": "input_image", **where, **without_nothing({"detail": part.detail}), **extra}
        case File() if part.text:
            return {"type": "input_text", "text": part.text}
        case File():
            return {"type": "input_file", **_file_json(part), **without_nothing({"filename": part.name}), **extra}
        case Audio():
            return _audio_json(part, at, extra)
        case Video():
            raise Unsupported(at, "this model takes text, images, documents and sound")
        case Native():
            if part.family == FAMILY:
                return dict(part.value)
            return {"type": "output_text" if writes else "input_text", "text": part.text} if part.text else None
        case _:
            return None


def _has_extra(part: Part) -> TypeGuard[Text | Image | Audio | Video | File | Refusal]:
    return isinstance(part, Text | Image | Audio | Video | File | Refusal)


def _url(media: Media) -> str:
    return media.url or f"data:{media.media_type or 'application/octet-stream'};base64,{media.data}"


def _file_json(part: File) -> dict[str, Any]:
    if part.media.file_id:
        return {"file_id": part.media.file_id}
    return {"file_url": part.media.url} if part.media.url else {"file_data": _url(part.media)}


def _audio_json(part: Audio, at: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    if not part.media.data:
        raise Unsupported(at, "audio is sent as data here, not as a URL")
    form = part.format or part.media.media_type.rpartition("/")[2].replace("mpeg", "mp3").replace("x-wav", "wav")
    return {"type": "input_audio", "input_audio": without_nothing({"data": part.media.data, "format": form}), **extra}


def annotation(cited: Citation) -> dict[str, Any] | None:
    """A citation as this protocol has it; ``None``: it has no place for it."""
    if cited.family == FAMILY:
        return dict(cited.native)
    if not cited.url:
        return None
    place = {"start_index": cited.start or 0, "end_index": cited.end or 0}
    return {"type": "url_citation", "url": cited.url, "title": cited.title, **place}
