"""A client's socket as a relay has it, behind uvicorn's own parser of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from proxy.api.sockets import SOCKET, Socket, made
from tests.fakes import ear
from tests.fakes.ear import WAIT_S


class Ear(ear.Ear):
    """An ASGI application that accepts every socket, and hears it."""

    def __init__(self) -> None:
        super().__init__()
        self.listens = asyncio.Event()
        self.listens.set()
        self.socket: Socket | None = None
        self.over = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await self.listens.wait()
        self.socket = scope["extensions"][SOCKET]
        assert self.socket is not None
        self.socket.listen(self)
        self.some.set()
        await self.over.wait()


@contextlib.asynccontextmanager
async def served(ear: Ear, *, ping_s: float = 20.0, max_size: int = 1_000_000) -> AsyncIterator[str]:
    config = uvicorn.Config(
        ear, ws=made(write_s=0.2), ws_ping_interval=ping_s, ws_ping_timeout=ping_s, ws_max_size=max_size,
        ws_per_message_deflate=False, lifespan="off", log_config=None, access_log=False,
    )  # fmt: skip
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime"
        ear.over.set()
        for connection in list(state.connections):
            connection.transport.abort()
        async with asyncio.timeout(WAIT_S):
            while state.tasks or state.connections:  # noqa: ASYNC110  # uvicorn tells nobody
                await asyncio.sleep(0.01)


def client(url: str, **options: Any) -> connect:
    return connect(url, proxy=None, compression=None, close_timeout=1, **options)


async def test_messages_of_both_kinds_are_heard_those_from_before_too() -> None:
    ear = Ear()
    ear.listens.clear()
    async with served(ear) as url, client(url) as connection:
        await connection.send("früh")
        await connection.send(b"\xff")
        await connection.send(["in ", "parts"])
        await (await connection.ping())
        ear.listens.set()
        await ear.until(lambda: len(ear.heard) == 3)
        assert ear.socket is not None
        ear.socket.say(b"and back", text=True)
        ear.socket.say(b"\xfe", text=False)
        answers = [await connection.recv(), await connection.recv()]

    assert [("früh".encode(), True), (b"\xff", False), (b"in parts", True)] == ear.heard
    assert ["and back", b"\xfe"] == answers


@pytest.mark.parametrize("code", [1000, 1001, 4000])
async def test_how_a_client_closes_is_told_once(code: int) -> None:
    ear = Ear()
    async with served(ear) as url:
        async with client(url) as connection:
            await ear.until(lambda: ear.socket)
            await connection.close(code, "because")
        await ear.until(lambda: ear.ends)

    assert [(code, "because")] == ear.ends


async def test_a_client_that_vanishes_is_told_as_1006() -> None:
    ear = Ear()
    async with served(ear) as url, client(url) as connection:
        await ear.until(lambda: ear.socket)
        connection.transport.abort()
        await ear.until(lambda: ear.ends)

    assert [(1006, "")] == ear.ends


async def test_what_is_said_to_a_client_that_is_closed_goes_nowhere_and_it_is_told_why() -> None:
    ear = Ear()
    async with served(ear) as url, client(url) as connection:
        await ear.until(lambda: ear.socket)
        assert ear.socket is not None
        ear.socket.close(1008, "r" * 200)
        ear.socket.say(b"too late", text=True)
        ear.socket.close(1000)
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()

    assert closed.value.rcvd is not None
    assert (1008, "r" * 120) == (closed.value.rcvd.code, closed.value.rcvd.reason)
    assert [] == ear.ends


@pytest.mark.parametrize(("message", "code"), [("x" * 2_000, 1009), (b"\xff\xfe", 1007)])
async def test_what_is_too_large_or_no_text_ends_it(message: str | bytes, code: int) -> None:
    ear = Ear()
    async with served(ear, max_size=1_000) as url, client(url) as connection:
        await ear.until(lambda: ear.socket)
        if isinstance(message, bytes):
            await say_text(connection, message)
        else:
            await connection.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
        await ear.until(lambda: ear.ends)

    assert closed.value.rcvd is not None
    assert (code, [code], []) == (closed.value.rcvd.code, [it for it, _ in ear.ends], ear.heard)


async def say_text(connection: ClientConnection, data: bytes) -> None:
    """A text message of bytes that are no text."""
    connection.transport.write(Frame(Opcode.TEXT, data).serialize(mask=True))


async def test_a_client_that_answers_no_ping_is_taken_to_be_gone() -> None:
    ear = Ear()
    async with served(ear, ping_s=0.05) as url, client(url, ping_interval=None) as connection:
        await ear.until(lambda: ear.socket)
        connection.transport.pause_reading()
        await ear.until(lambda: ear.ends)

    assert [(1006, "")] == ear.ends


async def test_a_client_that_does_not_read_is_told_of_and_cut_off_after_its_time() -> None:
    ear = Ear()
    async with served(ear) as url, client(url, ping_interval=None) as connection:
        await ear.until(lambda: ear.socket)
        socket = ear.socket
        assert socket is not None
        connection.transport.pause_reading()
        while not ear.levels:
            socket.say(b"x" * 1_000_000, text=False)
        since_s = socket.stuck_since_s
        assert since_s is not None
        socket.sweep(since_s + 0.1)
        assert [] == ear.ends
        socket.sweep(since_s + 0.3)
        await ear.until(lambda: ear.ends)

    assert (["full"], [(1006, "")]) == (ear.levels, ear.ends)


async def test_nothing_is_heard_while_it_is_paused() -> None:
    ear = Ear()
    async with served(ear) as url, client(url) as connection:
        await ear.until(lambda: ear.socket)
        assert ear.socket is not None
        ear.socket.pause()
        await connection.send("later")
        await asyncio.sleep(0.05)
        assert [] == ear.heard
        ear.socket.resume()
        await ear.until(lambda: ear.heard)

    assert [(b"later", True)] == ear.heard


async def test_a_server_that_stops_leaves_an_open_session_alone() -> None:
    ear = Ear()
    async with served(ear) as url, client(url) as connection:
        await ear.until(lambda: ear.socket)
        assert ear.socket is not None
        ear.socket.shutdown()
        await connection.send("still here")
        await ear.until(lambda: ear.heard)

    assert [(b"still here", True)] == ear.heard
