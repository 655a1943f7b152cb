"""Addresses at which no provider can be reached, each in another way."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import trustme

from tests.fakes.openai_upstream import refusing_port


class Peers(msgspec.Struct, frozen=True):
    """addresses: the base URL of each, by name.  authority: the file of the certificate authority that they are signed by."""

    addresses: dict[str, str]
    authority: Path


@contextlib.contextmanager
def peers(folder: Path) -> Iterator[Peers]:
    """Open them all; they are closed at the end.  folder: made, if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    authority, stranger = trustme.CA(), trustme.CA()
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificates = {
        "unknown authority": stranger.issue_cert("127.0.0.1"),
        "expired": authority.issue_cert("127.0.0.1", not_after=long_ago),
        "wrong host": authority.issue_cert("elsewhere.example"),
    }
    file = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    with contextlib.ExitStack() as stack:
        addresses = {
            "refusing": f"http://127.0.0.1:{stack.enter_context(refusing_port())}/v1",
            "black hole": f"http://127.0.0.1:{stack.enter_context(_black_hole())}/v1",
            # A name below a domain that is reserved for never being there.  Source: RFC 6761 section 6.4.
            "no such name": "http://provider.invalid/v1",
            "silent handshake": f"https://127.0.0.1:{stack.enter_context(_listening(None))}/v1",
        }
        for name, certificate in certificates.items():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            addresses[name] = f"https://127.0.0.1:{stack.enter_context(_listening(context))}/v1"
        yield Peers(addresses, file)


@contextlib.contextmanager
def _black_hole() -> Iterator[int]:
    """A port whose queue of connections is full: what comes now is not even refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def _listening(context: ssl.SSLContext | None) -> Iterator[int]:
    """A port that takes connections and says nothing; with ``context`` it shakes hands first."""
    ready = threading.Event()
    port = 0
    stop: asyncio.Event
    loop: asyncio.AbstractEventLoop

    async def serve() -> None:
        nonlocal port, stop, loop
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        # A handshake that the client breaks off is what is wanted, and nothing to report.
        loop.set_exception_handler(lambda _, __: None)
        server = await asyncio.start_server(_hold, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="peer", daemon=True)
    thread.start()
    if not ready.wait(5):
        raise TimeoutError("the peer did not start")
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)


async def _hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.read(65536):
            pass
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()
