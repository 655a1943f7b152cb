"""``POST /admin/v1/ledger/agent-usage``: what a command has read from coding agents' logs, kept by the one writer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from ledger.errors import LedgerUnavailable as JournalFailed
from ledger.records import AgentBatch, AgentStored, AgentUsage
from proxy.errors import InvalidRequest, LedgerUnavailable, RequestTimedOut, RequestTooLarge

EVENTS_MAX: Final = 2000
"""Events of one request: requests' reservations wait behind the transaction, some 10 ms."""
CURSORS_MAX: Final = 2000
BODY_MAX_BYTES: Final = 8 * 1024 * 1024
BODY_TIMEOUT_S: Final = 30.0
COUNT_MAX: Final = 2**59
"""The largest number that is taken; the sum of a row's still fit into a column."""

_decode = msgspec.json.Decoder(AgentBatch).decode
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "events": {
                            "type": "array",
                            "maxItems": EVENTS_MAX,
                            "items": {"type": "object"},
                            "description": "Model calls as `tollway ledger ingest` reads them.",
                        },
                        "cursors": {
                            "type": "array",
                            "maxItems": CURSORS_MAX,
                            "items": {"type": "object"},
                            "description": "How far each log file is read with them.",
                        },
                    },
                }
            }
        },
    }
}


class Keeper(Protocol):
    """The ledger, as this route knows it."""

    def store_agents(self, batch: AgentBatch, /) -> Awaitable[AgentStored]:
        """Keep all of a batch or nothing.  Raises: LedgerUnavailable."""
        ...


def router(keeper: Keeper, admin: Callable[..., Any]) -> APIRouter:
    """The route.  admin: a dependency that lets only admins through."""
    routes = APIRouter(prefix="/admin/v1/ledger", tags=["admin"], dependencies=[Depends(admin)])

    @routes.post("/agent-usage", operation_id="store_agent_usage", openapi_extra=_BODY)
    async def store(request: Request) -> Response:
        """Keep what coding agents used; what is known already is left alone."""
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await _body(request)
        except TimeoutError as error:
            raise RequestTimedOut(f"The body did not arrive within {BODY_TIMEOUT_S:g} s.") from error
        try:
            batch = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(f"This is no agents' usage: {error}.") from error
        if len(batch.events) > EVENTS_MAX or len(batch.cursors) > CURSORS_MAX:
            raise RequestTooLarge(f"More than {EVENTS_MAX:,} events or {CURSORS_MAX:,} cursors at once.")
        if not all(map(_fits, batch.events)):
            raise InvalidRequest("A count or a time is out of range.", param="events")
        try:
            stored = await keeper.store_agents(batch)
        except JournalFailed as error:
            raise LedgerUnavailable("The ledger cannot be written.") from error
        return Response(msgspec.json.encode(stored), media_type="application/json")

    return routes


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > BODY_MAX_BYTES:
            raise RequestTooLarge(f"The body is larger than {BODY_MAX_BYTES:,} bytes.")
    return b"".join(parts)


def _fits(event: AgentUsage) -> bool:
    numbers = (event.at_us, event.reported_nusd or 0, *msgspec.structs.astuple(event.tokens))
    return all(0 <= number < COUNT_MAX for number in numbers)
