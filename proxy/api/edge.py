"""The hot path: raw ASGI from the socket's bytes to a Call, and from a Reply back to bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import structlog

from providers.provider import Endpoint, Protocol, protocol_of
from proxy.api import encodings, forms, gate, gemini, heads, places, realtime
from proxy.api.anthropic_kept import is_kept
from proxy.api.arrival import Arrival, add_key, headers_asked, protocol_spoken, query_of, read_headers
from proxy.api.door import TOO_MUCH
from proxy.api.drains import DrainLimits, Drains
from proxy.api.hosts import Hosts
from proxy.api.models import Models
from proxy.api.origins import Origins
from proxy.api.peer import PEER, Asgi, Message, Peer, Receive, Scope, Send
from proxy.api.places import PLACES
from proxy.api.realtime import Realtime
from proxy.api.sending import JSON, REST_HEADERS, broken, lingering, refuse, send_kept, send_stream, send_whole, sharing, start
from proxy.api.uploads import Arriving, Uploads
from proxy.call import Call, Completed, Head, Principal, RawHeaders
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
)
from proxy.limits.overload import Overload
from proxy.limits.queue import PRIORITY_HEADER, rank_of
from proxy.pipeline import Pipeline

# Parsing takes about 7 ms a megabyte, and the loop has other clients.
OFF_LOOP_BYTES = 1024 * 1024
# Up to here a body may be read before it is known who sends it.
UNIDENTIFIED_BYTES = 64 * 1024
ASKING = ("/v1/files", "/v1/uploads", "/v1/batches", "/v1/responses/", "/v1/messages/batches")
"""Where requests about what providers keep begin, which may wait long: whoever stops ends them."""

log = structlog.get_logger("tollway.edge")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may take."""

    body_max_bytes: int
    body_timeout_s: float


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
        arrival = read_headers(scope["headers"])
        request_id = self._request_id()
        path = scope["path"]
        endpoint = PLACES.get(path)
        method = None
        protocol: Protocol = "openai"
        if arrival.origin and scope["method"] != "OPTIONS" and self._origins.accept(arrival.origin):
            send = sharing(send, self._origins.headers(arrival.origin))
        try:
            if endpoint is None and (not path.startswith(places.PREFIXES) or "//" in path):
                path, arrival.deployment = places.meant(path)
                scope = {**scope, "path": path}
                endpoint = PLACES.get(path)
            if endpoint is None:
                query = query_of(scope)
                method = gemini.method_of(path, query)
                protocol = protocol_spoken(path, arrival, method)
                if method is not None:
                    endpoint = method.endpoint
                if self._key_in_query and protocol == "gemini" and "key" in query:
                    add_key(arrival, query["key"])
            else:
                protocol = protocol_of(endpoint)
            if arrival.hosts != 1 or not self._hosts.accept(arrival.host or b""):
                raise InvalidHost("The Host header is not one that this server answers to (server.hosts).")
            if scope["method"] == "OPTIONS" and arrival.origin and self._origins.accept(arrival.origin):
                await send(start(204, self._origins.preflight(arrival.origin, headers_asked(scope["headers"]))))
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
            await refuse(send, error, request_id, protocol)
        except Exception:  # around a request: whatever is wrong with ours, its client gets an answer
            log.exception("request_failed", request_id=request_id)
            await refuse(send, broken(), request_id, protocol)

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

    def _shed(self, overload: Overload, headers: RawHeaders, arrival: Arrival) -> None:
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
        arrival: Arrival,
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
            send = lingering(send, receive, peer)
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
                await send_whole(send, reply, request_id)
            elif reply.kept:
                await send_kept(send, reply, request_id)
            else:
                await send_stream(send, peer, reply, call)
        except asyncio.CancelledError as cancelled:
            error = of_cancellation(cancelled)
            task.uncancel()
            if not isinstance(error, ClientClosed):
                await refuse(send, error, request_id, protocol_of(endpoint))
        except _Refused as refused:
            await self._refuse_recorded(call, refused.error, request_id, send)
        finally:
            if call.upload is not None:
                call.upload.let_go()
            self._at_work.discard(task)
            peer.when_gone(None)
            self._drains.over(task)

    async def _arrived(self, call: Call, method: gemini.Method | None, arrival: Arrival, peer: Peer, receive: Receive) -> Call:
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

    async def _form(self, call: Call, arrival: Arrival, receive: Receive) -> Call:
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

    async def _whole(self, arrival: Arrival, peer: Peer, receive: Receive) -> bytes:
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

    async def _body(self, arrival: Arrival, peer: Peer, receive: Receive) -> bytes:
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

    async def _refuse_recorded(self, call: Call, error: ProxyError, request_id: str, send: Send) -> None:
        try:
            await self._pipeline.refuse(call, error)
        except ProxyError as refusal:
            if not isinstance(refusal, ClientClosed):
                await refuse(send, refusal, request_id, protocol_of(call.endpoint))

    # --- models --------------------------------------------------------------------------------------------------------

    async def _list_models(
        self,
        scope: Scope,
        arrival: Arrival,
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
        await send_whole(send, Completed(status=200, headers=[JSON], body=body), request_id)

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
                message = {**message, "headers": [*message.get("headers", ()), *headers, *REST_HEADERS]}
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
                await refuse(send, error, request_id, protocol)
        except Exception:  # around a request, as above
            log.exception("request_failed", request_id=request_id)
            if not started:
                await refuse(send, broken(), request_id, protocol)
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


def _tagged(call: Call, header: bytes) -> Call:
    """The call with its tags.  Raises: _Refused."""
    try:
        return msgspec.structs.replace(call, tags=gate.tags(header))
    except ProxyError as error:
        raise _Refused(error) from error
