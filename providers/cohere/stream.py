"""Cohere's chat: a stream from server-sent events to the canonical form, and back.

Source: docs.cohere.com/reference/chat-stream and docs.cohere.com/docs/streaming, read 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from providers import characters, usage
from providers.canonical import (
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
    Started,
    Text,
    ToolCall,
    UsageSeen,
)
from providers.cohere.request import FAMILY, PLAN
from providers.cohere.response import FINISH_WORDS, FINISHES, SEMANTICS, block_json, citation, usage_json
from providers.decoding import EventDecoder
from providers.openai.response import error_body
from providers.usage import Semantics

_PLAN_KEY: Final = ("plan", 0)


class Decoder(EventDecoder):
    """A stream of a chat as events.

    model: who was asked, if that is known; the stream does not say.
    """

    def __init__(self, semantics: Semantics = SEMANTICS, *, model: str = "") -> None:
        super().__init__()
        self._semantics = semantics
        self._model = model
        self._index: dict[tuple[str, int], int] = {}
        self._next = 0
        self._text: int | None = None

    def _read(self, data: bytes) -> Iterator[Event]:
        if data == b"[DONE]":
            return
        value: Mapping[str, Any] = json.loads(characters.whole(data))
        kind = value.get("type")
        if kind is None:
            self._over = True
            yield Failed(error=error_body(data))
            return
        delta = value.get("delta") or {}
        message = delta.get("message") or {}
        match kind:
            case "message-start":
                yield Started(family=FAMILY, id=str(value.get("id") or ""), model=self._model)
            case "content-start":
                yield from self._plan_over()
                yield from self._content_start(value["index"], message["content"])
            case "content-delta":
                content = message["content"]
                index = self._index["content", value["index"]]
                yield Delta(index=index, text=content.get("text") or content.get("thinking") or "")
            case "content-end":
                yield PartStopped(index=self._index["content", value["index"]])
            case "tool-plan-delta":
                if _PLAN_KEY not in self._index:
                    yield PartStarted(index=self._begin(_PLAN_KEY), part=Reasoning(family=FAMILY, extra=PLAN))
                yield Delta(index=self._index[_PLAN_KEY], text=message["tool_plan"])
            case "tool-call-start":
                yield from self._plan_over()
                yield from self._call_start(value["index"], message["tool_calls"])
            case "tool-call-delta":
                arguments = message["tool_calls"]["function"]["arguments"]
                yield Delta(index=self._index["call", value["index"]], arguments=arguments)
            case "tool-call-end":
                yield PartStopped(index=self._index["call", value["index"]])
            case "citation-start":
                if self._text is not None:
                    yield Delta(index=self._text, citation=citation(message["citations"]))
            case "citation-end":
                pass
            case "message-end":
                yield from self._plan_over()
                yield from self._end(delta)
            case _:
                yield NativeEvent(family=FAMILY, value=value)

    def _content_start(self, place: int, content: Mapping[str, Any]) -> Iterator[Event]:
        index = self._begin(("content", place))
        if content["type"] == "thinking":
            yield PartStarted(index=index, part=Reasoning(family=FAMILY, text=content.get("thinking") or ""))
        else:
            self._text = index
            yield PartStarted(index=index, part=Text(text=content.get("text") or ""))

    def _call_start(self, place: int, call: Mapping[str, Any]) -> Iterator[Event]:
        function = call["function"]
        index = self._begin(("call", place))
        part = ToolCall(id=str(call.get("id") or ""), name=function["name"], arguments=function.get("arguments") or "")
        yield PartStarted(index=index, part=part)

    def _plan_over(self) -> Iterator[Event]:
        index = self._index.pop(_PLAN_KEY, None)
        if index is not None:
            yield PartStopped(index=index)

    def _end(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        told = delta.get("usage")
        if told is not None:
            raw = msgspec.json.encode(told)
            yield UsageSeen(usage=usage.read(raw, self._semantics), raw=raw)
        word = str(delta["finish_reason"])
        self._over = True
        if word in ("ERROR", "TIMEOUT") and delta.get("error"):
            yield Failed(error=error_body(msgspec.json.encode({"message": delta["error"]})))
            return
        yield Finished(finish=FINISHES.get(word, "other"), native_finish=word)
        yield Ended()

    def _begin(self, key: tuple[str, int]) -> int:
        self._index[key] = index = self._next
        self._next += 1
        return index


class Encoder:
    """Events in, bytes out, each event as soon as it is there."""

    def __init__(self) -> None:
        self._same = False
        self._place: dict[tuple[int, int], tuple[str, int]] = {}
        self._counts = {"content": 0, "call": 0, "plan": 0, "citation": 0}
        self._parts: dict[tuple[int, int], Part] = {}
        self._usage: dict[str, Any] | None = None
        self._finished = Finished(finish="stop")

    def feed(self, event: Event) -> bytes:
        """What the client is sent for an event; often nothing."""
        match event:
            case Started():
                self._same = event.family == FAMILY
                message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
                return _sse("message-start", {"id": event.id or "tollway", "delta": {"message": message}})
            case PartStarted():
                return self._begin(event)
            case Delta():
                return self._more(event)
            case PartStopped():
                kind, place = self._place.pop((event.choice, event.index), ("plan", 0))
                return b"" if kind == "plan" else _sse({"call": "tool-call-end"}.get(kind, "content-end"), {"index": place})
            case Finished():
                if event.choice == 0:
                    self._finished = event
                return b""
            case UsageSeen():
                self._usage = json.loads(event.raw) if self._same and event.raw else usage_json(event.usage)
                return b""
            case NativeEvent():
                return _sse(str(event.value["type"]), dict(event.value)) if event.family == FAMILY else b""
            case Ended():
                return self._end()
            case Failed():
                said = {"finish_reason": "ERROR", "error": event.error.message, "usage": self._usage or usage_json(None)}
                return _sse("message-end", {"delta": said})

    def _begin(self, event: PartStarted) -> bytes:
        if event.choice:
            return b""
        key, part = (event.choice, event.index), event.part
        if isinstance(part, ToolCall):
            kind = "call"
        elif isinstance(part, Reasoning) and part.extra == PLAN:
            kind = "plan"
        else:
            kind = "content"
        block = block_json(part) or _empty(part) if kind == "content" else None
        if kind == "content" and block is None:
            return b""
        place = self._counts[kind]
        self._counts[kind] += 1
        self._place[key] = (kind, place)
        self._parts[key] = part
        if isinstance(part, ToolCall):
            call = {"id": part.id or part.name, "type": "function", "function": {"name": part.name, "arguments": ""}}
            begun = _sse("tool-call-start", {"index": place, "delta": {"message": {"tool_calls": call}}})
            return begun + (_arguments(place, part.arguments) if part.arguments else b"")
        if kind == "plan":
            return b""
        return _sse("content-start", {"index": place, "delta": {"message": {"content": block}}})

    def _more(self, event: Delta) -> bytes:
        key = (event.choice, event.index)
        if key not in self._place:
            return b""
        kind, place = self._place[key]
        if event.citation is not None:
            if event.citation.family != FAMILY:
                return b""
            number = self._counts["citation"]
            self._counts["citation"] += 1
            said = {"index": number, "delta": {"message": {"citations": dict(event.citation.native)}}}
            return _sse("citation-start", said) + _sse("citation-end", {"index": number})
        if event.arguments:
            return _arguments(place, event.arguments)
        if not event.text:
            return b""
        if kind == "plan":
            return _sse("tool-plan-delta", {"delta": {"message": {"tool_plan": event.text}}})
        name = "thinking" if isinstance(self._parts[key], Reasoning) else "text"
        return _sse("content-delta", {"index": place, "delta": {"message": {"content": {name: event.text}}}})

    def _end(self) -> bytes:
        finished = self._finished
        word = finished.native_finish if self._same and finished.native_finish else FINISH_WORDS[finished.finish]
        return _sse("message-end", {"delta": {"finish_reason": word, "usage": self._usage or usage_json(None)}})


def _empty(part: Part) -> dict[str, Any] | None:
    match part:
        case Text():
            return {"type": "text", "text": ""}
        case Reasoning() if not part.encrypted:
            return {"type": "thinking", "thinking": ""}
        case _:
            return None


def _arguments(place: int, text: str) -> bytes:
    delta = {"message": {"tool_calls": {"function": {"arguments": text}}}}
    return _sse("tool-call-delta", {"index": place, "delta": delta})


def _sse(kind: str, value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **value}))
