"""``POST /v1/ledger/benchmarks``: what a harness measured.  ``/v1/ledger/sources``, ``refresh``: where facts come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from ledger.errors import LedgerError, SourceUnreadable
from ledger.errors import LedgerUnavailable as LedgerFailed
from ledger.refresh.folder import State
from ledger.refresh.forms import form_of
from ledger.refresh.refresher import Outcome, Refresher
from ledger.refresh.source import Parse, Source
from proxy.call import Principal
from proxy.errors import InvalidRequest, LedgerUnavailable, NotFound, RequestTooLarge

BODY_MAX_BYTES = 32 << 20
SHOWN_REFUSALS = 100

Form = Literal["auto", "helios", "lm-eval", "inspect"]


class Benchmarks(BaseModel):
    """What became of a harness's file."""

    format: str = Field(description="Which harness wrote it.")
    accepted: int = Field(description="Values that can be kept.")
    kept: int = Field(description="Of these, those that were new.")
    unresolved: list[str] = Field(description="Models that nobody knows yet; what is said of them waits for review.")
    refused: list[str] = Field(description="A sentence for each result that was refused, with its place: `results[3]: …`.")
    dry_run: bool


class RefreshRequest(BaseModel):
    """Which sources to ask."""

    model_config = ConfigDict(extra="forbid")

    sources: list[str] = Field(default_factory=list, max_length=100, description="Their names; empty: every one.")
    dry_run: bool = Field(default=False, description="Fetch and look, but keep nothing.")
    accept: str | None = Field(default=None, max_length=64, description="The id of a payload that was put aside, to let count.")


class Refreshed(BaseModel):
    """What became of one source."""

    source: str
    status: Literal["updated", "unchanged", "put_aside", "skipped", "failed", "would_update"]
    detail: str = Field(description="Why, where it was not updated.")
    rows: int = Field(description="How many names its payload is about.")
    readings: int
    prices: int
    kept: int = Field(description="What was new of it.")
    unresolved: int = Field(description="How many of its names nobody knows yet.")
    problems: list[str] = Field(description="What was left out of its payload.")


class Refreshes(BaseModel):
    """What became of each source."""

    data: list[Refreshed]


class SourceView(BaseModel):
    """A source and what is remembered of it."""

    name: str
    asked: bool = Field(description="Whether it is asked at all.")
    why_not: str
    every_hours: float
    requests_per_day: int
    requests_today: int
    last_answer: int | None = Field(description="Unix time, in seconds.")
    payload_at: int | None = Field(description="When what counts now was fetched; Unix time, in seconds.")
    failures: int = Field(description="In a row.")
    problem: str


class AsideView(BaseModel):
    """A payload that looked wrong and does not count until it is accepted."""

    id: str
    source: str
    at: int
    rows: int
    reasons: list[str]


class Sources(BaseModel):
    """Every source, and every payload that was put aside."""

    background: bool = Field(
        description="Whether they are asked in the background (`ledger.refresh.enabled`), or on request only."
    )
    data: list[SourceView]
    put_aside: list[AsideView]


def router(
    refresher: Refresher, forms: Mapping[str, Parse], admin: Callable[..., Principal], now_us: Callable[[], int]
) -> APIRouter:
    """The routes.  forms: the readers of harness files.  admin: a dependency that lets only admins through."""
    routes = APIRouter(prefix="/v1/ledger", tags=["ledger"], dependencies=[Depends(admin)])

    @routes.post("/benchmarks", operation_id="import_benchmarks", openapi_extra=_BODY)
    async def benchmarks(
        request: Request,
        format: Annotated[Form, Query(description="Which harness wrote it; `auto`: find out.")] = "auto",
        dry_run: Annotated[bool, Query(description="Read it and keep nothing.")] = False,
    ) -> Benchmarks:
        """Take in what a harness measured: the envelope, lm-evaluation-harness's results, or a log of Inspect.

        Results that are wrong are refused one by one, with the reason; if none is left, so is the whole.
        """
        payload = await _body(request)
        try:
            form = form_of(payload) if format == "auto" else format
            parsed, ingested = await refresher.take(form, forms[form], payload, keep=not dry_run)
        except SourceUnreadable as error:
            raise InvalidRequest(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error
        except LedgerError as error:
            raise LedgerUnavailable(f"The ledger did not take it: {error}.") from error
        if not parsed.readings:
            raise InvalidRequest(f"Nothing in it can be kept: {'; '.join(parsed.problems[:3])}")
        return Benchmarks(
            format=form,
            accepted=len(parsed.readings),
            kept=ingested.kept if ingested else 0,
            unresolved=list(ingested.unresolved if ingested else ()),
            refused=list((ingested.problems if ingested else parsed.problems)[:SHOWN_REFUSALS]),
            dry_run=dry_run,
        )

    @routes.get("/sources", operation_id="list_sources")
    async def sources() -> Sources:
        """Where facts about models come from, and how that goes."""
        return view(refresher.sources, await refresher.status(), now_us(), background=refresher.background)

    @routes.post("/refresh", operation_id="refresh_sources")
    async def refresh(asked: RefreshRequest) -> Refreshes:
        """Ask sources now, whether they are due or not; budgets and `Retry-After` hold all the same."""
        unknown = sorted(set(asked.sources) - {source.name for source in refresher.sources})
        if unknown:
            raise InvalidRequest(f"There is no source {unknown[0]!r}.", param="sources")
        try:
            if asked.accept is not None:
                accepted = await refresher.accept(asked.accept)
                if accepted is None:
                    raise NotFound(f"Nothing was put aside with the id {asked.accept!r}.", param="accept")
                return Refreshes(data=[refreshed(accepted)])
            outcomes = await refresher.refresh(asked.sources, forced=True, dry_run=asked.dry_run)
        except (LedgerFailed, SourceUnreadable) as error:
            raise LedgerUnavailable(f"The sources cannot be refreshed: {error}.") from error
        return Refreshes(data=[refreshed(outcome) for outcome in outcomes])

    return routes


_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


async def _body(request: Request) -> bytes:
    """Raises: RequestTooLarge."""
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > BODY_MAX_BYTES:
            raise RequestTooLarge(f"The body is larger than {BODY_MAX_BYTES:,} bytes.")
    return bytes(parts)


def refreshed(outcome: Outcome) -> Refreshed:
    """An outcome as it is shown."""
    fields = {name: getattr(outcome, name) for name in Refreshed.model_fields}
    return Refreshed(**{**fields, "problems": list(outcome.problems)})


def view(sources: tuple[Source, ...], state: State, now_us: int, *, background: bool) -> Sources:
    """Sources as they are shown."""
    rows = []
    for source in sources:
        standing = state.sources.get(source.name)
        today = standing is not None and standing.day == now_us // 86_400_000_000
        rows.append(
            SourceView(
                name=source.name,
                asked=not source.idle,
                why_not=source.idle,
                every_hours=source.every_s / 3600,
                requests_per_day=source.requests_per_day,
                requests_today=standing.requests if standing is not None and today else 0,
                last_answer=_seconds(standing.fetched_us) if standing else None,
                payload_at=_seconds(standing.payload_us) if standing else None,
                failures=standing.failures if standing else 0,
                problem=standing.problem if standing else "",
            )
        )
    aside = [
        AsideView(id=it.id, source=it.source, at=it.at_us // 1_000_000, rows=it.rows, reasons=list(it.reasons))
        for it in state.aside
    ]
    return Sources(background=background, data=rows, put_aside=aside)


def _seconds(at_us: int) -> int | None:
    return at_us // 1_000_000 or None


def encoded(model: BaseModel) -> bytes:
    """JSON as the commands print it."""
    return msgspec.json.format(model.model_dump_json().encode(), indent=2)
