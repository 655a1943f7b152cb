"""Tools of OpenAI's Responses API that other protocols do not have: groups of functions, and tools that take free text.

A ``namespace`` is a group of the client's own functions; elsewhere each of them is a function of its own, whose name begins
with the group's.  A ``custom`` tool takes free text; elsewhere it is a function with one text, ``input``.  What is called
there is called here by the names and in the form that the client gave it.

Source: platform.openai.com/docs/api-reference/responses/create, read 2026-11, and what the coding agent Codex sends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from providers.canonical import Function, Message, Native, NativeTool, Request, Tool, ToolCall, Unsupported
from providers.openai.responses_items import NAMESPACE, TOOLS_ITEM
from providers.reading import Fields

NAME_MAX: Final = 64
"""Characters of a function's name that all protocols take."""
OFFERS: Final = frozenset(("web_search",))
"""Tools of the provider's that a model may decline: an answer without them is still one to what was asked."""


def tool_of(tool: Fields) -> Function | None:
    """A tool of the client's; ``None``: it is another one.  Raises: Malformed."""
    match tool.required("type"):
        case "function":
            return Function(
                name=tool.required("name"),
                description=tool.text("description"),
                parameters=tool.object("parameters"),
                strict=tool.flag("strict"),
                extra=tool.rest,
            )
        case "custom":
            return Function(name=tool.required("name"), description=tool.text("description"), custom=True, extra=tool.rest)
        case _:
            return None


def flat(namespace: str, name: str) -> str:
    """What a function of a group is called where there are no groups; always the same, and no longer than is allowed."""
    joined = f"{namespace}__{name}"
    if len(joined) <= NAME_MAX:
        return joined
    return f"{joined[: NAME_MAX - 9]}_{sha256(joined.encode()).hexdigest()[:8]}"


# --- to other protocols --------------------------------------------------------------------------------------------------


def away(request: Request) -> Request:
    """The request without what only this protocol has.

    Raises: Unsupported, for a tool that the provider runs and that cannot be done without; Malformed.
    """
    chosen = request.tool_choice
    must = chosen is not None and (chosen.mode == "required" or bool(chosen.native))
    tools = list(_ours(request.tools, "tools", must=must))
    rest = []
    for message in request.messages:
        first = message.parts[0] if message.parts else None
        if isinstance(first, Native) and first.value.get("type") == TOOLS_ITEM:
            # The place in the client's list is not known any more; its field is.
            told = [_read(it) for it in Fields(dict(first.value), "input[]").each("tools")]
            tools += _ours(told, "input[].tools", must=must)
        else:
            rest.append(message)
    flattened = {(group, it.name) for it in tools if isinstance(it, Function) and (group := it.extra.get(NAMESPACE))}
    return replace(request, tools=tuple(tools), messages=tuple([_flattened(it, flattened) for it in rest]))


def _read(tool: Fields) -> Tool:
    own = tool_of(tool)
    kind = tool.required("type")
    what = next((it for it in OFFERS if kind.startswith(it)), "")
    return own or NativeTool(family="openai-responses", value={"type": kind, **tool.rest}, kind=what)  # type: ignore[arg-type]  # of the table


def _ours(tools: Any, at: str, *, must: bool) -> Iterator[Tool]:
    for number, tool in enumerate(tools):
        if not isinstance(tool, NativeTool):
            yield tool
        elif tool.value["type"] == "namespace":
            yield from _members(Fields(dict(tool.value), f"{at}[{number}]"))
        elif must or tool.kind not in OFFERS:
            raise Unsupported(f"{at}[{number}]", f"{tool.value['type']} is run by another provider")


def _members(group: Fields) -> Iterator[Function]:
    namespace = group.required("name")
    for tool in group.each("tools"):
        own = tool_of(tool)
        if own is None:
            raise Unsupported(tool.at, f"{tool.text('type')} is run by another provider")
        yield replace(own, name=flat(namespace, own.name), extra={**own.extra, NAMESPACE: namespace})


def _flattened(message: Message, known: AbstractSet[tuple[str, str]]) -> Message:
    """A turn whose calls have the names that its functions have elsewhere."""
    if not any(isinstance(it, ToolCall) and NAMESPACE in it.extra for it in message.parts):
        return message
    return replace(message, parts=tuple(_called(it, known) if isinstance(it, ToolCall) else it for it in message.parts))


def _called(call: ToolCall, known: AbstractSet[tuple[str, str]]) -> ToolCall:
    # A function that the provider had to look for is called in a group of its own name, which nobody declared.
    namespace = call.extra.get(NAMESPACE)
    if not isinstance(namespace, str) or (namespace, name := flat(namespace, call.name)) not in known:
        return call
    return replace(call, name=name)


# --- and back ------------------------------------------------------------------------------------------------------------


class Own(msgspec.Struct, frozen=True):
    """What the client calls one of its tools."""

    namespace: str
    name: str
    custom: bool


def names(asked: Mapping[str, Any]) -> Mapping[str, Own]:
    """The client's tools that have another name, or another form, elsewhere; by the names that they have there.

    asked: the client's request, as it came.
    """
    found: dict[str, Own] = {}
    _collect(asked.get("tools"), found)
    items = asked.get("input")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and item.get("type") == TOOLS_ITEM:
            _collect(item.get("tools"), found)
    return found


def _collect(tools: Any, found: dict[str, Own], namespace: str = "") -> None:
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict) or not isinstance(name := tool.get("name"), str):
            continue
        kind = tool.get("type")
        if kind == "namespace":
            _collect(tool.get("tools"), found, name)
        elif namespace or kind == "custom":
            found[flat(namespace, name) if namespace else name] = Own(namespace, name, kind == "custom")


def owned(call: ToolCall, known: Mapping[str, Own]) -> ToolCall:
    """The call by the client's name.  A custom tool's arguments are still the object that they are elsewhere."""
    own = known.get(call.name)
    if own is None:
        return call
    extra = {NAMESPACE: own.namespace} if own.namespace else {}
    return replace(call, name=own.name, custom=own.custom, extra=extra)


_OPENING = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_WHOLE = re.compile(
    r'(?:[^"\\]|\\["\\/bfnrt]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4})*'
)


class FreeText:
    """The one text of the object that a custom tool's arguments are elsewhere, piece by piece."""

    def __init__(self) -> None:
        self._rest = ""
        self._begun = False
        self._over = False

    def feed(self, piece: str) -> str:
        """What is known of the text now and was not before."""
        if self._over:
            return ""
        self._rest += piece
        if not self._begun:
            opening = _OPENING.match(self._rest)
            if opening is None:
                return ""
            self._begun, self._rest = True, self._rest[opening.end() :]
        match = _WHOLE.match(self._rest)
        text = match[0] if match else ""
        self._rest = self._rest[len(text) :]
        self._over = self._rest.startswith('"')
        return str(json.loads(f'"{text}"', strict=False)) if text else ""

    def finish(self) -> str:
        """What is left: all of it, where it was no such object."""
        return "" if self._begun else self._rest


def free_text(arguments: str) -> str:
    """The text of a custom tool's arguments, whole."""
    read = FreeText()
    return read.feed(arguments) + read.finish()
