"""``/admin/v1``: keys.  Every route takes an admin's key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from ledger.records import Key
from proxy.call import Principal
from proxy.errors import InvalidRequest, NotFound
from proxy.keys import KeyRing


class KeyRequest(BaseModel):
    """What a new key may do."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="What it is for; unique among live keys.", min_length=1, max_length=128)
    admin: bool = Field(default=False, description="Whether it may administer the gateway.")
    models: list[str] = Field(
        default_factory=list,
        max_length=256,
        description="Patterns of the models it may use, such as `openai/*`; empty: all.",
    )
    expires_at: int | None = Field(default=None, gt=0, description="Unix time, in seconds, from which it is refused.")


class KeyView(BaseModel):
    """A key, without what opens the gateway."""

    id: str
    name: str
    last4: str = Field(description="The key's last four characters, to tell keys apart.")
    admin: bool
    models: list[str]
    created_at: int = Field(description="Unix time, in seconds.")
    expires_at: int | None
    revoked_at: int | None


class CreatedKey(KeyView):
    """A key that was just made: the one time that it is shown."""

    key: str = Field(description="The key itself. It is not stored and cannot be shown again.")


class KeyList(BaseModel):
    """Every key that was ever made, the oldest first."""

    data: list[KeyView]


def router(ring: KeyRing, admin: Callable[..., Principal], now_us: Callable[[], int]) -> APIRouter:
    """The routes.  admin: a dependency that lets only admins through."""
    routes = APIRouter(prefix="/admin/v1", tags=["admin"], dependencies=[Depends(admin)])

    @routes.post("/keys", operation_id="create_key", status_code=201)
    async def create(request: KeyRequest) -> CreatedKey:
        """Make a key.  It is shown in this answer and never again."""
        expires_us = request.expires_at and request.expires_at * 1_000_000
        if expires_us is not None and expires_us <= now_us():
            raise InvalidRequest("'expires_at' is in the past.", param="expires_at")
        made = await ring.create(request.name, admin=request.admin, models=request.models, expires_us=expires_us)
        return CreatedKey(key=made.secret, **view(made.key).model_dump())

    @routes.get("/keys", operation_id="list_keys")
    async def keys() -> KeyList:
        """Every key, revoked ones too."""
        return KeyList(data=[view(key) for key in ring.stored()])

    @routes.delete("/keys/{key:path}", operation_id="revoke_key")
    async def revoke(key: Annotated[str, Path(description="The key's id or name.")]) -> KeyView:
        """Revoke a key.  The next request with it is refused."""
        revoked = await ring.revoke(key)
        if revoked is None:
            raise NotFound(f"There is no live key {key!r}.", param="key")
        return view(revoked)

    return routes


def view(key: Key) -> KeyView:
    """What may be told of a key."""
    return KeyView(
        id=key.id,
        name=key.name,
        last4=key.last4,
        admin=key.admin,
        models=list(key.models),
        created_at=key.created_us // 1_000_000,
        expires_at=key.expires_us and key.expires_us // 1_000_000,
        revoked_at=key.revoked_us and key.revoked_us // 1_000_000,
    )
