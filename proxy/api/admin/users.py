"""``/admin/v1/users``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from ledger.records import User
from proxy.api.admin.shapes import PAGE, After, Limit, OwnerSettings, OwnerView, actor, page, shared
from proxy.call import Principal
from proxy.owners.directory import Directory

NamePath = Annotated[str, Path(description="The user's name, however it is written.", max_length=256)]


class UserUpdate(OwnerSettings):
    """What a user's keys may do together.  In an update, what is not sent stays as it is."""

    team: str = Field(default="", max_length=256, description="The team that the user belongs to; empty: none.")


class UserRequest(UserUpdate):
    """A user to be made."""

    name: str = Field(description="What it is known by for ever; no other user may ever have it.", min_length=1, max_length=256)


class UserView(OwnerView):
    """A user."""


class UserList(BaseModel):
    """Users; declared ones first, then the oldest."""

    data: list[UserView]
    next: str | None = Field(description="What to send as `after` for the next page; null: that was the last.")


def routes(directory: Directory, admin: Callable[..., Principal]) -> APIRouter:
    """The routes.  admin: a dependency that lets only admins through."""
    router = APIRouter(prefix="/admin/v1/users", tags=["admin"], dependencies=[Depends(admin)])

    def told(user: User) -> UserView:
        return UserView(**shared(user, declared=directory.is_declared("user", user.name)))

    @router.post("", operation_id="create_user", status_code=201)
    async def create(request: UserRequest, principal: Principal = Depends(admin)) -> UserView:
        """Make a user."""
        settings = request.given()
        return told(await directory.create_user(settings.pop("name"), settings, actor=actor(principal)))

    @router.get("", operation_id="list_users")
    async def listed(
        limit: Limit = PAGE,
        after: After = None,
        team: Annotated[str | None, Query(max_length=256, description="Only those of this team.")] = None,
    ) -> UserList:
        """Every user who was not removed, and those that are declared."""
        team_name = None if team is None else directory.team(team).name
        users = [user for user in directory.list_users() if team_name is None or user.team == team_name]
        shown, following = page(users, lambda user: user.name, limit=limit, after=after)
        return UserList(data=[told(user) for user in shown], next=following)

    @router.get("/{name:path}", operation_id="show_user")
    async def show(name: NamePath) -> UserView:
        """One user."""
        return told(directory.user(name))

    @router.patch("/{name:path}", operation_id="update_user")
    async def update(name: NamePath, request: UserUpdate, principal: Principal = Depends(admin)) -> UserView:
        """Change a user, and so what all of its keys may do from the next request on."""
        return told(await directory.update_user(name, request.given(), actor=actor(principal)))

    @router.delete("/{name:path}", operation_id="remove_user")
    async def remove(name: NamePath, principal: Principal = Depends(admin)) -> UserView:
        """Remove a user that has no live keys."""
        return told(await directory.remove_user(name, actor=actor(principal)))

    @router.post("/{name:path}/restore", operation_id="restore_user")
    async def restore(name: NamePath, principal: Principal = Depends(admin)) -> UserView:
        """Bring back a user that was removed, with everything that was set for it."""
        return told(await directory.restore_user(name, actor=actor(principal)))

    return router
