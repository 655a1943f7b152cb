"""``POST /admin/v1/ledger/reconcile``: a provider's report beside our journal, and the entries that mend it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from ledger.errors import LedgerUnavailable as JournalFailed
from ledger.journal.reconcile import Question, Reconciliation
from proxy.errors import InvalidRequest, LedgerUnavailable, RequestTooLarge

BODY_MAX_BYTES = 64 * 1024 * 1024


class Reconciler(Protocol):
    """The journal, as this route knows it."""

    async def reconcile(self, question: Question, /, *, apply: bool) -> Reconciliation:
        """Compare; ``apply``: and book what makes ours theirs.  Raises: LedgerUnavailable."""
        ...


class ReconcileRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the command sends: a report that it has read, and whether to book."""

    question: Question
    apply: bool = False


_decode = msgspec.json.Decoder(ReconcileRequest).decode
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["question"],
                    "properties": {
                        "question": {"type": "object", "description": "A report as `tollway ledger reconcile` reads it."},
                        "apply": {"type": "boolean", "default": False},
                    },
                }
            }
        },
    }
}


def router(journal: Reconciler, admin: Callable[..., Any]) -> APIRouter:
    """The route.  admin: a dependency that lets only admins through."""
    routes = APIRouter(prefix="/admin/v1/ledger", tags=["admin"], dependencies=[Depends(admin)])

    @routes.post("/reconcile", operation_id="reconcile", openapi_extra=_BODY)
    async def reconcile(request: Request) -> Response:
        """Compare a provider's report with the journal, and book the difference if told to."""
        parts, size = [], 0
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > BODY_MAX_BYTES:
                raise RequestTooLarge(f"The report is larger than {BODY_MAX_BYTES:,} bytes.")
        try:
            # A large report takes a while to parse, and the loop has other clients.
            asked = await asyncio.to_thread(_decode, b"".join(parts))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"This is no report: {error}.") from error
        try:
            found = await journal.reconcile(asked.question, apply=asked.apply)
        except JournalFailed as error:
            raise LedgerUnavailable("The journal cannot be read or written.") from error
        return Response(msgspec.json.encode(found), media_type="application/json")

    return routes
