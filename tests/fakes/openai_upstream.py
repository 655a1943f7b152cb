"""An upstream that speaks OpenAI's protocol strictly and misbehaves on request: a real server, in a thread of its own.

It owns its bytes: chunk boundaries, pauses, resets and half-sent bodies are exactly what the script says.  What it saw,
served and would bill is in its journal (``seen``), the oracle that the proxy's own records are compared with.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.fakes import media, replies
from tests.fakes.replies import Asked, End, Fault, Raw, Reply, Step

OF_RESPONSES = ("responses", "responses/input_tokens", "responses/compact")
ENDPOINTS = ("chat/completions", "completions", "embeddings", *OF_RESPONSES, *media.ENDPOINTS)
REQUIRED = {
    "chat/completions": "messages",
    "completions": "prompt",
    "embeddings": "input",
    **dict.fromkeys(OF_RESPONSES, ""),
    **media.REQUIRED,
}
KEY = "sk-upstream-0123456789abcdef"

# What OpenAI's edge adds to its answers; none of it is for the proxy's clients.
OWN_HEADERS = (
    ("server", "cloudflare"),
    ("set-cookie", "__cf_bm=fake; path=/; HttpOnly"),
    ("openai-organization", "org-of-the-operator"),
    ("openai-processing-ms", "7"),
)
# A proxy that passes one of these on has leaked its own hop or who its client is.  Source: RFC 9110 section 7.6.1.
LEAKS = frozenset(
    {"proxy-connection", "proxy-authorization", "keep-alive", "te", "trailer", "upgrade", "cookie", "forwarded", "via"}
    | {"x-api-key", "x-real-ip", "origin", "referer", "expect"}
)
LEAK_PREFIXES = ("x-forwarded-", "x-tollway-", "x-stainless-", "sec-")


@dataclass(slots=True, eq=False)
class Seen:
    """One request as the upstream saw it, and how its answer went.

    headers: lower-case names, in order.   attempt: counts the requests for this script, from 1.
    reply: what it was answered with.   problems: where it broke the protocol.
    usage: what was billed, ``None`` if nothing.
    finished: the answer went out as scripted.   aborted: the peer left before that.   Times are of the monotonic clock.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int
    at_s: float
    model: str = ""
    attempt: int = 0
    reply: Reply | Fault | Raw | None = None
    status: int | None = None
    sent_bytes: int = 0
    usage: dict[str, Any] | None = None
    problems: list[str] = field(default_factory=list)
    aborted: bool = False
    finished: bool = False
    ended_s: float | None = None

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def json(self) -> dict[str, Any]:
        """The body, decoded."""
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded


class OpenAIUpstream:
    """The server.  ``keys``: the API key expected below each path prefix, such as ``{"/v1": "sk-…"}``.

    A model that nobody registered answers 404, as OpenAI does.
    ``secrets`` must appear in no request: the client's own key, say.
    journal: a file that gets a line for each answer, before its first byte: what this provider bills.
    """

    def __init__(self, keys: Mapping[str, str] | None = None, *, journal: Path | None = None) -> None:
        self._journal = -1 if journal is None else os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.keys = dict(keys or {"/v1": KEY})
        self.kept: dict[tuple[str, str], Reply] = {}
        self.secrets: list[bytes] = []
        self.seen: list[Seen] = []
        self.port = 0
        self.host = ""
        self.connections = 0
        self._scripts: dict[tuple[str, str], _Script] = {}
        self._by_body: set[str] = set()
        self._live: set[_Connection] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failures: list[str] = []

    # --- life ---

    def start(self) -> Self:
        """Listen on a free port of the loopback."""
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(ready)), name="upstream", daemon=True)
        self._thread.start()
        if not ready.wait(5) or not self.port:
            raise TimeoutError("the fake upstream did not start")
        return self

    def stop(self) -> None:
        """Drop every connection and end, within five seconds."""
        assert self._loop is not None and self._stop is not None and self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        if self._thread.is_alive():
            raise TimeoutError("the fake upstream did not stop")
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _main(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        ready.set()
        await self._stop.wait()
        server.close()
        tasks = [connection.close() for connection in tuple(self._live)]
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    # --- script ---

    def base_url(self, prefix: str = "/v1") -> str:
        """What a client appends ``/chat/completions`` to."""
        return f"http://{self.host}{prefix}"

    def serve(self, *models: str) -> None:
        """These models exist and answer from canned values."""
        for model in models:
            self.script(model, replies.canned())

    def script(self, model: str, *steps: Step, body: Mapping[str, Any] | None = None) -> None:
        """The next requests for this model take one step each; the last one stays.

        body: only for requests that ask exactly this, whatever their ``model`` and ``stream_options`` are.
        """
        if body is not None:
            self._by_body.add(model)
        self._scripts[model, "" if body is None else fingerprint(body)] = _Script(list(steps))

    def _step(self, model: str, body: Mapping[str, Any]) -> tuple[Step, int] | None:
        script = self._scripts.get((model, fingerprint(body))) if model in self._by_body else None
        script = script or self._scripts.get((model, ""))
        return None if script is None else script.take()

    @property
    def models(self) -> list[str]:
        """Every model that was registered."""
        return sorted({model for model, _ in self._scripts})

    # --- journal ---

    @property
    def live(self) -> int:
        """Connections that are open now."""
        return len(self._live)

    def of(self, model: str) -> list[Seen]:
        """What was seen for one upstream model, in order of arrival."""
        return [seen for seen in tuple(self.seen) if seen.model == model]

    @property
    def problems(self) -> list[str]:
        """Every breach of the protocol, with its request; failures of the fake itself too."""
        found = [f"{seen.method} {seen.path}: {problem}" for seen in tuple(self.seen) for problem in seen.problems]
        return found + self._failures

    def wait_for(self, holds: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Return as soon as ``holds()`` of the journal.  Raises: TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(holds, timeout_s):
                raise TimeoutError(f"not within {timeout_s} s; the upstream saw {len(self.seen)} requests")

    async def until(self, holds: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """``wait_for`` for a coroutine."""
        await asyncio.to_thread(self.wait_for, holds, timeout_s)

    def _bill(self, seen: Seen) -> None:
        if self._journal >= 0:
            line = {"request_id": seen.header("x-request-id"), "model": seen.model, "status": seen.status, "usage": seen.usage}
            os.write(self._journal, json.dumps(line).encode() + b"\n")

    def _note(self) -> None:
        with self._changed:
            self._changed.notify_all()


class _Script:
    """Steps of one model, taken one by one; the last one stays."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps
        self._taken = 0

    def take(self) -> tuple[Step, int]:
        self._taken += 1
        return self._steps[min(self._taken, len(self._steps)) - 1], self._taken


def fingerprint(body: Mapping[str, Any]) -> str:
    """The same for bodies that ask the same: key order, ``model`` and ``stream_options`` do not count."""
    kept = {key: value for key, value in body.items() if key not in ("model", "stream_options")}
    return json.dumps(kept, sort_keys=True)


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """A port of the loopback that refuses every connection, and that nobody else can take meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


# --- one connection --------------------------------------------------------------------------------------------------


class _GoneError(Exception):
    """The peer has left."""


class _RefusedError(Exception):
    """The request is answered with an error before any script is asked."""

    def __init__(self, reply: Reply, problem: str = "") -> None:
        super().__init__(problem)
        self.reply = reply
        self.problem = problem


class _Connection(asyncio.Protocol):
    """One keep-alive connection: reads a request, answers it, reads the next."""

    def __init__(self, upstream: OpenAIUpstream) -> None:
        self._upstream = upstream
        self._buffer = bytearray()
        self._woken = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._seen: Seen | None = None
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None]

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._upstream.connections += 1
        self._number = self._upstream.connections
        self._upstream._live.add(self)
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._woken.set()

    def connection_lost(self, _: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
        self._woken.set()
        self._writable.set()
        self._upstream._live.discard(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def close(self) -> asyncio.Task[None]:
        """Drop it.  Returns the task that is then about to end."""
        self._transport.abort()
        return self._task

    # --- reading ---

    async def _more(self) -> None:
        if self._gone.done():
            raise _GoneError
        self._woken.clear()
        await self._woken.wait()
        if self._gone.done():
            raise _GoneError

    async def _until(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            await self._more()
        return self._take(end + len(mark))[: -len(mark)]

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        return self._take(count)

    async def _request(self) -> Seen:
        head = await self._until(b"\r\n\r\n")
        line, *rows = head.decode("latin-1").split("\r\n")
        headers = tuple((name.lower(), value.strip(" \t")) for name, _, value in (row.partition(":") for row in rows))
        method, _, rest = line.partition(" ")
        path, _, version = rest.rpartition(" ")
        seen = self._seen = Seen(method, path, headers, b"", self._number, time.monotonic())
        self._upstream.seen.append(seen)
        if version != "HTTP/1.1":
            seen.problems.append(f"version {version!r}")
        names = [name for name, _ in headers]
        seen.problems += [f"header sent twice: {name}" for name in sorted(set(names)) if names.count(name) > 1]
        seen.problems += [f"leaked header: {name}" for name in names if name in LEAKS or name.startswith(LEAK_PREFIXES)]
        if seen.header("host") != self._upstream.host:
            seen.problems.append(f"host {seen.header('host')!r}")
        if seen.header("connection") not in (None, "keep-alive", "close"):
            seen.problems.append(f"connection: {seen.header('connection')}")
        await self._body(seen)
        raw = head + seen.body
        seen.problems += ["a secret that is not this upstream's" for secret in self._upstream.secrets if secret in raw]
        return seen

    async def _body(self, seen: Seen) -> None:
        length, coding = seen.header("content-length"), seen.header("transfer-encoding")
        if length is not None and coding is not None:
            seen.problems.append("content-length and transfer-encoding")
        if coding is not None:
            parts = []
            while count := int(await self._until(b"\r\n"), 16):
                parts.append(await self._exactly(count))
                await self._exactly(2)
            await self._until(b"\r\n")
            seen.body = b"".join(parts)
        elif length is not None:
            seen.body = await self._exactly(int(length))

    # --- deciding ---

    def _decide(self, seen: Seen) -> Reply | Fault | Raw:
        """Check the request as OpenAI would, then take the next step of its model's script."""
        path, _, query = seen.path.partition("?")
        kept = self._upstream.kept.get((seen.method, path))
        if kept is not None:
            prefix = path.partition("/responses/")[0]
            if seen.header("authorization") != f"Bearer {self._upstream.keys[prefix]}":
                raise _RefusedError(replies.error(401, "invalid_api_key"), "another upstream's key")
            return kept
        prefix, endpoint = _located(path, self._upstream.keys)
        if endpoint is None or query:
            raise _RefusedError(replies.error(404, "unknown_url"), f"no such path: {seen.path}")
        if seen.header("authorization") != f"Bearer {self._upstream.keys[prefix]}":
            raise _RefusedError(replies.error(401, "invalid_api_key"), f"authorization {seen.header('authorization')!r}")
        if endpoint == "models":
            if seen.method != "GET":
                raise _RefusedError(replies.error(405, "method_not_allowed"), f"method {seen.method}")
            rows = [
                {"id": name, "object": "model", "created": 1764000000, "owned_by": "fake"} for name in self._upstream.models
            ]
            return replies.answer({"object": "list", "data": rows})
        if seen.method != "POST":
            raise _RefusedError(replies.error(405, "method_not_allowed"), f"method {seen.method}")
        kind = (seen.header("content-type") or "").partition(";")[0].strip()
        if kind != "application/json":
            raise _RefusedError(replies.error(415, "unsupported_media_type"), f"content-type {kind!r}")
        body = _strict(seen.body)
        seen.model = str(body.get("model", ""))
        asked = _asked(body, endpoint)
        taken = self._upstream._step(seen.model, body)
        if taken is None:
            raise _RefusedError(replies.error(404, "model_not_found", message=f"The model `{seen.model}` does not exist"))
        step, seen.attempt = taken
        return step if isinstance(step, Reply | Fault | Raw) else step(asked)

    # --- answering ---

    async def _serve(self) -> None:
        try:
            while await self._exchange():
                self._seen = None
            self._transport.close()
        except _GoneError:
            if self._seen is not None:
                self._seen.aborted = True
                self._end(self._seen)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            # Not HTTP, or a script that does not fit: the test must hear of it, whatever its client saw.
            self._upstream._failures.append(f"the upstream failed: {error!r}")
            self._transport.abort()

    async def _exchange(self) -> bool:
        """One request and its answer.  Returns whether the connection can take another."""
        seen = await self._request()
        try:
            decided = self._decide(seen)
        except _RefusedError as refused:
            decided = refused.reply
            if refused.problem:
                seen.problems.append(refused.problem)
        seen.reply = decided
        self._upstream._note()
        keep = await self._send(seen, decided)
        seen.finished = True
        self._end(seen)
        return keep and seen.header("connection") != "close"

    def _end(self, seen: Seen) -> None:
        seen.ended_s = time.monotonic()
        self._upstream._note()

    async def _send(self, seen: Seen, decided: Reply | Fault | Raw) -> bool:
        """Returns whether the connection can take another request."""
        if isinstance(decided, Fault):
            self._upstream._note()
            if decided.kind == "silence":
                await self._pause(None)
            elif decided.kind == "rst":
                self._reset()
            return False
        self._upstream._note()
        if isinstance(decided, Raw):
            seen.usage = decided.usage
            await self._pieces(seen, decided.pieces, decided.gap_s)
            return await self._finish(decided.end)
        await self._pause(decided.wait_s)
        seen.status, seen.usage = decided.status, decided.usage
        self._upstream._bill(seen)
        pieces = decided.pieces
        if decided.framing == "chunked":
            pieces = tuple(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        if not (pieces and decided.gap_s):
            pieces = (b"".join(pieces),)
        await self._pieces(seen, (_head(decided) + pieces[0], *pieces[1:]), decided.gap_s)
        if not await self._finish(decided.end):
            return False
        if decided.framing == "chunked":
            await self._write(seen, b"0\r\n\r\n")
        return decided.framing != "close"

    async def _pieces(self, seen: Seen, pieces: tuple[bytes, ...], gap_s: float) -> None:
        for index, piece in enumerate(pieces):
            if index:
                self._upstream._note()
                await self._pause(gap_s)
            await self._write(seen, piece)
        self._upstream._note()

    async def _finish(self, end: End) -> bool:
        """Returns whether the connection can take another request."""
        if end == "hang":
            await self._pause(None)
        if end == "rst":
            self._reset()
        return end == "whole"

    async def _write(self, seen: Seen, data: bytes) -> None:
        if self._gone.done():
            raise _GoneError
        self._transport.write(data)
        seen.sent_bytes += len(data)
        await self._writable.wait()

    async def _pause(self, seconds: float | None) -> None:
        """Wait; ``None``: until the peer leaves."""
        if seconds == 0:
            return
        await asyncio.wait((self._gone,), timeout=seconds)
        if self._gone.done():
            raise _GoneError

    def _reset(self) -> None:
        # Closing with a linger of zero sends RST instead of FIN.  Source: socket(7), SO_LINGER.
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _head(reply: Reply) -> bytes:
    rows = [*OWN_HEADERS, ("x-request-id", "req_" + os.urandom(8).hex()), *reply.headers]
    if reply.content_type is not None:
        rows.append(("content-type", reply.content_type))
    if reply.framing == "chunked":
        rows.append(("transfer-encoding", "chunked"))
    elif reply.framing == "length":
        # A body that is not to end whole must be announced longer than it will be.
        rows.append(("content-length", str(sum(map(len, reply.pieces)) + (0 if reply.end == "whole" else 64))))
    else:
        rows.append(("connection", "close"))
    return (f"HTTP/1.1 {reply.status} Scripted\r\n" + "".join(f"{k}: {v}\r\n" for k, v in rows) + "\r\n").encode("latin-1")


def _located(path: str, prefixes: Mapping[str, str]) -> tuple[str, str | None]:
    """The prefix and the endpoint of a path; ``None`` where it is neither."""
    for endpoint in (*ENDPOINTS, "models"):
        prefix = path.removesuffix("/" + endpoint)
        if prefix != path and prefix in prefixes:
            return prefix, endpoint
    return "", None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key twice")
    return made


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _strict(body: bytes) -> dict[str, Any]:
    """The body's JSON object: no key twice, no NaN, UTF-8."""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_pairs, parse_constant=_constant)
    except ValueError as wrong:
        raise _RefusedError(replies.error(400, "invalid_json"), f"body is not JSON: {wrong}") from wrong
    if not isinstance(value, dict) or not isinstance(value.get("model"), str):
        raise _RefusedError(replies.error(400, "missing_required_parameter"), "no model in the body")
    if "route" in value:
        raise _RefusedError(replies.error(400, "unknown_parameter"), "the proxy's own field: route")
    return value


def _asked(body: Mapping[str, Any], endpoint: str) -> Asked:
    """What a canned answer depends on.  A client's own mistakes are refused as OpenAI does, and are no problem."""
    required, options, stream = REQUIRED[endpoint], body.get("stream_options"), body.get("stream", False)
    if required and required not in body:
        raise _RefusedError(replies.error(400, "missing_required_parameter", message=f"Missing: '{required}'."))
    if options is not None and (not stream or endpoint in ("embeddings", *media.ENDPOINTS)):
        raise _RefusedError(replies.error(400, "invalid_value", message="stream_options is for streams."))
    if options is not None and endpoint == "responses" and "include_usage" in options:
        raise _RefusedError(replies.error(400, "unknown_parameter"), "include_usage is not a field of responses")
    if stream not in (True, False, None) or (stream and endpoint in ("embeddings", *media.WHOLE)):
        raise _RefusedError(replies.error(400, "invalid_type", message="stream must be a boolean."))
    tools = body.get("tools") or []
    names = [tool.get("function", {}).get("name", "") for tool in tools if tool.get("type") == "function"]
    inputs = body.get("input")
    return Asked(
        endpoint=endpoint,
        model=str(body["model"]),
        stream=bool(stream),
        include_usage=bool((options or {}).get("include_usage")),
        tool=names[0] if names and endpoint == "chat/completions" else "",
        base64=body.get("encoding_format") == "base64",
        inputs=len(inputs) if isinstance(inputs, list) else 1,
        body=json.dumps(body).encode() if endpoint in media.ENDPOINTS else b"{}",
    )
