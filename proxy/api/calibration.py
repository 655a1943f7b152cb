"""``GET /v1/route/calibration``: what was expected of models, beside what was metered; and kept decisions, told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query

from ledger.errors import LedgerUnavailable as JournalFailed
from ledger.ports import LearningPort
from ledger.records import DecisionRecord
from proxy.errors import LedgerUnavailable
from proxy.learning.calibration import By, calibration
from proxy.learning.records import choices_of, kept_of

DAY_US = 86_400_000_000
REQUESTS_MAX = 20_000


def router(ledger: LearningPort, admin: Callable[..., Any], now_us: Callable[[], int]) -> APIRouter:
    """The route.  admin: a dependency that lets only admins through."""
    routes = APIRouter(prefix="/v1/route", tags=["routing"], dependencies=[Depends(admin)])

    @routes.get("/calibration", operation_id="get_calibration")
    async def calibrated(
        by: Annotated[By, Query(description="What to group by.")] = "model",
        days: Annotated[float, Query(gt=0, le=36_500, description="How many days back.")] = 30,
        policy: Annotated[str, Query(max_length=128, description="Of this policy alone; empty: of all.")] = "",
    ) -> dict[str, Any]:
        """Expected beside metered cost, output tokens, time to the first token and latency of the newest routed requests.

        Only those tell that were answered by whom they were sent to, at the first try. `error_median`: the median of
        |expected - metered| / metered. `bias`: the median of expected / metered. `covered`: the share of requests whose metered
        number was at most the expected one.
        """
        since_us = max(now_us() - round(days * DAY_US), 0)
        try:
            routed = await ledger.routed(since_us=since_us, policy=policy, newest=REQUESTS_MAX)
        except JournalFailed as error:
            raise LedgerUnavailable("The journal cannot be read.") from error
        rows = await asyncio.to_thread(calibration, routed, by=by)
        return {"object": "calibration", "by": by, "requests": len(routed), "data": msgspec.to_builtins(rows)}

    return routes


def told(record: DecisionRecord) -> dict[str, Any]:
    """A kept decision as a receipt has it: less than what is in memory, but for as long as decisions are kept."""
    found: dict[str, Any] = {
        "policy": record.policy,
        "chosen": record.chosen,
        "reason": record.why,
        "explored": record.why == "explored",
        "abstained": record.why == "abstained",
        "propensity": record.propensity_ppm / 1e6,
        "snapshot": record.snapshot_id,
        "kept": True,
    }
    try:
        kept, choices = kept_of(record), choices_of(record)
    except msgspec.DecodeError:
        return found  # another release wrote it
    found["features"] = msgspec.to_builtins(kept.features)
    found["constraints"] = msgspec.to_builtins(kept.route)
    found["candidates"] = [
        {
            "name": it.name,
            "quality": _part(it.quality_ppm, 1e6),
            "cost_nusd": it.cost_nusd,
            "output_tokens": it.output_tokens,
            "ttft_ms": _part(it.ttft_us, 1e3),
            "latency_ms": _part(it.latency_us, 1e3),
        }
        for it in choices
    ]
    return found


def _part(number: int | None, whole: float) -> float | None:
    return None if number is None else number / whole
