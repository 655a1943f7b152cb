"""Bedrock's Converse, to the canonical form and back: recorded traffic loses nothing that the form can say."""

from __future__ import annotations

import itertools
import json
import random
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.adapters import litellm_prices
from providers import eventstream
from providers.anthropic import request as anthropic_request
from providers.anthropic import response as anthropic_response
from providers.anthropic import stream as anthropic_stream
from providers.bedrock import models, request, response
from providers.bedrock.stream import Decoder, Encoder
from providers.bedrock.wire import CODEC, COUNT
from providers.canonical import (
    Delta,
    Ended,
    Event,
    Failed,
    Finished,
    Image,
    Malformed,
    Media,
    Native,
    PartStarted,
    PartStopped,
    Reasoning,
    Request,
    Started,
    Text,
    ToolCall,
    Unsupported,
    UsageSeen,
)
from providers.errors import InvalidResponse, Refused
from providers.openai import chat_request, chat_response, chat_stream
from providers.openai.vendors import VENDORS
from providers.provider import Upstream
from proxy.attempts.translation import abilities
from proxy.call import Deployment
from proxy.metering.prices import bounds
from tests.fakes.bedrock import problems_of
from tests.recordings import Recording, every, recordings

ALL = recordings("bedrock")
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ABILITIES = abilities(bounds(litellm_prices.load()))
ADAPTIVE = "us.anthropic.claude-opus-4-8"
NOVA = "us.amazon.nova-2-lite-v1:0"
LLAMA = "us.meta.llama4-maverick-17b-instruct-v1:0"


def model_of(recording: Recording) -> str:
    return unquote(recording.path.split("/")[2])


def action_of(recording: Recording) -> str:
    return recording.path.rpartition("/")[2]


CONVERSED = [it for it in ALL if action_of(it).startswith("converse")]
# One request was not kept whole by whoever recorded it.
ASKED = [it for it in CONVERSED if it.request]
WHOLE = [it for it in CONVERSED if it.status == 200 and not it.streamed]
STREAMS = [it for it in CONVERSED if it.status == 200 and it.streamed]


def said(value: Any) -> Any:
    """JSON without what says nothing; the schema of an answer as JSON, not as its text."""
    if isinstance(value, dict):
        kept = {name: said(field) for name, field in value.items() if field is not None}
        if isinstance(kept.get("schema"), str):
            kept["schema"] = json.loads(kept["schema"])
        return {name: field for name, field in kept.items() if name in ("auto", "any", "input") or field not in ([], {}, "")}
    return [said(item) for item in value] if isinstance(value, list) else value


def test_there_is_traffic_to_test_with() -> None:
    assert (len(CONVERSED), len(ASKED), len(WHOLE), len(STREAMS)) == (102, 101, 96, 3)


@pytest.mark.parametrize("recording", ASKED, ids=lambda recording: recording.id)
def test_a_recorded_request_comes_back_as_it_was(recording: Recording) -> None:
    asked = request.decode(recording.request, model=model_of(recording), stream=recording.streamed)

    assert said(request.encode(asked)) == said(recording.request)


@pytest.mark.parametrize("recording", WHOLE, ids=lambda recording: recording.id)
def test_a_recorded_answer_comes_back_as_it_was(recording: Recording) -> None:
    read = response.decode(recording.body, model=model_of(recording))

    assert said(json.loads(response.encode(read))) == said(json.loads(recording.body))


@pytest.mark.parametrize("recording", WHOLE, ids=lambda recording: recording.id)
def test_the_usage_of_a_recorded_answer_is_read(recording: Recording) -> None:
    told = json.loads(recording.body)["usage"]

    read = response.decode(recording.body, model=model_of(recording)).usage

    assert read is not None
    cached = (told.get("cacheReadInputTokens", 0), told.get("cacheWriteInputTokens", 0))
    assert (read.cache_read, read.cache_write + read.cache_write_1h) == cached
    assert (read.input_tokens, read.output_tokens) == (told["inputTokens"] + sum(cached), told["outputTokens"])


def decoded(body: bytes, cuts: Sequence[int] = (), model: str = CLAUDE) -> list[Event]:
    decoder = Decoder(model=model)
    places = [0, *sorted(cuts), len(body)]
    events = [event for start, end in itertools.pairwise(places) for event in decoder.feed(body[start:end])]
    return [*events, *decoder.finish()]


def heard(body: bytes) -> dict[str, Any]:
    """The answer that a client has put together when the stream is over, as it would have come whole."""
    blocks: dict[int, dict[str, Any]] = {}
    answer: dict[str, Any] = {}
    for message in eventstream.Reader().feed(body):
        value = json.loads(message.payload)
        value.pop("p", None)
        match message.headers[":event-type"]:
            case "contentBlockStart":
                blocks[value["contentBlockIndex"]] = {"toolUse": {**value["start"]["toolUse"], "input": ""}}
            case "contentBlockDelta":
                gather(blocks.setdefault(value["contentBlockIndex"], {}), value["delta"])
            case "messageStop":
                answer |= value
            case "metadata":
                answer |= value
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return {**answer, "output": {"message": {"role": "assistant", "content": [blocks[at] for at in sorted(blocks)]}}}


def gather(block: dict[str, Any], delta: Mapping[str, Any]) -> None:
    if "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]
    if "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    if (thought := delta.get("reasoningContent")) is not None:
        known = block.setdefault("reasoningContent", {}).setdefault("reasoningText", {"text": ""})
        known["text"] += thought.get("text", "")
        known.update({name: value for name, value in thought.items() if name == "signature"})


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_recorded_stream_comes_back_as_it_was(recording: Recording) -> None:
    model = model_of(recording)
    events = decoded(recording.body, model=model)

    encoder = Encoder(model=model)
    again = b"".join(encoder.feed(event) for event in events)

    assert isinstance(events[-1], Ended)
    assert heard(again) == heard(recording.body)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STREAMS), st.integers(0, 2**32), st.integers(0, 40))
def test_however_the_bytes_are_split_the_events_are_the_same(recording: Recording, seed: int, count: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # where to cut, no secret
    cuts = [chance.randrange(len(recording.body) + 1) for _ in range(count)]

    assert decoded(recording.body, cuts) == decoded(recording.body)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STREAMS), st.integers(0, 2**32), st.integers(1, 255))
def test_a_flipped_byte_is_never_heard(recording: Recording, at: int, flip: int) -> None:
    data = bytearray(recording.body)
    data[at % len(data)] ^= flip

    with pytest.raises(InvalidResponse):
        decoded(bytes(data))


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_stream_that_was_cut_off_has_no_end(recording: Recording) -> None:
    events = decoded(recording.body[: len(recording.body) // 2])

    assert events
    assert not any(isinstance(event, Ended) for event in events)


# --- for clients of other protocols ----------------------------------------------------------------------------------------


def messages_id(given: str) -> str:
    """Anthropic allows fewer characters; a call and its result are changed alike."""
    return anthropic_request.tool_id(given)


def told(content: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What an answer says, read directly."""
    thoughts = [it["reasoningContent"].get("reasoningText", {}).get("text", "") for it in content if "reasoningContent" in it]
    calls = [it["toolUse"] for it in content if "toolUse" in it and it["toolUse"].get("type") != "server_tool_use"]
    return {
        "text": "".join(it.get("text", "") for it in content),
        "thought": "".join(thoughts),
        "calls": [(it["toolUseId"], it["name"], it["input"]) for it in calls],
    }


FINISHES = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length", "stop_sequence": "stop"}


def tokens(usage: Mapping[str, Any]) -> tuple[int, int]:
    cached = usage.get("cacheReadInputTokens", 0) + usage.get("cacheWriteInputTokens", 0)
    return usage["inputTokens"] + cached, usage["outputTokens"]


@pytest.mark.parametrize("recording", WHOLE, ids=lambda recording: recording.id)
def test_a_client_of_chat_completions_reads_the_same_from_a_recorded_answer(recording: Recording) -> None:
    was = json.loads(recording.body)

    body = chat_response.encode(response.decode(recording.body, model=model_of(recording)), model="m", created_s=1)

    got = json.loads(body)
    message = got["choices"][0]["message"]
    functions = [(it["id"], it["function"]) for it in message.get("tool_calls", ())]
    assert {
        "text": message["content"] or "",
        "thought": message.get("reasoning_content", ""),
        "calls": [(name, it["name"], json.loads(it["arguments"])) for name, it in functions],
    } == told(was["output"]["message"]["content"])
    assert got["choices"][0]["finish_reason"] == FINISHES[was["stopReason"]]
    assert (got["usage"]["prompt_tokens"], got["usage"]["completion_tokens"]) == tokens(was["usage"])


@pytest.mark.parametrize("recording", WHOLE, ids=lambda recording: recording.id)
def test_a_client_of_messages_reads_the_same_from_a_recorded_answer(recording: Recording) -> None:
    was = json.loads(recording.body)

    got = json.loads(anthropic_response.encode(response.decode(recording.body, model=model_of(recording)), model="m"))

    direct = told(was["output"]["message"]["content"])
    direct["calls"] = [(messages_id(it), name, value) for it, name, value in direct["calls"]]
    kinds = {kind: [it for it in got["content"] if it["type"] == kind] for kind in ("text", "thinking", "tool_use")}
    assert {
        "text": "".join(it["text"] for it in kinds["text"]),
        "thought": "".join(it["thinking"] for it in kinds["thinking"]),
        "calls": [(it["id"], it["name"], it["input"]) for it in kinds["tool_use"]],
    } == direct
    words = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}
    assert got["stop_reason"] == words[FINISHES[was["stopReason"]]]
    usage = got["usage"]
    into = usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
    assert (into, usage["output_tokens"]) == tokens(was["usage"])


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_client_of_chat_completions_hears_the_same_from_a_recorded_stream(recording: Recording) -> None:
    was = heard(recording.body)
    encoder = chat_stream.Encoder(model="m", created_s=1, include_usage=True)

    body = b"".join(encoder.feed(event) for event in decoded(recording.body, model=model_of(recording)))

    chunks = [json.loads(event[6:]) for event in body.split(b"\n\n") if event.startswith(b"data: {")]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert {
        "text": "".join(it.get("content") or "" for it in deltas),
        "thought": "".join(it.get("reasoning_content") or "" for it in deltas),
        "calls": [],
    } == told(was["output"]["message"]["content"])
    assert body.endswith(b"data: [DONE]\n\n")
    assert (chunks[-1]["usage"]["prompt_tokens"], chunks[-1]["usage"]["completion_tokens"]) == tokens(was["usage"])


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_client_of_messages_hears_the_same_from_a_recorded_stream(recording: Recording) -> None:
    was = heard(recording.body)
    encoder = anthropic_stream.Encoder(model="m")

    body = b"".join(encoder.feed(event) for event in decoded(recording.body, model=model_of(recording)))

    values = [json.loads(event.partition(b"data: ")[2]) for event in body.split(b"\n\n") if event]
    deltas = [it["delta"] for it in values if it["type"] == "content_block_delta"]
    assert {
        "text": "".join(it.get("text", "") for it in deltas),
        "thought": "".join(it.get("thinking", "") for it in deltas),
        "calls": [],
    } == told(was["output"]["message"]["content"])
    assert values[-1]["type"] == "message_stop"
    assert values[-2]["usage"]["output_tokens"] == was["usage"]["outputTokens"]


# What no other protocol can say: a tool of the provider's own, media in a result or as a place in S3, a sound or a film.
CANNOT = ("tools", "messages")


def texts(messages: Any) -> str:
    return "".join(part.text for it in messages for part in it.parts if isinstance(part, Text))


def calls(messages: Any) -> list[tuple[str, str, Any]]:
    found = [part for it in messages for part in it.parts if isinstance(part, ToolCall)]
    return [(part.id, part.name, json.loads(part.arguments)) for part in found]


@pytest.mark.parametrize("recording", ASKED, ids=lambda recording: recording.id)
@pytest.mark.parametrize("other", ["chat", "messages"])
def test_what_a_recorded_request_asks_survives_another_protocol(recording: Recording, other: str) -> None:
    asked = request.decode(recording.request, model=model_of(recording), stream=False)
    codec: Any = chat_request if other == "chat" else anthropic_request

    try:
        back = codec.decode(codec.encode(asked))
    except Unsupported as refused:
        body = json.dumps(recording.request)
        assert refused.field.startswith(CANNOT)
        assert "systemTool" in body or "s3Location" in body or '"video"' in body or '"document"' in body
        return

    assert texts(back.messages).split() == texts(asked.messages).split()
    ids = messages_id if other == "messages" else str
    assert calls(back.messages) == [(ids(it), name, value) for it, name, value in calls(asked.messages)]
    assert [getattr(it, "name", "") for it in back.tools] == [getattr(it, "name", "") for it in asked.tools]
    assert (back.temperature, back.top_p, back.stop) == (asked.temperature, asked.top_p, asked.stop)


# What its client's own provider took, and is no conversation here: two of the recordings begin with an answer.
NOT_HERE = "A conversation must start with a user message"
OTHERS = [
    *((chat_request, it) for it in every() if it.endpoint == "chat/completions" and it.status == 200),
    *((anthropic_request, it) for it in recordings("anthropic") if it.endpoint == "messages" and it.status == 200),
]


@pytest.mark.parametrize("model", [CLAUDE, ADAPTIVE, NOVA, LLAMA])
def test_what_others_recorded_clients_ask_is_valid_by_awss_own_model(model: str) -> None:
    wrong: dict[str, list[str]] = {}
    said_here = 0

    for codec, recording in OTHERS:
        try:
            body = sent(replace(codec.decode(recording.request), model=model))
        except Unsupported:
            continue
        said_here += 1
        found = problems_of(model, json.loads(json.dumps(body)))
        if found:
            wrong[recording.id] = found

    assert {name for name, found in wrong.items() if not found[0].startswith(NOT_HERE)} == set()
    assert len(wrong) <= 2
    assert said_here > len(OTHERS) * 0.7


# --- what others' clients ask ------------------------------------------------------------------------------------------------


def encoded(model: str = CLAUDE, **fields: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **fields}
    return sent(chat_request.decode(body))


def sent(asked: Request) -> dict[str, Any]:
    """What is sent to a model of which the price list says what it can."""
    upstream = Upstream(provider="bedrock", account="a", vendor=VENDORS["bedrock"], base_url="http://b.invalid")
    return CODEC.encode_request(asked, ABILITIES(Deployment(upstream=upstream, model=asked.model)))


def tool(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, **fields}}


def test_instructions_go_to_the_top_and_results_into_one_turn() -> None:
    call = {"id": "call/1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "", "tool_calls": [call, {**call, "id": "c" * 70}]},
        {"role": "tool", "tool_call_id": "call/1", "content": "one"},
        {"role": "tool", "tool_call_id": "c" * 70, "content": "two"},
        {"role": "user", "content": "well?"},
    ]

    body = encoded(messages=messages, tools=[tool()])

    assert body["system"] == [{"text": "be brief"}, {"text": "be kind"}]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    ids = [block["toolUse"]["toolUseId"] for block in body["messages"][1]["content"]]
    assert ids[0] == "call_1"
    assert len(ids[1]) == 64
    results = body["messages"][2]["content"]
    assert [block["toolResult"]["toolUseId"] for block in results[:2]] == ids
    assert results[2] == {"text": "well?"}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"auto": {}}),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "f"}}, {"tool": {"name": "f"}}),
        (None, None),
    ],
)
def test_a_choice_of_tools_is_translated(choice: Any, sent: Any) -> None:
    assert encoded(tools=[tool()], tool_choice=choice)["toolConfig"].get("toolChoice") == sent


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (None, {"type": "auto"}),
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
    ],
)
def test_one_call_at_a_time_is_asked_of_claude_in_its_own_words_and_refused_of_others(choice: Any, said: Any) -> None:
    fields = {"tools": [tool()], "tool_choice": choice, "parallel_tool_calls": False}

    body = encoded(**fields)

    assert body["additionalModelRequestFields"] == {"tool_choice": {**said, "disable_parallel_tool_use": True}}
    assert "toolChoice" not in body["toolConfig"]
    assert encoded(**{**fields, "tool_choice": "none"}).keys() == {"messages"}
    with pytest.raises(Unsupported) as refused:
        encoded(NOVA, **fields)
    assert refused.value.field == "parallel_tool_calls"


@pytest.mark.parametrize(("model", "keeps"), [(CLAUDE, True), ("anthropic.claude-3-5-sonnet-20240620-v1:0", False)])
def test_only_who_keeps_prompts_is_told_to(model: str, keeps: bool) -> None:
    hinted = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}

    content = from_messages(model, hinted)["messages"][0]["content"]

    assert content == [{"text": "a"}, *([{"cachePoint": {"type": "default"}}] if keeps else [])]


def test_tools_that_may_not_be_called_are_not_offered() -> None:
    assert "toolConfig" not in encoded(tools=[tool()], tool_choice="none")


@pytest.mark.parametrize(
    ("model", "fields", "more", "output"),
    [
        (CLAUDE, {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, {}),
        (CLAUDE, {"reasoning_effort": "low"}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}, {}),
        (
            CLAUDE,
            {"reasoning_effort": "high", "max_tokens": 9000},
            {"thinking": {"type": "enabled", "budget_tokens": 4500}},
            {},
        ),
        (CLAUDE, {"reasoning_effort": "high", "max_tokens": 1500}, {}, {}),
        (ADAPTIVE, {"reasoning_effort": "xhigh"}, {"thinking": {"type": "adaptive"}}, {"effort": "xhigh"}),
        (NOVA, {"reasoning_effort": "high"}, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}, {}),
        (NOVA, {"reasoning_effort": "none"}, {"reasoningConfig": {"type": "disabled"}}, {}),
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "minimal"}, {"reasoning_effort": "low"}, {}),
        ("qwen.qwen3-32b-v1:0", {"reasoning_effort": "high"}, {"reasoning_config": "high"}, {}),
        # Those of which the list says that they do not think, and one that it does not know.
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", {"reasoning_effort": "high"}, {}, {}),
        ("amazon.nova-pro-v1:0", {"reasoning_effort": "high"}, {}, {}),
        (
            "anthropic.claude-of-tomorrow",
            {"reasoning_effort": "low"},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
            {},
        ),
        # It cannot be told not to think.
        ("anthropic.claude-fable-5", {"reasoning_effort": "none"}, {"thinking": {"type": "adaptive"}}, {"effort": "low"}),
        (LLAMA, {"reasoning_effort": "high"}, {}, {}),
        (CLAUDE, {}, {}, {}),
    ],
)
def test_an_effort_becomes_what_the_model_takes(model: str, fields: Any, more: Any, output: Any) -> None:
    body = encoded(model, **fields)

    assert (body.get("additionalModelRequestFields", {}), body.get("outputConfig", {})) == (more, output)


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
        ({"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]}, "tools"),
        ({"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}], "tools": [tool()], "tool_choice": "none"},
         "tool_choice"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]}]},
            "messages[0]",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_by_name(fields: Any, place: str) -> None:
    with pytest.raises(Unsupported) as refused:
        encoded(**fields)

    assert refused.value.field == place


def test_a_setting_that_only_some_models_have_is_refused_of_the_others() -> None:
    asked = anthropic_request.decode({"model": LLAMA, "max_tokens": 5, "top_k": 3, "messages": []})

    with pytest.raises(Unsupported) as refused:
        request.encode(asked)

    assert refused.value.field == "top_k"


def from_messages(model: str, *content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": list(content)}], **fields}
    return sent(anthropic_request.leave(anthropic_request.decode(body)))


def test_what_is_worth_keeping_is_marked_where_the_model_can_keep_it() -> None:
    hint = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    fields = {"system": [{"type": "text", "text": "s", **hint}], "tools": [{"name": "f", "input_schema": {}, **hint}]}
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}

    claude = from_messages(CLAUDE, {"type": "text", "text": "t", **hint}, **fields)
    nova = from_messages(NOVA, {"type": "text", "text": "t", **hint}, **fields)
    llama = from_messages(LLAMA, {"type": "text", "text": "t", **hint}, **fields)

    assert claude["system"] == [{"text": "s"}, point]
    assert claude["messages"][0]["content"] == [{"text": "t"}, point]
    assert claude["toolConfig"]["tools"][1] == point
    assert nova["messages"][0]["content"][1] == point
    assert len(nova["toolConfig"]["tools"]) == 1
    assert "cachePoint" not in json.dumps(llama)


def test_the_thoughts_of_claude_go_to_and_fro_with_their_seals() -> None:
    sealed = {"reasoningContent": {"redactedContent": b64encode(b"Eu8E+/==").decode()}}
    thought = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}
    content = [thought, sealed, {"text": "ok"}]
    answer = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"}

    read = response.decode(json.dumps(answer).encode(), model=CLAUDE)
    message = json.loads(anthropic_response.encode(read, model="m"))
    turn = {"role": "assistant", "content": message["content"]}
    again = request.encode(anthropic_request.decode({"model": CLAUDE, "max_tokens": 9, "messages": [turn]}))

    assert message["content"][:2] == [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "Eu8E+/=="},
    ]
    assert again["messages"][0]["content"] == content


CITED = {"title": "T", "sourceContent": [{"text": "words"}]}
LINK = "https://a.example"
CITATIONS: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
    (
        {**CITED, "location": {"documentChar": {"documentIndex": 0, "start": 3, "end": 8}}},
        {"type": "char_location", "document_index": 0, "document_title": "T", "start_char_index": 3, "end_char_index": 8},
    ),
    (
        {**CITED, "location": {"documentPage": {"documentIndex": 1, "start": 1, "end": 2}}},
        {"type": "page_location", "document_index": 1, "document_title": "T", "start_page_number": 1, "end_page_number": 2},
    ),
    (
        {"sourceContent": [{"text": "words"}], "location": {"documentChunk": {"documentIndex": 0, "start": 0, "end": 1}}},
        {
            "type": "content_block_location",
            "document_index": 0,
            "document_title": None,
            "start_block_index": 0,
            "end_block_index": 1,
        },
    ),
    (
        {**CITED, "source": LINK, "location": {"searchResultLocation": {"searchResultIndex": 2, "start": 0, "end": 1}}},
        {
            "type": "search_result_location",
            "search_result_index": 2,
            "title": "T",
            "source": LINK,
            "start_block_index": 0,
            "end_block_index": 1,
        },
    ),
    # What has no place there is not made to have one.
    ({**CITED, "location": {"web": {"url": LINK, "domain": "a.example"}}}, None),
    ({**CITED, "source": "s", "location": {"documentChar": {"documentIndex": 0, "start": 3, "end": 8}}}, None),
    ({"sourceContent": [{"text": "a"}, {"text": "b"}], "location": {"documentPage": {"documentIndex": 0}}}, None),
    ({"title": "T"}, None),
]


@pytest.mark.parametrize(("here", "there"), CITATIONS)
def test_what_claude_cites_is_told_to_clients_of_messages_and_comes_back(here: dict[str, Any], there: Any) -> None:
    content = [{"citationsContent": {"content": [{"text": "so"}], "citations": [here]}}]
    answer = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"}
    body = stream(delta(0, citation=here), delta(0, text="so"), stopped(0), reason="end_turn")
    wanted = [] if there is None else [{**there, "cited_text": "words"}]

    read = response.decode(json.dumps(answer).encode(), model=CLAUDE)
    whole = json.loads(anthropic_response.encode(read, model="m"))["content"]
    encoder = anthropic_stream.Encoder(model="m")
    events = [json.loads(it.partition(b"data: ")[2]) for e in decoded(body) for it in encoder.feed(e).split(b"\n\n") if it]
    turn = {"role": "assistant", "content": whole}
    again = request.encode(anthropic_request.decode({"model": CLAUDE, "max_tokens": 9, "messages": [turn]}))

    assert whole[0].get("citations", []) == wanted
    assert [it["delta"]["citation"] for it in events if it.get("delta", {}).get("type") == "citations_delta"] == wanted
    assert again["messages"][0]["content"] == (content if wanted else [{"text": "so"}])
    assert json.loads(response.encode(read))["output"]["message"]["content"] == content
    assert heard(b"".join(map(Encoder(model=CLAUDE).feed, decoded(body)))) == heard(body)


def test_where_a_search_found_it_is_told_to_clients_of_chat_completions_if_it_is_an_address() -> None:
    content = [{"citationsContent": {"content": [{"text": "so"}], "citations": [here for here, _ in CITATIONS]}}]
    answer = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"}

    told = json.loads(chat_response.encode(response.decode(json.dumps(answer).encode()), model="m", created_s=1))

    assert [it["url_citation"]["url"] for it in told["choices"][0]["message"]["annotations"]] == [LINK, LINK]


def test_thoughts_that_another_provider_sealed_are_not_sent() -> None:
    turn = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]}
    asked = anthropic_request.decode({"model": LLAMA, "max_tokens": 9, "messages": [turn, {"role": "user", "content": "x"}]})

    assert [it["role"] for it in request.encode(asked)["messages"]] == ["user"]


def test_documents_have_names_that_are_allowed_and_differ() -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    plain = {"type": "text", "media_type": "text/plain", "data": "words"}
    titled = {"type": "document", "source": source, "title": "Q3_results: final.pdf"}

    body = from_messages(CLAUDE, titled, titled, {"type": "document", "source": plain}, {"type": "text", "text": "?"})

    documents = [it["document"] for it in body["messages"][0]["content"] if "document" in it]
    assert [it["name"] for it in documents] == ["Q3 results final", "Q3 results final 2", "Document 3"]
    assert [it["format"] for it in documents] == ["pdf", "pdf", "txt"]
    assert b64decode(documents[2]["source"]["bytes"]) == b"words"


def test_what_a_search_found_and_whether_to_cite_is_said_to_claude_alone() -> None:
    found = {
        "type": "search_result",
        "source": "https://a.example",
        "title": "A",
        "content": [{"type": "text", "text": "one"}],
        "citations": {"enabled": True},
    }
    source = {"type": "text", "media_type": "text/plain", "data": "words"}
    document = {"type": "document", "source": source, "title": "T", "context": "old", "citations": {"enabled": True}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [found]}
    fields = {"tools": [{"name": "f", "input_schema": {}}]}

    claude = from_messages(CLAUDE, result, found, document, **fields)["messages"][0]["content"]
    nova = from_messages(NOVA, result, found, document, **fields)["messages"][0]["content"]

    cited = {"enabled": True}
    searched = {"searchResult": {"source": "https://a.example", "title": "A", "content": [{"text": "one"}], "citations": cited}}
    assert claude[0]["toolResult"]["content"] == [searched]
    assert claude[1:3] == [searched, {"text": "old"}]
    assert claude[3]["document"]["citations"] == cited
    assert nova[0]["toolResult"]["content"] == [{"text": "A\nhttps://a.example\none"}]
    assert nova[1:3] == [{"text": "A\nhttps://a.example\none"}, {"text": "old"}]
    assert "citations" not in nova[3]["document"]
    assert problems_of(CLAUDE, {"messages": [{"role": "user", "content": claude[1:]}]}) == []


def test_which_stop_sequence_it_was_is_asked_of_claude_and_told() -> None:
    asked = encoded(stop=["END"])
    more = {"additionalModelResponseFields": {"stop_sequence": "END"}, "stopReason": "stop_sequence"}
    answer = {"output": {"message": {"role": "assistant", "content": [{"text": "a"}]}}, **more}

    read = response.decode(json.dumps(answer).encode(), model=CLAUDE)

    assert asked["additionalModelResponseFieldPaths"] == ["/stop_sequence"]
    assert read.choices[0].stopped_by == "END"
    assert "additionalModelResponseFieldPaths" not in encoded(LLAMA, stop=["END"])


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, "messages"),
        ({"messages": [{"role": "tool", "content": []}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "hello"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"image": {"format": "png"}}]}]}, "messages[0].content[0].image.source"),
        ({"messages": [], "toolConfig": {"toolChoice": {"some": {}}}}, "toolConfig.toolChoice"),
        ({"messages": [], "outputConfig": {"textFormat": {"type": "xml"}}}, "outputConfig.textFormat"),
        ({"messages": [], "inferenceConfig": {"stopSequences": [1]}}, "inferenceConfig.stopSequences[0]"),
    ],
)
def test_what_is_no_request_is_refused_by_its_place(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(Malformed) as refused:
        request.decode(fields, model="m", stream=False)

    assert refused.value.field == place


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"output":{"message":{"content":[{}]}},"stopReason":"x"}', b'{"output":null}', b"[" * 100_000],
)
def test_what_is_no_answer_is_an_invalid_response(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        response.decode(body, model="m")


# --- streams by hand ---------------------------------------------------------------------------------------------------------


def frame(kind: str, value: Any, message_type: str = "event") -> bytes:
    return eventstream.encode({f":{message_type}-type": kind, ":message-type": message_type}, json.dumps(value).encode())


def delta(index: int, **fields: Any) -> bytes:
    return frame("contentBlockDelta", {"contentBlockIndex": index, "delta": fields})


def started(index: int, **fields: Any) -> bytes:
    return frame("contentBlockStart", {"contentBlockIndex": index, "start": fields})


def stopped(index: int) -> bytes:
    return frame("contentBlockStop", {"contentBlockIndex": index})


def stream(*frames: bytes, reason: str = "tool_use") -> bytes:
    usage = {"inputTokens": 5, "outputTokens": 7, "totalTokens": 12}
    end = frame("messageStop", {"stopReason": reason}) + frame("metadata", {"usage": usage, "metrics": {"latencyMs": 3}})
    return frame("messageStart", {"role": "assistant"}) + b"".join(frames) + end


TWO_CALLS = stream(
    delta(0, text="let me"),
    stopped(0),
    started(1, toolUse={"toolUseId": "a", "name": "f"}),
    delta(1, toolUse={"input": '{"x"'}),
    delta(1, toolUse={"input": ":1}"}),
    stopped(1),
    started(2, toolUse={"toolUseId": "b", "name": "g"}),
    stopped(2),
)


def test_arguments_are_passed_on_as_they_come_and_calls_count_from_0() -> None:
    encoder = chat_stream.Encoder(model="m", created_s=1, include_usage=True)

    chunks = [json.loads(it[6:]) for event in decoded(TWO_CALLS) for it in encoder.feed(event).split(b"\n\n") if b"{" in it]

    calls = [call for chunk in chunks for choice in chunk["choices"] for call in choice["delta"].get("tool_calls", ())]
    assert [(it["index"], it.get("id"), it["function"]["arguments"]) for it in calls] == [
        (0, "a", ""),
        (0, None, '{"x"'),
        (0, None, ":1}"),
        (1, "b", ""),
        # A call without arguments has an object without fields.
        (1, None, "{}"),
    ]
    assert chunks[-1]["usage"]["total_tokens"] == 12


def test_a_stream_of_calls_comes_back_as_it_was() -> None:
    encoder = Encoder(model=CLAUDE)

    again = b"".join(encoder.feed(event) for event in decoded(TWO_CALLS))

    assert heard(again) == heard(TWO_CALLS)


def test_what_the_providers_own_tool_does_is_one_part_of_its_family() -> None:
    call = {"toolUseId": "a", "name": "nova_code_interpreter", "type": "server_tool_use"}
    body = stream(
        started(0, toolUse=call),
        delta(0, toolUse={"input": '{"snippet":'}),
        delta(0, toolUse={"input": '"1+1"}'}),
        stopped(0),
        started(1, toolResult={"toolUseId": "a", "type": "nova_code_interpreter_result"}),
        delta(1, toolResult=[{"json": {"stdOut": "2"}}]),
        stopped(1),
        delta(2, text="2"),
        stopped(2),
        reason="end_turn",
    )

    parts = [event.part for event in decoded(body, model=NOVA) if isinstance(event, PartStarted)]

    assert parts[0] == Native(family="bedrock", value={"toolUse": {**call, "input": {"snippet": "1+1"}}})
    assert isinstance(parts[1], Native)
    assert parts[1].value["toolResult"]["content"] == [{"json": {"stdOut": "2"}}]
    assert parts[2] == Text(text="")


def test_a_picture_of_a_stream_is_one_part_though_it_comes_in_pieces() -> None:
    first, second = b64encode(b"abcd").decode(), b64encode(b"ef").decode()
    body = stream(
        started(0, image={"format": "png"}),
        delta(0, image={"source": {"bytes": first}}),
        delta(0, image={"source": {"bytes": second}}),
        stopped(0),
        started(1, image={"format": "png"}),
        delta(1, image={"error": {"message": "no"}}),
        stopped(1),
        reason="end_turn",
    )

    parts = [event.part for event in decoded(body, model=NOVA) if isinstance(event, PartStarted)]

    assert parts == [
        Image(media=Media(data=b64encode(b"abcdef").decode(), media_type="image/png")),
        Native(family="bedrock", value={"image": {"format": "png", "error": {"message": "no"}}}),
    ]


def test_a_stream_without_a_beginning_has_one_for_the_client() -> None:
    body = delta(0, text="hello") + stopped(0) + frame("messageStop", {"stopReason": "end_turn"})

    assert decoded(body)[:3] == [
        Started(family="bedrock", id="", model=CLAUDE),
        PartStarted(index=0, part=Text(text="")),
        Delta(index=0, text="hello"),
    ]


def test_half_a_character_is_replaced() -> None:
    answer = b'{"output":{"message":{"content":[{"text":"a\\ud83d"}]}},"stopReason":"end_turn"}'
    piece = b'{"contentBlockIndex":0,"delta":{"text":"a\\ud83d"}}'
    frames = eventstream.encode({":event-type": "contentBlockDelta", ":message-type": "event"}, piece)

    assert response.decode(answer).choices[0].parts == (Text(text="a\ufffd"),)
    assert decoded(frames)[2] == Delta(index=0, text="a\ufffd")


def test_sealed_thoughts_of_a_stream_are_one_part() -> None:
    sealed = b64encode(b"Eu8E").decode()
    body = stream(delta(0, reasoningContent={"redactedContent": sealed}), stopped(0), delta(1, text="x"), stopped(1))

    events = decoded(body)

    assert events[1:3] == [
        PartStarted(index=0, part=Reasoning(family="anthropic", encrypted="Eu8E")),
        PartStopped(index=0),
    ]
    assert events[3:5] == [PartStarted(index=1, part=Text(text="")), Delta(index=1, text="x")]


@pytest.mark.parametrize(
    ("broken", "kind", "message"),
    [
        (frame("throttlingException", {"message": "slow down"}, "exception"), "throttlingException", "slow down"),
        (
            eventstream.encode({":message-type": "error", ":error-code": "E", ":error-message": "it broke"}, b""),
            "E",
            "it broke",
        ),
    ],
)
def test_an_exception_in_the_middle_ends_the_stream(broken: bytes, kind: str, message: str) -> None:
    events = decoded(frame("messageStart", {"role": "assistant"}) + delta(0, text="a") + broken + delta(0, text="b"))

    last = events[-1]
    assert isinstance(last, Failed)
    assert (last.error.type, last.error.message) == (kind, message)
    assert sum(isinstance(event, Delta) for event in events) == 1


@pytest.mark.parametrize(
    ("kind", "status"), [("throttlingException", 429), ("validationException", 400), ("newException", 500)]
)
def test_an_exception_before_anything_else_is_what_a_status_would_have_said(kind: str, status: int) -> None:
    with pytest.raises(Refused) as refused:
        decoded(frame(kind, {"message": "no"}, "exception"))

    assert (refused.value.status, refused.value.body.message, refused.value.body.type) == (status, "no", kind)


def test_an_answer_that_said_why_it_ended_is_whole_without_its_usage() -> None:
    body = frame("messageStart", {"role": "assistant"}) + delta(0, text="a") + frame("messageStop", {"stopReason": "end_turn"})

    events = decoded(body)

    assert isinstance(events[-1], Ended)
    assert not any(isinstance(event, UsageSeen) for event in events)


@pytest.mark.parametrize(
    "broken",
    [
        eventstream.encode({":message-type": "event", ":event-type": "messageStop"}, b"{"),
        frame("contentBlockDelta", {"delta": {"text": "a"}}),
        delta(0, toolUse={"input": "{}"}),
        eventstream.encode({":message-type": "event"}, b"{}"),
    ],
)
def test_an_event_that_is_none_is_an_invalid_response(broken: bytes) -> None:
    with pytest.raises(InvalidResponse):
        decoded(broken)


def test_another_familys_stream_can_be_sent_in_frames() -> None:
    events: list[Event] = [
        Started(family="anthropic", id="x", model="m"),
        PartStarted(index=0, part=Reasoning(family="anthropic")),
        Delta(index=0, text="hm"),
        Delta(index=0, signature="c2ln"),
        PartStopped(index=0),
        PartStarted(index=1, part=ToolCall(id="a", name="f", arguments="")),
        Delta(index=1, arguments='{"x":1}'),
        Finished(finish="tool_calls"),
        Ended(),
    ]
    encoder = Encoder(model=CLAUDE)

    answer = heard(b"".join(encoder.feed(event) for event in events))

    assert answer["output"]["message"]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
        {"toolUse": {"toolUseId": "a", "name": "f", "input": {"x": 1}}},
    ]
    assert answer["stopReason"] == "tool_use"


# --- counts ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recording", [it for it in ALL if action_of(it) == "count-tokens"], ids=lambda it: it.id)
def test_a_recorded_count_of_tokens(recording: Recording) -> None:
    asked = request.decode(recording.request["input"]["converse"], model=model_of(recording), stream=False)

    assert said(request.count_tokens(asked)) == said(recording.request)
    assert COUNT.decode_answer(recording.body) == json.loads(recording.body)["inputTokens"]


# --- generated ---------------------------------------------------------------------------------------------------------------

WORDS = st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip()))
OBJECTS = st.dictionaries(WORDS, st.one_of(st.integers(-9, 9), WORDS, st.booleans()), max_size=3)
IDS = st.text("abcXYZ019_.:-", min_size=1, max_size=64)
NAMES = st.text("abc_-9", min_size=1, max_size=20)
BLOCKS = st.one_of(
    st.builds(lambda text: {"text": text}, WORDS),
    st.builds(lambda it, name, value: {"toolUse": {"toolUseId": it, "name": name, "input": value}}, IDS, NAMES, OBJECTS),
    st.builds(lambda it, text: {"toolResult": {"toolUseId": it, "content": [{"text": text}]}}, IDS, WORDS),
    st.builds(lambda data: {"image": {"format": "png", "source": {"bytes": b64encode(data).decode()}}}, st.binary(min_size=1)),
    st.builds(lambda text, seal: {"reasoningContent": {"reasoningText": {"text": text, "signature": seal}}}, WORDS, IDS),
    st.builds(lambda data: {"reasoningContent": {"redactedContent": b64encode(data).decode()}}, st.binary(min_size=1)),
)
MESSAGES = st.lists(
    st.builds(lambda role, content: {"role": role, "content": content}, st.sampled_from(["user", "assistant"]),
              st.lists(BLOCKS, min_size=1, max_size=4)),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(MESSAGES, st.sampled_from([CLAUDE, NOVA, LLAMA]))
def test_any_messages_come_back_as_they_were(messages: list[dict[str, Any]], model: str) -> None:
    again = request.encode(request.decode({"messages": messages}, model=model, stream=False))

    assert again["messages"] == messages


# --- places ------------------------------------------------------------------------------------------------------------------


def test_the_recorded_urls_are_made() -> None:
    made = [models.url("https://host", model_of(it), action_of(it)) for it in ALL]

    # One client leaves the colon as it is.
    assert made == ["https://host" + it.path.replace(":", "%3A") for it in ALL]


def test_an_arn_is_one_segment() -> None:
    arn = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0"

    made = models.url("https://host", arn, "converse")

    assert made.count("/") == 5
    assert models.limits_of(arn) == models.limits_of(CLAUDE)


@pytest.mark.parametrize(
    ("name", "path"),
    [("a/../b", "a%2F..%2Fb"), ("..", "%252E%252E"), (".", "%252E"), ("a?b#c%", "a%3Fb%23c%25"), ("Ł", "%C5%81")],
)
def test_no_name_leads_anywhere_else(name: str, path: str) -> None:
    assert models.url("https://host", name, "converse") == f"https://host/model/{path}/converse"


def test_the_name_of_a_region() -> None:
    assert all(models.is_region(name) for name in ("us-east-1", "eu-central-2", "us-gov-west-1", "ap-southeast-11"))
    assert not any(models.is_region(name) for name in ("", "europe", "us-east-1.evil.test", "us-east-1/", "us-east-1\n"))
