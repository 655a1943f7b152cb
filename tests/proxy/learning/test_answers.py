"""Each protocol's answers, read from what clients are sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.learning.answers import READERS, Answered, ToolCall, read


def sse(*events: Any, done: bool = False) -> bytes:
    lines = [f"data: {json.dumps(it)}\n\n" for it in events]
    return "".join([": a comment\n\n", *lines, *(["data: [DONE]\n\n"] if done else [])]).encode()


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_a_chats_choices_are_answers() -> None:
    found = read(
        "chat/completions",
        body(
            choices=[
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi", "refusal": None}},
                {"index": 1, "finish_reason": "length", "message": {"content": "Hel"}},
            ]
        ),
        stream=False,
    )

    assert found == [Answered(finish="stop", text="Hi"), Answered(finish="length", text="Hel")]


def test_a_chats_tools_and_refusals_are_seen() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
    message = {"content": None, "refusal": "I can't.", "tool_calls": [call]}

    (found,) = read("chat/completions", body(choices=[{"finish_reason": "tool_calls", "message": message}]), stream=False)

    assert found == Answered(finish="tool_calls", refused=True, text="", calls=(ToolCall("look", '{"a":1}'),))


def test_a_chats_stream_is_put_together() -> None:
    def chunk(finish: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}

    events = sse(
        chunk(role="assistant", content=""),
        chunk(content="He"),
        chunk(content="llo"),
        chunk(index=1, tool_calls=[{"index": 0, "id": "1", "function": {"name": "look", "arguments": ""}}]),
        chunk(index=1, tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}]),
        chunk(index=1, tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
        chunk("stop"),
        chunk("tool_calls", 1),
        {"choices": [], "usage": {"total_tokens": 3}},
        done=True,
    )

    assert read("chat/completions", events, stream=True) == [
        Answered(finish="stop", text="Hello"),
        Answered(finish="tool_calls", text="", calls=(ToolCall("look", '{"a":1}'),)),
    ]
    assert read("chat/completions", events, stream=True, whole=False) == [
        Answered(finish="stop"),
        Answered(finish="tool_calls"),
    ]


def test_an_old_completion_is_an_answer() -> None:
    whole = body(choices=[{"text": "Hi", "index": 0, "finish_reason": "stop"}])
    stream = sse({"choices": [{"text": "H", "index": 0}]}, {"choices": [{"text": "i", "index": 0, "finish_reason": "stop"}]})

    assert read("completions", whole, stream=False) == [Answered(finish="stop", text="Hi")]
    assert read("completions", stream, stream=True) == [Answered(finish="stop", text="Hi")]


RESPONSE: dict[str, Any] = {
    "status": "completed",
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]},
        {"type": "function_call", "name": "look", "arguments": "{}"},
    ],
}


@pytest.mark.parametrize(
    ("changes", "answers"),
    [
        ({}, [Answered(finish="tool_calls", text="Hi", calls=(ToolCall("look", "{}"),))]),
        ({"output": []}, [Answered(finish="stop", text="")]),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": []},
            [Answered(finish="length", text="")],
        ),
        (
            {"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]},
            [Answered(finish="stop", refused=True, text="")],
        ),
        ({"status": "failed"}, []),
        ({"status": "in_progress"}, []),
    ],
)
def test_a_response_is_an_answer_whole_and_as_a_stream(changes: dict[str, Any], answers: list[Answered]) -> None:
    response = {**RESPONSE, **changes}
    kind = {"incomplete": "response.incomplete", "failed": "response.failed"}.get(response["status"], "response.completed")

    whole = read("responses", body(**response), stream=False)
    streamed = read("responses", sse({"type": "response.created"}, {"type": kind, "response": response}), stream=True)

    assert whole == answers == streamed


def test_a_message_is_an_answer_whole_and_as_a_stream() -> None:
    whole = body(
        type="message",
        stop_reason="tool_use",
        content=[{"type": "text", "text": "Hi"}, {"type": "tool_use", "name": "look", "input": {"a": 1}}],
    )
    stream = sse(
        {"type": "message_start", "message": {}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "name": "look", "input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a":'}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "name": "end", "input": {}}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    )

    assert read("messages", whole, stream=False) == [Answered(finish="tool_calls", text="Hi", calls=(ToolCall("look", None),))]
    assert read("messages", stream, stream=True) == [
        Answered(finish="tool_calls", text="Hi", calls=(ToolCall("look", '{"a":1}'), ToolCall("end", "{}")))
    ]


@pytest.mark.parametrize(
    ("said", "finish"),
    [("end_turn", "stop"), ("max_tokens", "length"), ("refusal", "content_filter"), ("pause_turn", ""), (None, "")],
)
def test_why_a_message_ended_is_said_in_one_language(said: str | None, finish: str) -> None:
    (found,) = read("messages", body(type="message", stop_reason=said, content=[]), stream=False)

    assert found.finish == finish


def test_a_generated_content_is_an_answer_whole_and_as_a_stream() -> None:
    parts = [{"text": "hm", "thought": True}, {"text": "Hi"}, {"functionCall": {"name": "look", "args": {}}}]
    whole = body(candidates=[{"content": {"parts": parts}, "finishReason": "STOP"}])
    stream = sse(
        {"candidates": [{"content": {"parts": parts[:2]}}]},
        {"candidates": [{"content": {"parts": parts[2:]}, "finishReason": "STOP"}]},
    )
    answers = [Answered(finish="stop", text="Hi", calls=(ToolCall("look", None),))]

    assert read("generateContent", whole, stream=False) == answers == read("generateContent", stream, stream=True)


@pytest.mark.parametrize(
    ("answer", "finish"),
    [
        ({"promptFeedback": {"blockReason": "SAFETY"}}, "content_filter"),
        ({"candidates": [{"finishReason": "SAFETY"}]}, "content_filter"),
        ({"candidates": [{"finishReason": "MAX_TOKENS"}]}, "length"),
        ({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}, "malformed_tool_call"),
    ],
)
def test_why_a_generated_content_ended_is_said_in_one_language(answer: dict[str, Any], finish: str) -> None:
    (found,) = read("generateContent", body(**answer), stream=False)

    assert found.finish == finish


@pytest.mark.parametrize("endpoint", [*READERS, "embeddings"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "content",
    [b"", b"no json", b'{"choices": 5, "output": 5, "content": 5, "candidates": 5, "type": 5}', b"[" * 5000, b"data: {\n\n"],
)
def test_what_is_no_answer_of_its_protocol_is_not_judged(endpoint: str, stream: bool, content: bytes) -> None:
    sent = b'data: {"type":"response.completed","candidates":5,"choices":5}\n\n' if stream and content[:1] == b"{" else content

    assert read(endpoint, sent, stream=stream) in ([], [Answered(finish="", text="")])
