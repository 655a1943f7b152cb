"""SIGTERM while requests are under way."""

from __future__ import annotations

import asyncio
import signal
import time

import aiohttp
import pytest

from tests.conftest import Serve
from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config

DRAIN_S = 2.0
MARGIN_S = 8.0
MODELS = ("short", "long", "soon", "never")
AT_ONCE = 4


async def ask(session: aiohttp.ClientSession, proxy: TollwayProcess, model: str, *, stream: bool) -> tuple[int, bytes]:
    body = {"model": f"acme/{model}", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    async with session.post(f"{proxy.base_url}/chat/completions", json=body) as answer:
        return answer.status, await answer.read()


async def refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.transport.abort()
    return False


async def until_refused(port: int, timeout_s: float) -> None:
    for _ in range(round(timeout_s / 0.02)):
        if await refused(port):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"still accepting after {timeout_s} s")


async def test_what_is_short_ends_whole_and_what_is_long_ends_by_an_error(upstream: OpenAIUpstream, serve: Serve) -> None:
    upstream.script("short", replies.canned(gap_s=0.1))
    upstream.script("long", replies.canned(words=("word ",) * 2000, gap_s=0.05))
    upstream.script("soon", replies.canned(wait_s=1.0))
    upstream.script("never", replies.SILENCE)
    proxy = serve(config(upstream, {"acme": MODELS}, server={"drain_timeout_s": DRAIN_S}))
    async with aiohttp.ClientSession(headers=proxy.headers) as session, asyncio.TaskGroup() as group:
        asked = {
            model: [group.create_task(ask(session, proxy, model, stream=model in ("short", "long"))) for _ in range(AT_ONCE)]
            for model in MODELS
        }
        await upstream.until(lambda: sum(seen.sent_bytes > 0 for seen in upstream.seen) == 2 * AT_ONCE)
        await upstream.until(lambda: len(upstream.seen) == len(MODELS) * AT_ONCE)

        signalled_s = time.monotonic()
        proxy.signal(signal.SIGTERM)
        await until_refused(proxy.port, 1.0)
        short, soon = await asyncio.gather(*asked["short"]), await asyncio.gather(*asked["soon"])
        whole_s = time.monotonic() - signalled_s
        long, never = await asyncio.gather(*asked["long"]), await asyncio.gather(*asked["never"])
        code = await asyncio.to_thread(proxy.wait)
        ended_s = time.monotonic() - signalled_s

    outcomes = {model: {row["outcome"] for row in proxy.records(f"acme/{model}", AT_ONCE)} for model in MODELS}
    assert code == 0
    assert whole_s < DRAIN_S
    assert DRAIN_S * 0.9 <= ended_s < DRAIN_S + MARGIN_S
    assert {status for status, _ in short + soon + long} == {200}
    assert all(body.endswith(b"data: [DONE]\n\n") for _, body in short)
    assert len({body for _, body in short}) == len({body for _, body in soon}) == 1
    assert all(b"[DONE]" not in body for _, body in long)
    assert all(b'{"error":' in body.split(b"\n\n")[-2] for _, body in long)
    assert all(status == 503 and body.startswith(b'{"error":') for status, body in never)
    assert outcomes["short"] == outcomes["soon"] == {"ok"}
    assert "ok" not in outcomes["long"] | outcomes["never"]
    assert proxy.open_reservations() == []
    assert proxy.rows("SELECT count(*) AS n FROM requests")[0]["n"] == len(MODELS) * AT_ONCE


async def test_an_idle_server_stops_at_once_although_clients_keep_connections(upstream: OpenAIUpstream, serve: Serve) -> None:
    upstream.serve("m")
    proxy = serve(config(upstream, {"acme": ["m"]}, server={"drain_timeout_s": 30.0}))
    async with aiohttp.ClientSession(headers=proxy.headers) as session:
        await ask(session, proxy, "m", stream=False)

        signalled_s = time.monotonic()
        code = await asyncio.to_thread(proxy.terminate)

    assert code == 0
    assert time.monotonic() - signalled_s < MARGIN_S


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_start_on_the_same_home_knows_everything(
    upstream: OpenAIUpstream, serve: Serve, number: signal.Signals
) -> None:
    upstream.serve("m")
    proxy = serve(config(upstream, {"acme": ["m"]}))
    async with aiohttp.ClientSession(headers=proxy.headers) as session:
        await ask(session, proxy, "m", stream=True)
        proxy.signal(number)
        code = await asyncio.to_thread(proxy.wait)

        proxy.restart()
        status, _ = await ask(session, proxy, "m", stream=True)

    assert (code, status) == (0, 200)
    assert len(proxy.records("acme/m", 2)) == 2
    assert proxy.open_reservations() == []
