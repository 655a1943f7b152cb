"""OpenAI's chat completions: a stream from server-sent events to the canonical form, and back.

Source: platform.openai.com/docs/api-reference/chat-streaming, read 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from providers import characters, sse, usage
from providers.canonical import (
    Audio,
    Delta,
    Ended,
    Event,
    Failed,
    Finished,
    Image,
    Media,
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
from providers.decoding import EventDecoder
from providers.openai.chat_request import FAMILY
from providers.openai.chat_response import (
    FINISH_WORDS,
    FINISHES,
    annotation,
    citation,
    finish_word,
    is_custom,
    listed,
    picture,
    signature,
    sources,
    thoughts,
    usage_json,
)
from providers.openai.response import error_body, served
from providers.thinking import Summaries
from providers.usage import OPENAI_LIKE, Semantics, Usage


class _Event(msgspec.Struct):
    """The top of a chunk; what has to keep its bytes stays raw."""

    id: Any = None
    model: Any = None
    created: Any = None
    choices: Any = None
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")
    service_tier: Any = None
    x_groq: Any = None
    system_fingerprint: Any = None
    search_results: Any = None
    citations: Any = None


_decode = msgspec.json.Decoder(_Event).decode
_DONE: Final = b"[DONE]"


_OLDER: Final = -1
"""The slot of a ``function_call``, of which there is one."""


class _Call:
    """A tool call that has begun.  index: of its part; -1: its name has not come, and it waits.  text: that waits with it."""

    def __init__(self, part: ToolCall) -> None:
        self.part = part
        self.index = -1
        self.text = ""


_TEXTS: Final = ("content", "reasoning_content", "reasoning", "refusal")
"""A piece's fields that are texts."""


class _Choice:
    """What has begun of one choice: which part is open, the tool calls, and which of them each slot has."""

    def __init__(self) -> None:
        self.next = 0
        self.open: tuple[str, int] | None = None
        self.slots: dict[int, _Call] = {}
        self.calls: list[_Call] = []
        self.finish = ""
        self.noted = False

    def begin(self) -> int:
        index = self.next
        self.next += 1
        return index


class Decoder(EventDecoder):
    """A stream of chat completions as events."""

    def __init__(self, semantics: Semantics = OPENAI_LIKE) -> None:
        super().__init__()
        self._semantics = semantics
        self._started = False
        self._choices: dict[int, _Choice] = {}
        self._halves = characters.Halves()
        self._looked_up: dict[str, Any] = {}

    def finish(self) -> list[Event]:
        """The upstream closed the stream: what that means.  Without an ``Ended`` it was cut off."""
        tail, self._tail = self._tail, b""
        events = self._event(sse.data_of(tail)) if tail.strip() == b"data: [DONE]" else []
        # Some leave the terminator out; a finish reason says as much.
        if not self._over and self._choices and all(it.finish for it in self._choices.values()):
            events += self._end()
        return events

    def _read(self, data: bytes) -> Iterator[Event]:
        if data.strip() == _DONE:
            yield from self._end()
            return
        clean = characters.whole(data)
        event = _decode(clean)
        if bytes(event.error) != b"null":
            self._over = True
            if bytes(event.usage) != b"null":
                yield self._used(bytes(event.usage), event.service_tier)
            yield Failed(error=error_body(data))
            return
        if not self._started:
            self._started = True
            created = event.created if isinstance(event.created, int) else None
            extra = {"system_fingerprint": event.system_fingerprint} if event.system_fingerprint else {}
            yield Started(family=FAMILY, id=str(event.id or ""), model=str(event.model or ""), created_s=created, extra=extra)
        if event.search_results or event.citations:
            # Every chunk has all of them.
            self._looked_up = {"search_results": event.search_results, "citations": event.citations}
        choices = event.choices or ()
        if self._halves or (clean is not data and clean != data):
            choices = [self._mended(it) for it in json.loads(data).get("choices") or ()]
        for choice in choices:
            yield from self._choice(choice)
        raw = bytes(event.usage)
        if raw == b"null" and isinstance(event.x_groq, dict) and event.x_groq.get("usage"):
            raw = json.dumps(event.x_groq["usage"]).encode()
        elif raw == b"null" and event.choices and (told := event.choices[0].get("usage")):
            # Source: platform.moonshot.ai/docs/api/chat, read 2026-11.
            raw = json.dumps(told).encode()
        if raw != b"null":
            yield self._used(raw, event.service_tier)

    def _used(self, raw: bytes, service_tier: Any) -> UsageSeen:
        return UsageSeen(usage=served(usage.read(raw, self._semantics), service_tier), raw=raw)

    def _mended(self, choice: dict[str, Any]) -> dict[str, Any]:
        """A choice whose texts may be cut within a character."""
        number, delta = choice.get("index") or 0, choice.get("delta") or {}
        for name in _TEXTS:
            if isinstance(text := delta.get(name), str):
                delta[name] = self._halves.join((number, name), text)
            if choice.get("finish_reason") and (rest := self._halves.rest((number, name))):
                delta[name] = (delta.get(name) or "") + rest
        for at, call in enumerate(delta.get("tool_calls") or ()):
            for kind, name in (("function", "arguments"), ("custom", "input")):
                if isinstance(said := call.get(kind), dict) and isinstance(text := said.get(name), str):
                    said[name] = self._halves.join((number, kind, call.get("index") or at), text)
        mended: dict[str, Any] = characters.cleaned(choice)
        return mended

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[Event]:
        number = choice.get("index") or 0
        state = self._choices.setdefault(number, _Choice())
        delta = choice.get("delta") or {}
        name, thought = thoughts(delta)
        if thought:
            yield from self._text(state, number, Reasoning(family=FAMILY, extra={"as": name}), thought)
        content = delta.get("content")
        if isinstance(content, dict):
            content = json.dumps(content, ensure_ascii=False)
        if isinstance(content, str) and content:
            yield from self._text(state, number, Text(text=""), content, choice.get("logprobs"))
        elif isinstance(content, list):
            for part in listed(content):
                yield from self._listed(state, number, part)
        for image in delta.get("images") or ():
            yield from self._whole(state, number, picture(image))
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            yield from self._text(state, number, Refusal(text=""), refusal, choice.get("logprobs"))
        for noted in delta.get("annotations") or ():
            if state.open is None or state.open[0] != "Text":
                yield from self._begin(state, number, Text(text=""))
            assert state.open is not None  # noqa: S101  # begun above
            state.noted = True
            yield Delta(index=state.open[1], choice=number, citation=citation(noted))
        if isinstance(audio := delta.get("audio"), dict) and any(audio.values()):
            yield from self._audio(state, number, audio)
        for at, call in enumerate(delta.get("tool_calls") or ()):
            slot = call.get("index")
            yield from self._call(state, number, call, at if slot is None else slot)
        if isinstance(older := delta.get("function_call"), dict):
            yield from self._call(state, number, {"id": older.get("name"), "function": older}, _OLDER)
        word = finish_word(choice)
        if word and not state.finish:
            state.finish = word
            if state.open is not None and state.open[0] == "Text" and not state.noted:
                for cited in sources(self._looked_up):
                    yield Delta(index=state.open[1], choice=number, citation=cited)
            yield from self._stop(state, number)
            finish = FINISHES.get(state.finish.lower(), "other")
            if finish == "stop" and state.slots:
                finish = "tool_calls"
            yield Finished(finish=finish, choice=number, native_finish=state.finish)

    def _listed(self, state: _Choice, number: int, part: Part) -> Iterator[Event]:
        match part:
            case Text():
                yield from self._text(state, number, Text(text=""), part.text)
            case Reasoning():
                yield from self._text(state, number, Reasoning(family=FAMILY, extra=part.extra), part.text)
                if part.signature and state.open is not None:
                    yield Delta(index=state.open[1], choice=number, signature=part.signature)
            case _:
                yield from self._whole(state, number, part)

    def _text(self, state: _Choice, number: int, empty: Part, text: str, logprobs: Any = None) -> Iterator[Event]:
        if state.open is None or state.open[0] != type(empty).__name__:
            yield from self._begin(state, number, empty)
        assert state.open is not None  # noqa: S101  # begun above
        yield Delta(index=state.open[1], choice=number, text=text, logprobs=logprobs)

    def _audio(self, state: _Choice, number: int, audio: Mapping[str, Any]) -> Iterator[Event]:
        said = Audio(
            media=Media(data=audio.get("data") or ""),
            id=audio.get("id") or "",
            transcript=audio.get("transcript") or "",
            expires_at=audio.get("expires_at"),
        )
        if state.open is None or state.open[0] != "Audio":
            yield from self._begin(state, number, Audio(media=Media(), id=said.id))
        assert state.open is not None  # noqa: S101  # begun above
        yield Delta(index=state.open[1], choice=number, audio=said)

    def _call(self, state: _Choice, number: int, call: Mapping[str, Any], slot: int) -> Iterator[Event]:
        known = state.slots.get(slot)
        kind = "custom" if is_custom(call) or (known is not None and known.part.custom) else "function"
        said = call.get(kind) or {}
        text = said.get("input" if kind == "custom" else "arguments") or ""
        if not isinstance(text, str):
            text = json.dumps(text, ensure_ascii=False)
        name, given = said.get("name") or "", call.get("id") or ""
        # Google's layer for OpenAI's clients gives several calls the same place; another id and a name begin another one.
        if known is None or (name and given and known.part.id and given != known.part.id):
            if not (name or given or text):
                return
            begun = ToolCall(id=given, name=name, arguments="", custom=kind == "custom", signature=signature(call))
            known = state.slots[slot] = _Call(begun)
            state.calls.append(known)
        elif known.index < 0:
            part = known.part
            known.part = replace(part, id=part.id or given, name=part.name or name, signature=part.signature or signature(call))
        if known.index < 0 and known.part.name:
            yield from self._begin_call(state, number, known)
        if text and known.index < 0:
            known.text += text
        elif text:
            yield Delta(index=known.index, choice=number, arguments=text)

    def _begin_call(self, state: _Choice, number: int, call: _Call) -> Iterator[Event]:
        # Calls may be interleaved, so one stays open until the choice ends.
        yield from self._stop(state, number)
        call.index = state.begin()
        yield PartStarted(index=call.index, choice=number, part=call.part)
        if call.text:
            yield Delta(index=call.index, choice=number, arguments=call.text)

    def _begin(self, state: _Choice, number: int, part: Part) -> Iterator[Event]:
        yield from self._stop(state, number)
        index = state.begin()
        state.open = (type(part).__name__, index)
        yield PartStarted(index=index, choice=number, part=part)

    def _whole(self, state: _Choice, number: int, part: Part) -> Iterator[Event]:
        yield from self._begin(state, number, part)
        yield from self._stop(state, number)

    def _stop(self, state: _Choice, number: int) -> Iterator[Event]:
        if state.open is not None:
            index, state.open = state.open[1], None
            yield PartStopped(index=index, choice=number)
        if state.finish:
            calls, state.calls = state.calls, []
            for call in calls:
                if call.index < 0:
                    yield from self._begin_call(state, number, call)
                yield PartStopped(index=call.index, choice=number)

    def _end(self) -> list[Event]:
        self._over = True
        events: list[Event] = []
        for number, state in self._choices.items():
            if not state.finish:
                # It ended in order and gave no reason.
                state.finish = "stop"
                events += self._stop(state, number)
                events.append(Finished(finish="tool_calls" if state.slots else "stop", choice=number))
        return [*events, Ended()]


class Encoder:
    """Events in, bytes out, each event as soon as it is there.

    model: what the client is told answers.  include_usage: whether it asked for the usage.
    """

    def __init__(self, *, model: str, created_s: int, include_usage: bool) -> None:
        self._head: dict[str, Any] = {
            "id": "chatcmpl-tollway",
            "object": "chat.completion.chunk",
            "created": created_s,
            "model": model,
        }
        self._include_usage = include_usage
        self._usage: tuple[Usage | None, bytes] | None = None
        self._same = False
        self._slots: dict[tuple[int, int], int] = {}
        self._parts: dict[tuple[int, int], Part] = {}
        self._calls: dict[int, int] = {}
        self._spoken: set[int] = set()
        self._added: dict[tuple[int, str], int] = {}
        self._summaries = Summaries()

    def feed(self, event: Event) -> bytes:
        """What the client is sent for an event; often nothing."""
        match event:
            case Started():
                self._head["id"] = event.id or self._head["id"]
                self._head["created"] = event.created_s or self._head["created"]
                self._same = event.family == FAMILY
                if event.usage is not None:
                    self._usage = (event.usage, b"")
                return b""
            case PartStarted():
                return self._begin(event)
            case Delta():
                return self._delta(event)
            case Finished():
                word = event.native_finish if self._same and event.native_finish else FINISH_WORDS[event.finish]
                return self._chunk(event.choice, {}, finish=word)
            case UsageSeen():
                self._usage = (event.usage, event.raw if self._same else b"")
                return b""
            case Ended():
                return self._end()
            case Failed():
                said = event.error
                body = {"message": said.message, "type": said.type or "upstream_error", "param": said.param, "code": said.code}
                return b"data: " + msgspec.json.encode({"error": body}) + b"\n\n"
            case PartStopped() | NativeEvent():
                return b""

    def _begin(self, event: PartStarted) -> bytes:
        key = (event.choice, event.index)
        part = event.part
        self._parts[key] = part
        match part:
            case ToolCall():
                # Calls count from 0 among themselves, whatever parts are around them.
                slot = self._slots[key] = self._calls.get(event.choice, 0)
                self._calls[event.choice] = slot + 1
                return self._chunk(event.choice, {"tool_calls": [_call(slot, part)]})
            case Text() if part.text:
                return self._chunk(event.choice, {"content": part.text})
            case Reasoning() if part.text:
                return self._chunk(event.choice, {"reasoning_content": part.text})
            case Refusal() if part.text:
                return self._chunk(event.choice, {"refusal": part.text})
            case Image():
                url = part.media.url or f"data:{part.media.media_type};base64,{part.media.data}"
                return self._add(event.choice, "images", {"type": "image_url", "image_url": {"url": url}})
            case Native() if part.text:
                return self._chunk(event.choice, {"content": part.text})
            case _:
                return b""

    def _delta(self, event: Delta) -> bytes:
        key = (event.choice, event.index)
        part = self._parts.get(key)
        if event.arguments and key in self._slots:
            custom = isinstance(part, ToolCall) and part.custom
            said = {"custom": {"input": event.arguments}} if custom else {"function": {"arguments": event.arguments}}
            return self._chunk(event.choice, {"tool_calls": [{"index": self._slots[key], **said}]})
        if event.audio is not None:
            audio = {"id": event.audio.id, "data": event.audio.media.data, "transcript": event.audio.transcript}
            return self._chunk(event.choice, {"audio": {name: value for name, value in audio.items() if value}})
        if event.citation is not None:
            noted = annotation(event.citation)
            return self._add(event.choice, "annotations", noted) if noted is not None else b""
        if not event.text:
            return b""
        if isinstance(part, Reasoning):
            return self._chunk(event.choice, {"reasoning_content": self._summaries.text(event)})
        name = "refusal" if isinstance(part, Refusal) else "content"
        return self._chunk(event.choice, {name: event.text}, logprobs=event.logprobs)

    def _add(self, choice: int, name: str, value: dict[str, Any]) -> bytes:
        """One more of a list.  Clients that put chunks together know by its ``index`` that it is another one."""
        place = self._added.get((choice, name), 0)
        self._added[choice, name] = place + 1
        return self._chunk(choice, {name: [{"index": place, **value}]})

    def _chunk(self, choice: int, delta: dict[str, Any], *, finish: str | None = None, logprobs: Any = None) -> bytes:
        if choice not in self._spoken:
            self._spoken.add(choice)
            delta = {"role": "assistant", **({} if "tool_calls" in delta else {"content": ""}), **delta}
        said = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        extra = {"usage": None} if self._include_usage else {}
        return b"data: " + msgspec.json.encode({**self._head, "choices": [said], **extra}) + b"\n\n"

    def _end(self) -> bytes:
        last = b"data: [DONE]\n\n"
        if not self._include_usage:
            return last
        told = usage_json(*self._usage) if self._usage is not None else None
        return b"data: " + msgspec.json.encode({**self._head, "choices": [], "usage": told}) + b"\n\n" + last


def _call(slot: int, part: ToolCall) -> dict[str, Any]:
    said = {"custom": {"name": part.name, "input": part.arguments}} if part.custom else None
    function = {"function": {"name": part.name, "arguments": part.arguments}}
    call: dict[str, Any] = {"index": slot, "id": part.id, "type": "custom" if part.custom else "function", **(said or function)}
    if part.signature:
        call["extra_content"] = {"google": {"thought_signature": part.signature}}
    return call
