"""``POST /v1/route/explain``: who would answer a request, and why; and the same of requests that were answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.requests import ClientDisconnect

from providers.provider import Endpoint
from proxy.api import gate
from proxy.call import Call, Principal
from proxy.errors import ClientClosed, InvalidRequest, RequestTimedOut, RequestTooLarge
from proxy.routing.auto import Auto
from proxy.routing.receipt import told
from proxy.routing.router import Decision

BODY_MAX_BYTES: Final = 32 << 20
BODY_TIMEOUT_S: Final = 30.0

Explain = Callable[[Call], Awaitable[Decision]]
"""Decides for a call, and asks nobody.  Raises: ProxyError."""


def router(explain: Explain, caller: Callable[..., Principal], now_us: Callable[[], int]) -> APIRouter:
    """The routes.  caller: a dependency that lets anybody with a key through."""
    routes = APIRouter(prefix="/v1/route", tags=["routing"])

    @routes.post("/explain", operation_id="explain_route", openapi_extra=_BODY)
    async def explained(
        request: Request,
        endpoint: Annotated[
            Endpoint, Query(description="Where the body would go: `chat/completions`, `responses`, `completions`.")
        ] = "chat/completions",
        principal: Principal = Depends(caller),
    ) -> Response:
        """Who would answer this request, and why: what it needs, who could, what each would be worth, who beats whom.

        Takes the body as the endpoint itself does, and the header `x-tollway-route`. Nobody is asked and nothing is charged.
        """
        body = await _body(request)
        call = Call(
            id="explained",
            endpoint=endpoint,
            authorization=(),
            body=body,
            head=await asyncio.to_thread(gate.admit, body) if len(body) > LARGE_BYTES else gate.admit(body),
            received_us=now_us(),
            started_s=0.0,
            headers=request.scope["headers"],
            principal=principal,
        )
        decision = await explain(call)
        return Response(msgspec.json.encode(told(decision)), media_type="application/json")

    return routes


LARGE_BYTES: Final = 64 * 1024


def told_of(auto: Auto | None, request_id: str) -> dict[str, Any] | None:
    """How a request's model was chosen; ``None``: it was not, or nobody remembers."""
    kept = None if auto is None else auto.kept(request_id)
    if kept is None:
        return None
    found: dict[str, Any] = msgspec.to_builtins(told(kept.decision))
    return {**found, "standing_in": kept.standing_in} if kept.standing_in else found


_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


async def _body(request: Request) -> bytes:
    """Raises: RequestTooLarge, RequestTimedOut, InvalidRequest."""
    parts = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                parts += part
                if len(parts) > BODY_MAX_BYTES:
                    raise RequestTooLarge(f"The body is larger than {BODY_MAX_BYTES:,} bytes.")
    except TimeoutError as error:
        raise RequestTimedOut(f"The body did not arrive within {BODY_TIMEOUT_S:g} s.") from error
    except ClientDisconnect as error:
        raise ClientClosed("The client left before its request was whole.") from error
    if not parts:
        raise InvalidRequest("The body is empty.")
    return bytes(parts)
