"""Cohere's chat, to the canonical form and back: recorded traffic loses nothing that the form can say."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.anthropic import request as anthropic_request
from providers.anthropic import response as anthropic_response
from providers.canonical import Delta, Ended, Event, Failed, Malformed, NativeEvent, Reasoning, Text, Unsupported
from providers.cohere import request, response
from providers.cohere.stream import Decoder, Encoder
from providers.errors import InvalidResponse
from providers.gemini import request as gemini_request
from providers.openai import chat_request, chat_response, chat_stream
from tests.recordings import Recording, recordings

CHATS = [it for it in recordings("cohere") if it.path == "/v2/chat"]


def said(value: Any) -> Any:
    """JSON without what says nothing; a list of one plain text is that text."""
    if isinstance(value, dict):
        return {name: said(field) for name, field in value.items() if field is not None and field not in ([], {}, "")}
    return [said(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("recording", CHATS, ids=lambda recording: recording.id)
def test_a_recorded_request_comes_back_as_it_was(recording: Recording) -> None:
    assert said(request.encode(request.decode(recording.request))) == said(recording.request)


@pytest.mark.parametrize("recording", CHATS, ids=lambda recording: recording.id)
def test_a_recorded_answer_comes_back_as_it_was(recording: Recording) -> None:
    again = json.loads(response.encode(response.decode(recording.body, model=recording.model)))

    assert said(again) == said(json.loads(recording.body))


def told(message: dict[str, Any]) -> dict[str, Any]:
    """What an answer says, read directly."""
    calls = message.get("tool_calls", ())
    return {
        "text": "".join(it["text"] for it in message.get("content", ())),
        "thought": message.get("tool_plan", ""),
        "calls": [(it["id"], it["function"]["name"], json.loads(it["function"]["arguments"])) for it in calls],
    }


@pytest.mark.parametrize("recording", CHATS, ids=lambda recording: recording.id)
def test_a_client_of_chat_completions_reads_the_same_from_a_recorded_answer(recording: Recording) -> None:
    was = json.loads(recording.body)

    got = json.loads(chat_response.encode(response.decode(recording.body, model="m"), model="m", created_s=1))

    message = got["choices"][0]["message"]
    plain = {
        "content": [{"text": message["content"] or ""}],
        "tool_plan": message.get("reasoning_content", ""),
        "tool_calls": message.get("tool_calls", ()),
    }
    assert told(plain) == told(was["message"])
    finishes = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "TOOL_CALL": "tool_calls"}
    assert got["choices"][0]["finish_reason"] == finishes[was["finish_reason"]]
    billed = was["usage"]["billed_units"]
    assert (got["usage"]["prompt_tokens"], got["usage"]["completion_tokens"]) == (
        billed["input_tokens"],
        billed["output_tokens"],
    )


@pytest.mark.parametrize("recording", CHATS, ids=lambda recording: recording.id)
def test_a_client_of_messages_reads_the_same_from_a_recorded_answer(recording: Recording) -> None:
    was = json.loads(recording.body)

    got = json.loads(anthropic_response.encode(response.decode(recording.body, model="m"), model="m"))

    assert {
        "text": "".join(it["text"] for it in got["content"] if it["type"] == "text"),
        "thought": "".join(it["thinking"] for it in got["content"] if it["type"] == "thinking"),
        "calls": [(it["id"], it["name"], it["input"]) for it in got["content"] if it["type"] == "tool_use"],
    } == told(was["message"])


@pytest.mark.parametrize("recording", CHATS, ids=lambda recording: recording.id)
def test_what_a_recorded_request_asks_survives_chat_completions(recording: Recording) -> None:
    asked = request.decode(recording.request)

    back = chat_request.decode(chat_request.encode(asked))

    assert said(request.encode(back)) == said(recording.request)


# --- what others' clients ask ------------------------------------------------------------------------------------------------


def encoded(model: str = "command-a-03-2025", **fields: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **fields}
    return request.encode(chat_request.decode(body))


def tool(name: str = "f") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("choice", "sent", "names"),
    [
        ("auto", None, ["f", "g"]),
        ("none", "NONE", ["f", "g"]),
        ("required", "REQUIRED", ["f", "g"]),
        # One that has to be called is offered alone.
        ({"type": "function", "function": {"name": "g"}}, "REQUIRED", ["g"]),
    ],
)
def test_a_choice_of_tools_is_translated(choice: Any, sent: Any, names: list[str]) -> None:
    body = encoded(tools=[tool("f"), tool("g")], tool_choice=choice)

    assert body.get("tool_choice") == sent
    assert [it["function"]["name"] for it in body["tools"]] == names


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("command-a-reasoning-08-2025", "high", {"type": "enabled"}),
        ("command-a-reasoning-08-2025", "none", {"type": "disabled"}),
        ("command-a-03-2025", "high", None),
    ],
)
def test_only_a_model_that_thinks_is_asked_to(model: str, effort: str, thinking: Any) -> None:
    assert encoded(model, reasoning_effort=effort).get("thinking") == thinking


def test_settings_have_their_own_names() -> None:
    body = encoded(top_p=1, stop="END", max_completion_tokens=7, seed=3)

    assert (body["p"], body["stop_sequences"], body["max_tokens"], body["seed"]) == (0.99, ["END"], 7, 3)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"presence_penalty": -0.5}, "presence_penalty"),
        ({"frequency_penalty": 1.5}, "frequency_penalty"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [tool()], "parallel_tool_calls": False}, "parallel_tool_calls"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA=="}}]}]},
            "messages[0]",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(fields: Any, place: str) -> None:
    with pytest.raises(Unsupported) as refused:
        encoded(**fields)

    assert refused.value.field == place


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].image_url"),
        ({"messages": [], "tools": [{}]}, "tools[0].function"),
        ({"messages": [], "tool_choice": "SOME"}, "tool_choice"),
        ({"messages": [], "thinking": {"type": "deep"}}, "thinking.type"),
        ({"messages": [], "response_format": {"type": "xml"}}, "response_format.type"),
        ({"messages": [], "stop_sequences": [1]}, "stop_sequences[0]"),
    ],
)
def test_what_is_no_request_is_refused_by_its_place(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(Malformed) as refused:
        request.decode({"model": "m", **fields})

    assert refused.value.field == place


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"message":{"content":[{}]},"finish_reason":"x"}', b"[" * 100_000])
def test_what_is_no_answer_is_an_invalid_response(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        response.decode(body, model="m")


# --- streams, in the form that Cohere's reference shows -----------------------------------------------------------------------


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def message(kind: str, index: int | None = None, **fields: Any) -> bytes:
    return event(kind, **({} if index is None else {"index": index}), delta={"message": fields})


USAGE = {"billed_units": {"input_tokens": 5, "output_tokens": 7}, "tokens": {"input_tokens": 71, "output_tokens": 9}}
START = event("message-start", id="i", delta={"message": {"role": "assistant", "content": [], "tool_plan": ""}})
SOURCE = {"type": "document", "id": "d", "document": {"url": "https://x.test", "title": "X"}}
CITED = {"start": 0, "end": 5, "text": "hello", "sources": [SOURCE], "type": "TEXT_CONTENT"}
WORDS = b"".join(
    (
        START,
        message("content-start", 0, content={"type": "thinking", "thinking": ""}),
        message("content-delta", 0, content={"thinking": "hm"}),
        event("content-end", index=0),
        message("content-start", 1, content={"type": "text", "text": ""}),
        message("content-delta", 1, content={"text": "hel"}),
        message("content-delta", 1, content={"text": "lo"}),
        message("citation-start", 0, citations=CITED),
        event("citation-end", index=0),
        event("content-end", index=1),
        event("message-end", delta={"finish_reason": "COMPLETE", "usage": USAGE}),
    )
)
CALLS = b"".join(
    (
        START,
        message("tool-plan-delta", tool_plan="I will "),
        message("tool-plan-delta", tool_plan="look."),
        message("tool-call-start", 0, tool_calls={"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}),
        message("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"x"'}}),
        message("tool-call-delta", 0, tool_calls={"function": {"arguments": ":1}"}}),
        event("tool-call-end", index=0),
        message("tool-call-start", 1, tool_calls={"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}),
        event("tool-call-end", index=1),
        event("message-end", delta={"finish_reason": "TOOL_CALL", "usage": USAGE}),
    )
)


def decoded(body: bytes, cuts: Sequence[int] = ()) -> list[Event]:
    decoder = Decoder(model="m")
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    events = [it for start, end in itertools.pairwise(places) for it in decoder.feed(body[start:end])]
    return [*events, *decoder.finish()]


def heard(body: bytes) -> dict[str, Any]:
    """What a client has put together when the stream is over."""
    answer: dict[str, Any] = {"plan": "", "content": {}, "calls": {}, "citations": []}
    for line in body.split(b"\n"):
        if not line.startswith(b"data:"):
            continue
        value = json.loads(line[5:])
        said = (value.get("delta") or {}).get("message") or {}
        match value["type"]:
            case "content-start":
                answer["content"][value["index"]] = dict(said["content"])
            case "content-delta":
                for name, text in said["content"].items():
                    answer["content"][value["index"]][name] += text
            case "tool-plan-delta":
                answer["plan"] += said["tool_plan"]
            case "tool-call-start":
                call = said["tool_calls"]
                answer["calls"][value["index"]] = [call["id"], call["function"]["name"], call["function"]["arguments"]]
            case "tool-call-delta":
                answer["calls"][value["index"]][2] += said["tool_calls"]["function"]["arguments"]
            case "citation-start":
                answer["citations"].append(said["citations"])
            case "message-end":
                answer["end"] = value["delta"]
    return answer


@pytest.mark.parametrize("body", [WORDS, CALLS], ids=["words", "calls"])
def test_a_stream_comes_back_as_it_was(body: bytes) -> None:
    encoder = Encoder()

    again = b"".join(encoder.feed(it) for it in decoded(body))

    assert heard(again) == heard(body)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([WORDS, CALLS]), st.lists(st.integers(0, 10_000), max_size=40))
def test_however_the_bytes_are_split_the_events_are_the_same(body: bytes, cuts: list[int]) -> None:
    assert decoded(body, cuts) == decoded(body)


@pytest.mark.parametrize(
    ("body", "text", "thought", "finish"), [(WORDS, "hello", "hm", "stop"), (CALLS, "", "I will look.", "tool_calls")]
)
def test_a_client_of_chat_completions_hears_the_same(body: bytes, text: str, thought: str, finish: str) -> None:
    encoder = chat_stream.Encoder(model="m", created_s=1, include_usage=True)

    sent = b"".join(encoder.feed(it) for it in decoded(body))

    chunks = [json.loads(it[6:]) for it in sent.split(b"\n\n") if it.startswith(b"data: {")]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    calls = [call for it in choices for call in it["delta"].get("tool_calls", ())]
    assert "".join(it["delta"].get("content") or "" for it in choices) == text
    assert "".join(it["delta"].get("reasoning_content") or "" for it in choices) == thought
    assert {call["index"] for call in calls} == (set() if text else {0, 1})
    assert "".join(call["function"]["arguments"] for call in calls if call["index"] == 0) == ("" if text else '{"x":1}')
    assert choices[-1]["finish_reason"] == finish
    assert chunks[-1]["usage"]["prompt_tokens"] == 5


def test_a_plan_is_thought_and_no_part_of_the_answer() -> None:
    started = [it.part for it in decoded(CALLS) if hasattr(it, "part") and isinstance(it.part, Reasoning)]

    assert started == [Reasoning(family="cohere", extra={"tool_plan": True})]


def test_an_error_at_the_end_is_a_failure() -> None:
    end = event("message-end", delta={"finish_reason": "ERROR", "error": "it broke", "usage": USAGE})

    last = decoded(START + end)[-1]

    assert isinstance(last, Failed)
    assert last.error.message == "it broke"


def test_an_error_instead_of_a_stream_is_a_failure() -> None:
    last = decoded(b'data: {"message":"no such model"}\n\n')[-1]

    assert isinstance(last, Failed)
    assert last.error.message == "no such model"


def test_a_stream_that_was_cut_off_has_no_end() -> None:
    events = decoded(WORDS[: len(WORDS) // 2])

    assert any(isinstance(it, Delta) for it in events)
    assert not any(isinstance(it, Ended) for it in events)


@pytest.mark.parametrize(
    "broken",
    [b"data: {\n\n", b"data: []\n\n", event("content-delta", index=0, delta={"message": {"content": {"text": "a"}}}),
     event("content-start", index=0), event("message-end", delta={})],
)  # fmt: skip
def test_an_event_that_is_none_is_an_invalid_response(broken: bytes) -> None:
    with pytest.raises(InvalidResponse):
        decoded(broken)


# --- what clients of other protocols say in one turn -------------------------------------------------------------------------


def test_results_that_stand_in_a_turn_of_the_users_are_messages_of_their_own() -> None:
    results: list[dict[str, Any]] = [
        {"type": "tool_result", "tool_use_id": "a", "content": "one"},
        {"type": "tool_result", "tool_use_id": "b"},
    ]
    calls = [{"type": "tool_use", "id": name, "name": "f", "input": {}} for name in "ab"]
    turns = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": calls},
        {"role": "user", "content": [*results, {"type": "text", "text": "and now?"}]},
    ]
    asked = anthropic_request.decode({"model": "m", "max_tokens": 9, "messages": turns})

    messages = request.encode(asked)["messages"]

    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "tool", "tool_call_id": "b", "content": ""},
        {"role": "user", "content": "and now?"},
    ]


def test_results_of_several_calls_of_a_client_of_geminis_are_messages_of_their_own() -> None:
    calls = [{"functionCall": {"name": name, "args": {}}} for name in "fg"]
    results = [{"functionResponse": {"name": name, "response": {"output": name}}} for name in "fg"]
    body = {"contents": [{"role": "model", "parts": calls}, {"role": "user", "parts": results}]}

    messages = request.encode(gemini_request.decode(body, model="m", stream=False))["messages"]

    ids = [it["id"] for it in messages[0]["tool_calls"]]
    assert [(it["role"], it["tool_call_id"], it["content"]) for it in messages[1:]] == [
        ("tool", ids[0], "f"),
        ("tool", ids[1], "g"),
    ]


def test_where_nothing_is_billed_the_tokens_are_what_was_used() -> None:
    usage = {"tokens": {"input_tokens": 5, "output_tokens": 2}}
    message = {"role": "assistant", "content": [{"type": "text", "text": "a"}]}
    body = json.dumps({"id": "i", "finish_reason": "COMPLETE", "message": message, "usage": usage}).encode()

    read = response.decode(body).usage

    assert read is not None and (read.input_tokens, read.output_tokens) == (5, 2)


def test_half_a_character_is_replaced() -> None:
    message = {"role": "assistant", "content": [{"type": "text", "text": "\ud83d"}]}
    body = json.dumps({"id": "i", "finish_reason": "COMPLETE", "message": message}).encode()

    assert response.decode(body).choices[0].parts == (Text(text="\ufffd"),)
    assert Decoder().feed(b"data: " + json.dumps({"type": "debug", "prompt": "\ud83d"}).encode() + b"\n\n") == [
        NativeEvent(family="cohere", value={"type": "debug", "prompt": "\ufffd"})
    ]


def test_a_turn_that_says_nothing_here_is_left_out() -> None:
    turns = [{"role": "assistant", "content": None}, {"role": "user", "content": "a"}]

    assert request.encode(chat_request.decode({"model": "m", "messages": turns}))["messages"] == turns[1:]


def test_a_text_that_came_as_bytes_is_a_text() -> None:
    parts = [{"inlineData": {"mimeType": "text/csv", "data": data}} for data in ("w6k7MQ==", "/w==")]

    read, broken = (gemini_request.decode({"contents": [{"parts": [it]}]}, model="m", stream=False) for it in parts)

    assert request.encode(read)["messages"] == [{"role": "user", "content": "é;1"}]
    with pytest.raises(Unsupported):
        request.encode(broken)


def test_a_question_of_no_words_is_one() -> None:
    turns = [{"role": "user", "content": ""}]

    assert request.encode(chat_request.decode({"model": "m", "messages": turns}))["messages"] == turns
