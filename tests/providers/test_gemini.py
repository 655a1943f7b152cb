"""Gemini's generateContent, to the canonical form and back: recorded traffic loses nothing that the form can say."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.anthropic import request as anthropic_request
from providers.anthropic import response as anthropic_response
from providers.canonical import Ended, Event, Malformed, Started, Text, ToolResult, Unsupported
from providers.gemini import request, response
from providers.gemini.stream import Decoder, Encoder
from providers.openai import chat_request, chat_response, chat_stream
from providers.thinking import Thinking
from tests.recordings import Recording, recordings

GENERATED = [it for name in ("gemini", "vertex") for it in recordings(name) if "enerateContent" in it.endpoint]
WHOLE = [it for it in GENERATED if it.status == 200 and not it.streamed]
STREAMS = [it for it in GENERATED if it.status == 200 and it.streamed]
NAMES = request._SNAKE


def asked(recording: Recording) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(recording.request) if isinstance(recording.request, str) else recording.request
    return body


def said(value: Any) -> Any:
    """JSON in one spelling, without what says nothing: camelCase, the usual base64, whole numbers."""
    if isinstance(value, dict):
        named = {NAMES.sub(lambda match: match[1].upper(), name): said(field) for name, field in value.items()}
        if isinstance(named.get("data"), str):
            named["data"] = named["data"].replace("-", "+").replace("_", "/").rstrip("=")
        return {name: field for name, field in named.items() if field is not None and field not in ([], {}, "", False)}
    if isinstance(value, list):
        return [said(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def usual(value: Any) -> Any:
    """A request as we would write it: all functions in one list, a schema where the type says so."""
    body = said(value)
    tools = body.pop("tools", [])
    functions = [function for tool in tools for function in tool.get("functionDeclarations", ())]
    others = [{name: tool[name]} for tool in value.get("tools", ()) for name in tool if name != "functionDeclarations"]
    config = body.get("generationConfig", {})
    if config.pop("responseSchema", None):
        config.pop("responseJsonSchema", None)
    config.pop("responseJsonSchema", None)
    body["generationConfig"] = config
    return {**said(body), "functions": functions, "others": said(others)}


@pytest.mark.parametrize("recording", GENERATED, ids=lambda recording: recording.id)
def test_a_recorded_request_comes_back_as_it_was(recording: Recording) -> None:
    body = asked(recording)

    again = request.encode(request.decode(body, model="m", stream=False))

    assert usual(again) == usual(body)


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
    """What a client has heard when the stream is over: words, thoughts, calls, the reason for its end, usage."""
    parts: list[dict[str, Any]] = []
    last: dict[str, Any] = {}
    for event in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        if not event.startswith(b"data:"):
            continue
        value = json.loads(event[5:])
        last["usage"] = value.get("usageMetadata") or last.get("usage")
        for candidate in value.get("candidates", ()):
            parts += (candidate.get("content") or {}).get("parts") or []
            last["finish"] = candidate.get("finishReason") or last.get("finish")
    return {
        **last,
        "text": "".join(part.get("text", "") for part in parts if not part.get("thought")),
        "thought": "".join(part.get("text", "") for part in parts if part.get("thought")),
        "calls": [part["functionCall"] for part in parts if "functionCall" in part],
        "seals": [part["thoughtSignature"] for part in parts if "thoughtSignature" in part],
    }


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_recorded_stream_comes_back_with_all_that_was_said(recording: Recording) -> None:
    events = decoded(recording.body)
    assert isinstance(events[0], Started)

    encoder = Encoder(model=events[0].model)
    again = b"".join(encoder.feed(event) for event in events)

    assert isinstance(events[-1], Ended)
    assert heard(again) == heard(recording.body)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STREAMS), st.integers(0, 2**32), st.integers(0, 40))
def test_however_the_bytes_are_split_the_events_are_the_same(recording: Recording, seed: int, count: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # where to cut, no secret
    cuts = [chance.randrange(len(recording.body) + 1) for _ in range(count)]

    assert decoded(recording.body, cuts) == decoded(recording.body)


# --- for clients of other protocols ------------------------------------------------------------------------------------------


def parts_of(recording: Recording) -> list[dict[str, Any]]:
    candidates = json.loads(recording.body).get("candidates") or [{}]
    return list((candidates[0].get("content") or {}).get("parts") or [])


@pytest.mark.parametrize("recording", WHOLE, ids=lambda recording: recording.id)
def test_a_client_of_chat_completions_reads_the_same_from_a_recorded_answer(recording: Recording) -> None:
    was = parts_of(recording)

    told = json.loads(chat_response.encode(response.decode(recording.body), model="m", created_s=1))

    message = told["choices"][0]["message"]
    functions = [it["function"] for it in message.get("tool_calls", ())]
    words = "".join(part.get("text", "") for part in was if not part.get("thought"))
    thoughts = "".join(part.get("text", "") for part in was if part.get("thought"))
    usage = json.loads(recording.body)["usageMetadata"]
    out = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
    assert (message["content"] or "", message.get("reasoning_content", "")) == (words, thoughts)
    assert [(it["name"], json.loads(it["arguments"])) for it in functions] == [
        (part["functionCall"]["name"], part["functionCall"].get("args", {})) for part in was if "functionCall" in part
    ]
    assert told["usage"]["completion_tokens"] == out
    assert all(it["id"] for it in message.get("tool_calls", ()))


@pytest.mark.parametrize("recording", WHOLE, ids=lambda recording: recording.id)
def test_a_client_of_messages_reads_the_same_from_a_recorded_answer(recording: Recording) -> None:
    was = parts_of(recording)

    told = json.loads(anthropic_response.encode(response.decode(recording.body), model="m"))

    words = "".join(part.get("text", "") for part in was if not part.get("thought"))
    calls = [(part["functionCall"]["name"], part["functionCall"].get("args", {})) for part in was if "functionCall" in part]
    assert "".join(block["text"] for block in told["content"] if block["type"] == "text") == words
    assert [(block["name"], block["input"]) for block in told["content"] if block["type"] == "tool_use"] == calls
    assert (told["stop_reason"] == "tool_use") == bool(calls)


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_client_of_chat_completions_hears_the_same_from_a_recorded_stream(recording: Recording) -> None:
    was = heard(recording.body)
    encoder = chat_stream.Encoder(model="m", created_s=1, include_usage=True)

    told = b"".join(encoder.feed(event) for event in decoded(recording.body))

    chunks = [json.loads(event[6:]) for event in told.split(b"\n\n") if event.startswith(b"data: {")]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    names = [call["function"]["name"] for delta in deltas for call in delta.get("tool_calls", ()) if "id" in call]
    assert "".join(it.get("content") or "" for it in deltas) == was["text"]
    assert names == [call["name"] for call in was["calls"]]
    assert told.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("recording", GENERATED, ids=lambda recording: recording.id)
def test_what_a_recorded_request_asks_can_be_asked_of_others_or_is_refused_by_name(recording: Recording) -> None:
    read = request.decode(asked(recording), model="m", stream=False)

    for encode in (chat_request.encode, anthropic_request.encode):
        try:
            body = encode(read)
        except Unsupported as refused:
            assert refused.field
            continue
        names = [tool.get("name") or tool["function"]["name"] for tool in body.get("tools", ())]
        assert names == [tool.name for tool in read.tools if hasattr(tool, "name")]


# --- what chat completions' clients ask --------------------------------------------------------------------------------------


def from_chat(limits: request.Limits = request.USUAL, **fields: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields}
    return request.encode(chat_request.decode(body), limits)


def test_instructions_calls_and_results_have_their_places() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call, {**call, "id": "b"}]},
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "tool", "tool_call_id": "b", "content": '{"y":2}'},
    ]

    body = from_chat(messages=messages)

    results = [part["functionResponse"] for part in body["contents"][2]["parts"]]
    assert body["systemInstruction"]["parts"] == [{"text": "be brief"}]
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user"]
    assert [part["functionCall"]["args"] for part in body["contents"][1]["parts"]] == [{"x": 1}, {"x": 1}]
    assert results == [
        {"id": "a", "name": "f", "response": {"output": "one"}},
        {"id": "b", "name": "f", "response": {"y": 2}},
    ]


@pytest.mark.parametrize(
    ("fields", "limits", "thinking"),
    [
        ({"reasoning_effort": "none"}, request.USUAL, {"thinkingBudget": 0}),
        ({"reasoning_effort": "none"}, request.Limits(thinking=Thinking(off=False)), {"thinkingBudget": 128}),
        ({"reasoning_effort": "medium"}, request.USUAL, {"includeThoughts": True, "thinkingBudget": 8192}),
        ({"reasoning_effort": "max"}, request.USUAL, {"includeThoughts": True, "thinkingBudget": 24576}),
        ({"reasoning_effort": "xhigh"}, request.Limits(levels=True), {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ({}, request.USUAL, None),
    ],
)
def test_an_effort_becomes_what_the_model_takes(fields: Any, limits: request.Limits, thinking: Any) -> None:
    assert from_chat(limits, **fields).get("generationConfig", {}).get("thinkingConfig") == thinking


def test_calls_without_an_id_get_one_and_their_results_find_them() -> None:
    calls = [{"functionCall": {"name": "f", "args": {"n": number}}} for number in range(2)]
    results = [{"functionResponse": {"name": "f", "response": {"n": number}}} for number in range(2)]
    body = {"contents": [{"role": "model", "parts": calls}, {"role": "user", "parts": results}]}

    read = request.decode(body, model="m", stream=False)

    ids = [part.id for message in read.messages for part in message.parts]  # type: ignore[union-attr]  # calls and results
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2
    assert said(request.encode(read)["contents"]) == said(body["contents"])


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ({"output": "hm"}, "hm"),
        ({"name": "f", "content": "hm"}, "hm"),
        ({"name": "f", "content": {"a": 1}}, '{"a":1}'),
        ({"name": "g", "content": "hm"}, '{"name":"g","content":"hm"}'),
        ({"a": "hm"}, '{"a":"hm"}'),
    ],
)
def test_what_a_tool_gave_is_its_text_elsewhere_however_it_is_wrapped(response: Any, text: str) -> None:
    parts = [{"functionResponse": {"name": "f", "response": response}}]
    body = {"contents": [{"role": "user", "parts": parts}]}

    read = request.decode(body, model="m", stream=False)

    result = read.messages[0].parts[0]
    assert isinstance(result, ToolResult)
    assert result.content == (Text(text=text),)
    assert said(request.encode(read)["contents"]) == said(body["contents"])


def test_a_schema_in_capitals_becomes_a_json_schema() -> None:
    own = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}, "required": ["a"]}

    assert request.from_own_schema(own, "parameters") == {
        "type": "object",
        "properties": {"a": {"type": ["string", "null"]}},
        "required": ["a"],
    }


def schema(own: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [], "generationConfig": {"responseSchema": own}}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "contents"),
        ({"contents": [{"role": "wizard", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"parts": [{"functionCall": {}}]}]}, "contents[0].parts[0].functionCall.name"),
        ({"contents": [{"parts": [{"inline_data": {"mime_type": "image/png"}}]}]}, "contents[0].parts[0].inlineData.data"),
        ({"contents": [], "generationConfig": {"temperature": "warm"}}, "generationConfig.temperature"),
        ({"contents": [], "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        (schema({"anyOf": [{"minItems": ["b"]}]}), "generationConfig.responseSchema.anyOf[0].minItems"),
        (schema({"maxLength": "many"}), "generationConfig.responseSchema.maxLength"),
        (schema({"items": {"properties": {"a": 1}}}), "generationConfig.responseSchema.items.properties.a"),
    ],
)
def test_what_is_no_request_is_refused_by_its_place(body: dict[str, Any], place: str) -> None:
    with pytest.raises(Malformed) as refused:
        request.decode(body, model="m", stream=False)

    assert refused.value.field == place


def test_a_prompt_that_was_refused_is_an_answer_that_was_filtered() -> None:
    body = b'{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3}}'

    read = response.decode(body)

    assert read.choices[0].finish == "content_filter"
    assert json.loads(response.encode(read, model="m"))["promptFeedback"] == {"blockReason": "SAFETY"}
