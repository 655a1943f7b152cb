"""Large typed events pass whole, whatever pieces they come in, and their ends are learnt from."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import InvalidResponse
from providers.openai import typed_stream
from providers.openai.typed_stream import Opaque, TypedReader, added
from providers.usage import Usage, semantics_of

USAGE = {"input_tokens": 13, "output_tokens": 272, "total_tokens": 285}
ROW = semantics_of("openai", "images/generations")


def event(kind: str, *, newline: str = "\n", **fields: Any) -> bytes:
    data = json.dumps({"type": kind, "b64_json": "QUJD" * 40, **fields})
    return f"event: {kind}{newline}data: {data}{newline}{newline}".encode()


PARTIAL = event("image_generation.partial_image", partial_image_index=0)
LAST = event("image_generation.completed", usage=USAGE, size="1024x1024", quality="low")


def reader() -> TypedReader:
    return TypedReader(".completed", semantics=ROW, drawn=True, tokens_per_event=100)


def split(data: bytes, *places: int) -> list[bytes]:
    cuts = [0, *sorted({it % len(data) for it in places}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(cuts) if end > start]


@given(st.lists(st.integers(0, 10_000), max_size=30), st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_split_passes_the_same_bytes_and_holds_the_last_event_back(places: list[int], newline: str) -> None:
    data = (PARTIAL + PARTIAL + LAST).replace(b"\n", newline.encode())
    it = reader()

    passed = b"".join(it.feed(chunk) for chunk in split(data, *places))

    assert it.finish()
    assert passed + it.closing == data
    assert b"completed" not in passed
    assert it.usage is not None
    assert (it.usage.output_image, it.usage.images, it.usage.image_size) == (272, 1, "1024x1024")
    assert json.loads(it.usage_raw) == USAGE


def test_pictures_of_one_stream_are_added_up() -> None:
    it = reader()

    passed = it.feed(LAST + PARTIAL) + it.feed(LAST)

    assert it.finish()
    assert (passed, it.closing) == (LAST + PARTIAL, LAST)
    assert it.usage is not None
    assert (it.usage.images, it.usage.output_image, it.output_tokens) == (2, 544, 100)


def test_pictures_without_a_usage_are_counted() -> None:
    it = reader()

    it.feed(event("image_edit.completed"))

    assert it.usage is not None
    assert (it.usage.counted, it.usage.images) == (False, 1)


def test_a_terminator_is_held_back_with_the_last_event() -> None:
    it = reader()

    passed = it.feed(PARTIAL + LAST + b"data: [DONE]\n\n")

    assert (passed, it.closing, it.done) == (PARTIAL, LAST + b"data: [DONE]\n\n", True)
    assert it.feed(PARTIAL) == b""


def test_a_stream_without_its_end_is_not_whole() -> None:
    it = reader()

    it.feed(PARTIAL + LAST[:-1])

    assert not it.finish()
    assert it.closing == b""


@pytest.mark.parametrize(
    "error", [b'data: {"type":"error","message":"no"}\n\n', b'event: error\ndata: {"error":{"message":"no","code":"x"}}\n\n']
)
def test_an_error_event_ends_it(error: bytes) -> None:
    it = reader()

    passed = it.feed(PARTIAL + error)

    assert (passed, it.done) == (PARTIAL, True)
    assert it.error is not None
    assert it.error.message == "no"


def test_an_end_that_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidResponse):
        reader().feed(b'data: {"type":"image_generation.completed"\n\n')


def test_an_event_has_a_bound() -> None:
    it = reader()
    chunk = b"x" * (1024 * 1024)

    with pytest.raises(InvalidResponse):
        for _ in range(typed_stream.EVENT_MAX_BYTES // len(chunk) + 1):
            it.feed(chunk)


def test_speech_ends_in_a_usage_of_sound() -> None:
    it = TypedReader("speech.audio.done", semantics=semantics_of("openai", "audio/speech"))

    passed = it.feed(b'data: {"type":"speech.audio.delta","audio":"QUJD"}\n\ndata: {"type":"speech.audio.done","usage":')
    passed += it.feed(json.dumps(USAGE).encode() + b"}\n\n")

    assert it.finish()
    assert passed.count(b"data:") == 1
    assert it.usage is not None
    assert (it.usage.input_uncached, it.usage.output_audio, it.usage.output_text) == (13, 272, 0)


def test_what_is_no_events_passes_as_it_comes() -> None:
    it = Opaque()

    passed = it.feed(b"\x00data: {") + it.feed(b"\xff")

    assert (passed, it.done, it.finish(), it.done, it.closing) == (b"\x00data: {\xff", False, True, True, b"")


def test_what_two_usages_have_is_added_and_what_is_no_number_is_the_later_ones() -> None:
    first = Usage(input_uncached=1, images=1, image_size="a", cost_nusd=5, raw=b"1")

    both = added(first, Usage(input_uncached=2, images=1, image_size="b", counted=False, raw=b"2"))

    assert (both.input_uncached, both.images, both.image_size, both.counted, both.raw) == (3, 2, "b", False, b"2")
