"""A stream on its way through: whole events pass untouched, a tap reads what metering needs.

Pure and incremental.  Most events are only compared with the one before or searched, not parsed; about 0.5 µs each.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from providers import sse, usage
from providers.errors import ErrorBody, InvalidResponse
from providers.openai.response import error_body, is_truncated, served, with_whole_characters
from providers.provider import Endpoint
from providers.usage import OPENAI_LIKE, Semantics, Usage

EVENT_MAX_BYTES = 8 * 1024 * 1024

_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_MODEL = re.compile(rb'"model"\s*:\s*"((?:[^"\\]|\\.)*)"')
_TEXT = re.compile(rb'"(?:content|text|reasoning_content|reasoning)"\s*:\s*"')
_PADDING = re.compile(rb'"obfuscation"\s*:\s*"')
"""Source: platform.openai.com/docs/api-reference/chat/create, stream_options.include_obfuscation, read 2026-11."""
_TEMPLATES_MAX = 16
"""So many are made of a stream; what changes more often has none."""
_DONE = b"[DONE]"
DONE = b"data: [DONE]\n\n"
# How an event ends that may be passed on unparsed; one that ends otherwise is a comment, or cut off in the middle.
_WHOLE = b"}\n\n"
ENVELOPE_BYTES = 300
"""What an event is taken to have besides its text; those of vendors have 150 to 300."""
BYTES_PER_TOKEN = 4

_ENDS = ("response.completed", "response.incomplete", "response.failed")


class _Holder(msgspec.Struct):
    """Where a usage object may be besides the top: Groq's ``x_groq``, the Responses API's ``response``."""

    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")
    id: Any = None
    model: Any = None
    service_tier: Any = None


class _Event(msgspec.Struct):
    type: Any = None
    model: Any = None
    choices: msgspec.Raw = msgspec.Raw(b"null")
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")
    service_tier: Any = None
    x_groq: _Holder | None = None
    response: _Holder | None = None


class _Shape(msgspec.Struct):
    message: str
    type: str
    code: str | int | None


class _ErrorEvent(msgspec.Struct):
    error: _Shape


_decode = msgspec.json.Decoder(_Event).decode
_decode_choices = msgspec.json.Decoder(list[_Holder]).decode
_decode_error = msgspec.json.Decoder(_ErrorEvent).decode


def _decoded(data: bytes) -> _Event:
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        whole = with_whole_characters(data)
        if whole is None:
            raise
        return _decode(whole)


class _Template:
    """What the events of a stream that bring the next piece of text have in common; most events of most streams are such.

    Whoever has it can tell of an event by three comparisons that it says nothing but its text.
    """

    def __init__(self, event: bytes, text: int) -> None:
        # text: where it begins.  A stream of OpenAI's has a second field in each event that is different every time.
        self._head = event[:text]
        rest = event[event.find(b'"', text) :]
        padding = _PADDING.search(rest)
        self._middle = rest[: padding.end()] if padding else rest
        self._end = rest[rest.find(b'"', padding.end()) :] if padding else b""

    @classmethod
    def of(cls, event: bytes) -> _Template | None:
        """The template of an event that says nothing but its text; ``None`` if it has none, or it is not one event."""
        text = _TEXT.search(event)
        if text is None or event.find(b"\n\n") != len(event) - 2 or not event.startswith(b"data:"):
            return None
        template = cls(event, text.end())
        return template if template.fits(event) else None

    def fits(self, events: bytes) -> bool:
        """Whether it is one event of these.  A quote in its text, which is escaped, makes it none."""
        if not events.startswith(self._head):
            return False
        at = events.find(b'"', len(self._head))
        if events.find(b"\n", len(self._head), at) >= 0:
            return False
        if not self._end:
            return events[at:] == self._middle
        if not events.startswith(self._middle, at):
            return False
        return events[events.find(b'"', at + len(self._middle)) :] == self._end


class StreamReader:
    """Takes the upstream's bytes, gives back what to pass on, and remembers what metering needs.

    endpoint: which of OpenAI's two stream formats to expect.  strip_usage: take out the chunk that came only because we asked.
    semantics: what the vendor's usage object means.

    id: of the response that is told of, as the Responses API has it.
    done: the terminator was seen; nothing after it is passed on.  closing: the terminator's bytes, held back by ``feed``.
    finished: a finish reason was seen; truncated: it was that the answer had come to its length.
    events: how many came; size_bytes: how large they were.
    usage: the last credible one, never a sum.
    error: what the upstream's own error event, or its failed response, said; the stream ends there.
    """

    def __init__(self, endpoint: Endpoint, *, strip_usage: bool, semantics: Semantics = OPENAI_LIKE) -> None:
        self._responses = endpoint == "responses"
        self._strip_usage = strip_usage
        self._semantics = semantics
        self._tail = b""
        self._template: _Template | None = None
        self._templates = 0
        self.done = False
        self.finished = False
        self.truncated = False
        self.closing = b""
        self.events = 0
        self.size_bytes = 0
        self.model = ""
        self.id = ""
        self.usage: Usage | None = None
        self.usage_raw = b""
        self.error: ErrorBody | None = None

    def feed(self, chunk: bytes) -> bytes:
        """The complete events that ``chunk`` ended, ready to be passed on; often more than one, often none.

        Raises: InvalidResponse, when an event is larger than 8 MiB, or one that carries usage is not JSON.
        """
        if self.done:
            return self._after(chunk)
        if self._template is not None and not self._tail and self._template.fits(chunk):
            self.events += 1
            self.size_bytes += len(chunk)
            return chunk
        data = self._tail + chunk if self._tail else chunk
        end = sse.last_boundary(data)
        if end == len(data):
            self._tail = b""
        else:
            self._tail = data[end:]
            if len(self._tail) > EVENT_MAX_BYTES:
                raise InvalidResponse("An event of the upstream's stream is larger than 8 MiB.")
            if end == 0:
                return b""
            data = data[:end]
        if self._notable(data) or b"\r" in data or data.count(_WHOLE) != data.count(b"\n\n"):
            return self._inspect(data)
        if not self._responses and self._templates < _TEMPLATES_MAX and (template := _Template.of(data)) is not None:
            self._templates += 1
            self._template = template
        return self._count(data)

    def finish(self) -> bool:
        """The upstream ended the stream; whether its terminator had come."""
        tail, self._tail = self._tail, b""
        # The standard drops an unfinished event; a terminator without its blank line is plain enough to be taken as one.
        if not self.done and sse.data_of(tail).strip() == _DONE:
            self.done = True
            self.closing = tail.rstrip(b"\r\n") + b"\n\n"
        return self.done

    def complete(self) -> None:
        """Its terminator is missing, and it said why it finished."""
        self.closing = DONE

    def _notable(self, events: bytes) -> bool:
        """Whether any of the events has to be looked into."""
        if not self.model or b'"error"' in events or (b'"usage"' in events and _USAGE.search(events) is not None):
            return True
        if self._responses:
            return b"response.completed" in events or b"response.incomplete" in events or b"response.failed" in events
        if _DONE in events:
            # What comes after it is not part of the answer.
            return True
        # Both ways of writing it that there are; quicker than the expression, and right for many events at once.
        if not self.finished and (b'"finish_reason":"' in events or b'"finish_reason": "' in events):
            self.finished = True
            self.truncated = is_truncated(events)
        return False

    def _count(self, events: bytes) -> bytes:
        self.events += events.count(b"data:")
        self.size_bytes += len(events)
        return events

    @property
    def output_tokens(self) -> int:
        """The output so far: an event is a token at least; one that is larger than its envelope is text at four bytes."""
        return max(self.events, (self.size_bytes - self.events * ENVELOPE_BYTES) // BYTES_PER_TOKEN)

    def _inspect(self, events: bytes) -> bytes:
        passed = []
        parts = sse.split(events)
        for index, part in enumerate(parts):
            if part.rstrip(b"\r\n").endswith(b"}") and not self._notable(part):
                passed.append(self._count(part))
            elif self._take(part):
                passed.append(part)
            if self.done:
                if self.error is None:
                    self._after(b"".join(parts[index + 1 :]) + self._tail)
                self._tail = b""
                break
        return b"".join(passed)

    def _take(self, part: bytes) -> bool:
        """Learn from one event; whether it is passed on now."""
        data = sse.data_of(part)
        if not data:
            return True
        self.events += 1
        self.size_bytes += len(part)
        if data == _DONE or data.strip() == _DONE:
            self.done = True
            self.closing = part
            return False
        try:
            event = _decoded(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidResponse("An event of the upstream's stream is not the JSON that the protocol promises.") from error
        if bytes(event.error) not in (b"null", b"") and not self._responses:
            self._learn_usage(event)
            self._end_by_error(part, data)
            return False
        self._learn_model(event)
        self._learn_usage(event)
        if self._responses:
            return self._take_response(event, part, data)
        if not self.finished and _FINISH.search(data) is not None:
            self.finished = True
            self.truncated = is_truncated(data)
        return not (self._strip_usage and bytes(event.usage) != b"null" and bytes(event.choices).strip(b"[] \r\n\t") == b"")

    def _take_response(self, event: _Event, part: bytes, data: bytes) -> bool:
        if event.response is not None and isinstance(event.response.id, str):
            self.id = event.response.id
        if event.type in _ENDS:
            self.done = self.finished = True
            self.truncated = event.type == "response.incomplete" and is_truncated(data)
            self.closing = part
            if event.type == "response.failed":
                self.error = _failure(event)
            return False
        if event.type == "error" or (event.type is None and bytes(event.error) != b"null"):
            self._end_by_error(part, data)
            return False
        return True

    def _end_by_error(self, part: bytes, data: bytes) -> None:
        self.done = True
        self.error = error_body(data)
        try:
            _decode_error(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        # It has the shape that clients read, and may hold more than the four fields of ours (Groq's failed_generation).
        self.closing = part

    def _learn_model(self, event: _Event) -> None:
        model = event.model or (event.response and event.response.model)
        if isinstance(model, str) and model:
            self.model = model
        elif not self.model:
            self.model = "?"

    def _learn_usage(self, event: _Event) -> None:
        for holder in (event, event.x_groq, event.response, *_holders(event)):
            if holder is not None and (raw := bytes(holder.usage)) != b"null":
                read = served(usage.read(raw, self._semantics), holder.service_tier)
                if read is not None or self.usage is None:
                    self.usage_raw, self.usage = raw, read

    def _after(self, chunk: bytes) -> bytes:
        # The Responses API ends with an event of its own; some servers send a [DONE] after it, as they do for chat.
        if self._responses and self.error is None and chunk and len(self.closing) < EVENT_MAX_BYTES:
            self.closing += chunk
        return b""


def _holders(event: _Event) -> list[_Holder]:
    """The choices, if it is they that have the usage.  Source: platform.moonshot.ai/docs/api/chat, read 2026-11."""
    if bytes(event.usage) != b"null" or b'"usage"' not in bytes(event.choices):
        return []
    try:
        return _decode_choices(event.choices)
    except msgspec.DecodeError:
        return []


def _failure(event: _Event) -> ErrorBody:
    """What a failed response says of itself."""
    said = bytes(event.response.error) if event.response is not None else b"null"
    return error_body(b'{"error":%b}' % (said if said != b"null" else b'"The response failed."'))
