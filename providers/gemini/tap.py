"""A stream of generated content on its way through: whole events pass untouched, a tap reads what metering needs.

Pure and incremental.  About 3 µs an event: every one has the usage so far, of which only the last is read.
"""

from __future__ import annotations

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
        return usage.read(self._usage, self._semantics) if self._usage else None

    @property
    def usage_raw(self) -> bytes:
        """The same as it was said."""
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
        data = sse.data_of(part)
        if not data:
            return part
        try:
            event = _decode(characters.whole(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidResponse("An event of the upstream's stream is not the JSON that the protocol promises.") from error
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
            self._usage = bytes(event.usage_metadata)
        held, self.closing = self.closing, b""
        if b'"finishReason"' in data or b'"blockReason"' in data:
            self.finished = True
            self.truncated = is_truncated(data)
        if not self.finished:
            return held + part
        self.closing = part
        return held
