"""How a stream ends when its books cannot be closed: it must not look whole, and it has one beginning and one end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.api.drains import DrainLimits
from proxy.api.edge import Edge, Limits
from proxy.api.hosts import Hosts
from proxy.api.origins import Origins
from proxy.api.peer import PEER
from proxy.api.uploads import UploadLimits, Uploads
from proxy.call import Call, Principal, Reply, Streaming
from proxy.disk.spool import SpoolLimits, Spools
from proxy.errors import LedgerUnavailable, ProxyError, to_openai_event

DONE = b"data: [DONE]\n\n"
EVENT = b'data: {"choices":[]}\n\n'
BODY = b'{"model":"acme/gpt","stream":true}'


class Client:
    """The client's side: sends one request, hears the answer, and may leave."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.leave: Callable[[], object] | None = None

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(self, message: Any) -> None:
        self.heard.append(dict(message))

    def is_whole(self) -> bool:
        return True

    def write(self, events: bytes) -> bool:
        del events
        return False

    def streams_events(self) -> None:
        pass

    def when_gone(self, callback: Callable[[], object] | None) -> None:
        self.leave = callback or self.leave

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.heard)

    @property
    def starts_and_ends(self) -> tuple[int, int]:
        starts = sum(message["type"] == "http.response.start" for message in self.heard)
        return starts, sum(message.get("more_body") is False for message in self.heard)


class Chunks:
    """One event, and then the end; or, where it ``hangs``, a wait for what never comes."""

    def __init__(self, *, hangs: bool = False, breaks: bool = False) -> None:
        self.reading = asyncio.Event()
        self.closing = DONE
        self.closed = 0
        self._events = [EVENT]
        self._hangs = hangs
        self._breaks = breaks

    async def read(self, write: Callable[[bytes], bool] = bool) -> bytes:
        del write
        if self._events:
            return self._events.pop()
        self.reading.set()
        if self._breaks:
            raise RuntimeError("a bug of ours")
        if self._hangs:
            await asyncio.Event().wait()
        return b""

    def fail(self, error: ProxyError) -> None:
        if self._hangs or self._breaks:
            self.closing = to_openai_event(error)

    def close(self) -> None:
        self.closed += 1


class Pipeline:
    """Answers with a stream whose end is ``settle``."""

    def __init__(self, chunks: Chunks, settle: Callable[[], Any], *, kept: bool) -> None:
        self._chunks = chunks
        self._settle = settle
        self._kept = kept

    async def __call__(self, call: Call, /) -> Reply:
        del call
        reply = Streaming(200, [], self._chunks, kept=self._kept)
        reply.on_end(self._settle)
        return reply


async def refused() -> None:
    raise LedgerUnavailable("the disk is full")


async def settled() -> None:
    return


def edge(chunks: Chunks, settle: Callable[[], Any], *, kept: bool = False) -> Edge:
    async def rest(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("not the hot path")

    return Edge(
        Pipeline(chunks, settle, kept=kept),  # type: ignore[arg-type]  # what the edge needs of a pipeline
        rest,
        models=None,  # type: ignore[arg-type]  # not asked for here
        identify=lambda _: Principal(key_id="k", name="k"),
        hosts=Hosts("127.0.0.1"),
        origins=Origins(),
        limits=Limits(body_max_bytes=1000, body_timeout_s=1.0),
        drains=DrainLimits(),
        uploads=Uploads(Spools(Path(), SpoolLimits(count_max=1, total_max_bytes=0)), UploadLimits()),
        request_id=lambda: "req_1",
        clock_s=lambda: 0.0,
        clock_us=lambda: 0,
    )


def asked(edge: Edge, client: Client) -> asyncio.Task[None]:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [(b"host", b"localhost")],
        "extensions": {PEER: client},
    }
    return asyncio.ensure_future(edge(scope, client.receive, client.send))  # type: ignore[arg-type]  # a coroutine it is


def code(client: Client) -> str:
    last = client.body.removeprefix(EVENT)
    found: str = json.loads(last.removeprefix(b"data: "))["error"]["code"]
    return found


async def test_a_stream_whose_settlement_is_durable_is_released_whole() -> None:
    client, chunks = Client(), Chunks()

    await asked(edge(chunks, settled), client)

    assert client.body == EVENT + DONE
    assert (client.starts_and_ends, chunks.closed) == ((1, 1), 1)


async def test_a_stream_that_the_journal_refuses_to_settle_does_not_look_whole() -> None:
    client, chunks = Client(), Chunks()

    await asked(edge(chunks, refused), client)

    assert code(client) == "ledger_unavailable"
    assert (client.starts_and_ends, chunks.closed) == ((1, 1), 1)


async def test_a_kept_stream_is_settled_and_then_sent_in_one_piece() -> None:
    client, chunks = Client(), Chunks()
    sent_before_it_was_settled: list[int] = []

    async def settle() -> None:
        sent_before_it_was_settled.append(len(client.heard))

    await asked(edge(chunks, settle, kept=True), client)

    assert sent_before_it_was_settled == [0]
    assert [message.get("body") for message in client.heard] == [None, EVENT + DONE]
    assert (client.starts_and_ends, chunks.closed) == ((1, 1), 1)


async def test_a_kept_stream_that_the_journal_refuses_to_settle_is_refused_with_a_status() -> None:
    client, chunks = Client(), Chunks()

    await asked(edge(chunks, refused, kept=True), client)

    assert client.heard[0]["status"] == 503
    assert json.loads(client.body)["error"]["code"] == "ledger_unavailable"
    assert (client.starts_and_ends, chunks.closed) == ((1, 1), 1)


async def test_a_kept_stream_that_is_drained_while_it_is_settled_is_refused() -> None:
    client, chunks, settling = Client(), Chunks(), asyncio.Event()

    async def slow() -> None:
        settling.set()
        await asyncio.Event().wait()

    gateway = edge(chunks, slow, kept=True)
    request = asked(gateway, client)
    await settling.wait()

    gateway.drain()
    await request

    assert json.loads(client.body)["error"]["code"] == "draining"
    assert (client.starts_and_ends, chunks.closed) == ((1, 1), 1)


@pytest.mark.parametrize(("settle", "expected"), [(settled, "draining"), (refused, "ledger_unavailable")])
async def test_a_stream_that_is_drained_ends_once_by_an_error_event(settle: Callable[[], Any], expected: str) -> None:
    client, chunks = Client(), Chunks(hangs=True)
    gateway = edge(chunks, settle)
    request = asked(gateway, client)
    await chunks.reading.wait()

    assert gateway.drain() == 1
    await request

    assert code(client) == expected
    assert (client.starts_and_ends, chunks.closed) == ((1, 1), 1)


async def test_a_stream_that_is_drained_while_it_is_settled_does_not_look_whole() -> None:
    client, chunks, settling = Client(), Chunks(), asyncio.Event()

    async def slow() -> None:
        settling.set()
        await asyncio.Event().wait()

    gateway = edge(chunks, slow)
    request = asked(gateway, client)
    await settling.wait()

    gateway.drain()
    await request

    assert code(client) == "draining"
    assert client.starts_and_ends == (1, 1)


@pytest.mark.parametrize("settle", [settled, refused])
async def test_a_client_that_left_is_sent_nothing_more_whatever_the_journal_says(settle: Callable[[], Any]) -> None:
    client, chunks = Client(), Chunks(hangs=True)
    request = asked(edge(chunks, settle), client)
    await chunks.reading.wait()

    assert client.leave is not None
    client.leave()
    await request

    assert client.body == EVENT
    assert (client.starts_and_ends, chunks.closed) == ((1, 0), 1)


@pytest.mark.parametrize("settle", [settled, refused])
async def test_a_bug_in_the_middle_of_a_stream_ends_it_once_by_an_error_event(settle: Callable[[], Any]) -> None:
    client, chunks = Client(), Chunks(breaks=True)

    await asked(edge(chunks, settle), client)

    assert code(client) == "internal_error"
    assert (client.starts_and_ends, chunks.closed) == ((1, 1), 1)
