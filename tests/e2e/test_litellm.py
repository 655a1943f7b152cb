"""Providers that only litellm speaks to, through the whole gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
import yaml

from tests.fakes.long_tail import DAPI, TEXT, ZEN, LongTail
from tests.fakes.posts import serving
from tests.process import Setting, TollwayProcess, tollway

ASK: Any = [{"role": "user", "content": "hello"}]
PATIENT_S = 120


@pytest.fixture(scope="module")
def tail() -> LongTail:
    return LongTail()


@pytest.fixture(scope="module")
def proxy(tail: LongTail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    with serving(tail.answer) as url:
        providers = {
            "ibm": {
                "type": "litellm",
                "litellm_provider": "watsonx",
                "base_url": url,
                "litellm_settings": {"project_id": "project-1"},
                "litellm_secrets": {"zen_api_key": "env:ZEN"},
                "models": ["ibm/granite"],
            },
            "databricks": {
                "type": "litellm",
                "base_url": f"{url}/serving-endpoints",
                "api_key": "env:DAPI",
                "models": ["dbrx", "dbrx-2", "gte"],
            },
        }
        price = {"model": "ibm/ibm/granite", "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}
        text = yaml.safe_dump(
            {
                "providers": providers,
                "models": {"smart": {"targets": ["ibm/ibm/granite"], "fallbacks": ["databricks/dbrx"]}},
                "ledger": {"prices": [price]},
            }
        )
        with tollway(tmp_path_factory.mktemp("tollway"), Setting(text, {"ZEN": ZEN, "DAPI": DAPI})) as proxy:
            yield proxy


@pytest.fixture
def sdk(proxy: TollwayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=PATIENT_S) as sdk:
        yield sdk


def test_an_answer_is_metered_as_any_other(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="ibm/ibm/granite", messages=ASK)
    with sdk.chat.completions.create(model="ibm/ibm/granite", messages=ASK, stream=True) as stream:
        request_id = stream.response.headers["x-request-id"]
        chunks = list(stream)

    assert answer.choices[0].message.content == "".join(TEXT)
    assert "".join(it.delta.content or "" for chunk in chunks for it in chunk.choices) == "".join(TEXT)
    for identity in (answer._request_id or "", request_id):
        receipt = proxy.receipt(identity)
        assert (receipt["usage"]["input_tokens"], receipt["usage"]["output_tokens"]) == (11, 4)
        assert receipt["cost_nusd"] == 11 * 1_000 + 4 * 10_000


def test_clients_of_other_protocols_are_translated(proxy: TollwayProcess) -> None:
    base_url = proxy.base_url.removesuffix("/v1")
    tool: Any = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}

    with anthropic.Anthropic(base_url=base_url, api_key=proxy.api_key, max_retries=0, timeout=PATIENT_S) as sdk:
        message = sdk.messages.create(
            model="databricks/dbrx",
            max_tokens=50,
            messages=[{"role": "user", "content": "tool"}],
            tools=[tool],
            metadata={"user_id": "u"},
        )
        with sdk.messages.stream(model="databricks/dbrx", max_tokens=50, messages=ASK) as stream:
            text = stream.get_final_text()

    call = message.content[-1]
    assert message.stop_reason == "tool_use"
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("weather", {"city": "Kyōto"})
    assert (message.usage.input_tokens, message.usage.output_tokens) == (11, 4)
    assert text == "".join(TEXT)


def test_a_limit_there_is_told_with_its_time(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as refused:
        sdk.chat.completions.create(model="databricks/dbrx-2", messages=[{"role": "user", "content": "limit"}])

    assert refused.value.response.headers["retry-after"] == "7"


def test_a_limit_there_leads_to_the_fallback(proxy: TollwayProcess) -> None:
    body = {"model": "smart", "messages": [{"role": "user", "content": "watsonx is full"}]}

    with proxy.client() as client:
        answer = client.post("/chat/completions", json=body)

    assert answer.status_code == 200, answer.text
    assert (answer.headers["x-tollway-provider"], answer.headers["x-tollway-attempts"]) == ("databricks", "2")


def test_vectors_come_as_the_sdk_asks_for_them(sdk: openai.OpenAI) -> None:
    answer = sdk.embeddings.create(model="databricks/gte", input=["a", "b"])

    assert [it.embedding for it in answer.data] == [[0.5, -0.25]] * 2
    assert answer.usage.prompt_tokens == 5


def test_what_is_sent_names_neither_the_gateway_nor_its_keys(proxy: TollwayProcess, tail: LongTail) -> None:
    sent = json.dumps([post.headers for post in tail.posts]) + "".join(post.body.decode() for post in tail.posts)

    assert tail.posts
    assert proxy.api_key not in sent
