"""``/admin/v1/keys``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from ledger.records import Key
from proxy.api.admin.shapes import PAGE, After, Body, Limit, OwnerSettings, OwnerView, actor, page, seconds, shared
from proxy.call import Principal
from proxy.owners.directory import GRACE_MAX_S, Directory

DAY_S = 86_400

KeyPath = Annotated[str, Path(description="The key's id or name.", max_length=256)]


class KeySettings(OwnerSettings):
    """What a key may do."""

    admin: bool = Field(default=False, description="Whether it may administer the gateway.")
    user: str = Field(default="", max_length=256, description="The user whom it belongs to; empty: nobody.")
    team: str = Field(default="", max_length=256, description="The team that it belongs to; empty: its user's.")
    endpoints: list[str] = Field(
        default_factory=list, max_length=256, description="What it may call, such as `chat/completions`; empty: everything."
    )
    priority: Literal["high", "normal", "low"] = Field(
        default="normal", description="Who goes first when there is not room for all."
    )
    disconnect: str = Field(
        default="cancel",
        max_length=32,
        description="What becomes of a stream whose client leaves: `cancel`, `drain`, or `drain:N` (at most N more tokens).",
    )
    durability: Literal["", "process", "power"] = Field(
        default="", description="What the entries of its requests outlive; empty: as `ledger.durability` says."
    )
    expires_at: int | None = Field(
        default=None, gt=0, le=253_402_300_799, description="Unix time, in seconds, from which it is refused; null: never."
    )


class KeyRequest(KeySettings):
    """A key to be made."""

    name: str = Field(description="What it is for; unique among live keys.", min_length=1, max_length=256)


class KeyUpdate(KeySettings):
    """What is to be different.  What is not sent stays as it is."""

    name: str = Field(default="", description="What it is for; unique among live keys.", min_length=1, max_length=256)


class Rotation(Body):
    """How the secret is changed."""

    grace_s: int = Field(
        default=DAY_S, ge=0, le=GRACE_MAX_S, description="For how many seconds the secret that it has now stays good."
    )


class KeyView(OwnerView):
    """A key, without what opens the gateway."""

    id: str
    last4: str = Field(description="The key's last four characters, to tell keys apart; empty where it is declared.")
    admin: bool
    user: str = Field(description="Whom it belongs to; empty: nobody.")
    endpoints: list[str]
    priority: str
    disconnect: str
    durability: str
    expires_at: int | None
    revoked_at: int | None
    previous_until: int | None = Field(description="Until when the secret before the last rotation is good as well.")


class CreatedKey(KeyView):
    """A key with its secret: the one time that it is shown."""

    key: str = Field(description="The key itself. It is not stored and cannot be shown again.")


class KeyList(BaseModel):
    """Keys; declared ones first, then the oldest."""

    data: list[KeyView]
    next: str | None = Field(description="What to send as `after` for the next page; null: that was the last.")


def routes(directory: Directory, admin: Callable[..., Principal]) -> APIRouter:
    """The routes.  admin: a dependency that lets only admins through."""
    router = APIRouter(prefix="/admin/v1/keys", tags=["admin"], dependencies=[Depends(admin)])

    def told(key: Key) -> KeyView:
        return view(key, declared=directory.is_declared("key", key.id))

    @router.post("", operation_id="create_key", status_code=201)
    async def create(request: KeyRequest, principal: Principal = Depends(admin)) -> CreatedKey:
        """Make a key.  It is shown in this answer and never again."""
        settings = request.given()
        made = await directory.create_key(settings.pop("name"), settings, actor=actor(principal))
        return CreatedKey(key=made.secret, **told(made.key).model_dump())

    @router.get("", operation_id="list_keys")
    async def listed(
        limit: Limit = PAGE,
        after: After = None,
        user: Annotated[str | None, Query(max_length=256, description="Only those of this user.")] = None,
        team: Annotated[str | None, Query(max_length=256, description="Only those of this team.")] = None,
        live: Annotated[bool, Query(description="Only those that were not revoked.")] = False,
    ) -> KeyList:
        """Every key that was ever made, and those that are declared."""
        user_name = None if user is None else directory.user(user).name
        team_name = None if team is None else directory.team(team).name
        keys = [
            key
            for key in directory.list_keys()
            if (user_name is None or key.user == user_name)
            and (team_name is None or directory.team_of(key) == team_name)
            and not (live and key.revoked_us is not None)
        ]
        shown, following = page(keys, lambda key: key.id, limit=limit, after=after)
        return KeyList(data=[told(key) for key in shown], next=following)

    @router.get("/{key:path}", operation_id="show_key")
    async def show(key: KeyPath) -> KeyView:
        """One key; by its name, if it is live."""
        return told(directory.key(key))

    @router.patch("/{key:path}", operation_id="update_key")
    async def update(key: KeyPath, request: KeyUpdate, principal: Principal = Depends(admin)) -> KeyView:
        """Change what a live key may do.  The next request with it finds the change."""
        return told(await directory.update_key(key, request.given(), actor=actor(principal)))

    @router.post("/{key:path}/rotate", operation_id="rotate_key")
    async def rotate(key: KeyPath, request: Rotation | None = None, principal: Principal = Depends(admin)) -> CreatedKey:
        """Give a live key another secret.  The one that it has now stays good for a while, one before that does not."""
        grace_s = (request or Rotation()).grace_s
        made = await directory.rotate_key(key, grace_s=grace_s, actor=actor(principal))
        return CreatedKey(key=made.secret, **told(made.key).model_dump())

    @router.delete("/{key:path}", operation_id="revoke_key")
    async def revoke(key: KeyPath, principal: Principal = Depends(admin)) -> KeyView:
        """Revoke a key.  The next request with it is refused."""
        return told(await directory.revoke_key(key, actor=actor(principal)))

    return router


def view(key: Key, *, declared: bool) -> KeyView:
    """What may be told of a key."""
    return KeyView(
        **shared(key, declared=declared),
        id=key.id,
        last4=key.last4,
        admin=key.admin,
        user=key.user,
        endpoints=list(key.endpoints),
        priority=key.priority,
        disconnect=key.disconnect,
        durability=key.durability,
        expires_at=seconds(key.expires_us),
        revoked_at=seconds(key.revoked_us),
        previous_until=seconds(key.previous_until_us),
    )
