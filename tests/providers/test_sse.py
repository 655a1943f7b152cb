"""Framing: laws that hold for any stream, however it was cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providers import sse

BOM = b"\xef\xbb\xbf"
LINES = st.sampled_from(
    [
        b"data: one",
        b"data:two",
        b"data:  three ",
        b"data",
        b"data:",
        b"data: [DONE]",
        b'data: {"a":"b: c"}',
        b"data: \xe2\x82\xac",
        b": comment",
        b":",
        b"event: ping",
        b"id: 1",
        b"retry: 10",
        b"dataset: no",
        b" data: no",
        b"unknown",
        b"",
    ]
)
ENDINGS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Any lines with any ends, closed by an event that has no data."""
    endings = draw(st.sampled_from([ENDINGS, st.just(b"\n"), st.just(b"\r\n"), st.just(b"\r")]))
    lines = draw(st.lists(st.tuples(LINES, endings), max_size=16))
    return draw(st.sampled_from([b"", BOM])) + b"".join(line + end for line, end in lines) + b":\n\n"


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    stream = draw(streams())
    cuts = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=12)) | {0, len(stream)})
    return [stream[start:end] for start, end in pairwise(cuts)]


def standard(stream: bytes) -> list[bytes]:
    """What the standard's own algorithm dispatches, but for events whose data is empty."""
    *lines, _ = stream.removeprefix(BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
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


def read(chunks: list[bytes]) -> list[bytes]:
    """The events' data, as a reader gets it that keeps what is not whole."""
    events = []
    tail = b""
    for chunk in chunks:
        tail += chunk
        end = sse.last_boundary(tail)
        events += [sse.data_of(event) for event in sse.split(tail[:end])]
        tail = tail[end:]
    return [event for event in events if event]


@settings(deadline=None, max_examples=300)
@given(pieces())
@example([b"data: a\r", b"\ndata: b\r\n\r", b"\n:\n\n"])
@example([b"data: a\r\r", b"\n\ndata: b\n\n"])
@example([b"data: a\n\n\n", b"\ndata: b\n\n"])
def test_any_split_of_any_stream_gives_the_events_of_the_standard(chunks: list[bytes]) -> None:
    assert read(chunks) == standard(b"".join(chunks))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_stream_cut_at_every_byte_gives_the_same_events(end: bytes) -> None:
    stream = BOM + b": hello\n\nevent: x\ndata: one\ndata: two\n\ndata: \xe2\x82\xac\n\n\ndata: [DONE]\n\n:\n\n".replace(
        b"\n", end
    )

    bytewise = [stream[at : at + 1] for at in range(len(stream))]

    # The last lone CR may be half of an end of line, so what it ends is not read.
    assert read(bytewise) == [b"one\ntwo", b"\xe2\x82\xac", b"[DONE]"]


@settings(deadline=None, max_examples=200)
@given(st.one_of(streams(), st.lists(st.sampled_from([b"a", b"\n", b"\r"]), max_size=12).map(b"".join)))
def test_splitting_loses_and_adds_nothing(stream: bytes) -> None:
    assert b"".join(sse.split(stream)) == stream


@settings(deadline=None, max_examples=200)
@given(streams(), st.data())
def test_a_boundary_never_splits_an_event(stream: bytes, data: st.DataObject) -> None:
    prefix = stream[: data.draw(st.integers(0, len(stream)))]

    end = sse.last_boundary(prefix)

    assert standard(prefix[:end]) + standard(prefix[end:] + stream[len(prefix) :]) == standard(stream)


@settings(deadline=None, max_examples=200)
@given(streams(), st.data())
def test_a_boundary_only_moves_forward(stream: bytes, data: st.DataObject) -> None:
    shorter, longer = sorted(data.draw(st.tuples(st.integers(0, len(stream)), st.integers(0, len(stream)))))

    assert sse.last_boundary(stream[:shorter]) <= sse.last_boundary(stream[:longer]) <= longer


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", 0),
        (b"data: a", 0),
        (b"data: a\n", 0),
        (b"data: a\n\n", 9),
        (b"data: a\n\ndata: b\n", 9),
        (b"data: a\r\n\r\n", 11),
        (b"data: a\r\n\n", 10),
        (b"data: a\r\n\r", 0),
        (b"data: a\r\r", 0),
        (b"data: a\r\rdata: b", 9),
        (b"data: a\n\r", 0),
        (b"\n\n", 2),
    ],
)
def test_a_trailing_lone_carriage_return_is_no_boundary(data: bytes, end: int) -> None:
    assert sse.last_boundary(data) == end


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\r\n\r\n", b"a"),
        (b"data:  a\r\r", b" a"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"data: a\ndata\ndata: b\n\n", b"a\n\nb"),
        (b"event: x\nid: 1\ndata: a\n\n", b"a"),
        (b": data: a\n\n", b""),
        (b"event: x\n\n", b""),
        (b"database: a\n\n", b""),
        (BOM + b"data: a\n\n", b"a"),
        (b"\ndata: a\n\n", b"a"),
        (b"data: a", b"a"),
        (b"", b""),
    ],
)
def test_the_data_of_an_event(event: bytes, data: bytes) -> None:
    assert sse.data_of(event) == data
