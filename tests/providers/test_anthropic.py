"""Anthropic's messages, to the canonical form and back: recorded traffic loses nothing that the form can say."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.anthropic import request, response
from providers.anthropic.stream import Decoder, Encoder
from providers.canonical import (
    Delta,
    Ended,
    Event,
    Finished,
    Malformed,
    PartStarted,
    PartStopped,
    Started,
    ToolCall,
    Unsupported,
)
from providers.openai import chat_request, chat_response, chat_stream
from providers.thinking import Thinking
from tests.recordings import Recording, recordings

MESSAGES = [recording for recording in recordings("anthropic") if recording.endpoint == "messages"]
WHOLE = [it for it in MESSAGES if it.status == 200 and not it.streamed]
STREAMS = [it for it in MESSAGES if it.status == 200 and it.streamed]


def said(value: Any) -> Any:
    """JSON without what says nothing; a list of one plain text is that text."""
    if isinstance(value, dict):
        kept = {name: said(field) for name, field in value.items() if field is not None and field not in ([], {}, "", False)}
        return {name: field for name, field in kept.items() if not (name == "type" and field == "custom")}
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], dict) and value[0].keys() == {"type", "text"}:
            return value[0]["text"]
        return [said(item) for item in value]
    return value


@pytest.mark.parametrize("recording", MESSAGES, ids=lambda recording: recording.id)
def test_a_recorded_request_comes_back_as_it_was(recording: Recording) -> None:
    again = request.encode(request.decode(recording.request))

    assert said(again) == said(recording.request)


@pytest.mark.parametrize("recording", WHOLE, ids=lambda recording: recording.id)
def test_a_recorded_answer_comes_back_as_it_was(recording: Recording) -> None:
    read = response.decode(recording.body)

    again = json.loads(response.encode(read, model=read.model))

    assert said(again) == said(json.loads(recording.body))


def decoded(body: bytes, cuts: list[int] | None = None) -> list[Event]:
    decoder = Decoder()
    places = [0, *sorted(cuts or ()), len(body)]
    events = [event for start, end in itertools.pairwise(places) for event in decoder.feed(body[start:end])]
    return [*events, *decoder.finish()]


def heard(body: bytes) -> dict[str, Any]:
    """The message that a client has put together when the stream is over."""
    message: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    for event in body.split(b"\n\n"):
        data = b"".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
        if not data:
            continue
        value = json.loads(data)
        match value["type"]:
            case "message_start":
                message = {**value["message"], "content": []}
            case "content_block_start":
                assert value["index"] == len(message["content"])
                message["content"].append(dict(value["content_block"]))
            case "content_block_delta":
                block, delta = message["content"][value["index"]], value["delta"]
                match delta["type"]:
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "signature_delta":
                        block["signature"] = delta["signature"]
                    case "citations_delta":
                        block["citations"] = [*(block.get("citations") or []), delta["citation"]]
                    case "input_json_delta":
                        inputs[value["index"]] = inputs.get(value["index"], "") + delta["partial_json"]
            case "message_delta":
                message |= value["delta"]
                message["usage"] = {**message["usage"], **value["usage"]}
    for index, text in inputs.items():
        message["content"][index]["input"] = json.loads(text or "{}")
    return message


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_recorded_stream_comes_back_as_it_was(recording: Recording) -> None:
    events = decoded(recording.body)
    started = events[0]
    assert isinstance(started, Started)

    encoder = Encoder(model=started.model)
    again = b"".join(encoder.feed(event) for event in events)

    assert isinstance(events[-1], Ended)
    assert said(heard(again)) == said(heard(recording.body))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STREAMS), st.integers(0, 2**32), st.integers(0, 40))
def test_however_the_bytes_are_split_the_events_are_the_same(recording: Recording, seed: int, count: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # where to cut, no secret
    cuts = [chance.randrange(len(recording.body) + 1) for _ in range(count)]

    assert decoded(recording.body, cuts) == decoded(recording.body)


# --- for clients and providers of chat completions -------------------------------------------------------------------------


def plain(recording: Recording) -> bool:
    """Whether all of it is words, thoughts and calls of the caller's own tools."""
    blocks = {block["type"] for block in json.loads(recording.body)["content"]}
    return blocks <= {"text", "tool_use", "thinking", "redacted_thinking"}


@pytest.mark.parametrize("recording", [it for it in WHOLE if plain(it)], ids=lambda recording: recording.id)
def test_a_client_of_chat_completions_reads_the_same_from_a_recorded_answer(recording: Recording) -> None:
    was = json.loads(recording.body)

    told = json.loads(chat_response.encode(response.decode(recording.body), model="m", created_s=1))

    message = told["choices"][0]["message"]
    calls = [
        (it["id"], it["function"]["name"], json.loads(it["function"]["arguments"])) for it in message.get("tool_calls", ())
    ]
    assert (message["content"] or "") == "".join(it["text"] for it in was["content"] if it["type"] == "text")
    assert message.get("reasoning_content", "") == "".join(it["thinking"] for it in was["content"] if it["type"] == "thinking")
    assert calls == [(it["id"], it["name"], it["input"]) for it in was["content"] if it["type"] == "tool_use"]
    usage = was["usage"]
    into = usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
    assert (told["usage"]["prompt_tokens"], told["usage"]["completion_tokens"]) == (into, usage["output_tokens"])
    finishes = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length", "stop_sequence": "stop"}
    assert told["choices"][0]["finish_reason"] == finishes.get(was["stop_reason"], told["choices"][0]["finish_reason"])


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_client_of_chat_completions_hears_the_same_from_a_recorded_stream(recording: Recording) -> None:
    was = heard(recording.body)
    encoder = chat_stream.Encoder(model="m", created_s=1, include_usage=True)

    told = b"".join(encoder.feed(event) for event in decoded(recording.body))

    chunks = [json.loads(event[6:]) for event in told.split(b"\n\n") if event.startswith(b"data: {")]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    own = [block for block in was["content"] if block["type"] == "tool_use"]
    assert "".join(it.get("content") or "" for it in deltas) == "".join(
        it["text"] for it in was["content"] if it["type"] == "text"
    )
    assert {call["index"] for call in calls} == set(range(len(own)))
    assert [call["id"] for call in calls if "id" in call] == [block["id"] for block in own]
    assert told.endswith(b"data: [DONE]\n\n")
    assert chunks[-1]["usage"]["completion_tokens"] == was["usage"]["output_tokens"]


@pytest.mark.parametrize(
    "recording",
    [it for it in MESSAGES if it.status == 200 and not set(it.request) & {"container", "mcp_servers"}],
    ids=lambda recording: recording.id,
)
def test_what_a_recorded_request_asks_survives_chat_completions(recording: Recording) -> None:
    asked = request.decode(recording.request)

    try:
        there = chat_request.encode(asked)
    except Unsupported:
        assert "type" in str(recording.request.get("tools")) or "file" in str(recording.request["messages"])
        return
    back = chat_request.decode(there)

    def texts(messages: Any) -> str:
        return "".join(getattr(part, "text", "") for it in messages for part in it.parts if type(part).__name__ == "Text")

    def calls(messages: Any) -> list[tuple[str, str, Any]]:
        found = [part for it in messages for part in it.parts if isinstance(part, ToolCall)]
        return [(part.id, part.name, json.loads(part.arguments)) for part in found]

    assert texts(back.messages) == texts(asked.messages)
    assert calls(back.messages) == calls(asked.messages)
    assert [it.name for it in back.tools if hasattr(it, "name")] == [it.name for it in asked.tools if hasattr(it, "name")]
    assert (back.output_max, back.temperature, back.stop) == (asked.output_max, asked.temperature, asked.stop)


# --- what chat completions' clients ask --------------------------------------------------------------------------------------


def asked(limits: request.Limits = request.USUAL, **fields: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields}
    return request.encode(chat_request.decode(body), limits)


def test_instructions_go_to_the_top_and_results_into_one_turn() -> None:
    call = {"id": "call:1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call, {**call, "id": "call:2"}]},
        {"role": "tool", "tool_call_id": "call:1", "content": "one"},
        {"role": "tool", "tool_call_id": "call:2", "content": "two"},
        {"role": "user", "content": "well?"},
    ]

    body = asked(messages=messages)

    assert [block["text"] for block in body["system"]] == ["be brief", "be kind"]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert [block["id"] for block in body["messages"][1]["content"]] == ["call_1", "call_2"]
    assert [block.get("tool_use_id", "-") for block in body["messages"][2]["content"]] == ["call_1", "call_2", "-"]


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        ("auto", None, {"type": "auto"}),
        ("none", None, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ({"type": "function", "function": {"name": "f"}}, None, {"type": "tool", "name": "f"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
    ],
)
def test_a_choice_of_tools_is_translated(choice: Any, parallel: Any, sent: Any) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]

    body = asked(tools=tools, tool_choice=choice, parallel_tool_calls=parallel)

    assert body["tool_choice"] == sent


ADAPTIVE = request.Limits(thinking=Thinking(adaptive=True))
XHIGH = request.Limits(thinking=Thinking(adaptive=True, efforts=("low", "medium", "high", "xhigh", "max")))
ALWAYS = request.Limits(thinking=Thinking(adaptive=True, off=False))


@pytest.mark.parametrize(
    ("fields", "limits", "thinking", "effort"),
    [
        ({"reasoning_effort": "none"}, request.USUAL, {"type": "disabled"}, None),
        ({"reasoning_effort": "low", "max_tokens": 9000}, request.USUAL, {"type": "enabled", "budget_tokens": 1024}, None),
        ({"reasoning_effort": "high", "max_tokens": 9000}, request.USUAL, {"type": "enabled", "budget_tokens": 4500}, None),
        ({"reasoning_effort": "high", "max_tokens": 1500}, request.USUAL, None, None),
        ({"reasoning_effort": "xhigh"}, ADAPTIVE, {"type": "adaptive"}, "high"),
        ({"reasoning_effort": "xhigh"}, XHIGH, {"type": "adaptive"}, "xhigh"),
        ({"reasoning_effort": "none"}, ADAPTIVE, {"type": "disabled"}, None),
        ({"reasoning_effort": "none"}, ALWAYS, {"type": "adaptive"}, "low"),
        ({"reasoning_effort": "high"}, request.Limits(thinking=Thinking(thinks=False)), None, None),
        ({}, request.USUAL, None, None),
    ],
)
def test_an_effort_becomes_what_the_model_takes(fields: Any, limits: request.Limits, thinking: Any, effort: Any) -> None:
    body = asked(limits, **fields)

    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"temperature": 1.5}, "temperature"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA=="}}]}]},
            "messages[0]",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(fields: Any, place: str) -> None:
    with pytest.raises(Unsupported) as refused:
        asked(**fields)

    assert refused.value.field == place


def test_a_bound_is_set_where_the_protocol_requires_one() -> None:
    assert asked(request.Limits(output_max=77))["max_tokens"] == 77
    assert asked(max_completion_tokens=5)["max_tokens"] == 5


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        ({"messages": [], "tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"messages": [], "thinking": {"type": "deep"}}, "thinking.type"),
        ({"messages": [], "system": 7}, "system"),
    ],
)
def test_what_is_no_request_is_refused_by_its_place(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(Malformed) as refused:
        request.decode({"model": "m", **fields})

    assert refused.value.field == place


def test_a_custom_tools_text_is_the_field_of_an_object_piece_by_piece() -> None:
    events: list[Event] = [
        Started(family="openai-chat", id="x", model="m"),
        PartStarted(index=0, part=ToolCall(id="a", name="f", arguments="", custom=True)),
        Delta(index=0, arguments='say "h'),
        Delta(index=0, arguments='i"\n'),
        PartStopped(index=0),
        Finished(finish="tool_calls"),
        Ended(),
    ]
    encoder = Encoder(model="m")

    message = heard(b"".join(encoder.feed(event) for event in events))

    assert message["content"][0]["input"] == {"input": 'say "hi"\n'}
    assert message["stop_reason"] == "tool_use"
