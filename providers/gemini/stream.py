"""Gemini's streamGenerateContent, as server-sent events: to the canonical form, and back.

Source: ai.google.dev/api/generate-content, method streamGenerateContent, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from providers import characters, sse, usage
from providers.canonical import (
    Audio,
    Delta,
    Ended,
    Event,
    Failed,
    File,
    Finished,
    Image,
    Malformed,
    Part,
    PartStarted,
    PartStopped,
    Reasoning,
    Refusal,
    Started,
    Text,
    ToolCall,
    UsageSeen,
    Video,
)
from providers.errors import InvalidResponse
from providers.gemini.errors import error_body
from providers.gemini.pieces import EVENT_MAX_BYTES, Events, Pieces
from providers.gemini.request import FAMILY, fields_of, part_of
from providers.gemini.response import FINISH_WORDS, SEMANTICS, citations, finish_of, part_json, usage_json, word_of
from providers.thinking import Summaries
from providers.usage import Semantics, Usage

_decode = msgspec.json.Decoder().decode
_TEXT: Final = {"text"}


class _Candidate:
    """What has begun of one candidate."""

    def __init__(self) -> None:
        self.next = 0
        self.open: tuple[str, int] | None = None
        self.calls: dict[str, list[str]] = {}
        self.called = False
        self.pieces: Pieces | None = None
        self.texts: list[str] = []
        self.finish = ""


class Decoder:
    """Bytes in, events out; any split of the bytes gives the same events.

    A stream here has no terminator: it is whole when every candidate has its reason to have finished, or the prompt was
    refused, and the connection ends in order.
    """

    def __init__(self, semantics: Semantics = SEMANTICS) -> None:
        self._semantics = semantics
        self._events = Events()
        self._tail = b""
        self._started = False
        self._over = False
        self._blocked = False
        self._candidates: dict[int, _Candidate] = {}

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completed.  Raises: InvalidResponse."""
        data = self._tail + self._events.feed(chunk)
        end = sse.last_boundary(data)
        self._tail = data[end:]
        if len(self._tail) > EVENT_MAX_BYTES:
            raise InvalidResponse("An event of the upstream's stream is larger than 8 MiB.")
        return [event for part in sse.split(data[:end]) for event in self._event(sse.data_of(part))]

    def finish(self) -> list[Event]:
        """The upstream closed the stream.  Without an ``Ended`` it was cut off."""
        tail, self._tail = self._tail, b""
        events: list[Event] = []
        if tail.strip() and not self._over:
            try:
                events += self._event(sse.data_of(tail))
            except InvalidResponse:
                # The standard drops an unfinished event.
                return events
        whole = self._blocked or (bool(self._candidates) and all(it.finish for it in self._candidates.values()))
        if whole and not self._over:
            self._over = True
            events.append(Ended())
        return events

    def _event(self, data: bytes) -> Iterator[Event]:
        if not data or self._over:
            return
        try:
            value = _decode(characters.whole(data))
            yield from self._read(value, data)
        except (msgspec.DecodeError, ValueError, KeyError, TypeError, AttributeError, Malformed, RecursionError) as error:
            raise InvalidResponse("An event of the upstream's stream is not what the protocol promises.") from error

    def _read(self, value: Mapping[str, Any], data: bytes) -> Iterator[Event]:
        if "error" in value:
            self._over = True
            yield Failed(error=error_body(data))
            return
        if not self._started:
            self._started = True
            yield Started(family=FAMILY, id=str(value.get("responseId") or ""), model=str(value.get("modelVersion") or ""))
        for at, candidate in enumerate(value.get("candidates") or ()):
            index = candidate.get("index")
            yield from self._candidate(candidate, index if isinstance(index, int) else at)
        feedback = value.get("promptFeedback") or {}
        if feedback.get("blockReason") and not self._candidates:
            self._blocked = True
            yield Finished(finish="content_filter", extra={"promptFeedback": feedback})
        told = value.get("usageMetadata")
        if told:
            raw = msgspec.json.encode(told)
            yield UsageSeen(usage=usage.read(raw, self._semantics), raw=raw)

    def _candidate(self, candidate: Mapping[str, Any], number: int) -> Iterator[Event]:
        state = self._candidates.setdefault(number, _Candidate())
        content = candidate.get("content") or {}
        for at, value in enumerate(content.get("parts") or ()):
            if value.keys() == _TEXT and type(value["text"]) is str:
                # Nearly every part of a stream, at a third of the time.
                text = value["text"]
                part: Part = Text(text=text)
                state.texts.append(text)
            elif isinstance(call := value.get("functionCall"), dict) and (state.pieces or "willContinue" in call):
                yield from self._piece(state, number, value, call)
                continue
            else:
                part = part_of(fields_of(value, f"content.parts[{at}]"), state.calls)
                if isinstance(part, Text):
                    state.texts.append(part.text)
            yield from self._part(state, number, part)
        if "groundingMetadata" in candidate and state.open is not None:
            for cited in citations(candidate["groundingMetadata"], "".join(state.texts)):
                yield Delta(index=state.open[1], choice=number, citation=cited)
        word = word_of(candidate.get("finishReason"))
        if word and not state.finish:
            state.finish = word
            yield from _stop(state, number)
            known = ("content", "finishReason", "index")
            yield Finished(
                finish=finish_of(state.finish, called=state.called),
                choice=number,
                native_finish=state.finish,
                extra={name: field for name, field in candidate.items() if name not in known},
            )

    def _piece(self, state: _Candidate, number: int, value: Mapping[str, Any], call: Mapping[str, Any]) -> Iterator[Event]:
        """A call whose arguments come in pieces; it reaches the client when it has them all."""
        if call.get("name"):
            yield from _stop(state, number)
            whole = {**call, "args": call.get("args") or {}}
            begun = part_of(fields_of({**value, "functionCall": whole}, "content.parts"), state.calls)
            if not call.get("willContinue"):
                yield from self._part(state, number, begun)
                return
            assert isinstance(begun, ToolCall)  # noqa: S101  # a part with a call is one
            state.pieces = Pieces(msgspec.structs.replace(begun, arguments=""))
        if state.pieces is not None:
            state.pieces.add(call.get("partialArgs"))
            if not call.get("willContinue"):
                yield from _stop(state, number)

    def _part(self, state: _Candidate, number: int, part: Part) -> Iterator[Event]:
        kind = type(part).__name__
        if isinstance(part, Text | Reasoning):
            # What follows of the same kind is more of it.
            if state.open is None or state.open[0] != kind:
                yield from _stop(state, number)
                state.open = (kind, state.next)
                state.next += 1
                empty = Text(text="") if isinstance(part, Text) else Reasoning(family=FAMILY)
                yield PartStarted(index=state.open[1], choice=number, part=empty)
            if part.text or part.signature:
                yield Delta(index=state.open[1], choice=number, text=part.text, signature=part.signature)
            return
        yield from _stop(state, number)
        yield from _whole(state, number, part)


def _whole(state: _Candidate, number: int, part: Part) -> Iterator[Event]:
    index, state.next = state.next, state.next + 1
    if isinstance(part, ToolCall):
        state.called = True
        yield PartStarted(index=index, choice=number, part=msgspec.structs.replace(part, arguments=""))
        yield Delta(index=index, choice=number, arguments=part.arguments)
    else:
        yield PartStarted(index=index, choice=number, part=part)
    yield PartStopped(index=index, choice=number)


def _stop(state: _Candidate, number: int) -> Iterator[Event]:
    if state.pieces is not None:
        pieces, state.pieces = state.pieces, None
        yield from _whole(state, number, msgspec.structs.replace(pieces.begun, arguments=pieces.arguments()))
    if state.open is not None:
        index, state.open = state.open[1], None
        yield PartStopped(index=index, choice=number)


class Encoder:
    """Events in, bytes out, each event as soon as it is there; a tool call when its arguments are whole, since here they
    are an object.  model: what the client is told answers.
    """

    def __init__(self, *, model: str) -> None:
        self._head: dict[str, Any] = {"modelVersion": model}
        self._same = False
        self._parts: dict[tuple[int, int], Part] = {}
        self._arguments: dict[tuple[int, int], list[str]] = {}
        self._usage: tuple[Usage | None, bytes] | None = None
        self._finished: list[Finished] = []
        self._summaries = Summaries()

    def feed(self, event: Event) -> bytes:
        """What the client is sent for an event; often nothing."""
        match event:
            case Started():
                self._same = event.family == FAMILY
                if event.id:
                    self._head["responseId"] = event.id
                if event.usage is not None:
                    self._usage = (event.usage, b"")
                return b""
            case PartStarted():
                return self._begin(event)
            case Delta():
                return self._more(event)
            case PartStopped():
                return self._call((event.choice, event.index))
            case Finished():
                # It goes out with the usage, which may come after it.
                calls = b"".join(self._call(key) for key in list(self._arguments) if key[0] == event.choice)
                self._finished.append(event)
                return calls
            case UsageSeen():
                self._usage = (event.usage, event.raw if self._same else b"")
                return b""
            case Ended():
                return self._end()
            case Failed():
                said = {"code": 500, "message": event.error.message, "status": event.error.type or "INTERNAL"}
                return _event({"error": said})
            case _:
                return b""

    def _begin(self, event: PartStarted) -> bytes:
        key = (event.choice, event.index)
        self._parts[key] = event.part
        match event.part:
            case ToolCall():
                self._arguments[key] = [event.part.arguments]
                return b""
            case Image() | Audio() | Video() | File():
                made = part_json(event.part, same=self._same)
            case Text() | Reasoning() | Refusal() as part if not part.text:
                return b""
            case _:
                made = part_json(event.part, same=self._same)
        return b"" if made is None else self._chunk(event.choice, made)

    def _more(self, event: Delta) -> bytes:
        key = (event.choice, event.index)
        if key in self._arguments:
            self._arguments[key].append(event.arguments)
            return b""
        part = self._parts.get(key)
        if isinstance(part, Reasoning):
            seal = event.signature if part.family == FAMILY else ""
            if not event.text and not seal:
                return b""
            return self._chunk(event.choice, {"text": self._summaries.text(event), "thought": True, **_seal(seal)})
        if event.audio is not None and event.audio.media.data:
            return self._chunk(event.choice, {"inlineData": {"mimeType": "audio/pcm", "data": event.audio.media.data}})
        seal = event.signature if self._same else ""
        if not event.text and not seal:
            return b""
        return self._chunk(event.choice, {"text": event.text, **_seal(seal)})

    def _call(self, key: tuple[int, int]) -> bytes:
        pieces = self._arguments.pop(key, None)
        part = self._parts.get(key)
        if pieces is None or not isinstance(part, ToolCall):
            return b""
        made = part_json(msgspec.structs.replace(part, arguments="".join(pieces)), same=self._same)
        return b"" if made is None else self._chunk(key[0], made)

    def _chunk(self, choice: int, part: dict[str, Any]) -> bytes:
        candidate = {"content": {"parts": [part], "role": "model"}, "index": choice}
        return _event({"candidates": [candidate], **self._head})

    def _end(self) -> bytes:
        candidates = []
        feedback: dict[str, Any] = {}
        for event in self._finished:
            if self._same and "promptFeedback" in event.extra:
                feedback = {"promptFeedback": event.extra["promptFeedback"]}
                continue
            word = event.native_finish if self._same and event.native_finish else FINISH_WORDS[event.finish]
            extra = event.extra if self._same else {}
            candidates.append({"content": {"role": "model"}, "finishReason": word, "index": event.choice, **extra})
        told: dict[str, Any] = {}
        if self._usage is not None:
            read, raw = self._usage
            told = {"usageMetadata": msgspec.Raw(raw) if raw else usage_json(read)}
        said = {**({"candidates": candidates} if candidates else {}), **feedback, **told, **self._head}
        return _event(said)


_ENDS_OF_LINES: Final = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))
"""What Google's SDK takes for an end of a line wherever it stands, and Google therefore escapes."""


def _event(value: dict[str, Any]) -> bytes:
    data = msgspec.json.encode(value)
    if not data.isascii():
        for character, escaped in _ENDS_OF_LINES:
            data = data.replace(character, escaped)
    return b"data: " + data + b"\r\n\r\n"


def _seal(signature: str) -> dict[str, Any]:
    return {"thoughtSignature": signature} if signature else {}
