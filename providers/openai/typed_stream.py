"""Streams whose events say their type and may have megabytes: pictures as they are drawn, speech, transcripts.

Pure and incremental.  An event is passed on whole, in the pieces that it came in joined once; the ones that end a picture, or
the whole, are looked into.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from providers import sse, usage
from providers.errors import ErrorBody, InvalidResponse
from providers.openai.images import without_pictures
from providers.openai.response import error_body, served
from providers.usage import Semantics, Usage

EVENT_MAX_BYTES: Final = 64 * 1024 * 1024
"""Of one event: a picture of the largest size that there is, as PNG in base64, has about 20 MB."""

DONE: Final = b"[DONE]"
_BOUNDARY_MAX: Final = 3
"""Of the bytes that separate two events, how many may have come with the piece before."""


class _Event(msgspec.Struct):
    type: Any = None
    model: Any = None
    size: Any = None
    quality: Any = None
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Event).decode


class TypedReader:
    """A stream of typed events on its way to the client; see ``providers.protocol.Reader``.

    ends: what the types end in of the events that end something; the last of them ends the stream, and is held back.  Each
    may have a usage, and they are added up: a picture has its own.
    drawn: such an event is a picture.   tokens_per_event: about how many an event stands for that ends nothing.
    """

    def __init__(self, *ends: str, semantics: Semantics, drawn: bool = False, tokens_per_event: int = 1) -> None:
        self._marks = tuple(f'{end}"'.encode() for end in ends)
        self._ends = ends
        self._semantics = semantics
        self._drawn = drawn
        self._tokens_per_event = tokens_per_event
        self._parts: list[bytes] = []
        self._size = 0
        self._edge = b""
        self._held = b""
        self._events = 0
        self.done = False
        self.finished = False
        self.truncated = False
        self.closing = b""
        self.model = ""
        self.id = ""
        self.error: ErrorBody | None = None
        self.usage: Usage | None = None
        self.usage_raw = b""

    @property
    def output_tokens(self) -> int:
        """About how many have come."""
        return self._events * self._tokens_per_event

    def feed(self, chunk: bytes) -> bytes:
        """The whole events that ``chunk`` ended; often none.

        Raises: InvalidResponse, when an event is larger than 64 MiB, or one that ends something is not JSON.
        """
        if self.done:
            return b""
        # Most pieces are from the middle of a picture; looking for one character is a hundred times quicker than for two.
        window = self._edge + chunk if b"\n" in chunk or b"\r" in chunk else b""
        end = sse.last_boundary(window)
        if not end:
            self._keep(chunk)
            return b""
        first, *others = sse.split(window[:end])
        self._parts.append(chunk[: len(first) - len(self._edge)])
        rest = chunk[end - len(self._edge) :]
        events = [b"".join(self._parts), *others]
        self._parts, self._size, self._edge = [], 0, b""
        if rest:
            self._keep(rest)
        passed = self._passed(events)
        return passed[0] if len(passed) == 1 else b"".join(passed)

    def finish(self) -> bool:
        """The upstream ended the stream; whether it had come to its end."""
        tail = b"".join(self._parts) if self._edge.endswith(b"\r\r") and not self.done else b""
        if tail:
            # Lone carriage returns: only now is it known that no line feed follows.
            self._parts, self._edge = [], b""
            before: list[bytes] = []
            self._take(tail, before)
            self._held = b"".join(before) + self._held
        if not self.done and self.finished:
            self.done = True
            self.closing, self._held = self._held, b""
        return self.done

    def complete(self) -> None:
        """Nothing is missing from a stream that has finished."""

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > EVENT_MAX_BYTES:
            raise InvalidResponse("An event of the upstream's stream is larger than 64 MiB.")
        self._edge = (self._edge + data[-_BOUNDARY_MAX:])[-_BOUNDARY_MAX:]

    def _passed(self, events: list[bytes]) -> list[bytes]:
        passed: list[bytes] = []
        for part in events:
            self._take(part, passed)
            if self.done:
                break
        return passed

    def _take(self, part: bytes, passed: list[bytes]) -> None:
        """Pass an event on, or hold it back if it may be the last."""
        lean = without_pictures(part)
        if any(mark in lean for mark in self._marks) or b'"error"' in lean or DONE in lean:
            data = sse.data_of(lean)
            if data.strip() == DONE:
                self.done = self.finished = True
                self.closing, self._held = self._held + part, b""
                return
            event = self._decoded(data)
            if event.type == "error" or bytes(event.error) not in (b"null", b""):
                self.done = True
                self.error = error_body(data)
                if self._held:
                    passed.append(self._held)  # what had ended before it is whole
                    self._held = b""
                return
            if isinstance(event.type, str) and event.type.endswith(self._ends):
                self.finished = True
                self._learn(event)
                if self._held:
                    passed.append(self._held)
                self._held = part
                return
        self._events += 1
        if self._held:
            passed.append(self._held)
            self._held = b""
        passed.append(part)

    def _decoded(self, data: bytes) -> _Event:
        try:
            return _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidResponse("An event of the upstream's stream is not the JSON that the protocol promises.") from error

    def _learn(self, event: _Event) -> None:
        if isinstance(event.model, str):
            self.model = event.model
        raw = bytes(event.usage)
        read = served(usage.read(raw, self._semantics), None) if raw != b"null" else None
        if raw != b"null":
            self.usage_raw = raw
        if self._drawn:
            read = replace(
                read or Usage(counted=False),
                images=1,
                image_size=event.size if isinstance(event.size, str) else "",
                image_quality=event.quality if isinstance(event.quality, str) else "",
            )
        if read is not None:
            self.usage = read if self.usage is None else added(self.usage, read)


def added(first: Usage, second: Usage) -> Usage:
    """Both together; what is no number is the second's."""
    numbers = {
        name: getattr(first, name) + getattr(second, name)
        for name in Usage.__struct_fields__
        if type(getattr(second, name)) is int and name != "cost_nusd"
    }
    return replace(second, **numbers, counted=first.counted and second.counted)


class Opaque:
    """An answer that is no events, on its way through as it comes: sound in whatever format."""

    def __init__(self) -> None:
        self.done = False
        self.finished = False
        self.truncated = False
        self.closing = b""
        self.model = ""
        self.id = ""
        self.error: ErrorBody | None = None
        self.usage: Usage | None = None
        self.usage_raw = b""
        self.output_tokens = 0

    def feed(self, chunk: bytes) -> bytes:
        """The chunk."""
        return chunk

    def finish(self) -> bool:
        """Its end is the end of the body."""
        self.done = self.finished = True
        return True

    def complete(self) -> None:
        """Nothing is missing."""
