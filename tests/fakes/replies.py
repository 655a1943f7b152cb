"""What the fake upstream can answer: replies, faults, and OpenAI's four endpoints from canned values.

A step is a ``Reply``, a ``Fault``, a ``Raw``, or a function from the request that was seen to one of them.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Literal

import msgspec

from tests.recordings import Recording

Headers = tuple[tuple[str, str], ...]
Framing = Literal["length", "chunked", "close"]
End = Literal["whole", "eof", "rst", "hang"]

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"
WORDS = ("Nano", "-dol", "lars ", "add ", "up: ", "1 € ", "😀")
"""The canned text, with characters of one to four bytes."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, byte for byte.

    wait_s: before the status line.   gap_s: between two pieces; without it all of them are one write.
    framing: ``chunked`` makes each piece a chunk.
    end: ``whole``; or the body stays unfinished: after the pieces the connection is closed, reset, or kept in silence.
    usage: what the provider bills for it; ``None`` where it bills nothing.
    """

    status: int = 200
    content_type: str | None = JSON
    headers: Headers = ()
    pieces: tuple[bytes, ...] = ()
    framing: Framing = "length"
    wait_s: float = 0.0
    gap_s: float = 0.0
    end: End = "whole"
    usage: dict[str, Any] | None = None


class Fault(msgspec.Struct, frozen=True):
    """No answer at all: silence until the peer leaves, a reset, or an orderly close before the status line."""

    kind: Literal["silence", "rst", "eof"]


class Raw(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is not made but given, status line and all, whatever it breaks.

    pieces: one write each, ``gap_s`` apart.   end: as a Reply's, ``whole`` keeps the connection.
    usage: what the provider bills for it.
    """

    pieces: tuple[bytes, ...]
    end: End = "whole"
    gap_s: float = 0.0
    usage: dict[str, Any] | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a canned answer depends on."""

    endpoint: str
    model: str
    stream: bool
    include_usage: bool
    tool: str
    base64: bool
    inputs: int
    body: bytes = b"{}"

    @property
    def fields(self) -> dict[str, Any]:
        """The body, where an answer depends on more of it."""
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded


Step = Reply | Fault | Raw | Callable[[Asked], "Reply | Fault | Raw"]

SILENCE = Fault("silence")
RESET = Fault("rst")
EOF = Fault("eof")


# --- plain answers ---------------------------------------------------------------------------------------------------


def dumps(value: Any) -> bytes:
    """Compact JSON as OpenAI streams it: not escaped, no spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def answer(body: dict[str, Any] | bytes, **fields: Any) -> Reply:
    """One body, whole.  ``fields``: those of Reply."""
    return Reply(pieces=(body if isinstance(body, bytes) else dumps(body),), **fields)


def error(status: int, code: str = "server_error", *, message: str = "", retry_after: str | None = None) -> Reply:
    """An error in OpenAI's envelope."""
    kinds = {400: "invalid_request_error", 401: "invalid_request_error", 404: "invalid_request_error", 429: "requests"}
    body = {"message": message or f"scripted {status}", "type": kinds.get(status, "server_error"), "param": None}
    headers = () if retry_after is None else (("retry-after", retry_after),)
    return answer({"error": {**body, "code": code}}, status=status, headers=headers)


def event_stream(*pieces: bytes, **fields: Any) -> Reply:
    """An event stream of these pieces, one chunk each.  ``fields``: those of Reply."""
    return Reply(content_type=SSE, pieces=pieces, framing="chunked", **fields)


def redirect(location: str) -> Reply:
    """A 307 to somewhere else."""
    return Reply(status=307, headers=(("location", location),), content_type=None, pieces=(b"",))


def gzipped(reply: Reply) -> Reply:
    """The same answer, compressed and said to be so."""
    body = gzip.compress(b"".join(reply.pieces), mtime=0)
    return msgspec.structs.replace(reply, pieces=(body,), headers=(*reply.headers, ("content-encoding", "gzip")))


def split(body: bytes, offsets: Iterable[int]) -> tuple[bytes, ...]:
    """The body cut at these offsets.  Offsets beyond it and empty pieces are left out."""
    cuts = [0, *sorted({offset for offset in offsets if 0 < offset < len(body)}), len(body)]
    return tuple(body[start:end] for start, end in itertools.pairwise(cuts))


def replay(recording: Recording, *, splits: Sequence[int] = (), gap_s: float = 0.0) -> Reply:
    """A recorded answer; an event stream is cut into chunks at the given byte offsets."""
    headers = () if recording.retry_after is None else (("retry-after", recording.retry_after),)
    return Reply(
        status=recording.status,
        content_type=recording.content_type,
        headers=headers,
        pieces=split(recording.body, splits),
        framing="chunked" if recording.streamed else "length",
        gap_s=gap_s,
    )


# --- canned answers --------------------------------------------------------------------------------------------------


def canned(
    *,
    words: Sequence[str] = WORDS,
    gap_s: float = 0.0,
    wait_s: float = 0.0,
    keep: int | None = None,
    end: End = "whole",
    **fields: Any,
) -> Callable[[Asked], Reply]:
    """Answer as OpenAI would, for whatever endpoint is asked: whole or streamed, with a tool call if a tool is offered.

    keep: send only so many pieces, then ``end``.   fields: others of Reply, put over the answer's.
    """

    def step(asked: Asked) -> Reply:
        reply = _canned(asked, tuple(words))
        return msgspec.structs.replace(reply, pieces=reply.pieces[:keep], gap_s=gap_s, wait_s=wait_s, end=end, **fields)

    return step


@cache
def _canned(asked: Asked, words: tuple[str, ...]) -> Reply:
    """Made once for each kind of request: the load tests ask the same thing thousands of times."""
    whole, events = _ENDPOINTS[asked.endpoint]
    usage = usage_of(asked.endpoint, words)
    if asked.stream and events is not None:
        return Reply(content_type=SSE, pieces=tuple(events(asked, words, usage)), framing="chunked", usage=usage)
    return answer(whole(asked, words, usage), usage=usage)


def usage_of(endpoint: str, words: Sequence[str] = WORDS) -> dict[str, Any]:
    """What a canned answer of so many words bills."""
    into, out = 11, len(words)
    if endpoint == "embeddings":
        return {"prompt_tokens": into, "total_tokens": into}
    if endpoint in ("responses", "responses/compact"):
        return {
            "input_tokens": into,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens": out + 2,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": into + out + 2,
        }
    if endpoint == "completions":
        return {"prompt_tokens": into, "completion_tokens": out, "total_tokens": into + out}
    return {
        "prompt_tokens": into,
        "completion_tokens": out + 2,
        "total_tokens": into + out + 2,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0},
    }


def event(value: Any, *, name: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + (value if isinstance(value, bytes) else dumps(value)) + b"\n\n"


DONE = event(b"[DONE]")


def _tool_call(asked: Asked) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": asked.tool, "arguments": '{"city":"Łódź"}'}}


def _chat(asked: Asked, words: tuple[str, ...], usage: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(words), "refusal": None}
    if asked.tool:
        message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [_tool_call(asked)]}
    finish = "tool_calls" if asked.tool else "stop"
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1764000000,
        "model": asked.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": usage,
        "system_fingerprint": "fp_fake",
    }


def _chat_events(asked: Asked, words: tuple[str, ...], usage: dict[str, Any]) -> Iterable[bytes]:
    # With include_usage every chunk has a usage, null in all but the last, whose choices are empty.
    # Source: platform.openai.com/docs/api-reference/chat/create, stream_options, read 2026-11.
    extra: dict[str, Any] = {"usage": None} if asked.include_usage else {}
    head = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1764000000, "model": asked.model}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **extra})

    yield chunk({"role": "assistant", "content": None if asked.tool else "", "refusal": None})
    if asked.tool:
        call = _tool_call(asked)
        arguments = call["function"]["arguments"]
        yield chunk({"tool_calls": [{"index": 0, **call, "function": {"name": asked.tool, "arguments": ""}}]})
        for start in range(0, len(arguments), 5):
            part = arguments[start : start + 5]
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
    else:
        for word in words:
            yield chunk({"content": word})
    yield chunk({}, "tool_calls" if asked.tool else "stop")
    if asked.include_usage:
        yield event({**head, "choices": [], "usage": usage})
    yield DONE


def _text(asked: Asked, words: tuple[str, ...], usage: dict[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "text": "".join(words), "logprobs": None, "finish_reason": "stop"}
    head = {"id": "cmpl-fake", "object": "text_completion", "created": 1764000000, "model": asked.model}
    return {**head, "choices": [choice], "usage": usage}


def _text_events(asked: Asked, words: tuple[str, ...], usage: dict[str, Any]) -> Iterable[bytes]:
    head = {"id": "cmpl-fake", "object": "text_completion", "created": 1764000000, "model": asked.model}
    extra: dict[str, Any] = {"usage": None} if asked.include_usage else {}
    for word in words:
        choice = {"index": 0, "text": word, "logprobs": None, "finish_reason": None}
        yield event({**head, "choices": [choice], **extra})
    last = {"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}
    yield event({**head, "choices": [last], **extra})
    if asked.include_usage:
        yield event({**head, "choices": [], "usage": usage})
    yield DONE


def _embeddings(asked: Asked, words: tuple[str, ...], usage: dict[str, Any]) -> dict[str, Any]:
    vector = (0.5, -0.25, 0.125)
    coded = base64.b64encode(struct.pack("<3f", *vector)).decode() if asked.base64 else list(vector)
    rows = [{"object": "embedding", "index": index, "embedding": coded} for index in range(asked.inputs)]
    return {"object": "list", "data": rows, "model": asked.model, "usage": usage}


def _response(asked: Asked, output: list[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": 1764000000,
        "status": "completed" if usage else "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": asked.model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "metadata": {},
        "usage": usage,
    }


def _message(words: tuple[str, ...]) -> dict[str, Any]:
    part = {"type": "output_text", "text": "".join(words), "annotations": []}
    return {"id": "msg_fake", "type": "message", "status": "completed", "role": "assistant", "content": [part]}


def _responses(asked: Asked, words: tuple[str, ...], usage: dict[str, Any]) -> dict[str, Any]:
    return _response(asked, [_message(words)], usage)


def _responses_events(asked: Asked, words: tuple[str, ...], usage: dict[str, Any]) -> Iterable[bytes]:
    numbers = iter(range(1000))

    def emit(name: str, **fields: Any) -> bytes:
        return event({"type": name, "sequence_number": next(numbers), **fields}, name=name)

    empty = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "msg_fake", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    place = {"item_id": "msg_fake", "output_index": 0, "content_index": 0}
    message = _message(words)
    yield emit("response.created", response=_response(asked, [], None))
    yield emit("response.in_progress", response=_response(asked, [], None))
    yield emit("response.output_item.added", output_index=0, item=item)
    yield emit("response.content_part.added", **place, part=empty)
    for word in words:
        yield emit("response.output_text.delta", **place, delta=word, logprobs=[])
    yield emit("response.output_text.done", **place, text="".join(words), logprobs=[])
    yield emit("response.content_part.done", **place, part=message["content"][0])
    yield emit("response.output_item.done", output_index=0, item=message)
    yield emit("response.completed", response=_response(asked, [message], usage))


def _counted(asked: Asked, words: tuple[str, ...], usage: dict[str, Any]) -> dict[str, Any]:
    del asked, words
    return {"object": "response.input_tokens", "input_tokens": usage["prompt_tokens"]}


def _compacted(asked: Asked, words: tuple[str, ...], usage: dict[str, Any]) -> dict[str, Any]:
    del asked
    said = {"type": "message", "id": "msg_1", "role": "user", "status": "completed"}
    said["content"] = [{"type": "input_text", "text": "".join(words)}]
    sealed = {"type": "compaction", "id": "cmp_1", "encrypted_content": "c2VhbGVk"}
    return {"id": "resp_c1", "object": "response.compaction", "created_at": 1, "output": [said, sealed], "usage": usage}


_Whole = Callable[[Asked, tuple[str, ...], dict[str, Any]], dict[str, Any]]
_Events = Callable[[Asked, tuple[str, ...], dict[str, Any]], Iterable[bytes]]
_ENDPOINTS: dict[str, tuple[_Whole, _Events | None]] = {
    "chat/completions": (_chat, _chat_events),
    "completions": (_text, _text_events),
    "embeddings": (_embeddings, None),
    "responses": (_responses, _responses_events),
    "responses/input_tokens": (_counted, None),
    "responses/compact": (_compacted, None),
}
