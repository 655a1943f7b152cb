"""What must hold of any bytes, one function for each reader of them.

A function takes the bytes and returns if all is well.  What it raises is a crash: an assertion that does not hold, or an
exception that is none of those the reader may raise.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, TypeVar
from zlib import crc32

import msgspec

from providers import eventstream, sse
from providers.canonical import Ended, Event, Failed, Malformed, Unsupported
from providers.errors import InvalidResponse, ProviderError
from providers.openai.request import with_model, without
from providers.protocol import Ability, Codec, Decoder, Told
from providers.provider import Endpoint
from providers.registry import WIRES
from providers.usage import Semantics, semantics_of
from proxy.api import gemini, heads
from proxy.attempts.translation import Translated, whole
from proxy.errors import InvalidJson, InvalidRequest
from tests.providers.cohere.test_chat import CALLS, WORDS
from tests.recordings import PROVIDERS, Recording, recordings

Target = Callable[[bytes], object]
Item = TypeVar("Item")

CLIENTS: tuple[Endpoint, ...] = ("chat/completions", "responses", "messages", "generateContent")
"""What clients speak."""
CHATS: dict[str, tuple[Endpoint, str]] = {
    "chat": ("chat/completions", "openai"),
    "responses": ("responses", "openai"),
    "messages": ("messages", "anthropic"),
    "gemini": ("generateContent", "gemini"),
    "bedrock": ("converse", "bedrock"),
    "cohere": ("v2/chat", "cohere"),
}
"""What upstreams speak: the endpoint, and a vendor that has it."""
TOLD = Told(model="m", created_s=1, id="request", asked={"model": "m"})
ABILITY = Ability()


def codec(endpoint: Endpoint) -> Codec:
    found = WIRES[endpoint].codec
    assert isinstance(found, Codec)
    return found


def pieces(data: bytes) -> Iterator[bytes]:
    """The bytes, cut in places that depend on nothing but them."""
    chance = random.Random(crc32(data))  # noqa: S311  # where to cut, no secret
    cuts = [chance.randrange(len(data) + 1) for _ in range(chance.randrange(12))]
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        yield data[start:end]


# --- framing -----------------------------------------------------------------------------------------------------------


def _standard(stream: bytes) -> list[bytes]:
    """What the standard's own algorithm dispatches, but for events whose data is empty."""
    *lines, _ = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    events = []
    data: list[bytes] = []
    for line in lines:
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif not line:
            events.append(b"\n".join(data))
            data = []
    return [event for event in events if event]


def read_sse(data: bytes) -> None:
    """Any split gives the events of the standard; nothing is lost; a boundary only moves forward."""
    # The last event ends for certain: a lone CR at the end may be half of an end of line.
    data += b"\n\n:\n\n"
    events: list[bytes] = []
    tail = b""
    for piece in pieces(data):
        tail += piece
        end = sse.last_boundary(tail)
        assert 0 <= end <= len(tail)
        events += [sse.data_of(event) for event in sse.split(tail[:end])]
        tail = tail[end:]
    assert [event for event in events if event] == _standard(data)
    assert b"".join(sse.split(data)) == data


def _framed(block: bytes, payload: bytes) -> bytes:
    """A frame with these bytes for headers, its checksums right."""
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    frame = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return frame + struct.pack(">I", crc32(frame))


def read_eventstream(data: bytes) -> None:
    """Any split gives the same frames, or the same refusal; headers that are read are written as they were.

    The first byte: 0: the bytes as they are; otherwise they are headers and payloads, and get checksums that are right.
    """
    if data[:1] > b"\0":
        blocks = data[1:].split(b"\xff\xfe")
        data = b"".join(_framed(block, payload) for block, payload in zip(blocks[::2], [*blocks[1::2], b""], strict=False))
    heard = _fed(eventstream.Reader().feed, [data])
    again = _fed(eventstream.Reader().feed, pieces(data))
    assert heard == again
    for message in heard or ():
        encoded = eventstream.encode(message.headers, message.payload)
        assert eventstream.Reader().feed(encoded) == [message]


def _fed(feed: Callable[[bytes], list[Item]], chunks: Iterable[bytes]) -> list[Item] | None:
    """What came out; ``None``: it was refused."""
    heard: list[Item] = []
    try:
        for chunk in chunks:
            heard += feed(chunk)
    except ProviderError:
        return None
    return heard


# --- what clients send -------------------------------------------------------------------------------------------------

_METHOD = gemini.Method(endpoint="generateContent", model="m", stream=False, array=False)


def pass_gate(data: bytes) -> None:
    """A body is admitted or refused; what is admitted means the same to another parser, and with another model spliced in.

    The first byte: whose protocol it is.
    """
    which, body = data[:1], data[1:]
    endpoint = CLIENTS[which[0] % len(CLIENTS)] if which else CLIENTS[0]
    method = _METHOD if endpoint == "generateContent" else None
    try:
        head = heads.admit(body, endpoint, method)
    except (InvalidJson, InvalidRequest):
        return
    meant = json.loads(body)
    assert _same(msgspec.json.decode(body), meant)
    left = {name: value for name, value in meant.items() if name not in head.ours}
    if head.ours:
        body = without(body, head.ours)
        assert _same(json.loads(body), left)
    if method is None:
        assert head.model == meant["model"]
        assert head.stream is bool(meant.get("stream"))
        assert _same(json.loads(with_model(body, 'a "b"')), {**left, "model": 'a "b"'})


def _same(one: Any, other: Any) -> bool:
    """Whether two values of JSON are equal; a whole number that is too large for one parser is a fraction there."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, int) and not isinstance(other, bool):
        return one == float(other)
    return type(one) is type(other) and bool(one == other)


def read_request(data: bytes) -> None:
    """A request that is understood can be said to every provider, or is refused by its field.  The first byte: as above."""
    endpoint = CLIENTS[data[0] % len(CLIENTS)] if data else CLIENTS[0]
    try:
        fields = json.loads(data[1:])
    except (ValueError, RecursionError):
        return
    if not isinstance(fields, dict):
        return
    try:
        asked = codec(endpoint).decode_request(fields, "m", False)
        asked = codec(endpoint).leave(asked)
    except (Malformed, Unsupported):
        return
    for other, _ in CHATS.values():
        try:
            said = codec(other).encode_request(asked, ABILITY)
        except Unsupported:
            continue
        msgspec.json.encode(said)


# --- what providers answer -----------------------------------------------------------------------------------------------


def _decoded(decoder: Decoder, chunks: Iterable[bytes]) -> list[Event] | None:
    heard = _fed(decoder.feed, chunks)
    return None if heard is None else [*heard, *decoder.finish()]


def _tapped(endpoint: Endpoint, semantics: Semantics, chunks: Iterable[bytes]) -> tuple[object, ...] | None:
    """What a client is passed on of a stream, and what is metered of it; ``None``: it was refused."""
    tap = WIRES[endpoint].tap
    assert tap is not None
    reader = tap(True, semantics)
    out = b""
    try:
        for chunk in chunks:
            out += reader.feed(chunk)
        is_whole = reader.finish()
    except InvalidResponse:
        return None
    # One blank line more or less says nothing.
    heard, last = ([data for event in sse.split(said) if (data := sse.data_of(event))] for said in (out, reader.closing))
    return heard, last, reader.usage, reader.usage_raw, reader.model, reader.done, is_whole, reader.error


def answered(name: str) -> Target:
    """Of a provider's stream any split says the same, and every client can be told it in its own words."""
    endpoint, vendor = CHATS[name]
    semantics = semantics_of(vendor, endpoint)
    provider = codec(endpoint)

    def target(data: bytes) -> None:
        if endpoint == "converse":
            data = framed(data)
        heard = _decoded(provider.decoder(semantics), [data])
        assert heard == _decoded(provider.decoder(semantics), pieces(data))
        if WIRES[endpoint].tap is not None:
            assert _tapped(endpoint, semantics, [data]) == _tapped(endpoint, semantics, pieces(data))
        if heard:
            for client in CLIENTS:
                _told(data, client)

    def _told(data: bytes, client: Endpoint) -> None:
        reader = Translated(provider.decoder(semantics), codec(client).encoder, TOLD)
        try:
            out = b"".join([*map(reader.feed, pieces(data))])
            is_whole = reader.finish()
        except InvalidResponse:
            return
        events = _decoded(codec(client).decoder(semantics_of("openai", client)), [out + reader.closing])
        assert events is not None, f"a client of {client} cannot read what it was told"
        if is_whole and reader.error is None and out:
            assert isinstance(events[-1], Ended | Failed), f"a client of {client} is not told the end"

    return target


def framed(data: bytes) -> bytes:
    """Lines of a type and a payload as an event stream; an exception's type begins with ``!``."""
    frames = []
    for line in data.split(b"\n"):
        kind, _, payload = line.partition(b" ")
        name = kind.decode("latin-1")
        headers: Mapping[str, str] = {":message-type": "event", ":event-type": name}
        if name.startswith("!"):
            headers = {":message-type": "exception", ":exception-type": name[1:]}
        if len(name) < 256:
            frames.append(eventstream.encode(headers, payload))
    return b"".join(frames)


def read_answer(data: bytes) -> None:
    """A provider's whole answer is understood or refused, and every client can be told it.  The first byte: whose it is."""
    endpoint, vendor = list(CHATS.values())[data[0] % len(CHATS)] if data else CHATS["chat"]
    semantics = semantics_of(vendor, endpoint)
    for client in CLIENTS:
        if client == endpoint:
            # It is passed on as it came.
            continue
        try:
            _, body = whole(data[1:], upstream=endpoint, client=client, semantics=semantics, told=TOLD)
        except InvalidResponse:
            continue
        codec(client).decode_answer(body, semantics_of("openai", client))


TARGETS: dict[str, Target] = {
    "sse": read_sse,
    "eventstream": read_eventstream,
    "gate": pass_gate,
    "requests": read_request,
    "answers": read_answer,
    **{name: answered(name) for name in CHATS},
}


# --- where to begin ------------------------------------------------------------------------------------------------------

_OTHERS = ("anthropic", "bedrock", "cohere", "gemini", "vertex")
SEED_MAX_BYTES = 8_192


def seeds(name: str) -> Iterator[bytes]:
    """Inputs to begin with, of recorded traffic; none is longer than 8 KiB."""
    for seed in _seeds(name):
        if len(seed) <= SEED_MAX_BYTES:
            yield seed


def _seeds(name: str) -> Iterator[bytes]:
    every = [it for provider in (*PROVIDERS, *_OTHERS) for it in recordings(provider)]
    streams = [it for it in every if it.streamed]
    match name:
        case "sse":
            yield from (_short(sse.split(it.body)) for it in streams if it.provider != "bedrock")
        case "eventstream":
            yield from (b"\0" + _short(_frames_of(it.body)) for it in streams if it.provider == "bedrock")
            yield b"\1\1t\7\0\2ok\xff\xfepayload"
        case "gate" | "requests":
            for it in every:
                if (client := _endpoint_of(it)) in CLIENTS:
                    yield bytes((CLIENTS.index(client),)) + msgspec.json.encode(it.request)
        case "answers":
            order = [endpoint for endpoint, _ in CHATS.values()]
            whole_ones = [(_endpoint_of(it), it.body) for it in every if not it.streamed]
            yield from (bytes((order.index(at),)) + body for at, body in whole_ones if at in order)
        case "bedrock":
            for it in streams:
                if it.provider == "bedrock":
                    heard = eventstream.Reader().feed(it.body)
                    yield _short([it.headers.get(":event-type", "").encode() + b" " + it.payload + b"\n" for it in heard])
        case "cohere":
            yield from (WORDS, CALLS)
        case _:
            yield from (_short(sse.split(it.body)) for it in streams if _endpoint_of(it) == CHATS[name][0])


def _short(events: list[bytes]) -> bytes:
    """A stream without its middle: as many events from its ends as there is room for."""
    room = SEED_MAX_BYTES - 1
    kept = []
    for at in sorted(range(len(events)), key=lambda at: min(at, len(events) - 1 - at)):
        room -= len(events[at])
        if room < 0:
            break
        kept.append(at)
    return b"".join(events[at] for at in sorted(kept))


def _frames_of(body: bytes) -> list[bytes]:
    return [eventstream.encode(it.headers, it.payload) for it in eventstream.Reader().feed(body)]


def _endpoint_of(recording: Recording) -> str:
    if recording.provider == "bedrock":
        return "converse"
    if recording.provider == "cohere":
        return "v2/chat"
    return "generateContent" if "enerateContent" in recording.endpoint else recording.endpoint
