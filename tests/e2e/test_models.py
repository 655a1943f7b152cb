"""The models list through a running gateway, read by the official SDK of each protocol: what is known of a model is in it."""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.process import TollwayProcess, config, tollway

with warnings.catch_warnings():
    # Compiled for the first time, it warns of its own backslashes.
    warnings.simplefilter("ignore")
    from google import genai
    from google.genai import types

KEY = "tw-" + secrets.token_hex(32)
FACTS_S = 30.0
PRICES = [
    {"model": "acme/twin", "input_usd_per_mtok": 2.5, "output_usd_per_mtok": 10, "cache_read_usd_per_mtok": 0.0125},
    {"model": "other/twin", "input_usd_per_mtok": 2.5, "output_usd_per_mtok": 10, "cache_read_usd_per_mtok": 0.0125},
    {"model": "other/dear", "input_usd_per_mtok": 5, "output_usd_per_mtok": 10},
]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    names = {
        "openai": ["gpt-4o", "nobody-knows"],
        "anthropic": ["claude-sonnet-4-5"],
        "acme": ["twin"],
        "other": ["twin", "dear"],
    }
    setting = config(
        None,
        names,
        fields={name: {"base_url": "http://127.0.0.1:9/v1"} for name in names},
        models={"both": {"targets": ["acme/twin", "other/twin"]}, "mixed": {"targets": ["acme/twin", "other/dear"]}},
        aliases={"gpt-4": "openai/gpt-4o"},
        keys={"narrow": {"key": KEY, "models": ["openai/*"]}},
        ledger={"prices": PRICES},
    )
    with tollway(tmp_path_factory.mktemp("models"), setting) as proxy:
        # What is bundled of facts is read beside the first requests.
        deadline_s = time.monotonic() + FACTS_S
        while "architecture" not in rows(proxy)["openai/gpt-4o"]:
            assert time.monotonic() < deadline_s, "the bundled facts were not read"
            time.sleep(0.05)
        yield proxy


def rows(proxy: TollwayProcess) -> dict[str, dict[str, Any]]:
    with proxy.client() as client:
        return {row["id"]: row for row in client.get("/models").json()["data"]}


def test_a_model_has_its_limits_its_kinds_and_its_price(proxy: TollwayProcess) -> None:
    row = rows(proxy)["openai/gpt-4o"]

    assert (128_000, {"context_length": 128_000, "max_completion_tokens": 16_384}) == (
        row["context_length"],
        row["top_provider"],
    )
    assert {"prompt": "0.0000025", "completion": "0.00001"} == {name: row["pricing"][name] for name in ("prompt", "completion")}
    assert "0.00000125" == row["pricing"]["input_cache_read"]


def test_of_a_model_that_nobody_knows_nothing_is_made_up(proxy: TollwayProcess) -> None:
    assert {"id", "object", "created", "owned_by"} == rows(proxy)["openai/nobody-knows"].keys()
    assert {"id", "object", "created", "owned_by"} == rows(proxy)["auto"].keys()


def test_a_name_of_ones_own_has_what_its_targets_have_in_common(proxy: TollwayProcess) -> None:
    found = rows(proxy)

    assert {"prompt": "0.0000025", "completion": "0.00001", "input_cache_read": "0.0000000125"} == found["both"]["pricing"]
    assert "pricing" not in found["mixed"]
    assert found["openai/gpt-4o"]["context_length"] == found["gpt-4"]["context_length"]


def test_openais_sdk_reads_the_list_and_one(proxy: TollwayProcess) -> None:
    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key) as client:
        listed = {it.id: it for it in client.models.list()}
        one = client.models.retrieve("openai/gpt-4o")

    assert listed["openai/gpt-4o"] == one
    assert one.model_extra is not None
    assert 128_000 == one.model_extra["context_length"]


def test_anthropics_sdk_reads_the_list_and_one(proxy: TollwayProcess) -> None:
    with anthropic.Anthropic(base_url=proxy.base_url.removesuffix("/v1"), api_key=proxy.api_key) as client:
        listed = {it.id: it for it in client.models.list()}
        one = client.models.retrieve("anthropic/claude-sonnet-4-5")

    assert listed["anthropic/claude-sonnet-4-5"] == one
    assert (200_000, 64_000) == (one.max_input_tokens, one.max_tokens)
    assert listed["openai/nobody-knows"].max_tokens is None


def test_googles_sdk_reads_the_list_and_one(proxy: TollwayProcess) -> None:
    options = types.HttpOptions(base_url=proxy.base_url.removesuffix("/v1"))
    with genai.Client(api_key=proxy.api_key, http_options=options) as client:
        listed = {it.name: it for it in client.models.list()}
        one = client.models.get(model="models/openai/gpt-4o")

    assert (128_000, 16_384) == (one.input_token_limit, one.output_token_limit)
    assert one.input_token_limit == listed["models/openai/gpt-4o"].input_token_limit


def test_a_key_sees_what_it_may_use_and_no_more(proxy: TollwayProcess) -> None:
    answer = httpx.get(f"{proxy.base_url}/models", headers={"authorization": f"Bearer {KEY}"}, trust_env=False)

    assert ["openai/gpt-4o", "openai/nobody-knows"] == [row["id"] for row in answer.json()["data"]]
