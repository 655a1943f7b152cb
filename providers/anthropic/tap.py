"""A stream of messages on its way through: whole events pass untouched, a tap reads what metering needs.

Pure and incremental.  Most events are only searched, not parsed; about 2 µs each.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from providers import characters, sse, usage
from providers.errors import ErrorBody, InvalidResponse
from providers.openai.response import error_body
from providers.usage import Semantics, Usage

EVENT_MAX_BYTES: Final = 8 * 1024 * 1024
ENVELOPE_BYTES: Final = 130
"""What a delta has besides its text."""
BYTES_PER_TOKEN: Final = 4
TRUNCATIONS: Final = frozenset(("max_tokens", "model_context_window_exceeded"))
"""Source: platform.claude.com/docs/en/api/handling-stop-reasons, read 2026-11."""
STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class _Message(msgspec.Struct):
    model: Any = None
    usage: dict[str, Any] | None = None


class _Stop(msgspec.Struct):
    stop_reason: Any = None


class _Event(msgspec.Struct):
    type: Any = None
    message: _Message | None = None
    usage: dict[str, Any] | None = None
    delta: _Stop | None = None


_decode = msgspec.json.Decoder(_Event).decode


class Tap:
    """A ``Reader`` of messages' streams.  semantics: what the usage object means."""

    def __init__(self, semantics: Semantics) -> None:
        self._semantics = semantics
        self._tail = b""
        self._usage: dict[str, Any] = {}
        self._counted = False
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
        """The counts of the whole answer: what the last event does not repeat was said at the start.

        ``None`` until then: what the start says of the output is its first token.
        """
        return usage.read(self.usage_raw, self._semantics) if self._counted else None

    @property
    def usage_raw(self) -> bytes:
        """The usage objects of all events as one."""
        return msgspec.json.encode(self._usage) if self._counted else b""

    @property
    def output_tokens(self) -> int:
        """An event is a token at least; a delta that is larger than its envelope is text at four bytes."""
        return max(self._events, (self._size_bytes - self._events * ENVELOPE_BYTES) // BYTES_PER_TOKEN)

    def feed(self, chunk: bytes) -> bytes:
        """The complete events that ``chunk`` ended.  Raises: InvalidResponse."""
        if self.done:
            return b""
        data = self._tail + chunk if self._tail else chunk
        end = sse.last_boundary(data)
        self._tail = data[end:]
        if len(self._tail) > EVENT_MAX_BYTES:
            raise InvalidResponse("An event of the upstream's stream is larger than 8 MiB.")
        if end == 0:
            return b""
        events = data if end == len(data) else data[:end]
        if b'"message_' in events or b"error" in events:
            return self._inspect(events)
        self._count(events)
        return events

    def finish(self) -> bool:
        """The upstream ended the stream; whether its last event had come."""
        tail, self._tail = self._tail, b""
        if not self.done and b'"message_stop"' in tail:
            self._take(tail.rstrip(b"\r\n") + b"\n\n")
        return self.done

    def complete(self) -> None:
        """Its last event is missing."""
        self.closing = STOP

    def _count(self, events: bytes) -> None:
        deltas = events.count(b'"content_block_delta"')
        self._events += deltas
        if deltas:
            self._size_bytes += len(events)

    def _inspect(self, events: bytes) -> bytes:
        passed = []
        for part in sse.split(events):
            if b'"message_' not in part and b"error" not in part:
                self._count(part)
                passed.append(part)
            elif self._take(part):
                passed.append(part)
            if self.done:
                self._tail = b""
                break
        return b"".join(passed)

    def _take(self, part: bytes) -> bool:
        """Learn from one event; whether it is passed on now."""
        data = sse.data_of(part)
        if not data:
            return True
        try:
            event = _decode(characters.whole(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidResponse("An event of the upstream's stream is not the JSON that the protocol promises.") from error
        match event.type:
            case "message_start":
                if event.message is not None:
                    self.model = event.message.model if isinstance(event.message.model, str) else "?"
                    self._learn(event.message.usage)
            case "message_delta":
                self._learn(event.usage)
                self._counted = self._counted or bool(event.usage)
                if event.delta is not None and event.delta.stop_reason:
                    self.finished = True
                    self.truncated = event.delta.stop_reason in TRUNCATIONS
            case "message_stop":
                self.done = self.finished = True
                self.closing = part
                return False
            case "error":
                self.done = True
                self.error = error_body(data)
                # It has the shape that clients read.
                self.closing = part
                return False
            case _:
                self._count(part)
        return True

    def _learn(self, said: dict[str, Any] | None) -> None:
        self._usage |= {name: count for name, count in (said or {}).items() if count is not None}
