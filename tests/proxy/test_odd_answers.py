"""Answers that are out of the ordinary, as clients of each protocol are told them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.protocol import Told
from providers.provider import Endpoint
from providers.usage import OPENAI_LIKE
from proxy.attempts.translation import Translated, codec_of, whole

CLIENTS: tuple[Endpoint, ...] = ("responses", "messages", "generateContent")
TOLD = Told(model="m", created_s=1, id="req_1")
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "completion_tokens_details": {"reasoning_tokens": 3}}


def call(arguments: str, **more: Any) -> dict[str, Any]:
    return {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}, **more}


def answered(client: Endpoint, *choices: dict[str, Any]) -> dict[str, Any]:
    """A whole answer of chat completions, as the client is told it."""
    body = json.dumps({"id": "c", "model": "m", "choices": list(choices), "usage": USAGE}).encode()
    told = whole(body, upstream="chat/completions", client=client, semantics=OPENAI_LIKE, told=TOLD)[1]
    return dict(json.loads(told))


def streamed(client: Endpoint, *deltas: dict[str, Any]) -> bytes:
    """The same, in pieces."""
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE}
    chunks = [*({"id": "c", "model": "m", "choices": [{"index": 0, "delta": it}]} for it in deltas), last]
    body = b"".join(b"data: " + json.dumps(it).encode() + b"\n\n" for it in chunks) + b"data: [DONE]\n\n"
    reader = Translated(codec_of("chat/completions").decoder(OPENAI_LIKE), codec_of(client).encoder, TOLD)
    return reader.feed(body) + reader.closing


def events(stream: bytes) -> list[dict[str, Any]]:
    lines = stream.replace(b"\r\n", b"\n").split(b"\n")
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: {")]


# --- calls ---------------------------------------------------------------------------------------------------------------


def inputs(client: Endpoint, value: Any) -> list[tuple[str, Any]]:
    """Id and arguments of the calls that a client was told, whole."""
    match client:
        case "responses":
            return [(it["call_id"], json.loads(it["arguments"])) for it in value["output"] if it["type"] == "function_call"]
        case "messages":
            return [(it["id"], it["input"]) for it in value["content"] if it["type"] == "tool_use"]
        case _:
            parts = [part for it in value["candidates"] for part in it["content"].get("parts", ())]
            return [(it["functionCall"]["id"], it["functionCall"]["args"]) for it in parts if "functionCall" in it]


def pieces(stream: bytes) -> list[str]:
    """The pieces of arguments that a client of messages was sent."""
    deltas = [it["delta"] for it in events(stream) if it["type"] == "content_block_delta"]
    return [it["partial_json"] for it in deltas if it["type"] == "input_json_delta"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (' \n{"a": 1}\n', {"a": 1}),
        ('[1, "é"]', {"input": [1, "é"]}),
        ("no JSON", {"input": "no JSON"}),
        ("12", {"input": 12}),
        ("", {}),
        (" ", {}),
        ('{"a": 123456789012345678901234567890, "b": 1e5}', {"a": 123456789012345678901234567890, "b": 1e5}),
    ],
)
def test_arguments_are_an_object_where_they_have_to_be_one(arguments: str, expected: Any) -> None:
    told = answered(
        "messages", {"index": 0, "message": {"tool_calls": [call(arguments.strip())]}, "finish_reason": "tool_calls"}
    )
    parts = [{"index": 0, **call("")}, *({"index": 0, "function": {"arguments": it}} for it in arguments)]
    stream = streamed("messages", *({"tool_calls": [it]} for it in parts))

    assert inputs("messages", told) == [("a", expected)]
    assert json.loads("".join(pieces(stream)) or "{}") == expected
    # Anthropic's SDK reads after each piece what there is by then.
    assert not any(it.isspace() for it in pieces(stream)[:1])


@pytest.mark.parametrize("client", ["messages", "generateContent"])
def test_half_of_a_character_in_arguments_is_replaced(client: Endpoint) -> None:
    message = {"tool_calls": [call('{"a": "x\\ud83d"}')]}

    told = answered(client, {"index": 0, "message": message, "finish_reason": "tool_calls"})

    assert inputs(client, told) == [("a", {"a": "x\ufffd"})]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("none", ["", None])
def test_calls_without_ids_get_one_each(client: Endpoint, none: str | None) -> None:
    calls = [call("{}", id=none, index=at) for at in range(2)]

    told = answered(client, {"index": 0, "message": {"tool_calls": calls}, "finish_reason": "tool_calls"})
    stream = streamed(client, {"tool_calls": calls})

    given = [name for name, _ in inputs(client, told)]
    assert len(set(given)) == 2 and all(given)
    assert all(name.encode() in stream for name in given)


# --- texts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a\u2028b", "a\u2029b", "a\x85b", "a\x0bb\x1cc\n\r\nd"])
def test_what_googles_sdk_takes_for_the_end_of_a_line_is_escaped(text: str) -> None:
    stream = streamed("generateContent", {"content": text}, {"tool_calls": [call(json.dumps({"a": text}))]})

    lines = [line for line in stream.decode().splitlines() if line]
    read = [json.loads(line.removeprefix("data: ")) for line in lines]
    parts = [part for it in read for candidate in it["candidates"] for part in candidate["content"].get("parts", ())]
    assert [it.get("text") or it["functionCall"]["args"]["a"] for it in parts] == [text, text]


@pytest.mark.parametrize("client", CLIENTS)
def test_the_first_of_several_answers_is_the_first_wherever_it_stands(client: Endpoint) -> None:
    choices = [{"index": at, "message": {"content": f"number {at}"}, "finish_reason": "stop"} for at in (1, 0)]

    told = json.dumps(answered(client, *choices))

    assert "number 0" in told
    assert client == "generateContent" or "number 1" not in told
    assert told.find("number 0") < (told.find("number 1") % len(told))


# --- usage ---------------------------------------------------------------------------------------------------------------


def test_anthropics_clients_are_told_how_much_of_the_output_was_thought() -> None:
    told = answered("messages", {"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"})
    ends = [it["usage"] for it in events(streamed("messages", {"content": "hi"})) if it["type"] == "message_delta"]

    expected = {"input_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 7}
    assert [told["usage"], *ends] == [{**expected, "output_tokens_details": {"thinking_tokens": 3}}] * 2
