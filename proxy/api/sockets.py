"""A client's WebSocket: uvicorn's, told apart into messages that are heard at once, and with the deadlines it does not have."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame
from websockets.http11 import Request

from providers.provider import Listener

ABNORMAL, NO_CODE = 1006, 1005
SOCKET = "tollway.socket"
"""The ASGI extension by which the server hands its socket over."""


class Socket(WebSocketsSansIOProtocol):
    """One client's socket.  Until somebody listens it is uvicorn's; from then on what it says is heard without a queue.

    write_s: how long a client may leave what is sent to it unread.
    """

    write_s: float
    _listener: Listener | None = None
    _told = False
    stuck_since_s: float | None = None

    # --- what a relay does with it -----------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Hear what has come already, and what comes from now on."""
        self._listener = listener
        while not self.queue.empty():
            message: Any = self.queue.get_nowait()
            if message["type"] == "websocket.receive":
                text = message.get("text")
                listener.message(self, message["bytes"] if text is None else text.encode(), text is not None)
            elif message["type"] == "websocket.disconnect":
                self._tell(message.get("code", ABNORMAL), message.get("reason") or "")
        self.resume()

    def say(self, data: bytes, *, text: bool) -> None:
        """Send a message; nothing happens to one for a socket that is closed."""
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        try:
            if text:
                self.conn.send_text(data)
            else:
                self.conn.send_binary(data)
        except InvalidState:
            return
        self.transport.write(b"".join(self.conn.data_to_send()))

    def pause(self) -> None:
        """Read no more for now."""
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self.read_paused:
            self.read_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say that it is over; whoever does not answer that is cut off.  Twice is once."""
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        try:
            self.conn.send_close(code, _short(reason))
        except InvalidState:
            self.transport.abort()
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._told = True
        self.resume()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    # --- what uvicorn tells ------------------------------------------------------------------------------------------------

    def handle_connect(self, event: Request) -> None:
        """A handshake is here."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"][SOCKET] = self  # type: ignore[assignment]  # uvicorn's type knows only ASGI's own

    def send_receive_event_to_app(self) -> None:
        """A message is whole."""
        listener = self._listener
        if listener is None:
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        is_text = self.curr_msg_data_type == "text"
        data = bytes(data)
        if is_text and not data.isascii() and not _is_utf8(data):
            self.conn.fail(1007, "not UTF-8")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self._tell(1007, "not UTF-8")
            self.transport.close()
            return
        listener.message(self, data, is_text)

    def handle_close(self, event: Frame) -> None:
        """The client says that it is over."""
        received = self.conn.close_rcvd
        super().handle_close(event)
        self._tell(*((NO_CODE, "") if received is None else (received.code, received.reason)))

    def handle_parser_exception(self) -> None:
        """It is not a WebSocket's bytes, or too large a message."""
        sent = self.conn.close_sent
        if sent is None:
            self.transport.abort()
            return
        super().handle_parser_exception()
        self._tell(sent.code, sent.reason)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        self._tell(ABNORMAL, "")

    def pause_writing(self) -> None:
        """The client does not read as fast as it is written to."""
        super().pause_writing()
        self.stuck_since_s = self.loop.time()
        if self._listener is not None:
            self._listener.full(self)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self.stuck_since_s = None
        if self._listener is not None:
            self._listener.drained(self)

    def keepalive_timeout(self) -> None:
        """The client has not answered a ping; one whose bytes are not read just now may have."""
        if self.read_paused and self._listener is not None:
            self.pong_timer = None
            self.pending_ping_payload = None
            self.schedule_ping()
            return
        super().keepalive_timeout()
        self._tell(ABNORMAL, "")
        self.transport.abort()

    def shutdown(self) -> None:
        """The server is going to stop.  An open session is not its to end: the edge lets it come to the end of an answer."""
        if self._listener is None:
            super().shutdown()

    def sweep(self, now_s: float) -> None:
        """Enforce the deadline for what is not read."""
        if self.stuck_since_s is not None and now_s - self.stuck_since_s > self.write_s:
            self.transport.abort()

    def _tell(self, code: int, reason: str) -> None:
        if self._listener is not None and not self._told:
            self._told = True
            self._listener.closed(self, code, reason)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _short(reason: str) -> str:
    """What fits into a control frame.  Source: RFC 6455, section 5.5: 125 bytes, of which the code has two."""
    return reason.encode()[:120].decode(errors="ignore")


def made(*, write_s: float) -> type[asyncio.Protocol]:
    """The class of a server's sockets."""
    return type("Socket", (Socket,), {"write_s": write_s})
