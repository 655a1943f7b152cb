"""Gemini's streamGenerateContent, as server-sent events: to the canonical form, and back.

Source: ai.google.dev/api/generate-content, method streamGenerateContent, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from providers import characters, usage
from providers.canonical import (
    NOTHING,
    Audio,
    Delta,
    Ended,
    Event,
    Failed,
    File,
    Finished,
    Image,
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
from providers.decoding import EventDecoder
from providers.gemini.errors import error_body
from providers.gemini.pieces import Events, Pieces
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
        self.open: tuple[type[Part], int] | None = None
        self.calls: dict[str, list[str]] = {}
        self.called = False
        self.pieces: Pieces | None = None
        self.texts: list[str] = []
        self.finish = ""


class Decoder(EventDecoder):
    """A stream of generated content as events.

    It has no terminator: it is whole when every candidate has its reason to have finished, or the prompt was refused, and the
    connection ends in order.  Every event has the usage so far; it is told with what ends an answer.
    """

    def __init__(self, semantics: Semantics = SEMANTICS) -> None:
        super().__init__()
        self._semantics = semantics
        self._events = Events()
        self._started = False
        self._blocked = False
        self._candidates: dict[int, _Candidate] = {}
        self._usage: Any = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completed.  Raises: InvalidResponse."""
        return super().feed(self._events.feed(chunk))

    def finish(self) -> list[Event]:
        """The upstream closed the stream.  Without an ``Ended`` it was cut off."""
        events = super().finish()
        whole = self._blocked or (bool(self._candidates) and all(it.finish for it in self._candidates.values()))
        if whole and not self._over:
            self._over = True
            events += [*self.pending(), Ended()]
        return events

    def pending(self) -> list[Event]:
        """The usage so far."""
        told, self._usage = self._usage, None
        if not told:
            return []
        raw = msgspec.json.encode(told)
        return [UsageSeen(usage=usage.read(raw, self._semantics), raw=raw)]

    def _read(self, data: bytes) -> list[Event]:
        value: Mapping[str, Any] = _decode(characters.whole(data))
        if "error" in value:
            self._over = True
            return [*self.pending(), Failed(error=error_body(data))]
        events: list[Event] = []
        if not self._started:
            self._started = True
            told = Started(family=FAMILY, id=str(value.get("responseId") or ""), model=str(value.get("modelVersion") or ""))
            events.append(told)
        over = False
        for at, candidate in enumerate(value.get("candidates") or ()):
            index = candidate.get("index")
            number = index if type(index) is int else at
            state = self._candidates.get(number)
            if state is None:
                state = self._candidates[number] = _Candidate()
            _take(events, state, number, candidate)
            over = over or bool(state.finish)
        feedback = value.get("promptFeedback")
        if feedback and feedback.get("blockReason") and not self._candidates:
            self._blocked = over = True
            events.append(Finished(finish="content_filter", extra={"promptFeedback": feedback}))
        self._usage = value.get("usageMetadata") or self._usage
        if over:
            events += self.pending()
        return events


def _take(events: list[Event], state: _Candidate, number: int, candidate: Mapping[str, Any]) -> None:
    """Put what an event says of a candidate at the end of ``events``."""
    content = candidate.get("content") or NOTHING
    for place, value in enumerate(content.get("parts") or ()):
        if value.keys() == _TEXT and type(value["text"]) is str:
            # Nearly every part of a stream, at a third of the time.
            part: Part = Text(text=value["text"])
        elif isinstance(call := value.get("functionCall"), dict) and (state.pieces or "willContinue" in call):
            _piece(events, state, number, value, call)
            continue
        else:
            part = part_of(fields_of(value, f"content.parts[{place}]"), state.calls)
        if type(part) is Text:
            state.texts.append(part.text)
        _part(events, state, number, part)
    if state.open is not None and (grounding := candidate.get("groundingMetadata")):
        at = state.open[1]
        events += [Delta(index=at, choice=number, citation=cited) for cited in citations(grounding, "".join(state.texts))]
    word = word_of(candidate.get("finishReason"))
    if word and not state.finish:
        state.finish = word
        _stop(events, state, number)
        known = ("content", "finishReason", "index")
        events.append(
            Finished(
                finish=finish_of(state.finish, called=state.called),
                choice=number,
                native_finish=state.finish,
                extra={name: field for name, field in candidate.items() if name not in known},
            )
        )


def _piece(events: list[Event], state: _Candidate, number: int, value: Mapping[str, Any], call: Mapping[str, Any]) -> None:
    """A call whose arguments come in pieces; it reaches the client when it has them all."""
    if call.get("name"):
        _stop(events, state, number)
        whole = {**call, "args": call.get("args") or {}}
        begun = part_of(fields_of({**value, "functionCall": whole}, "content.parts"), state.calls)
        if not call.get("willContinue"):
            _part(events, state, number, begun)
            return
        assert isinstance(begun, ToolCall)  # noqa: S101  # a part with a call is one
        state.pieces = Pieces(msgspec.structs.replace(begun, arguments=""))
    if state.pieces is not None:
        state.pieces.add(call.get("partialArgs"))
        if not call.get("willContinue"):
            _stop(events, state, number)


def _part(events: list[Event], state: _Candidate, number: int, part: Part) -> None:
    if isinstance(part, Text | Reasoning):
        kind = type(part)
        # What follows of the same kind is more of it.
        if state.open is None or state.open[0] is not kind:
            _stop(events, state, number)
            state.open = (kind, state.next)
            state.next += 1
            empty = Text(text="") if kind is Text else Reasoning(family=FAMILY)
            events.append(PartStarted(index=state.open[1], choice=number, part=empty))
        if part.text or part.signature:
            events.append(Delta(index=state.open[1], choice=number, text=part.text, signature=part.signature))
        return
    _stop(events, state, number)
    _whole(events, state, number, part)


def _whole(events: list[Event], state: _Candidate, number: int, part: Part) -> None:
    index, state.next = state.next, state.next + 1
    if isinstance(part, ToolCall):
        state.called = True
        events.append(PartStarted(index=index, choice=number, part=msgspec.structs.replace(part, arguments="")))
        events.append(Delta(index=index, choice=number, arguments=part.arguments))
    else:
        events.append(PartStarted(index=index, choice=number, part=part))
    events.append(PartStopped(index=index, choice=number))


def _stop(events: list[Event], state: _Candidate, number: int) -> None:
    if state.pieces is not None:
        pieces, state.pieces = state.pieces, None
        _whole(events, state, number, msgspec.structs.replace(pieces.begun, arguments=pieces.arguments()))
    if state.open is not None:
        index, state.open = state.open[1], None
        events.append(PartStopped(index=index, choice=number))


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
                return _line({"error": said})
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
        return _line({"candidates": [candidate], **self._head})

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
        return _line(said)


def _line(value: Mapping[str, Any]) -> bytes:
    """One event.  Google's SDK takes these characters of a text for the end of a line too, where they are not escaped."""
    told = msgspec.json.encode(value)
    for character, escape in _BREAKS:
        if character in told:
            told = told.replace(character, escape)
    return b"data: " + told + b"\r\n\r\n"


_BREAKS: Final = tuple((it.encode(), b"\\u%04x" % ord(it)) for it in "\x85\u2028\u2029")


def _seal(signature: str) -> dict[str, Any]:
    return {"thoughtSignature": signature} if signature else {}
