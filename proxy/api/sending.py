"""Replies and errors as ASGI messages: whole, in pieces as they come, and to clients that are not done with their request."""

from __future__ import annotations

import asyncio

import structlog

from providers.provider import Protocol
from providers.registry import WIRES
from proxy.api import gemini
from proxy.api.peer import Message, Peer, Receive, Send
from proxy.call import Call, Chunks, Completed, Streaming
from proxy.errors import ClientClosed, Headers, ProxyError, of_cancellation, to_client, to_client_event

LINGER_S = 5.0
"""How long a client that has its answer may go on with an upload.  Source: nginx's lingering_timeout, which is as long."""

JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
_STREAM_HEADERS: Headers = [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
REST_HEADERS: Headers = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]

log = structlog.get_logger("tollway.edge")


def start(status: int, headers: Headers) -> Message:
    """The head of an answer."""
    return {"type": "http.response.start", "status": status, "headers": headers}


async def refuse(send: Send, error: ProxyError, request_id: str, protocol: Protocol) -> None:
    """Answer with an error, as a client of this protocol reads it."""
    status, headers, body = to_client(error, protocol, request_id)
    if protocol == "anthropic":
        headers.append((b"request-id", request_id.encode()))
    await send_whole(send, Completed(status=status, headers=headers, body=body), request_id)


def broken() -> ProxyError:
    """What a client is told of a fault of ours."""
    return ProxyError("Something went wrong in the gateway.")


async def send_whole(send: Send, reply: Completed, request_id: str) -> None:
    """Send an answer that is whole."""
    headers = [
        *reply.headers,
        (b"x-request-id", request_id.encode()),
        (b"content-length", str(len(reply.body)).encode()),
    ]
    await send(start(reply.status, headers))
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})


async def send_kept(send: Send, reply: Streaming, request_id: str) -> None:
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
    await send(start(reply.status, [*reply.headers, (b"x-request-id", request_id.encode()), *_STREAM_HEADERS]))
    await send({"type": "http.response.body", "body": events + chunks.closing, "more_body": False})


async def send_stream(send: Send, peer: Peer, reply: Streaming, call: Call) -> None:
    """Send a stream as it comes, and settle it before its end.  A fault is its last event, or ends the connection."""
    chunks = reply.chunks
    headers = [*reply.headers, (b"x-request-id", call.id.encode()), *_STREAM_HEADERS]
    if call.head.array:
        chunks = gemini.Array(chunks)
        headers = [JSON, *((name, value) for name, value in headers if name != b"content-type")]
    whole = False
    fault: ProxyError | None = None
    has_events = any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in reply.headers)
    if has_events:
        peer.streams_events()
    try:
        await send(start(reply.status, headers))
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
        fault = error if isinstance(error, ProxyError) else broken()
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


def _last(chunks: Chunks, events: bytes) -> bytes:
    """What ends a stream with these events."""
    return chunks.ended(events) if isinstance(chunks, gemini.Array) else events


def _is_whole(reply: Streaming, call: Call) -> bool:
    """Whether a stream that is over was cut by nobody."""
    return (reply.outcome or (call.trail[-1].outcome if call.trail else "ok")) == "ok"


async def _refusal_to_finish(reply: Streaming) -> ProxyError | None:
    """Run the taps of a stream that has failed already; what they refuse now has nobody else to be told to."""
    try:
        await reply.finish()
    except ProxyError as error:
        return error
    return None


def sharing(send: Send, headers: Headers) -> Send:
    """Sends answers with headers by which a browser lets its page read them."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *headers]}
        await send(message)

    return sent


def lingering(send: Send, receive: Receive, peer: Peer) -> Send:
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
