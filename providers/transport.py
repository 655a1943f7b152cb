"""The only network I/O of the data path: a pool of connections, deadlines for every phase, errors of our own.

Foreign exceptions stop here, mapped by class.  Why not a client library: docs/adr/0003 has the figures.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from time import time as wall_s
from typing import NamedTuple
from urllib.parse import urlsplit

import certifi

from providers.errors import (
    ConnectFailed,
    ConnectTimedOut,
    CutShort,
    Disconnected,
    FirstByteTimedOut,
    IdleTimedOut,
    InvalidResponse,
    ProviderError,
    SendTimedOut,
    TlsFailed,
    TotalTimedOut,
)
from providers.http1 import BUFFER_MAX_BYTES, Connection
from providers.inflate import Inflate
from providers.provider import Body, HttpRequest, Timeouts
from providers.retry_after import retry_after_s

USER_AGENT = "tollway/0.1"
BODY_MAX_BYTES = 64 * 1024 * 1024
REST_S = 0.1
KEEP_S = 30.0
"""How long a connection is kept without use; less than the 60 s and more after which servers usually close theirs."""
STALE_MAX = 8
TARGETS_MAX = 4_096
COUNT_HEADER = "x-amzn-bedrock-input-token-count"
_COUNT = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)


class Origin(NamedTuple):
    """Where a connection goes."""

    tls: bool
    host: str
    port: int


class Response:
    """An answer whose head is here.  ``read`` or ``chunk`` takes its body; ``close`` is always called.

    status: 200 to 599.  content_type: without parameters, lower case.  request_id: the upstream's own, if it names one.
    sending: the request is not whole yet; its answer may come all the same, and is waited for from ``sent`` on.
    """

    def __init__(self, connection: Connection, timeouts: Timeouts, deadline_s: float, *, sending: bool = False) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._connection: Connection | None = connection
        self._timeouts = timeouts
        self._deadline_s = deadline_s
        self._parts: list[bytes] = []
        self._size = 0
        self._paused = False
        self._whole = False
        self._error: ProviderError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Callable[[bytes], bool] | None = None
        self._waiting_since_s = loop.time()
        self._first_byte_s = self._waiting_since_s + timeouts.first_byte_s
        self._inflate: Inflate | None = None
        self._headers: dict[str, str] = {}
        self._watch: asyncio.TimerHandle | None = None
        self.status = 0
        self.content_type = ""
        self.header_content_type = "application/json"
        self.request_id = ""
        if not sending:
            self.sent()

    def sent(self) -> None:
        """The request is on its way, all of it or as much as the upstream wants: now its answer is waited for."""
        if self._whole or self._error is not None:
            return
        now_s = self._waiting_since_s = self._loop.time()
        self._first_byte_s = now_s + self._timeouts.first_byte_s
        first_s = min(self._first_byte_s, now_s + self._timeouts.idle_s, self._deadline_s)
        self._watch = self._loop.call_at(first_s, self._check)

    @property
    def is_final(self) -> bool:
        """Whether nothing that is still sent could change what comes: an error's head is here, or there will be no answer."""
        return self._error is not None or self.status >= 300

    @property
    def begun(self) -> bool:
        """Whether any of the answer has come."""
        return self.status != 0

    @property
    def retry_after_s(self) -> float | None:
        """How long the upstream asks us to wait: ``retry-after-ms``, or ``Retry-After`` in either of its forms."""
        return retry_after_s(self._headers, wall_s(), limited=self.status == 429)

    @property
    def counted(self) -> bytes:
        """A usage object of what the upstream counted in a header, as Bedrock does of embeddings; empty if it did not.

        Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html and its SDKs, read 2026-11.
        """
        count = self._headers.get(COUNT_HEADER, "")
        return b'{"%b":%b}' % (COUNT_HEADER.encode(), count.encode()) if _COUNT.fullmatch(count) else b""

    async def head(self) -> None:
        """Wait for the head.  Raises: FirstByteTimedOut, TotalTimedOut, Disconnected, InvalidResponse."""
        while not self.status:
            if self._error is not None:
                raise self._error
            self._waiter = self._loop.create_future()
            await self._waiter
        encoding = self._headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            self._inflate = Inflate(encoding)

    async def chunk(self) -> bytes:
        """What has come of the body, at once if anything has; ``b""`` at its end.

        Raises: IdleTimedOut, TotalTimedOut, Disconnected, InvalidResponse.
        """
        if self._inflate is None:
            return await self._received()
        while True:
            if self._inflate.waiting:
                # A bomb makes a gigabyte of a megabyte: let the others have the loop between its pieces.
                await asyncio.sleep(0)
                if plain := self._inflate.more():
                    return plain
                continue
            data = await self._received()
            plain = self._inflate.feed(data)
            if plain or not data:
                return plain

    async def push(self, sink: Callable[[bytes], bool]) -> None:
        """Hand every piece of the body to ``sink`` the moment it comes, until it returns ``False`` or the body ends.

        No task is woken for a piece.  ``sink`` raises nothing.
        Raises: as ``chunk``.
        """
        if self._inflate is not None:
            while data := await self.chunk():
                if not sink(data):
                    return
            return
        while True:
            if self._parts:
                if not sink(await self._received()):
                    return
                continue
            if self._whole:
                return
            if self._error is not None:
                raise self._error
            self._waiting_since_s = self._loop.time()
            self._waiter = self._loop.create_future()
            self._sink = sink
            try:
                await self._waiter
            finally:
                stopped, self._sink = self._sink is None, None
                self._waiting_since_s = 0.0
            if stopped:
                return

    async def read(self, most_bytes: int = BODY_MAX_BYTES) -> bytes:
        """The whole body.  Raises: as ``chunk``; InvalidResponse, if it is larger than ``most_bytes``."""
        parts = []
        size = 0
        while data := await self.chunk():
            parts.append(data)
            size += len(data)
            if size > most_bytes:
                raise InvalidResponse(f"The upstream's answer is larger than {most_bytes // 1024 // 1024} MiB.")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def rest(self) -> bytes:
        """What still comes after the protocol's own end, within a tenth of a second; so that the connection can be kept."""
        if self._whole and not self._parts:
            return b""
        parts = []
        try:
            async with asyncio.timeout(REST_S):
                while data := await self.chunk():
                    parts.append(data)
        except (TimeoutError, ProviderError):
            pass
        return b"".join(parts)

    def close(self) -> None:
        """Let go: a connection whose answer is whole went back to the pool by itself, one with more to come is dropped."""
        self._stop_watching()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # --- what the connection tells ---------------------------------------------------------------------------------------

    def began(self, status: int, headers: dict[str, str]) -> None:
        """The head is here."""
        self.status = status
        self._headers = headers
        self.header_content_type = headers.get("content-type", "application/json")
        self.content_type = self.header_content_type.partition(";")[0].strip().lower()
        self.request_id = (headers.get("x-request-id") or headers.get("x-amzn-requestid", ""))[:200]
        self._wake()

    def received(self, data: bytes) -> None:
        """A piece of the body is here."""
        if self._sink is not None:
            self._waiting_since_s = self._loop.time()
            if not self._sink(data):
                self._sink = None
                self._wake()
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > BUFFER_MAX_BYTES and not self._paused and self._connection is not None:
            self._paused = True
            self._connection.pause()
        self._wake()

    def ended(self) -> None:
        """The body is whole.  The connection may be somebody else's by now."""
        self._whole = True
        self._connection = None
        self._stop_watching()
        self._wake()

    def failed(self, error: ProviderError) -> None:
        """There will be no more."""
        if self._error is None:
            self._error = error
        self._connection = None
        self._stop_watching()
        self._wake()

    # --- waiting -----------------------------------------------------------------------------------------------------------

    async def _received(self) -> bytes:
        parts = self._parts
        while not parts:
            if self._whole:
                return b""
            if self._error is not None:
                raise self._error
            self._waiting_since_s = self._loop.time()
            self._waiter = self._loop.create_future()
            await self._waiter
        self._waiting_since_s = 0.0
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._size = 0
        if self._paused and self._connection is not None:
            self._paused = False
            self._connection.resume()
        return data

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _check(self) -> None:
        """One timer an exchange, set anew only when it fires: cheaper than one a chunk."""
        self._watch = None
        now_s = self._loop.time()
        idle_s = self._timeouts.idle_s
        waited_s = now_s - self._waiting_since_s if self._waiting_since_s else 0.0
        late: ProviderError | None = None
        if now_s >= self._deadline_s:
            late = TotalTimedOut("The upstream's answer took longer than the request may.")
        elif not self.status:
            if now_s >= self._first_byte_s:
                late = FirstByteTimedOut(f"The upstream did not begin to answer within {self._timeouts.first_byte_s:g} s.")
            # The head may be here by then, and silence after it.
            again_s = min(self._first_byte_s, now_s + idle_s)
        elif waited_s >= idle_s:
            late = IdleTimedOut(f"The upstream sent nothing for {idle_s:g} s.")
        else:
            again_s = now_s + idle_s - waited_s
        if late is None:
            self._watch = self._loop.call_at(max(min(again_s, self._deadline_s), now_s + 0.001), self._check)
            return
        connection = self._connection
        self.failed(late)
        if connection is not None:
            connection.close()


class Transport:
    """A pool of connections to all upstreams.  Redirects are never followed, cookies never kept, proxies of the
    environment never used, TLS always verified.

    connections_max: open at once, over all upstreams; a try beyond it fails at once.
    """

    def __init__(self, *, connections_max: int = 10_000) -> None:
        self._connections_max = connections_max
        self._idle: dict[Origin, deque[tuple[Connection, float]]] = {}
        self._origin_of: dict[Connection, Origin] = {}
        self._opening = 0
        self._targets: dict[str, tuple[Origin, bytes]] = {}
        self._tls: ssl.SSLContext | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def send(self, request: HttpRequest, *, timeouts: Timeouts, deadline_s: float) -> Response:
        """Send the request and wait for the head of the answer.  ``deadline_s``: on the loop's clock, for all of it.

        A body in pieces goes over a new connection, as fast as the upstream takes it in, until that has refused it.
        Raises: ConnectFailed, FirstByteTimedOut, TotalTimedOut, Disconnected, InvalidResponse; of a body in pieces also
        CutShort, SendTimedOut, and whatever the body raises.
        """
        origin, start = self._target(request.url) if request.method == "POST" else _parsed(request.url, request.method)
        body = request.body
        if not isinstance(body, bytes):
            head = _head(start, request, body.length)
            opened = await self._open(origin, timeouts.connect_s, deadline_s)
            response = Response(opened, timeouts, deadline_s, sending=True)
            return await _upload(opened, head, body, response, timeouts.idle_s, deadline_s)
        data = _head(start, request, len(body)) + body
        for _ in range(STALE_MAX):
            connection = self._take(origin)
            if connection is None:
                break
            response = Response(connection, timeouts, deadline_s)
            try:
                return await _exchange(connection, data, response)
            except Disconnected:
                # The upstream had closed it while it was idle: nobody has read the request.
                if response.begun:
                    raise
        connection = await self._open(origin, timeouts.connect_s, deadline_s)
        return await _exchange(connection, data, Response(connection, timeouts, deadline_s))

    async def close(self) -> None:
        """Close every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._origin_of):
            connection.close()
        self._idle.clear()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._origin_of)

    # --- the pool ----------------------------------------------------------------------------------------------------------

    def _take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection, _ = idle.pop()
            if not connection.lost:
                return connection
        return None

    def _at_rest(self, connection: Connection, usable: bool) -> None:
        if not usable:
            self._origin_of.pop(connection, None)
            return
        origin = self._origin_of[connection]
        loop = asyncio.get_running_loop()
        self._idle.setdefault(origin, deque()).append((connection, loop.time()))
        if self._sweep is None:
            self._sweep = loop.call_later(KEEP_S / 2, self._close_old)

    def _close_old(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        oldest_s = loop.time() - KEEP_S
        for origin, idle in list(self._idle.items()):
            while idle and (idle[0][1] < oldest_s or idle[0][0].lost):
                idle.popleft()[0].close()
            if not idle:
                del self._idle[origin]
        if self._idle:
            self._sweep = loop.call_later(KEEP_S / 2, self._close_old)

    async def _open(self, origin: Origin, connect_s: float, deadline_s: float) -> Connection:
        if len(self._origin_of) + self._opening >= self._connections_max:
            raise ConnectFailed("Too many connections to upstreams are open.")
        loop = asyncio.get_running_loop()
        self._opening += 1
        try:
            async with asyncio.timeout_at(min(loop.time() + connect_s, deadline_s)):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._at_rest),
                    origin.host,
                    origin.port,
                    ssl=self._tls_context() if origin.tls else None,
                    server_hostname=origin.host if origin.tls else None,
                )
        except TimeoutError as error:
            raise ConnectTimedOut("The upstream did not accept a connection in time.") from error
        except _FOREIGN as error:
            raise mapped(error) from error
        finally:
            self._opening -= 1
        self._origin_of[connection] = origin
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
            if not self._tls.cert_store_stats()["x509_ca"]:
                # Some builds of Python for macOS come without the system's certificates.
                self._tls.load_verify_locations(certifi.where())
        return self._tls

    def _target(self, url: str) -> tuple[Origin, bytes]:
        target = self._targets.get(url)
        if target is None:
            # Configured upstreams times their endpoints; ids of what they keep and names of models, of which there may be many.
            if len(self._targets) >= TARGETS_MAX:
                self._targets.clear()
            target = self._targets[url] = _parsed(url)
        return target


async def _exchange(connection: Connection, data: bytes, response: Response) -> Response:
    """Send, and wait for the head.  Whatever happens otherwise, the connection is not left half used."""
    try:
        connection.send(data, response)
        await response.head()
    except BaseException:
        response.close()
        raise
    return response


async def _upload(
    connection: Connection, head: bytes, body: Body, response: Response, idle_s: float, deadline_s: float
) -> Response:
    """The same for a body in pieces."""
    length = body.length
    size = 0
    try:
        connection.send(head, response, more=True)
        async with asyncio.timeout_at(deadline_s), aclosing(body.pieces()) as pieces:
            async for piece in pieces:
                size += len(piece)
                if response.is_final or (length is not None and size > length):
                    break
                await _push(connection, piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece), idle_s)
            else:
                if length is None:
                    await _push(connection, b"0\r\n\r\n", idle_s)
                if length in (None, size):
                    connection.pushed()
        response.sent()
        if not response.is_final and length not in (None, size):
            raise CutShort("The request's body is not as long as it was said to be.")
        await response.head()
    except TimeoutError as error:
        response.close()
        raise SendTimedOut("Sending the request took longer than it may.") from error
    except Disconnected as error:
        response.close()
        if connection.unsent:
            raise CutShort("The upstream closed the connection before it had the whole request.") from error
        raise
    except BaseException:
        response.close()
        raise
    return response


async def _push(connection: Connection, data: bytes, idle_s: float) -> None:
    try:
        async with asyncio.timeout(idle_s):
            await connection.push(data)
    except TimeoutError as error:
        raise SendTimedOut(f"The upstream took in nothing of the request for {idle_s:g} s.") from error


def _parsed(url: str, method: str = "POST") -> tuple[Origin, bytes]:
    """Where a URL leads, and the request's head up to the headers that differ.  Raises: ConnectFailed."""
    try:
        parts = urlsplit(url)
        tls = {"http": False, "https": True}[parts.scheme]
        host = (parts.hostname or "").encode("idna" if not (parts.hostname or "").isascii() else "ascii").decode()
        port = parts.port or (443 if tls else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        place = f"[{host}]" if ":" in host else host
        if port != (443 if tls else 80):
            place = f"{place}:{port}"
        start = f"{method} {path} HTTP/1.1\r\nhost: {place}\r\nuser-agent: {USER_AGENT}\r\n".encode("ascii")
    except (KeyError, ValueError) as error:
        raise ConnectFailed("The upstream's URL is not valid.") from error
    if not host or start.split(b"\r\n", 1)[0].count(b" ") != 2:
        raise ConnectFailed("The upstream's URL is not valid.")
    return Origin(tls, host, port), start


def _head(start: bytes, request: HttpRequest, length: int | None) -> bytes:
    """The request up to its body.  Raises: ConnectFailed, for a header that would break out of its line."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    if lines.count("\n") != len(request.headers) or lines.count("\r") != len(request.headers) or "\0" in lines:
        raise ConnectFailed("A header of the request to the upstream is not valid.")
    try:
        head = lines.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ConnectFailed("A header of the request to the upstream is not valid.") from error
    framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
    return b"%b%b%b\r\n\r\n" % (start, head, framing)


def mapped(error: Exception) -> ProviderError:
    """Our error for one that connecting can raise.  Its text has no address, no key and no certificate's path."""
    for kind, ours, text in _MAPPING:
        if isinstance(error, kind):
            return ours(text)
    return ConnectFailed("The upstream cannot be reached.")


_MAPPING: tuple[tuple[type[Exception], type[ProviderError], str], ...] = (
    (ssl.SSLCertVerificationError, TlsFailed, "The upstream's TLS certificate is not valid."),
    (ssl.CertificateError, TlsFailed, "The upstream's TLS certificate is not valid."),
    (ssl.SSLError, TlsFailed, "The TLS handshake with the upstream failed."),
    (socket.gaierror, ConnectFailed, "The upstream's host name does not resolve."),
    (ConnectionRefusedError, ConnectFailed, "The upstream refused the connection."),
    (TimeoutError, ConnectTimedOut, "The upstream did not accept a connection in time."),
    (OSError, ConnectFailed, "The upstream cannot be reached."),
    (ValueError, ConnectFailed, "The upstream's URL is not valid."),
)

# What loop.create_connection raises: OSError and its kinds (TLS's and the resolver's among them), ValueError for a bad name.
_FOREIGN = (OSError, ValueError)
