"""Upstreams on real sockets that do exactly what a test tells them, byte for byte."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.heads: list[bytes] = []

    async def request(self) -> bytes:
        """The next request's body; its head is kept."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        length = re.search(rb"content-length: (\d+)", head.lower())
        return await self._reader.readexactly(int(length[1])) if length else b""

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def reset(self) -> None:
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has left."""
        await self._reader.read()


Serve = Callable[[Peer], Awaitable[None]]


class Server:
    """A server on a free port that does what it is told with each connection."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._tasks: list[asyncio.Task[object]] = []
        self.peers: list[Peer] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        # The test is over for a connection when its client has left or the server stops.
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await self._serve(peer)
        writer.close()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(serve)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    server.url = f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1/chat/completions"
    try:
        yield server
    finally:
        listener.close()
        await server.stop()


def saying(*answers: bytes, then: Callable[[Peer], Awaitable[None]] = Peer.gone) -> Serve:
    """Answer one request after the other on each connection; afterwards wait until the client leaves."""

    async def serve(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.send(answer)
        await then(peer)

    return serve


async def hang_up(peer: Peer) -> None:
    """Close in an orderly way."""


async def reset(peer: Peer) -> None:
    """Close in a disorderly way."""
    peer.reset()


def whole(body: bytes, *headers: bytes) -> bytes:
    """A whole answer."""
    return OK + b"".join(header + b"\r\n" for header in headers) + b"content-length: %d\r\n\r\n" % len(body) + body
