"""Framing: laws that hold for any event stream, however it was cut, and for any that was damaged."""

from __future__ import annotations

import struct
from itertools import pairwise
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import eventstream
from providers.errors import InvalidResponse
from providers.eventstream import Message, Reader

NAMES = st.text(min_size=1, max_size=20)
MESSAGES = st.builds(Message, st.dictionaries(NAMES, st.text(max_size=40), max_size=4), st.binary(max_size=200))


def encoded(messages: list[Message]) -> bytes:
    return b"".join(eventstream.encode(it.headers, it.payload) for it in messages)


def read(data: bytes, cuts: list[int]) -> tuple[list[Message], bool]:
    """What came out, and whether it was whole."""
    reader = Reader()
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    messages = [it for start, end in pairwise(places) for it in reader.feed(data[start:end])]
    return messages, not reader.inside


@settings(deadline=None)
@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(0, 10_000), max_size=20))
def test_however_the_bytes_are_split_the_frames_are_the_same(messages: list[Message], cuts: list[int]) -> None:
    assert read(encoded(messages), cuts) == (messages, True)


@settings(deadline=None)
@given(
    st.lists(MESSAGES, min_size=1, max_size=3),
    st.integers(0, 10_000),
    st.integers(1, 255),
    st.lists(st.integers(0, 10_000), max_size=20),
)
def test_a_flipped_byte_never_becomes_a_frame(messages: list[Message], at: int, flip: int, cuts: list[int]) -> None:
    data = bytearray(encoded(messages))
    at %= len(data)
    data[at] ^= flip
    reader = Reader()
    heard: list[Message] = []
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]

    with pytest.raises(InvalidResponse):
        for start, end in pairwise(places):
            heard += reader.feed(bytes(data[start:end]))

    assert heard == messages[: len(heard)]
    assert len(heard) < len(messages)


def test_a_stream_that_is_cut_off_is_known_to_be() -> None:
    data = encoded([Message({":event-type": "metadata"}, b"{}")])

    assert read(data[:-1], []) == ([], False)
    assert read(data[:3], []) == ([], False)


@pytest.mark.parametrize(
    ("total", "headers"),
    [
        (15, 0),
        (16, 1),
        (16 + eventstream.PAYLOAD_MAX_BYTES + 1, 0),
        (2**32 - 1, 0),
        (200_000, eventstream.HEADERS_MAX_BYTES + 1),
    ],
)
def test_an_impossible_length_is_refused_by_its_first_bytes(total: int, headers: int) -> None:
    prelude = struct.pack(">II", total, headers)

    with pytest.raises(InvalidResponse):
        Reader().feed(prelude + struct.pack(">I", crc32(prelude)))


def framed(block: bytes) -> bytes:
    """A frame with these bytes for headers, its checksums right."""
    prelude = struct.pack(">II", 16 + len(block), len(block))
    frame = prelude + struct.pack(">I", crc32(prelude)) + block
    return frame + struct.pack(">I", crc32(frame))


def test_headers_of_other_types_are_passed_over() -> None:
    others = [(0, b""), (1, b""), (2, b"1"), (3, b"12"), (4, b"1234"), (5, b"12345678"), (6, b"\0\3abc"), (8, b"8" * 8)]
    block = b"".join(b"\1x" + bytes((kind,)) + value for kind, value in [*others, (9, b"u" * 16)])

    assert Reader().feed(framed(block + b"\1t\7\0\2ok")) == [Message({"t": "ok"}, b"")]


@pytest.mark.parametrize("block", [b"\1", b"\5ab", b"\1x\7\0", b"\1x\7\0\5ab", b"\1x\x0a", b"\1x\7\0\1\xff", b"\1\xff\0"])
def test_headers_that_cannot_be_read_are_refused(block: bytes) -> None:
    with pytest.raises(InvalidResponse):
        Reader().feed(framed(block))
