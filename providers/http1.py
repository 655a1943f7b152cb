"""HTTP/1.1 to an upstream: one connection, one exchange at a time, framed by llhttp.

A connection goes back to its pool only when nothing about it is in doubt: the answer ended where its framing said, nothing
followed it, and the upstream means to keep it open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import httptools

from providers.errors import Disconnected, InvalidResponse, ProviderError

HEAD_MAX_BYTES = 64 * 1024
# Reading stops while so much waits for a client that is slower than the upstream.
BUFFER_MAX_BYTES = 256 * 1024


class Exchange(Protocol):
    """What a connection tells of the answer to its request, in this order; ``failed`` may come instead of any of them."""

    def began(self, status: int, headers: dict[str, str]) -> None:
        """The head.  Names in lower case; a repeated header's values are joined by commas."""
        ...

    def received(self, data: bytes) -> None:
        """A piece of the body."""
        ...

    def ended(self) -> None:
        """The body is whole."""
        ...

    def failed(self, error: ProviderError) -> None:
        """There will be no more."""
        ...


class Connection(asyncio.Protocol):
    """One connection.  used: it has carried an exchange before, so the upstream may have closed it by now.
    unsent: not all of the request has been handed over.

    at_rest: called when an exchange has ended; ``True``: the connection can carry another.
    """

    def __init__(self, at_rest: Callable[[Connection, bool], None]) -> None:
        self._at_rest = at_rest
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._head_bytes = 0
        self._headers: dict[str, str] = {}
        self._interim = False
        self._until_eof = False
        self._keep_alive = False
        self._in_body = False
        self._ended = False
        self.unsent = False
        self._is_full = False
        self._drained: asyncio.Future[None] | None = None
        self.lost = False
        self.used = False

    def send(self, data: bytes, exchange: Exchange, *, more: bool = False) -> None:
        """Send a whole request; ``exchange`` hears what comes of it.  The connection is open and at rest.

        more: what ``push`` sends belongs to it, until ``pushed``.
        """
        self._exchange = exchange
        self.unsent = more
        self._head_bytes = 0
        self._in_body = self._ended = False
        if self._transport is None or self.lost:
            self._fail(Disconnected("The upstream closed the connection."))
        else:
            self._transport.write(data)

    async def push(self, data: bytes) -> None:
        """Send more of the request; returns when the upstream can take some more again.

        It returns at once when nobody listens any more: whatever has become of the exchange was told.
        """
        if self._transport is None or self.lost or self._exchange is None:
            return
        self._transport.write(data)
        if self._is_full:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def pushed(self) -> None:
        """The request is whole."""
        self.unsent = False

    def close(self) -> None:
        """Drop the connection; nobody hears of it."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Take no more from the upstream for now."""
        if self._transport is not None and not self.lost:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on after ``pause``."""
        if self._transport is not None and not self.lost:
            self._transport.resume_reading()

    # --- asyncio -------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what TCP and TLS give
        """It is open."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAX_BYTES + BUFFER_MAX_BYTES:
                self._fail(InvalidResponse("The head of the upstream's answer is too large."))
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # After a whole answer this is only a reason not to use the connection again.
            self._fail(InvalidResponse("The upstream's answer is not valid HTTP."))
            return
        if self._ended:
            self._rest()

    def pause_writing(self) -> None:
        """The upstream takes in less than it is sent."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._is_full = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self.lost = True
        self._wake()
        if self._exchange is not None and self._in_body and self._until_eof and exc is None:
            # HTTP/1.0 style: the body ends where the connection does.
            exchange, self._exchange = self._exchange, None
            exchange.ended()
        elif self._in_body:
            self._fail(Disconnected("The upstream's answer was cut off."))
        else:
            self._fail(Disconnected("The upstream closed the connection without an answer."))
        self._at_rest(self, False)

    # --- llhttp --------------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of an answer; of a second one, if there was a whole one before it."""
        self._headers = {}
        self._until_eof = True
        if self._ended or self._exchange is None:
            raise _SurplusError

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """The head is whole."""
        status = self._parser.get_status_code()
        self._interim = 100 <= status < 200 and status != 101
        if self._interim:
            return
        if sum(map(len, self._headers)) + sum(map(len, self._headers.values())) > HEAD_MAX_BYTES:
            raise _TooLargeError
        self._until_eof = "content-length" not in self._headers and "transfer-encoding" not in self._headers
        self._keep_alive = self._parser.should_keep_alive()
        self._in_body = True
        if self._exchange is not None:
            self._exchange.began(status, self._headers)
        # An upstream that has answered may read no further.
        self._wake()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._exchange is not None:
            self._exchange.received(body)

    def on_message_complete(self) -> None:
        """The body is whole, or an interim answer is over and the real one will follow."""
        self._ended = not self._interim

    # --- ends ----------------------------------------------------------------------------------------------------------

    def _rest(self) -> None:
        exchange, self._exchange = self._exchange, None
        transport = self._transport
        self.used = True
        # Whoever has the connection next has to hear of its answer, however slowly this one was taken.
        self.resume()
        whole = (
            transport is not None
            and not self.lost
            and not transport.is_closing()
            # The upstream answered before it had read the request: what is unread would be its next one's beginning.
            and transport.get_write_buffer_size() == 0
            and not self.unsent
            and self._keep_alive
        )
        self._wake()
        if exchange is not None:
            exchange.ended()
        self._at_rest(self, whole)
        if not whole and transport is not None:
            transport.abort()

    def _wake(self) -> None:
        """Whoever waits to send more finds out what has happened."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def _fail(self, error: ProviderError) -> None:
        exchange, self._exchange = self._exchange, None
        self._wake()
        if exchange is not None:
            if self._ended:
                exchange.ended()
            else:
                exchange.failed(error)
        if self._transport is not None:
            self._transport.abort()


class _SurplusError(Exception):
    """Bytes followed a whole answer."""


class _TooLargeError(Exception):
    """The head is larger than we take."""
