"""OpenAI's Responses API: a stream from the canonical form to server-sent events.

Every event has its number, the place of its item in the output and the item's id; what came in pieces is said again whole
when it is, as the protocol promises.

Source: platform.openai.com/docs/api-reference/responses-streaming, read 2026-11, and recorded streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from providers.canonical import (
    NOTHING,
    Delta,
    Ended,
    Event,
    Failed,
    Family,
    Finished,
    Native,
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
from providers.errors import ErrorBody
from providers.openai.responses_items import FAMILY, ITEM, annotation, call_json, reasoning_json, told_as_summary
from providers.openai.responses_response import Items, content_json, echo, ending_of, response_id, usage_json
from providers.openai.responses_tools import FreeText, Own, names, owned
from providers.usage import Usage

_encode = msgspec.json.Encoder().encode


class _Slot:
    """A part that has begun, and where it is in the output."""

    def __init__(self, part: Part, item: dict[str, Any], at: int, place: int) -> None:
        self.part = part
        self.item = item
        self.at = at
        self.place = place
        self.texts: list[str] = []
        self.summary: list[list[str]] = []
        self.noted: list[dict[str, Any]] = []
        self.logprobs: list[Any] = []
        self.signature = ""
        self.encrypted = ""
        self.thinks = False
        self.open = True
        # Of a custom tool's call that came as an object.
        self.free: FreeText | None = None

    @property
    def where(self) -> dict[str, Any]:
        """What the events of the part have in common."""
        return {"item_id": self.item["id"], "output_index": self.at}


class Encoder:
    """Events in, bytes out, each event as soon as it is there.

    model: what the client is told answers.  name: the request's, for an answer without an id.  asked: the client's request,
    which an answer repeats.
    """

    def __init__(self, *, model: str, created_s: int, name: str = "tollway", asked: Mapping[str, Any] = NOTHING) -> None:
        self._model = model
        self._name = name
        self._created_s = created_s
        self._asked = asked
        self._same = False
        self._names: Mapping[str, Own] = NOTHING
        self._number = 0
        self._head: dict[str, Any] = {}
        self._items = Items("resp_tollway", same=False, family=FAMILY)
        self._slots: dict[int, _Slot] = {}
        self._message: _Slot | None = None
        self._usage: tuple[Usage | None, bytes] = (None, b"")
        self._finished: Finished | None = None

    def feed(self, event: Event) -> bytes:
        """What the client is sent for an event; often nothing."""
        if isinstance(event, PartStarted | PartStopped | Delta | Finished) and event.choice:
            return b""
        match event:
            case Delta():
                slot = self._slots.get(event.index)
                return b"".join(self._more(slot, event)) if slot is not None and slot.open else b""
            case PartStarted():
                return b"".join(self._begin(event.index, event.part))
            case PartStopped():
                slot = self._slots.get(event.index)
                return b"".join(self._stop(slot, event.part)) if slot is not None and slot.open else b""
            case Started():
                return self._start(event)
            case Finished():
                self._finished = event
                return b""
            case UsageSeen():
                self._usage = (event.usage, event.raw if self._same else b"")
                return b""
            case NativeEvent():
                if event.family != FAMILY:
                    return b""
                rest = {name: value for name, value in event.value.items() if name not in ("type", "sequence_number")}
                return self._sse(event.value["type"], rest)
            case Ended():
                return b"".join(self._end())
            case Failed():
                return b"".join(self._fail(event.error))

    # --- the response ------------------------------------------------------------------------------------------------------

    def _start(self, event: Started) -> bytes:
        self._same = event.family == FAMILY
        name = response_id(event.id or self._name, same=self._same)
        family: Family = event.family
        # A local server's ids come again; what a client refers to by those of items is to be found by them alone.
        self._items = Items(name if self._same else self._name, same=self._same, family=family)
        self._names = NOTHING if self._same else names(self._asked)
        given = event.extra.get("response") if self._same else None
        rest = given if isinstance(given, Mapping) else echo(self._asked)
        self._head = {
            "object": "response",
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            **rest,
            "id": name,
            "created_at": event.created_s or self._created_s,
            "model": self._model,
            "output": [],
            "usage": None,
        }
        if event.usage is not None:
            self._usage = (event.usage, b"")
        return self._sse("response.created", {"response": self._head}) + self._sse(
            "response.in_progress", {"response": self._head}
        )

    def _end(self) -> Iterator[bytes]:
        yield from self._close()
        for item in self._items.seals():
            at = self._put(item)
            yield self._sse("response.output_item.added", {"output_index": at, "item": item})
            yield self._sse("response.output_item.done", {"output_index": at, "item": item})
        finished = self._finished or Finished(finish="stop")
        given = finished.extra.get("response") if self._same else None
        told = given if isinstance(given, Mapping) else ending_of(finished.finish)
        response = {**self._whole(), **told, "id": self._head["id"], "model": self._model}
        yield self._sse(f"response.{_ENDS.get(response['status'], 'completed')}", {"response": response})

    def _fail(self, error: ErrorBody) -> Iterator[bytes]:
        if self._head:
            yield from self._close()
            said = {"code": error.code or "server_error", "message": error.message}
            yield self._sse("response.failed", {"response": {**self._whole(), "status": "failed", "error": said}})
        # The response tells those who follow it; the SDKs raise an error for this one.
        four = {"message": error.message, "type": error.type or "upstream_error", "param": error.param, "code": error.code}
        yield self._sse("error", {"code": error.code, "message": error.message, "param": error.param, "error": four})

    def _close(self) -> Iterator[bytes]:
        for slot in self._slots.values():
            if slot.open:
                yield from self._stop(slot, None)
        yield from self._close_message()

    def _whole(self) -> dict[str, Any]:
        read, raw = self._usage
        told: Any = msgspec.Raw(raw) if raw else usage_json(read)
        return {**self._head, "output": self._items.output, "usage": told}

    def _put(self, item: dict[str, Any]) -> int:
        self._items.output.append(item)
        return len(self._items.output) - 1

    # --- parts -------------------------------------------------------------------------------------------------------------

    def _begin(self, index: int, part: Part) -> Iterator[bytes]:
        match part:
            case Text() | Refusal():
                yield from self._begin_text(index, part)
            case Native(text=text) if part.family != FAMILY:
                if text:
                    yield from self._begin_text(index, Text(text=text))
            case _:
                own = owned(part, self._names) if isinstance(part, ToolCall) else part
                item = self._items.item(own)
                if item is None:
                    return
                yield from self._close_message()
                at = self._put(item)
                self._slots[index] = slot = _Slot(own, item, at, 0)
                if isinstance(own, ToolCall) and isinstance(part, ToolCall) and own.custom and not part.custom:
                    slot.free = FreeText()
                yield self._sse("response.output_item.added", {"output_index": at, "item": _begun(item)})
                yield from self._first(slot, part)

    def _first(self, slot: _Slot, part: Part) -> Iterator[bytes]:
        """What is known of a part when it begins."""
        match part:
            case ToolCall(arguments=text) if text:
                yield from self._argue(slot, text)
            case Reasoning():
                slot.signature, slot.encrypted = part.signature, part.encrypted
                for place, text in enumerate(part.summary):
                    yield from self._sum_up(slot, place, text)
                if told_as_summary(part):
                    yield from self._sum_up(slot, 0, part.text)
                elif part.text:
                    yield from self._think(slot, part.text)
            case _:
                return

    def _begin_text(self, index: int, part: Text | Refusal) -> Iterator[bytes]:
        if self._message is None or (self._same and ITEM in part.extra):
            yield from self._close_message()
            item = self._items.message(part)
            at = self._put(item)
            self._message = _Slot(part, item, at, 0)
            yield self._sse("response.output_item.added", {"output_index": at, "item": {**item, "status": "in_progress"}})
        message = self._message
        empty = Refusal(text="") if isinstance(part, Refusal) else Text(text="")
        self._slots[index] = slot = _Slot(part, message.item, message.at, len(message.item["content"]))
        message.item["content"].append(content_json(empty, same=False))
        told = {**slot.where, "content_index": slot.place, "part": content_json(empty, same=False)}
        yield self._sse("response.content_part.added", told)
        if part.text:
            yield self._say(slot, part.text, None)

    def _more(self, slot: _Slot, event: Delta) -> Iterator[bytes]:
        match slot.part:
            case ToolCall():
                if event.signature:
                    self._items.sign(slot.part.id, event.signature)
                if event.arguments:
                    yield from self._argue(slot, event.arguments)
            case Reasoning():
                slot.signature = event.signature or slot.signature
                slot.encrypted = event.encrypted or slot.encrypted
                if event.text and (event.summary_index is not None or slot.part.family != FAMILY):
                    yield from self._sum_up(slot, event.summary_index or 0, event.text)
                elif event.text:
                    yield from self._think(slot, event.text)
            case Text() | Refusal() | Native():
                if event.text:
                    yield self._say(slot, event.text, event.logprobs)
                if event.citation is not None and (noted := annotation(event.citation)) is not None:
                    slot.noted.append(noted)
                    told = {"content_index": slot.place, "annotation_index": len(slot.noted) - 1, "annotation": noted}
                    yield self._sse("response.output_text.annotation.added", {**slot.where, **told})
            case _:
                return

    def _say(self, slot: _Slot, text: str, logprobs: Any) -> bytes:
        slot.texts.append(text)
        if isinstance(slot.part, Refusal):
            return self._sse("response.refusal.delta", {**slot.where, "content_index": slot.place, "delta": text})
        told = (logprobs.get("content") if isinstance(logprobs, Mapping) else None) or []
        slot.logprobs += told
        said = {"content_index": slot.place, "delta": text, "logprobs": told}
        return self._sse("response.output_text.delta", {**slot.where, **said})

    def _argue(self, slot: _Slot, text: str) -> Iterator[bytes]:
        if slot.free is not None:
            text = slot.free.feed(text)
            if not text:
                return
        slot.texts.append(text)
        yield self._sse(f"response.{_called(slot.part)}.delta", {**slot.where, "delta": text})

    def _think(self, slot: _Slot, text: str) -> Iterator[bytes]:
        if not slot.thinks:
            slot.thinks = True
            told = {"content_index": 0, "part": {"type": "reasoning_text", "text": ""}}
            yield self._sse("response.content_part.added", {**slot.where, **told})
        slot.texts.append(text)
        yield self._sse("response.reasoning_text.delta", {**slot.where, "content_index": 0, "delta": text})

    def _sum_up(self, slot: _Slot, place: int, text: str) -> Iterator[bytes]:
        while len(slot.summary) <= place:
            yield from self._summed_up(slot)
            slot.summary.append([])
            told = {"summary_index": len(slot.summary) - 1, "part": {"type": "summary_text", "text": ""}}
            yield self._sse("response.reasoning_summary_part.added", {**slot.where, **told})
        slot.summary[place].append(text)
        yield self._sse("response.reasoning_summary_text.delta", {**slot.where, "summary_index": place, "delta": text})

    def _summed_up(self, slot: _Slot) -> Iterator[bytes]:
        """The last part of a summary is whole."""
        if not slot.summary:
            return
        text, where = "".join(slot.summary[-1]), {**slot.where, "summary_index": len(slot.summary) - 1}
        yield self._sse("response.reasoning_summary_text.done", {**where, "text": text})
        yield self._sse("response.reasoning_summary_part.done", {**where, "part": {"type": "summary_text", "text": text}})

    # --- the end of a part ---------------------------------------------------------------------------------------------------

    def _stop(self, slot: _Slot, whole: Part | None) -> Iterator[bytes]:
        slot.open = False
        match slot.part:
            case Text() | Refusal():
                yield from self._stop_text(slot, whole)
            case ToolCall() as call:
                told = owned(whole, self._names) if isinstance(whole, ToolCall) else call
                if slot.free is not None:
                    slot.texts.append(slot.free.finish())
                    text = "".join(slot.texts)
                else:
                    text = "".join(slot.texts) or told.arguments
                slot.item |= call_json(msgspec.structs.replace(told, arguments=text), same=self._same)
                if not call.custom and (whole is None or not self._same):
                    slot.item["status"] = "completed"
                name = "input" if call.custom else "arguments"
                yield self._sse(f"response.{_called(call)}.done", {**slot.where, name: text})
                yield self._item_done(slot)
            case Reasoning() as part:
                yield from self._summed_up(slot)
                text = "".join(slot.texts)
                if slot.thinks:
                    where = {**slot.where, "content_index": 0}
                    yield self._sse("response.reasoning_text.done", {**where, "text": text})
                    yield self._sse("response.content_part.done", {**where, "part": {"type": "reasoning_text", "text": text}})
                if not isinstance(whole, Reasoning):
                    whole = msgspec.structs.replace(
                        part,
                        text=text,
                        summary=tuple("".join(it) for it in slot.summary),
                        signature=slot.signature,
                        encrypted=slot.encrypted,
                    )
                slot.item |= reasoning_json(whole)
                yield self._item_done(slot)
            case _:
                if isinstance(whole, Native):
                    slot.item |= whole.value
                yield self._item_done(slot)

    def _stop_text(self, slot: _Slot, whole: Part | None) -> Iterator[bytes]:
        text = "".join(slot.texts)
        where = {**slot.where, "content_index": slot.place}
        if isinstance(slot.part, Refusal):
            said: dict[str, Any] = {"type": "refusal", "refusal": text}
            yield self._sse("response.refusal.done", {**where, "refusal": text})
        else:
            said = {"type": "output_text", "text": text, "annotations": slot.noted, "logprobs": slot.logprobs}
            yield self._sse("response.output_text.done", {**where, "text": text, "logprobs": slot.logprobs})
        if self._same and isinstance(whole, Text | Refusal):
            said = {**said, **content_json(whole, same=True)}
            if slot.logprobs:
                # Not every event that says the text again says how likely it was.
                said["logprobs"] = slot.logprobs
        slot.item["content"][slot.place] = said
        yield self._sse("response.content_part.done", {**where, "part": said})

    def _close_message(self) -> Iterator[bytes]:
        """The message is whole: whatever comes next is another item."""
        message, self._message = self._message, None
        if message is None:
            return
        for slot in self._slots.values():
            if slot.open and slot.item is message.item:
                yield from self._stop(slot, None)
        message.item["status"] = "completed"
        yield self._item_done(message)

    def _item_done(self, slot: _Slot) -> bytes:
        return self._sse("response.output_item.done", {"output_index": slot.at, "item": slot.item})

    def _sse(self, kind: str, fields: Mapping[str, Any]) -> bytes:
        number = self._number
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (
            kind.encode(),
            _encode({"type": kind, "sequence_number": number, **fields}),
        )


_ENDS: Final = {"completed": "completed", "incomplete": "incomplete", "failed": "failed"}


def _called(part: Part) -> str:
    return "custom_tool_call_input" if isinstance(part, ToolCall) and part.custom else "function_call_arguments"


def _begun(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as it is when it begins: what will come in pieces is empty."""
    match item["type"]:
        case "function_call":
            return {**item, "arguments": "", "status": "in_progress"}
        case "custom_tool_call":
            return {**item, "input": ""}
        case "reasoning":
            kept = {name: value for name, value in item.items() if name not in ("content", "encrypted_content")}
            return {**kept, "summary": []}
        case _:
            return dict(item)
