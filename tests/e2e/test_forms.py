"""A kept answer in Anthropic's and Gemini's protocols, asked for in its other form by their official SDKs."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.fakes.agents import KEY, WORDS, Agents, agents
from tests.process import API_KEY, Setting, TollwayProcess, tollway

with warnings.catch_warnings():
    # Compiled for the first time, it warns of its own backslashes.
    warnings.simplefilter("ignore")
    from google import genai
    from google.genai import types

PROVIDERS = {"own": ("anthropic", "v1"), "theirs": ("gemini", "v1beta")}


@pytest.fixture(scope="module")
def journal() -> Iterator[tuple[str, Agents]]:
    with agents("/home/somebody/desk") as (url, journal):
        yield url, journal
        assert journal.problems == []


@pytest.fixture(scope="module")
def proxy(journal: tuple[str, Agents], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    models = [f"{client}-{form}" for client in ("anthropic", "gemini") for form in ("whole", "stream", "tool")]
    rows = {
        name: {"type": kind, "base_url": f"{journal[0]}/{path}", "api_key": "env:UPSTREAM_KEY", "models": models}
        for name, (kind, path) in PROVIDERS.items()
    }
    setting = Setting(json.dumps({"providers": rows, "cache": {"mode": "on"}}), {"UPSTREAM_KEY": KEY})
    with tollway(tmp_path_factory.mktemp("forms"), setting) as proxy:
        yield proxy


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    """Who serves them: in the client's own protocol, or translated."""
    return str(request.param)


HELLO = [{"role": "user", "content": "hello"}]
TOOL: Any = {"name": "Read", "description": "Reads a file.", "input_schema": {"type": "object", "properties": {}}}
CALL = {"file_path": "/home/somebody/desk/note.txt"}


def root(proxy: TollwayProcess) -> str:
    return proxy.base_url.removesuffix("/v1")


@pytest.mark.parametrize("first", ["whole", "stream"])
def test_anthropics_sdk_reads_a_kept_answer_in_both_forms(
    proxy: TollwayProcess, journal: tuple[str, Agents], provider: str, first: str
) -> None:
    asked: Any = {
        "model": f"{provider}/anthropic-{first}",
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "hello"}],
    }
    before = len(journal[1].seen)

    with anthropic.Anthropic(base_url=root(proxy), api_key=API_KEY, max_retries=0) as client:

        def whole() -> Any:
            return client.messages.create(**asked)

        def streamed() -> Any:
            with client.messages.stream(**asked) as events:
                return events.get_final_message()

        ask = [whole, streamed] if first == "whole" else [streamed, whole]
        one, other = [it().to_dict() for it in ask]

    texts = ["".join(it["text"] for it in told["content"] if it["type"] == "text") for told in (one, other)]
    assert texts == [WORDS, WORDS]
    assert (other["stop_reason"], other["usage"]["output_tokens"]) == (one["stop_reason"], one["usage"]["output_tokens"])
    assert len(journal[1].seen) - before == 1


def test_anthropics_sdk_reads_a_kept_call_as_a_stream(
    proxy: TollwayProcess, journal: tuple[str, Agents], provider: str
) -> None:
    asked: Any = {"model": f"{provider}/anthropic-tool", "max_tokens": 99, "messages": HELLO}
    before = len(journal[1].seen)

    with anthropic.Anthropic(base_url=root(proxy), api_key=API_KEY, max_retries=0) as client:
        one = client.messages.create(**asked, tools=[TOOL])
        with client.messages.stream(**asked, tools=[TOOL]) as events:
            other = events.get_final_message()

    calls = [[(it.name, it.input) for it in told.content if it.type == "tool_use"] for told in (one, other)]
    assert calls == [[("Read", CALL)]] * 2
    assert len(journal[1].seen) - before == 1


@pytest.mark.parametrize("first", ["whole", "stream"])
def test_googles_sdk_reads_a_kept_answer_in_both_forms(
    proxy: TollwayProcess, journal: tuple[str, Agents], provider: str, first: str
) -> None:
    model, before = f"{provider}/gemini-{first}", len(journal[1].seen)
    client = genai.Client(api_key=API_KEY, http_options=types.HttpOptions(base_url=root(proxy)))

    def whole() -> tuple[str, Any]:
        answer = client.models.generate_content(model=model, contents="hello")
        return answer.text or "", answer.usage_metadata.total_token_count

    def streamed() -> tuple[str, Any]:
        parts = list(client.models.generate_content_stream(model=model, contents="hello"))
        return "".join(it.text or "" for it in parts), parts[-1].usage_metadata.total_token_count

    one, other = [it() for it in ([whole, streamed] if first == "whole" else [streamed, whole])]

    assert one[0] == WORDS
    assert other == one
    assert len(journal[1].seen) - before == 1
