"""Clients that leave before their answer is whole."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import struct
import time
from collections.abc import Iterator

import msgspec
import pytest

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config, tollway

MODELS = ("fin", "rst", "waiting", "slow-head", "storm", "after", "drained", "drained-stream", "failing", "unasked")
DRAINED_KEY = "tw-" + secrets.token_hex(32)
GONE_S = 5.0


@pytest.fixture(scope="module")
def proxy(shared_upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    shared_upstream.serve(*MODELS)
    setting = config(
        shared_upstream,
        {"acme": MODELS},
        models={"twice": {"targets": ["acme/failing"], "fallbacks": ["acme/unasked"]}},
        keys={"drained": {"key": "env:DRAINED_KEY", "disconnect": "drain"}},
    )
    setting.env["DRAINED_KEY"] = DRAINED_KEY
    with tollway(tmp_path_factory.mktemp("disconnect"), setting) as proxy:
        yield proxy


class Client:
    """A connection whose end is under our control."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def ask(cls, proxy: TollwayProcess, model: str, *, stream: bool, key: str = "") -> Client:
        client = cls(*await asyncio.open_connection("127.0.0.1", proxy.port))
        body = json.dumps(
            {
                "model": model,
                "messages": [{"role": "user", "content": "hi"}],
                "stream": stream,
            }
        )
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{proxy.port}\r\ncontent-type: application/json\r\n"
        rest = f"authorization: Bearer {key or proxy.api_key}\r\ncontent-length: {len(body)}\r\n\r\n"
        client._writer.write((head + rest + body).encode())
        return client

    async def read_until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(5):
            return await self._reader.readuntil(mark)

    def leave(self, *, reset: bool = False) -> float:
        """Close, or reset, the connection.  Returns when."""
        if reset:
            raw = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        return time.monotonic()


async def left(upstream: OpenAIUpstream, model: str) -> float:
    """When the upstream saw the proxy leave."""
    await upstream.until(lambda: any(seen.aborted for seen in upstream.of(model)))
    (seen,) = upstream.of(model)
    assert seen.ended_s is not None
    return seen.ended_s


@pytest.mark.parametrize("kind", ["fin", "rst"])
async def test_a_client_that_leaves_a_stream_takes_the_upstream_with_it(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, kind: str
) -> None:
    shared_upstream.script(kind, replies.canned(words=("word ",) * 500, gap_s=0.05))
    client = await Client.ask(proxy, f"acme/{kind}", stream=True)
    await client.read_until(b'"word "')
    await client.read_until(b'"word "')

    left_s = client.leave(reset=kind == "rst")
    upstream_left_s = await left(shared_upstream, kind)

    (record,) = await asyncio.to_thread(proxy.records, f"acme/{kind}")
    assert upstream_left_s - left_s < GONE_S
    assert (record["outcome"], record["status"], record["quality"]) == ("client_closed", 499, "estimated")
    assert record["input_uncached"] > 0
    assert record["output_text"] > 0
    assert proxy.entries(record["request_id"]) == [(1, "RESERVE"), (1, "SETTLE")]


@pytest.mark.parametrize(("model", "stream"), [("waiting", False), ("slow-head", True)])
async def test_a_client_that_leaves_while_it_waits_takes_the_upstream_with_it(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, model: str, stream: bool
) -> None:
    shared_upstream.script(model, replies.SILENCE)
    client = await Client.ask(proxy, f"acme/{model}", stream=stream)
    await shared_upstream.until(lambda: bool(shared_upstream.of(model)))

    left_s = client.leave()
    upstream_left_s = await left(shared_upstream, model)

    (record,) = await asyncio.to_thread(proxy.records, f"acme/{model}")
    assert upstream_left_s - left_s < GONE_S
    assert (record["outcome"], record["status"], record["quality"]) == ("client_closed", 499, "held")
    assert record["input_uncached"] > 0
    assert proxy.entries(record["request_id"]) == [(1, "RESERVE"), (1, "SETTLE")]


async def test_a_hundred_clients_that_leave_at_once_leave_a_hundred_records(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream
) -> None:
    shared_upstream.script("storm", replies.canned(words=("word ",) * 500, gap_s=0.1))
    clients = await asyncio.gather(*(Client.ask(proxy, "acme/storm", stream=True) for _ in range(100)))
    await asyncio.gather(*(client.read_until(b'"word "') for client in clients))

    left_s = max([client.leave() for client in clients])
    await shared_upstream.until(lambda: sum(seen.aborted for seen in shared_upstream.of("storm")) == 100)

    records = await asyncio.to_thread(proxy.records, "acme/storm", 100)
    ends = [seen.ended_s - left_s for seen in shared_upstream.of("storm") if seen.ended_s is not None]
    assert max(ends) < 5
    assert [record["outcome"] for record in records] == ["client_closed"] * 100
    assert proxy.open_reservations() == []


async def test_a_client_that_has_all_of_its_answer_and_leaves_is_an_ordinary_one(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream
) -> None:
    client = await Client.ask(proxy, "acme/after", stream=True)
    await client.read_until(b"data: [DONE]\n\n")

    client.leave()

    (record,) = await asyncio.to_thread(proxy.records, "acme/after")
    assert (record["outcome"], record["status"], record["quality"]) == ("ok", 200, "exact")
    assert [seen.aborted for seen in shared_upstream.of("after")] == [False]


@pytest.mark.parametrize(("model", "stream"), [("drained", False), ("drained-stream", True)])
async def test_an_answer_of_a_key_that_drains_is_read_on_and_its_charge_is_exact(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, model: str, stream: bool
) -> None:
    shared_upstream.script(model, replies.canned(words=("word ",) * 20, wait_s=0.1, gap_s=0.02))
    client = await Client.ask(proxy, f"acme/{model}", stream=stream, key=DRAINED_KEY)
    await shared_upstream.until(lambda: bool(shared_upstream.of(model)))

    client.leave()

    (record,) = await asyncio.to_thread(proxy.records, f"acme/{model}")
    (seen,) = shared_upstream.of(model)
    assert (record["outcome"], record["status"], record["quality"]) == ("client_closed", 499, "exact")
    assert record["output_text"] + record["reasoning"] == replies.usage_of("chat/completions", ["w"] * 20)["completion_tokens"]
    await shared_upstream.until(lambda: seen.finished)
    assert not seen.aborted
    assert proxy.entries(record["request_id"]) == [(1, "RESERVE"), (1, "SETTLE")]


async def test_what_fails_when_nobody_listens_any_more_is_not_tried_again(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream
) -> None:
    def fail_late(_: replies.Asked) -> replies.Reply:
        return msgspec.structs.replace(replies.error(500), wait_s=0.2)

    shared_upstream.script("failing", fail_late)
    client = await Client.ask(proxy, "twice", stream=False, key=DRAINED_KEY)
    await shared_upstream.until(lambda: bool(shared_upstream.of("failing")))

    client.leave()

    (record,) = await asyncio.to_thread(proxy.records, "twice")
    assert (record["outcome"], record["status"]) == ("client_closed", 499)
    assert proxy.entries(record["request_id"]) == [(1, "RESERVE"), (1, "VOID")]
    assert shared_upstream.of("unasked") == []
