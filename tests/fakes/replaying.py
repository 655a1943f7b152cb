"""An upstream that answers with recordings: whoever asks for a model gets the recording of that name."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.recordings import Recording

_METHOD = re.compile(r"/models/([^:/?]+):([A-Za-z]+)")


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the upstream saw it.  headers: names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Replaying:
    """The server, in threads of its own.  ``seen``: the last request for each model."""

    def __init__(self, recordings: Mapping[str, Recording]) -> None:
        self.recordings = dict(recordings)
        self.seen: dict[str, Seen] = {}
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # the base class calls it so
                self._send(404, "application/json", b'{"error":{"message":"no list"}}')

            def do_POST(self) -> None:  # as above
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                found = _METHOD.search(self.path)
                model = found[1] if found else str(json.loads(body)["model"])
                headers = {name.lower(): value for name, value in self.headers.items()}
                upstream.seen[model] = Seen(self.path, headers, body)
                recording = upstream.recordings.get(model)
                if recording is None:
                    self._send(404, "application/json", b'{"error":{"message":"no such recording"}}')
                else:
                    self._send(recording.status, recording.content_type, recording.body)

            def _send(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", content_type)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="replaying", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
