"""``GET /v1/realtime?model=…``: a WebSocket, from the client's handshake to its close."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import structlog
from msgspec.structs import replace

from providers.openai import realtime
from providers.provider import WebSocket
from proxy.api import gate
from proxy.api.hosts import Hosts
from proxy.api.sockets import SOCKET
from proxy.attempts.realtime import TRANSCRIPTION, Session
from proxy.call import Call, Head, Principal, RawHeaders, Streaming, Weight
from proxy.errors import (
    DRAINING,
    ClientClosed,
    Headers,
    InvalidHost,
    InvalidRequest,
    NotFound,
    Overloaded,
    ProxyError,
    of_cancellation,
    to_openai,
)
from proxy.limits.overload import Overload
from proxy.limits.queue import PRIORITY_HEADER, rank_of
from proxy.pipeline import Pipeline

PATH = "/v1/realtime"
QUERY_MAX = 32
OVERLOADED = "The gateway has more to do than it can."

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = structlog.get_logger("tollway.edge")


class Realtime:
    """Opens sessions through the pipeline, and relays them.

    A handshake is refused with the HTTP status and the body that any request is refused with.
    identify: who sends these Authorization headers.  at_work: how many requests are being answered.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        identify: Callable[[tuple[str, ...]], Principal],
        hosts: Hosts,
        overload: Overload | None = None,
        at_work: Callable[[], int] = lambda: 0,
        request_id: Callable[[], str],
        clock_s: Callable[[], float],
        clock_us: Callable[[], int],
    ) -> None:
        self._pipeline = pipeline
        self._identify = identify
        self._hosts = hosts
        self._overload = overload
        self._at_work = at_work
        self._request_id = request_id
        self._clock_s = clock_s
        self._clock_us = clock_us
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sessions: set[Session] = set()
        self._stopping = False

    @property
    def open(self) -> int:
        """How many sessions there are, those that are being opened included."""
        return len(self._tasks)

    def stop(self) -> None:
        """Let every session come to the end of its answer; those without one end now."""
        self._stopping = True
        for session in self._sessions:
            session.stop()

    def drain(self) -> None:
        """End every session."""
        for task in self._tasks:
            task.cancel(DRAINING)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One handshake, and the session that it opens."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # an ASGI callable always runs in a task
        request_id = self._request_id()
        await receive()  # that there is a handshake
        self._tasks.add(task)
        try:
            await self._serve(scope, send, request_id)
        except asyncio.CancelledError as cancelled:
            task.uncancel()
            await _refuse(send, of_cancellation(cancelled), request_id)
        except ProxyError as error:
            await _refuse(send, error, request_id)
        except Exception:  # around a request: whatever is wrong with ours, its client gets an answer
            log.exception("request_failed", request_id=request_id)
            await _refuse(send, ProxyError("Something went wrong in the gateway."), request_id)
        finally:
            self._tasks.discard(task)

    async def _serve(self, scope: Scope, send: Send, request_id: str) -> None:
        """Raises: ProxyError, before the handshake is answered."""
        headers: RawHeaders = scope["headers"]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._hosts.accept(hosts[0]):
            raise InvalidHost("The Host header is not one that this server answers to (server.hosts).")
        if scope["path"] != PATH:
            raise NotFound(f"There is no WebSocket at {scope['path'][:200]!r}.")
        offered: list[str] = scope["subprotocols"]
        authorization, rest = _credentials(headers, offered)
        if self._overload is not None and self._overload.is_pressed(self._at_work()):
            self._shed(self._overload, authorization, headers)
        call = Call(
            id=request_id,
            endpoint="realtime",
            authorization=authorization,
            body=b"",
            head=Head(model="", stream=True, weight=Weight(audio=True)),
            received_us=self._clock_us(),
            started_s=self._clock_s(),
            headers=rest,
        )
        try:
            call = _asked(call, scope)
        except ProxyError as error:
            await self._pipeline.refuse(call, error)
        reply = await self._pipeline(call)
        assert isinstance(reply, Streaming) and isinstance(reply.chunks, Session)  # noqa: S101  # what sessions come as
        subprotocol = realtime.SUBPROTOCOL if realtime.SUBPROTOCOL in offered else None
        await self._relay(scope, send, reply, reply.chunks, subprotocol, request_id)

    async def _relay(
        self, scope: Scope, send: Send, reply: Streaming, session: Session, subprotocol: str | None, request_id: str
    ) -> None:
        """Answer the handshake, and relay until it is over.  Whatever happens, its books are closed."""
        socket: WebSocket = scope["extensions"][SOCKET]
        self._sessions.add(session)
        try:
            headers = [*reply.headers, (b"x-request-id", request_id.encode())]
            await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
            if self._stopping:
                session.stop()
            await session.run(socket)
        except OSError:
            session.fail(ClientClosed("The client left."))
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            session.fail(of_cancellation(cancelled))
        finally:
            self._sessions.discard(session)
            session.close()
            reply.outcome = session.outcome
            code, reason = session.code, session.reason
            try:
                await reply.finish()
            except ProxyError as error:
                code, reason = 1011, error.code
            except asyncio.CancelledError:
                code, reason = 1012, DRAINING
            socket.close(code, reason)

    def _shed(self, overload: Overload, authorization: tuple[str, ...], headers: RawHeaders) -> None:
        """Raises: Overloaded; InvalidApiKey."""
        asked = next((value.decode("latin-1") for name, value in headers if name == PRIORITY_HEADER), None)
        if overload.sheds(rank_of(self._identify(authorization).priority, asked), self._at_work()):
            raise Overloaded(OVERLOADED, retry_after_s=overload.retry_after_s)


def _credentials(headers: RawHeaders, offered: list[str]) -> tuple[tuple[str, ...], RawHeaders]:
    """The keys that a handshake carries, in its header or as a subprotocol; and its headers, without a key among them."""
    found = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    rest = [(name, value) for name, value in headers if name not in (b"authorization", b"sec-websocket-protocol")]
    for it in offered:
        if it.startswith(realtime.KEY_SUBPROTOCOL):
            said = f"Bearer {it.removeprefix(realtime.KEY_SUBPROTOCOL)}"
            if said not in found:
                found.append(said)
        elif it.startswith(realtime.BETA_SUBPROTOCOL):
            # As its SDK says it in a header: realtime-v1 is realtime=v1.
            version = it.removeprefix(realtime.BETA_SUBPROTOCOL).replace("-", "=", 1)
            rest.append((realtime.BETA_HEADER.encode(), version.encode("latin-1", "replace")))
    return tuple(found), rest


def _asked(call: Call, scope: Scope) -> Call:
    """The call with what its URL asks for.  Raises: InvalidRequest."""
    query = _query(scope)
    if "call_id" in query:
        raise InvalidRequest("Calls that the provider holds are not joined.", param="call_id")
    intent = query.get("intent", "")
    if intent not in ("", "conversation", TRANSCRIPTION):
        raise InvalidRequest(f"A session's 'intent' is 'transcription' or none, not {intent[:64]!r}.", param="intent")
    named = gate.model_of({"model": query.get("model", "")})
    head = Head(model=named, stream=True, weight=Weight(audio=True), intent=intent if intent == TRANSCRIPTION else "")
    tags = b",".join(value for name, value in call.headers if name == b"x-tollway-tags")
    return replace(call, head=head, tags=gate.tags(tags) if tags else ())


def _query(scope: Scope) -> Mapping[str, str]:
    try:
        text = scope.get("query_string", b"").decode("ascii")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=QUERY_MAX, errors="strict"))
    except ValueError as error:
        raise InvalidRequest("The URL's query cannot be read.") from error


async def _refuse(send: Send, error: ProxyError, request_id: str) -> None:
    """Answer a handshake as any request that is refused.  Source: ASGI's extension ``websocket.http.response``."""
    status, headers, body = to_openai(error)
    answer: Headers = [*headers, (b"x-request-id", request_id.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": status, "headers": answer})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
