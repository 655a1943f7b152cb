"""What a whole answer says of itself, and what an error says, whatever its shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providers.errors import ErrorBody, InvalidResponse, RefusedInBody
from providers.openai.response import MESSAGE_MAX, decode, error_body
from tests.recordings import Recording, every

ANSWERS = [recording for recording in every() if recording.status == 200 and not recording.streamed]
ERRORS = [recording for recording in every() if recording.status >= 400]

UNREADABLE = "The upstream sent an error without a readable message."
SILENT = "The upstream sent an error without a message."


# --- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recording", ANSWERS, ids=lambda recording: recording.id)
def test_a_recorded_answer_has_its_model_and_its_usage(recording: Recording) -> None:
    said = json.loads(recording.body)

    answer = decode(recording.body)

    assert answer.model == said.get("model", "")
    assert (answer.usage is None) == (said.get("usage") is None)
    assert json.loads(answer.usage_raw or b"null") == said.get("usage")
    assert answer.usage_raw in recording.body


@pytest.mark.parametrize(
    ("body", "truncated"),
    [
        ({"choices": [{"finish_reason": "length"}]}, True),
        ({"choices": [{"finish_reason": "stop"}, {"finish_reason": "length"}]}, True),
        ({"choices": [{"finish_reason": "model_length"}]}, True),
        ({"choices": [{"finish_reason": "stop", "message": {"content": '"finish_reason":"length"'}}]}, False),
        ({"choices": [{"finish_reason": "stop"}], "length": "length"}, False),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "max_output_tokens": 16}, True),
        ({"status": "completed", "incomplete_details": None, "max_output_tokens": 16}, False),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_an_answer_that_came_to_its_length_is_truncated(
    body: dict[str, Any], truncated: bool, separators: tuple[str, str]
) -> None:
    assert decode(json.dumps(body, separators=separators).encode()).truncated == truncated


def test_an_answer_without_usage_has_none() -> None:
    answer = decode(b'{"model":"gpt","choices":[]}')

    assert (answer.model, answer.usage, answer.usage_raw) == ("gpt", None, b"")


@pytest.mark.parametrize("model", ["null", "7", "[]", "{}"])
def test_a_model_that_is_no_name_is_passed_over(model: str) -> None:
    assert decode(f'{{"model":{model},"usage":null}}'.encode()).model == ""


def test_usage_that_is_not_credible_is_kept_raw() -> None:
    answer = decode(b'{"model":"gpt","usage":{"prompt_tokens":-1}}')

    assert (answer.usage, answer.usage_raw) == (None, b'{"prompt_tokens":-1}')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"model":NaN}',
        b"<html>",
        b'{"model":"\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        decode(body)


def test_an_error_inside_of_a_200_is_an_error() -> None:
    with pytest.raises(RefusedInBody) as caught:
        decode(b'{"error":{"message":"busy","type":"server_error","param":null,"code":503}}')

    assert caught.value.body == ErrorBody(message="busy", type="server_error", code="503")
    assert not caught.value.sent


def test_a_response_that_failed_after_work_has_usage_and_is_an_answer() -> None:
    answer = decode(b'{"model":"gpt","error":{"message":"late"},"usage":{"input_tokens":5,"output_tokens":1}}')

    assert answer.usage is not None


@settings(deadline=None, max_examples=400)
@given(st.binary(max_size=60))
@example(b'{"usage":{"\xff":1}}')
def test_any_bytes_are_an_answer_or_refused(body: bytes) -> None:
    try:
        answer = decode(body)
    except InvalidResponse:
        return

    assert isinstance(json.loads(body.decode("utf-8", "replace")), dict)
    assert answer.usage_raw in body


# --- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            {
                "error": {
                    "message": "too long",
                    "type": "invalid_request_error",
                    "param": "messages",
                    "code": "context_length_exceeded",
                }
            },
            ErrorBody(message="too long", type="invalid_request_error", param="messages", code="context_length_exceeded"),
        ),
        ({"error": {"message": "no", "code": 429}}, ErrorBody(message="no", code="429")),
        ({"error": {"message": "no", "code": None, "type": "", "param": []}}, ErrorBody(message="no")),
        ({"error": "not found"}, ErrorBody(message="not found")),
        ({"detail": "Not authenticated"}, ErrorBody(message="Not authenticated")),
        (
            {"detail": [{"loc": ["body", "messages"], "msg": "Field required", "type": "missing"}]},
            ErrorBody(message="Field required", type="missing"),
        ),
        (
            {"object": "error", "message": "no such model", "type": "NotFoundError", "param": None, "code": 404},
            ErrorBody(message="no such model", type="NotFoundError", code="404"),
        ),
        (
            [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}],
            ErrorBody(message="API key not valid.", code="400"),
        ),
        ({"error": {"detail": "quota"}}, ErrorBody(message="quota")),
        ({"error": [{"message": "first"}, {"message": "second"}]}, ErrorBody(message="first")),
        ("plain text", ErrorBody(message="plain text")),
        ({}, ErrorBody(message=SILENT)),
        ([], ErrorBody(message=SILENT)),
        (None, ErrorBody(message=SILENT)),
        (17, ErrorBody(message=SILENT)),
        ({"error": {}}, ErrorBody(message=SILENT)),
        ({"error": {"message": {"deep": 1}}}, ErrorBody(message=SILENT)),
        ({"error": {"message": " \n\t"}}, ErrorBody(message=SILENT)),
        ({"error": True}, ErrorBody(message=SILENT)),
    ],
)
def test_an_error_is_read_in_any_shape(said: Any, expected: ErrorBody) -> None:
    assert error_body(json.dumps(said).encode()) == expected


@pytest.mark.parametrize(
    "body", [b"", b"<html><h1>502 Bad Gateway</h1></html>", b"upstream error", b"\xff\xfe", b'{"error":', b"[" * 100_000]
)
def test_an_error_that_is_no_json_has_no_readable_message(body: bytes) -> None:
    assert error_body(body) == ErrorBody(message=UNREADABLE)


@pytest.mark.parametrize("hidden", ["\x00", "\x1b[31m", "\r\n\r\n", "\x7f", "\x85", "\u202e", "\u2066", "\u200f"])
def test_what_could_deceive_a_terminal_or_a_reader_is_taken_out(hidden: str) -> None:
    said = error_body(json.dumps({"error": {"message": f"one{hidden}two", "code": f"a{hidden}b"}}).encode())

    assert [it for it in f"{said.message}{said.code}" if not it.isprintable()] == []
    assert said.message.startswith("one ")
    assert said.message.endswith("two")


def test_a_long_message_is_cut() -> None:
    said = error_body(json.dumps({"error": {"message": "x" * 100_000, "type": "t" * 1000, "code": int("7" * 4000)}}).encode())

    assert said.message == "x" * (MESSAGE_MAX - 1) + "…"
    assert (said.type, said.code) == ("t" * 128, "7" * 128)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-(10**200), 10**200), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["error", "detail", "message", "msg", "type", "code", "param", "x"]), inner, max_size=4
        ),
    ),
    max_leaves=10,
)


@settings(deadline=None, max_examples=300)
@given(st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=40)))
def test_any_error_gives_four_short_printable_fields(body: bytes) -> None:
    said = error_body(body)

    assert 0 < len(said.message) <= MESSAGE_MAX
    for field in (said.type, said.param, said.code):
        assert field is None or 0 < len(field) <= 128
    said.message.encode()


@pytest.mark.parametrize("recording", ERRORS, ids=lambda recording: recording.id)
def test_a_recorded_error_says_why(recording: Recording) -> None:
    said = error_body(recording.body)

    assert said.message not in (SILENT, UNREADABLE)


@pytest.mark.parametrize("text", [rb"\ud83d", rb"\uDE00", rb"\ud83d\ud83d", rb"\\\ud83d"])
def test_half_a_surrogate_pair_in_the_text_does_not_hide_the_usage(text: bytes) -> None:
    answer = decode(b'{"model":"gpt","choices":[{"text":"' + text + b'"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}')

    assert answer.usage is not None
    assert (answer.model, answer.usage.input_tokens, answer.usage.output_tokens) == ("gpt", 3, 4)
