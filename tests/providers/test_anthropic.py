"""Anthropic's messages, to the canonical form and back: recorded traffic loses nothing that the form can say."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from providers.anthropic import request, response
from providers.anthropic.stream import Decoder, Encoder
from providers.canonical import (
    Delta,
    Ended,
    Event,
    Finished,
    Function,
    Malformed,
    PartStarted,
    PartStopped,
    Request,
    Started,
    ToolCall,
    Unsupported,
)
from providers.cohere import request as cohere_request
from providers.openai import chat_request, chat_response, chat_stream
from providers.thinking import Thinking, keeps_still
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


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALLED = {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "x"}
GO = {"role": "user", "content": "go"}


@pytest.mark.parametrize(
    ("fields", "limits", "thinks"),
    [
        ({"tools": [TOOL]}, request.USUAL, True),
        ({"tools": [TOOL], "tool_choice": "required"}, request.USUAL, False),
        ({"tools": [TOOL], "tool_choice": "required"}, ADAPTIVE, False),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}, ADAPTIVE, False),
        ({"tools": [TOOL], "messages": [GO, CALLED, RESULT]}, request.USUAL, False),
        ({"tools": [TOOL], "messages": [GO, CALLED, RESULT, GO]}, request.USUAL, False),
        ({"tools": [TOOL], "messages": [GO, CALLED, RESULT]}, ADAPTIVE, True),
        ({"tools": [TOOL], "messages": [GO, CALLED, RESULT, {"role": "assistant", "content": "so"}, GO]}, request.USUAL, True),
    ],
    ids=["free", "made", "made, itself", "made to call one", "going on", "going on with words", "going on, itself", "anew"],
)
def test_it_is_not_told_to_think_where_it_would_refuse_to(fields: Any, limits: request.Limits, thinks: bool) -> None:
    body = asked(limits, reasoning_effort="high", max_tokens=9_000, temperature=0.5, **fields)

    assert ("thinking" in body) is thinks
    # Who does not think takes a temperature.
    assert ("temperature" in body) is not thinks


def test_it_is_told_to_think_on_where_its_thoughts_were_kept() -> None:
    thoughts = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    turns = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [thoughts, {"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]},
    ]
    thinking = {"type": "enabled", "budget_tokens": 2_000}
    body = {"model": "m", "max_tokens": 9_000, "messages": turns, "tools": [FUNCTION], "thinking": thinking}
    there = request.leave(request.decode(body))

    assert not keeps_still(there, thinking)
    forgot = tuple(replace(it, parts=it.parts[1:]) if it.role == "assistant" else it for it in there.messages)
    assert keeps_still(replace(there, messages=forgot), thinking)


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


# --- what its own clients ask, in its own words ------------------------------------------------------------------------------

FOUND = {
    "type": "search_result",
    "source": "https://a.example",
    "title": "A",
    "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
    "citations": {"enabled": True},
}


@pytest.mark.parametrize(
    "fields",
    [
        {"thinking": {"type": "adaptive", "display": "updates"}},
        {"thinking": {"type": "enabled", "budget_tokens": 2_000, "block_binding": {"behavior": "drop"}}},
        {"thinking": {"type": "between_tools"}},
        {"output_format": {"type": "json_schema", "schema": {"type": "object"}}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "low"}},
        {"tools": [{"name": "f", "input_schema": {"type": "object"}, "strict": False, "eager_input_streaming": True}]},
    ],
    ids="".join,
)
def test_its_own_words_come_back_as_they_were(fields: dict[str, Any]) -> None:
    body = {"model": "m", "max_tokens": 9_000, "messages": [{"role": "user", "content": "hello"}], **fields}

    assert request.encode(request.decode(body)) == body


def test_that_a_tool_has_not_failed_is_said_again() -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "content": "x", "is_error": False}
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [result]}]}

    assert request.encode(request.decode(body)) == body


def gone(*content: dict[str, Any], role: str = "user", **fields: Any) -> Request:
    """A request of one message, as it leaves for another family."""
    messages = [{"role": role, "content": list(content)}]
    return request.leave(request.decode({"model": "m", "max_tokens": 9, "system": "be brief", "messages": messages, **fields}))


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (FOUND, "A\nhttps://a.example\none\ntwo"),
        ({"type": "compaction", "content": "They greeted each other."}, "They greeted each other."),
        ({"type": "tool_reference", "tool_name": "f"}, "f"),
        (
            {"type": "document", "title": "T", "source": {"type": "content", "content": [{"type": "text", "text": "words"}]}},
            "T\nwords",
        ),
        ({"type": "document", "source": {"type": "content", "content": "words"}, "context": "old"}, "old\nwords"),
    ],
    ids=lambda it: it["type"] if isinstance(it, dict) else "",
)
def test_what_only_it_has_is_told_to_others_as_its_text(block: dict[str, Any], text: str) -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "content": [block]}

    told = chat_request.encode(gone(block, result))

    assert told["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "tool", "tool_call_id": "a", "content": text},
        {"role": "user", "content": text},
    ]


def test_what_a_document_is_about_is_told_before_it() -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}

    told = gone({"type": "document", "source": source, "context": "of last year", "citations": {"enabled": True}})

    text, document = told.messages[1].parts
    assert (text.text, document.media.data) == ("of last year", "AAAA")  # type: ignore[union-attr]  # a text and a document


@pytest.mark.parametrize(
    "block",
    [
        {"type": "server_tool_use", "id": "a", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "a", "content": []},
        {"type": "text_editor_code_execution_tool_result", "tool_use_id": "a", "content": {}},
        {"type": "mcp_tool_use", "id": "a", "name": "f", "server_name": "s", "input": {}},
        {"type": "mcp_tool_result", "tool_use_id": "a", "content": "x", "is_error": False},
        {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}},
    ],
    ids=lambda it: str(it["type"]),
)
def test_what_it_did_itself_in_an_earlier_answer_is_left_out(block: dict[str, Any]) -> None:
    told = chat_request.encode(gone(block, {"type": "text", "text": "so it is"}, role="assistant"))

    assert told["messages"][1:] == [{"role": "assistant", "content": "so it is"}]


FUNCTION = {"name": "f", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("block", "place"),
    [
        ({"type": "container_upload", "file_id": "f"}, "messages[0].content[1]"),
        ({"type": "hologram", "data": "AAAA"}, "messages[0].content[1]"),
        ({"type": "compaction", "content": None, "encrypted_content": "AAAA"}, "messages[0].content[1]"),
        (
            {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "x"}, {"type": "hologram"}]},
            "messages[0].content[1].content[1]",
        ),
        ({"type": "text", "text": "x", "tone": "angry"}, "messages[0].content[1].tone"),
        ({**FOUND, "content": [{"type": "image"}]}, "messages[0].content[1]"),
    ],
)
def test_a_block_that_nobody_else_understands_is_refused_by_its_place(block: dict[str, Any], place: str) -> None:
    with pytest.raises(Unsupported) as refused:
        gone({"type": "text", "text": "hello"}, block)

    assert refused.value.field == place


def test_a_setting_of_a_tool_or_a_message_that_nobody_else_understands_is_refused_by_its_place() -> None:
    with pytest.raises(Unsupported) as of_tool:
        gone({"type": "text", "text": "hello"}, tools=[FUNCTION, {**FUNCTION, "runs_on": "mars"}])
    with pytest.raises(Unsupported) as of_message:
        messages = [{"role": "user", "content": "hello"}, {"role": "system", "content": "x", "clear_at": "next_user_message"}]
        request.leave(request.decode({"model": "m", "max_tokens": 9, "messages": messages}))
    with pytest.raises(Unsupported) as of_system:
        gone(system=[{"type": "text", "text": "x"}, {"type": "hologram"}])

    assert of_tool.value.field == "tools[1].runs_on"
    assert of_message.value.field == "messages[1].clear_at"
    assert of_system.value.field == "system[1]"


def test_settings_on_which_nothing_hangs_are_left_out() -> None:
    tool = {
        **FUNCTION,
        "defer_loading": True,
        "allowed_callers": ["direct"],
        "input_examples": [{}],
        "eager_input_streaming": True,
    }
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {}, "caller": {"type": "direct"}}

    told = chat_request.encode(gone(call, role="assistant", tools=[tool]))

    assert told["tools"] == [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    assert told["messages"][1]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}


def test_every_result_of_a_turn_is_a_message_for_who_takes_one_at_a_time() -> None:
    results = [{"type": "tool_result", "tool_use_id": it, "content": it} for it in ("a", "b")]
    calls = [{"type": "tool_use", "id": it, "name": "f", "input": {}} for it in ("a", "b")]
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": calls},
        {"role": "user", "content": [*results, {"type": "text", "text": "well?"}]},
    ]
    body = {"model": "m", "max_tokens": 9, "messages": messages, "tools": [FUNCTION]}

    told = cohere_request.encode(request.leave(request.decode(body)))

    assert [it["role"] for it in told["messages"]] == ["user", "assistant", "tool", "tool", "user"]


def test_a_summary_that_it_made_is_no_part_of_what_others_clients_are_answered() -> None:
    content = [{"type": "compaction", "content": "They greeted."}, {"type": "text", "text": "Hello!"}]
    body = {
        "type": "message",
        "content": content,
        "stop_reason": "compaction",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }

    told = json.loads(chat_response.encode(response.decode(json.dumps(body).encode()), model="m", created_s=1))
    own = json.loads(response.encode(response.decode(json.dumps(body).encode()), model="m"))

    assert told["choices"][0]["message"]["content"] == "Hello!"
    assert told["choices"][0]["finish_reason"] == "stop"
    assert (own["content"], own["stop_reason"]) == (content, "compaction")


def test_pieces_of_a_kind_that_is_not_known_reach_its_own_clients() -> None:
    piece = {"type": "content_block_delta", "index": 0, "delta": {"type": "compaction_delta", "content": "They greeted."}}
    said_: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "a", "model": "m", "usage": {"input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "compaction", "content": None}},
        piece,
        {"type": "content_block_stop", "index": 0},
    ]
    stream = b"".join(b"event: %b\ndata: %b\n\n" % (it["type"].encode(), json.dumps(it).encode()) for it in said_)
    encoder = Encoder(model="m")

    again = b"".join(encoder.feed(event) for event in decoded(stream))

    assert piece in [json.loads(event.partition(b"data: ")[2]) for event in again.split(b"\n\n") if event]


@pytest.mark.parametrize("pieces", [[], [""], ["", ""]])
def test_a_call_without_arguments_has_an_object_without_fields(pieces: list[str]) -> None:
    said_: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "a", "model": "m", "usage": {"input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "a", "name": "f", "input": {}}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": it}}
            for it in pieces
        ),
        {"type": "content_block_stop", "index": 0},
    ]
    stream = b"".join(b"data: %b\n\n" % json.dumps(it).encode() for it in said_)

    events = decoded(stream)

    assert "".join(it.arguments for it in events if isinstance(it, Delta)) == "{}"
    assert isinstance(events[-1], PartStopped)


def test_a_search_among_the_tools_is_left_out_where_all_are_read() -> None:
    found = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}

    told = gone({"type": "text", "text": "hello"}, tools=[found, {**FUNCTION, "defer_loading": True}])

    assert [it.name for it in told.tools if isinstance(it, Function)] == ["f"]
    assert len(told.tools) == 1


def test_what_the_last_event_says_of_the_message_is_said_again_in_its_place() -> None:
    last = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None, "container": {"id": "c"}},
        "usage": {"output_tokens": 1},
        "context_management": {"applied_edits": []},
    }
    start = {"type": "message_start", "message": {"id": "a", "model": "m"}}
    stream = b"".join(b"data: %b\n\n" % json.dumps(it).encode() for it in (start, last, {"type": "message_stop"}))
    encoder = Encoder(model="m")

    again = b"".join(encoder.feed(event) for event in decoded(stream))

    assert json.loads(again.split(b"\n\n")[1].partition(b"data: ")[2]) == last


ARGUMENTS = (
    '{"a":12345678901234567890123,"b":-9223372036854775809}',
    '{"a":1e300,"b":-0.0,"c":1.0,"d":1E+2}',
    '{"z":null,"a":{"b":[{},[],""]},"m":true}',
    '{"\\ud83d\\ude00":"\\u0000\\n","é":"😀"}',
    '{"":""}',
)


@pytest.mark.parametrize("text", ARGUMENTS)
def test_whatever_a_model_writes_for_arguments_is_the_same_json_elsewhere(text: str) -> None:
    block = f'{{"type":"tool_use","id":"a","name":"f","input":{text}}}'
    body = f'{{"content":[{block}],"stop_reason":"tool_use","usage":{{"input_tokens":1,"output_tokens":1}}}}'

    told = chat_response.encode(response.decode(body.encode()), model="m", created_s=1)
    own = json.loads(response.encode(response.decode(body.encode()), model="m"))

    (call,) = json.loads(told)["choices"][0]["message"]["tool_calls"]
    assert list(json.loads(call["function"]["arguments"]).items()) == list(json.loads(text).items())
    assert own["content"][0]["input"] == json.loads(text)
