"""A kept answer: as bytes that nobody can change or exchange unnoticed; and which answers are whole enough to be one."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from providers import sse
from providers.provider import Endpoint, Protocol, protocol_of
from proxy.caching.key import SCHEMA
from proxy.call import Head, Origin

Form = Literal["whole", "stream"]

OPENED_MAX_BYTES = 8 * 1024 * 1024
"""Of entries that were opened before: the very same bytes need no second look."""

_MAGIC = b"tw%c" % SCHEMA
_SEAL_BYTES = 16
_LOCKED_BYTES = 2_047
_BODY_AT = len(_MAGIC) + _SEAL_BYTES


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An answer as its client received it.

    made_us: when.  body: all of a whole answer, a stream's events up to its last.  closing: the event that ends a stream.
    shows_usage: the stream was asked to show its usage.
    """

    made_us: int
    form: Form
    content_type: bytes
    body: bytes
    origin: Origin
    closing: bytes = b""
    shows_usage: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Sealer:
    """Turns entries into bytes and back.  The seal covers the key, so that an entry is good in its own place only."""

    def __init__(self, secret: bytes) -> None:
        self._keyed = hashlib.blake2b(key=secret[:64], digest_size=_SEAL_BYTES, person=b"tollway entry")
        self._opened: dict[bytes, tuple[bytes, Entry]] = {}
        self._opened_bytes = 0

    def seal(self, key: bytes, entry: Entry) -> bytes:
        """The bytes to keep."""
        payload = _encode(entry)
        return b"".join((_MAGIC, self._seal(key, payload), payload))

    def open(self, key: bytes, data: bytes) -> Entry | None:
        """The entry; ``None``, if the bytes are damaged, another key's, or of another release."""
        known = self._opened.get(key)
        if known is not None and known[0] is data:
            return known[1]
        entry = self._open(key, data)
        if entry is not None and len(data) <= OPENED_MAX_BYTES // 8:
            self._opened_bytes += len(data)
            if self._opened_bytes > OPENED_MAX_BYTES:
                self._opened.clear()
                self._opened_bytes = len(data)
            self._opened[key] = (data, entry)
        return entry

    def _open(self, key: bytes, data: bytes) -> Entry | None:
        payload = data[_BODY_AT:]
        if data[: len(_MAGIC)] != _MAGIC or not hmac.compare_digest(data[len(_MAGIC) : _BODY_AT], self._seal(key, payload)):
            return None
        try:
            return _decode(payload)
        except msgspec.DecodeError:
            return None

    def _seal(self, key: bytes, payload: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(key)
        # For more at once Python lets go of its lock, and gets it back after a thread that writes the journal: 90 us, not 14,
        # for an answer of 10 kB.
        for start in range(0, len(payload), _LOCKED_BYTES):
            keyed.update(payload[start : start + _LOCKED_BYTES])
        return keyed.digest()


# --- whole or not --------------------------------------------------------------------------------------------------------


class _Choice(msgspec.Struct):
    finish_reason: Any = None


class _Candidate(msgspec.Struct):
    reason: Any = msgspec.field(default=None, name="finishReason")


class _Details(msgspec.Struct):
    reason: Any = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] | None = None
    data: list[msgspec.Raw] | None = None
    status: Any = None
    error: Any = None
    incomplete_details: _Details | None = None
    stop_reason: Any = None
    candidates: list[_Candidate] | None = None
    embedding: Any = None
    embeddings: list[msgspec.Raw] | None = None
    results: list[msgspec.Raw] | None = None


class _Closing(msgspec.Struct):
    response: _Answer


_answer = msgspec.json.Decoder(_Answer).decode
_closing = msgspec.json.Decoder(_Closing).decode

# OpenAI's words, Anthropic's, Gemini's; and those for the length that was asked for.
_FINISHED = frozenset({"stop", "tool_calls", "function_call", "end_turn", "stop_sequence", "tool_use", "STOP"})
_LONG = frozenset({"length", "max_tokens", "MAX_TOKENS"})
# Inside of a JSON text a quote has a backslash before it, so no answer's words look like this.
_FINISH: dict[Protocol, re.Pattern[bytes]] = {
    "openai": re.compile(rb'"finish_reason"\s*:\s*"([^"\\]*)"'),
    "anthropic": re.compile(rb'"stop_reason"\s*:\s*"([^"\\]*)"'),
    "gemini": re.compile(rb'"finishReason"\s*:\s*"([^"\\]*)"'),
}


def is_whole(endpoint: Endpoint, head: Head, body: bytes) -> bool:
    """Whether the body of a 200 is an answer without an error, cut by nobody and filtered by nobody.

    One that ends at the length that its request asked for is whole; one that ran into the model's own is not.
    """
    try:
        answer = _answer(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if answer.error is not None:
        return False
    match endpoint:
        case "embeddings":
            return bool(answer.data)
        case "moderations" | "rerank":
            return answer.results is not None or answer.data is not None
        case "embedContent" | "batchEmbedContents":
            return answer.embedding is not None or bool(answer.embeddings)
        case "responses":
            return _is_whole_response(head, answer)
        case "messages":
            return _all_finished(head, [answer.stop_reason])
        case "generateContent":
            return answer.candidates is not None and _all_finished(head, [it.reason for it in answer.candidates])
    return answer.choices is not None and _all_finished(head, [choice.finish_reason for choice in answer.choices])


def is_whole_stream(endpoint: Endpoint, head: Head, body: bytes, closing: bytes) -> bool:
    """The same of a stream; that it ended as its protocol says is known already."""
    if endpoint == "responses":
        try:
            return _is_whole_response(head, _closing(sse.data_of(sse.split(closing)[0])).response)
        except (IndexError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
    # What ends a stream of Gemini's is the event that says why; and what is translated says it at its end.
    events = body + closing
    return _all_finished(head, [found.decode("latin-1") for found in _FINISH[protocol_of(endpoint)].findall(events)])


def _is_whole_response(head: Head, answer: _Answer) -> bool:
    if answer.error is not None:
        return False
    if answer.status == "incomplete" and answer.incomplete_details is not None:
        return head.output_max is not None and answer.incomplete_details.reason in ("max_output_tokens", "max_tokens")
    return bool(answer.status == "completed")


def _all_finished(head: Head, reasons: Iterable[object]) -> bool:
    found = list(reasons)
    return len(found) >= head.choices and all(
        reason in _FINISHED or (reason in _LONG and head.output_max is not None) for reason in found
    )
