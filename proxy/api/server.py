"""uvicorn, with the deadlines it does not have, errors in our own shape, and signals left to us."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httptools
import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from proxy.api.door import Door
from proxy.api.peer import PEER
from proxy.api.realtime import PATH
from proxy.api.sockets import Socket, made
from proxy.errors import MalformedHttp, ProxyError, RequestTimedOut, to_openai

SWEEP_S = 0.5

LOOKS_S = (0.002, 0.02, 0.1, 0.3, 1.0)
"""After a client was sent something to find out whether it is there: when to see what came back.  From a host that it has left
comes a reset, as fast as the network is."""

ASK_AGAIN_S = 10.0
"""How long a client that has closed its sending half is taken to be there before it is asked again."""

# Source: RFC 9110, section 15.2: a client has to be able to read 1xx answers that it does not expect, any number of them.
_ARE_YOU_THERE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Source: WHATWG HTML, "Server-sent events": a line that begins with a colon is a comment.
_ARE_YOU_THERE_COMMENT = b"3\r\n:\n\n\r\n"

# Source: RFC 7540, section 3.2: what a client of HTTP/2 sends with a request that it would rather go on with in HTTP/2.
_OFFERS = (b"upgrade", b"http2-settings")


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """How long a connection may take for what, in seconds; how many there may be."""

    header_s: float
    write_s: float
    connections_max: int


class Connection(HttpToolsProtocol):
    """One client's connection.

    uvicorn has no deadline for a request's head, nor for a client that does not read; a sweep over all connections twice a
    second costs less than timers of their own.
    """

    deadlines: Deadlines
    request_id: Callable[[], str]
    door: Door
    _in_head = False
    _judged = False
    _is_kept = False
    head_since_s: float | None = None
    _gone: Callable[[], object] | None = None
    _is_half_closed = False
    _look: asyncio.TimerHandle | None = None
    _has_events = False
    _offers = False
    stuck_since_s: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        super().connection_made(transport)
        self.head_since_s = self.loop.time()
        if len(self.connections) > self.deadlines.connections_max:
            self.refuse(_Full("Too many connections are open.", retry_after_s=1))

    def data_received(self, data: bytes) -> None:
        """Some bytes are here; when there is too much to do, a whole request may be answered without being read."""
        if self.door.is_guarded() and self._is_idle():
            answer = self.door.judge(data)
            self._judged = answer is not None
            if answer:
                self.transport.write(answer)
                self._is_kept = True
                if self.head_since_s is not None:
                    # Its first request, after which nobody waits for an idle connection to end; so this does.
                    self.head_since_s = self.loop.time()
                return
        self._unset_keepalive_if_required()
        self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        except httptools.HttpParserUpgrade as upgrade:
            if self._offers:
                self._decline(data[upgrade.args[0] :])
            else:
                self.handle_websocket_upgrade()

    def _decline(self, rest: bytes) -> None:
        """Read a request without the protocol that it offers to go on in: the parser takes what follows for that protocol.

        Java's own client offers HTTP/2 with its first request on a connection.  rest: what came behind the request's head.
        """
        head = [b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), self.url)]
        for name, value in self.headers:
            if name == b"connection":
                tokens = (it.strip() for it in value.split(b","))
                value = b", ".join(it for it in tokens if it.lower() not in _OFFERS)  # noqa: PLW2901  # what is left of it
            if name not in _OFFERS:
                head.append(b"%b: %b\r\n" % (name, value))
        self._offers = False
        self.parser = httptools.HttpRequestParser(self)
        # As uvicorn has it for the parser before.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._read(b"".join((*head, b"\r\n", rest)))

    def timeout_keep_alive_handler(self) -> None:
        """Nothing has been answered by the application for as long as a connection is kept; what the door answered counts."""
        if self._is_kept and not self.transport.is_closing():
            self._is_kept = False
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def _is_idle(self) -> bool:
        """Whether nothing of a request is here that is not answered."""
        if self._in_head:
            return False
        cycle = self.cycle
        return not cycle or (cycle.response_complete and not cycle.more_body)  # type: ignore[truthy-bool]  # None at first

    def _should_upgrade(self) -> bool:
        """Only there it is a WebSocket's handshake; anywhere else the header means nothing."""
        return self._is_handshake()

    def _is_handshake(self) -> bool:
        path = self.url.partition(b"?")[0]
        return path == PATH.encode() and self.parser.get_method() == b"GET" and super()._should_upgrade()

    def on_message_begin(self) -> None:
        """A request's first byte is here."""
        super().on_message_begin()
        self._in_head = True
        self._has_events = False
        if self.head_since_s is None:
            self.head_since_s = self.loop.time()

    def on_headers_complete(self) -> None:
        """The request's head is here; its body is the edge's to wait for."""
        self.head_since_s = None
        self._in_head = False
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT" and not self._is_handshake():
            self._offers = True
            return
        super().on_headers_complete()
        self.scope["extensions"] = {PEER: self}  # type: ignore[dict-item]  # uvicorn's type knows only ASGI's own

    def on_body(self, body: bytes) -> None:
        """A piece of a request's body is here."""
        if not self._offers:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole; one that offers another protocol is read once more."""
        if not self._offers:
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, app if cycle.scope["http_version"] != "1.0" else _Unframed(cycle, app))

    def is_whole(self) -> bool:
        """Whether all of the request's body has come; of the last request's, where several were sent at once."""
        return not self.cycle.more_body

    def is_judged(self) -> bool:
        """Whether the door has let the request in."""
        return self._judged

    def write(self, events: bytes) -> bool:
        """Send a piece of a chunked answer at once; ``False``: the client is behind, or gone."""
        if self.flow.write_paused or self.transport.is_closing():
            return False
        self.transport.write(b"%x\r\n%b\r\n" % (len(events), events) if self.cycle.chunked_encoding else events)
        return True

    def abandon(self) -> None:
        """End the connection in the middle of an answer: its last chunk is missing, which tells that it is not whole."""
        self.cycle.disconnected = True
        self.transport.close()

    def streams_events(self) -> None:
        """The answer that begins is a stream of server-sent events, and comes in pieces of whole events."""
        self._has_events = True

    def when_gone(self, callback: Callable[[], object] | None) -> None:
        """Call it when the client has left; ``None``: never mind."""
        self._gone = callback
        if callback is not None and self.cycle.disconnected:
            callback()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's says that it returns nothing
        """The client sends no more: because it has left, or because it has asked all that it wants to ask.

        Both look the same until something is sent: then whoever has left answers with a reset.
        """
        cycle = self.cycle
        if self._is_idle() or self._in_head or cycle.more_body or self.pipeline or self.scope["http_version"] == "1.0":
            return False
        self._is_half_closed = True
        self._ask_whether_there()
        return True

    def _ask_whether_there(self) -> None:
        """Send something that no answer is changed by, where that can be done, and see what comes back."""
        cycle = self.cycle
        if not cycle.response_started:
            self.transport.write(_ARE_YOU_THERE)
        elif self._has_events and cycle.chunked_encoding:
            self.transport.write(_ARE_YOU_THERE_COMMENT)
        self._look = self.loop.call_later(LOOKS_S[0], self._see, 1)

    def _see(self, looks: int) -> None:
        """Let go of a client that has turned out not to be there."""
        if self.transport.is_closing() or self.cycle.response_complete:
            return
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        elif looks < len(LOOKS_S):
            self._look = self.loop.call_later(LOOKS_S[looks] - LOOKS_S[looks - 1], self._see, looks + 1)
        else:
            self._look = self.loop.call_later(ASK_AGAIN_S, self._ask_whether_there)

    def on_response_complete(self) -> None:
        """An answer is whole; nobody waits for another one on a connection on which nothing more can be asked."""
        super().on_response_complete()
        if self._is_half_closed:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left, or was sent away."""
        super().connection_lost(exc)
        if self._look is not None:
            self._look.cancel()
        if self._gone is not None:
            self._gone()

    def pause_writing(self) -> None:
        """The client does not read as fast as the upstream writes."""
        super().pause_writing()
        self.stuck_since_s = self.loop.time()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self.stuck_since_s = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's signature
        """The bytes are not HTTP."""
        self.refuse(MalformedHttp("The bytes received are not a valid HTTP/1.1 request."))

    def refuse(self, error: ProxyError) -> None:
        """Answer without a request, and close."""
        status, headers, body = to_openai(error)
        lines = [STATUS_LINE[status]]
        headers += [(b"content-length", str(len(body)).encode()), (b"x-request-id", self.request_id().encode())]
        for name, value in headers:
            lines += [name, b": ", value, b"\r\n"]
        if not error.closes:
            lines.append(b"connection: close\r\n")
        self.transport.write(b"".join((*lines, b"\r\n", body)))
        self.transport.close()

    def sweep(self, now_s: float) -> None:
        """Enforce the deadlines."""
        if self.transport.is_closing():
            return
        if self.stuck_since_s is not None and now_s - self.stuck_since_s > self.deadlines.write_s:
            self.transport.abort()
        elif self.head_since_s is not None and now_s - self.head_since_s > self.deadlines.header_s:
            self.refuse(RequestTimedOut(f"The request's head did not arrive within {self.deadlines.header_s:g} s."))


class _Unframed:
    """The application for a client of HTTP/1.0, which knows no chunks: an answer of unknown length ends with its connection.

    Source: RFC 9112, sections 6.1 and 6.3.  nginx asks in HTTP/1.0 unless it is told otherwise.
    """

    def __init__(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._cycle = cycle
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        endless = False

        async def sent(message: Any) -> None:
            nonlocal endless
            if message["type"] == "http.response.start":
                endless = all(name != b"content-length" for name, _ in message["headers"])
                if endless:
                    self._cycle.chunked_encoding = False
            elif endless:
                self._cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, sent)


class _Full(ProxyError):
    """The server has as many connections as ``server.max_connections`` allows."""

    status, type, code, closes = 503, "service_unavailable", "overloaded", True


class Server(uvicorn.Server):
    """A uvicorn server that is told when to stop instead of catching signals itself."""

    def __init__(
        self,
        app: Any,
        *,
        deadlines: Deadlines,
        door: Door,
        request_id: Callable[[], str],
        keep_alive_s: int,
        shutdown_s: float,
        message_max_bytes: int = 16 * 1024 * 1024,
        ping_s: float = 20.0,
    ) -> None:
        self.ready = asyncio.Event()
        protocol = type(
            "Connection", (Connection,), {"deadlines": deadlines, "door": door, "request_id": staticmethod(request_id)}
        )
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws=made(write_s=deadlines.write_s),
                ws_max_size=message_max_bytes,
                ws_per_message_deflate=False,
                ws_ping_interval=ping_s,
                ws_ping_timeout=ping_s,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=keep_alive_s,
                timeout_graceful_shutdown=max(round(shutdown_s), 1),
                backlog=2048,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections; ``ready`` is set when it has."""
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the composition root's."""
        yield

    async def sweep(self) -> None:
        """Enforce the connections' deadlines until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = loop.time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection | Socket):
                    connection.sweep(now_s)
