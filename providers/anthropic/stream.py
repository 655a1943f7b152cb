"""Anthropic's messages: a stream from server-sent events to the canonical form, and back.

Source: platform.claude.com/docs/en/build-with-claude/streaming, read 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from providers import characters, usage
from providers.anthropic.request import EMPTY_INPUT, FAMILY, block_part, citation, tool_id
from providers.anthropic.response import FINISHES, SEMANTICS, block_json, finish_word, input_of, usage_json
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
from providers.decoding import EventDecoder
from providers.openai.response import error_body
from providers.reading import Fields
from providers.thinking import Summaries
from providers.usage import Semantics, Usage

_decode = msgspec.json.Decoder().decode
_ENDING: Final = frozenset(("type", "delta", "usage", "stop_reason", "stop_sequence"))
_BESIDE: Final = frozenset(("context_management", "input_transformations"))
"""What the last event says of the whole message beside its ``delta``."""


class Decoder(EventDecoder):
    """A stream of messages as events."""

    def __init__(self, semantics: Semantics = SEMANTICS) -> None:
        super().__init__()
        self._semantics = semantics
        self._usage: dict[str, Any] = {}
        # Calls that have no arguments yet; one that never has any is told without them, which elsewhere is no JSON.
        self._bare: set[int] = set()

    def _read(self, data: bytes) -> Iterator[Event]:
        event: Mapping[str, Any] = _decode(characters.whole(data))
        match event["type"]:
            case "message_start":
                message = event["message"]
                self._usage = dict(message.get("usage") or {})
                yield Started(
                    family=FAMILY,
                    id=str(message.get("id") or ""),
                    model=str(message.get("model") or ""),
                    usage=self._read_usage(),
                    extra={"message": message},
                )
            case "content_block_start":
                part = _begun(event["content_block"])
                if isinstance(part, ToolCall) and not part.arguments:
                    self._bare.add(event["index"])
                yield PartStarted(index=event["index"], part=part)
            case "content_block_delta":
                delta = _delta(event["index"], event["delta"])
                if delta is not None and delta.arguments:
                    self._bare.discard(delta.index)
                # A kind of piece that is not known is not understood by another family either.
                yield delta or NativeEvent(family=FAMILY, value=event)
            case "content_block_stop":
                if event["index"] in self._bare:
                    self._bare.discard(event["index"])
                    yield Delta(index=event["index"], arguments=EMPTY_INPUT)
                yield PartStopped(index=event["index"])
            case "message_delta":
                yield from self._ending(event)
            case "message_stop":
                self._over = True
                yield Ended()
            case "error":
                self._over = True
                yield Failed(error=error_body(data))
            case "ping":
                pass
            case _:
                yield NativeEvent(family=FAMILY, value=event)

    def _ending(self, event: Mapping[str, Any]) -> Iterator[Event]:
        delta = event.get("delta") or {}
        # Its counts are those of the whole answer so far; what it does not repeat was said at the start.
        self._usage |= {name: count for name, count in (event.get("usage") or {}).items() if count is not None}
        if self._usage:
            yield UsageSeen(usage=self._read_usage(), raw=msgspec.json.encode(self._usage))
        word = delta.get("stop_reason")
        if word:
            yield Finished(
                finish=FINISHES.get(word, "other"),
                stopped_by=delta.get("stop_sequence") or "",
                native_finish=word,
                extra={name: value for name, value in {**event, **delta}.items() if name not in _ENDING},
            )

    def _read_usage(self) -> Usage | None:
        return usage.read(msgspec.json.encode(self._usage), self._semantics) if self._usage else None


def _begun(block: Mapping[str, Any]) -> Part:
    kind = block["type"]
    if kind == "tool_use":
        given = block.get("input")
        arguments = json.dumps(given, ensure_ascii=False, separators=(",", ":")) if given else ""
        extra = {name: value for name, value in block.items() if name not in ("type", "id", "name", "input")}
        return ToolCall(id=block["id"], name=block["name"], arguments=arguments, extra=extra)
    if kind == "thinking":
        return Reasoning(family=FAMILY, text=block.get("thinking") or "", signature=block.get("signature") or "")
    if kind == "text":
        return Text(text=block.get("text") or "", citations=tuple(citation(it) for it in block.get("citations") or ()))
    return block_part(Fields(block, "content_block"))


def _delta(index: int, delta: Mapping[str, Any]) -> Delta | None:
    match delta["type"]:
        case "text_delta":
            return Delta(index=index, text=delta["text"])
        case "thinking_delta":
            return Delta(index=index, text=delta["thinking"])
        case "input_json_delta":
            return Delta(index=index, arguments=delta["partial_json"])
        case "signature_delta":
            return Delta(index=index, signature=delta["signature"])
        case "citations_delta":
            return Delta(index=index, citation=citation(delta["citation"]))
        case _:
            return None


class Encoder:
    """Events in, bytes out, each event as soon as it is there.  model: what the client is told answers."""

    def __init__(self, *, model: str) -> None:
        self._model = model
        self._same = False
        self._index: dict[tuple[int, int], int] = {}
        self._parts: dict[int, Part] = {}
        self._open: int | None = None
        self._unsaid: set[int] = set()
        self._odd: dict[int, str] = {}
        self._summaries = Summaries()
        self._usage: dict[str, Any] = usage_json(None)
        self._finished: Finished | None = None

    def feed(self, event: Event) -> bytes:
        """What the client is sent for an event; often nothing."""
        match event:
            case Started():
                return self._start(event)
            case PartStarted():
                return self._begin(event)
            case Delta():
                return self._more(event)
            case PartStopped():
                return self._stop(event)
            case Finished():
                # It goes out with the usage, which may come after it.
                if event.choice == 0:
                    self._finished = event
                return b""
            case UsageSeen():
                raw = self._same and event.raw
                self._usage = json.loads(event.raw) if raw else usage_json(event.usage)
                return b""
            case NativeEvent():
                return _sse(event.value["type"], dict(event.value)) if event.family == FAMILY else b""
            case Ended():
                return self._close() + self._end()
            case Failed():
                kind = event.error.type or "api_error"
                return _sse("error", {"type": "error", "error": {"type": kind, "message": event.error.message}})

    def _start(self, event: Started) -> bytes:
        self._same = event.family == FAMILY
        if self._same and "message" in event.extra:
            message = {**event.extra["message"], "model": self._model}
        else:
            message = {
                "id": event.id or "msg_tollway",
                "type": "message",
                "role": "assistant",
                "model": self._model,
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": usage_json(event.usage),
            }
        return _sse("message_start", {"type": "message_start", "message": message})

    def _begin(self, event: PartStarted) -> bytes:
        if event.choice:
            return b""
        block = self._block(event.part)
        if block is None:
            return b""
        # Blocks come one after the other here.
        closing = self._close()
        index = len(self._index)
        self._index[event.choice, event.index] = self._open = index
        self._parts[index] = event.part
        begun = _sse("content_block_start", {"type": "content_block_start", "index": index, "content_block": block})
        first = b""
        if isinstance(event.part, ToolCall) and event.part.custom:
            first = _arguments(index, '{"input":"' + _escaped(event.part.arguments))
        elif isinstance(event.part, ToolCall):
            self._unsaid.add(index)
            first = self._argue(index, event.part.arguments) if event.part.arguments else b""
        return closing + begun + first

    def _block(self, part: Part) -> dict[str, Any] | None:
        match part:
            case ToolCall():
                extra = part.extra if self._same else {}
                return {"type": "tool_use", "id": tool_id(part.id or part.name), "name": part.name, "input": {}, **extra}
            case Reasoning() if not part.encrypted or part.family != FAMILY:
                seal = part.signature if part.family == FAMILY else ""
                return {"type": "thinking", "thinking": part.text, "signature": seal}
            case _:
                return block_json(part, same=self._same)

    def _more(self, event: Delta) -> bytes:
        index = self._index.get((event.choice, event.index))
        if index is None:
            return b""
        part = self._parts[index]
        if event.arguments:
            custom = isinstance(part, ToolCall) and part.custom
            return _arguments(index, _escaped(event.arguments)) if custom else self._argue(index, event.arguments)
        if event.citation is not None:
            if event.citation.family != FAMILY:
                return b""
            return _block_delta(index, {"type": "citations_delta", "citation": dict(event.citation.native)})
        if event.text and isinstance(part, Reasoning):
            return _block_delta(index, {"type": "thinking_delta", "thinking": self._summaries.text(event)})
        if event.text:
            return _block_delta(index, {"type": "text_delta", "text": event.text})
        if event.signature and isinstance(part, Reasoning) and part.family == FAMILY:
            return _block_delta(index, {"type": "signature_delta", "signature": event.signature})
        return b""

    def _argue(self, index: int, text: str) -> bytes:
        """A piece of arguments, which are an object here.  What is none waits for its end, and is told as one in an object."""
        if index in self._unsaid:
            # Anthropic's SDK reads what has come after each piece, and fails of white space alone.
            text = text.lstrip()
            if not text:
                return b""
            self._unsaid.remove(index)
            if text[0] != "{":
                self._odd[index] = ""
        if index in self._odd:
            self._odd[index] += text
            return b""
        return _arguments(index, text)

    def _stop(self, event: PartStopped) -> bytes:
        index = self._index.get((event.choice, event.index))
        return self._close() if index is not None and index == self._open else b""

    def _close(self) -> bytes:
        index, self._open = self._open, None
        if index is None:
            return b""
        part = self._parts[index]
        last = _arguments(index, '"}') if isinstance(part, ToolCall) and part.custom else b""
        if index in self._odd and isinstance(part, ToolCall):
            whole = input_of(msgspec.structs.replace(part, arguments=self._odd.pop(index)))
            last = _arguments(index, json.dumps(whole, ensure_ascii=False))
        return last + _sse("content_block_stop", {"type": "content_block_stop", "index": index})

    def _end(self) -> bytes:
        finished = self._finished or Finished(finish="stop")
        word = finish_word(finished.finish, finished.stopped_by, finished.native_finish if self._same else "")
        own = finished.extra if self._same else {}
        more = {name: value for name, value in own.items() if name not in _BESIDE}
        beside = {name: value for name, value in own.items() if name in _BESIDE}
        delta = {"stop_reason": word, "stop_sequence": finished.stopped_by or None, **more}
        said = {"type": "message_delta", "delta": delta, "usage": self._usage, **beside}
        return _sse("message_delta", said) + _sse("message_stop", {"type": "message_stop"})


def _arguments(index: int, text: str) -> bytes:
    return _block_delta(index, {"type": "input_json_delta", "partial_json": text})


def _escaped(text: str) -> str:
    """A custom tool's free text as the inside of a JSON text: here it is the one field of an object."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _block_delta(index: int, delta: dict[str, Any]) -> bytes:
    return _sse("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta})


def _sse(name: str, value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(value))
