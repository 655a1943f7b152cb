"""A kept answer in the form that is asked for: whole as a stream, a stream as a whole, with or without its usage.

What cannot be said in the other form without loss raises ``Unfaithful``; then the answer is asked for anew.
Source: OpenAI's API reference, "Chat", "Completions", "Streaming events" of the Responses API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from providers import sse
from providers.errors import InvalidResponse
from providers.openai.stream import StreamReader
from providers.protocol import Codec, Told
from providers.provider import Endpoint, protocol_of
from providers.registry import WIRES
from providers.usage import semantics_of
from proxy.caching.entry import Entry, Form
from proxy.caching.forms import Unfaithful, events_of, response_of

Json = dict[str, Any]

_JSON = b"application/json"
_SSE = b"text/event-stream; charset=utf-8"
_DONE = b"data: [DONE]\n\n"
# A fraction comes out as it went in.
_decode = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode())).decode
_encode = msgspec.json.encode


def as_asked(entry: Entry, endpoint: Endpoint, form: Form, *, shows_usage: bool) -> Entry:
    """The entry as an answer of that form.  shows_usage: the stream that is asked for is to end with its usage.

    Raises: Unfaithful.
    """
    if form == entry.form and (form == "whole" or endpoint not in _CHUNKS or entry.shows_usage == shows_usage):
        return entry
    try:
        if protocol_of(endpoint) != "openai":
            return _by_codec(entry, endpoint)
        if form == "whole":
            return _as_whole(entry, endpoint)
        if entry.form == "whole":
            return _as_stream(entry, endpoint, shows_usage=shows_usage)
        return _with_usage(entry) if shows_usage else _without_usage(entry, endpoint)
    except (InvalidResponse, msgspec.MsgspecError, TypeError, ValueError, LookupError, AttributeError) as error:
        # An upstream's JSON can have any shape, and this one has another than the protocol's.
        raise Unfaithful("It is not what the protocol promises.") from error


# --- by the protocol's codec -----------------------------------------------------------------------------------------------


def _by_codec(entry: Entry, endpoint: Endpoint) -> Entry:
    """The other form of an answer in another protocol than OpenAI's.  Raises: Unfaithful, InvalidResponse, …."""
    codec = WIRES[endpoint].codec
    if not isinstance(codec, Codec):
        raise Unfaithful("It has one form.")
    semantics = semantics_of(protocol_of(endpoint), endpoint)
    if entry.form == "stream":
        decoder = codec.decoder(semantics)
        response = response_of([*decoder.feed(entry.body + entry.closing), *decoder.finish()])
        body = codec.encode_answer(response, Told(model=response.model, created_s=0))
        return replace(entry, form="whole", content_type=_JSON, body=body, closing=b"", shows_usage=False)
    response = codec.decode_answer(entry.body, semantics)
    encoder = codec.encoder(Told(model=response.model, created_s=0))
    *events, closing = [encoder.feed(event) for event in events_of(response)]
    return replace(entry, form="stream", content_type=_SSE, body=b"".join(events), closing=closing, shows_usage=False)


# --- a stream's usage --------------------------------------------------------------------------------------------------


def _without_usage(entry: Entry, endpoint: Endpoint) -> Entry:
    """As the pass-through takes it out for a client that did not ask."""
    reader = StreamReader(endpoint, strip_usage=True)
    return replace(entry, body=reader.feed(entry.body), shows_usage=False)


_SHARED = ("id", "object", "created", "model", "service_tier", "system_fingerprint")


def _with_usage(entry: Entry) -> Entry:
    if not entry.origin.usage_raw:
        raise Unfaithful("Nobody knows its usage.")
    first = next(_events(entry.body), None)
    if first is None:
        raise Unfaithful("It has no event.")
    shared = {name: first[name] for name in _SHARED if name in first}
    chunk = _data({**shared, "choices": [], "usage": msgspec.Raw(entry.origin.usage_raw)})
    return replace(entry, body=entry.body + chunk, shows_usage=True)


# --- whole as a stream -------------------------------------------------------------------------------------------------


def _as_stream(entry: Entry, endpoint: Endpoint, *, shows_usage: bool) -> Entry:
    answer = _decode(entry.body)
    if endpoint == "responses":
        *events, last = _response_events(answer)
        closing = last
    elif endpoint in _CHUNKS:
        events, closing = list(_CHUNKS[endpoint](answer)), _DONE
        if shows_usage:
            if answer.get("usage") is None:
                raise Unfaithful("Nobody knows its usage.")
            events.append(_data({**_envelope(answer, endpoint), "choices": [], "usage": answer["usage"]}))
    else:
        raise Unfaithful("There is no stream of it.")
    return replace(entry, form="stream", content_type=_SSE, body=b"".join(events), closing=closing, shows_usage=shows_usage)


def _data(event: Json) -> bytes:
    return b"data: " + _encode(event) + b"\n\n"


def _envelope(answer: Json, endpoint: str) -> Json:
    """What all chunks of a stream have in common with the whole answer."""
    shared = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    if endpoint == "chat/completions":
        shared["object"] = "chat.completion.chunk"
    return shared


def _chat_chunks(answer: Json) -> Iterator[bytes]:
    """For each choice its role, each piece of its message whole, and why it ended."""
    shared = _envelope(answer, "chat/completions")
    for choice in _choices(answer):
        index = choice.get("index", 0)
        message = choice.get("message")
        if not isinstance(message, dict):
            raise Unfaithful("A choice without a message.")

        def chunk(delta: Json, index: Any = index, **more: Any) -> bytes:
            said = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None, **more}
            return _data({**shared, "choices": [said]})

        yield chunk({"role": message.get("role", "assistant"), "content": None if message.get("content") is None else ""})
        logprobs = choice.get("logprobs")
        for name, value in message.items():
            if name == "role" or value is None or value == [] or (name == "content" and value == "" and logprobs is None):
                continue
            if name == "audio":
                raise Unfaithful("Audio is streamed in a format of its own.")
            if name == "tool_calls":
                yield chunk({name: [{"index": number, **tool} for number, tool in enumerate(value)]})
            elif name in ("content", "refusal") and logprobs is not None:
                yield chunk({name: value}, logprobs=logprobs)
                logprobs = None
            else:
                yield chunk({name: value})
        if logprobs is not None:
            yield chunk({}, logprobs=logprobs)
        rest = {name: value for name, value in choice.items() if name not in ("index", "message", "logprobs")}
        yield chunk({}, **rest)


def _text_chunks(answer: Json) -> Iterator[bytes]:
    """One chunk for each choice: a choice of a whole answer and of a chunk have the same fields."""
    shared = _envelope(answer, "completions")
    for choice in _choices(answer):
        yield _data({**shared, "choices": [choice]})


_CHUNKS: dict[str, Callable[[Json], Iterator[bytes]]] = {"chat/completions": _chat_chunks, "completions": _text_chunks}


def _choices(answer: Json) -> list[Json]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(it, dict) for it in choices):
        raise Unfaithful("It has no choices.")
    return choices


def _response_events(answer: Json) -> list[bytes]:
    events: list[bytes] = []

    def say(kind: str, **fields: Any) -> None:
        event = {"type": kind, "sequence_number": len(events), **fields}
        events.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode(event)))

    begun = {**answer, "status": "in_progress", "output": [], "usage": None}
    begun.pop("completed_at", None)
    say("response.created", response=begun)
    say("response.in_progress", response=begun)
    output = answer.get("output")
    if not isinstance(output, list) or not all(isinstance(it, dict) for it in output):
        raise Unfaithful("It has no output.")
    for index, item in enumerate(output):
        _say_item(say, index, item)
    say("response.completed" if answer.get("status") == "completed" else "response.incomplete", response=answer)
    return events


Say = Callable[..., None]


def _say_item(say: Say, index: int, item: Json) -> None:
    """One item of a response's output, each of its texts in one piece."""
    place = {"item_id": item.get("id"), "output_index": index}
    kind = item.get("type")
    if kind == "message":
        say("response.output_item.added", output_index=index, item={**item, "status": "in_progress", "content": []})
        for number, part in enumerate(item.get("content") or ()):
            _say_part(say, {**place, "content_index": number}, part)
    elif kind == "function_call":
        say("response.output_item.added", output_index=index, item={**item, "status": "in_progress", "arguments": ""})
        say("response.function_call_arguments.delta", **place, delta=item.get("arguments", ""))
        say("response.function_call_arguments.done", **place, arguments=item.get("arguments", ""))
    elif kind == "custom_tool_call":
        say("response.output_item.added", output_index=index, item={**item, "status": "in_progress", "input": ""})
        say("response.custom_tool_call_input.delta", **place, delta=item.get("input", ""))
        say("response.custom_tool_call_input.done", **place, input=item.get("input", ""))
    elif kind == "reasoning":
        say("response.output_item.added", output_index=index, item={**item, "summary": []})
        for number, part in enumerate(item.get("summary") or ()):
            at = {**place, "summary_index": number}
            say("response.reasoning_summary_part.added", **at, part={**part, "text": ""})
            say("response.reasoning_summary_text.delta", **at, delta=part.get("text", ""))
            say("response.reasoning_summary_text.done", **at, text=part.get("text", ""))
            say("response.reasoning_summary_part.done", **at, part=part)
    else:
        raise Unfaithful(f"An item of the type {kind!r} has events of its own.")
    say("response.output_item.done", output_index=index, item=item)


def _say_part(say: Say, place: Json, part: Json) -> None:
    kind = part.get("type")
    if kind == "output_text":
        text = part.get("text", "")
        say("response.content_part.added", **place, part={**part, "text": "", "annotations": [], "logprobs": []})
        say("response.output_text.delta", **place, delta=text, logprobs=part.get("logprobs") or [])
        for number, annotation in enumerate(part.get("annotations") or ()):
            say("response.output_text.annotation.added", **place, annotation_index=number, annotation=annotation)
        say("response.output_text.done", **place, text=text, logprobs=part.get("logprobs") or [])
    elif kind == "refusal":
        refusal = part.get("refusal", "")
        say("response.content_part.added", **place, part={**part, "refusal": ""})
        say("response.refusal.delta", **place, delta=refusal)
        say("response.refusal.done", **place, refusal=refusal)
    else:
        raise Unfaithful(f"A part of the type {kind!r} has events of its own.")
    say("response.content_part.done", **place, part=part)


# --- a stream as a whole -----------------------------------------------------------------------------------------------


class _Closing(msgspec.Struct):
    response: msgspec.Raw


def _as_whole(entry: Entry, endpoint: Endpoint) -> Entry:
    if endpoint == "responses":
        # The event that ends it holds all of it.
        body = bytes(msgspec.json.decode(sse.data_of(sse.split(entry.closing)[0]), type=_Closing).response)
    else:
        body = _encode(_joined(entry, endpoint))
    return replace(entry, form="whole", content_type=_JSON, body=body, closing=b"", shows_usage=False)


def _events(body: bytes) -> Iterator[Json]:
    for part in sse.split(body):
        data = sse.data_of(part)
        if data:
            event = _decode(data)
            if not isinstance(event, dict):
                raise Unfaithful("An event that is no object.")
            yield event


def _joined(entry: Entry, endpoint: Endpoint) -> Json:
    answer: Json = {}
    choices: dict[int, Json] = {}
    usage: Any = None
    for event in _events(entry.body):
        for name, value in event.items():
            # OpenRouter and others repeat the envelope; padding against eavesdroppers is no part of an answer.
            if name not in ("choices", "usage", "obfuscation"):
                answer.setdefault(name, value)
        usage = event.get("usage") or usage
        for choice in event.get("choices") or ():
            _join_choice(choices, choice, chat=endpoint == "chat/completions")
    if endpoint == "chat/completions":
        answer["object"] = "chat.completion"
    answer["choices"] = [_finished(choices[index]) for index in sorted(choices)]
    if usage is None and entry.origin.usage_raw:
        usage = msgspec.Raw(entry.origin.usage_raw)
    if usage is not None:
        answer["usage"] = usage
    return answer


def _join_choice(choices: dict[int, Json], choice: Json, *, chat: bool) -> None:
    index = choice.get("index", 0)
    joined = choices.setdefault(index, {"index": index})
    if chat:
        joined.setdefault("message", {"role": "assistant", "content": None})
    for name, value in choice.items():
        if name == "delta" and chat:
            _join_delta(joined["message"], value)
        elif name == "text" and not chat:
            joined["text"] = joined.get("text", "") + value
        elif name == "logprobs" and isinstance(value, dict):
            joined["logprobs"] = _lengthened(joined.get("logprobs") or {}, value)
        elif name != "index" and (value is not None or name not in joined):
            joined[name] = value


def _lengthened(lists: Json, more: Json) -> Json:
    longer = {**lists}
    for name, value in more.items():
        if isinstance(value, list) and isinstance(longer.get(name), list):
            longer[name] = [*longer[name], *value]
        elif value is not None or name not in longer:
            longer[name] = value
    return longer


_TEXTS = frozenset({"content", "refusal", "reasoning_content", "reasoning"})


def _join_delta(message: Json, delta: Json) -> None:
    for name, value in delta.items():
        if value is None:
            message.setdefault(name, None)
        elif name == "tool_calls":
            message["tool_calls"] = _join_tools(message.get("tool_calls") or {}, value)
        elif name == "function_call":
            message["function_call"] = _join_function(message.get("function_call") or {}, value)
        elif name in _TEXTS and isinstance(value, str):
            message[name] = (message.get(name) or "") + value
        elif message.get(name) is None or name == "role":
            message[name] = value
        elif message[name] != value:
            raise Unfaithful(f"The field {name!r} comes in pieces of which nobody knows how they fit.")


def _join_tools(tools: dict[int, Json], pieces: list[Json]) -> dict[int, Json]:
    """By their index, until all have come."""
    for piece in pieces:
        tool = tools.setdefault(piece.get("index", 0), {})
        for name, value in piece.items():
            if name in ("function", "custom"):
                tool[name] = _join_function(tool.get(name) or {}, value)
            elif name != "index" and value is not None:
                tool[name] = value
    return tools


def _join_function(function: Json, piece: Json) -> Json:
    for name, value in piece.items():
        if name in ("arguments", "input") and isinstance(value, str):
            function[name] = function.get(name, "") + value
        elif value is not None:
            function[name] = value
    return function


def _finished(choice: Json) -> Json:
    message = choice.get("message")
    if message is not None and "tool_calls" in message:
        tools = message["tool_calls"] or {}
        message["tool_calls"] = [tools[number] for number in sorted(tools)] or None
    return choice
