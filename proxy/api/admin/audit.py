"""``/admin/v1/audit``: who changed what."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from ledger.records import Change, Kind
from proxy.api.admin.shapes import PAGE, Limit
from proxy.call import Principal
from proxy.owners.directory import Directory


class ChangeView(BaseModel):
    """One change."""

    id: int
    at: datetime
    actor_id: str = Field(description="The id of the key that was used; `this machine` for the command.")
    actor: str = Field(description="What that key was called then.")
    action: str = Field(description="create, update, rotate, revoke, remove, restore.")
    kind: Kind
    object: str = Field(description="The id of what was changed; a user's and a team's is its name.")
    name: str = Field(description="What it was called then; a budget's scope.")
    before: dict[str, Any] | None = Field(description="What it was, without secrets; null: it was not there.")
    after: dict[str, Any] | None = Field(description="What it is since; null: it is gone.")


class ChangeList(BaseModel):
    """Changes, the latest first."""

    data: list[ChangeView]
    next: int | None = Field(description="What to send as `before` for the next page; null: that was the last.")


def routes(directory: Directory, admin: Callable[..., Principal]) -> APIRouter:
    """The routes.  admin: a dependency that lets only admins through."""
    router = APIRouter(prefix="/admin/v1/audit", tags=["admin"], dependencies=[Depends(admin)])

    @router.get("", operation_id="list_changes")
    async def listed(
        limit: Limit = PAGE,
        before: Annotated[int | None, Query(ge=0, le=2**62, description="`next` of the page before.")] = None,
        kind: Annotated[Kind | None, Query(description="Only changes of these.")] = None,
        object: Annotated[str | None, Query(max_length=256, description="Only changes of the one of this id.")] = None,
    ) -> ChangeList:
        """Every change that was ever made of keys, users, teams and budgets.  Nothing is removed from it."""
        found = await directory.changes(limit=limit + 1, before_id=before, kind=kind, object=object)
        shown = found[:limit]
        return ChangeList(data=[view(it) for it in shown], next=shown[-1].id if len(found) > limit else None)

    return router


def view(change: Change) -> ChangeView:
    """What may be told of a change: all of it."""
    return ChangeView(
        id=change.id,
        at=datetime.fromtimestamp(change.at_us / 1e6, UTC),
        actor_id=change.actor_id,
        actor=change.actor,
        action=change.action,
        kind=change.kind,
        object=change.object,
        name=change.name,
        before=None if change.before is None else json.loads(change.before),
        after=None if change.after is None else json.loads(change.after),
    )
