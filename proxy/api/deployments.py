"""``/admin/v1/deployments``: how each deployment is doing, and how to forget what is held against it."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from proxy.errors import NotFound
from proxy.wiring.traffic import Standing, Traffic, is_meant


class DeploymentView(BaseModel):
    """One account's offer of one model; without a model, the account itself."""

    name: str = Field(description="`provider/model@account`, or `provider@account`.")
    provider: str
    account: str
    model: str
    state: str = Field(
        description="`closed`: it is asked. `open`: it is not, since it failed. `half_open`: one request is finding out. "
        "`cooldown`: it wants to be left alone."
    )
    ready_in_s: float = Field(description="Seconds until it is asked again.")
    reason: str = Field(description="The code of its last error, while that is remembered.")
    in_flight: int = Field(description="Tries under way.")
    ttfb_ms: float | None = Field(description="About how long a whole answer takes to begin; null: unknown.")
    stream_ttfb_ms: float | None = Field(description="About how long a stream takes to its first event; null: unknown.")
    error_percent: float = Field(description="About how many of its tries fail just now.")
    spent_today_usd: float | None = Field(description="Of an account that may not spend what it likes.")


class DeploymentList(BaseModel):
    """Every deployment that was asked lately, and every account that is left alone."""

    data: list[DeploymentView]


class ResetRequest(BaseModel):
    """Which ones."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        default="",
        max_length=512,
        description="`provider`, `provider@account`, `provider/model` or `provider/model@account`; empty: all.",
    )


class ResetAnswer(BaseModel):
    """How many deployments and accounts had something held against them that is now forgotten."""

    reset: int


def router(traffic: Traffic, admin: Callable[..., object]) -> APIRouter:
    """The routes.  admin: a dependency that lets only admins through."""
    routes = APIRouter(prefix="/admin/v1", tags=["admin"], dependencies=[Depends(admin)])

    @routes.get("/deployments", operation_id="list_deployments")
    async def deployments() -> DeploymentList:
        """How each deployment is doing that was asked lately."""
        return DeploymentList(data=[view(it) for it in traffic.standings()])

    @routes.post("/deployments/reset", operation_id="reset_deployments")
    async def reset(request: ResetRequest) -> ResetAnswer:
        """Ask them again at once: close their circuits, end their cooldowns, take their accounts back."""
        if request.name and not any(is_meant(request.name, it.key) for it in traffic.standings()):
            raise NotFound(f"No deployment {request.name!r} was asked lately.", param="name")
        return ResetAnswer(reset=traffic.reset(request.name))

    return routes


def view(standing: Standing) -> DeploymentView:
    """What is told of it."""
    provider, account, model = standing.key
    return DeploymentView(
        name=f"{provider}/{model}@{account}" if model else f"{provider}@{account}",
        provider=provider,
        account=account,
        model=model,
        state=standing.state,
        ready_in_s=round(standing.ready_in_s, 3),
        reason=standing.reason,
        in_flight=standing.in_flight,
        ttfb_ms=standing.ttfb_s and round(standing.ttfb_s * 1000, 1),
        stream_ttfb_ms=standing.stream_ttfb_s and round(standing.stream_ttfb_s * 1000, 1),
        error_percent=round(standing.error_ratio * 100, 1),
        spent_today_usd=None if standing.spent_nusd is None else standing.spent_nusd / 1e9,
    )
