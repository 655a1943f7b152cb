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
from providers.canonical import Ended, Event, Finished, Malformed, Started, Text, ToolResult, Unsupported
from providers.gemini import request, response, wire
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


# --- what recordings seldom have ----------------------------------------------------------------------------------------------


def whole(*parts: dict[str, Any], **more: Any) -> bytes:
    body = {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP", **more}]}
    return json.dumps(body).encode()


def as_stream(body: bytes) -> bytes:
    return b"data: " + body + b"\r\n\r\n"


def chat_of(body: bytes) -> dict[str, Any]:
    """The first choice of a whole answer, as a client of chat completions reads it."""
    choice: dict[str, Any] = json.loads(chat_response.encode(response.decode(body), model="m", created_s=1))["choices"][0]
    return choice


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (1, "stop"),
        (2, "length"),
        (3, "content_filter"),
        (4, "content_filter"),
        ("IMAGE_PROHIBITED_CONTENT", "content_filter"),
        ("IMAGE_RECITATION", "content_filter"),
        ("MALFORMED_RESPONSE", "stop"),
        ("A_NEW_ONE", "stop"),
        (99, "stop"),
        (None, "stop"),
    ],
)
def test_a_reason_to_have_finished_may_be_a_number_or_a_new_word(reason: object, word: str) -> None:
    assert chat_of(whole({"text": "a"}, finishReason=reason))["finish_reason"] == word


def test_a_stream_whose_reason_is_a_number_is_whole() -> None:
    events = decoded(as_stream(whole({"text": "a"}, finishReason=1)))

    assert isinstance(events[-1], Ended)
    assert [it.finish for it in events if isinstance(it, Finished)] == ["stop"]


def test_an_answer_of_nothing_is_one() -> None:
    read = response.decode(b'{"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3},"modelVersion":"m"}')

    assert [(it.parts, it.finish) for it in read.choices] == [((), "other")]


def test_a_count_that_is_zero_may_be_left_out() -> None:
    read = response.decode(whole({"text": "a"})[:-1] + b',"usageMetadata":{"candidatesTokenCount":18,"thoughtsTokenCount":58}}')

    assert read.usage is not None
    assert (read.usage.input_tokens, read.usage.output_tokens) == (0, 76)


def test_a_usage_without_any_count_tells_nothing() -> None:
    assert response.decode(whole({"text": "a"})[:-1] + b',"usageMetadata":{"trafficType":"ON_DEMAND"}}').usage is None


def test_the_tier_that_served_is_told() -> None:
    usage = b'{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2,"serviceTier":"flex"}'

    read = response.decode(whole({"text": "a"})[:-1] + b',"usageMetadata":' + usage + b"}")

    assert read.usage is not None and read.usage.service_tier == "flex"


GROUNDS: dict[str, Any] = {
    "groundingChunks": [
        {"web": {"uri": "https://a.example", "title": "A"}},
        {"retrievedContext": {"uri": "https://b.example", "title": "B"}},
        {"maps": {"uri": "https://c.example", "title": "C"}},
    ],
    "groundingSupports": [
        {"segment": {"startIndex": 6, "endIndex": 11, "text": "drei."}, "groundingChunkIndices": [0, 1, 2, 7]},
    ],
}


def test_places_of_citations_are_characters_for_who_counts_them() -> None:
    # "é" and "–" are two and three bytes.
    choice = chat_of(whole({"text": "é "}, {"text": "– drei."}, groundingMetadata=GROUNDS))

    cited = [it["url_citation"] for it in choice["message"]["annotations"]]
    assert [(it["url"], it["title"]) for it in cited] == [
        ("https://a.example", "A"),
        ("https://b.example", "B"),
        ("https://c.example", "C"),
    ]
    assert {choice["message"]["content"][it["start_index"] : it["end_index"]] for it in cited} == {" drei"}


def test_citations_of_a_stream_are_counted_so_that_sdks_can_put_them_together() -> None:
    body = as_stream(whole({"text": "é "}, finishReason=None)) + as_stream(
        whole({"text": "– drei."}, groundingMetadata=GROUNDS)
    )
    encoder = chat_stream.Encoder(model="m", created_s=1, include_usage=False)

    told = b"".join(encoder.feed(event) for event in decoded(body))

    chunks = [json.loads(event[6:]) for event in told.split(b"\n\n") if event.startswith(b"data: {")]
    noted = [it for chunk in chunks for it in chunk["choices"][0]["delta"].get("annotations", ())]
    assert [it["index"] for it in noted] == [0, 1, 2]
    assert {it["url_citation"]["start_index"] for it in noted} == {3}


def test_a_sketch_on_the_way_to_a_picture_is_none_of_the_answer() -> None:
    picture = {"mimeType": "image/png", "data": "AAAA"}
    body = whole({"inlineData": picture, "thought": True}, {"inlineData": {**picture, "data": "BBBB"}})

    images = chat_of(body)["message"]["images"]
    again = json.loads(response.encode(response.decode(body), model="m"))

    assert [it["image_url"]["url"] for it in images] == ["data:image/png;base64,BBBB"]
    assert again["candidates"][0]["content"]["parts"] == json.loads(body)["candidates"][0]["content"]["parts"]


def test_what_may_stand_alone_need_not_be_a_list() -> None:
    body = {
        "systemInstruction": {"parts": {"text": "be brief"}},
        "contents": {"role": "user", "parts": {"text": "hello"}},
        "tools": {"function_declarations": {"name": "f"}},
    }

    made = chat_request.encode(request.decode(body, model="m", stream=False))

    assert made["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    assert [it["function"]["name"] for it in made["tools"]] == ["f"]


def test_a_text_of_none_is_a_text() -> None:
    made = chat_request.encode(request.decode({"contents": [{"role": "user", "parts": [{}]}]}, model="m", stream=False))

    assert made["messages"] == [{"role": "user", "content": ""}]


def results(**said: Any) -> dict[str, Any]:
    call = {"functionCall": {"name": "look", "args": {}}}
    result = {"functionResponse": {"name": "look", **said}}
    return {"contents": [{"role": "model", "parts": [call]}, {"role": "user", "parts": [result]}]}


def test_pictures_in_a_result_reach_other_providers() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA", "displayName": "a.png"}}
    body = results(response={"output": "see"}, parts=[picture])
    read = request.decode(body, model="m", stream=False)

    made = anthropic_request.encode(read)

    (block,) = made["messages"][-1]["content"]
    assert [it["type"] for it in block["content"]] == ["text", "image"]
    assert request.encode(read)["contents"] == body["contents"]


def test_a_result_of_nothing_says_nothing() -> None:
    body = results()
    read = request.decode(body, model="m", stream=False)

    assert chat_request.encode(read)["messages"][-1]["content"] == ""
    assert request.encode(read)["contents"] == body["contents"]


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}}, "fileData"),
        ({"fileData": {"fileUri": "gs://bucket/a.png", "mimeType": "image/png"}}, "fileData"),
        (
            {"fileData": {"fileUri": "https://a.example/a.mp4", "mimeType": "video/mp4"}, "videoMetadata": {"fps": 1}},
            "videoMetadata",
        ),
    ],
)
def test_what_only_google_can_read_stays_there(part: dict[str, Any], field: str) -> None:
    body = {"systemInstruction": {"parts": [{"text": "a"}]}, "contents": [{"parts": [{"text": "b"}, part]}]}

    with pytest.raises(Unsupported) as refused:
        request.leave(request.decode(body, model="m", stream=False))

    assert refused.value.field == f"contents[0].parts[1].{field}"


def test_sound_of_a_client_of_chat_completions_is_told_to_be_sound() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}

    body = from_chat(messages=[{"role": "user", "content": [part]}])

    assert body["contents"][0]["parts"] == [{"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}}]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://a.example/b/c.JPG?d=e.png", "image/jpeg"),
        ("https://a.example/c.webp#d", "image/webp"),
        ("https://a.example/c", None),
        ("https://a.example/c.d/e", None),
    ],
)
def test_what_kind_a_file_is_is_told_as_far_as_its_name_says(url: str, kind: str | None) -> None:
    body = from_chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])

    assert body["contents"][0]["parts"][0]["fileData"].get("mimeType") == kind


def test_the_first_call_of_a_turn_that_nobody_sealed_is_marked_as_such() -> None:
    calls = [{"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}} for name in "ab"]
    sealed = {**calls[0], "extra_content": {"google": {"thought_signature": "seal"}}}

    bare = from_chat(messages=[{"role": "assistant", "tool_calls": calls}])["contents"][0]["parts"]
    kept = from_chat(messages=[{"role": "assistant", "tool_calls": [sealed, calls[1]]}])["contents"][0]["parts"]

    assert [it.get("thoughtSignature") for it in bare] == [request.UNSEALED, None]
    assert [it.get("thoughtSignature") for it in kept] == ["seal", None]


def test_the_mark_of_a_call_without_a_seal_is_no_seal() -> None:
    part = {"functionCall": {"name": "f", "args": {}, "id": "a"}, "thoughtSignature": request.UNSEALED}
    body = {"contents": [{"role": "model", "parts": [part]}]}
    read = request.decode(body, model="m", stream=False)

    assert "extra_content" not in chat_request.encode(read)["messages"][0]["tool_calls"][0]
    assert request.encode(read)["contents"] == body["contents"]


def test_what_sdks_take_for_ends_of_lines_is_escaped() -> None:
    said = "a\u2028b\u2029c\u0085dé"
    encoder = Encoder(model="m")

    events = decoded(as_stream(json.dumps({**json.loads(whole({"text": said})), "modelVersion": "m"}).encode()))
    told = b"".join(encoder.feed(event) for event in events)

    assert len(told.decode().splitlines()) == told.count(b"\r\n")
    assert heard(told)["text"] == said


def test_half_a_character_in_arguments_is_replaced() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":"\\ud83d","y":"\\\\ud83d"}'}}

    body = from_chat(messages=[{"role": "assistant", "tool_calls": [call]}])
    told = json.loads(response.encode(chat_response.decode(answer_of(call)), model="m"))

    wanted = {"x": "\ufffd", "y": "\\ud83d"}
    assert body["contents"][0]["parts"][0]["functionCall"]["args"] == wanted
    assert told["candidates"][0]["content"]["parts"][0]["functionCall"]["args"] == wanted


def answer_of(call: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return json.dumps({"id": "c", "model": "m", "choices": [{"message": message, "finish_reason": "tool_calls"}]}).encode()


@pytest.mark.parametrize(
    "fields",
    [
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "XHIGH"}}},
        {"serviceTier": "flex"},
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "streamFunctionCallArguments": True}}},
        {"toolConfig": {"functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}}},
        {"toolConfig": {"functionCallingConfig": {"mode": "AUTO"}, "retrievalConfig": {"languageCode": "en"}}},
    ],
)
def test_a_request_comes_back_with_its_newer_fields(fields: dict[str, Any]) -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": "a"}]}], **fields}

    assert request.encode(request.decode(body, model="m", stream=False)) == body


def test_a_choice_among_some_of_the_tools_is_a_validated_one() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in "fgh"]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": tools[:2]}}

    body = from_chat(tools=tools, tool_choice=choice)

    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["f", "g"]}}


def test_a_prompt_that_did_not_come_to_the_model_has_used_nothing() -> None:
    body = b'{"promptFeedback":{"blockReason":"MODEL_ARMOR"},"usageMetadata":{"trafficType":"ON_DEMAND"}}'

    read, peeked = response.decode(body).usage, wire.peek(body, response.SEMANTICS).usage

    assert read is not None and read == peeked
    assert (read.input_tokens, read.output_tokens, read.counted) == (0, 0, True)


def test_a_film_is_known_by_its_address() -> None:
    body = {"contents": [{"role": "user", "parts": [{"fileData": {"fileUri": "https://youtu.be/abc"}}]}]}
    read = request.decode(body, model="m", stream=False)

    assert chat_request.encode(read)["messages"][0]["content"] == [
        {"type": "video_url", "video_url": {"url": "https://youtu.be/abc"}}
    ]


def test_sound_of_an_earlier_answer_stays_where_it_was_made() -> None:
    with pytest.raises(Unsupported) as refused:
        from_chat(messages=[{"role": "assistant", "content": None, "audio": {"id": "audio_1"}}])

    assert refused.value.field == "messages[0]"


def test_a_question_of_no_words_is_one() -> None:
    assert from_chat(messages=[{"role": "user", "content": ""}])["contents"] == [{"role": "user", "parts": [{"text": ""}]}]
