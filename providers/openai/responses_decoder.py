"""OpenAI's Responses API: a stream from server-sent events to the canonical form.

Source: platform.openai.com/docs/api-reference/responses-streaming, read 2026-11, and recorded streams.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from providers import characters, usage
from providers.canonical import (
    NOTHING,
    Delta,
    Ended,
    Event,
    Failed,
    Finished,
    NativeEvent,
    Part,
    PartStarted,
    PartStopped,
    Reasoning,
    Refusal,
    Started,
    Text,
    ToolCall,
    UsageSeen,
)
from providers.decoding import EventDecoder
from providers.openai.response import error_body, served
from providers.openai.responses_items import FAMILY, ITEM, answer_part, citation
from providers.openai.responses_response import SEMANTICS, finish_of, written
from providers.reading import Fields
from providers.usage import Semantics


class _Usage(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw(b"null")


class _End(msgspec.Struct):
    response: _Usage


_decode = msgspec.json.Decoder().decode
_decode_end = msgspec.json.Decoder(_End).decode


class _Item:
    """An output item that has begun.

    index: its part's, if it is one part by itself.  parts: of a message, by the place in its content.
    heard: what of its texts has come in pieces; what has not is said when it is whole.
    """

    def __init__(self, kind: str, head: Mapping[str, Any] = NOTHING) -> None:
        self.kind = kind
        self.head = head
        self.index = -1
        self.parts: dict[int, int] = {}
        self.open: set[int] = set()
        self.heard: set[tuple[str, int]] = set()
        self.over = False


class Decoder(EventDecoder):
    """A stream of a response as events."""

    def __init__(self, semantics: Semantics = SEMANTICS) -> None:
        super().__init__()
        self._semantics = semantics
        self._started = False
        self._next = 0
        self._items: dict[int, _Item] = {}
        self._called = False
        self._halves = characters.Halves()

    def _read(self, data: bytes) -> Iterator[Event]:
        if data.strip() == b"[DONE]":
            return
        clean = characters.whole(data)
        if self._halves or (clean is not data and clean != data):
            yield from self._mended(json.loads(data), clean)
        else:
            yield from self._said(_decode(clean), clean)

    def _mended(self, event: dict[str, Any], data: bytes) -> Iterator[Event]:
        """An event whose text may be cut within a character."""
        kind, _, step = str(event.get("type")).rpartition(".")
        of = (kind, event.get("output_index"), event.get("content_index"), event.get("summary_index"))
        if step == "delta" and isinstance(event.get("delta"), str):
            event["delta"] = self._halves.join(of, event["delta"])
        elif step == "done" and (rest := self._halves.rest(of)):
            yield from self._said({**event, "type": f"{kind}.delta", "delta": rest}, data)
        yield from self._said(characters.cleaned(event), data)

    def _said(self, event: Mapping[str, Any], data: bytes) -> Iterator[Event]:
        kind = event.get("type")
        reader = _READERS.get(kind) if isinstance(kind, str) else None
        if reader is not None:
            yield from reader(self, event)
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            yield from self._end(event["response"], data)
        elif kind == "error" or (kind is None and event.get("error")):
            self._over = True
            yield Failed(error=error_body(data))
        else:
            yield NativeEvent(family=FAMILY, value=event)

    # --- the response ------------------------------------------------------------------------------------------------------

    def _begin(self, event: Mapping[str, Any]) -> Iterator[Event]:
        if self._started:
            return
        self._started = True
        response = event["response"]
        created = response.get("created_at")
        yield Started(
            family=FAMILY,
            id=str(response.get("id") or ""),
            model=str(response.get("model") or ""),
            created_s=int(created) if isinstance(created, int | float) else None,
            extra={"response": response},
        )

    def _end(self, response: Mapping[str, Any], data: bytes) -> Iterator[Event]:
        self._over = True
        yield from self._begin({"response": response})
        output = response.get("output") or ()
        if all(at < len(output) for at in self._items):
            # Some tell the whole, or what came after the last text, at the end alone.
            for at, item in enumerate(output):
                known = self._items.get(at)
                if known is None or known.kind == item["type"]:
                    yield from self._done({"output_index": at, "item": item})
        raw = bytes(_decode_end(data).response.usage)
        if raw != b"null":
            yield UsageSeen(usage=served(usage.read(raw, self._semantics), response.get("service_tier")), raw=raw)
        if response.get("status") == "failed":
            yield Failed(error=error_body(msgspec.json.encode({"error": response.get("error") or "The response failed."})))
            return
        finish = finish_of(response, ())
        if finish == "stop" and self._called:
            finish = "tool_calls"
        for item in self._items.values():
            yield from self._close(item)
        told = {name: value for name, value in response.items() if name not in ("output", "usage")}
        yield Finished(finish=finish, native_finish=str(response.get("status") or ""), extra={"response": told})
        yield Ended()

    # --- items -------------------------------------------------------------------------------------------------------------

    def _added(self, event: Mapping[str, Any]) -> Iterator[Event]:
        at, value = event["output_index"], event["item"]
        kind = value["type"]
        if kind == "message":
            head = {name: it for name, it in value.items() if name not in ("content", "role") and it is not None}
            self._items[at] = _Item(kind, head)
            return
        self._items[at] = item = _Item(kind)
        part = _part(value)
        match part:
            case ToolCall():
                self._called = True
                if part.arguments:
                    item.heard.add(("arguments", 0))
            case Reasoning():
                # What it thought comes by itself, or when the item is whole.
                part = Reasoning(family=FAMILY, id=part.id, extra=part.extra)
            case _:
                item.kind = "native"
        item.index = self._new()
        yield PartStarted(index=item.index, part=part)

    def _done(self, event: Mapping[str, Any]) -> Iterator[Event]:
        at, value = event["output_index"], event["item"]
        if at not in self._items:
            begun = {**value, "content": []} if value["type"] == "message" else _empty(value)
            yield from self._added({"output_index": at, "item": begun})
        item = self._items[at]
        if item.over:
            return
        if item.kind == "message":
            whole = value.get("content") or ()
            for place, content in zip(_places(item, len(whole)), whole, strict=False):
                if place not in item.parts or place in item.open:
                    told = {"output_index": at, "content_index": place, "part": content}
                    yield from self._content_done(told)
            item.over = True
            return
        part = _part(value)
        yield from self._unheard(item, part)
        item.over = True
        yield PartStopped(index=item.index, part=part)

    def _unheard(self, item: _Item, part: Part) -> Iterator[Event]:
        """What a whole item says that has not come in pieces."""
        match part:
            case ToolCall(arguments=text) if text and ("arguments", 0) not in item.heard:
                yield Delta(index=item.index, arguments=text)
            case Reasoning():
                # Of thoughts and a summary of them that come whole, the thoughts are told.
                for place, text in enumerate(() if part.text else part.summary):
                    if text and ("summary", place) not in item.heard:
                        yield Delta(index=item.index, text=text, summary_index=place)
                if part.text and not any(what == "text" for what, _ in item.heard):
                    yield Delta(index=item.index, text=part.text)
                if part.encrypted:
                    yield Delta(index=item.index, encrypted=part.encrypted)
            case _:
                return

    def _close(self, item: _Item) -> Iterator[Event]:
        """The response is over, and its item was not."""
        if item.over:
            return
        item.over = True
        for place in sorted(item.open):
            yield PartStopped(index=item.parts[place])
        if item.index >= 0:
            yield PartStopped(index=item.index)

    # --- the content of messages -------------------------------------------------------------------------------------------

    def _content_added(self, event: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._unannounced(event, "reasoning" if event["part"]["type"] == "reasoning_text" else "message")
        item, place = self._items[event["output_index"]], event["content_index"]
        if item.kind != "message" or place in item.parts:
            return
        part = answer_part(Fields(event["part"], "part"), {} if item.parts else {ITEM: item.head})
        if isinstance(part, Text | Refusal) and part.text:
            item.heard.add(("text", place))
        yield self._begun(item, place, part)

    def _begun(self, item: _Item, place: int, part: Part) -> Event:
        item.parts[place] = index = self._new()
        item.open.add(place)
        return PartStarted(index=index, part=part)

    def _unannounced(self, event: Mapping[str, Any], kind: str) -> Iterator[Event]:
        """Begin an item that nobody announced, if it can be known which; a call is told when it is whole, by its name."""
        at = event["output_index"]
        if at in self._items:
            return
        self._items[at] = item = _Item(kind)
        if kind == "reasoning":
            item.index = self._new()
            yield PartStarted(index=item.index, part=Reasoning(family=FAMILY, id=str(event.get("item_id") or "")))

    def _content(self, event: Mapping[str, Any], kind: str) -> Iterator[Event]:
        """Begin a content part that nobody announced."""
        if event["output_index"] not in self._items:
            yield from self._unannounced(event, "message")
        item, place = self._items[event["output_index"]], event.get("content_index", 0)
        if place not in item.parts:
            extra = {} if item.parts else {ITEM: item.head}
            yield self._begun(item, place, Refusal(text="", extra=extra) if kind == "refusal" else Text(text="", extra=extra))

    def _content_done(self, event: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._unannounced(event, "reasoning" if event["part"]["type"] == "reasoning_text" else "message")
        item, place, value = self._items[event["output_index"]], event["content_index"], event["part"]
        if item.kind != "message":
            return
        begins = place not in item.parts
        if begins:
            yield from self._content(event, value["type"])
        elif place not in item.open:
            return
        part = answer_part(Fields(value, "part"), {ITEM: item.head} if item.parts[place] == min(item.parts.values()) else {})
        index = item.parts[place]
        text = part.text if isinstance(part, Text | Refusal) else ""
        if text and ("text", place) not in item.heard:
            yield Delta(index=index, text=text)
        if isinstance(part, Text) and ("cited", place) not in item.heard:
            for cited in part.citations:
                yield Delta(index=index, citation=cited)
        item.open.discard(place)
        yield PartStopped(index=index, part=part)

    def _text(self, event: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._content(event, "refusal" if event["type"].startswith("response.refusal") else "text")
        item, place = self._items[event["output_index"]], event.get("content_index", 0)
        item.heard.add(("text", place))
        told = event.get("logprobs")
        yield Delta(index=item.parts[place], text=event["delta"], logprobs={"content": told} if told else None)

    def _whole_text(self, event: Mapping[str, Any]) -> Iterator[Event]:
        item, place = self._items.get(event["output_index"]), event.get("content_index", 0)
        if item is None or ("text", place) not in item.heard:
            refused = event["type"].startswith("response.refusal")
            text = event.get("refusal" if refused else "text") or ""
            if text:
                yield from self._text({**event, "delta": text, "logprobs": event.get("logprobs")})

    def _cited(self, event: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._content(event, "text")
        item, place = self._items[event["output_index"]], event.get("content_index", 0)
        item.heard.add(("cited", place))
        yield Delta(index=item.parts[place], citation=citation(event["annotation"]))

    # --- calls and thoughts ------------------------------------------------------------------------------------------------

    def _arguments(self, event: Mapping[str, Any]) -> Iterator[Event]:
        item = self._items.get(event["output_index"])
        if item is None:
            return
        item.heard.add(("arguments", 0))
        if item.kind != "native":
            yield Delta(index=item.index, arguments=event["delta"])

    def _whole_arguments(self, event: Mapping[str, Any]) -> Iterator[Event]:
        item = self._items.get(event["output_index"])
        text = event.get("arguments") or event.get("input")
        if item is not None and text and ("arguments", 0) not in item.heard:
            yield from self._arguments({**event, "delta": text})

    def _thought(self, event: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._unannounced(event, "reasoning")
        item = self._items[event["output_index"]]
        item.heard.add(("text", event.get("content_index", 0)))
        yield Delta(index=item.index, text=event["delta"])

    def _whole_thought(self, event: Mapping[str, Any]) -> Iterator[Event]:
        if event.get("text") and ("text", event.get("content_index", 0)) not in self._heard(event):
            yield from self._thought({**event, "delta": event["text"]})

    def _summary(self, event: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._unannounced(event, "reasoning")
        item, place = self._items[event["output_index"]], event.get("summary_index", 0)
        item.heard.add(("summary", place))
        yield Delta(index=item.index, text=event["delta"], summary_index=place)

    def _whole_summary(self, event: Mapping[str, Any]) -> Iterator[Event]:
        if event.get("text") and ("summary", event.get("summary_index", 0)) not in self._heard(event):
            yield from self._summary({**event, "delta": event["text"]})

    def _heard(self, event: Mapping[str, Any]) -> AbstractSet[tuple[str, int]]:
        item = self._items.get(event["output_index"])
        return frozenset() if item is None else item.heard

    def _silent(self, event: Mapping[str, Any]) -> Iterator[Event]:
        del event  # its text comes in pieces beside it
        return iter(())

    def _new(self) -> int:
        index = self._next
        self._next += 1
        return index


def _part(item: Mapping[str, Any]) -> Part:
    """The part that an item is.  Raises: Malformed; ValueError, if it is a message after all, and an empty one."""
    for part in written(item, "item"):
        return part
    raise ValueError("an item without a part")


def _places(item: _Item, count: int) -> Iterable[int]:
    """The places of a whole message's parts.  Bedrock's counts them otherwise in its events, from the output's beginning.

    Source: a recorded stream of Bedrock's OpenAI endpoint.
    """
    begun = sorted(item.parts)
    if not begun or begun[-1] < count:
        return range(count)
    return [*begun, *range(begun[-1] + 1, begun[-1] + 1 + count)]


_READERS: Final[Mapping[str, Callable[[Decoder, Mapping[str, Any]], Iterator[Event]]]] = {
    "response.created": Decoder._begin,
    "response.in_progress": Decoder._begin,
    "response.output_item.added": Decoder._added,
    "response.output_item.done": Decoder._done,
    "response.content_part.added": Decoder._content_added,
    "response.content_part.done": Decoder._content_done,
    "response.output_text.delta": Decoder._text,
    "response.output_text.done": Decoder._whole_text,
    "response.refusal.delta": Decoder._text,
    "response.refusal.done": Decoder._whole_text,
    "response.output_text.annotation.added": Decoder._cited,
    "response.function_call_arguments.delta": Decoder._arguments,
    "response.function_call_arguments.done": Decoder._whole_arguments,
    "response.custom_tool_call_input.delta": Decoder._arguments,
    "response.custom_tool_call_input.done": Decoder._whole_arguments,
    "response.reasoning_text.delta": Decoder._thought,
    "response.reasoning_text.done": Decoder._whole_thought,
    "response.reasoning_summary_part.added": Decoder._silent,
    "response.reasoning_summary_part.done": Decoder._silent,
    "response.reasoning_summary_text.delta": Decoder._summary,
    "response.reasoning_summary_text.done": Decoder._whole_summary,
}


_LATER: Final = frozenset(("arguments", "input", "summary", "content", "encrypted_content"))


def _empty(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as it is when it begins."""
    if item["type"] not in ("function_call", "custom_tool_call", "reasoning"):
        return dict(item)
    return {name: value for name, value in item.items() if name not in _LATER}
