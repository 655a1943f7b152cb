"""OpenAI's clients and Cohere: a running proxy between the official SDK and recorded answers of v2/chat."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import yaml

from tests.fakes.posts import Post, Said, serving
from tests.process import Setting, TollwayProcess, tollway
from tests.recordings import Recording, recordings

KEY = "co-0123456789abcdef"
ASK: Any = [{"role": "user", "content": "hello"}]
TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
FIELDS = {
    "model",
    "messages",
    "stream",
    "tools",
    "tool_choice",
    "max_tokens",
    "temperature",
    "p",
    "k",
    "stop_sequences",
    "seed",
}


def recorded(name: str) -> Recording:
    return next(it for it in recordings("cohere") if it.name == name)


PLAIN = recorded("test_cohere/test_cohere_model_instructions#0")
CALLING = recorded("test_tool_choice_matrix/test_tool_choice_matrix[auto-cohere]#0")
WORDS = ("Łódź ", "is ", "a city.")
USAGE = {"billed_units": {"input_tokens": 5, "output_tokens": 7}, "tokens": {"input_tokens": 71, "output_tokens": 9}}


def stream() -> bytes:
    """A stream in the form that Cohere's reference shows."""
    events: list[dict[str, Any]] = [
        {"type": "message-start", "id": "i", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        *({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": it}}}} for it in WORDS),
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": USAGE}},
    ]
    return b"".join(f"event: {it['type']}\ndata: {json.dumps(it)}\n\n".encode() for it in events)


def answer(post: Post) -> Said:
    body = json.loads(post.body)
    if post.headers.get("authorization") != f"Bearer {KEY}":
        return Said(401, "application/json", b'{"message":"invalid api token"}')
    if post.path != "/v2/chat" or set(body) - FIELDS:
        return Said(400, "application/json", json.dumps({"message": f"wrong: {post.path} {sorted(body)}"}).encode())
    match body["model"], body["stream"]:
        case "plain", False:
            return Said(200, "application/json", PLAIN.body)
        case "plain", True:
            return Said(200, "text/event-stream", stream(), pieces=True)
        case "calling", False:
            return Said(200, "application/json", CALLING.body)
        case _:
            return Said(404, "application/json", json.dumps({"message": f"model '{body['model']}' not found"}).encode())


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    with serving(answer) as base_url:
        row = {"api_key": "env:KEY", "base_url": base_url, "models": ["plain", "calling", "gone"]}
        setting = Setting(yaml.safe_dump({"providers": {"cohere": row}}), {"KEY": KEY})
        with tollway(tmp_path_factory.mktemp("cohere"), setting) as proxy:
            yield proxy


@pytest.fixture
def sdk(proxy: TollwayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=20) as sdk:
        yield sdk


def counts(receipt: dict[str, Any]) -> tuple[int, int]:
    return receipt["usage"]["input_tokens"], receipt["usage"]["output_tokens"]


def test_an_answer_comes_back_and_what_is_billed_is_metered(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    was = json.loads(PLAIN.body)

    told = sdk.chat.completions.create(model="cohere/plain", messages=ASK, temperature=0.5, stop="END")

    assert told.choices[0].message.content == was["message"]["content"][0]["text"]
    billed = was["usage"]["billed_units"]
    assert counts(proxy.receipt(told._request_id or "")) == (billed["input_tokens"], billed["output_tokens"])


def test_a_stream_comes_back_and_is_metered(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.create(model="cohere/plain", messages=ASK, stream=True) as told:
        request_id = told.response.headers["x-request-id"]
        chunks = list(told)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "".join(WORDS)
    assert counts(proxy.receipt(request_id)) == (5, 7)


def test_a_call_of_a_tool_comes_back_with_its_plan_as_a_thought(sdk: openai.OpenAI) -> None:
    told = sdk.chat.completions.create(model="cohere/calling", messages=ASK, tools=[TOOL], tool_choice="auto")

    message = told.choices[0].message
    (call,) = message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    assert message.model_dump()["reasoning_content"] == json.loads(CALLING.body)["message"]["tool_plan"]


def test_an_error_keeps_its_meaning(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="not found"):
        sdk.chat.completions.create(model="cohere/gone", messages=ASK)
