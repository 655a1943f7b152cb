"""An upstream that does one wrong thing to whoever asks: raw sockets, a thread for each connection.

It says nothing true but where it is asked to: what it was sent is in ``seen``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self

PATIENT_S: Final = 30.0
PIECE: Final = 1 << 16
LINGER: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True, eq=False)
class Asked:
    """One request.  got: how much of its body came.  whole: all of it, as far as its head or its last chunk says."""

    method: str
    path: str
    headers: dict[str, str]
    got: int = 0
    whole: bool = False
    body: bytearray = field(default_factory=bytearray)


class Line:
    """A connection, as faults use it."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self.sock = sock
        self.over = over
        self._data = b""
        self.asked: Asked | None = None

    def head(self) -> Asked:
        """The head of the request.  Raises: EOFError."""
        while b"\r\n\r\n" not in self._data:
            self._more()
        text, _, self._data = self._data.partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.asked = Asked(method, path, headers)
        return self.asked

    def body(self, most: int = 1 << 40) -> None:
        """The body, or so much of it.  Raises: EOFError."""
        asked = self.asked
        assert asked is not None
        length = asked.headers.get("content-length")
        chunked = "chunked" in asked.headers.get("transfer-encoding", "")
        while asked.got < most:
            asked.got += len(self._data)
            asked.body += self._data[: max(0, PIECE - len(asked.body))]
            tail, self._data = (bytes(asked.body[-5:]) + self._data)[-5:], b""
            asked.whole = tail == b"0\r\n\r\n" if chunked else asked.got >= int(length or 0)
            if asked.whole:
                return
            self._more()

    def say(self, data: bytes) -> None:
        """Send it."""
        self.sock.sendall(data)

    def answer(self, body: bytes, *, status: int = 200, length: int | None = None, kind: str = "application/json") -> None:
        """An answer.  length: what its head says, if not the truth."""
        size = len(body) if length is None else length
        self.say(f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {size}\r\n\r\n".encode() + body)

    def reset(self) -> None:
        """Break the connection."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        self.sock.close()

    def silence(self) -> None:
        """Say nothing until the other one leaves, or all is over."""
        with suppress(OSError):
            self.sock.settimeout(0.05)
            while not self.over.is_set():
                try:
                    if not self.sock.recv(PIECE):
                        return
                except TimeoutError:
                    continue

    def upgrade(self) -> None:
        """Open a WebSocket.  Source: RFC 6455, section 4.2.2."""
        asked = self.head()
        key = asked.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
        self.say(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            f"sec-websocket-accept: {accept}\r\n\r\n".encode()
        )

    def event(self, **fields: Any) -> None:
        """A text message."""
        data = json.dumps(fields).encode()
        size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data))
        self.say(b"\x81" + size + data)

    def heard(self, kind: bytes) -> None:
        """Wait for a message that has this in it; clients' messages are masked.  Raises: EOFError."""
        while True:
            for mask, text in re.findall(rb"(?s)\x81(?:\xfe..|[\x80-\xfd])(.{4})(.*)", self._data):
                if kind in bytes(byte ^ mask[at % 4] for at, byte in enumerate(text)):
                    self._data = b""
                    return
            self._more()

    def _more(self) -> None:
        data = self.sock.recv(PIECE)
        if not data:
            raise EOFError
        self._data += data


Fault = Callable[[Line], None]


class Crooked:
    """The server.  faults: what is done, by the first part of the path, or by the method and that (``POST p1``).

    Everybody else is answered as by somebody who keeps files and runs batches.
    """

    def __init__(self) -> None:
        self.faults: dict[str, Fault] = {}
        self.seen: list[Asked] = []
        self.over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="crooked upstream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def base_url(self, name: str) -> str:
        """Where a provider is."""
        return f"http://127.0.0.1:{self.port}/{name}/v1"

    def of(self, name: str) -> list[Asked]:
        """What was asked there."""
        return [it for it in tuple(self.seen) if it.path.startswith(f"/{name}/")]

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        line = Line(sock, self.over)
        try:
            data = sock.recv(PIECE, socket.MSG_PEEK)
            method, _, rest = data.decode("latin-1").partition(" ")
            name = rest.split("/")[1]
            fault = self.faults.get(f"{method} {name}") or self.faults.get(name, _fine)
            line = _Noting(sock, self.over, self.seen)
            fault(line)
        except (OSError, EOFError, IndexError):
            pass
        finally:
            with suppress(OSError):
                sock.close()


class _Noting(Line):
    def __init__(self, sock: socket.socket, over: threading.Event, seen: list[Asked]) -> None:
        super().__init__(sock, over)
        self._seen = seen

    def head(self) -> Asked:
        asked = super().head()
        self._seen.append(asked)
        return asked


def _fine(line: Line) -> None:
    """Answer as who keeps files and runs batches, and has neither."""
    asked = line.head()
    line.body()
    name, place = asked.path.split("/")[1], asked.path.partition("?")[0].rpartition("/")[2]
    request = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    said: dict[str, Any] = {
        "files": {"id": f"file-{name}", "object": "file", "bytes": 1, "created_at": 1, "filename": "a", "purpose": "batch"},
        "content": {**request, "body": {"model": "n", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}},
        "batches": {"object": "list", "data": [], "has_more": False},
    }
    body = json.dumps(said.get(place, {"text": "Hallo"})).encode()
    line.say(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
    line.say(b"content-length: %d\r\n\r\n" % len(body) + body)


def until(holds: Callable[[], Any], what: str = "that", within_s: float = PATIENT_S) -> Any:
    """What it returns, as soon as that is true.  Raises: AssertionError."""
    deadline_s = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < deadline_s, f"it did not come to {what}"
        time.sleep(0.02)
    return found
