"""An upstream of OpenAI's Realtime API, strict about what it is told and scripted in what it says: a real server of sockets, in
a thread of its own.

It knows nothing of the proxy: the frames are those of ``websockets``, and what it would bill is in ``billed``.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

KEY = "sk-realtime-0123456789abcdef"
Usage = dict[str, Any]


def usage(text: int = 10, audio: int = 0, cached: int = 0, out_text: int = 5, out_audio: int = 0) -> Usage:
    """A response's usage, as OpenAI reports it."""
    return {
        "total_tokens": text + audio + out_text + out_audio,
        "input_tokens": text + audio,
        "output_tokens": out_text + out_audio,
        "input_token_details": {
            "text_tokens": text,
            "audio_tokens": audio,
            "image_tokens": 0,
            "cached_tokens": cached,
            "cached_tokens_details": {"text_tokens": cached, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": out_text, "audio_tokens": out_audio},
    }


@dataclass(slots=True, eq=False)
class Script:
    """How sessions of a model go.

    status, body: how the handshake is refused.  usages: of its responses, in turn; the last one for all that follow.
    deltas: of each response.  hold: a response goes on until it is cancelled, or the session is over.
    breaks: after so many deltas the connection is gone, without a close.  closes: the same, with a close of this code.
    transcript: what is told of each audio that is committed.  voice: audio that is appended is a turn of its own.
    size: of each delta's text.
    """

    status: int = 0
    body: bytes = b"{}"
    usages: list[Usage] = field(default_factory=lambda: [usage()])
    deltas: int = 2
    hold: bool = False
    breaks: int | None = None
    closes: int | None = None
    transcript: Usage | None = None
    voice: bool = False
    size: int = 3


@dataclass(slots=True, eq=False)
class Session:
    """One session as the upstream saw it."""

    path: str
    headers: dict[str, str]
    model: str
    events: list[dict[str, Any] | str | bytes] = field(default_factory=list)
    billed: list[Usage] = field(default_factory=list)
    code: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)


class RealtimeUpstream:
    """Listens on a free port of the loopback."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.problems: list[str] = []
        self.scripts: dict[str, Script] = {}
        self.keys: set[str] = {KEY}
        self.refused = 0
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="realtime upstream", daemon=True)
        self._server: Server | None = None
        self._ids = itertools.count(1)
        self._port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(10)
        assert not self._thread.is_alive()

    @property
    def base_url(self) -> str:
        """What a provider's ``base_url`` is."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def billed(self) -> list[Usage]:
        """What was used, in the order in which it was told."""
        return [it for session in self.sessions for it in session.billed]

    def script(self, model: str, script: Script) -> Script:
        """Sessions of this model go so."""
        self.scripts[model] = script
        return script

    # --- below -------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        async with serve(
            self._session, "127.0.0.1", 0, process_request=self._handshake, compression=None, close_timeout=1
        ) as server:
            self._server = server
            self._port = next(iter(server.sockets)).getsockname()[1]
            self._started.set()
            await self._stopped.wait()

    def _stop(self) -> None:
        self._stopped.set()

    def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        model = (query.get("model") or query.get("deployment") or query.get("intent") or [""])[0]
        if not parts.path.endswith("/realtime") or not model:
            self.problems.append(f"no such place: {request.path}")
        key = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("api-key", "")
        if key not in self.keys:
            self.refused += 1
            return _refusal(connection, 401, b'{"error":{"message":"Incorrect API key.","type":"invalid_request_error"}}')
        for name in ("origin", "sec-websocket-protocol", "cookie", "x-stainless-lang", "x-forwarded-for"):
            if name in headers:
                self.problems.append(f"a header that is not ours: {name}")
        script = self.scripts.get(model, Script())
        if script.status:
            self.refused += 1
            return _refusal(connection, script.status, script.body)
        return None

    async def _session(self, connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        query = parse_qs(urlsplit(request.path).query)
        model = (query.get("model") or query.get("deployment") or query.get("intent") or [""])[0]
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        seen = Session(request.path, headers, model)
        self.sessions.append(seen)
        talk = _Talk(
            connection, seen, self.scripts.get(model, Script()), self.problems, lambda kind: f"{kind}_{next(self._ids)}"
        )
        try:
            await talk.run()
        except ConnectionClosed:
            pass
        finally:
            talk.stop()
            seen.code = connection.close_code
            seen.ended.set()


class _Talk:
    """What is said in one session."""

    def __init__(
        self, connection: ServerConnection, seen: Session, script: Script, problems: list[str], name: Callable[[str], str]
    ) -> None:
        self._connection = connection
        self._seen = seen
        self._script = script
        self._problems = problems
        self._name = name
        self._answering: asyncio.Task[None] | None = None
        self._cancelled = asyncio.Event()
        self._count = 0

    async def run(self) -> None:
        await self._say({"type": "session.created", "session": self._settings({})})
        async for message in self._connection:
            if isinstance(message, bytes):
                self._seen.events.append(message)
                await self._connection.send(message)
                continue
            try:
                event = json.loads(message)
            except ValueError:
                self._seen.events.append(message)
                await self._refuse("That is not JSON.", None)
                continue
            self._seen.events.append(event)
            await self._hear(event)

    def stop(self) -> None:
        if self._answering is not None:
            self._answering.cancel()

    async def _hear(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "session.update":
            await self._say({"type": "session.updated", "session": self._settings(event["session"])})
        elif kind == "transcription_session.update":
            await self._say({"type": "transcription_session.updated", "session": event["session"]})
        elif kind == "response.create":
            if self._answering is not None and not self._answering.done():
                await self._refuse("Conversation already has an active response.", event.get("event_id"))
                return
            self._begin()
        elif kind == "response.cancel":
            self._cancelled.set()
        elif kind == "input_audio_buffer.append":
            base64.b64decode(event["audio"])
            if self._script.voice:
                await self._commit()
                self._begin()
        elif kind == "input_audio_buffer.commit":
            await self._commit()
        elif kind == "conversation.item.create":
            await self._say({"type": "conversation.item.added", "item": event["item"]})
        else:
            await self._refuse(f"Invalid value: {kind!r}.", event.get("event_id"))

    async def _commit(self) -> None:
        item = self._name("item")
        await self._say({"type": "input_audio_buffer.committed", "item_id": item})
        if self._script.transcript is not None:
            self._seen.billed.append(self._script.transcript)
            await self._say(
                {
                    "type": "conversation.item.input_audio_transcription.completed",
                    "item_id": item,
                    "content_index": 0,
                    "transcript": "hello",
                    "usage": self._script.transcript,
                }
            )

    def _begin(self) -> None:
        self._cancelled.clear()
        self._answering = asyncio.ensure_future(self._answer())

    async def _answer(self) -> None:
        script, response = self._script, self._name("resp")
        used = script.usages[min(self._count, len(script.usages) - 1)]
        self._count += 1
        await self._say({"type": "response.created", "response": {"id": response, "status": "in_progress", "usage": None}})
        for number in range(script.deltas):
            if number == script.breaks:
                self._connection.transport.abort()
                return
            if number == script.closes:
                await self._connection.close(1011, "keepalive")
                return
            text = "x" * script.size
            await self._say({"type": "response.output_text.delta", "response_id": response, "delta": text})
        status = "completed"
        if script.hold:
            await self._cancelled.wait()
            status = "cancelled"
        self._seen.billed.append(used)
        await self._say({"type": "response.done", "response": {"id": response, "status": status, "output": [], "usage": used}})

    def _settings(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"type": "realtime", "id": "sess_1", "model": self._seen.model, **asked}

    async def _refuse(self, message: str, event_id: str | None) -> None:
        error = {"type": "invalid_request_error", "code": "invalid_value", "message": message, "event_id": event_id}
        await self._say({"type": "error", "error": error})

    async def _say(self, event: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self._connection.send(json.dumps({"event_id": self._name("event"), **event}))


def _refusal(connection: ServerConnection, status: int, body: bytes) -> Response:
    answer = connection.respond(status, body.decode())
    del answer.headers["Content-Type"]
    answer.headers["Content-Type"] = "application/json"
    answer.headers["x-request-id"] = "req_upstream"
    if status == 429:
        answer.headers["retry-after"] = "7"
    return answer


@contextlib.contextmanager
def realtime_upstream() -> Iterator[RealtimeUpstream]:
    """One that nothing broke the protocol of."""
    with RealtimeUpstream() as upstream:
        yield upstream
    assert upstream.problems == []
