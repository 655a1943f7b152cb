"""WebSockets to upstreams: the other network I/O of the data path.  Framing is websockets' own, without its event loop.

No redirect is followed, no proxy of the environment used, TLS always verified, nothing compressed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from time import time as wall_s

import msgspec
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidState, InvalidURI
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from providers.errors import ConnectFailed, ConnectTimedOut, Disconnected, FirstByteTimedOut, InvalidResponse, ProviderError
from providers.provider import HttpRequest, Listener, Timeouts
from providers.retry_after import retry_after_s
from providers.transport import USER_AGENT, mapped, tls_context

CLOSE_S = 5.0
"""How long the other side may take to answer a close."""
ABNORMAL, TOO_BIG = 1006, 1009
"""What a socket is closed with that nobody closed.  Source: RFC 6455, section 7.1.5."""


class Keepalive(msgspec.Struct, frozen=True, kw_only=True):
    """ping_s: how long nothing may come before the other side is asked whether it is there.  pong_s: how long it may take."""

    ping_s: float = 20.0
    pong_s: float = 20.0


class Dialed(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream's answer to a handshake.  socket: ``None``, where it refused; then ``body`` is what it said."""

    status: int
    request_id: str
    body: bytes = b""
    retry_after_s: float | None = None
    socket: Socket | None = None


class Socket(asyncio.Protocol):
    """One open WebSocket.  It reads nothing until somebody listens.

    message_max_bytes: of one message; a larger one closes it with 1009.
    """

    def __init__(self, request: HttpRequest, *, message_max_bytes: int, keepalive: Keepalive) -> None:
        self._loop = asyncio.get_running_loop()
        self._request = request
        url = request.url
        self._protocol = ClientProtocol(parse_uri("ws" + url.removeprefix("http")), max_size=message_max_bytes or None)
        self._keepalive = keepalive
        self._transport: asyncio.Transport | None = None
        self._listener: Listener | None = None
        self._early: list[tuple[bytes, bool]] = []
        self._parts: list[bytes] = []
        self._is_text = True
        self._paused = False
        self._closed: tuple[int, str] | None = None
        self._told = False
        self._heard_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.answered: asyncio.Future[Response] = self._loop.create_future()
        self.lost: asyncio.Future[None] = self._loop.create_future()

    @property
    def opened(self) -> bool:
        """Whether the handshake was a good one."""
        return self._protocol.handshake_exc is None

    # --- what a relay does with it -----------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Hear what has come already, and what comes from now on."""
        self._listener = listener
        early, self._early = self._early, []
        for data, text in early:
            listener.message(self, data, text)
        if self._closed is not None:
            self._tell()
        self.resume()

    def say(self, data: bytes, *, text: bool) -> None:
        """Send a message; nothing happens to one for a socket that is closed."""
        if self._transport is None or self._transport.is_closing() or self._protocol.state is not OPEN:
            return
        if text:
            self._protocol.send_text(data)
        else:
            self._protocol.send_binary(data)
        self._flush()

    def pause(self) -> None:
        """Read no more for now."""
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._heard_s = self._loop.time()
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say that it is over; whoever does not answer that is cut off.  Twice is once."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._protocol.state is OPEN:
            try:
                self._protocol.send_close(code, reason)
            except InvalidState:
                transport.abort()
                return
            self._flush()
        # A close that waits behind what is not read would wait for ever.
        self._paused = True
        self.resume()
        self._set_timer(CLOSE_S, transport.abort)

    def abort(self) -> None:
        """Cut it off."""
        if self._transport is not None:
            self._transport.abort()

    # --- what the event loop tells -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP's, always
        """The connection is there: ask for the upgrade."""
        self._transport = transport
        request = self._protocol.connect()
        request.headers["User-Agent"] = USER_AGENT
        for name, value in self._request.headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Some bytes: of the answer, then of frames."""
        self._heard_s = self._loop.time()
        self._protocol.receive_data(data)
        self._handle()

    def eof_received(self) -> None:
        """The other side sends no more."""
        self._protocol.receive_eof()
        self._handle()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.answered.done():
            self.answered.set_exception(mapped(exc) if isinstance(exc, ssl.SSLError) else _broken())
            self.answered.exception()  # whoever waited may be gone
        self._close_with(ABNORMAL, "")
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        """The other side does not read as fast as it is written to."""
        if self._listener is not None:
            self._listener.full(self)

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._listener is not None:
            self._listener.drained(self)

    # --- below -------------------------------------------------------------------------------------------------------------

    def _handle(self) -> None:
        protocol = self._protocol
        for event in protocol.events_received():
            if isinstance(event, Response):
                self._opened(event)
            elif isinstance(event, Frame):
                self._framed(event)
        self._flush()
        if protocol.handshake_exc is not None and not self.answered.done():
            self.answered.set_exception(_broken())
            self.answered.exception()
        if protocol.parser_exc is not None:
            sent = protocol.close_sent
            # That it breaks the protocol is told to it; to its client that would say that the client does.
            is_large = sent is not None and sent.code == TOO_BIG
            self._close_with(TOO_BIG if is_large else ABNORMAL, sent.reason if is_large and sent is not None else "")
            if self._transport is not None:
                self._transport.close()

    def _opened(self, response: Response) -> None:
        if self.answered.done():
            return
        if response.status_code == 101 and self._protocol.handshake_exc is None:
            # What comes before anybody listens is kept, and not more of it than this one read.
            self.pause()
            self._set_timer(self._keepalive.ping_s, self._ask)
        self.answered.set_result(response)

    def _framed(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            self._is_text = frame.opcode is Opcode.TEXT
            if frame.fin:
                self._message(bytes(frame.data))
            else:
                self._parts = [bytes(frame.data)]
        elif frame.opcode is Opcode.CONT:
            self._parts.append(bytes(frame.data))
            if frame.fin:
                parts, self._parts = self._parts, []
                self._message(b"".join(parts))
        elif frame.opcode is Opcode.CLOSE:
            received = self._protocol.close_rcvd
            self._close_with(*((1005, "") if received is None else (received.code, received.reason)))
            self._set_timer(CLOSE_S, self.abort)

    def _message(self, data: bytes) -> None:
        if self._is_text and not data.isascii() and not _is_utf8(data):
            # Whoever passed that on would be closed by a client for the upstream's fault.  Source: RFC 6455, section 8.1.
            self._close_with(ABNORMAL, "not UTF-8")
            self.abort()
        elif self._listener is None:
            self._early.append((data, self._is_text))
        else:
            self._listener.message(self, data, self._is_text)

    def _close_with(self, code: int, reason: str) -> None:
        if self._closed is None:
            self._closed = (code, reason)
        self._tell()

    def _tell(self) -> None:
        if self._listener is not None and not self._told and self._closed is not None:
            self._told = True
            self._listener.closed(self, *self._closed)

    def _flush(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            self._protocol.data_to_send()
            return
        for data in self._protocol.data_to_send():
            if data:
                transport.write(data)
            elif transport.can_write_eof():
                transport.write_eof()

    def _ask(self) -> None:
        """Nobody is asked who was heard a while ago, nor whose answer would not be read."""
        silent_s = self._loop.time() - self._heard_s
        if self._protocol.state is not OPEN:
            return
        if self._paused or silent_s < self._keepalive.ping_s:
            self._set_timer(self._keepalive.ping_s - (0.0 if self._paused else silent_s), self._ask)
            return
        self._protocol.send_ping(b"")
        self._flush()
        self._set_timer(self._keepalive.pong_s, self._look)

    def _look(self) -> None:
        asked_s = self._loop.time() - self._keepalive.pong_s
        if self._paused or self._heard_s >= asked_s:
            self._set_timer(self._keepalive.ping_s, self._ask)
        else:
            self._close_with(ABNORMAL, "")
            self.abort()

    def _set_timer(self, delay_s: float, callback: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(max(delay_s, 0.01), callback)


class Dialer:
    """Opens WebSockets to upstreams.

    connections_max: open at once; a try beyond it fails at once.  message_max_bytes: of one message.
    """

    def __init__(
        self, *, connections_max: int = 10_000, message_max_bytes: int = 16 * 1024 * 1024, keepalive: Keepalive | None = None
    ) -> None:
        self._connections_max = connections_max
        self._message_max_bytes = message_max_bytes
        self._keepalive = keepalive or Keepalive()
        self._open: set[Socket] = set()
        self._tls: ssl.SSLContext | None = None

    async def connect(self, request: HttpRequest, *, timeouts: Timeouts, deadline_s: float) -> Dialed:
        """The upstream's answer to a handshake.  ``deadline_s``: on the loop's clock, for all of it.

        Raises: ConnectFailed, FirstByteTimedOut, Disconnected, InvalidResponse.
        """
        if len(self._open) >= self._connections_max:
            raise ConnectFailed("Too many connections to upstreams are open.")
        _check(request)
        loop = asyncio.get_running_loop()
        try:
            socket = Socket(request, message_max_bytes=self._message_max_bytes, keepalive=self._keepalive)
            uri = parse_uri("ws" + request.url.removeprefix("http"))
        except (ValueError, InvalidURI) as error:
            raise ConnectFailed("The upstream's URL is not valid.") from error
        self._open.add(socket)
        socket.lost.add_done_callback(lambda _: self._open.discard(socket))
        answered = False
        try:
            async with asyncio.timeout_at(min(loop.time() + timeouts.connect_s, deadline_s)):
                await loop.create_connection(
                    lambda: socket,
                    uri.host,
                    uri.port,
                    ssl=self._tls_context() if uri.secure else None,
                    server_hostname=uri.host if uri.secure else None,
                )
            response = await self._answer(socket, min(loop.time() + timeouts.first_byte_s, deadline_s))
            answered = True
        except TimeoutError as error:
            raise ConnectTimedOut("The upstream did not accept a connection in time.") from error
        except (OSError, ValueError) as error:
            raise mapped(error) from error
        finally:
            if not answered:
                self._open.discard(socket)
                socket.abort()
        return self._dialed(socket, response)

    async def _answer(self, socket: Socket, deadline_s: float) -> Response:
        """Raises: FirstByteTimedOut, Disconnected."""
        try:
            async with asyncio.timeout_at(deadline_s):
                return await socket.answered
        except TimeoutError as error:
            raise FirstByteTimedOut("The upstream did not answer the handshake in time.") from error

    async def close(self) -> None:
        """Cut every socket off."""
        for socket in list(self._open):
            socket.abort()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def _dialed(self, socket: Socket, response: Response) -> Dialed:
        """Raises: InvalidResponse."""
        headers = {name.lower(): value for name, value in response.headers.raw_items()}
        status = response.status_code
        if status == 101 and not socket.opened:
            socket.abort()
            raise InvalidResponse("The upstream's answer to the handshake is not valid.")
        if status != 101:
            socket.abort()
        return Dialed(
            status=status,
            request_id=headers.get("x-request-id", "")[:200],
            body=b"" if status == 101 else bytes(response.body or b""),
            retry_after_s=retry_after_s(headers, wall_s(), limited=status == 429),
            socket=socket if status == 101 else None,
        )

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = tls_context()
        return self._tls


def _check(request: HttpRequest) -> None:
    """Raises: ConnectFailed, for a header that would break out of its line."""
    for name, value in request.headers.items():
        if any(character in text for text in (name, value) for character in "\r\n\0"):
            raise ConnectFailed("A header of the request to the upstream is not valid.")
        try:
            value.encode("latin-1")
        except UnicodeEncodeError as error:
            raise ConnectFailed("A header of the request to the upstream is not valid.") from error


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _broken() -> ProviderError:
    return Disconnected("The upstream broke the connection off before it had answered the handshake.")
