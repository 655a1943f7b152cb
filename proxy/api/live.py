"""``GET /v1/ledger/sla``: how providers keep to what was agreed, by the gateway's own traffic; and the whole of what was
measured, for the commands on this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

import msgspec
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from ledger.live import LiveMetrics, LiveView, Window
from ledger.live.sla import Service, Targets, report, services
from proxy.call import Principal

Share = Annotated[float | None, Query(ge=0, le=1, description="A share, such as 0.99.")]
Millis = Annotated[float | None, Query(gt=0, description="Milliseconds.")]


class Measuring(Protocol):
    """The live metrics, as these routes know them."""

    @property
    def metrics(self) -> LiveMetrics:
        """What was measured."""
        ...

    @property
    def view(self) -> LiveView:
        """The same, to be looked up."""
        ...

    async def dump(self) -> bytes:
        """Everything, as ``LiveMetrics.load`` takes it."""
        ...


class ServiceRow(BaseModel):
    """A provider, or one of its offers; null: nothing is known of that."""

    provider: str
    offer: str = Field(description="`provider/model`; empty: the provider as a whole.")
    tries: int
    success: float | None
    availability: float | None = Field(description="Success among tries that met neither a rate limit nor a refused key.")
    limited_rate: float | None
    broken_rate: float | None
    late_rate: float | None
    refused_rate: float | None
    ttft_p50_ms: float | None
    ttft_p90_ms: float | None
    ttft_p99_ms: float | None
    e2e_p50_ms: float | None
    e2e_p95_ms: float | None
    output_tps_p50: float | None
    missed: list[str] = Field(description="The targets that the provider did not keep to.")


class ServiceReport(BaseModel):
    """Providers, each with its offers."""

    window: Window
    at: datetime
    met: bool | None = Field(description="Whether every provider keeps to the targets; null without any.")
    data: list[ServiceRow]


def router(
    live: Measuring, caller: Callable[..., Principal], admin: Callable[..., Principal], now_us: Callable[[], int]
) -> APIRouter:
    """The routes.  caller, admin: dependencies that let anybody with a key, or only admins through."""
    routes = APIRouter(tags=["ledger"])

    @routes.get("/v1/ledger/sla", operation_id="get_sla", dependencies=[Depends(caller)])
    async def sla(
        window: Window = "24h",
        provider: Annotated[str | None, Query(max_length=200, description="Only this one.")] = None,
        min_success: Share = None,
        min_availability: Share = None,
        max_ttft_p90_ms: Millis = None,
        max_e2e_p95_ms: Millis = None,
        min_tries: Annotated[int, Query(ge=1, description="With fewer, targets are not met.")] = 1,
    ) -> ServiceReport:
        """What was measured of each provider and offer in the last 5 minutes, hour, day or week."""
        targets = Targets(
            success_min=min_success,
            availability_min=min_availability,
            ttft_p90_max_ms=max_ttft_p90_ms,
            e2e_p95_max_ms=max_e2e_p95_ms,
            tries_min=min_tries,
        )
        rows: list[Service] = []
        for row in services(live.metrics, window, provider=provider, targets=targets):
            rows.append(row)
            await asyncio.sleep(0)
        found = report(rows, window=window, at_us=now_us(), targets=targets)
        at = datetime.fromtimestamp(found.at_us / 1e6, UTC)
        data: list[Any] = msgspec.to_builtins(found.rows)
        return ServiceReport(window=window, at=at, met=found.met, data=data)

    @routes.get("/admin/v1/ledger/live", operation_id="get_live_metrics", dependencies=[Depends(admin)])
    async def dump() -> Response:
        """Everything that was measured, as `TOLLWAY_HOME/live.jsonl` keeps it: a JSON line for each offer."""
        return Response(await live.dump(), media_type="application/jsonl")

    return routes
