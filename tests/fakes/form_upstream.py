"""An upstream that takes forms with files, strictly, and misbehaves on request: a real server, a thread for each connection.

It reads forms with the standard library's parser of mail, so that what it finds in them was found by somebody else than us.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

LEAKS = ("x-api-key", "cookie", "forwarded", "via", "x-forwarded-for", "expect")
LEAK_PREFIXES = ("x-stainless-", "x-tollway-")
PIECE = 1 << 16
LARGE = 16 << 20


@dataclass(slots=True)
class File:
    """A file that was received."""

    filename: str
    content_type: str
    size: int
    digest: str


@dataclass(slots=True, eq=False)
class Seen:
    """One request.  got: how many bytes of its body came.  whole: all of them did."""

    path: str
    headers: dict[str, str]
    fields: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[File]] = field(default_factory=dict)
    got: int = 0
    whole: bool = False

    @property
    def model(self) -> str:
        """What it asks for."""
        return self.fields["model"][0]


@dataclass(slots=True, frozen=True)
class Say:
    """An answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, frozen=True)
class Early:
    """An answer before so much of the body is read; nothing more is."""

    say: Say
    after: int = 0


@dataclass(slots=True, frozen=True)
class Reset:
    """The connection is reset when so much of the body is here."""

    after: int = 0


Step = Say | Early | Reset | Callable[[Seen], Say]


def told(value: Any, status: int = 200) -> Say:
    """A JSON answer."""
    return Say(json.dumps(value).encode(), status)


class FormUpstream:
    """The server.  ``keys``: the API key expected below each path prefix.  ``secrets`` must appear in no request's head."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.secrets: list[bytes] = []
        self.seen: list[Seen] = []
        self.problems: list[str] = []
        self.changed = threading.Condition()
        self._steps: dict[str, list[Step]] = {}
        upstream = self

        class Handler(_Handler):
            server_upstream = upstream

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def base_url(self, prefix: str = "/v1") -> str:
        """What a client appends ``/audio/transcriptions`` to."""
        return f"http://127.0.0.1:{self._server.server_port}{prefix}"

    def script(self, prefix: str, *steps: Step) -> None:
        """The next requests below a path prefix take one step each; the last one stays."""
        self._steps[prefix] = list(steps)

    def step(self, prefix: str) -> Step:
        """The next one."""
        steps = self._steps[prefix]
        return steps.pop(0) if len(steps) > 1 else steps[0]

    def below(self, prefix: str) -> list[Seen]:
        """What was seen there."""
        return [seen for seen in tuple(self.seen) if seen.path.startswith(f"{prefix}/")]

    def until(self, holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Wait for something that was seen.  Raises: AssertionError."""
        with self.changed:
            assert self.changed.wait_for(holds, timeout_s), f"not within {timeout_s} s: {self.seen}"

    def note(self) -> None:
        """Something has changed."""
        with self.changed:
            self.changed.notify_all()


class _LeftError(Exception):
    """The peer has gone, or is to be left."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_upstream: FormUpstream

    def log_message(self, *_: object) -> None:
        pass

    def finish(self) -> None:
        # A connection that was reset on purpose has nothing to be flushed to.
        with suppress(OSError, ValueError):
            super().finish()

    def do_POST(self) -> None:
        upstream = self.server_upstream
        names = [name.lower() for name in self.headers]
        seen = Seen(self.path, {name.lower(): value for name, value in self.headers.items()})
        upstream.seen.append(seen)
        found = [f"header twice: {name}" for name in set(names) if names.count(name) > 1]
        found += [f"leaked: {name}" for name in names if name in LEAKS or name.startswith(LEAK_PREFIXES)]
        found += ["a secret in the head" for secret in upstream.secrets if secret in bytes(self.headers)]
        if ("content-length" in names) == ("transfer-encoding" in names):
            found.append("neither a length nor chunks, or both")
        prefix = max((it for it in upstream.keys if self.path.startswith(f"{it}/")), key=len, default="")
        if self.headers["authorization"] != f"Bearer {upstream.keys.get(prefix)}":
            found.append("the wrong key")
        upstream.problems += found
        upstream.note()
        step = upstream.step(prefix)
        try:
            body = self._body(seen, step)
            seen.whole = True
            self._parse(seen, body)
            upstream.note()
            if isinstance(step, Early):
                self._say(step.say)
                return
            if isinstance(step, Reset):
                raise _LeftError
            self._say(step if isinstance(step, Say) else step(seen))
        except (_LeftError, ConnectionError):
            self.close_connection = True
            upstream.note()

    def _body(self, seen: Seen, step: Step) -> bytes:
        most = step.after if isinstance(step, Early | Reset) else None
        parts = []
        for piece in self._pieces(most):
            seen.got += len(piece)
            parts.append(piece)
            self.server_upstream.note()
            if most is not None and seen.got >= most:
                break
        if most is not None:
            if isinstance(step, Early):
                self._say(step.say)
                # What is unread would take the answer away from who has not read it.
                self.connection.shutdown(socket.SHUT_WR)
                while self.connection.recv(PIECE):
                    pass
            else:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            raise _LeftError
        return b"".join(parts)

    def _pieces(self, most: int | None) -> Any:
        if most == 0:
            yield b""
            return
        if "content-length" in self.headers:
            left = int(self.headers["content-length"])
            while left:
                left -= len(piece := self._some(min(left, PIECE)))
                yield piece
            return
        while size := int(self.rfile.readline(20), 16):
            yield self._exactly(size)
            self._exactly(2)
        self._exactly(2)

    def _some(self, size: int) -> bytes:
        piece = self.rfile.read1(size)
        if not piece:
            raise _LeftError
        return piece

    def _exactly(self, size: int) -> bytes:
        piece = self.rfile.read(size)
        if len(piece) < size:
            raise _LeftError
        return piece

    def _parse(self, seen: Seen, body: bytes) -> None:
        if len(body) > LARGE:
            # Line by line, as mail is read, it would take seconds.
            body = self._shortened(seen, body)
        head = b"content-type: " + self.headers["content-type"].encode() + b"\r\n\r\n"
        message = BytesParser(policy=HTTP).parsebytes(head + body)
        if message.get_content_type() != "multipart/form-data" or not message.is_multipart() or message.defects:
            self.server_upstream.problems.append(f"not a form: {message.defects}")
            return
        for part in message.iter_parts():  # type: ignore[attr-defined]  # of the HTTP policy's messages
            disposition = part["content-disposition"]
            name = disposition.params["name"]
            data = part.get_payload(decode=True)
            if part.defects or disposition.content_disposition != "form-data":
                self.server_upstream.problems.append(f"part {name!r}: {part.defects}")
            if part.get_filename() is None:
                seen.fields.setdefault(name, []).append(data.decode())
            else:
                made = File(part.get_filename(), part.get_content_type(), len(data), sha256(data).hexdigest())
                seen.files.setdefault(name, []).append(made)

    def _shortened(self, seen: Seen, body: bytes) -> bytes:
        """A form whose last part is a large file, without the file, which is noted."""
        head, _, rest = body.rpartition(b"\r\n\r\n")
        edge = b"\r\n--" + self.headers["content-type"].partition("boundary=")[2].encode()
        data, _, end = rest.partition(edge)
        seen.files["large"] = [File("", "", len(data), sha256(data).hexdigest())]
        return head + b"\r\n\r\n" + edge + end

    def _say(self, say: Say) -> None:
        self.send_response(say.status)
        self.send_header("content-type", say.content_type)
        self.send_header("content-length", str(len(say.body)))
        for name, value in say.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(say.body)
        self.wfile.flush()
