"""Sockets to upstreams, against real servers: what opens, what is refused, what breaks, and who waits for whom."""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from providers.errors import ConnectFailed, Disconnected, FirstByteTimedOut, ProviderError
from providers.provider import HttpRequest, Timeouts, WebSocket
from providers.websocket import Dialed, Dialer, Keepalive, Socket
from tests.fakes import ear
from tests.fakes.ear import WAIT_S

Talk = Callable[[ServerConnection], Awaitable[None]]


class Ear(ear.Ear):
    """Its end can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.end: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def closed(self, socket: WebSocket, code: int, reason: str, /) -> None:
        self.end.set_result((code, reason))
        super().closed(socket, code, reason)


@contextlib.asynccontextmanager
async def server(talk: Talk, **options: Any) -> AsyncIterator[str]:
    async with serve(talk, "127.0.0.1", 0, close_timeout=1, **options) as running:
        yield f"http://127.0.0.1:{next(iter(running.sockets)).getsockname()[1]}/v1/realtime?model=m"


@contextlib.asynccontextmanager
async def raw(answer: bytes | None) -> AsyncIterator[str]:
    """A server that answers every handshake with these bytes and closes; ``None``: with nothing, and stays."""
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await gone.wait()
        else:
            writer.write(answer)
        writer.close()

    running = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with running:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}/"
        gone.set()


async def dial(url: str, dialer: Dialer | None = None, timeouts: Timeouts | None = None, **headers: str) -> Dialed:
    dialer = dialer or Dialer()
    deadline_s = asyncio.get_running_loop().time() + WAIT_S
    return await dialer.connect(HttpRequest(url, headers, b"", "GET"), timeouts=timeouts or Timeouts(), deadline_s=deadline_s)


async def opened(url: str, dialer: Dialer | None = None) -> tuple[Socket, Ear]:
    socket = (await dial(url, dialer)).socket
    assert socket is not None
    ear = Ear()
    socket.listen(ear)
    return socket, ear


async def test_what_was_said_before_anybody_listened_is_heard_first() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send("one")
        await connection.send(b"two")
        await connection.send(["th", "r", "ee"])
        await connection.recv()

    async with server(talk) as url:
        socket, ear = await opened(url)
        await ear.until(lambda: len(ear.heard) == 3)
        socket.close()
        await ear.until(ear.end.done)

    assert [(b"one", True), (b"two", False), (b"three", True)] == ear.heard


async def test_it_says_who_it_is_and_sends_the_key_and_nothing_is_compressed() -> None:
    seen: list[Request] = []

    def handshake(_: ServerConnection, request: Request) -> None:
        seen.append(request)

    async def talk(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with server(talk, process_request=handshake) as url:
        answer = await dial(url, authorization="Bearer sk-1")
        assert answer.socket is not None
        answer.socket.close()

    assert ["tollway/0.1", "Bearer sk-1"] == [seen[0].headers["user-agent"], seen[0].headers["authorization"]]
    assert "sec-websocket-extensions" not in seen[0].headers
    assert (101, "/v1/realtime?model=m") == (answer.status, seen[0].path)


@pytest.mark.parametrize(("status", "retry_after_s"), [(401, None), (429, 7.0), (302, None)])
async def test_a_refusal_is_an_answer_and_no_redirect_is_followed(status: int, retry_after_s: float | None) -> None:
    def handshake(connection: ServerConnection, _: Request) -> Response:
        answer = connection.respond(status, '{"error":{}}')
        answer.headers["x-request-id"] = "req_up"
        answer.headers["location"] = "http://127.0.0.1:9/"
        if retry_after_s is not None:
            answer.headers["retry-after"] = "7"
        return answer

    async def talk(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with server(talk, process_request=handshake) as url:
        dialer = Dialer()
        answer = await dial(url, dialer)
        await dialer.close()

    assert (status, b'{"error":{}}', "req_up", None) == (answer.status, answer.body, answer.request_id, answer.socket)
    assert retry_after_s == answer.retry_after_s


async def test_nobody_there_is_a_failure_of_which_nothing_was_sent() -> None:
    with sockets.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConnectFailed) as failed:
            await dial(f"http://127.0.0.1:{port}/")

    assert not failed.value.sent


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", Disconnected),
        (b"SSH-2.0-OpenSSH\r\n\r\n", Disconnected),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", ProviderError),
    ],
)
async def test_what_is_no_handshake_is_a_failure(answer: bytes, error: type[ProviderError]) -> None:
    async with raw(answer) as url:
        with pytest.raises(error):
            await dial(url)


async def test_a_handshake_that_is_not_answered_is_given_up() -> None:
    async with raw(None) as url:
        dialer = Dialer()
        with pytest.raises(FirstByteTimedOut):
            await dial(url, dialer, Timeouts(first_byte_s=0.05))


@pytest.mark.parametrize(
    ("url", "headers"),
    [("http://h/", {"x": "a\r\nb: c"}), ("http://h/", {"x": "\u20ac"}), ("ftp://h/", {}), ("http://", {}), ("http://h:x/", {})],
)
async def test_what_cannot_be_asked_is_refused_before_it_is_sent(url: str, headers: dict[str, str]) -> None:
    with pytest.raises(ConnectFailed):
        await dial(url, **headers)


async def test_there_are_no_more_sockets_than_there_may_be() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.wait_closed()

    dialer = Dialer(connections_max=1)
    async with server(talk) as url:
        socket, ear = await opened(url, dialer)
        with pytest.raises(ConnectFailed):
            await dial(url, dialer)
        socket.close()
        await ear.until(ear.end.done)
        async with asyncio.timeout(WAIT_S):
            await socket.lost
        again, ear = await opened(url, dialer)
        again.close()
        await ear.until(ear.end.done)

    assert dialer.connections <= 1


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1011, "keepalive"), (4001, "their own")])
async def test_how_it_was_closed_is_told_once(code: int, reason: str) -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.close(code, reason)

    async with server(talk) as url:
        _, ear = await opened(url)
        await ear.until(ear.end.done)

    assert (code, reason) == ear.end.result()


async def test_a_connection_that_breaks_is_told_as_1006() -> None:
    async def talk(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with server(talk) as url:
        _, ear = await opened(url)
        await ear.until(ear.end.done)

    assert (1006, "") == ear.end.result()


async def test_a_message_that_is_too_large_ends_it() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send("x" * 2_000)
        await connection.wait_closed()

    async with server(talk) as url:
        _, ear = await opened(url, Dialer(message_max_bytes=1_000))
        await ear.until(ear.end.done)

    assert 1009 == ear.end.result()[0]
    assert [] == ear.heard


async def test_who_answers_no_ping_is_taken_to_be_gone() -> None:
    async def talk(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await connection.wait_closed()

    async with server(talk, ping_interval=None) as url:
        _, ear = await opened(url, Dialer(keepalive=Keepalive(ping_s=0.05, pong_s=0.05)))
        await ear.until(ear.end.done)

    assert (1006, "") == ear.end.result()


async def test_who_answers_pings_stays() -> None:
    async def talk(connection: ServerConnection) -> None:
        for _ in range(3):
            # Each of these waits for the answer to a ping of the server's own.
            await (await connection.ping())
        await connection.send("still here")
        await connection.wait_closed()

    async with server(talk) as url:
        socket, ear = await opened(url, Dialer(keepalive=Keepalive(ping_s=0.05, pong_s=10)))
        await ear.until(lambda: bool(ear.heard))
        socket.close()
        await ear.until(ear.end.done)

    assert [(b"still here", True)] == ear.heard


async def test_a_slow_reader_is_told_of_and_told_of_again_when_it_has_caught_up() -> None:
    reads = asyncio.Event()

    async def talk(connection: ServerConnection) -> None:
        await reads.wait()
        async for _ in connection:
            pass

    async with server(talk, max_size=None, max_queue=1) as url:
        socket, ear = await opened(url)
        while not ear.levels:
            socket.say(b"x" * 1_000_000, text=False)
        reads.set()
        await ear.until(lambda: len(ear.levels) == 2)
        socket.close()
        await ear.until(ear.end.done)

    assert ["full", "drained"] == ear.levels


async def test_nothing_is_read_while_it_is_paused() -> None:
    sent = 0

    async def talk(connection: ServerConnection) -> None:
        nonlocal sent
        with contextlib.suppress(Exception):
            while True:
                await connection.send(b"x" * 100_000)
                sent += 1

    async with server(talk) as url:
        socket, ear = await opened(url)
        await ear.until(lambda: bool(ear.heard))
        socket.pause()
        heard, last = len(ear.heard), -1
        while sent != last:  # until the server cannot send either
            last = sent
            await asyncio.sleep(0.1)
        assert heard == len(ear.heard)
        socket.resume()
        await ear.until(lambda: len(ear.heard) > heard)
        socket.abort()


async def test_nothing_happens_to_what_is_said_to_a_closed_one() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with server(talk) as url:
        socket, ear = await opened(url)
        socket.close()
        socket.say(b"too late", text=True)
        socket.close()
        await ear.until(ear.end.done)

    assert 1000 == ear.end.result()[0]
