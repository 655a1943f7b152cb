"""What coding agents send, as they sent it, to providers of every protocol: each is told in its own words what it asked for.

The agents themselves run in ``make clients``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from providers.canonical import Delta, Ended, PartStarted, ToolCall
from providers.provider import Endpoint
from providers.usage import semantics_of
from proxy.attempts.translation import codec_of
from tests.fakes.agents import KEY, Agents, agents
from tests.process import Setting, TollwayProcess, tollway

DATA = Path(__file__).parent / "data" / "agents"
AGENTS: dict[str, Endpoint] = {
    "claude": "messages",
    "codex": "responses",
    "codex-newer": "responses",
    "gemini": "generateContent",
}
UPSTREAMS = {
    "anthropic": ("anthropic", "v1", "messages"),
    "chat": ("openai", "v1", "chat/completions"),
    "responses": ("openai", "v1", "responses"),
    "gemini": ("gemini", "v1beta", "generateContent"),
}
SECRET = "the word is tollbooth"
CALLED = {"claude": "Read", "codex": "exec_command", "codex-newer": "exec", "gemini": "read_file"}
OWN = {"claude": "anthropic", "codex": "responses", "codex-newer": "responses", "gemini": "gemini"}


@pytest.fixture(scope="module")
def journal() -> Iterator[tuple[str, Agents]]:
    with agents("/home/somebody/desk") as (url, journal):
        yield url, journal
        assert journal.problems == []


@pytest.fixture(scope="module")
def proxy(journal: tuple[str, Agents], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    rows: dict[str, Any] = {}
    for name, (kind, path, endpoint) in UPSTREAMS.items():
        address = f"{journal[0]}/{path}"
        rows[name] = {"type": kind, "base_url": address, "api_key": "env:UPSTREAM_KEY", "models": [*AGENTS]}
        rows[name] |= {"endpoints": [endpoint]} if kind == "openai" else {}
    setting = Setting(json.dumps({"providers": rows}), {"UPSTREAM_KEY": KEY})
    with tollway(tmp_path_factory.mktemp("agents"), setting) as proxy:
        yield proxy


def recorded(agent: str, provider: str) -> list[dict[str, Any]]:
    """Its first request to a provider's model, and the one that brings what its tool gave."""
    model = f"{provider}/{agent}"
    asked = [json.loads(it) for it in (DATA / f"{agent}.jsonl").read_text(encoding="utf-8").splitlines()]
    for it in asked:
        it["path"] = it["path"].replace("/models/gemini-2.5-flash:", f"/models/{model}:")
        if "model" in it["body"]:
            it["body"]["model"] = model
    assert len(asked) == 2
    return asked


def heard(proxy: TollwayProcess, agent: str, asked: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """The words and the calls that the agent is answered."""
    headers = {**asked["headers"], **proxy.headers, "accept-encoding": "identity"}
    root = proxy.base_url.removesuffix("/v1")
    answer = httpx.post(root + asked["path"], json=asked["body"], headers=headers, timeout=20, trust_env=False)
    assert answer.status_code == 200, answer.text
    decoder = codec_of(AGENTS[agent]).decoder(semantics_of("openai", AGENTS[agent]))
    events = [*decoder.feed(answer.content), *decoder.finish()]
    assert isinstance(events[-1], Ended)
    calls = {it.index: it.part for it in events if isinstance(it, PartStarted) and isinstance(it.part, ToolCall)}
    deltas = [it for it in events if isinstance(it, Delta)]
    text = "".join(it.text for it in deltas if it.index not in calls)
    return text, [
        (call.name, call.arguments + "".join(it.arguments for it in deltas if it.index == at)) for at, call in calls.items()
    ]


@pytest.mark.parametrize("provider", UPSTREAMS)
@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_is_told_to_call_its_tool_and_then_what_it_gave(proxy: TollwayProcess, agent: str, provider: str) -> None:
    first, second = recorded(agent, provider)

    _, [(name, arguments)] = heard(proxy, agent, first)
    text, calls = heard(proxy, agent, second)

    assert name == CALLED[agent]
    assert "/home/somebody/desk/note.txt" in arguments
    assert SECRET in text
    assert calls == []


@pytest.mark.parametrize("agent", AGENTS)
def test_in_its_own_protocol_an_agents_request_arrives_as_it_was_sent(
    proxy: TollwayProcess, journal: tuple[str, Agents], agent: str
) -> None:
    asked = recorded(agent, OWN[agent])[0]

    heard(proxy, agent, asked)

    seen = journal[1].seen[-1]
    assert json.loads(seen.body) == asked["body"] | ({"model": agent} if "model" in asked["body"] else {})
    assert seen.headers.get("anthropic-beta") == asked["headers"].get("anthropic-beta")
