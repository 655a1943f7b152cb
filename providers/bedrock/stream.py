"""Bedrock's ConverseStream: from an AWS event stream to the canonical form, and back.

Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, read 2026-11.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from providers import characters, eventstream
from providers.bedrock.models import limits_of
from providers.bedrock.request import FAMILY, block_part, citation, cited, sealed_part, tool_id
from providers.bedrock.response import FINISHES, SEMANTICS, block_json, finish_word, read_usage, stopped_by, usage_json
from providers.canonical import (
    Delta,
    Ended,
    Event,
    Failed,
    Finished,
    Malformed,
    Native,
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
from providers.errors import ErrorBody, InvalidResponse, Refused
from providers.openai.response import error_body
from providers.reading import Fields
from providers.usage import Semantics, Usage

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"


class Decoder:
    """Bytes in, events out; any split of the bytes gives the same events.

    model: who was asked, if that is known; the stream does not say.
    """

    def __init__(self, semantics: Semantics = SEMANTICS, *, model: str = "") -> None:
        self._semantics = semantics
        self._model = model
        self._limits = limits_of(model)
        self._reader = eventstream.Reader()
        self._over = False
        self._begun = False
        self._finished = False
        self._index: dict[int, int] = {}
        self._next = 0
        # What the provider's own tools do comes in pieces, and is one part.
        self._native: dict[int, dict[str, Any]] = {}
        self._sealed: dict[int, bytes] = {}
        # Calls that have no arguments yet; one that never has any is told without them, which elsewhere is no JSON.
        self._bare: set[int] = set()

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completed.

        Raises: InvalidResponse; Refused, for an exception before anything else, which a status could have said as well.
        """
        return [event for message in self._reader.feed(chunk) for event in self._event(message)]

    def finish(self) -> list[Event]:
        """The upstream closed the stream.  Without an ``Ended`` it was cut off."""
        if self._over or not self._finished:
            return []
        # The answer is whole; only what it cost was not told.
        self._over = True
        return [Ended()]

    def pending(self) -> list[Event]:
        """Nothing: everything is told as it comes."""
        return []

    def _event(self, message: eventstream.Message) -> Iterator[Event]:
        if self._over:
            return
        kind = message.headers.get(":message-type")
        if kind != "event":
            self._over = True
            error = _error(message)
            if not self._begun:
                raise Refused(STATUSES.get(error.type or "", 500), error)
            yield Failed(error=error)
            return
        try:
            value = json.loads(characters.whole(message.payload))
            kind = message.headers[":event-type"]
            if not self._begun:
                # Whatever comes first: without a beginning the client would get nothing.
                self._begun = True
                yield Started(family=FAMILY, id="", model=self._model)
            yield from self._read(kind, value)
        except (ValueError, KeyError, TypeError, AttributeError, Malformed, RecursionError) as error:
            raise InvalidResponse("An event of the upstream's stream is not what the protocol promises.") from error

    def _read(self, kind: str, value: Mapping[str, Any]) -> Iterator[Event]:
        match kind:
            case "messageStart":
                pass
            case "contentBlockStart":
                yield from self._start(value["contentBlockIndex"], value["start"])
            case "contentBlockDelta":
                yield from self._delta(value["contentBlockIndex"], value["delta"])
            case "contentBlockStop":
                yield from self._stop(value["contentBlockIndex"])
            case "messageStop":
                yield from self._finish(value)
            case "metadata":
                yield from self._metadata(value)
            case _:
                yield NativeEvent(family=FAMILY, value={kind: value})

    def _start(self, block: int, start: Mapping[str, Any]) -> Iterator[Event]:
        call = start.get("toolUse")
        if call is not None and call.get("type") != "server_tool_use":
            extra = {name: field for name, field in call.items() if name not in ("toolUseId", "name")}
            part = ToolCall(id=call["toolUseId"], name=call["name"], arguments="", extra=extra)
            self._bare.add(block)
            yield PartStarted(index=self._begin(block), part=part)
        elif call is not None:
            self._native[block] = {"toolUse": {**call, "input": ""}}
        elif (result := start.get("toolResult")) is not None:
            self._native[block] = {"toolResult": {**result, "content": []}}
        elif (drawn := start.get("image")) is not None:
            self._native[block] = {"image": dict(drawn)}
        elif start:
            self._native[block] = dict(start)

    def _delta(self, block: int, delta: Mapping[str, Any]) -> Iterator[Event]:
        if block in self._native:
            self._more(self._native[block], delta)
        elif "text" in delta:
            yield from self._open(block, Text(text=""))
            yield Delta(index=self._index[block], text=delta["text"])
        elif (call := delta.get("toolUse")) is not None:
            if call["input"]:
                self._bare.discard(block)
            yield Delta(index=self._index[block], arguments=call["input"])
        elif (thought := delta.get("reasoningContent")) is not None:
            yield from self._thought(block, thought)
        elif (noted := delta.get("citation")) is not None:
            yield from self._open(block, Text(text=""))
            yield Delta(index=self._index[block], citation=citation(noted, self._limits))

    def _thought(self, block: int, thought: Mapping[str, Any]) -> Iterator[Event]:
        if "redactedContent" in thought:
            self._sealed[block] = self._sealed.get(block, b"") + b64decode(thought["redactedContent"])
            return
        yield from self._open(block, Reasoning(family="anthropic" if self._limits.claude else FAMILY))
        said = Delta(index=self._index[block], text=thought.get("text") or "", signature=thought.get("signature") or "")
        if said.text or said.signature:
            yield said

    def _stop(self, block: int) -> Iterator[Event]:
        sealed = self._sealed.pop(block, b"")
        if sealed:
            yield PartStarted(index=self._begin(block), part=sealed_part(b64encode(sealed).decode(), self._limits))
        value = self._native.pop(block, None)
        if value is not None:
            call = value.get("toolUse")
            if call is not None:
                call["input"] = json.loads(call["input"] or "{}")
            drawn = "source" in (value.get("image") or ())
            part = block_part(Fields(value, "delta"), self._limits) if drawn else Native(family=FAMILY, value=value)
            yield PartStarted(index=self._begin(block), part=part)
        if block in self._bare:
            self._bare.discard(block)
            yield Delta(index=self._index[block], arguments="{}")
        if block in self._index:
            yield PartStopped(index=self._index[block])

    def _finish(self, value: Mapping[str, Any]) -> Iterator[Event]:
        word = str(value["stopReason"])
        self._finished = True
        yield Finished(
            finish=FINISHES.get(word, "other"),
            stopped_by=stopped_by(value.get("additionalModelResponseFields")),
            native_finish=word,
            extra={name: field for name, field in value.items() if name not in ("stopReason", "p")},
        )

    def _metadata(self, value: Mapping[str, Any]) -> Iterator[Event]:
        told = value.get("usage")
        if told is not None:
            raw = msgspec.json.encode(told)
            yield UsageSeen(usage=read_usage(raw, value.get("serviceTier"), self._semantics), raw=raw)
        more = {name: field for name, field in value.items() if name not in ("usage", "p")}
        if more:
            yield NativeEvent(family=FAMILY, value={"metadata": more})
        if self._finished:
            self._over = True
            yield Ended()

    def _open(self, block: int, part: Part) -> Iterator[Event]:
        """Texts and thoughts begin with their first piece."""
        if block not in self._index:
            yield PartStarted(index=self._begin(block), part=part)

    def _begin(self, block: int) -> int:
        self._index[block] = index = self._next
        self._next += 1
        return index

    def _more(self, value: dict[str, Any], delta: Mapping[str, Any]) -> None:
        if "toolUse" in value and "toolUse" in delta:
            value["toolUse"]["input"] += delta["toolUse"]["input"]
        elif "toolResult" in value and "toolResult" in delta:
            value["toolResult"]["content"] += delta["toolResult"]
        else:
            for name, field in delta.items():
                known = value.get(name)
                value[name] = _joined(known, field) if isinstance(known, dict) and isinstance(field, dict) else field


def _joined(known: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a block, and a piece of it; the bytes of a picture may come in several."""
    source, rest = known.get("source"), more.get("source")
    if isinstance(source, dict) and isinstance(rest, dict) and "bytes" in source and "bytes" in rest:
        data = b64encode(b64decode(source["bytes"]) + b64decode(rest["bytes"])).decode()
        return {**known, **more, "source": {**source, **rest, "bytes": data}}
    return {**known, **more}


STATUSES: Final = {
    "internalServerException": 500,
    "modelStreamErrorException": 500,
    "validationException": 400,
    "throttlingException": 429,
    "serviceUnavailableException": 503,
    "modelTimeoutException": 408,
}
"""What an exception in the middle of a stream would have been at its beginning."""


def _error(message: eventstream.Message) -> ErrorBody:
    kind = message.headers.get(":exception-type") or message.headers.get(":error-code") or ""
    said = message.headers.get(":error-message")
    read = error_body(message.payload if said is None else msgspec.json.encode({"message": said}))
    return msgspec.structs.replace(read, type=kind or read.type, code=read.code or kind or None)


class Encoder:
    """Events in, bytes out, each event as soon as it is there.  model: whose thoughts they are."""

    def __init__(self, *, model: str) -> None:
        self._limits = limits_of(model)
        self._same = False
        self._index: dict[tuple[int, int], int] = {}
        self._parts: dict[int, Part] = {}
        self._usage: Usage | None = None
        self._raw = b""
        self._metadata: dict[str, Any] = {"metrics": {"latencyMs": 0}}
        self._finished: Finished | None = None

    def feed(self, event: Event) -> bytes:
        """What the client is sent for an event; often nothing."""
        match event:
            case Started():
                self._same = event.family == FAMILY
                return _frame("messageStart", {"role": "assistant"})
            case PartStarted():
                return self._begin(event)
            case Delta():
                return self._more(event)
            case PartStopped():
                index = self._index.pop((event.choice, event.index), None)
                return b"" if index is None else self._close(index)
            case Finished():
                if event.choice == 0:
                    self._finished = event
                return b""
            case UsageSeen():
                self._usage, self._raw = event.usage, event.raw if self._same else b""
                return b""
            case NativeEvent():
                return self._own(event)
            case Ended():
                return self._end()
            case Failed():
                return _exception(event.error)

    def _own(self, event: NativeEvent) -> bytes:
        if event.family != FAMILY:
            return b""
        ((kind, value),) = event.value.items()
        if kind == "metadata":
            self._metadata = dict(value)
            return b""
        return _frame(kind, value)

    def _begin(self, event: PartStarted) -> bytes:
        if event.choice:
            return b""
        index = len(self._parts)
        part = event.part
        if isinstance(part, ToolCall):
            said = {"toolUseId": tool_id(part.id or part.name), "name": part.name, **(part.extra if self._same else {})}
            first = _frame("contentBlockStart", {"start": {"toolUse": said}, "contentBlockIndex": index})
            first += self._delta(index, {"toolUse": {"input": part.arguments}}) if part.arguments else b""
        elif isinstance(part, Text) or (isinstance(part, Reasoning) and not part.encrypted):
            first = self._delta(index, _piece(part, part.text)) if part.text else b""
        else:
            block = block_json(part, self._limits, same=self._same)
            if block is None:
                return b""
            first = self._whole(index, block)
        self._index[event.choice, event.index] = index
        self._parts[index] = part
        return first

    def _whole(self, index: int, block: dict[str, Any]) -> bytes:
        """A block that is not said piece by piece."""
        call, result = block.get("toolUse"), block.get("toolResult")
        if call is not None:
            start = {name: field for name, field in call.items() if name != "input"}
            delta: dict[str, Any] = {"toolUse": {"input": json.dumps(call.get("input") or {}, ensure_ascii=False)}}
            begun = {"toolUse": start}
        elif result is not None:
            begun = {"toolResult": {name: field for name, field in result.items() if name != "content"}}
            delta = {"toolResult": result.get("content") or []}
        else:
            return self._delta(index, block)
        return _frame("contentBlockStart", {"start": begun, "contentBlockIndex": index}) + self._delta(index, delta)

    def _more(self, event: Delta) -> bytes:
        index = self._index.get((event.choice, event.index))
        if index is None:
            return b""
        part = self._parts[index]
        if event.arguments:
            return self._delta(index, {"toolUse": {"input": event.arguments}})
        if event.citation is not None:
            said = cited(event.citation, self._limits)
            return self._delta(index, {"citation": said}) if said is not None else b""
        sent = self._delta(index, _piece(part, event.text)) if event.text else b""
        if event.signature and isinstance(part, Reasoning) and part.family == ("anthropic" if self._limits.claude else FAMILY):
            sent += self._delta(index, {"reasoningContent": {"signature": event.signature}})
        return sent

    def _delta(self, index: int, delta: dict[str, Any]) -> bytes:
        return _frame("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})

    def _close(self, index: int) -> bytes:
        return _frame("contentBlockStop", {"contentBlockIndex": index})

    def _end(self) -> bytes:
        finished = self._finished or Finished(finish="stop")
        open_blocks = b"".join(self._close(index) for index in self._index.values())
        self._index.clear()
        word = finish_word(finished.finish, finished.stopped_by, finished.native_finish if self._same else "")
        stop = {"stopReason": word, **(finished.extra if self._same else {})}
        told = json.loads(self._raw) if self._raw else usage_json(self._usage)
        return open_blocks + _frame("messageStop", stop) + _frame("metadata", {"usage": told, **self._metadata})


def _piece(part: Part, text: str) -> dict[str, Any]:
    return {"reasoningContent": {"text": text}} if isinstance(part, Reasoning) else {"text": text}


def _frame(kind: str, value: Mapping[str, Any]) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return eventstream.encode(headers, msgspec.json.encode(value))


def _exception(error: ErrorBody) -> bytes:
    kind = error.type if error.type in STATUSES else "internalServerException"
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return eventstream.encode(headers, msgspec.json.encode({"message": error.message}))
