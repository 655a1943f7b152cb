"""The only network I/O of the data path.  aiohttp's exceptions stop here, mapped by class.

Why aiohttp: a fifth of httpx's CPU per request, steady under concurrency; docs/adr/0003 has the figures.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from time import time as wall_s
from typing import ClassVar
from weakref import WeakSet

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from multidict import CIMultiDictProxy
from yarl import URL

from providers.errors import (
    ConnectFailed,
    ConnectTimedOut,
    Disconnected,
    FirstByteTimedOut,
    IdleTimedOut,
    InvalidResponse,
    ProviderError,
    TlsFailed,
    TotalTimedOut,
)
from providers.provider import HttpRequest, Timeouts

USER_AGENT = "tollway/0.1"
BODY_MAX_BYTES = 64 * 1024 * 1024
INFLATED_PIECE_BYTES = 1024 * 1024
CLOSE_S = 0.1
STALE_MAX = 3
_READ_BUFFER = 64 * 1024


def mapped(error: Exception) -> ProviderError:
    """The error of ours that one of aiohttp's is.  Never carries a URL's query, a header or a certificate's path."""
    for kind, ours, text in _MAPPING:
        if isinstance(error, kind):
            return ours(text)
    return Disconnected("The connection to the upstream failed.")


_MAPPING: tuple[tuple[type[Exception], type[ProviderError], str], ...] = (
    (aiohttp.ConnectionTimeoutError, ConnectTimedOut, "The upstream did not accept a connection in time."),
    (aiohttp.SocketTimeoutError, IdleTimedOut, "The upstream sent nothing for too long."),
    (aiohttp.ServerTimeoutError, FirstByteTimedOut, "The upstream took too long."),
    (aiohttp.ServerFingerprintMismatch, TlsFailed, "The upstream's certificate is not the expected one."),
    (aiohttp.ClientConnectorCertificateError, TlsFailed, "The upstream's TLS certificate is not valid."),
    (aiohttp.ClientConnectorDNSError, ConnectFailed, "The upstream's host name does not resolve."),
    (aiohttp.ClientConnectorError, ConnectFailed, "The upstream refused the connection."),
    (aiohttp.ClientSSLError, TlsFailed, "The TLS handshake with the upstream failed."),
    (aiohttp.InvalidURL, ConnectFailed, "The upstream's URL is not valid."),
    (aiohttp.ServerDisconnectedError, Disconnected, "The upstream closed the connection without an answer."),
    (aiohttp.ClientPayloadError, Disconnected, "The upstream's answer was cut off."),
    (aiohttp.ClientOSError, Disconnected, "The connection to the upstream broke."),
    (aiohttp.ClientConnectionResetError, Disconnected, "The connection to the upstream broke."),
    (aiohttp.ClientResponseError, InvalidResponse, "The upstream's answer is not valid HTTP."),
    (aiohttp.ClientConnectionError, Disconnected, "The connection to the upstream broke."),
    (aiohttp.ClientError, InvalidResponse, "The upstream's answer is not valid HTTP."),
    (ssl.SSLError, TlsFailed, "The TLS handshake with the upstream failed."),
    (ConnectionError, Disconnected, "The connection to the upstream broke."),
    (OSError, ConnectFailed, "The upstream cannot be reached."),
    (ValueError, InvalidResponse, "The upstream's answer is not valid HTTP."),
)

_FOREIGN = (aiohttp.ClientError, OSError, ValueError)


class Response:
    """An answer whose head is here.  ``read`` or ``chunk`` takes its body; ``close`` is always called.

    status: 100 to 599.  content_type: without parameters, lower case.  request_id: the upstream's own, if it names one.
    """

    def __init__(self, response: aiohttp.ClientResponse, timeouts: Timeouts, deadline_s: float) -> None:
        self._response = response
        self._timeouts = timeouts
        self._deadline_s = deadline_s
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._waiting_since_s = 0.0
        self._late: ProviderError | None = None
        self._inflate: _Inflate | None = None
        self.status = response.status
        headers: CIMultiDictProxy[str] = response.headers
        self.content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self.header_content_type = headers.get("content-type", "application/json")
        self.request_id = headers.get("x-request-id", "")[:200]
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            self._inflate = _Inflate(encoding)

    @property
    def retry_after_s(self) -> float | None:
        """How long the upstream asks us to wait: ``retry-after-ms``, or ``Retry-After`` in either of its forms."""
        return retry_after_s(self._response.headers, wall_s())

    async def chunk(self) -> bytes:
        """The next piece of the body, at once when there is one; ``b""`` at its end.

        Raises: IdleTimedOut, TotalTimedOut, Disconnected, InvalidResponse.
        """
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeouts.idle_s, self._check)
        if self._inflate is not None:
            return await self._inflated(self._inflate)
        return await self._received()

    async def _received(self) -> bytes:
        self._waiting_since_s = self._loop.time()
        try:
            return await self._response.content.readany()
        except _FOREIGN as error:
            raise self._late or mapped(error) from error
        finally:
            self._waiting_since_s = 0.0

    async def _inflated(self, inflate: _Inflate) -> bytes:
        while True:
            if inflate.waiting:
                # A bomb makes a gigabyte of a megabyte: let the others have the loop between its pieces.
                await asyncio.sleep(0)
                return inflate.more()
            data = await self._received()
            plain = inflate.feed(data)
            if plain or not data:
                return plain

    async def read(self) -> bytes:
        """The whole body.  Raises: as ``chunk``; InvalidResponse, if it is larger than 64 MiB."""
        parts = []
        size = 0
        while data := await self.chunk():
            parts.append(data)
            size += len(data)
            if size > BODY_MAX_BYTES:
                raise InvalidResponse("The upstream's answer is larger than 64 MiB.")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def rest(self) -> bytes:
        """What still comes after the protocol's own end, within a tenth of a second; so that the connection can be kept."""
        parts = []
        try:
            async with asyncio.timeout(CLOSE_S):
                while data := await self.chunk():
                    parts.append(data)
        except (TimeoutError, ProviderError):
            pass
        return b"".join(parts)

    def close(self) -> None:
        """Let go: a connection whose answer was read to its end went back to the pool, one with more to come is dropped."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._response.close()

    def _check(self) -> None:
        """One timer a stream, set anew only when it fires: cheaper than one a chunk."""
        now_s = self._loop.time()
        idle_s = self._timeouts.idle_s
        waited_s = now_s - self._waiting_since_s if self._waiting_since_s else 0.0
        if now_s >= self._deadline_s:
            self._late = TotalTimedOut("The upstream's answer took longer than the request may.")
        elif waited_s >= idle_s:
            self._late = IdleTimedOut(f"The upstream sent nothing for {idle_s:g} s.")
        else:
            self._watch = self._loop.call_later(max(min(idle_s - waited_s, self._deadline_s - now_s), 0.001), self._check)
            return
        self._response.content.set_exception(ConnectionResetError("timed out"))
        self._response.close()


class _Connector(aiohttp.TCPConnector):
    """Tells the request that takes a connection whether it was used before."""

    _used: ClassVar[WeakSet[object]] = WeakSet()

    async def connect(self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:  # noqa: ASYNC109  # aiohttp's signature
        """A connection, from the pool or new."""
        connection = await super().connect(req, traces, timeout)
        protocol = connection.protocol
        _reused.set(protocol in self._used)
        if protocol is not None:
            self._used.add(protocol)
        return connection


_reused: ContextVar[bool] = ContextVar("reused", default=False)


class Transport:
    """A pool of connections to all upstreams.  Redirects are never followed, cookies never kept, proxies of the
    environment never used, TLS always verified.

    connections_max: open at once, over all upstreams; a try beyond it waits no longer than its connect timeout.
    """

    def __init__(self, *, connections_max: int = 10_000) -> None:
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=connections_max, keepalive_timeout=30, ttl_dns_cache=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"user-agent": USER_AGENT},
            skip_auto_headers=("accept",),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=_READ_BUFFER,
            max_line_size=64 * 1024,
            max_field_size=64 * 1024,
        )
        self._urls: dict[str, URL] = {}
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    async def send(self, request: HttpRequest, *, timeouts: Timeouts, deadline_s: float) -> Response:
        """POST the request and wait for the head of the answer.  ``deadline_s``: on the loop's clock, for all of it.

        Raises: ConnectFailed, FirstByteTimedOut, TotalTimedOut, Disconnected, InvalidResponse.
        """
        loop = asyncio.get_running_loop()
        first_byte_s = loop.time() + timeouts.first_byte_s
        try:
            async with asyncio.timeout_at(min(first_byte_s, deadline_s)):
                response = await self._post(request, self._timeout(timeouts.connect_s))
        except aiohttp.ConnectionTimeoutError as error:
            raise mapped(error) from error
        except TimeoutError as error:
            if deadline_s <= first_byte_s:
                raise TotalTimedOut("The upstream did not answer within the request's time.") from error
            raise FirstByteTimedOut(f"The upstream did not begin to answer within {timeouts.first_byte_s:g} s.") from error
        except _FOREIGN as error:
            raise mapped(error) from error
        return Response(response, timeouts, deadline_s)

    async def _post(self, request: HttpRequest, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """Send it; again if the connection was one that the upstream had closed while it was idle."""
        for _ in range(STALE_MAX):
            try:
                return await self._post_once(request, limits)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                # A connection that was never used before did not fail for being old.
                if isinstance(error, aiohttp.ClientConnectorError) or not _reused.get():
                    raise
        return await self._post_once(request, limits)

    async def _post_once(self, request: HttpRequest, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        return await self._session.post(
            self._url(request.url), data=request.body, headers=request.headers, allow_redirects=False, timeout=limits
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    def _url(self, text: str) -> URL:
        url = self._urls.get(text)
        if url is None:
            # Only configured upstreams times four endpoints ever get here.
            url = self._urls[text] = URL(text)
        return url

    def _timeout(self, connect_s: float) -> aiohttp.ClientTimeout:
        timeout = self._timeouts.get(connect_s)
        if timeout is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=connect_s, sock_connect=connect_s, sock_read=None)
            self._timeouts[connect_s] = timeout
        return timeout


def retry_after_s(headers: CIMultiDictProxy[str], now_s: float) -> float | None:
    """Seconds until the upstream wants to be asked again; never negative; ``None`` if it does not say, or says nonsense.

    now_s: wall clock, against which a date is read.  Source: RFC 9110 10.2.3; ``retry-after-ms`` is OpenAI's.
    """
    millis = headers.get("retry-after-ms", "").strip()
    if millis.isascii() and millis.replace(".", "", 1).isdigit() and len(millis) < 16:
        return float(millis) / 1000
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.replace(".", "", 1).isdigit() and len(text) < 16:
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - now_s, 0.0)
    except (ValueError, OverflowError, TypeError):
        return None


class _Inflate:
    """Decompression of gzip and deflate, for upstreams that compress although asked not to; a piece at a time, bounded.

    waiting: there is more of the last input, for ``more``.
    """

    def __init__(self, encoding: str) -> None:
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise InvalidResponse("The upstream's answer is compressed in a way that was not asked for.")
        self._inflate = zlib.decompressobj(wbits=15 if encoding == "deflate" else 31)
        self._begun = False
        self.waiting = False

    def feed(self, data: bytes) -> bytes:
        """The first piece of what ``data`` decompresses to; ``b""`` as input says that it is the end.

        Raises: InvalidResponse.
        """
        if not data:
            if self._begun and not self._inflate.eof:
                raise InvalidResponse("The upstream's compressed answer was cut off.")
            return b""
        self._begun = True
        return self._piece(data)

    def more(self) -> bytes:
        """The next piece.  Raises: InvalidResponse."""
        return self._piece(self._inflate.unconsumed_tail)

    def _piece(self, data: bytes) -> bytes:
        try:
            piece = self._inflate.decompress(data, INFLATED_PIECE_BYTES)
        except zlib.error as error:
            raise InvalidResponse("The upstream's answer cannot be decompressed.") from error
        self.waiting = len(piece) == INFLATED_PIECE_BYTES
        return piece
