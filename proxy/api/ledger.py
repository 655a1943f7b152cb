"""``GET /v1/receipts/{request id}``: one request's story."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from ledger.errors import LedgerUnavailable as JournalFailed
from ledger.ports import JournalPort
from ledger.records import AttemptRecord, RequestRecord
from proxy.call import Principal
from proxy.errors import LedgerUnavailable, NotFound


class ReceiptUsage(BaseModel):
    """Tokens in mutually exclusive buckets, their two sums, and the provider's own object."""

    input_tokens: int
    output_tokens: int
    input_uncached: int
    cache_read: int
    cache_write: int
    input_audio: int
    output_text: int
    reasoning: int
    output_audio: int
    raw: dict[str, Any] | None = Field(description="What the provider reported, as it was.")


class ReceiptAttempt(BaseModel):
    """One try."""

    attempt: int
    provider: str
    account: str
    upstream_model: str
    outcome: str
    status: int | None
    duration_ms: float
    ttfb_ms: float | None
    upstream_request_id: str
    error: str


class Receipt(BaseModel):
    """Everything that is known of one request."""

    request_id: str
    at: datetime
    key_id: str
    endpoint: str
    model: str = Field(description="The name that the client asked for.")
    provider: str
    upstream_model: str = Field(description="The name that the provider was asked for.")
    answered_model: str = Field(description="The name in the provider's answer; it is what is priced.")
    stream: bool
    status: int = Field(description="What the client was sent; 499 if it had left, 0 if the gateway died first.")
    outcome: str
    quality: Literal["exact", "estimated", "held"] = Field(
        description="Whether the usage is the provider's, our estimate, or a guess because nobody knows if there was any."
    )
    usage: ReceiptUsage
    cost_nusd: int | None = Field(description="Nano-US-dollars; null if no price is known.")
    cost_usd: str | None = Field(description="The same in dollars, exactly.")
    price_source: str
    duration_ms: float
    ttfb_ms: float | None
    attempts: list[ReceiptAttempt]


def router(journal: JournalPort, caller: Callable[..., Principal]) -> APIRouter:
    """The routes.  caller: a dependency that lets anybody with a key through."""
    routes = APIRouter(prefix="/v1", tags=["receipts"])

    @routes.get("/receipts/{request_id}", operation_id="get_receipt")
    async def receipt(
        request_id: Annotated[str, Path(description="The `x-request-id` of the answer.", max_length=128)],
        principal: Principal = Depends(caller),
    ) -> Receipt:
        """One request's tries, usage and cost.  A key sees its own requests, an admin's key all of them."""
        try:
            record = await journal.request(request_id)
        except JournalFailed as error:
            raise LedgerUnavailable("The journal cannot be read.") from error
        if record is None or not (principal.admin or record.key_id == principal.key_id):
            raise NotFound(f"There is no request {request_id[:128]!r}.", param="request_id")
        return _receipt(record)

    return routes


def _receipt(record: RequestRecord) -> Receipt:
    tokens = record.tokens
    return Receipt(
        request_id=record.request_id,
        at=datetime.fromtimestamp(record.at_us / 1e6, UTC),
        key_id=record.key_id,
        endpoint=record.endpoint,
        model=record.model,
        provider=record.provider,
        upstream_model=record.upstream_model,
        answered_model=record.answered_model,
        stream=record.stream,
        status=record.status,
        outcome=record.outcome,
        quality=record.quality,
        usage=ReceiptUsage(
            input_tokens=tokens.input_tokens,
            output_tokens=tokens.output_tokens,
            input_uncached=tokens.input_uncached,
            cache_read=tokens.cache_read,
            cache_write=tokens.cache_write,
            input_audio=tokens.input_audio,
            output_text=tokens.output_text,
            reasoning=tokens.reasoning,
            output_audio=tokens.output_audio,
            raw=_raw(record.usage_raw),
        ),
        cost_nusd=record.cost_nusd,
        cost_usd=None if record.cost_nusd is None else "{}.{:09d}".format(*divmod(record.cost_nusd, 1_000_000_000)),
        price_source=record.price_source,
        duration_ms=record.duration_us / 1000,
        ttfb_ms=_ms(record.ttfb_us),
        attempts=[_attempt(attempt) for attempt in record.attempts],
    )


def _attempt(attempt: AttemptRecord) -> ReceiptAttempt:
    return ReceiptAttempt(
        attempt=attempt.attempt,
        provider=attempt.provider,
        account=attempt.account,
        upstream_model=attempt.upstream_model,
        outcome=attempt.outcome,
        status=attempt.status,
        duration_ms=attempt.duration_us / 1000,
        ttfb_ms=_ms(attempt.ttfb_us),
        upstream_request_id=attempt.upstream_request_id,
        error=attempt.error,
    )


def _ms(duration_us: int | None) -> float | None:
    return None if duration_us is None else duration_us / 1000


def _raw(usage: bytes) -> dict[str, Any] | None:
    """The provider's object; ``None`` if there was none, or none that is an object."""
    if not usage:
        return None
    try:
        value = msgspec.json.decode(usage)
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None
