"""A stream of generated content on its way through: whole events pass untouched, a tap reads what metering needs.

Pure and incremental.  About 1 µs an event: most are searched, not parsed; every one has the usage so far, and only the last is
read.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import msgspec

from providers import characters, sse, usage
from providers.errors import ErrorBody, InvalidResponse
from providers.gemini.errors import error_body
from providers.gemini.pieces import EVENT_MAX_BYTES, Events
from providers.usage import Semantics, Usage

ENVELOPE_BYTES: Final = 350
"""What an event has besides its text, as recorded."""
BYTES_PER_TOKEN: Final = 4
TOKENS_PER_EVENT: Final = 8
"""An event holds several tokens here; as recorded, ten to a hundred."""


def is_truncated(body: bytes) -> bool:
    """Whether a body or an event says that an answer ends since it had come to its length."""
    return b'"MAX_TOKENS"' in body


class _Event(msgspec.Struct, rename="camel"):
    model_version: Any = None
    usage_metadata: msgspec.Raw = msgspec.Raw(b"null")
    prompt_feedback: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Event).decode
_BLANK: Final = b"\r\n\r\n"
_BEGIN: Final = b"data: {"
_ENDS: Final = (b"}\r\n\r\n", b"}\n\n")
"""How an event begins and ends that may be passed on unparsed."""


def _is_notable(event: bytes) -> bool:
    """Whether it may say more than a piece of the answer, and what has been used so far."""
    return b'"finishReason"' in event or b'"error"' in event or b'"blockReason"' in event


def _read(data: bytes) -> _Event:
    try:
        return _decode(characters.whole(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidResponse("An event of the upstream's stream is not the JSON that the protocol promises.") from error


class Tap:
    """A ``Reader`` of generated content's streams.  semantics: what the usage object means.

    Here a stream has no terminator: it is whole when it said why it finished and the connection ends in order.  The event
    that says so is the one that is held back.
    """

    def __init__(self, semantics: Semantics) -> None:
        self._semantics = semantics
        self._events_of = Events()
        self._tail = b""
        self._usage = b""
        self._last = b""
        """An event that has told the usage since then, and is read when somebody asks."""
        self._events = 0
        self._size_bytes = 0
        self.done = False
        self.finished = False
        self.truncated = False
        self.closing = b""
        self.model = ""
        self.id = ""
        self.error: ErrorBody | None = None

    @property
    def usage(self) -> Usage | None:
        """What the last event said, which counts all of it."""
        raw = self.usage_raw
        return usage.read(raw, self._semantics) if raw else None

    @property
    def usage_raw(self) -> bytes:
        """The same as it was said."""
        if self._last:
            last, self._last = self._last, b""
            with suppress(InvalidResponse):
                said = bytes(_read(sse.data_of(last)).usage_metadata)
                self._usage = said if said != b"null" else self._usage
        return self._usage

    @property
    def output_tokens(self) -> int:
        """An event is a few tokens at least; one that is larger than its envelope is text at four bytes."""
        return max(self._events * TOKENS_PER_EVENT, (self._size_bytes - self._events * ENVELOPE_BYTES) // BYTES_PER_TOKEN)

    def feed(self, chunk: bytes) -> bytes:
        """The complete events that ``chunk`` ended.  Raises: InvalidResponse."""
        if self.done:
            return b""
        chunk = self._events_of.feed(chunk)
        if not self._tail and chunk.find(_BLANK) + len(_BLANK) == len(chunk) > len(_BLANK):
            return self._take(chunk)
        data = self._tail + chunk if self._tail else chunk
        end = sse.last_boundary(data)
        self._tail = data[end:]
        if len(self._tail) > EVENT_MAX_BYTES:
            raise InvalidResponse("An event of the upstream's stream is larger than 8 MiB.")
        return b"".join([self._take(part) for part in sse.split(data[:end])]) if end else b""

    def finish(self) -> bool:
        """The upstream ended the stream; whether it had said why it finished."""
        tail, self._tail = self._tail, b""
        if not self.done and tail.strip():
            try:
                self.closing = self._take(tail.rstrip(b"\r\n") + b"\r\n\r\n") + self.closing
            except InvalidResponse:
                # The standard drops an unfinished event.
                return self.done
        self.done = self.done or self.finished
        return self.done

    def complete(self) -> None:
        """There is no terminator that could be missing."""

    def _take(self, part: bytes) -> bytes:
        """Learn from one event; what is passed on now."""
        if self.done:
            return b""
        if self.model and part.startswith(_BEGIN) and part.endswith(_ENDS) and not (self.finished or _is_notable(part)):
            self._events += 1
            self._size_bytes += len(part)
            if b'"usageMetadata"' in part:
                self._last = part
            return part
        data = sse.data_of(part)
        if not data:
            return part
        event = _read(data)
        if bytes(event.error) != b"null":
            held, self.closing = self.closing, part
            self.done = True
            self.error = error_body(data)
            return held
        self._events += 1
        self._size_bytes += len(part)
        if not self.model:
            self.model = event.model_version if isinstance(event.model_version, str) and event.model_version else "?"
        if bytes(event.usage_metadata) != b"null":
            self._usage, self._last = bytes(event.usage_metadata), b""
        held, self.closing = self.closing, b""
        if b'"finishReason"' in data or b'"blockReason"' in data:
            self.finished = True
            self.truncated = is_truncated(data)
        if not self.finished:
            return held + part
        self.closing = part
        return held
