"""The hot path: raw ASGI from the socket's bytes to a Call, and from a Reply back to bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any
from typing import Protocol as Interface
from urllib.parse import parse_qsl

import msgspec
import structlog

from providers.provider import Endpoint, Protocol, protocol_of
from providers.registry import WIRES
from proxy.api import encodings, forms, gate, gemini, heads, places, realtime
from proxy.api.anthropic_kept import BATCHES, is_kept
from proxy.api.door import TOO_MUCH
from proxy.api.drains import DrainLimits, Drains
from proxy.api.hosts import Hosts
from proxy.api.models import Models
from proxy.api.origins import Origins
from proxy.api.places import PLACES
from proxy.api.realtime import Realtime
from proxy.api.uploads import Arriving, Uploads
from proxy.call import Call, Chunks, Completed, Head, Principal, RawHeaders, Streaming
from proxy.errors import (
    DRAINING,
    ClientClosed,
    Headers,
    InvalidHost,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    ProxyError,
    RequestTimedOut,
    RequestTooLarge,
    UnsupportedEncoding,
    UpgradeRequired,
    of_cancellation,
    to_client,
    to_client_event,
)
from proxy.limits.overload import Overload
from proxy.limits.queue import PRIORITY_HEADER, rank_of
from proxy.pipeline import Pipeline

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

# Parsing takes about 7 ms a megabyte, and the loop has other clients.
OFF_LOOP_BYTES = 1024 * 1024
# Up to here a body may be read before it is known who sends it.
UNIDENTIFIED_BYTES = 64 * 1024
QUERY_MAX = 32
ASKING = ("/v1/files", "/v1/uploads", "/v1/batches", "/v1/responses/", "/v1/messages/batches")
"""Where requests about what providers keep begin, which may wait long: whoever stops ends them."""
LINGER_S = 5.0
"""How long a client that has its answer may go on with an upload.  Source: nginx's lingering_timeout, which is as long."""

log = structlog.get_logger("tollway.edge")


PEER = "tollway.peer"
"""The ASGI extension by which the server tells of its client."""


class Peer(Interface):
    """What ASGI does not tell of a client, or only to who waits in ``receive`` for it: a task and a timer a request."""

    def is_whole(self) -> bool:
        """Whether all of the request's body has come."""
        ...

    def is_judged(self) -> bool:
        """Whether the door has let it in."""
        ...

    def write(self, events: bytes) -> bool:
        """Send a piece of a chunked answer at once; ``False``: the client is behind, and it has to go through ``send``."""
        ...

    def abandon(self) -> None:
        """End the connection in the middle of an answer, so that nobody takes what was sent for all of it."""
        ...

    def streams_events(self) -> None:
        """The answer that begins is a stream of server-sent events, and comes in pieces of whole events."""
        ...

    def when_gone(self, callback: Callable[[], object] | None) -> None:
        """Call it when the client has left; ``None``: never mind."""
        ...


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may take."""

    body_max_bytes: int
    body_timeout_s: float


class _Arrival(msgspec.Struct):
    """The few headers that matter, read in one pass."""

    authorization: tuple[str, ...] = ()
    host: bytes | None = None
    hosts: int = 0
    length: int = 0
    encoding: bytes = b""
    origin: bytes = b""
    deployment: str = ""
    tags: bytes = b""
    anthropic: bool = False
    google: bool = False


class Edge:
    """One ASGI callable.  Inference goes through the pipeline; everything else to ``rest``.

    identify: who sends these Authorization headers; asked before a large body is read.
    origins: whose pages may call from a browser.
    drains: how many answers are read on for clients that have left, and for how long.
    uploads: takes forms with files in.
    overload: says when requests are sent away at the door, and which.
    sockets: answers WebSockets.   kept: answers what Anthropic's clients ask about what it keeps.
    rest: the FastAPI application.   key_in_query: a key may stand in the URL, as ``?key=``.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        rest: Asgi,
        *,
        models: Models,
        identify: Callable[[tuple[str, ...]], Principal],
        hosts: Hosts,
        origins: Origins,
        limits: Limits,
        drains: DrainLimits,
        uploads: Uploads,
        overload: Overload | None = None,
        sockets: Realtime | None = None,
        kept: Asgi | None = None,
        key_in_query: bool = False,
        request_id: Callable[[], str],
        clock_s: Callable[[], float],
        clock_us: Callable[[], int],
    ) -> None:
        self._pipeline = pipeline
        self._rest = rest
        self._models = models
        self._identify = identify
        self._hosts = hosts
        self._origins = origins
        self._limits = limits
        self._drains = Drains(identify, drains)
        self._uploads = uploads
        self._overload = overload
        self._realtime = sockets
        self._kept = kept
        self._key_in_query = key_in_query
        self._request_id = request_id
        self._clock_s = clock_s
        self._clock_us = clock_us
        self._at_work: set[asyncio.Task[Any]] = set()
        self._asking: set[asyncio.Task[Any]] = set()
        """What is asked about things that providers keep."""
        self.begun = 0
        """How many requests were let in so far."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and self._realtime is not None:
            self.begun += 1
            await self._realtime(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        arrival = _read_headers(scope["headers"])
        request_id = self._request_id()
        path = scope["path"]
        endpoint = PLACES.get(path)
        method = None
        protocol: Protocol = "openai"
        if arrival.origin and scope["method"] != "OPTIONS" and self._origins.accept(arrival.origin):
            send = _sharing(send, self._origins.headers(arrival.origin))
        try:
            if endpoint is None and (not path.startswith(places.PREFIXES) or "//" in path):
                path, arrival.deployment = places.meant(path)
                scope = {**scope, "path": path}
                endpoint = PLACES.get(path)
            if endpoint is None:
                query = _query(scope)
                method = gemini.method_of(path, query)
                protocol = _protocol_of(path, arrival, method)
                if method is not None:
                    endpoint = method.endpoint
                if self._key_in_query and protocol == "gemini" and "key" in query:
                    _add_key(arrival, query["key"])
            else:
                protocol = protocol_of(endpoint)
            if arrival.hosts != 1 or not self._hosts.accept(arrival.host or b""):
                raise InvalidHost("The Host header is not one that this server answers to (server.hosts).")
            if scope["method"] == "OPTIONS" and arrival.origin and self._origins.accept(arrival.origin):
                await send(_start(204, self._origins.preflight(arrival.origin, _asked(scope["headers"]))))
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            elif endpoint is None:
                if path == realtime.PATH:
                    raise UpgradeRequired(f"{path} is a WebSocket's; there is no other way to it.")
                if path.startswith(("/v1/models", *gemini.LISTS)):
                    await self._list_models(scope, arrival, send, request_id, protocol, query)
                elif protocol == "anthropic" and self._kept is not None and is_kept(path):
                    scope.setdefault("state", {})["authorization"] = arrival.authorization
                    await self._other(self._kept, scope, receive, send, request_id, protocol)
                else:
                    await self._other(self._rest, scope, receive, send, request_id, "openai")
            elif scope["method"] != "POST":
                raise MethodNotAllowed(f"{path[:200]} takes POST.")
            else:
                peer = scope["extensions"][PEER]
                if self._overload is not None and self._overload.is_pressed(len(self._at_work)) and not peer.is_judged():
                    self._shed(self._overload, scope["headers"], arrival)
                await self._infer(endpoint, method, scope["headers"], arrival, request_id, peer, receive, send)
        except ProxyError as error:
            await _refuse(send, error, request_id, protocol)
        except Exception:  # around a request: whatever is wrong with ours, its client gets an answer
            log.exception("request_failed", request_id=request_id)
            await _refuse(send, _broken(), request_id, protocol)

    def drain(self) -> int:
        """End every request that is still at work: streams by an error event, the others by a 503.  How many there were."""
        for task in (*self._at_work, *self._asking):
            task.cancel(DRAINING)
        sessions = 0
        if self._realtime is not None:
            sessions = self._realtime.open
            self._realtime.drain()
        return len(self._at_work) + len(self._asking) + sessions

    def stop(self) -> None:
        """The server takes no more: what is at work goes on, and sessions come to the end of an answer."""
        if self._realtime is not None:
            self._realtime.stop()

    @property
    def at_work(self) -> int:
        """How many requests are being answered."""
        return len(self._at_work)

    def _shed(self, overload: Overload, headers: RawHeaders, arrival: _Arrival) -> None:
        """Send a request away that the door could not judge, before its body is read and without a record.

        Raises: Overloaded; InvalidApiKey.
        """
        asked = next((value.decode("latin-1") for name, value in headers if name == PRIORITY_HEADER), None)
        if overload.sheds(rank_of(self._identify(arrival.authorization).priority, asked), len(self._at_work)):
            raise Overloaded(TOO_MUCH, retry_after_s=overload.retry_after_s)

    # --- inference -----------------------------------------------------------------------------------------------------

    async def _infer(
        self,
        endpoint: Endpoint,
        method: gemini.Method | None,
        headers: RawHeaders,
        arrival: _Arrival,
        request_id: str,
        peer: Peer,
        receive: Receive,
        send: Send,
    ) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # an ASGI callable always runs in a task
        call = Call(
            id=request_id,
            endpoint=endpoint,
            authorization=arrival.authorization,
            body=b"",
            head=_UNREAD,
            received_us=self._clock_us(),
            started_s=self._clock_s(),
            headers=headers,
        )
        self._at_work.add(task)
        self.begun += 1
        if endpoint in forms.FORMS:
            send = _lingering(send, receive, peer)
        try:
            if arrival.tags:
                call = _tagged(call, arrival.tags)
            call = await self._arrived(call, method, arrival, peer, receive)
            peer.when_gone(partial(self._drains.left, call, task))
            reply = await self._pipeline(call)
            if call.upload is not None:
                # Nobody tries again; however long the answer takes, the form is needed no more.
                call.upload.let_go()
                call = msgspec.structs.replace(call, upload=None)
            if protocol_of(endpoint) == "anthropic":
                # Where that protocol's SDKs look for it.
                reply.headers.append((b"request-id", request_id.encode()))
            if isinstance(reply, Completed):
                await _send_whole(send, reply, request_id)
            elif reply.kept:
                await _send_kept(send, reply, request_id)
            else:
                await self._send_stream(send, peer, reply, call)
        except asyncio.CancelledError as cancelled:
            error = of_cancellation(cancelled)
            task.uncancel()
            if not isinstance(error, ClientClosed):
                await _refuse(send, error, request_id, protocol_of(endpoint))
        except _Refused as refused:
            await self._refuse_recorded(call, refused.error, request_id, send)
        finally:
            if call.upload is not None:
                call.upload.let_go()
            self._at_work.discard(task)
            peer.when_gone(None)
            self._drains.over(task)

    async def _arrived(self, call: Call, method: gemini.Method | None, arrival: _Arrival, peer: Peer, receive: Receive) -> Call:
        """The call with its body, checked.  Raises: _Refused."""
        try:
            encodings.check(arrival.encoding)
            if call.endpoint in forms.FORMS:
                if arrival.encoding not in encodings.PLAIN:
                    raise UnsupportedEncoding("A form is not taken compressed.", param="content-encoding")
                return await self._form(call, arrival, receive)
            if arrival.length > self._limits.body_max_bytes:
                raise self._too_large()
            body = await self._whole(arrival, peer, receive)
            if arrival.deployment:
                body = heads.named(body, arrival.deployment)
            call = msgspec.structs.replace(call, body=body)
            if len(body) > OFF_LOOP_BYTES:
                head = await asyncio.to_thread(heads.admit, body, call.endpoint, method)
            else:
                head = heads.admit(body, call.endpoint, method)
        except ProxyError as error:
            raise _Refused(error) from error
        return msgspec.structs.replace(call, head=head)

    async def _form(self, call: Call, arrival: _Arrival, receive: Receive) -> Call:
        """The same for a form: all of it, or as much as has to be known before it passes.  Raises: ProxyError."""
        arriving = Arriving(
            receive,
            limits=self._uploads.limits,
            length=arrival.length,
            unidentified_bytes=UNIDENTIFIED_BYTES,
            identify=partial(self._identify, arrival.authorization),
            clock_s=self._clock_s,
        )
        upload = await self._uploads.take(
            ", ".join(value.decode("latin-1") for name, value in call.headers if name == b"content-type"),
            arrival.length or None,
            arriving.next,
            digests=call.header(b"idempotency-key") is not None,
        )
        try:
            head = await forms.head(upload, call.endpoint)
            body = forms.described(upload, unique=call.id)
        except (ProxyError, asyncio.CancelledError):
            upload.let_go()
            raise
        # However long it took to come, it has its time from here, and how long that was is not ours to answer for.
        now_us, now_s = self._clock_us(), self._clock_s()
        return msgspec.structs.replace(call, upload=upload, head=head, body=body, received_us=now_us, started_s=now_s)

    async def _whole(self, arrival: _Arrival, peer: Peer, receive: Receive) -> bytes:
        """The whole body as its client had it before it was compressed.  Raises: ProxyError."""
        body = await self._body(arrival, peer, receive)
        if arrival.encoding in encodings.PLAIN:
            return body
        inflate = partial(encodings.inflated, body, arrival.encoding, max_bytes=self._limits.body_max_bytes)
        if len(body) <= encodings.INLINE_BYTES:
            return inflate()
        # Whoever has no key has no processor time either.
        self._identify(arrival.authorization)
        return await asyncio.to_thread(inflate)

    async def _body(self, arrival: _Arrival, peer: Peer, receive: Receive) -> bytes:
        """The whole body.  Only who has a key may send a large one.  Raises: ProxyError."""
        deadline_s = self._clock_s() + self._limits.body_timeout_s
        parts: list[bytes] = []
        size = arrival.length
        received = 0
        identified = False
        more = True
        while more:
            if size > UNIDENTIFIED_BYTES and not identified:
                self._identify(arrival.authorization)
                identified = True
            # Usually it came with its head, and no deadline has to be set.
            message = await (receive() if peer.is_whole() else self._in_time(receive, deadline_s))
            if message["type"] == "http.disconnect":
                raise ClientClosed("The client left before its request was whole.")
            more = message.get("more_body", False)
            parts.append(message.get("body", b""))
            received += len(parts[-1])
            size = max(received, arrival.length)
            if size > self._limits.body_max_bytes:
                raise self._too_large()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _in_time(self, receive: Receive, deadline_s: float) -> Message:
        try:
            async with asyncio.timeout(max(deadline_s - self._clock_s(), 0)):
                return await receive()
        except TimeoutError as error:
            raise RequestTimedOut(f"The body did not arrive within {self._limits.body_timeout_s:g} s.") from error

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"The body is larger than {self._limits.body_max_bytes:,} bytes.")

    async def _send_stream(self, send: Send, peer: Peer, reply: Streaming, call: Call) -> None:
        chunks = reply.chunks
        headers = [*reply.headers, (b"x-request-id", call.id.encode()), *_STREAM_HEADERS]
        if call.head.array:
            chunks = gemini.Array(chunks)
            headers = [_JSON, *((name, value) for name, value in headers if name != b"content-type")]
        whole = False
        fault: ProxyError | None = None
        has_events = any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in reply.headers)
        if has_events:
            peer.streams_events()
        try:
            await send(_start(reply.status, headers))
            while events := await chunks.read(peer.write):
                if call.client.left and not call.client.may_come(events):
                    raise asyncio.CancelledError  # as when a client leaves whose key does not have it drained
                await send({"type": "http.response.body", "body": events, "more_body": True})
            whole = True
            await reply.finish()
        except asyncio.CancelledError as cancelled:
            error = of_cancellation(cancelled)
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            chunks.fail(error)
            # Cut while it was being settled: nobody knows whether that is durable, so it must not look whole.
            fault = await _refusal_to_finish(reply) or (error if whole else None)
            if isinstance(error, ClientClosed):
                return
        except Exception as error:  # around a request, as above; but its answer has begun
            # Either the journal refused the settlement, or something of ours broke: the stream must not look whole.
            fault = error if isinstance(error, ProxyError) else _broken()
            if fault is not error:
                log.exception("request_failed", request_id=call.id)
            chunks.fail(fault)
            await _refusal_to_finish(reply)
        finally:
            chunks.close()
        is_opaque = WIRES[call.endpoint].opaque is not None and not has_events
        if is_opaque and (fault is not None or not _is_whole(reply, call)):
            # In the middle of a sound nothing can be said.
            peer.abandon()
            return
        closing = chunks.closing if fault is None else _last(chunks, to_client_event(fault, call.endpoint))
        await send({"type": "http.response.body", "body": closing, "more_body": False})

    async def _refuse_recorded(self, call: Call, error: ProxyError, request_id: str, send: Send) -> None:
        try:
            await self._pipeline.refuse(call, error)
        except ProxyError as refusal:
            if not isinstance(refusal, ClientClosed):
                await _refuse(send, refusal, request_id, protocol_of(call.endpoint))

    # --- models --------------------------------------------------------------------------------------------------------

    async def _list_models(
        self,
        scope: Scope,
        arrival: _Arrival,
        send: Send,
        request_id: str,
        protocol: Protocol,
        query: Mapping[str, str],
    ) -> None:
        principal = self._identify(arrival.authorization)
        path = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"{path[:200]} takes GET.")
        bare = path.removeprefix("/v1beta").removeprefix("/v1")
        if bare in ("/models", "/models/"):
            body = self._models.list(principal, protocol, query)
        elif bare.startswith("/models/"):
            body = self._models.one(principal, bare.removeprefix("/models/"), protocol)
        else:
            raise NotFound(f"There is nothing at {path[:200]!r}.")
        await _send_whole(send, Completed(status=200, headers=[_JSON], body=body), request_id)

    # --- everything else -----------------------------------------------------------------------------------------------

    async def _other(self, app: Asgi, scope: Scope, receive: Receive, send: Send, request_id: str, protocol: Protocol) -> None:
        # Whoever answers may add to them, errors included.
        headers: Headers = [(b"x-request-id", request_id.encode())]
        if protocol == "anthropic":
            headers.append((b"request-id", request_id.encode()))
        peer: Peer = scope["extensions"][PEER]
        scope.setdefault("state", {}).update(request_id=request_id, headers=headers, when_gone=peer.when_gone)

        started = False

        async def tagged(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *headers, *_REST_HEADERS]}
            await send(message)

        task = asyncio.current_task()
        asks = task is not None and scope["path"].startswith(ASKING)
        if task is not None and asks:
            self._asking.add(task)
        try:
            await app(scope, receive, tagged)
        except asyncio.CancelledError as cancelled:
            if task is None or not asks:
                raise
            task.uncancel()
            error = of_cancellation(cancelled)
            if started:
                peer.abandon()
            elif not isinstance(error, ClientClosed):
                await _refuse(send, error, request_id, protocol)
        except Exception:  # around a request, as above
            log.exception("request_failed", request_id=request_id)
            if not started:
                await _refuse(send, _broken(), request_id, protocol)
        finally:
            if task is not None:
                self._asking.discard(task)
            peer.when_gone(None)


class _Refused(Exception):  # carries an error, is none of its own
    """What the edge found wrong with a request that somebody made; it goes on their record."""

    def __init__(self, error: ProxyError) -> None:
        super().__init__(error.message)
        self.error = error


_UNREAD = Head(model="")
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
_STREAM_HEADERS: Headers = [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
_REST_HEADERS: Headers = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


def _query(scope: Scope) -> dict[str, str]:
    """The query's fields, of each the last; none if it cannot be read."""
    text = scope.get("query_string", b"")
    try:
        return dict(parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=QUERY_MAX)) if text else {}
    except ValueError:
        return {}


def _protocol_of(path: str, arrival: _Arrival, method: gemini.Method | None) -> Protocol:
    """What a client speaks that calls none of the endpoints with a path of their own."""
    if method is not None or path.startswith("/v1beta/"):
        return "gemini"
    if arrival.anthropic and path.startswith(("/v1/models", "/v1/messages", "/v1/files")):
        return "anthropic"
    if path.startswith(BATCHES):
        return "anthropic"  # nobody else has them
    return "gemini" if arrival.google and path.startswith("/v1/models") else "openai"


def _add_key(arrival: _Arrival, key: str) -> None:
    """A key under another name than Authorization's; the same one twice is one."""
    said = f"Bearer {key}"
    if said not in arrival.authorization:
        arrival.authorization += (said,)


def _last(chunks: Chunks, events: bytes) -> bytes:
    """What ends a stream with these events."""
    return chunks.ended(events) if isinstance(chunks, gemini.Array) else events


def _read_headers(headers: Headers) -> _Arrival:
    arrival = _Arrival()
    keys: list[str] = []
    for name, value in headers:
        if name == b"authorization":
            arrival.authorization += (value.decode("latin-1"),)
        elif name == b"host":
            arrival.host = value
            arrival.hosts += 1
        elif name == b"content-length":
            arrival.length = int(value) if value.isdigit() else 0
        elif name == b"content-encoding":
            arrival.encoding = value.strip().lower()
        elif name == b"x-tollway-tags":
            arrival.tags += b"," + value
        elif name in (b"x-api-key", b"x-goog-api-key", b"api-key"):
            keys.append(value.decode("latin-1"))
            arrival.google = arrival.google or name == b"x-goog-api-key"
        elif name in (b"anthropic-version", b"anthropic-beta"):
            arrival.anthropic = True
        elif name == b"origin":
            arrival.origin = value
    for key in keys:
        _add_key(arrival, key)
    return arrival


def _asked(headers: Headers) -> bytes:
    """The headers that a page wants to send."""
    return b", ".join(value for name, value in headers if name == b"access-control-request-headers")


def _sharing(send: Send, headers: Headers) -> Send:
    """Sends answers with headers by which a browser lets its page read them."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *headers]}
        await send(message)

    return sent


def _tagged(call: Call, header: bytes) -> Call:
    """The call with its tags.  Raises: _Refused."""
    try:
        return msgspec.structs.replace(call, tags=gate.tags(header))
    except ProxyError as error:
        raise _Refused(error) from error


def _lingering(send: Send, receive: Receive, peer: Peer) -> Send:
    """Sends an answer also to a client that is not done with its request: that is read and thrown away for a while, since
    closing a connection with something unread in it takes the answer away from who has not read it yet.
    """
    early = False

    async def sent(message: Message) -> None:
        nonlocal early
        if message["type"] == "http.response.start":
            early = not peer.is_whole()
            if early and _CLOSE not in message["headers"]:
                message = {**message, "headers": [*message["headers"], _CLOSE]}
        elif early and not message.get("more_body", False):
            await send({**message, "more_body": True})
            await _discard(receive)
            message = {**message, "body": b""}
        await send(message)

    return sent


async def _discard(receive: Receive) -> None:
    task = asyncio.current_task()
    try:
        async with asyncio.timeout(LINGER_S):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        pass
    except asyncio.CancelledError:
        # The client has gone, or the server goes: the answer was given either way.
        if task is not None:
            task.uncancel()


def _start(status: int, headers: Headers) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


async def _send_whole(send: Send, reply: Completed, request_id: str) -> None:
    headers = [
        *reply.headers,
        (b"x-request-id", request_id.encode()),
        (b"content-length", str(len(reply.body)).encode()),
    ]
    await send(_start(reply.status, headers))
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})


async def _send_kept(send: Send, reply: Streaming, request_id: str) -> None:
    """A stream of which all is here: its end is settled first, so that it can be sent in one piece.

    Raises: LedgerUnavailable; then nothing was sent.
    """
    chunks = reply.chunks
    try:
        events = await chunks.read()
        await reply.finish()
    except asyncio.CancelledError as cancelled:
        chunks.fail(of_cancellation(cancelled))
        await _refusal_to_finish(reply)
        raise
    finally:
        chunks.close()
    await send(_start(reply.status, [*reply.headers, (b"x-request-id", request_id.encode()), *_STREAM_HEADERS]))
    await send({"type": "http.response.body", "body": events + chunks.closing, "more_body": False})


async def _refusal_to_finish(reply: Streaming) -> ProxyError | None:
    """Run the taps of a stream that has failed already; what they refuse now has nobody else to be told to."""
    try:
        await reply.finish()
    except ProxyError as error:
        return error
    return None


def _is_whole(reply: Streaming, call: Call) -> bool:
    """Whether a stream that is over was cut by nobody."""
    return (reply.outcome or (call.trail[-1].outcome if call.trail else "ok")) == "ok"


def _broken() -> ProxyError:
    return ProxyError("Something went wrong in the gateway.")


async def _refuse(send: Send, error: ProxyError, request_id: str, protocol: Protocol) -> None:
    status, headers, body = to_client(error, protocol, request_id)
    if protocol == "anthropic":
        headers.append((b"request-id", request_id.encode()))
    await _send_whole(send, Completed(status=status, headers=headers, body=body), request_id)
