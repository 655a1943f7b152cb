"""Any client, any provider: every recorded answer, read by the official SDK of each protocol, says what it says directly."""

from __future__ import annotations

import asyncio
import itertools
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import anthropic
import msgspec
import openai
import pytest

from providers.openai.vendors import VENDORS
from tests.e2e.heard import Heard, by_anthropic, by_genai, by_openai, by_responses, charged, said
from tests.fakes.replaying import Replaying
from tests.process import API_KEY, Setting, TollwayProcess, tollway
from tests.recordings import PROVIDERS, Recording, recordings

with warnings.catch_warnings():
    # Compiled for the first time, it warns of its own backslashes.
    warnings.simplefilter("ignore")
    from google import genai
    from google.genai import types

AT_ONCE = 16
OTHERS = {"anthropic": "anthropic", "gemini": "gemini", "vertex": "gemini"}
"""Recorded providers that speak another protocol than OpenAI's."""
CLIENTS = ("openai", "anthropic", "gemini")


def is_chat(provider: str, recording: Recording) -> bool:
    """Whether it is an answer of a chat, in the protocol that the provider is configured with."""
    ends = {"anthropic": "/messages", "gemini": "enerateContent"}.get(OTHERS.get(provider, ""), "/chat/completions")
    return recording.status == 200 and recording.path.partition("?")[0].endswith(ends)


def named(provider: str) -> dict[str, Recording]:
    """By the names of models that stand for them."""
    return {f"{provider}-{at}": it for at, it in enumerate(recordings(provider)) if is_chat(provider, it)}


RECORDED = {provider: named(provider) for provider in (*PROVIDERS, *OTHERS)}
CASES = {name: (provider, it) for provider, by_name in RECORDED.items() for name, it in by_name.items()}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Replaying]:
    with Replaying({name: recording for name, (_, recording) in CASES.items()}) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy(upstream: Replaying, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    rows = []
    for provider in RECORDED:
        kind = OTHERS.get(provider, "openai")
        path = "v1beta" if kind == "gemini" else "v1"
        name = f"my-{provider}" if provider not in VENDORS else provider
        # What is recorded is chats, whatever else the vendor has.
        only = ", endpoints: [chat/completions]" if kind == "openai" else ""
        address = f"{upstream.url}/{provider}/{path}"
        rows.append(f"  {name}: {{type: {kind}, api_key: env:UPSTREAM_KEY, base_url: '{address}'{only}}}")
    text = (
        "providers:\n"
        + "\n".join(rows)
        + "\nretries: {max_attempts: 1}\ncircuit_breaker: {enabled: false}\nlimits: {adaptive: {enabled: false}}\n"
    )
    setting = Setting(text, {"UPSTREAM_KEY": "sk-upstream-0123456789abcdef"})
    with tollway(tmp_path_factory.mktemp("protocols"), setting) as proxy:
        yield proxy


def model_of(provider: str, name: str) -> str:
    return f"{provider if provider in VENDORS else f'my-{provider}'}/{name}"


# --- the SDKs ----------------------------------------------------------------------------------------------------------

Ask = Callable[[str, bool], Awaitable[Heard]]


def asking_openai(root: str, stack: AsyncExitStack) -> Ask:
    client = openai.AsyncOpenAI(base_url=f"{root}/v1", api_key=API_KEY, max_retries=0)
    stack.push_async_callback(client.close)

    async def ask(model: str, stream: bool) -> Heard:
        messages: list[Any] = [{"role": "user", "content": "hello"}]
        if not stream:
            return by_openai(await client.chat.completions.create(model=model, messages=messages))
        options: Any = {"include_usage": True}
        async with client.chat.completions.stream(model=model, messages=messages, stream_options=options) as events:
            async for _ in events:
                pass
            return by_openai(await events.get_final_completion())

    return ask


def asking_anthropic(root: str, stack: AsyncExitStack) -> Ask:
    client = anthropic.AsyncAnthropic(base_url=root, api_key=API_KEY, max_retries=0)
    stack.push_async_callback(client.close)

    async def ask(model: str, stream: bool) -> Heard:
        messages: list[Any] = [{"role": "user", "content": "hello"}]
        if not stream:
            return by_anthropic(await client.messages.create(model=model, max_tokens=100, messages=messages))
        async with client.messages.stream(model=model, max_tokens=100, messages=messages) as events:
            return by_anthropic(await events.get_final_message())

    return ask


def asking_gemini(root: str, stack: AsyncExitStack) -> Ask:
    client = genai.Client(api_key=API_KEY, http_options=types.HttpOptions(base_url=root))
    stack.callback(client.close)
    stack.push_async_callback(client.aio.aclose)

    async def ask(model: str, stream: bool) -> Heard:
        if not stream:
            return by_genai([await client.aio.models.generate_content(model=model, contents="hello")])
        answers = await client.aio.models.generate_content_stream(model=model, contents="hello")
        return by_genai([answer async for answer in answers])

    return ask


def asking_responses(root: str, stack: AsyncExitStack) -> Ask:
    client = openai.AsyncOpenAI(base_url=f"{root}/v1", api_key=API_KEY, max_retries=0)
    stack.push_async_callback(client.close)

    async def ask(model: str, stream: bool) -> Heard:
        if not stream:
            return by_responses(await client.responses.create(model=model, input="hello"))
        async with client.responses.stream(model=model, input="hello") as events:
            async for event in events:
                if event.type == "response.incomplete":
                    # The SDK puts together only what was completed.
                    return by_responses(event.response)
            return by_responses(await events.get_final_response())

    return ask


ASKING = {
    "openai": asking_openai,
    "anthropic": asking_anthropic,
    "gemini": asking_gemini,
    "responses": asking_responses,
}


@pytest.fixture(scope="module")
def heard(proxy: TollwayProcess) -> dict[tuple[str, str], Heard | Exception]:
    """What each SDK made of each recording."""
    return asyncio.run(hear_all(proxy.base_url.removesuffix("/v1")))


def is_told(client: str, name: str) -> bool:
    """All that are translated; of those that pass untouched, which other tests compare by the byte, all streams and some."""
    provider, recording = CASES[name]
    return OTHERS.get(provider, "openai") != client or recording.streamed or name.endswith("0")


async def hear_all(root: str) -> dict[tuple[str, str], Heard | Exception]:
    found: dict[tuple[str, str], Heard | Exception] = {}
    gate = asyncio.Semaphore(AT_ONCE)

    async def hear(ask: Ask, client: str, name: str) -> None:
        provider, recording = CASES[name]
        async with gate:
            try:
                found[client, name] = await ask(model_of(provider, name), recording.streamed)
            except Exception as error:  # whatever an SDK raises is what its test has to show
                found[client, name] = error

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for client, asking in ASKING.items():
                ask = asking(root, stack)
                for name in CASES:
                    if is_told(client, name):
                        group.create_task(hear(ask, client, name))
    return found


# --- what they heard ---------------------------------------------------------------------------------------------------

CHECKED = {
    ("openai", "groq", "test_tool_use_failed_error_streaming"): "the recorded stream ends with an error, which the SDK raises",
    ("anthropic", "groq", "test_tool_use_failed_error_streaming"): "as above",
    ("gemini", "groq", "test_tool_use_failed_error_streaming"): "as above",
    ("responses", "groq", "test_tool_use_failed_error_streaming"): "as above",
    ("openai", "groq", "test_groq_model_web_search_tool_stream"): "untouched: Groq has the usage where the SDK does not look",
    ("openai", "mistral", "test_mistral_model_thinking_part_iter"): "untouched: Mistral's thoughts are a list of parts",
    (
        "openai",
        "openai",
        "test_openai_moderation_stream",
    ): "untouched: the SDK takes the last chunk's usage, which has none",
}
"""What an SDK reads otherwise than a direct look, and why."""


def case(client: str, name: str) -> tuple[str, str, str]:
    provider, recording = CASES[name]
    return client, provider, recording.name.rpartition("/")[2].partition("#")[0]


def is_same(got: Heard | Exception, want: Heard) -> bool:
    """Whether the SDK has read what was said.  A call without an id gets one where a protocol demands it."""
    if not isinstance(got, Heard):
        return False
    kept = all(it in ("", made) for it, made in zip(want.ids, got.ids, strict=False))
    apart = "" in got.ids or len(set(got.ids)) == len(got.calls)
    return kept and apart and msgspec.structs.replace(got, ids=want.ids) == want


def test_every_client_reads_what_the_provider_said(heard: dict[tuple[str, str], Heard | Exception]) -> None:
    others = {
        case(client, name): f"{got!r:.300} is not {said(CASES[name][1])!r:.300}"
        for (client, name), got in heard.items()
        if not is_same(got, said(CASES[name][1]))
    }

    assert {it: why for it, why in others.items() if it not in CHECKED} == {}
    assert CHECKED.keys() - others.keys() == set()
    assert len(heard) > 1_000
    assert len(CHECKED) <= len(heard) * 0.03


def test_every_pair_of_protocols_was_heard(heard: dict[tuple[str, str], Heard | Exception]) -> None:
    pairs = {(client, OTHERS.get(CASES[name][0], "openai"), CASES[name][1].streamed) for client, name in heard}

    assert pairs == set(itertools.product(ASKING, CLIENTS, (False, True)))


INTO = ("input_uncached", "cache_read", "cache_write", "cache_write_1h", "input_audio", "cache_read_audio", "input_image")
OUT = ("output_text", "reasoning", "output_audio", "output_image")


def test_what_was_used_is_booked_as_the_provider_reported_it(
    proxy: TollwayProcess, heard: dict[tuple[str, str], Heard | Exception]
) -> None:
    rows = proxy.rows("SELECT * FROM requests")
    booked = {row["model"].partition("/")[2]: (sum(row[it] for it in INTO), sum(row[it] for it in OUT)) for row in rows}

    wrong = {
        name: (booked.get(name), used)
        for name, (_, recording) in CASES.items()
        if (used := charged(recording)) is not None and booked.get(name) != used
    }

    assert len(rows) >= len(heard)
    assert proxy.open_reservations() == []
    assert wrong == {}
