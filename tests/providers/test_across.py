"""A client of the Responses API, and any provider; a provider of the Responses API, and any client: on recorded traffic
each reads what a direct look at the recording reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from openai._models import construct_type
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent

from providers.anthropic import request as anthropic_request
from providers.anthropic import response as anthropic_response
from providers.anthropic import stream as anthropic_stream
from providers.canonical import (
    Delta,
    Ended,
    Event,
    File,
    Finished,
    Function,
    PartStarted,
    PartStopped,
    Reasoning,
    Request,
    Started,
    Text,
    ToolCall,
    ToolResult,
    Unsupported,
    UsageSeen,
)
from providers.errors import RefusedInBody
from providers.gemini import request as gemini_request
from providers.gemini import response as gemini_response
from providers.gemini import stream as gemini_stream
from providers.openai import chat_request, chat_response, chat_stream, responses_request, responses_response
from providers.openai.responses_decoder import Decoder
from providers.openai.responses_encoder import Encoder
from providers.usage import Usage
from tests.recordings import Recording, every, recordings


class Heard(msgspec.Struct, kw_only=True):
    """What an answer says.  calls: id (empty where the protocol has none), name, arguments as JSON.  tokens: in and out."""

    text: str = ""
    thought: str = ""
    calls: list[tuple[str, str, Any]] = []
    finish: str = ""
    tokens: tuple[int, int] = (0, 0)


def arguments(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


def datas(body: bytes) -> list[dict[str, Any]]:
    """The JSON of a stream's events."""
    events = body.replace(b"\r\n", b"\n").split(b"\n\n")
    joined = [b"\n".join(line[5:].strip() for line in it.split(b"\n") if line.startswith(b"data:")) for it in events]
    return [json.loads(data) for data in joined if data and data != b"[DONE]"]


# --- direct looks ---------------------------------------------------------------------------------------------------------


def chat_look(value: dict[str, Any]) -> Heard:
    choice = value["choices"][0]
    message = choice["message"]
    content, thought = message.get("content") or "", message.get("reasoning_content") or message.get("reasoning") or ""
    if isinstance(content, list):
        thought = "".join(it["text"] for part in content if part["type"] == "thinking" for it in part["thinking"])
        content = "".join(part["text"] for part in content if part["type"] == "text")
    calls = [
        (it["id"], it["function"]["name"], arguments(it["function"]["arguments"])) for it in message.get("tool_calls") or ()
    ]
    usage = value.get("usage") or {}
    return Heard(
        text=content,
        thought=thought,
        calls=calls,
        finish="tool_calls" if calls and choice["finish_reason"] == "stop" else choice["finish_reason"],
        tokens=(usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)),
    )


def chat_stream_look(body: bytes) -> Heard:
    message: dict[str, Any] = {"content": "", "reasoning": "", "tool_calls": {}}
    finish, usage = None, {}
    for chunk in datas(body):
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or usage
        for choice in chunk["choices"]:
            delta = choice["delta"] or {}
            content = delta.get("content") or ""
            if isinstance(content, list):
                message["reasoning"] += "".join(it["text"] for p in content if p["type"] == "thinking" for it in p["thinking"])
                content = "".join(part["text"] for part in content if part["type"] == "text")
            message["content"] += content
            message["reasoning"] += delta.get("reasoning_content") or delta.get("reasoning") or ""
            for at, call in enumerate(delta.get("tool_calls") or ()):
                slot = at if call.get("index") is None else call["index"]
                known = message["tool_calls"].setdefault(slot, {"id": "", "function": {"name": "", "arguments": ""}})
                known["id"] = known["id"] or call.get("id") or ""
                for name in ("name", "arguments"):
                    known["function"][name] += (call.get("function") or {}).get(name) or ""
            finish = choice.get("finish_reason") or finish
    message["tool_calls"] = list(message["tool_calls"].values())
    return chat_look({"choices": [{"message": message, "finish_reason": finish}], "usage": usage})


ANTHROPIC_ENDS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "stop",
}


def anthropic_look(value: dict[str, Any]) -> Heard:
    blocks, usage = value["content"], value["usage"]
    into = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return Heard(
        text="".join(it["text"] for it in blocks if it["type"] == "text"),
        thought="".join(it["thinking"] for it in blocks if it["type"] == "thinking"),
        calls=[(it["id"], it["name"], it["input"]) for it in blocks if it["type"] == "tool_use"],
        finish=ANTHROPIC_ENDS[value["stop_reason"]],
        tokens=(sum(usage.get(name) or 0 for name in into), usage["output_tokens"]),
    )


def anthropic_stream_look(body: bytes) -> Heard:
    message: dict[str, Any] = {}
    for event in datas(body):
        match event["type"]:
            case "message_start":
                message = {**event["message"], "content": []}
            case "content_block_start":
                message["content"].append({**event["content_block"], "json": ""})
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                for name, into in (("text", "text"), ("thinking", "thinking"), ("partial_json", "json")):
                    if name in delta:
                        block[into] += delta[name]
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= {name: it for name, it in event["usage"].items() if it is not None}
    for block in message["content"]:
        if block["type"] == "tool_use" and block["json"]:
            block["input"] = json.loads(block["json"])
    return anthropic_look(message)


GEMINI_ENDS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "MALFORMED_FUNCTION_CALL": "stop",
    "OTHER": "stop",
}


def gemini_look(value: dict[str, Any]) -> Heard:
    candidate = (value.get("candidates") or [{}])[0]
    parts = (candidate.get("content") or {}).get("parts") or []
    calls = [("", it["functionCall"]["name"], it["functionCall"].get("args") or {}) for it in parts if "functionCall" in it]
    usage, word = value.get("usageMetadata") or {}, candidate.get("finishReason")
    count = usage.get
    return Heard(
        text="".join(it.get("text", "") for it in parts if not it.get("thought")),
        thought="".join(it.get("text", "") for it in parts if it.get("thought")),
        calls=calls,
        finish=GEMINI_ENDS[word or "SAFETY"] if not calls else "tool_calls",
        tokens=(
            count("promptTokenCount", 0) + count("toolUsePromptTokenCount", 0),
            count("candidatesTokenCount", 0) + count("thoughtsTokenCount", 0),
        ),
    )


def gemini_stream_look(body: bytes) -> Heard:
    parts: list[dict[str, Any]] = []
    last: dict[str, Any] = {}
    word = None
    for chunk in datas(body):
        last["usageMetadata"] = chunk.get("usageMetadata") or last.get("usageMetadata")
        for candidate in chunk.get("candidates", ()):
            parts += (candidate.get("content") or {}).get("parts") or []
            word = candidate.get("finishReason") or word
    return gemini_look({**last, "candidates": [{"content": {"parts": parts}, "finishReason": word}]})


def responses_look(value: dict[str, Any]) -> Heard:
    items = value["output"]
    content = [part for it in items if it["type"] == "message" for part in it["content"]]
    thought = [
        "".join(it.get("text", "") for it in item.get("content") or ()) or "\n\n".join(it["text"] for it in item["summary"])
        for item in items
        if item["type"] == "reasoning"
    ]
    calls = [(it["call_id"], it["name"], arguments(it["arguments"])) for it in items if it["type"] == "function_call"]
    calls += [(it["call_id"], it["name"], {"input": it["input"]}) for it in items if it["type"] == "custom_tool_call"]
    reason = (value.get("incomplete_details") or {}).get("reason")
    usage = value.get("usage") or {}
    ends = {"max_output_tokens": "length", "content_filter": "content_filter"}
    return Heard(
        text="".join(part.get("text", "") for part in content),
        thought="".join(thought),
        calls=calls,
        finish=ends.get(reason or "", "tool_calls" if calls else "stop"),
        tokens=(usage.get("input_tokens", 0), usage.get("output_tokens", 0)),
    )


def responses_stream_look(body: bytes) -> Heard:
    """By the official SDK."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=[], text_format=omit)
    for event in datas(body):
        state.handle_event(construct_type(type_=ResponseStreamEvent, value=event))  # type: ignore[arg-type]
        if event["type"] == "response.incomplete":
            return responses_look(event["response"])
    assert state._completed_response is not None
    return responses_look(state._completed_response.to_dict())


# --- a client of the Responses API ----------------------------------------------------------------------------------------

CHATS = [it for it in every() if it.endpoint == "chat/completions" and it.status == 200]
MESSAGES = [it for it in recordings("anthropic") if it.endpoint == "messages" and it.status == 200]
GENERATED = [
    it for name in ("gemini", "vertex") for it in recordings(name) if "enerateContent" in it.endpoint and it.status == 200
]
OWN = [it for it in every() if it.endpoint == "responses" and it.status == 200]

WHOLE: list[tuple[Recording, Any, Callable[[dict[str, Any]], Heard]]] = [
    *((it, chat_response.decode, chat_look) for it in CHATS if not it.streamed),
    *((it, anthropic_response.decode, anthropic_look) for it in MESSAGES if not it.streamed),
    *((it, gemini_response.decode, gemini_look) for it in GENERATED if not it.streamed),
]
STREAMS: list[tuple[Recording, Any, Callable[[bytes], Heard]]] = [
    *((it, chat_stream.Decoder, chat_stream_look) for it in CHATS if it.streamed),
    *((it, anthropic_stream.Decoder, anthropic_stream_look) for it in MESSAGES if it.streamed),
    *((it, gemini_stream.Decoder, gemini_stream_look) for it in GENERATED if it.streamed),
]


def ids(case: tuple[Recording, Any, Any]) -> str:
    return case[0].id


def same(one: Heard, other: Heard) -> bool:
    """Whether both say the same.  A call that has no id in one protocol has got one in the other."""
    nameless = any(not call[0] for call in (*one.calls, *other.calls))
    first, second = ([call[1:] if nameless else call for call in it.calls] for it in (one, other))
    return first == second and msgspec.structs.replace(one, calls=[]) == msgspec.structs.replace(other, calls=[])


@pytest.mark.parametrize("case", WHOLE, ids=ids)
def test_a_client_of_responses_reads_any_recorded_answer(case: tuple[Recording, Any, Any]) -> None:
    recording, decode, look = case
    try:
        answer = decode(recording.body)
    except RefusedInBody:
        assert "error" in json.loads(recording.body)
        return

    told = json.loads(responses_response.encode(answer, model="m", created_s=1))

    assert all(call[0] for call in responses_look(told).calls)
    assert same(responses_look(told), look(json.loads(recording.body)))


def decoded(decoder: Any, body: bytes) -> list[Event]:
    return [*decoder.feed(body), *decoder.finish()]


@pytest.mark.parametrize("case", STREAMS, ids=ids)
def test_a_client_of_responses_hears_any_recorded_stream(case: tuple[Recording, Any, Any]) -> None:
    recording, decoder, look = case
    encoder = Encoder(model="m", created_s=1)

    told = b"".join(encoder.feed(event) for event in decoded(decoder(), recording.body))

    if datas(told)[-1]["type"] == "error":
        assert b'"error"' in recording.body
        return
    assert same(responses_stream_look(told), look(recording.body))


# --- a provider of the Responses API --------------------------------------------------------------------------------------

CLIENTS: dict[str, tuple[Any, Any, Any, Any]] = {
    "chat": (
        lambda it: chat_response.encode(it, model="m", created_s=1),
        lambda: chat_stream.Encoder(model="m", created_s=1, include_usage=True),
        chat_look,
        chat_stream_look,
    ),
    "anthropic": (
        lambda it: anthropic_response.encode(it, model="m"),
        lambda: anthropic_stream.Encoder(model="m"),
        anthropic_look,
        anthropic_stream_look,
    ),
    "gemini": (
        lambda it: gemini_response.encode(it, model="m"),
        lambda: gemini_stream.Encoder(model="m"),
        gemini_look,
        gemini_stream_look,
    ),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("recording", OWN, ids=lambda it: it.id)
def test_any_client_reads_a_recorded_response(recording: Recording, client: str) -> None:
    encode, encoder, look, stream_look = CLIENTS[client]

    if recording.streamed:
        made = encoder()
        heard = stream_look(b"".join(made.feed(event) for event in decoded(Decoder(), recording.body)))
        looked = responses_stream_look(recording.body)
    else:
        heard = look(json.loads(encode(responses_response.decode(recording.body))))
        looked = responses_look(json.loads(recording.body))

    assert same(heard, looked)


# --- requests -------------------------------------------------------------------------------------------------------------


def texts(request: Request) -> list[str]:
    """In no order: some protocols have all instructions at the beginning."""
    return sorted(part.text for it in request.messages for part in it.parts if isinstance(part, Text | File) and part.text)


def calls(request: Request) -> list[tuple[str, str, Any]]:
    found = [part for it in request.messages for part in it.parts if isinstance(part, ToolCall)]
    return [(part.id, part.name, arguments(part.arguments)) for part in found]


def results(request: Request) -> list[tuple[str, Any]]:
    found = [part for it in request.messages for part in it.parts if isinstance(part, ToolResult)]
    return [(it.id, arguments("".join(part.text for part in it.content if isinstance(part, Text | File)))) for it in found]


def asks(request: Request) -> Any:
    """What a request asks, in whatever protocol."""
    names = [tool.name for tool in request.tools if isinstance(tool, Function)]
    wanted = request.output_format.schema if request.output_format is not None else None
    return texts(request), calls(request), results(request), names, wanted, request.temperature, request.top_p


def gemini_asked(recording: Recording) -> Request:
    body = json.loads(recording.request) if isinstance(recording.request, str) else recording.request
    return gemini_request.decode(body, model="m", stream=recording.streamed)


ASKED: list[tuple[Recording, Callable[[Recording], Request]]] = [
    *((it, lambda it: chat_request.decode(it.request)) for it in CHATS),
    *((it, lambda it: anthropic_request.decode(it.request)) for it in MESSAGES),
    *((it, gemini_asked) for it in GENERATED),
]

UNSAID = ("tools[", "stop", "messages[", "modalities", "tool_choice", "contents[", "n", "presence_penalty", "system[")
"""The places that the Responses API has no word for: other providers' tools, stop sequences, pictures of an assistant's, …."""


@pytest.mark.parametrize("case", ASKED, ids=lambda case: case[0].id)
def test_what_any_recorded_request_asks_survives_responses(case: tuple[Recording, Callable[[Recording], Request]]) -> None:
    recording, decode = case
    asked = decode(recording)

    try:
        there = responses_request.encode(asked)
    except Unsupported as refused:
        assert refused.field.startswith(UNSAID)
        return

    assert asks(responses_request.decode(json.loads(json.dumps(there)))) == asks(asked)


PROVIDERS: dict[str, tuple[Any, Any]] = {
    "chat": (chat_request.encode, chat_request.decode),
    "anthropic": (anthropic_request.encode, anthropic_request.decode),
    "gemini": (gemini_request.encode, lambda body: gemini_request.decode(body, model="m", stream=False)),
}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("recording", OWN, ids=lambda it: it.id)
def test_what_a_recorded_request_of_responses_asks_survives_any_provider(recording: Recording, provider: str) -> None:
    encode, decode = PROVIDERS[provider]
    asked = responses_request.decode(recording.request)

    try:
        told = responses_request.leave(asked)
        there = encode(told)
    except Unsupported as refused:
        assert refused.field.startswith(
            ("previous_response_id", "conversation", "background", "tools[", "input[", "response_format", "logprobs")
        )
        return

    assert asks(decode(json.loads(json.dumps(there)))) == asks(told)
    assert calls(told) == calls(asked)


@pytest.mark.parametrize("client", CLIENTS)
def test_the_parts_of_a_summary_are_apart_for_any_client(client: str) -> None:
    _, encoder, _, look = CLIENTS[client]
    made = encoder()
    events: list[Event] = [
        Started(family="openai-responses", id="resp_1", model="m"),
        PartStarted(index=0, part=Reasoning(family="openai-responses")),
        Delta(index=0, text="on", summary_index=0),
        Delta(index=0, text="e", summary_index=0),
        Delta(index=0, text="two", summary_index=1),
        PartStopped(index=0),
        Finished(finish="stop"),
        UsageSeen(usage=Usage(), raw=b""),
        Ended(),
    ]

    assert look(b"".join(made.feed(event) for event in events)).thought == "one\n\ntwo"
