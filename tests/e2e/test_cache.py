"""Answers that are kept, and calls that are shared, as clients see them: a running proxy and the official SDK."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import Serve
from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config, tollway

TEXT = "".join(replies.WORDS)
OTHER_KEY = "tw-" + secrets.token_hex(32)
FORMS = [f"{first}-{second}" for first in ("whole", "stream", "usage") for second in ("whole", "stream", "usage")]
MODELS = (
    *(f"{endpoint}-{form}" for endpoint in ("chat", "text", "responses") for form in FORMS),
    *("plain", "tool", "tenants", "sampled", "fresh", "unkept", "only", "aged", "field", "vector", "short", "filtered"),
    *("herd", "herd-stream", "left", "left-whole", "gone", "failing", "down", "refused", "cut", "never", "records"),
)


@pytest.fixture(scope="module")
def proxy(shared_upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    shared_upstream.serve(*MODELS)
    setting = config(
        shared_upstream,
        {"acme": MODELS},
        keys={"other": {"key": "env:OTHER_KEY"}},
        # So that a call of the upstream is a shared call: what a request's own tries do is no matter of the cache.
        retries={"max_attempts": 1},
        cache={"mode": "on", "models": {"acme/never": {"mode": "off"}}},
        ledger={"prices": [{"model": "acme/records", "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}]},
    )
    setting.env["OTHER_KEY"] = OTHER_KEY
    with tollway(tmp_path_factory.mktemp("cache"), setting) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: TollwayProcess) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=proxy.base_url, headers=proxy.headers, timeout=30, trust_env=False, limits=limits
    ) as client:
        yield client


def body(model: str, *, stream: bool = False, **fields: Any) -> dict[str, Any]:
    return {"model": f"acme/{model}", "messages": [{"role": "user", "content": "hi"}], "stream": stream, **fields}


async def ask(client: httpx.AsyncClient, model: str, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    return await client.post("/chat/completions", json=body(model, **fields), headers=headers)


def text_of(answer: httpx.Response) -> str:
    """What a whole answer or a stream says."""
    if answer.headers["content-type"].startswith("application/json"):
        content: str = answer.json()["choices"][0]["message"]["content"]
        return content
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    deltas = [choice["delta"] for line in lines[:-1] for choice in json.loads(line)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def state(answer: httpx.Response) -> str | None:
    return answer.headers.get("x-tollway-cache")


# --- the SDK, in every form that there is ----------------------------------------------------------------------------


def chat(sdk: openai.OpenAI, model: str, form: str) -> tuple[str, str, int | None]:
    """State, text and output tokens of a chat completion."""
    asked: Any = {"model": f"acme/{model}", "messages": [{"role": "user", "content": "hi"}]}
    if form == "whole":
        raw = sdk.chat.completions.with_raw_response.create(**asked)
        answer = raw.parse()
        assert answer.usage is not None
        return raw.headers["x-tollway-cache"], answer.choices[0].message.content or "", answer.usage.completion_tokens
    options = {"stream_options": {"include_usage": True}} if form == "usage" else {}
    with sdk.chat.completions.create(**asked, stream=True, **options) as stream:
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    usage = chunks[-1].usage
    return stream.response.headers["x-tollway-cache"], text, usage and usage.completion_tokens


def text(sdk: openai.OpenAI, model: str, form: str) -> tuple[str, str, int | None]:
    """The same of a text completion."""
    asked: Any = {"model": f"acme/{model}", "prompt": "hi"}
    if form == "whole":
        raw = sdk.completions.with_raw_response.create(**asked)
        answer = raw.parse()
        assert answer.usage is not None
        return raw.headers["x-tollway-cache"], answer.choices[0].text, answer.usage.completion_tokens
    options = {"stream_options": {"include_usage": True}} if form == "usage" else {}
    with sdk.completions.create(**asked, stream=True, **options) as stream:
        chunks = list(stream)
    said = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    usage = chunks[-1].usage
    return stream.response.headers["x-tollway-cache"], said, usage and usage.completion_tokens


def responses(sdk: openai.OpenAI, model: str, form: str) -> tuple[str, str, int | None]:
    """The same of a response, whose stream always shows its usage."""
    asked: Any = {"model": f"acme/{model}", "input": "hi"}
    if form == "whole":
        raw = sdk.responses.with_raw_response.create(**asked)
        answer = raw.parse()
        assert answer.usage is not None
        return raw.headers["x-tollway-cache"], answer.output_text, answer.usage.output_tokens
    with sdk.responses.create(**asked, stream=True) as stream:
        events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.usage is not None
    return stream.response.headers["x-tollway-cache"], said, last.response.usage.output_tokens


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("asking", [chat, text, responses], ids=lambda it: it.__name__)
def test_an_answer_is_replayed_in_whatever_form_is_asked_for(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, asking: Any, form: str
) -> None:
    model = f"{asking.__name__}-{form}"
    first, second = form.split("-")

    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=10) as sdk:
        fetched = asking(sdk, model, first)
        replayed = asking(sdk, model, second)

    tokens = replies.usage_of({"chat": "chat/completions", "text": "completions"}.get(asking.__name__, "responses"))
    output = tokens.get("completion_tokens") or tokens["output_tokens"]
    assert fetched[:2] == ("miss", TEXT)
    assert replayed[:2] == ("hit", TEXT)
    assert replayed[2] == (None if second == "stream" and asking is not responses else output)
    assert len(shared_upstream.of(model)) == 1


def test_a_tool_call_is_replayed_in_the_other_form(proxy: TollwayProcess, shared_upstream: OpenAIUpstream) -> None:
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    ask: Any = {"model": "acme/tool", "messages": [{"role": "user", "content": "hi"}], "tools": [tool]}

    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=10) as sdk:
        with sdk.chat.completions.create(**ask, stream=True) as stream:
            deltas = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or ()]
        whole = sdk.chat.completions.with_raw_response.create(**ask)

    (call,) = whole.parse().choices[0].message.tool_calls or ()
    assert whole.headers["x-tollway-cache"] == "hit"
    assert call.type == "function"
    assert call.function.arguments == "".join(it.function.arguments or "" for it in deltas if it.function)
    assert len(shared_upstream.of("tool")) == 1


def test_an_embedding_is_kept(proxy: TollwayProcess, shared_upstream: OpenAIUpstream) -> None:
    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=10) as sdk:
        vectors = [sdk.embeddings.create(model="acme/vector", input="hi").data[0].embedding for _ in range(2)]

    assert vectors == [[0.5, -0.25, 0.125]] * 2
    assert len(shared_upstream.of("vector")) == 1


# --- what a request asks of the cache --------------------------------------------------------------------------------


async def test_two_keys_never_share_an_answer(client: httpx.AsyncClient, shared_upstream: OpenAIUpstream) -> None:
    other = {"authorization": f"Bearer {OTHER_KEY}"}

    answers = [await ask(client, "tenants", headers=headers) for headers in ({}, other, {}, other)]

    assert [state(it) for it in answers] == ["miss", "miss", "hit", "hit"]
    assert len(shared_upstream.of("tenants")) == 2


async def test_a_request_that_sets_a_temperature_has_to_ask(client: httpx.AsyncClient) -> None:
    on = {"x-tollway-cache": "on"}

    unasked = [await ask(client, "sampled", temperature=0.7) for _ in range(2)]
    asked = [await ask(client, "sampled", temperature=0.7, headers=on) for _ in range(2)]

    assert [state(it) for it in (*unasked, *asked)] == ["bypass", "bypass", "miss", "hit"]


@pytest.mark.parametrize("how", [{"headers": {"cache-control": "no-cache"}}, {"cache": {"no-cache": True}}], ids=str)
async def test_no_cache_fetches_a_new_answer_and_keeps_it(client: httpx.AsyncClient, how: Any) -> None:
    seed = 1 if "cache" in how else 2

    answers = [await ask(client, "fresh", seed=seed), await ask(client, "fresh", seed=seed, **how)]
    kept = await ask(client, "fresh", seed=seed)

    assert [state(it) for it in (*answers, kept)] == ["miss", "miss", "hit"]


@pytest.mark.parametrize("how", [{"headers": {"cache-control": "no-store"}}, {"cache": {"no-store": True}}], ids=str)
async def test_no_store_keeps_nothing(client: httpx.AsyncClient, how: Any) -> None:
    seed = 1 if "cache" in how else 2

    answers = [await ask(client, "unkept", seed=seed, **how) for _ in range(2)]

    assert [state(it) for it in answers] == ["bypass", "bypass"]


async def test_only_if_cached_is_answered_from_the_cache_or_not_at_all(
    client: httpx.AsyncClient, shared_upstream: OpenAIUpstream
) -> None:
    only = {"cache-control": "only-if-cached"}

    refused = await ask(client, "only", headers=only)
    await ask(client, "only")
    answered = await ask(client, "only", headers=only)

    assert (refused.status_code, refused.json()["error"]["code"]) == (504, "not_cached")
    assert (answered.status_code, state(answered)) == (200, "hit")
    assert len(shared_upstream.of("only")) == 1


async def test_max_age_sets_how_old_an_answer_may_be(client: httpx.AsyncClient) -> None:
    ages = [None, "max-age=600", "max-age=0"]

    answers = [await ask(client, "aged", headers={"cache-control": age} if age else {}) for age in ages]

    assert [state(it) for it in answers] == ["miss", "hit", "miss"]
    assert int(answers[1].headers["age"]) < 600


async def test_the_field_for_the_cache_never_reaches_the_upstream(
    client: httpx.AsyncClient, shared_upstream: OpenAIUpstream
) -> None:
    asked = {"ttl": 60, "s-maxage": 60.5, "namespace": "tests"}

    answers = [await ask(client, "field", cache=asked), await ask(client, "field", cache=asked), await ask(client, "field")]
    off = await ask(client, "never", cache={"no-cache": True})
    wrong = await ask(client, "field", cache={"forever": True})

    assert [state(it) for it in (*answers, off)] == ["miss", "hit", "miss", None]
    assert [set(seen.json) for seen in (*shared_upstream.of("field"), *shared_upstream.of("never"))] == [
        {"model", "messages", "stream"}
    ] * 3
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "cache")


async def test_an_answer_that_was_cut_or_filtered_is_not_kept(
    client: httpx.AsyncClient, shared_upstream: OpenAIUpstream
) -> None:
    for model, reason in (("short", "length"), ("filtered", "content_filter")):
        said = {"role": "assistant", "content": "half a sen"}
        choice = {"index": 0, "message": said, "finish_reason": reason}
        shared_upstream.script(model, replies.answer({"id": "x", "object": "chat.completion", "choices": [choice]}))

    answers = [await ask(client, model) for model in ("short", "filtered") for _ in range(2)]
    bounded = [await ask(client, "short", max_tokens=3) for _ in range(2)]

    assert [state(it) for it in answers] == ["miss"] * 4
    assert [state(it) for it in bounded] == ["miss", "hit"]


# --- the record ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hit_has_a_record_and_costs_nothing(client: httpx.AsyncClient, proxy: TollwayProcess, stream: bool) -> None:
    fetched = await ask(client, "records", stream=stream, seed=int(stream))

    hit = await ask(client, "records", stream=stream, seed=int(stream))

    receipt, dear = proxy.receipt(hit.headers["x-request-id"]), proxy.receipt(fetched.headers["x-request-id"])
    assert (state(fetched), state(hit)) == ("miss", "hit")
    assert hit.headers["x-tollway-cost-usd"] == "0.000000000"
    assert (receipt["status"], receipt["outcome"], receipt["cost_nusd"], receipt["attempts"]) == (200, "ok", 0, [])
    assert dear["cost_nusd"] > 0
    assert proxy.entries(hit.headers["x-request-id"]) == []


# --- calls that are shared -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "stream"), [("herd", False), ("herd-stream", True)])
async def test_five_hundred_who_ask_the_same_at_once_make_one_upstream_call(
    client: httpx.AsyncClient, proxy: TollwayProcess, shared_upstream: OpenAIUpstream, model: str, stream: bool
) -> None:
    slow = replies.canned(gap_s=0.2) if stream else lambda asked: replies.answer(_whole(asked), wait_s=1.5, usage=USAGE)
    shared_upstream.script(model, slow)

    answers = await asyncio.gather(*(ask(client, model, stream=stream) for _ in range(500)))

    records = await asyncio.to_thread(proxy.records, f"acme/{model}", 500)
    states = [state(it) for it in answers]
    assert {text_of(it) for it in answers} == {TEXT}
    assert len(shared_upstream.of(model)) == 1
    assert (len(records), states.count("miss")) == (500, 1)
    assert set(states) <= {"miss", "joined", "hit"}
    assert {record["outcome"] for record in records} == {"ok"}
    assert sorted(record["quality"] for record in records if record["output_text"]) == ["exact"]
    assert proxy.open_reservations() == []


USAGE = replies.usage_of("chat/completions")


def _whole(asked: replies.Asked) -> dict[str, Any]:
    said = {"role": "assistant", "content": TEXT}
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    return {"id": "x", "object": "chat.completion", "model": asked.model, "choices": [choice], "usage": USAGE}


async def test_who_joins_a_stream_gets_all_of_it_though_its_first_client_leaves(
    client: httpx.AsyncClient, proxy: TollwayProcess, shared_upstream: OpenAIUpstream
) -> None:
    shared_upstream.script("left", replies.canned(words=("word ",) * 40, gap_s=0.05))
    begun = asyncio.Event()

    async def follow() -> httpx.Response:
        await begun.wait()
        return await ask(client, "left", stream=True)

    async with asyncio.TaskGroup() as group:
        follower = group.create_task(follow())
        async with client.stream("POST", "/chat/completions", json=body("left", stream=True)) as leader:
            events = leader.aiter_lines()
            await anext(events)
            begun.set()
            async with client.stream("POST", "/chat/completions", json=body("left", stream=True)) as second:
                others = second.aiter_lines()
                await anext(others)

    answer = follower.result()
    records = await asyncio.to_thread(proxy.records, "acme/left", 3)
    outcomes = sorted((record["outcome"], record["status"], record["quality"], record["output_text"]) for record in records)
    assert text_of(answer) == "word " * 40
    assert state(answer) == "joined"
    assert [seen.aborted for seen in shared_upstream.of("left")] == [False]
    # The first client's record has the try and all that it used; the others have none.
    paid = replies.usage_of("chat/completions", ("word ",) * 40)["completion_tokens"]
    assert [it[:3] for it in outcomes] == [("client_closed", 499, "exact")] * 2 + [("ok", 200, "exact")]
    assert sorted(it[3] for it in outcomes) == [0, 0, paid - _reasoning()]
    assert [entry for record in records for entry in proxy.entries(record["request_id"])] == [(1, "RESERVE"), (1, "SETTLE")]
    assert proxy.open_reservations() == []


def _reasoning() -> int:
    details = USAGE.get("completion_tokens_details") or {}
    reasoning: int = details.get("reasoning_tokens", 0)
    return reasoning


async def test_when_everybody_leaves_the_upstream_is_let_go(
    client: httpx.AsyncClient, proxy: TollwayProcess, shared_upstream: OpenAIUpstream
) -> None:
    shared_upstream.script("gone", replies.canned(words=("word ",) * 500, gap_s=0.05))
    asked = body("gone", stream=True)

    async with client.stream("POST", "/chat/completions", json=asked) as first:
        # An iterator that nobody holds takes its connection with it.
        heard = [first.aiter_lines()]
        await anext(heard[0])
        async with client.stream("POST", "/chat/completions", json=asked) as second:
            heard.append(second.aiter_lines())
            await anext(heard[1])
    await shared_upstream.until(lambda: any(seen.aborted for seen in shared_upstream.of("gone")))

    records = await asyncio.to_thread(proxy.records, "acme/gone", 2)
    assert [record["outcome"] for record in records] == ["client_closed"] * 2
    assert sorted(bool(record["output_text"]) for record in records) == [False, True]
    assert proxy.open_reservations() == []


async def test_who_waits_for_a_whole_answer_gets_it_though_the_first_client_leaves(
    client: httpx.AsyncClient, proxy: TollwayProcess, shared_upstream: OpenAIUpstream
) -> None:
    shared_upstream.script("left-whole", lambda asked: replies.answer(_whole(asked), wait_s=1.0, usage=USAGE))

    async with asyncio.TaskGroup() as group:
        leader = group.create_task(ask(client, "left-whole"))
        await shared_upstream.until(lambda: bool(shared_upstream.of("left-whole")))
        follower = group.create_task(ask(client, "left-whole"))
        # A third request that the proxy has answered came after the follower's, on a connection that was opened later.
        await ask(client, "plain")
        leader.cancel()

    records = await asyncio.to_thread(proxy.records, "acme/left-whole", 2)
    assert text_of(follower.result()) == TEXT
    assert len(shared_upstream.of("left-whole")) == 1
    assert sorted((record["outcome"], record["quality"], bool(record["output_text"])) for record in records) == [
        ("client_closed", "exact", True),
        ("ok", "exact", False),
    ]


async def test_when_the_shared_call_fails_one_of_the_others_asks_again_for_all(
    client: httpx.AsyncClient, shared_upstream: OpenAIUpstream
) -> None:
    broken = replies.answer({"error": {"message": "broken"}}, status=500, wait_s=1.0)
    shared_upstream.script("failing", broken, lambda asked: replies.answer(_whole(asked), wait_s=0.5, usage=USAGE))

    answers = await asyncio.gather(*(ask(client, "failing") for _ in range(50)))

    statuses = sorted(it.status_code for it in answers)
    assert statuses == [200] * 49 + [502]
    assert len(shared_upstream.of("failing")) == 2


async def test_an_outage_costs_two_upstream_calls_and_not_one_for_each_who_asks(
    client: httpx.AsyncClient, shared_upstream: OpenAIUpstream
) -> None:
    shared_upstream.script("down", replies.answer({"error": {"message": "down"}}, status=500, wait_s=1.5))

    answers = await asyncio.gather(*(ask(client, "down") for _ in range(50)))

    assert {(it.status_code, it.json()["error"]["code"]) for it in answers} == {(502, "upstream_error")}
    assert len(shared_upstream.of("down")) == 2


async def test_a_request_that_is_at_fault_is_refused_once_for_all_who_sent_it(
    client: httpx.AsyncClient, shared_upstream: OpenAIUpstream
) -> None:
    wrong = {"error": {"message": "no such thing", "type": "invalid_request_error", "param": "messages", "code": "wrong"}}
    shared_upstream.script("refused", replies.answer(wrong, status=400, wait_s=1.5))

    answers = await asyncio.gather(*(ask(client, "refused") for _ in range(20)))

    assert {(it.status_code, it.json()["error"]["message"]) for it in answers} == {(400, "no such thing")}
    assert len(shared_upstream.of("refused")) == 1


async def test_a_stream_that_is_cut_is_cut_for_all_and_not_kept(
    client: httpx.AsyncClient, proxy: TollwayProcess, shared_upstream: OpenAIUpstream
) -> None:
    event = replies.event({"id": "x", "choices": [{"index": 0, "delta": {"content": "half"}, "finish_reason": None}]})
    half = replies.Reply(content_type=replies.SSE, pieces=(event,) * 8, gap_s=0.1, framing="chunked", end="rst")
    shared_upstream.script("cut", half, replies.canned())

    async with asyncio.TaskGroup() as group:
        first = group.create_task(ask(client, "cut", stream=True))
        await shared_upstream.until(lambda: bool(shared_upstream.of("cut")))
        second = group.create_task(ask(client, "cut", stream=True))
    after = await ask(client, "cut", stream=True)

    cut = [first.result(), second.result()]
    records = await asyncio.to_thread(proxy.records, "acme/cut", 3)
    assert [state(it) for it in cut] == ["miss", "joined"]
    assert [it.text.count('"half"') for it in cut] == [8, 8]
    assert ['"code":"upstream_error"' in it.text and "[DONE]" not in it.text for it in cut] == [True, True]
    assert sorted(record["outcome"] for record in records) == ["ok", "upstream_error", "upstream_error"]
    assert (state(after), text_of(after)) == ("miss", TEXT)


# --- questions that mean the same ------------------------------------------------------------------------------------


def test_a_question_that_means_the_same_is_answered_from_the_cache_and_its_vector_is_on_the_record(
    upstream: OpenAIUpstream, serve: Serve
) -> None:
    # The fake upstream has one vector for every text.
    upstream.serve("plain", "embed")
    semantic = {"model": "acme/embed", "threshold": 0.9}
    proxy = serve(config(upstream, {"acme": ["plain", "embed"]}, cache={"mode": "on", "semantic": semantic}))

    answers = []
    with proxy.client() as client:
        for stream, text_asked in ((False, "how are you?"), (True, "how do you do?"), (False, "how do you do?")):
            asked = {**body("plain", stream=stream), "messages": [{"role": "user", "content": text_asked}]}
            answers.append(client.post("/chat/completions", json=asked))

    receipt = proxy.receipt(f"{answers[1].headers['x-request-id']}e")
    assert [(state(it), text_of(it)) for it in answers] == [("miss", TEXT), ("hit", TEXT), ("hit", TEXT)]
    assert answers[1].headers["x-tollway-similarity"] == "1.0000"
    assert (receipt["endpoint"], receipt["model"], receipt["status"]) == ("embeddings", "acme/embed", 200)
    assert (len(upstream.of("plain")), len(upstream.of("embed"))) == (1, 3)
    assert proxy.open_reservations() == []
