"""``/admin/v1/budgets``: how much may be used in a period; money goes in as dollars and is kept in nano-dollars."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from ledger.records import Budget, BudgetPeriod, BudgetUnit
from proxy.api.admin.shapes import PAGE, After, Body, Limit, actor, page, seconds
from proxy.call import Principal
from proxy.errors import InvalidRequest
from proxy.owners.directory import Directory

NANO = 9
WHOLE_DIGITS = 10

BudgetPath = Annotated[str, Path(description="The budget's id.", max_length=256)]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a budget stands: what is settled and what is reserved in its period, in nano-USD or as counts."""

    settled: int
    reserved: int
    period_start_us: int
    period_end_us: int | None


StandingOf = Callable[[str], Standing | None]
"""How the budget of an id stands; ``None``: nobody counts it."""


class BudgetUpdate(Body):
    """What is to be different: the amount, in the budget's own unit, or when to warn.  What is not sent stays as it is."""

    usd: str | int | float | None = Field(
        default=None, description="US dollars, as a number or as text, with nine digits behind the point at most."
    )
    tokens: int | None = Field(default=None, description="Tokens, in and out.")
    requests: int | None = Field(default=None, description="Requests.")
    warn_percent: int | None = Field(
        default=80, ge=1, le=100, description="From how much of it on callers are warned; null: never."
    )

    def amount(self) -> tuple[BudgetUnit, int] | None:
        """The unit and the limit, in nano-dollars or as a count; ``None``: not sent.  Raises: InvalidRequest."""
        units: tuple[BudgetUnit, ...] = ("usd", "tokens", "requests")
        sent = [unit for unit in units if getattr(self, unit) is not None]
        if len(sent) > 1:
            raise InvalidRequest("A budget has one of 'usd', 'tokens' and 'requests'.", param=sent[1])
        if not sent:
            return None
        value = getattr(self, sent[0])
        return sent[0], nano(value) if sent[0] == "usd" else value


class BudgetRequest(BudgetUpdate):
    """A budget to be made: a scope, a period, and one amount."""

    scope: str = Field(
        min_length=1, max_length=512, description="`key:ID` (or a live key's name), `user:NAME`, `team:NAME`, or `global`."
    )
    period: BudgetPeriod = Field(description="When it begins anew, in UTC; a week begins on Monday, a total never ends.")


class StandingView(BaseModel):
    """What of it is used."""

    settled: int = Field(description="In nano-dollars, or a count, like `limit`.")
    reserved: int = Field(description="By requests that are under way.")
    period_start: int = Field(description="Unix time, in seconds.")
    period_end: int | None


class BudgetView(BaseModel):
    """A budget."""

    id: str
    scope: str
    unit: BudgetUnit
    period: BudgetPeriod
    limit: int = Field(description="In nano-dollars, or a count.")
    usd: str | None = Field(description="The limit in dollars, exactly; null unless it is of money.")
    warn_percent: int | None
    standing: StandingView | None = Field(description="What of it is used; null where nothing counts it.")


class BudgetList(BaseModel):
    """Budgets, by scope."""

    data: list[BudgetView]
    next: str | None = Field(description="What to send as `after` for the next page; null: that was the last.")


def routes(directory: Directory, admin: Callable[..., Principal], standing: StandingOf) -> APIRouter:
    """The routes.  admin: a dependency that lets only admins through."""
    router = APIRouter(prefix="/admin/v1/budgets", tags=["admin"], dependencies=[Depends(admin)])

    def told(budget: Budget) -> BudgetView:
        return view(budget, standing(budget.id))

    @router.post("", operation_id="create_budget", status_code=201)
    async def create(request: BudgetRequest, principal: Principal = Depends(admin)) -> BudgetView:
        """Set how much a scope may use in a period.  There is one budget for each scope, unit and period."""
        amount = request.amount()
        if amount is None:
            raise InvalidRequest("A budget needs one of 'usd', 'tokens' and 'requests'.", param="usd")
        unit, limit = amount
        made = await directory.create_budget(
            request.scope, unit, request.period, limit, warn_percent=request.warn_percent, actor=actor(principal)
        )
        return told(made)

    @router.get("", operation_id="list_budgets")
    async def listed(
        limit: Limit = PAGE,
        after: After = None,
        scope: Annotated[str | None, Query(max_length=512, description="Only those of this scope.")] = None,
    ) -> BudgetList:
        """Every budget that is set here; those of the configuration are in the configuration."""
        wanted = None if scope is None else directory.scope(scope)
        budgets = [it for it in directory.budgets() if wanted is None or it.scope == wanted]
        shown, following = page(budgets, lambda it: it.id, limit=limit, after=after)
        return BudgetList(data=[told(it) for it in shown], next=following)

    @router.get("/{budget}", operation_id="show_budget")
    async def show(budget: BudgetPath) -> BudgetView:
        """One budget."""
        return told(directory.budget(budget))

    @router.patch("/{budget}", operation_id="update_budget")
    async def update(budget: BudgetPath, request: BudgetUpdate, principal: Principal = Depends(admin)) -> BudgetView:
        """Change how much it is, or when to warn.  The next request finds the change."""
        settings = {"warn_percent": request.warn_percent} if "warn_percent" in request.model_fields_set else {}
        amount = request.amount()
        if amount is not None:
            unit, settings["limit"] = amount
            if unit != directory.budget(budget).unit:
                raise InvalidRequest(f"The budget is one of {directory.budget(budget).unit}.", param=unit)
        return told(await directory.update_budget(budget, settings, actor=actor(principal)))

    @router.delete("/{budget}", operation_id="remove_budget")
    async def remove(budget: BudgetPath, principal: Principal = Depends(admin)) -> BudgetView:
        """Remove a budget."""
        return view(await directory.remove_budget(budget, actor=actor(principal)), None)

    return router


def nano(usd: str | float) -> int:
    """Nano-dollars of an amount in dollars, exactly.  Raises: InvalidRequest."""
    try:
        amount = Decimal(str(usd))
    except InvalidOperation as error:
        raise InvalidRequest("'usd' must be an amount, such as 12.50.", param="usd") from error
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -NANO or amount.adjusted() >= WHOLE_DIGITS:
        raise InvalidRequest("'usd' must be below 10 billion, with nine digits behind the point at most.", param="usd")
    return int(amount.scaleb(NANO))


def dollars(limit_nusd: int) -> str:
    """An amount as it is written: ``12.50``, ``0.000000001``."""
    whole, fraction = divmod(limit_nusd, 10**NANO)
    return f"{whole}.{f'{fraction:09d}'.rstrip('0').ljust(2, '0')}"


def view(budget: Budget, standing: Standing | None) -> BudgetView:
    """What may be told of a budget."""
    stands = None
    if standing is not None:
        stands = StandingView(
            settled=standing.settled,
            reserved=standing.reserved,
            period_start=standing.period_start_us // 1_000_000,
            period_end=seconds(standing.period_end_us),
        )
    return BudgetView(
        id=budget.id,
        scope=budget.scope,
        unit=budget.unit,
        period=budget.period,
        limit=budget.limit,
        usd=dollars(budget.limit) if budget.unit == "usd" else None,
        warn_percent=budget.warn_percent,
        standing=stands,
    )
