"""Budgets of a running gateway: what is admitted, what is cut, and what is known after a kill."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config, tollway

KEYS = {name: "tw-" + secrets.token_hex(32) for name in ("cents", "long", "stalled", "few", "mine")}
AT_ONCE = 300
PER_TOKEN_USD = 10.0  # a million
CUT_S = 1.0
CUT_TOKENS = 500
ROOM_TOKENS = 150
PRICES = [
    {"model": "acme/cent", "input_usd_per_mtok": 0, "output_usd_per_mtok": 0, "request_usd": 0.01},
    *({"model": f"acme/{name}", "input_usd_per_mtok": 0, "output_usd_per_mtok": PER_TOKEN_USD} for name in ("long", "stalled")),
]
BUDGETS = {
    "a-dollar": {"scope": "key:cents", "usd": 1.0},
    "tiny": {"scope": "key:long", "usd": ROOM_TOKENS * PER_TOKEN_USD / 1e6},
    "tiny-too": {"scope": "key:stalled", "usd": ROOM_TOKENS * PER_TOKEN_USD / 1e6},
    "five": {"scope": "key:few", "requests": 5, "period": "total", "warn_percent": 60},
    "money": {"scope": "key:mine", "usd": 100, "period": "day"},
}


@pytest.fixture(scope="module")
def proxy(shared_upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    models = ("cent", "long", "stalled", "unpriced")
    shared_upstream.serve(*models)
    setting = config(
        shared_upstream,
        {"acme": models},
        keys={name: {"key": key} for name, key in KEYS.items()},
        budgets=BUDGETS,
        reservations={"assume_output_tokens": 100, "wait_timeout_s": 5},
        ledger={"prices": PRICES},
    )
    with tollway(tmp_path_factory.mktemp("budgets"), setting) as proxy:
        yield proxy


def body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": f"acme/{model}", "messages": [{"role": "user", "content": "hello"}], **fields}


def session(proxy: TollwayProcess, key: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"authorization": f"Bearer {KEYS[key]}"},
        timeout=aiohttp.ClientTimeout(total=30),
        connector=aiohttp.TCPConnector(limit=0),
    )


async def asked(proxy: TollwayProcess, client: aiohttp.ClientSession, model: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    async with client.post(f"{proxy.base_url}/chat/completions", json=body(model)) as answer:
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.json()


async def test_a_dollar_is_a_hundred_requests_of_a_cent_and_a_kill_does_not_make_it_more(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream
) -> None:
    async with session(proxy, "cents") as client:
        found = await asyncio.gather(*(asked(proxy, client, "cent") for _ in range(AT_ONCE)))
    await asyncio.to_thread(proxy.kill)
    await asyncio.to_thread(proxy.restart)
    async with session(proxy, "cents") as client:
        status, headers, said = await asked(proxy, client, "cent")

    assert Counter(status for status, *_ in found) == {200: 100, 429: AT_ONCE - 100}
    assert len(shared_upstream.of("cent")) == 100
    assert proxy.rows("SELECT sum(cost_nusd) AS cost FROM requests WHERE key_id = 'cents'") == [{"cost": 10**9}]
    assert (status, headers["x-should-retry"]) == (429, "false")
    assert (said["error"]["type"], said["error"]["code"]) == ("insufficient_quota", "budget_exceeded")
    assert "1.00 USD of 1.00 USD" in said["error"]["message"]
    assert {row["max_cost_nusd"] for row in proxy.rows("SELECT max_cost_nusd FROM entries WHERE key_id = 'cents'")} == {10**7}


class Cut:
    """A stream as its client saw it: what came, and when."""

    def __init__(self) -> None:
        self.events: list[tuple[float, bytes]] = []

    async def read(self, proxy: TollwayProcess, key: str, model: str) -> None:
        async with (
            session(proxy, key) as client,
            client.post(f"{proxy.base_url}/chat/completions", json=body(model, stream=True)) as answer,
        ):
            assert answer.status == 200, await answer.text()
            rest = b""
            async for chunk in answer.content.iter_any():
                *whole, rest = (rest + chunk).split(b"\n\n")
                self.events.extend((time.monotonic(), event) for event in whole)

    @property
    def tokens(self) -> int:
        return sum(b'"content":"word "' in event for _, event in self.events)

    @property
    def late_s(self) -> float:
        """From the last token that there was room for, to the end."""
        words = [at_s for at_s, event in self.events if b'"content":"word "' in event]
        return self.events[-1][0] - words[min(ROOM_TOKENS, len(words)) - 1]


@pytest.mark.parametrize(
    ("model", "step"),
    [
        ("long", replies.canned(words=("word ",) * 20_000, gap_s=0.001)),
        ("stalled", replies.canned(words=("word ",) * 20_000, keep=400, end="hang")),
    ],
)
async def test_a_stream_that_reaches_its_budget_is_cut_within_a_second_or_500_tokens(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, model: str, step: replies.Step
) -> None:
    shared_upstream.script(model, step)
    cut = Cut()

    async with asyncio.timeout(30):
        await cut.read(proxy, model, model)

    await shared_upstream.until(lambda: any(seen.aborted for seen in shared_upstream.of(model)))
    (record,) = await asyncio.to_thread(proxy.records, f"acme/{model}")
    error = json.loads(cut.events[-1][1].removeprefix(b"data: "))["error"]
    print(f"{model}: cut {cut.late_s:.2f} s and {cut.tokens - ROOM_TOKENS} tokens after its budget was reached")
    assert (error["code"], error["type"]) == ("budget_exceeded", "insufficient_quota")
    assert not any(b"[DONE]" in event for _, event in cut.events)
    assert cut.tokens > ROOM_TOKENS
    assert cut.late_s <= CUT_S or cut.tokens - ROOM_TOKENS <= CUT_TOKENS
    assert (record["outcome"], record["quality"], record["status"]) == ("budget_exceeded", "estimated", 200)
    assert record["cost_nusd"] == record["output_text"] * 10_000
    assert record["output_text"] >= cut.tokens
    assert proxy.entries(record["request_id"]) == [(1, "RESERVE"), (1, "SETTLE")]


async def test_from_the_warning_on_answers_say_so_and_the_log_says_it_once(proxy: TollwayProcess) -> None:
    async with session(proxy, "few") as client:
        found = [await asked(proxy, client, "unpriced") for _ in range(6)]

    assert [status for status, *_ in found] == [200] * 5 + [429]
    assert [headers.get("x-tollway-budget-warning") for _, headers, _ in found] == [
        *(None, None, None),
        "key:few total 60% of 5 requests",
        "key:few total 80% of 5 requests",
        None,
    ]
    lines = [json.loads(line) for line in proxy.stderr.splitlines() if '"budget":"five"' in line]
    assert [(line["event"], line["settled"], line["limit"]) for line in lines] == [
        ("budget_warning", 3, 5),
        ("budget_exceeded", 5, 5),
    ]


async def test_under_a_budget_of_money_a_model_without_a_price_is_refused_and_nothing_is_sent(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream
) -> None:
    before = len(shared_upstream.of("unpriced"))

    async with session(proxy, "mine") as client:
        status, _, said = await asked(proxy, client, "unpriced")

    assert (status, said["error"]["code"]) == (400, "price_unknown")
    assert len(shared_upstream.of("unpriced")) == before
