"""``GET /v1/receipts/{request id}``: one request's story.  ``GET /v1/usage``: the sum of many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from ledger.errors import LedgerUnavailable as JournalFailed
from ledger.ports import JournalPort
from ledger.records import AttemptRecord, By, RequestRecord
from proxy.call import Principal
from proxy.errors import LedgerUnavailable, NotAllowed, NotFound

DAY_US = 86_400_000_000
FOREVER_US = 2**63 - 1


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
    cache_write_1h: int
    cache_read_audio: int
    input_image: int
    output_image: int
    web_searches: int = Field(description="Searches that the provider ran and charges by the piece; no tokens.")
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
    kind: str = Field(
        description="Why it was made, if it is not the first: `retry`, `fallback`, `hedge`, `probe`, `continuation`."
    )
    fault: str = Field(
        description="Whose fault it was that it failed: `request`, `rate_limit`, `account`, `upstream`, `timeout`, `client`, "
        "`gateway`; empty if it did not."
    )
    waited_ms: float = Field(description="How long the request was kept waiting for it.")
    cost_nusd: int | None = Field(description="Nano-US-dollars; null if no price is known.")
    pieces: dict[str, int | str] = Field(
        description="What it used that is charged by the piece: `images` with `image_size` and `image_quality`, `characters`, "
        "`audio_ms`, `spoken_ms`, `queries`; without those that are none."
    )


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
    adjusted_nusd: int = Field(description="What reconciliation has added to it since, in nano-US-dollars; may be negative.")
    price_source: str
    user: str = Field(description="Whose key it was; empty: nobody's in particular.")
    team: str
    tags: list[str] = Field(description="What the client had it counted under.")
    cache: str = Field(description="How the gateway's own cache answered; empty: it did not.")
    saved_nusd: int = Field(description="What the cache's answer would have cost, in nano-US-dollars.")
    duration_ms: float
    ttfb_ms: float | None
    attempts: list[ReceiptAttempt]
    route: dict[str, Any] | None = Field(
        default=None,
        description="How its model was chosen, where it was: features, candidates with their estimates, the front, who lost "
        "and why. All of it is in memory for the last `routing.receipts` such requests; of older ones the candidates and their "
        "estimates are kept for `routing.keep_days`.",
    )


class Usage(BaseModel):
    """The requests of one period, model, provider, key, user, team or tag."""

    group: str = Field(description="The period (UTC), `provider/model`, provider, key id, user, team or tag.")
    label: str = Field(description="The key's name, where usage is summed by key.")
    requests: int
    failed: int = Field(description="Neither answered nor left by the client.")
    input_tokens: int
    cached_tokens: int = Field(description="Part of the input.")
    output_tokens: int
    reasoning_tokens: int = Field(description="Part of the output.")
    cost_nusd: int | None = Field(description="The sum of the known costs, in nano-US-dollars; null if none is known.")
    cost_usd: str | None = Field(description="The same in dollars, exactly.")
    unpriced: int = Field(description="Requests whose cost is unknown.")
    estimated: int = Field(description="Requests whose tokens we counted ourselves.")
    held: int = Field(description="Requests of which nobody knows whether the provider worked.")
    cached_requests: int = Field(description="Requests that the gateway's own cache answered.")
    saved_nusd: int = Field(description="What those answers would have cost, in nano-US-dollars.")
    subscription_nusd: int = Field(description="The share of the subscriptions' fees, in nano-US-dollars.")
    nusd_per_mtok: int | None = Field(description="Cost and share for a million tokens, in and out, in nano-US-dollars.")


class UsageReport(BaseModel):
    """What was asked, answered and charged."""

    by: By
    key: str | None = Field(description="The id of the key whose usage it is; null: all keys'.")
    data: list[Usage]


def router(
    journal: JournalPort,
    caller: Callable[..., Principal],
    now_us: Callable[[], int],
    *,
    routed: Callable[[str], Awaitable[dict[str, Any] | None]],
) -> APIRouter:
    """The routes.  caller: a dependency that lets anybody with a key through.  routed: how a request's model was chosen."""
    routes = APIRouter(prefix="/v1", tags=["receipts"])

    @routes.get("/usage", operation_id="get_usage")
    async def usage(
        by: Annotated[By, Query(description="What to sum by.")] = "day",
        days: Annotated[int, Query(ge=1, le=36_500, description="How many days back, today included (UTC).")] = 30,
        key: Annotated[
            str | None, Query(max_length=128, description="The id of a key; an admin's key sees all of them, and each alone.")
        ] = None,
        principal: Principal = Depends(caller),
    ) -> UsageReport:
        """Requests, tokens and cost.  A key sees its own; an admin's key sees all, or those of one key."""
        if not principal.admin:
            if key is not None and key != principal.key_id:
                raise NotAllowed("This needs an admin's key.", param="key")
            key = principal.key_id
        since_us = (now_us() // DAY_US - days + 1) * DAY_US
        try:
            rows = await journal.usage(by, since_us=max(since_us, 0), until_us=FOREVER_US, key_id=key)
        except JournalFailed as error:
            raise LedgerUnavailable("The journal cannot be read.") from error
        return UsageReport(
            by=by, key=key, data=[Usage(**msgspec.structs.asdict(row), cost_usd=_usd(row.cost_nusd)) for row in rows]
        )

    @routes.get("/receipts/{request_id}", operation_id="get_receipt")
    async def receipt(
        request_id: Annotated[str, Path(description="The `x-request-id` of the answer.", max_length=128)],
        principal: Principal = Depends(caller),
    ) -> Receipt:
        """One request's tries, usage and cost, and how its model was chosen.  A key sees its own requests, an admin's all."""
        try:
            record = await journal.request(request_id)
            adjusted_nusd = await journal.adjusted_nusd(request_id)
            route = await routed(request_id)
        except JournalFailed as error:
            raise LedgerUnavailable("The journal cannot be read.") from error
        if record is None or not (principal.admin or record.key_id == principal.key_id):
            raise NotFound(f"There is no request {request_id[:128]!r}.", param="request_id")
        return _receipt(record, adjusted_nusd, route)

    return routes


def _receipt(record: RequestRecord, adjusted_nusd: int, route: dict[str, Any] | None) -> Receipt:
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
            **msgspec.structs.asdict(tokens),
            raw=_raw(record.usage_raw),
        ),
        cost_nusd=record.cost_nusd,
        cost_usd=_usd(record.cost_nusd),
        adjusted_nusd=adjusted_nusd,
        price_source=record.price_source,
        user=record.user,
        team=record.team,
        tags=list(record.tags),
        cache=record.cache,
        saved_nusd=record.saved_nusd,
        duration_ms=record.duration_us / 1000,
        ttfb_ms=_ms(record.ttfb_us),
        attempts=[_attempt(attempt) for attempt in record.attempts],
        route=route,
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
        kind=attempt.kind,
        fault=attempt.fault,
        waited_ms=attempt.waited_us / 1000,
        cost_nusd=attempt.cost_nusd,
        pieces={name: count for name, count in msgspec.structs.asdict(attempt.pieces).items() if count},
    )


def _usd(cost_nusd: int | None) -> str | None:
    if cost_nusd is None:
        return None
    return "{}{}.{:09d}".format("-" if cost_nusd < 0 else "", *divmod(abs(cost_nusd), 1_000_000_000))


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
