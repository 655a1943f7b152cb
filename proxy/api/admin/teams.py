"""``/admin/v1/teams``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from ledger.records import Team
from proxy.api.admin.shapes import PAGE, After, Limit, OwnerSettings, OwnerView, actor, page, shared
from proxy.call import Principal
from proxy.owners.directory import Directory

NamePath = Annotated[str, Path(description="The team's name, however it is written.", max_length=256)]


class TeamUpdate(OwnerSettings):
    """What a team's keys may do together.  In an update, what is not sent stays as it is."""


class TeamRequest(TeamUpdate):
    """A team to be made."""

    name: str = Field(description="What it is known by for ever; no other team may ever have it.", min_length=1, max_length=256)


class TeamView(OwnerView):
    """A team."""


class TeamList(BaseModel):
    """Teams; declared ones first, then the oldest."""

    data: list[TeamView]
    next: str | None = Field(description="What to send as `after` for the next page; null: that was the last.")


def routes(directory: Directory, admin: Callable[..., Principal]) -> APIRouter:
    """The routes.  admin: a dependency that lets only admins through."""
    router = APIRouter(prefix="/admin/v1/teams", tags=["admin"], dependencies=[Depends(admin)])

    def told(team: Team) -> TeamView:
        return TeamView(**shared(team, declared=directory.is_declared("team", team.name)))

    @router.post("", operation_id="create_team", status_code=201)
    async def create(request: TeamRequest, principal: Principal = Depends(admin)) -> TeamView:
        """Make a team."""
        settings = request.given()
        return told(await directory.create_team(settings.pop("name"), settings, actor=actor(principal)))

    @router.get("", operation_id="list_teams")
    async def listed(limit: Limit = PAGE, after: After = None) -> TeamList:
        """Every team that was not removed, and those that are declared."""
        shown, following = page(directory.list_teams(), lambda team: team.name, limit=limit, after=after)
        return TeamList(data=[told(team) for team in shown], next=following)

    @router.get("/{name:path}", operation_id="show_team")
    async def show(name: NamePath) -> TeamView:
        """One team."""
        return told(directory.team(name))

    @router.patch("/{name:path}", operation_id="update_team")
    async def update(name: NamePath, request: TeamUpdate, principal: Principal = Depends(admin)) -> TeamView:
        """Change a team, and so what all of its keys may do from the next request on."""
        return told(await directory.update_team(name, request.given(), actor=actor(principal)))

    @router.delete("/{name:path}", operation_id="remove_team")
    async def remove(name: NamePath, principal: Principal = Depends(admin)) -> TeamView:
        """Remove a team that has no live keys and no users."""
        return told(await directory.remove_team(name, actor=actor(principal)))

    @router.post("/{name:path}/restore", operation_id="restore_team")
    async def restore(name: NamePath, principal: Principal = Depends(admin)) -> TeamView:
        """Bring back a team that was removed, with everything that was set for it."""
        return told(await directory.restore_team(name, actor=actor(principal)))

    return router
