"""Counts of tokens, and conversations made shorter, with the SDKs that have calls for it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.fakes.replies import answer, canned, error
from tests.process import TollwayProcess, config, tollway

with warnings.catch_warnings():
    # Google's SDK has deprecations of its own.
    warnings.simplefilter("ignore")
    from google import genai
    from google.genai import types

COUNT = replies.usage_of("responses/input_tokens")["prompt_tokens"]


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIUpstream]:
    with OpenAIUpstream() as upstream:
        yield upstream
        assert upstream.problems == []


@pytest.fixture(scope="module")
def proxy(upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    names = {"openai": ["gpt", "other"], "mistral": ["small"], "mine": ["llama"]}
    prices = [{"model": "openai/gpt", "input_usd_per_mtok": 2.0, "output_usd_per_mtok": 8.0}]
    with tollway(tmp_path_factory.mktemp("counting"), config(upstream, names, ledger={"prices": prices})) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: TollwayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0) as client:
        yield client


def test_openai_counts_for_its_own_sdk(upstream: OpenAIUpstream, proxy: TollwayProcess, client: openai.OpenAI) -> None:
    upstream.script("gpt", canned())

    raw = client.responses.input_tokens.with_raw_response.count(model="openai/gpt", input="hello", instructions="be brief")

    counted = raw.parse()
    assert (counted.object, counted.input_tokens) == ("response.input_tokens", COUNT)
    assert upstream.seen[-1].json == {"model": "gpt", "input": "hello", "instructions": "be brief"}
    assert "x-tollway-token-count" not in raw.headers
    receipt = proxy.receipt(raw.headers["x-request-id"])
    assert (receipt["endpoint"], receipt["cost_nusd"], receipt["outcome"]) == ("responses/input_tokens", 0, "ok")


def test_what_would_be_streamed_is_counted_too(upstream: OpenAIUpstream, client: openai.OpenAI) -> None:
    upstream.script("gpt", canned())

    counted = client.responses.input_tokens.count(model="openai/gpt", input="hello", extra_body={"stream": True})

    assert counted.input_tokens == COUNT
    assert upstream.seen[-1].json["stream"] is True


def test_openai_counts_for_anthropics_sdk_and_googles(upstream: OpenAIUpstream, proxy: TollwayProcess) -> None:
    upstream.script("gpt", canned(), canned())
    root = proxy.base_url.removesuffix("/v1")
    tools: Any = [{"name": "look", "input_schema": {"type": "object"}}]

    with anthropic.Anthropic(base_url=root, api_key=proxy.api_key, max_retries=0) as sdk:
        first = sdk.messages.count_tokens(model="openai/gpt", messages=[{"role": "user", "content": "hello"}], tools=tools)
    with genai.Client(api_key=proxy.api_key, http_options=types.HttpOptions(base_url=root)) as google:
        second = google.models.count_tokens(model="openai/gpt", contents="hello")

    assert (first.input_tokens, second.total_tokens) == (COUNT, COUNT)
    one, two = upstream.seen[-2:]
    assert one.json.keys() == {"model", "input", "tools"}
    assert two.json.keys() == {"model", "input"}


@pytest.mark.parametrize("model", ["mistral/small", "mine/llama"])
def test_whose_provider_counts_nothing_is_estimated(proxy: TollwayProcess, client: openai.OpenAI, model: str) -> None:
    raw = client.responses.input_tokens.with_raw_response.count(model=model, input="word " * 400)

    assert 300 < raw.parse().input_tokens < 700
    assert raw.headers["x-tollway-token-count"] == "estimate"
    assert proxy.entries(raw.headers["x-request-id"]) == []


def test_a_count_that_openai_refuses_anthropics_client_is_estimated(upstream: OpenAIUpstream, proxy: TollwayProcess) -> None:
    upstream.script("other", error(400, "unsupported_model"))
    body = {"model": "openai/other", "messages": [{"role": "user", "content": "word " * 400}]}

    with proxy.client() as client:
        told = client.post("/messages/count_tokens", json=body)

    assert (told.status_code, told.headers["x-tollway-token-count"]) == (200, "estimate")


def test_a_count_may_go_on_from_a_response_of_the_same_key(upstream: OpenAIUpstream, client: openai.OpenAI) -> None:
    upstream.script("gpt", canned(), canned())
    made = client.responses.create(model="openai/gpt", input="hello")

    counted = client.responses.input_tokens.count(model="openai/gpt", input="more", previous_response_id=made.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.input_tokens.count(model="openai/gpt", input="more", previous_response_id="resp_nobodys")

    assert counted.input_tokens == COUNT
    assert refused.value.code == "previous_response_not_found"


def test_a_conversation_is_compacted_and_charged_by_its_usage(
    upstream: OpenAIUpstream, proxy: TollwayProcess, client: openai.OpenAI
) -> None:
    upstream.script("gpt", canned())

    raw = client.responses.with_raw_response.compact(model="openai/gpt", input="hello", instructions="be brief")

    made, usage = raw.parse(), replies.usage_of("responses/compact")
    assert (made.object, made.output[-1].type) == ("response.compaction", "compaction")
    assert upstream.seen[-1].json == {"model": "gpt", "input": "hello", "instructions": "be brief"}
    receipt = proxy.receipt(raw.headers["x-request-id"])
    assert receipt["endpoint"] == "responses/compact"
    assert receipt["usage"]["input_tokens"] == usage["input_tokens"]
    assert receipt["cost_nusd"] == usage["input_tokens"] * 2_000 + usage["output_tokens"] * 8_000
    assert [kind for _, kind in proxy.entries(receipt["request_id"])] == ["RESERVE", "SETTLE"]


@pytest.mark.parametrize("model", ["mistral/small", "mine/llama", "auto"])
def test_whoever_cannot_compact_is_not_asked(upstream: OpenAIUpstream, client: openai.OpenAI, model: str) -> None:
    asked = len(upstream.seen)

    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.compact(model=model, input="hello")

    assert (refused.value.code, refused.value.param) == ("unsupported_endpoint", "model")
    assert len(upstream.seen) == asked


def test_a_budget_reserves_what_compacting_may_cost(upstream: OpenAIUpstream, proxy: TollwayProcess) -> None:
    admin = proxy.base_url.replace("/v1", "/admin/v1")
    key = httpx.post(f"{admin}/keys", json={"name": "poor"}, headers=proxy.headers).json()
    budget = {"scope": f"key:{key['id']}", "usd": "0.001", "period": "total"}
    assert httpx.post(f"{admin}/budgets", json=budget, headers=proxy.headers).status_code == 201
    asked = len(upstream.seen)

    with (
        openai.OpenAI(base_url=proxy.base_url, api_key=key["key"], max_retries=0) as poor,
        pytest.raises(openai.RateLimitError) as refused,
    ):
        poor.responses.compact(model="openai/gpt", input="hello")

    assert (refused.value.code, len(upstream.seen)) == ("budget_exceeded", asked)


def test_what_is_asked_of_a_count_is_what_its_schema_says(proxy: TollwayProcess) -> None:
    with proxy.client() as client:
        paths = client.get(proxy.base_url.replace("/v1", "/openapi.json")).json()["paths"]
        unnamed = client.post("/responses/input_tokens", json={"input": "hello"})

    assert {"/v1/responses/input_tokens", "/v1/responses/compact"} <= paths.keys()
    assert (unnamed.status_code, unnamed.json()["error"]["param"]) == (400, "model")


def test_an_answer_that_is_no_compaction_is_an_error(upstream: OpenAIUpstream, client: openai.OpenAI) -> None:
    upstream.script("gpt", *[answer([])] * 3)

    with pytest.raises(openai.InternalServerError):
        client.responses.compact(model="openai/gpt", input="hello")
