"""Somebody who publishes JSON on this machine, keeps to HTTP's rules about it, and can be told to misbehave."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import msgspec


class Asked(msgspec.Struct):
    """A request that came in."""

    path: str
    headers: Message


Respond = Callable[[Asked], tuple[int, dict[str, str], bytes]]


class Publisher:
    """An HTTP server on a free port.  body: what it publishes; ``respond`` replaces how.  asked: every request."""

    def __init__(self, body: bytes = b"{}") -> None:
        self.body = body
        self.asked: list[Asked] = []
        self.respond: Respond = self.politely
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked = Asked(self.path, self.headers)
                publisher.asked.append(asked)
                status, headers, body = publisher.respond(asked)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 304:
                    self.send_header("content-length", str(len(body)))
                self.end_headers()
                if status != 304:
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def politely(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        """The body with its ETag, or 304 to whoever has it."""
        etag = f'"{hashlib.sha256(self.body).hexdigest()[:12]}"'
        if asked.headers.get("if-none-match") == etag:
            return 304, {"etag": etag}, b""
        return 200, {"etag": etag, "last-modified": "Sun, 22 Nov 2026 09:00:00 GMT"}, self.body

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/models"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()
