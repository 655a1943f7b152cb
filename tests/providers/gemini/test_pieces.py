"""Gemini's rarer shapes of streams: an array of elements becomes events, pieces of arguments become a call."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import sse
from providers.canonical import Delta, Ended, Event, Finished, Malformed, PartStarted, ToolCall
from providers.errors import InvalidResponse
from providers.gemini.pieces import Events, Pieces
from providers.gemini.stream import Decoder
from providers.gemini.tap import Tap
from providers.usage import semantics_of
from tests.recordings import Recording, recordings

STREAMS = [
    it for name in ("gemini", "vertex") for it in recordings(name) if "enerateContent" in it.endpoint and it.streamed
]  # fmt: skip


def data_of(body: bytes) -> list[Any]:
    """The JSON of the body's events."""
    return [json.loads(sse.data_of(event)) for event in sse.split(body) if event.strip()]


def fed(body: bytes, cuts: list[int]) -> bytes:
    events = Events()
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    return b"".join(events.feed(body[start:end]) for start, end in itertools.pairwise(places))


def decoded(body: bytes) -> list[Event]:
    decoder = Decoder()
    return [*decoder.feed(body), *decoder.finish()]


# --- one array instead of events -----------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('"\\{}[], \n\r\u2028aé😀', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('"\\{}[]a', max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.dictionaries(st.text('"\\}a', max_size=3), VALUES, max_size=3), max_size=4),
    st.lists(st.integers(0, 400), max_size=6),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_each_element_of_an_array_is_an_event_however_it_is_split(
    elements: list[Any], cuts: list[int], indent: int | None, plain: bool
) -> None:
    text = json.dumps(elements, indent=indent, ensure_ascii=plain).replace("\n", "\r\n" if indent else "\n")
    body = b"\n " + text.encode()

    assert data_of(fed(body, cuts)) == elements


@pytest.mark.parametrize("recording", STREAMS[::7], ids=lambda recording: recording.id)
def test_a_recorded_stream_says_the_same_as_one_array(recording: Recording) -> None:
    elements = data_of(recording.body.replace(b"\r\n", b"\n"))
    chance = random.Random(recording.id)  # noqa: S311  # where to cut, no secret
    body = json.dumps(elements, indent=2, ensure_ascii=False).encode()
    tap = Tap(semantics_of("gemini", "generateContent"))

    passed = b"".join(tap.feed(body[at : at + 100]) for at in range(0, len(body), 100))
    whole = tap.finish()

    assert decoded(body) == decoded(recording.body)
    assert data_of(fed(body, [chance.randrange(len(body)) for _ in range(9)])) == elements
    assert whole and data_of(passed + tap.closing) == elements


def test_events_pass_as_they_are() -> None:
    body = b': {"a": [1]}\r\n\r\ndata: {"a": [1]}\r\n\r\n'

    assert fed(body, [1, 7, 20]) == body


def test_an_object_that_stands_alone_is_an_event() -> None:
    assert data_of(fed(b'\n{"error": {"code": 429}}', [3])) == [{"error": {"code": 429}}]


def test_an_element_that_does_not_end_is_refused() -> None:
    events = Events()
    events.feed(b'[{"text": "')

    with pytest.raises(InvalidResponse, match="8 MiB"):
        for _ in range(9):
            events.feed(b"a" * 1024 * 1024)


def test_an_array_that_is_cut_off_is_no_whole_stream() -> None:
    body = b'[{"candidates": [{"content": {"parts": [{"text": "a"}]}}]}, {"candidates": [{"fini'

    assert not any(isinstance(event, Ended) for event in decoded(body))


# --- arguments in pieces -------------------------------------------------------------------------------------------------


def call(pieces: list[dict[str, Any]]) -> Any:
    made = Pieces(ToolCall(id="a", name="f", arguments=""))
    for piece in pieces:
        made.add([piece])
    return json.loads(made.arguments())


def test_pieces_are_put_where_they_say() -> None:
    made = call(
        [
            {"jsonPath": "$.city", "stringValue": "Bos", "willContinue": True},
            {"jsonPath": "$.city", "stringValue": "ton"},
            {"jsonPath": "$.items[0].name", "stringValue": "é😀"},
            {"jsonPath": "$.items[1].count", "numberValue": 2.5},
            {"jsonPath": "$.items[1].sure", "boolValue": False},
            {"jsonPath": "$['a b'].none", "nullValue": "NULL_VALUE"},
            {"jsonPath": '$["c.d"][0][1]', "stringValue": ""},
        ]
    )

    assert made == {
        "city": "Boston",
        "items": [{"name": "é😀"}, {"count": 2.5, "sure": False}],
        "a b": {"none": None},
        "c.d": [[None, ""]],
    }


def test_a_text_that_is_whole_is_not_added_to() -> None:
    assert call([{"jsonPath": "$.a", "stringValue": "x"}, {"jsonPath": "$.a", "stringValue": "y"}]) == {"a": "y"}


@pytest.mark.parametrize(
    "path", ["", "$", "a", "$.", "$.a[", "$..a", "$[0]", "$.a[999999]", "$.a[x]", "$.s.t", "$" + ".a" * 100]
)
def test_a_place_that_there_is_not_is_refused(path: str) -> None:
    with pytest.raises(Malformed):
        call([{"jsonPath": "$.s", "stringValue": "x"}, {"jsonPath": path, "stringValue": "y"}])


def event(*parts: dict[str, Any], **more: Any) -> bytes:
    said = {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **more}]}
    return b"data: " + json.dumps(said).encode() + b"\r\n\r\n"


def piece(name: str = "", /, **said: Any) -> dict[str, Any]:
    return {"functionCall": {**({"name": name} if name else {}), **said}}


def place(path: str, **value: Any) -> dict[str, Any]:
    return piece(partialArgs=[{"jsonPath": path, **value}], willContinue=True)


def calls(events: list[Event]) -> list[tuple[str, str, str]]:
    """Name, arguments and seal of each call."""
    begun = [it for it in events if isinstance(it, PartStarted) and isinstance(it.part, ToolCall)]
    texts = {
        it.index: "".join(more.arguments for more in events if isinstance(more, Delta) and more.index == it.index)
        for it in begun
    }
    return [(it.part.name, texts[it.index], it.part.signature) for it in begun if isinstance(it.part, ToolCall)]


def test_a_call_in_pieces_is_one_call() -> None:
    body = (
        event({"text": "thinking", "thought": True})
        + event(piece("plain"))
        + event({**piece("f", willContinue=True), "thoughtSignature": "seal"})
        + event(place("$.a", stringValue="x", willContinue=True))
        + event(place("$.a", stringValue="y"))
        + event(piece())
        + event(piece("g", willContinue=True))
        + event(place("$.b", numberValue=1))
        + event(piece(), finishReason="STOP")
    )

    events = decoded(body)

    assert calls(events) == [("plain", "{}", ""), ("f", '{"a":"xy"}', "seal"), ("g", '{"b":1}', "")]
    assert [it.finish for it in events if isinstance(it, Finished)] == ["tool_calls"]
    assert len({it.part.id for it in events if isinstance(it, PartStarted) and isinstance(it.part, ToolCall)}) == 3


@pytest.mark.parametrize("after", [event({"text": ""}, finishReason="STOP"), event(finishReason="STOP"), event(piece("h"))])
def test_a_call_in_pieces_ends_where_something_else_begins(after: bytes) -> None:
    body = event(piece("f", willContinue=True)) + event(place("$.a", boolValue=True)) + after

    assert calls(decoded(body))[0] == ("f", '{"a":true}', "")


def test_a_piece_that_leads_nowhere_is_no_answer() -> None:
    body = event(piece("f", willContinue=True)) + event(place("a", boolValue=True))

    with pytest.raises(InvalidResponse):
        decoded(body)
