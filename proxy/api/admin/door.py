"""Before a body is read here, it is known who sends it; then it is small, whole in time, and strict JSON."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from proxy.api.gate import parse
from proxy.call import Principal
from proxy.errors import ClientClosed, ProxyError, RequestTimedOut, RequestTooLarge, to_openai

# Routes that take more, and bound and parse it themselves.
LARGE: Final = frozenset(("/admin/v1/ledger/reconcile", "/admin/v1/ledger/agent-usage", "/v1/ledger/benchmarks", "/v1/files"))
LARGE_PART: Final = re.compile(r"/v1/uploads/[^/]+/parts")
BODY_MAX_BYTES: Final = 64 * 1024
BODY_TIMEOUT_S: Final = 10.0
_WITH_BODY: Final = frozenset(("POST", "PUT", "PATCH", "DELETE"))

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class Door:
    """ASGI middleware.  FastAPI would read a stranger's body to its end, and take the last of two equal keys in it.

    It lets nobody in who the routes would not: whether somebody is an admin, they ask for themselves.
    identify: who sends these Authorization headers; raises InvalidApiKey.
    """

    def __init__(self, app: Asgi, *, identify: Callable[[tuple[str, ...]], Principal]) -> None:
        self._app = app
        self._identify = identify

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY:
            await self._app(scope, receive, send)
            return
        try:
            headers = scope["headers"]
            self._identify(tuple(value.decode("latin-1") for name, value in headers if name == b"authorization"))
            if scope["path"] in LARGE or LARGE_PART.fullmatch(scope["path"]) is not None:
                await self._app(scope, receive, send)
                return
            body = await _body(receive)
            if body:
                parse(body)
        except ProxyError as error:
            status, found, answer = to_openai(error)
            length = (b"content-length", str(len(answer)).encode())
            await send({"type": "http.response.start", "status": status, "headers": [*found, length]})
            await send({"type": "http.response.body", "body": answer, "more_body": False})
            return
        messages = iter(({"type": "http.request", "body": body, "more_body": False},))

        async def replay() -> Message:
            return next(messages, None) or await receive()

        await self._app(scope, replay, send)


async def _body(receive: Receive) -> bytes:
    """The whole body.  Raises: RequestTooLarge, RequestTimedOut, ClientClosed."""
    body = b""
    more = True
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":  # half a body may look like a whole one
                    raise ClientClosed("The client left before its request was whole.")
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > BODY_MAX_BYTES:
                    raise RequestTooLarge(f"The body is larger than {BODY_MAX_BYTES:,} bytes.")
    except TimeoutError as error:
        raise RequestTimedOut(f"The body did not arrive within {BODY_TIMEOUT_S:g} s.") from error
    return body
