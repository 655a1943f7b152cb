"""The official OpenAI SDK against a proxy without configuration and without any provider's key: a real model answers.

What it says is its own affair; that it is passed on whole, in the right shape and metered, is ours.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pydantic
import pytest

from tests.process import TollwayProcess, tollway

MODEL = "local/smollm2"
ASK: Any = [{"role": "user", "content": "Name a colour."}]
STARTED_S = 90.0  # the weights are read from the disk
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "schema": {
            "type": "object",
            "properties": {
                "capital": {"type": "boolean"},
                "size": {"type": "string", "enum": ["small", "large"]},
            },
            "required": ["capital", "size"],
            "additionalProperties": False,
        },
    },
}


class Guess(pydantic.BaseModel):
    warm: bool


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    with tollway(tmp_path_factory.mktemp("local"), api_key=None, timeout_s=STARTED_S) as proxy:
        yield proxy


@pytest.fixture
def sdk(proxy: TollwayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=60) as sdk:
        yield sdk


@pytest.fixture
async def async_sdk(proxy: TollwayProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=60) as sdk:
        yield sdk


def totals(receipt: dict[str, Any]) -> tuple[int, int]:
    return receipt["usage"]["input_tokens"], receipt["usage"]["output_tokens"]


def test_the_first_start_prints_all_that_a_client_needs(proxy: TollwayProcess) -> None:
    assert proxy.api_key.startswith("tw-")
    assert proxy.stdout.count(proxy.api_key) >= 1
    assert "smollm2" in proxy.printed(r"^models: (.+)$")


def test_the_printed_curl_line_works_when_pasted(proxy: TollwayProcess) -> None:
    said = proxy.printed(r"^try it: (curl .+)$")

    assert proxy.base_url in said
    assert proxy.api_key in said


def test_chat_answers_and_the_receipt_agrees(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model=MODEL, messages=ASK, max_tokens=8)

    receipt = proxy.receipt(answer._request_id or "")
    assert answer.choices[0].message.content
    assert answer.usage is not None and answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0
    assert totals(receipt) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert (receipt["quality"], receipt["cost_nusd"]) == ("exact", 0)
    assert (receipt["provider"], receipt["outcome"]) == ("local", "ok")


def test_a_stream_is_metered_although_its_client_did_not_ask(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.create(model=MODEL, messages=ASK, max_tokens=8, stream=True) as stream:
        request_id = stream.response.headers["x-request-id"]
        chunks = list(stream)

    receipt = proxy.receipt(request_id)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")
    assert all(chunk.usage is None for chunk in chunks)
    assert receipt["quality"] == "exact"
    assert min(totals(receipt)) > 0


def test_a_stream_that_asks_for_usage_gets_what_the_receipt_has(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=8, stream=True, stream_options={"include_usage": True}
    ) as stream:
        request_id = stream.response.headers["x-request-id"]
        (usage,) = (chunk.usage for chunk in stream if chunk.usage)

    assert totals(proxy.receipt(request_id)) == (usage.prompt_tokens, usage.completion_tokens)


def test_a_bare_name_is_enough_where_it_is_not_ambiguous(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="smollm2", messages=ASK, max_tokens=4)

    assert answer.choices[0].message.content


def test_a_json_schema_is_kept_to(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Describe Paris as JSON."}],
        response_format=SCHEMA,
        max_tokens=48,
        temperature=0,
    )

    described = json.loads(answer.choices[0].message.content or "")
    assert sorted(described) == ["capital", "size"]
    assert described["capital"] in (True, False)
    assert described["size"] in ("small", "large")


def test_the_sdks_own_parsing_of_a_schema_works(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "Is the sun warm? Answer as JSON."}],
        response_format=Guess,
        max_tokens=32,
        temperature=0,
    )

    assert isinstance(answer.choices[0].message.parsed, Guess)


def test_a_response_is_metered(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    answer = sdk.responses.create(model=MODEL, input="Name a colour.", max_output_tokens=8)

    assert answer.output_text
    assert answer.usage is not None
    assert totals(proxy.receipt(answer._request_id or "")) == (answer.usage.input_tokens, answer.usage.output_tokens)


def test_a_response_stream_is_metered(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    with sdk.responses.create(model=MODEL, input="Name a colour.", max_output_tokens=8, stream=True) as stream:
        request_id = stream.response.headers["x-request-id"]
        events = list(stream)

    receipt = proxy.receipt(request_id)
    (completed,) = (event.response for event in events if event.type == "response.completed")
    assert completed.usage is not None
    assert totals(receipt) == (completed.usage.input_tokens, completed.usage.output_tokens)
    assert receipt["quality"] == "exact"


def test_a_completion_is_metered(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    answer = sdk.completions.create(model=MODEL, prompt="The capital of France is", max_tokens=4)

    assert answer.choices[0].text
    assert answer.usage is not None
    assert totals(proxy.receipt(answer._request_id or "")) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )


def test_the_model_is_listed(sdk: openai.OpenAI) -> None:
    listed = [model.id for model in sdk.models.list()]

    assert MODEL in listed
    assert sdk.models.retrieve(MODEL).id == MODEL


async def test_the_async_sdk_streams(async_sdk: openai.AsyncOpenAI) -> None:
    stream = await async_sdk.chat.completions.create(model=MODEL, messages=ASK, max_tokens=8, stream=True)

    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text


def test_a_bad_key_and_an_unknown_model_are_refused(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    with (
        openai.OpenAI(base_url=proxy.base_url, api_key="tw-" + "0" * 64, max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as unknown_key,
    ):
        stranger.chat.completions.create(model=MODEL, messages=ASK)
    with pytest.raises(openai.NotFoundError) as unknown_model:
        sdk.chat.completions.create(model="local/none", messages=ASK)

    assert unknown_key.value.code == "invalid_api_key"
    assert unknown_model.value.code == "model_not_found"


def test_what_the_model_server_refuses_is_a_bad_request(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 20_000}], max_tokens=4)

    receipt = proxy.receipt(refused.value.request_id or "")
    assert receipt["status"] == 400
    assert totals(receipt) == (0, 0)


def test_an_endpoint_that_the_model_does_not_have_is_refused_before_anything_is_sent(
    proxy: TollwayProcess, sdk: openai.OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.embeddings.create(model=MODEL, input="a")

    assert refused.value.code == "unsupported_endpoint"
    assert proxy.entries(refused.value.request_id or "") == []


def test_usage_by_model_adds_up(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    sdk.chat.completions.create(model=MODEL, messages=ASK, max_tokens=4)

    printed = proxy.command("usage", "--json", "--by", "model")

    rows = json.loads(printed.stdout)
    (booked,) = proxy.rows("SELECT count(*) AS requests, sum(output_text) AS output_tokens FROM requests")
    assert printed.returncode == 0, printed.stderr
    assert MODEL in {row["group"] for row in rows}
    assert {name: sum(row[name] for row in rows) for name in booked} == booked
