"""What passes a stream reader, what it holds back, and what it learns; the same however the bytes were cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.errors import ErrorBody, InvalidResponse
from providers.openai.stream import EVENT_MAX_BYTES, StreamReader
from providers.provider import Endpoint
from providers.usage import Usage
from tests.recordings import Recording, every

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
STREAMS = [recording for recording in every() if recording.streamed]


class Read(msgspec.Struct, frozen=True):
    """All that a reader said of a stream."""

    passed: bytes
    closing: bytes
    done: bool
    finished: bool
    truncated: bool
    model: str
    usage: Usage | None
    usage_raw: bytes
    events: int
    output_tokens: int
    error: ErrorBody | None


def event(value: Any, end: bytes = b"\n\n") -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + end


def chunk(content: str = "", *, finish: str | None = None, **fields: Any) -> bytes:
    choices = [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]
    return event({"id": "c", "object": "chat.completion.chunk", "model": "gpt", "choices": choices, **fields})


def usage_chunk(usage: Any = USAGE) -> bytes:
    return chunk(choices=[], usage=usage)


def read(*chunks: bytes, endpoint: Endpoint = "chat/completions", strip_usage: bool = False) -> Read:
    reader = StreamReader(endpoint, strip_usage=strip_usage)
    passed = b"".join(reader.feed(piece) for piece in chunks)
    done = reader.finish()
    return Read(
        passed=passed,
        closing=reader.closing,
        done=done,
        finished=reader.finished,
        truncated=reader.truncated,
        model=reader.model,
        usage=reader.usage,
        usage_raw=reader.usage_raw,
        events=reader.events,
        output_tokens=reader.output_tokens,
        error=reader.error,
    )


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    return [stream[start:end] for start, end in pairwise([0, *sorted(at), len(stream)])]


# --- however it is cut -------------------------------------------------------------------------------------------------

CHAT = (
    b": keep-alive\n\n"
    + chunk(usage=None)
    + chunk("one € ", usage=None)
    + chunk('"[DONE]" {"usage":{}} "error"', usage=None)
    + chunk(finish="stop", usage=None)
    + usage_chunk()
    + DONE
)
RESPONSES = (
    b'event: response.created\ndata: {"type":"response.created","response":{"model":"gpt","usage":null}}\n\n'
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"response.completed"}\n\n'
    b'event: response.completed\ndata: {"type":"response.completed","response":'
    b'{"usage":{"input_tokens":9,"output_tokens":4}}}\n\n'
)
ERROR = chunk("one") + event({"error": {"message": "busy", "type": "server_error", "code": None, "more": 1}}) + chunk("late")
SAMPLES: dict[str, tuple[bytes, Endpoint]] = {
    "chat": (CHAT, "chat/completions"),
    "chat by CRLF": (CHAT.replace(b"\n", b"\r\n"), "chat/completions"),
    "chat by CR": (CHAT.replace(b"\n", b"\r"), "chat/completions"),
    "chat that goes on": (CHAT + chunk("late") + DONE, "chat/completions"),
    "chat without its end": (CHAT.removesuffix(DONE), "chat/completions"),
    "chat without its last blank line": (CHAT.rstrip(b"\n"), "chat/completions"),
    "error": (ERROR, "chat/completions"),
    "responses": (RESPONSES, "responses"),
    "responses that go on": (RESPONSES + DONE, "responses"),
}


@pytest.mark.parametrize("strip_usage", [True, False])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_cut_at_any_byte_changes_nothing(name: str, strip_usage: bool) -> None:
    stream, endpoint = SAMPLES[name]
    whole = read(stream, endpoint=endpoint, strip_usage=strip_usage)

    for at in range(len(stream)):
        assert read(stream[:at], stream[at:], endpoint=endpoint, strip_usage=strip_usage) == whole


@pytest.mark.parametrize("name", SAMPLES)
def test_one_byte_at_a_time_changes_nothing(name: str) -> None:
    stream, endpoint = SAMPLES[name]

    bytewise = read(*cut(stream, list(range(1, len(stream)))), endpoint=endpoint, strip_usage=True)

    assert bytewise == read(stream, endpoint=endpoint, strip_usage=True)


EVENTS = st.sampled_from(
    [
        chunk("text"),
        chunk('data: [DONE]\n\n"usage":{"a":1} "error"', usage=None),
        chunk("text", usage=USAGE),
        chunk(finish="length", usage=None),
        chunk(choices=[]),
        usage_chunk(),
        usage_chunk({"prompt_tokens": 1}),
        usage_chunk({}),
        event({"id": "c", "choices": [], "x_groq": {"id": "r", "usage": USAGE}}),
        event({"error": {"message": "busy"}}),
        event({"error": None, "choices": []}),
        b": comment\n\n",
        b"event: ping\n\n",
        b"data:\n\n",
        b'data: {"model":"gpt",\ndata: "usage": {"prompt_tokens": 5}, "choices": []}\n\n',
        DONE,
    ]
)


def test_what_follows_the_end_in_one_piece_is_not_part_of_the_answer() -> None:
    late = chunk(finish="length", usage=None)

    got = read(chunk("text"), DONE + late)

    assert (got.finished, got.truncated, got.closing) == (False, False, DONE)


@settings(deadline=None, max_examples=250)
@given(
    st.lists(EVENTS, max_size=8),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.booleans(),
    st.data(),
)
def test_any_events_in_any_pieces_read_as_in_one(events: list[bytes], end: bytes, strip: bool, data: st.DataObject) -> None:
    stream = b"".join(events).replace(b"\n", end)
    at = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))

    pieces = read(*cut(stream, at), strip_usage=strip)

    assert pieces == read(stream, strip_usage=strip)


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_recorded_stream_passes_whole_in_any_pieces(recording: Recording) -> None:
    endpoint: Any = recording.endpoint
    stream = recording.body

    whole = read(stream, endpoint=endpoint)
    pieces = [
        read(*(stream[at : at + size] for at in range(0, len(stream), size)), endpoint=endpoint) for size in (7, 64, 1021)
    ]

    assert pieces == [whole] * len(pieces)
    assert whole.passed + whole.closing == stream
    assert whole.done or whole.finished
    assert (whole.usage is None) == (whole.error is not None)


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_recorded_stream_loses_at_most_its_usage_chunk(recording: Recording) -> None:
    endpoint: Any = recording.endpoint
    kept = read(recording.body, endpoint=endpoint)

    stripped = read(recording.body, endpoint=endpoint, strip_usage=True)

    taken = [it for it in kept.passed.split(b"\n\n") if it not in stripped.passed.split(b"\n\n")]
    assert [json.loads(it.removeprefix(b"data: "))["choices"] for it in taken] in ([], [[]])
    assert (stripped.usage, stripped.closing, stripped.model) == (kept.usage, kept.closing, kept.model)


# --- usage -------------------------------------------------------------------------------------------------------------


def test_the_usage_chunk_that_came_only_because_we_asked_is_taken_out() -> None:
    got = read(chunk("a") + chunk(finish="stop") + usage_chunk() + DONE, strip_usage=True)

    assert got.passed == chunk("a") + chunk(finish="stop")
    assert got.closing == DONE
    assert got.usage_raw == json.dumps(USAGE, separators=(",", ":")).encode()


def test_the_usage_chunk_that_the_client_asked_for_stays() -> None:
    got = read(chunk("a") + usage_chunk() + DONE, strip_usage=False)

    assert got.passed == chunk("a") + usage_chunk()
    assert got.usage is not None


@pytest.mark.parametrize(
    "kept",
    [
        chunk("text", usage=USAGE),
        chunk(finish="stop", usage=USAGE),
        chunk(choices=[], usage=None),
        event({"id": "c", "choices": [], "prompt_filter_results": []}),
        event({"id": "c", "choices": [], "x_groq": {"usage": USAGE}}),
        event({"id": "c", "usage": USAGE}),
        event({"id": "c", "choices": None, "usage": USAGE}),
        event({"id": "c", "choices": [[]], "usage": None}),
    ],
)
def test_what_holds_more_than_usage_is_never_taken_out(kept: bytes) -> None:
    got = read(chunk("a"), kept, DONE, strip_usage=True)

    assert got.passed == chunk("a") + kept


@pytest.mark.parametrize("empty", [b"[]", b"[ ]", b"[\t]"])
def test_a_usage_chunk_is_one_whatever_its_white_space(empty: bytes) -> None:
    spaced = b'data: {"choices" : ' + empty + b', "usage" : {"prompt_tokens": 9, "completion_tokens": 4}}\n\n'

    got = read(chunk("a") + spaced + DONE, strip_usage=True)

    assert got.passed == chunk("a")
    assert got.usage is not None
    assert (got.usage.input_tokens, got.usage.output_tokens) == (9, 4)


def counts(got: Read) -> tuple[int, int] | None:
    return None if got.usage is None else (got.usage.input_tokens, got.usage.output_tokens)


def so_far(output: int) -> dict[str, int]:
    return {"prompt_tokens": 9, "completion_tokens": output}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([chunk("a", usage=so_far(1)), chunk("b", usage=so_far(2)), chunk("c", usage=so_far(3))], (9, 3)),
        ([chunk("a", usage=so_far(3)), chunk("b"), chunk("c", usage=None)], (9, 3)),
        ([usage_chunk(so_far(3)), usage_chunk(so_far(3))], (9, 3)),
        ([chunk("a", usage=None), chunk("b", usage=None)], None),
        ([chunk("a"), event({"choices": [], "x_groq": {"usage": so_far(3)}})], (9, 3)),
        ([chunk("a"), event({"choices": [], "usage": so_far(4), "x_groq": {"usage": so_far(4)}})], (9, 4)),
        ([chunk("a", usage={"prompt_tokens": -1}), chunk("b")], None),
    ],
    ids=["in every chunk", "first", "twice", "null", "x_groq", "both places", "absurd"],
)
def test_the_last_usage_counts_and_none_is_added_to_another(events: list[bytes], expected: tuple[int, int] | None) -> None:
    assert counts(read(*events, DONE)) == expected


@pytest.mark.parametrize("nonsense", [{}, {"prompt_tokens": None}, {"prompt_tokens": -5}, {"prompt_tokens": "many"}])
def test_nonsense_after_a_credible_usage_does_not_erase_it(nonsense: Any) -> None:
    got = read(chunk("a", usage=USAGE), usage_chunk(nonsense), DONE)

    assert counts(got) == (9, 4)
    assert json.loads(got.usage_raw) == USAGE


# --- text that looks like structure ------------------------------------------------------------------------------------

TRAPS = [
    "[DONE]",
    "data: [DONE]\n\n",
    '"usage":{"prompt_tokens":1}',
    '{"usage": {',
    '"error"',
    '"error":{"message":"no"}',
    '"finish_reason":"stop"',
]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.one_of(st.text(), st.sampled_from(TRAPS), st.tuples(st.text(), st.sampled_from(TRAPS)).map("".join))))
def test_text_is_never_taken_for_structure(texts: list[str]) -> None:
    arguments = event({"choices": [{"delta": {"tool_calls": [{"function": {"arguments": json.dumps(texts)}}]}}]})
    stream = b"".join(map(chunk, [text.encode("utf-8", "replace").decode() for text in texts])) + arguments

    got = read(stream, DONE, strip_usage=True)

    assert got.passed == stream
    assert (got.closing, got.error, got.usage, got.finished) == (DONE, None, None, False)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.builds(chunk, st.text() | st.sampled_from(TRAPS) | st.just('","usage":{"prompt_tokens":1},"x":"')),
            st.builds(chunk, st.text(max_size=3), obfuscation=st.text("abc")),
            st.builds(chunk, st.sampled_from(["", "a", "b"]), finish=st.sampled_from(["stop", "length", None])),
            st.sampled_from([usage_chunk(), DONE, b": ping\n\n", event({"error": {"message": "no"}})]),
        ),
        max_size=12,
    )
)
def test_events_that_come_one_by_one_read_as_in_one_piece(events: list[bytes]) -> None:
    assert read(*events) == read(b"".join(events))


def test_half_an_event_that_looks_like_the_one_before_waits_for_the_rest() -> None:
    got = [StreamReader("chat/completions", strip_usage=False), StreamReader("chat/completions", strip_usage=False)]
    events = [chunk("a"), chunk("b"), chunk("c")]

    passed = [[got[0].feed(it) for it in (*events, events[2][:-1])], [got[1].feed(it) for it in (*events, events[2][:40])]]

    assert passed == [[*events, b""], [*events, b""]]
    assert got[0].feed(b"\n") == events[2]


def test_a_text_with_a_blank_line_is_not_json() -> None:
    with pytest.raises(InvalidResponse):
        read(chunk("a"), chunk("b"), chunk("c").replace(b'"c"}', b'"x\n\nc"}'))


@pytest.mark.parametrize("token", ["error", "usage", "[DONE]", "model"])
def test_a_token_that_is_a_field_name_is_a_token(token: str) -> None:
    logprobs = {"content": [{"token": token, "logprob": -0.1, "bytes": None, "top_logprobs": [{"token": token}]}]}
    listed = chunk("a", choices=[{"index": 0, "delta": {"content": token}, "logprobs": logprobs}])

    got = read(chunk("a") + listed + DONE, strip_usage=True)

    assert got.passed == chunk("a") + listed
    assert (got.done, got.error, got.usage) == (True, None, None)


# --- its end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [DONE, b"data:[DONE]\n\n", b"data: [DONE] \r\n\r\n", b"event: end\ndata: [DONE]\n\n"])
def test_the_terminator_is_held_back_as_it_came(done: bytes) -> None:
    got = read(chunk("a"), done)

    assert (got.passed, got.closing, got.done) == (chunk("a"), done, True)


def test_what_follows_the_terminator_is_dropped() -> None:
    late = chunk("late", usage={"prompt_tokens": 10**6})

    got = [read(chunk("a") + DONE + late), read(chunk("a") + DONE, late), read(chunk("a"), DONE + late, DONE)]

    assert [(it.passed, it.closing, it.usage) for it in got] == [(chunk("a"), DONE, None)] * 3


@pytest.mark.parametrize("end", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r\n\r", b"data: [DONE]\r\r"])
def test_a_terminator_without_its_blank_line_is_one(end: bytes) -> None:
    got = read(chunk("a"), end)

    assert (got.done, got.closing) == (True, DONE)


@pytest.mark.parametrize("tail", [b"", b"data: [DO", chunk("half")[:-1], b": comment"])
def test_an_unfinished_event_is_dropped_and_is_no_end(tail: bytes) -> None:
    got = read(chunk("a"), tail)

    assert (got.passed, got.closing, got.done, got.finished) == (chunk("a"), b"", False, False)


@pytest.mark.parametrize(("finish", "finished"), [("stop", True), ("tool_calls", True), (None, False)])
def test_a_finish_reason_is_remembered_for_a_stream_without_its_terminator(finish: str | None, finished: bool) -> None:
    got = read(chunk("a", finish=finish))

    assert (got.done, got.finished) == (False, finished)


@pytest.mark.parametrize(("finish", "truncated"), [("length", True), ("model_length", True), ("stop", False), (None, False)])
def test_an_answer_that_came_to_its_length_is_truncated(finish: str | None, truncated: bool) -> None:
    events = (chunk("a"), chunk("b"), chunk("c", finish=finish), usage_chunk())

    assert (read(*events).truncated, read(b"".join(events)).truncated) == (truncated, truncated)


def test_a_text_that_speaks_of_truncation_is_not_truncated() -> None:
    told = '"finish_reason":"length", "reason": "max_output_tokens"'

    assert not read(chunk("a"), chunk(told, finish="stop"), DONE).truncated


@pytest.mark.parametrize(
    ("kind", "reason", "truncated"),
    [
        ("response.incomplete", "max_output_tokens", True),
        ("response.incomplete", "content_filter", False),
        ("response.completed", None, False),
    ],
)
def test_a_response_that_came_to_its_length_is_truncated(kind: str, reason: str | None, truncated: bool) -> None:
    details = None if reason is None else {"reason": reason}
    said = {"model": "gpt", "incomplete_details": details, "max_output_tokens": 16, "usage": None}

    assert read(event({"type": kind, "response": said}), endpoint="responses").truncated == truncated


def test_a_finish_reason_beside_the_usage_is_seen() -> None:
    assert read(chunk("a"), chunk(finish="stop", usage=USAGE)).finished


def test_the_events_that_carry_data_are_counted() -> None:
    got = read(b": hello\n\n" + chunk("a") + chunk("b"), chunk("c") + usage_chunk())

    assert got.events == 4


@pytest.mark.parametrize(
    ("texts", "least", "most"),
    [(["a"] * 10, 10, 10), (["word " * 1000], 1000, 1300), (["a", "word " * 100, "b"], 3, 130)],
)
def test_an_event_is_a_token_at_least_and_more_if_it_is_larger_than_its_envelope(
    texts: list[str], least: int, most: int
) -> None:
    reader = StreamReader("chat/completions", strip_usage=False)

    reader.feed(b"".join(chunk(text) for text in texts))

    assert least <= reader.output_tokens <= most


def test_the_model_that_answered_is_known() -> None:
    assert read(chunk("a", model="gpt-2026-01-01"), chunk("b")).model == "gpt-2026-01-01"


@pytest.mark.parametrize("model", [None, 7, "", ["x"]])
def test_a_model_that_is_no_name_is_passed_over(model: Any) -> None:
    got = read(chunk("a", model=model), DONE)

    assert (got.passed, got.model) == (chunk("a", model=model), "?")


# --- errors ------------------------------------------------------------------------------------------------------------


def test_an_error_event_in_the_clients_shape_is_kept_as_it_came() -> None:
    said = {"message": "Failed to call a function.", "type": "invalid_request_error", "code": "tool_use_failed",
            "failed_generation": "<x>", "status_code": 400}  # fmt: skip
    last = b"event: error\n" + event({"error": said})

    got = read(chunk("a"), last + chunk("late"))

    assert (got.passed, got.closing, got.done) == (chunk("a"), last, True)
    assert got.error == ErrorBody(message="Failed to call a function.", type="invalid_request_error", code="tool_use_failed")


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"message": "busy"}},
        {"error": {"code": 502, "message": "busy"}, "choices": [{"delta": {}, "finish_reason": "error"}]},
        {"error": "busy"},
    ],
)
def test_an_error_event_in_another_shape_ends_the_stream_and_is_not_passed_on(said: Any) -> None:
    got = read(chunk("a"), event(said), chunk("late"), DONE)

    assert (got.passed, got.closing, got.done) == (chunk("a"), b"", True)
    assert got.error is not None
    assert got.error.message == "busy"


def test_an_error_event_with_half_a_character_ends_the_stream_and_is_not_passed_on() -> None:
    got = read(chunk("a"), b'data: {"error":{"message":"bu\x8csy"}}\n\n')

    assert (got.passed, got.closing, got.done) == (chunk("a"), b"", True)
    assert got.error is not None


def test_an_event_of_eight_mebibytes_is_too_large() -> None:
    reader = StreamReader("chat/completions", strip_usage=False)
    reader.feed(b"data: " + b"a" * (EVENT_MAX_BYTES - 6))

    with pytest.raises(InvalidResponse, match="8 MiB"):
        reader.feed(b"a")


def test_many_events_are_no_large_event() -> None:
    large = chunk("a" * 65_000)

    got = read(*[large] * 200)

    assert len(got.passed) == len(large) * 200 > EVENT_MAX_BYTES


@pytest.mark.parametrize(
    "data", [b"not JSON", b'{"model":', b"[1]", b'{"model":"\xff"}', b"[" * 100_000, b'{"a":' + b"[" * 100_000]
)
def test_a_first_event_that_is_not_what_the_protocol_promises_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidResponse):
        read(b"data: " + data + b"\n\n")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("alone", [True, False])
def test_an_event_that_is_no_json_object_is_refused_alone_or_among_others(end: bytes, alone: bool) -> None:
    events = [it.replace(b"\n", end) for it in (chunk("a"), b"data: upstream error\n\n", chunk("b"))]

    with pytest.raises(InvalidResponse):
        read(*(events if alone else [b"".join(events)]))


def test_an_event_with_usage_that_is_not_json_is_refused() -> None:
    with pytest.raises(InvalidResponse):
        read(chunk("a"), b'data: {"usage":{"prompt_tokens":1}\n\n')


@settings(deadline=None, max_examples=400)
@given(st.lists(st.one_of(EVENTS, st.binary(max_size=40)), max_size=6), st.sampled_from(["chat/completions", "responses"]))
def test_any_bytes_are_passed_or_refused(chunks: list[bytes], endpoint: Endpoint) -> None:
    try:
        got = read(*chunks, endpoint=endpoint)
    except InvalidResponse:
        return

    assert len(got.passed) + len(got.closing) <= len(b"".join(chunks)) + 2
    assert b"".join(chunks).startswith(got.passed)


# --- the Responses API -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_a_response_ends_by_an_event_of_its_own(kind: str) -> None:
    usage = {"input_tokens": 9, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 3}}
    first = event({"type": "response.created", "response": {"model": "gpt-5", "usage": None}})
    delta = event({"type": "response.output_text.delta", "delta": f"{kind} [DONE]"})
    last = b"event: " + kind.encode() + b"\n" + event({"type": kind, "response": {"error": None, "usage": usage}})

    got = read(first + delta, last, endpoint="responses", strip_usage=True)

    assert (got.passed, got.closing, got.done, got.finished) == (first + delta, last, True, True)
    assert (got.model, counts(got)) == ("gpt-5", (9, 4))
    assert (got.error is not None) == (kind == "response.failed")


@pytest.mark.parametrize(
    "chunks", [(RESPONSES + DONE,), (RESPONSES, DONE), (RESPONSES + DONE[:5], DONE[5:]), (RESPONSES[:-1], b"\n" + DONE)]
)
def test_a_terminator_after_the_end_of_a_response_is_kept(chunks: tuple[bytes, ...]) -> None:
    got = read(*chunks, endpoint="responses")

    assert got.passed + got.closing == RESPONSES + DONE
    assert got.closing.startswith(b"event: response.completed")


def test_what_follows_the_end_of_a_response_is_bounded() -> None:
    reader = StreamReader("responses", strip_usage=False)
    reader.feed(RESPONSES)

    for _ in range(300):
        reader.feed(b"x" * 65_536)

    assert len(reader.closing) < EVENT_MAX_BYTES + 65_536 + len(RESPONSES)


@pytest.mark.parametrize(
    "said", [{"type": "error", "code": "server_error", "message": "busy", "param": None}, {"error": {"message": "busy"}}]
)
def test_an_error_event_ends_a_response(said: Any) -> None:
    first = event({"type": "response.created", "response": {"model": "gpt-5"}})

    got = read(first, event(said), DONE, endpoint="responses")

    assert (got.passed, got.closing, got.done) == (first, b"", True)
    assert got.error is not None
    assert got.error.message == "busy"


def test_usage_may_stand_in_the_choice() -> None:
    last = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}
    body = chunk("a") + chunk(choices=[last]) + DONE

    got = read(body)

    assert got.passed + got.closing == body
    assert got.usage is not None and (got.usage.input_tokens, got.usage.output_tokens) == (9, 4)
    assert json.loads(got.usage_raw) == USAGE


def test_usage_beside_an_error_is_read() -> None:
    got = read(chunk("a") + chunk(error={"code": 400, "message": "Token limit reached"}, usage=USAGE))

    assert got.error is not None and got.error.message == "Token limit reached"
    assert got.usage is not None and got.usage.input_tokens == 9
