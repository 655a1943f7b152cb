"""OpenAI's clients and Amazon Bedrock: a running proxy between the official SDK and a strict Bedrock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anthropic
import openai
import pytest
import yaml

from providers import eventstream
from providers.bedrock.stream import CONTENT_TYPE
from tests.fakes.bedrock import BEARER, COUNTED, KEY, REGION, SECRET, TOKEN, Bedrock
from tests.process import Setting, TollwayProcess, tollway
from tests.recordings import Recording, recordings

ASK: Any = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
TOOL: Any = {"type": "function", "function": {"name": "get_temperature", "parameters": {"type": "object"}}}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}
# The region's own credentials may be those of whoever runs the tests.
ALONE = {"AWS_EC2_METADATA_DISABLED": "true"}


def recorded(name: str) -> Recording:
    return next(it for it in recordings("bedrock") if it.name == name)


PLAIN = recorded("test_bedrock/test_bedrock_model#0")
STREAM = recorded("test_bedrock/test_bedrock_model_stream#0")
THINKING = recorded("test_bedrock/test_bedrock_model_thinking_part_stream#0")
TITAN = recorded("test_embeddings/TestBedrock.test_titan_v2_minimal#0")
COUNT = next(it for it in recordings("bedrock") if it.path.endswith("/count-tokens"))
CALLING = recorded("test_bedrock/test_bedrock_moonshotai_tool_call#0")


def model_of(recording: Recording) -> str:
    return unquote(recording.path.split("/")[2])


def setting(bedrock: Bedrock, env: dict[str, str], **fields: Any) -> Setting:
    row = {"region": REGION, "base_url": bedrock.base_url, "models": [*bedrock.answers, "gone"], **fields}
    return Setting(yaml.safe_dump({"providers": {"bedrock": row}, "retries": {"max_attempts": 1}}), {**ALONE, **env})


@pytest.fixture(scope="module")
def bedrock() -> Iterator[Bedrock]:
    exception = eventstream.encode(
        {":message-type": "exception", ":exception-type": "throttlingException"}, b'{"message":"Too many requests"}'
    )
    started = eventstream.encode({":message-type": "event", ":event-type": "messageStart"}, b'{"role":"assistant"}')
    word = b'{"contentBlockIndex":0,"delta":{"text":"hel"}}'
    begun = started + eventstream.encode({":message-type": "event", ":event-type": "contentBlockDelta"}, word)
    with Bedrock() as bedrock:
        bedrock.answers = {
            "plain": PLAIN,
            "stream": STREAM,
            "thinking": THINKING,
            "us.anthropic.claude-thinking": PLAIN,
            "calling": CALLING,
            "amazon.titan-embed-text-v2:0": TITAN,
            "cohere.embed-v4:0": recorded("test_embeddings/TestBedrock.test_cohere_v4_minimal#0"),
            "busy": (429, "application/json", b'{"message":"Too many requests, please wait"}'),
            "failed": (424, "application/json", b'{"message":"The model returned an error"}'),
            "throttled": (200, CONTENT_TYPE, exception),
            "broken": (200, CONTENT_TYPE, begun + exception),
            "damaged": (200, CONTENT_TYPE, begun + b"\0" + exception[1:]),
            "counted": COUNT,
            "uncounted": (400, "application/json", b'{"message":"The provided model does not support counting tokens."}'),
            "cut": (200, CONTENT_TYPE, STREAM.body[: len(STREAM.body) // 2]),
        }
        yield bedrock


@pytest.fixture(scope="module")
def proxy(bedrock: Bedrock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    with tollway(tmp_path_factory.mktemp("bedrock"), setting(bedrock, CREDENTIALS)) as proxy:
        yield proxy


@pytest.fixture
def sdk(proxy: TollwayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=20) as sdk:
        yield sdk


def counts(receipt: dict[str, Any]) -> tuple[int, int]:
    return receipt["usage"]["input_tokens"], receipt["usage"]["output_tokens"]


def test_an_answer_comes_back_and_is_metered(proxy: TollwayProcess, sdk: openai.OpenAI, bedrock: Bedrock) -> None:
    was = json.loads(PLAIN.body)

    answer = sdk.chat.completions.create(model="bedrock/plain", messages=ASK, max_tokens=50)

    receipt = proxy.receipt(answer._request_id or "")
    assert answer.choices[0].message.content == was["output"]["message"]["content"][0]["text"]
    assert counts(receipt) == (was["usage"]["inputTokens"], was["usage"]["outputTokens"])
    assert (receipt["quality"], receipt["upstream_model"]) == ("exact", "plain")
    (seen,) = bedrock.of("plain")
    assert (seen.problem, seen.action) == ("", "converse")
    assert seen.body == {
        "system": [{"text": "be brief"}],
        "messages": [{"role": "user", "content": [{"text": "hello"}]}],
        "inferenceConfig": {"maxTokens": 50},
    }


def spoken(body: bytes) -> str:
    """What the frames say, read directly."""
    deltas = [
        json.loads(it.payload)["delta"]
        for it in eventstream.Reader().feed(body)
        if it.headers[":event-type"] == "contentBlockDelta"
    ]
    return "".join(it.get("text", "") for it in deltas)


@pytest.mark.parametrize(("model", "recording"), [("stream", STREAM), ("thinking", THINKING)])
def test_a_stream_comes_back_and_is_metered(
    proxy: TollwayProcess, sdk: openai.OpenAI, bedrock: Bedrock, model: str, recording: Recording
) -> None:
    with sdk.chat.completions.create(model=f"bedrock/{model}", messages=ASK, stream=True) as stream:
        request_id = stream.response.headers["x-request-id"]
        chunks = list(stream)

    usage = json.loads(eventstream.Reader().feed(recording.body)[-1].payload)["usage"]
    receipt = proxy.receipt(request_id)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == spoken(recording.body)
    assert counts(receipt) == (usage["inputTokens"], usage["outputTokens"])
    assert [it.action for it in bedrock.of(model)] == ["converse-stream"]
    assert all(chunk.usage is None for chunk in chunks)


def test_a_call_of_a_tool_comes_back(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="bedrock/calling", messages=ASK, tools=[TOOL])

    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_temperature", {"city": "London"})
    assert answer.choices[0].finish_reason == "tool_calls"


def test_claudes_thoughts_reach_a_client_of_messages_with_their_seal_and_come_back(
    proxy: TollwayProcess, bedrock: Bedrock
) -> None:
    root = proxy.base_url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=root, api_key=proxy.api_key, max_retries=0, timeout=20) as sdk:
        with sdk.messages.stream(model="bedrock/thinking", max_tokens=2000, messages=ASK[1:]) as stream:
            first = stream.get_final_message()
        turns: Any = [*ASK[1:], {"role": "assistant", "content": [it.model_dump() for it in first.content]}, *ASK[1:]]
        sdk.messages.create(model="bedrock/us.anthropic.claude-thinking", max_tokens=2000, messages=turns)

    thought = first.content[0]
    assert isinstance(thought, anthropic.types.ThinkingBlock)
    assert thought.signature
    (seen,) = bedrock.of("us.anthropic.claude-thinking")
    assert seen.problem == ""
    assert seen.body["messages"][1]["content"][0] == {
        "reasoningContent": {"reasoningText": {"text": thought.thinking, "signature": thought.signature}}
    }


def test_embeddings_whose_tokens_are_told_in_a_header_are_metered(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    answer = sdk.embeddings.with_raw_response.create(model="bedrock/cohere.embed-v4:0", input=["hello", "world"])

    receipt = proxy.receipt(answer.headers["x-request-id"])
    assert (counts(receipt), receipt["quality"]) == ((COUNTED, 0), "exact")
    assert answer.parse().usage.prompt_tokens == COUNTED


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/messages/count_tokens", {"model": "bedrock/counted"}, "input_tokens"),
        ("beta/models/bedrock/counted:countTokens", {}, "totalTokens"),
    ],
)
def test_tokens_are_counted_there_for_clients_of_other_protocols(
    proxy: TollwayProcess, bedrock: Bedrock, path: str, body: dict[str, Any], field: str
) -> None:
    contents = [{"role": "user", "parts": [{"text": "hello"}]}]
    body |= {"messages": [{"role": "user", "content": "hello"}]} if body else {"contents": contents}
    before = len(bedrock.of("counted"))

    with proxy.client() as client:
        answer = client.post(f"{proxy.base_url}{path}", json=body)

    assert (answer.status_code, answer.json()) == (200, {field: json.loads(COUNT.body)["inputTokens"]})
    assert "x-tollway-token-count" not in answer.headers
    (seen,) = bedrock.of("counted")[before:]
    assert (seen.problem, seen.action) == ("", "count-tokens")
    assert seen.body == {"input": {"converse": {"messages": [{"role": "user", "content": [{"text": "hello"}]}]}}}
    receipt = proxy.receipt(answer.headers["x-request-id"])
    assert (receipt["outcome"], receipt["cost_nusd"]) == ("ok", 0)


def test_what_a_model_cannot_be_counted_by_is_estimated(proxy: TollwayProcess, bedrock: Bedrock) -> None:
    body = {"model": "bedrock/uncounted", "messages": [{"role": "user", "content": "hello"}]}

    with proxy.client() as client:
        answer = client.post("/messages/count_tokens", json=body)

    assert (answer.status_code, answer.headers["x-tollway-token-count"]) == (200, "estimate")
    assert [seen.action for seen in bedrock.of("uncounted")] == ["count-tokens"]


def test_embeddings_come_back_and_are_metered(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    was = json.loads(TITAN.body)

    answer = sdk.embeddings.create(model="bedrock/amazon.titan-embed-text-v2:0", input="hello", encoding_format="float")

    assert answer.data[0].embedding == was["embedding"]
    assert answer.model == "amazon.titan-embed-text-v2:0"
    assert answer.usage.prompt_tokens == was["inputTextTokenCount"]


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("busy", 429, "rate_limit_exceeded"),
        ("failed", 502, "upstream_error"),
        ("gone", 400, None),
    ],
)
def test_an_error_keeps_its_meaning(sdk: openai.OpenAI, model: str, status: int, code: str | None) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        sdk.chat.completions.create(model=f"bedrock/{model}", messages=ASK)

    assert (refused.value.status_code, refused.value.code) == (status, code)


def test_an_exception_before_the_stream_is_an_error_with_its_status(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError):
        sdk.chat.completions.create(model="bedrock/throttled", messages=ASK, stream=True)


@pytest.mark.parametrize("model", ["broken", "damaged", "cut"])
def test_a_stream_that_breaks_off_ends_with_an_error(sdk: openai.OpenAI, model: str) -> None:
    stream = sdk.chat.completions.create(model=f"bedrock/{model}", messages=ASK, stream=True)
    assert next(stream).choices

    with pytest.raises(openai.APIError):
        list(stream)


def test_what_bedrock_cannot_be_told_is_refused_before_it_is_asked(sdk: openai.OpenAI, bedrock: Bedrock) -> None:
    asked = len(bedrock.of("plain"))

    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model="bedrock/plain", messages=ASK, n=2)

    assert refused.value.param == "n"
    assert len(bedrock.of("plain")) == asked


Start = Callable[[Setting], TollwayProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda setting: stack.enter_context(tollway(tmp_path / "home", setting))


def said(proxy: TollwayProcess) -> str:
    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=20) as sdk:
        return sdk.chat.completions.create(model="bedrock/plain", messages=ASK).choices[0].message.content or ""


def test_a_key_of_bedrocks_own_opens_it_too(bedrock: Bedrock, start: Start) -> None:
    proxy = start(setting(bedrock, {"KEY": BEARER}, api_key="env:KEY"))

    assert said(proxy)
    assert bedrock.of("plain")[-1].headers["authorization"] == f"Bearer {BEARER}"


def test_without_credentials_the_account_is_refused(bedrock: Bedrock, start: Start) -> None:
    proxy = start(setting(bedrock, {}))

    with pytest.raises(openai.APIStatusError) as refused:
        said(proxy)

    assert refused.value.code == "upstream_auth"
