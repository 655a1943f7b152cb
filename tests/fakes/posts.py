"""A server of POSTs, real and in threads of its own, that asks a function what to answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE_BYTES = 100


@dataclass(frozen=True, slots=True)
class Post:
    """What was posted.  path: with its query.  headers: by lower-case names."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """What is answered.  pieces: in chunks that end where no event does, as streams come."""

    status: int
    content_type: str
    body: bytes
    pieces: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def serving(answer: Callable[[Post], Said]) -> Iterator[str]:
    """The server's address, while it runs.  answer: called in the thread of a connection."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            _send(self, answer(Post(self.path, headers, body)))

        def log_message(self, format: str, *args: object) -> None:
            """Whoever answers keeps its own journal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), name="posts", daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _send(handler: BaseHTTPRequestHandler, said: Said) -> None:
    handler.send_response(said.status)
    for name, value in {"content-type": said.content_type, **said.headers}.items():
        handler.send_header(name, value)
    if not said.pieces:
        handler.send_header("content-length", str(len(said.body)))
        handler.end_headers()
        handler.wfile.write(said.body)
        return
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    for at in range(0, len(said.body), PIECE_BYTES):
        piece = said.body[at : at + PIECE_BYTES]
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        handler.wfile.flush()
    handler.wfile.write(b"0\r\n\r\n")
