"""A whole answer as a stream, and a stream as a whole, in any protocol that has a codec: through the canonical form.

What was kept is in the protocol in which it is asked for, so what only its family knows comes out as it went in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from providers.canonical import (
    Audio,
    Choice,
    Citation,
    Delta,
    Ended,
    Event,
    Failed,
    Finished,
    Native,
    NativeEvent,
    Part,
    PartStarted,
    PartStopped,
    Reasoning,
    Refusal,
    Response,
    Started,
    Text,
    ToolCall,
    UsageSeen,
)


class Unfaithful(Exception):
    """The answer cannot be said in the other form."""


# --- whole as a stream ---------------------------------------------------------------------------------------------------

_IN_STREAMS = frozenset(("createTime",))
"""What of a whole answer of Gemini's no event has room for, and nobody misses."""


def events_of(response: Response) -> Iterator[Event]:
    """The stream that says what the answer says, each of its texts in one piece.  Raises: Unfaithful."""
    same = response.family == "gemini"
    if same and response.extra.keys() - _IN_STREAMS:
        raise Unfaithful("It says something that no event has room for.")
    yield Started(
        family=response.family,
        id=response.id,
        model=response.model,
        created_s=response.created_s,
        usage=response.usage,
        extra={} if same else {"message": _head(response)},
    )
    for choice in response.choices:
        for index, part in enumerate(choice.parts):
            yield from _pieces(PartStarted(index=index, choice=choice.index, part=part), part, sealed_together=same)
    for choice in response.choices:
        extra = {**choice.extra, **({"logprobsResult": choice.logprobs} if choice.logprobs is not None else {})}
        yield Finished(
            finish=choice.finish,
            choice=choice.index,
            stopped_by=choice.stopped_by,
            native_finish=choice.native_finish,
            extra=extra,
        )
    if response.usage is not None or response.usage_raw:
        # On one line, as an event's data has to be.
        yield UsageSeen(
            usage=response.usage, raw=msgspec.json.format(response.usage_raw, indent=-1) if response.usage_raw else b""
        )
    yield Ended()


def _head(response: Response) -> dict[str, Any]:
    """The message that begins a stream of Anthropic's."""
    usage = msgspec.json.decode(response.usage_raw) if response.usage_raw else {}
    return {
        "id": response.id,
        "type": "message",
        "role": "assistant",
        "model": response.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
        **response.extra,
    }


def _pieces(begun: PartStarted, part: Part, *, sealed_together: bool) -> Iterator[Event]:
    index, choice = begun.index, begun.choice
    match part:
        case Text() | Refusal():
            empty = Refusal(text="") if isinstance(part, Refusal) else Text(text="", extra=part.extra)
            if sealed_together and part.extra:
                raise Unfaithful("A text says something that no event has room for.")
            yield PartStarted(index=index, choice=choice, part=empty)
            signature = part.signature if isinstance(part, Text) else ""
            yield Delta(index=index, choice=choice, text=part.text, signature=signature)
            for cited in part.citations if isinstance(part, Text) else ():
                if not sealed_together:
                    yield Delta(index=index, choice=choice, citation=cited)
        case Reasoning() if not part.encrypted:
            yield PartStarted(index=index, choice=choice, part=replace(part, text="", signature=""))
            if sealed_together:
                yield Delta(index=index, choice=choice, text=part.text, signature=part.signature)
            else:
                yield Delta(index=index, choice=choice, text=part.text)
                yield Delta(index=index, choice=choice, signature=part.signature)
        case ToolCall():
            yield PartStarted(index=index, choice=choice, part=replace(part, arguments=""))
            yield Delta(index=index, choice=choice, arguments=part.arguments)
        case _:
            yield begun
    yield PartStopped(index=index, choice=choice)


# --- a stream as a whole -------------------------------------------------------------------------------------------------


class _Piece:
    """A part that has begun, and what came of it."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.texts: list[str] = []
        self.arguments: list[str] = []
        self.signature = ""
        self.cited: list[Citation] = []

    def take(self, event: Delta) -> None:
        """More of it.  Raises: Unfaithful."""
        if event.audio is not None or event.logprobs is not None or event.summary_index is not None or event.encrypted:
            raise Unfaithful("A piece of which nobody knows how it fits.")
        if event.signature:
            if self.signature:
                raise Unfaithful("A part that was sealed twice.")
            self.signature = event.signature
        if event.citation is not None:
            self.cited.append(event.citation)
        self.texts.append(event.text)
        self.arguments.append(event.arguments)

    def whole(self) -> Part:
        """The part.  Raises: Unfaithful, msgspec.DecodeError."""
        part, text, arguments = self.part, "".join(self.texts), "".join(self.arguments)
        match part:
            case Text():
                return replace(part, text=part.text + text, signature=self.signature, citations=(*part.citations, *self.cited))
            case Refusal():
                return replace(part, text=part.text + text)
            case Reasoning():
                return replace(part, text=part.text + text, signature=self.signature or part.signature)
            case ToolCall():
                return replace(part, arguments=part.arguments + arguments, signature=self.signature or part.signature)
            case Native() if arguments and not text:
                # A tool of the provider's own: what it was asked comes as a call's arguments do.
                return replace(part, value={**part.value, "input": msgspec.json.decode(arguments)})
            case _ if not text and not arguments:
                return part
            case _:
                raise Unfaithful("A part that comes in pieces of which nobody knows how they fit.")


def response_of(events: Iterable[Event]) -> Response:
    """The whole answer that the stream says.  Raises: Unfaithful, msgspec.DecodeError."""
    started: Started | None = None
    pieces: dict[tuple[int, int], _Piece] = {}
    finished: dict[int, Finished] = {}
    usage: UsageSeen | None = None
    ended = False
    for event in events:
        match event:
            case Started():
                started = event
            case PartStarted():
                pieces[event.choice, event.index] = _Piece(event.part)
            case Delta():
                pieces[event.choice, event.index].take(event)
            case PartStopped(part=part) if part is not None:
                pieces[event.choice, event.index] = _Piece(part)
            case Finished():
                finished[event.choice] = event
            case UsageSeen():
                usage = event
            case NativeEvent() | Audio() | Failed():
                raise Unfaithful("An event that no whole answer has room for.")
            case Ended():
                ended = True
    if started is None or not ended or not finished:
        raise Unfaithful("It is not whole.")
    own = started.extra.get("message", {})
    extra = {name: value for name, value in own.items() if name not in _MESSAGE}
    if started.family == "anthropic":
        extra |= finished[0].extra
    return Response(
        family=started.family,
        id=started.id,
        model=started.model,
        created_s=started.created_s,
        choices=tuple(_choice(finished[number], pieces) for number in sorted(finished)),
        usage=None if usage is None else usage.usage,
        usage_raw=b"" if usage is None else usage.raw,
        extra=extra,
    )


_MESSAGE = frozenset(("id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"))


def _choice(end: Finished, pieces: dict[tuple[int, int], _Piece]) -> Choice:
    return Choice(
        index=end.choice,
        parts=tuple([pieces[key].whole() for key in sorted(pieces) if key[0] == end.choice]),
        finish=end.finish,
        stopped_by=end.stopped_by,
        native_finish=end.native_finish,
        extra=end.extra,
    )
