"""The official OpenAI SDK, unchanged, against a running proxy whose upstream is the fake one."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config, tollway

TEXT = "".join(replies.WORDS)
MODELS = ("plain", "limited", "broken", "picky", "cut")
LESSER_KEY = "tw-" + secrets.token_hex(32)
ASK: Any = [{"role": "user", "content": "hello"}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture(scope="module")
def proxy(shared_upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    shared_upstream.serve(*MODELS)
    setting = config(
        shared_upstream,
        {"openai": MODELS, "acme": ["plain"]},
        models={"smart": {"targets": ["openai/plain"]}},
        aliases={"gpt-4": "openai/plain"},
        keys={"lesser": {"key": "env:LESSER_KEY", "models": ["acme/*"]}},
    )
    setting.env["LESSER_KEY"] = LESSER_KEY
    with tollway(tmp_path_factory.mktemp("sdk"), setting) as proxy:
        yield proxy


@pytest.fixture
def sdk(proxy: TollwayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=10) as sdk:
        yield sdk


@pytest.fixture
async def async_sdk(proxy: TollwayProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=10) as sdk:
        yield sdk


def totals(receipt: dict[str, Any]) -> tuple[int, int]:
    return receipt["usage"]["input_tokens"], receipt["usage"]["output_tokens"]


# --- chat ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["openai/plain", "acme/plain", "smart", "gpt-4"])
def test_chat_answers_by_every_kind_of_name(proxy: TollwayProcess, sdk: openai.OpenAI, model: str) -> None:
    answer = sdk.chat.completions.create(model=model, messages=ASK)

    receipt = proxy.receipt(answer._request_id or "")
    assert answer.choices[0].message.content == TEXT
    assert answer.usage is not None
    assert totals(receipt) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert (receipt["model"], receipt["upstream_model"], receipt["quality"]) == (model, "plain", "exact")


def test_a_chat_stream_is_complete_and_metered(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.create(model="openai/plain", messages=ASK, stream=True) as stream:
        request_id = stream.response.headers["x-request-id"]
        chunks = list(stream)

    receipt = proxy.receipt(request_id)
    usage = replies.usage_of("chat/completions")
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    assert totals(receipt) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert (receipt["usage"]["cache_read"], receipt["usage"]["reasoning"], receipt["quality"]) == (4, 2, "exact")


def test_a_chat_stream_ends_with_usage_if_asked(sdk: openai.OpenAI) -> None:
    chunks = list(
        sdk.chat.completions.create(model="openai/plain", messages=ASK, stream=True, stream_options={"include_usage": True})
    )

    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.model_dump(exclude_none=True) == replies.usage_of("chat/completions")
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


def test_a_tool_call_arrives_whole(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="openai/plain", messages=ASK, tools=[TOOL])

    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Łódź"}')
    assert answer.choices[0].finish_reason == "tool_calls"


def test_a_tool_calls_arguments_stream_through(sdk: openai.OpenAI) -> None:
    stream = sdk.chat.completions.create(model="openai/plain", messages=ASK, tools=[TOOL], stream=True)

    deltas = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]

    parts = [delta.function.arguments or "" for delta in deltas if delta.function]
    assert "".join(parts) == '{"city":"Łódź"}'
    assert len(parts) > 2
    assert {delta.index for delta in deltas} == {0}


# --- the other endpoints ---------------------------------------------------------------------------------------------


def test_a_response_is_metered(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    answer = sdk.responses.create(model="openai/plain", input="hello")

    receipt = proxy.receipt(answer._request_id or "")
    assert answer.output_text == TEXT
    assert answer.usage is not None
    assert totals(receipt) == (answer.usage.input_tokens, answer.usage.output_tokens)
    assert (receipt["endpoint"], receipt["stream"]) == ("responses", False)


def test_a_response_stream_keeps_its_events_and_is_metered(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    with sdk.responses.create(model="openai/plain", input="hello", stream=True) as stream:
        request_id = stream.response.headers["x-request-id"]
        events = list(stream)

    receipt = proxy.receipt(request_id)
    usage = replies.usage_of("responses")
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == TEXT
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    assert totals(receipt) == (usage["input_tokens"], usage["output_tokens"])


def test_a_completion_is_metered(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    answer = sdk.completions.create(model="openai/plain", prompt="hello")

    assert answer.choices[0].text == TEXT
    assert totals(proxy.receipt(answer._request_id or "")) == (11, len(replies.WORDS))


def test_a_completion_stream_is_metered(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    with sdk.completions.create(model="openai/plain", prompt="hello", stream=True) as stream:
        request_id = stream.response.headers["x-request-id"]
        text = "".join(chunk.choices[0].text for chunk in stream)

    assert text == TEXT
    assert totals(proxy.receipt(request_id)) == (11, len(replies.WORDS))


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_come_back_in_either_encoding(proxy: TollwayProcess, sdk: openai.OpenAI, encoding: Any) -> None:
    answer = sdk.embeddings.with_raw_response.create(model="openai/plain", input=["a", "b"], encoding_format=encoding)

    rows = answer.parse().data
    assert len(rows) == 2
    assert all(isinstance(row.embedding, str if encoding == "base64" else list) for row in rows)
    assert totals(proxy.receipt(answer.headers["x-request-id"])) == (11, 0)


def test_embeddings_as_the_sdk_asks_for_them_by_default(sdk: openai.OpenAI) -> None:
    answer = sdk.embeddings.create(model="openai/plain", input="a")

    assert answer.data[0].embedding == [0.5, -0.25, 0.125]


def test_models_are_listed_and_found_by_name(sdk: openai.OpenAI) -> None:
    listed = [model.id for model in sdk.models.list()]

    assert {"smart", "gpt-4", "openai/plain", "acme/plain"} <= set(listed)
    assert len(listed) == len(set(listed))
    assert [sdk.models.retrieve(name).id for name in listed] == listed


def test_a_model_that_is_not_there_cannot_be_retrieved(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        sdk.models.retrieve("nobody/knows-this")

    assert refused.value.code == "model_not_found"


# --- headers ---------------------------------------------------------------------------------------------------------


def test_an_answer_says_who_gave_it_and_at_which_try(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.with_raw_response.create(model="smart", messages=ASK)

    assert answer.headers["x-tollway-provider"] == "openai"
    assert answer.headers["x-tollway-model"] == "plain"
    assert answer.headers["x-tollway-attempts"] == "1"
    assert answer.parse()._request_id == answer.headers["x-request-id"]


def test_request_ids_are_never_the_same(sdk: openai.OpenAI) -> None:
    ids = [sdk.chat.completions.create(model="openai/plain", messages=ASK)._request_id for _ in range(5)]

    assert all(ids)
    assert len(set(ids)) == 5


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["tw-" + "0" * 64, "sk-somebody-elses", "x"])
def test_a_bad_key_is_an_authentication_error(proxy: TollwayProcess, key: str) -> None:
    with (
        openai.OpenAI(base_url=proxy.base_url, api_key=key, max_retries=0) as sdk,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        sdk.chat.completions.create(model="openai/plain", messages=ASK)

    assert refused.value.code == "invalid_api_key"
    assert refused.value.type == "authentication_error"
    assert refused.value.request_id


def test_a_key_may_use_only_its_own_models(proxy: TollwayProcess) -> None:
    with openai.OpenAI(base_url=proxy.base_url, api_key=LESSER_KEY, max_retries=0) as sdk:
        allowed = sdk.chat.completions.create(model="acme/plain", messages=ASK)
        with pytest.raises(openai.PermissionDeniedError) as refused:
            sdk.chat.completions.create(model="openai/plain", messages=ASK)

    assert allowed.choices[0].message.content == TEXT
    assert refused.value.code == "not_allowed"


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_is_not_found(proxy: TollwayProcess, sdk: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        sdk.chat.completions.create(model="nobody/knows-this", messages=ASK, stream=stream)

    assert refused.value.code == "model_not_found"
    assert proxy.receipt(refused.value.request_id or "")["status"] == 404


def test_what_the_provider_refuses_is_a_bad_request_in_its_own_words(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, sdk: openai.OpenAI
) -> None:
    shared_upstream.script("picky", replies.error(400, "unsupported_value", message="temperature must be 1"))

    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model="openai/picky", messages=ASK, temperature=0.5)

    assert "temperature must be 1" in refused.value.message
    assert refused.value.code == "unsupported_value"
    assert proxy.entries(refused.value.request_id or "") == [(1, "RESERVE"), (1, "VOID")]


def test_a_field_that_the_provider_misses_is_a_bad_request(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        sdk.post("/chat/completions", cast_to=object, body={"model": "openai/plain"})


def test_a_rate_limit_of_the_provider_is_a_rate_limit_error(shared_upstream: OpenAIUpstream, sdk: openai.OpenAI) -> None:
    shared_upstream.script("limited", replies.error(429, "rate_limit_exceeded", retry_after="7"))

    with pytest.raises(openai.RateLimitError) as refused:
        sdk.chat.completions.create(model="openai/limited", messages=ASK)

    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.response.headers["retry-after"] == "7"


def test_the_sdk_does_not_repeat_what_the_proxy_has_given_up(proxy: TollwayProcess, shared_upstream: OpenAIUpstream) -> None:
    shared_upstream.script("broken", replies.error(500))

    with (
        openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=2) as sdk,
        pytest.raises(openai.InternalServerError) as refused,
    ):
        sdk.chat.completions.create(model="openai/broken", messages=ASK)

    assert refused.value.status_code == 502
    # The proxy's own three tries; a client that began anew each time would make them nine.
    assert len(shared_upstream.of("broken")) == 3


def test_a_stream_that_breaks_raises_after_what_had_arrived(shared_upstream: OpenAIUpstream, sdk: openai.OpenAI) -> None:
    shared_upstream.script("cut", replies.canned(keep=4, end="rst", gap_s=0.02))
    got = []

    with pytest.raises(openai.APIError) as broken:
        for chunk in sdk.chat.completions.create(model="openai/cut", messages=ASK, stream=True):
            got.append(chunk.choices[0].delta.content)  # noqa: PERF401  # what came before the error is the point

    assert got == ["", *replies.WORDS[:3]]
    assert broken.value.code == "upstream_error"


def test_a_client_with_its_own_retries_gets_through_a_rate_limit(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream
) -> None:
    shared_upstream.script("limited", replies.error(429, "rate_limit_exceeded", retry_after="1"), replies.canned())

    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=2) as sdk:
        answer = sdk.chat.completions.create(model="openai/limited", messages=ASK)

    assert answer.choices[0].message.content == TEXT


# --- the asynchronous one --------------------------------------------------------------------------------------------


async def test_the_async_sdk_chats(proxy: TollwayProcess, async_sdk: openai.AsyncOpenAI) -> None:
    answer = await async_sdk.chat.completions.create(model="openai/plain", messages=ASK)

    assert answer.choices[0].message.content == TEXT
    assert answer._request_id


async def test_the_async_sdk_streams(async_sdk: openai.AsyncOpenAI) -> None:
    stream = await async_sdk.chat.completions.create(model="openai/plain", messages=ASK, stream=True)

    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == TEXT


async def test_the_async_sdk_streams_responses(async_sdk: openai.AsyncOpenAI) -> None:
    stream = await async_sdk.responses.create(model="openai/plain", input="hello", stream=True)

    types = [event.type async for event in stream]

    assert types[0] == "response.created"
    assert types[-1] == "response.completed"


async def test_the_async_sdk_embeds_and_lists(async_sdk: openai.AsyncOpenAI) -> None:
    vectors = await async_sdk.embeddings.create(model="openai/plain", input="a")
    listed = [model.id async for model in async_sdk.models.list()]

    assert vectors.data[0].embedding == [0.5, -0.25, 0.125]
    assert "smart" in listed


async def test_the_async_sdk_raises_the_same_errors(async_sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        await async_sdk.chat.completions.create(model="nobody/knows-this", messages=ASK)

    assert refused.value.code == "model_not_found"


async def test_the_sdks_stream_helper_works(async_sdk: openai.AsyncOpenAI) -> None:
    async with async_sdk.chat.completions.stream(model="openai/plain", messages=ASK) as stream:
        completion = await stream.get_final_completion()

    assert completion.choices[0].message.content == TEXT
