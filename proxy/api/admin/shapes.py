"""What the bodies of the routes have in common.  A field that is not listed is refused, and so is a value of another type."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from ledger.records import Key, Team, User
from proxy.call import Principal
from proxy.config.grants import metadata_text
from proxy.errors import InvalidRequest
from proxy.owners.directory import Actor
from proxy.owners.rules import RATES

PAGE: Final = 100
PAGE_MAX: Final = 1000

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="How many at most.")]
After = Annotated[str | None, Query(max_length=256, description="`next` of the page before.")]
Rate = Annotated[int | None, Field(ge=1, le=10**12)]
T = TypeVar("T")


class Body(BaseModel):
    """Something that a client sends."""

    model_config = ConfigDict(extra="forbid", strict=True)

    def given(self) -> dict[str, Any]:
        """The fields that were sent, as the directory's records have them."""
        fields = self.model_dump(exclude_unset=True)
        for name in ("models", "endpoints"):
            if name in fields:
                fields[name] = tuple(fields[name])
        if "metadata" in fields:
            fields["metadata"] = metadata_text(fields["metadata"])
        if "expires_at" in fields:
            expires_s = fields.pop("expires_at")
            fields["expires_us"] = None if expires_s is None else expires_s * 1_000_000
        return fields


class OwnerSettings(Body):
    """What can be set of a key, a user and a team.  In an update, what is not sent stays as it is."""

    models: list[str] = Field(
        default_factory=list,
        max_length=256,
        description="Patterns of the models it may use, such as `openai/*`; empty: all. Those of a key, its user and its "
        "team each have to allow a model.",
    )
    requests_per_minute: Rate = Field(default=None, description="Requests a minute; null: no limit.")
    tokens_per_minute: Rate = Field(default=None, description="Tokens a minute; null: no limit.")
    concurrent: Rate = Field(default=None, description="Requests under way at once; null: no limit.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Any JSON object, of at most 4096 bytes.")


class OwnerView(BaseModel):
    """What a key, a user and a team have in common."""

    name: str
    team: str = Field(description="Whom it belongs to; empty: nobody.")
    models: list[str]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrent: int | None
    metadata: dict[str, Any]
    created_at: int | None = Field(description="Unix time, in seconds; null where it is only declared.")
    declared: bool = Field(description="Whether the configuration declares it, so that it is changed there.")


def shared(it: Key | User | Team, *, declared: bool) -> dict[str, Any]:
    """The fields of an OwnerView."""
    return {
        "name": it.name,
        "team": "" if isinstance(it, Team) else it.team,
        "models": list(it.models),
        **{name: getattr(it, name) for name in RATES},
        "metadata": json.loads(it.metadata),
        "created_at": seconds(it.created_us or None),
        "declared": declared,
    }


def seconds(at_us: int | None) -> int | None:
    """Unix time in seconds of one in microseconds."""
    return None if at_us is None else at_us // 1_000_000


def actor(principal: Principal) -> Actor:
    """Whom the audit log names."""
    return Actor(principal.key_id, principal.name)


def page(items: Sequence[T], name: Callable[[T], str], *, limit: int, after: str | None) -> tuple[Sequence[T], str | None]:
    """A page of these, and what the next one begins after, if there is one.  Raises: InvalidRequest."""
    start = 0
    if after is not None:
        found = next((number for number, it in enumerate(items) if name(it) == after), None)
        if found is None:
            raise InvalidRequest("'after' is nothing that was listed.", param="after")
        start = found + 1
    shown = items[start : start + limit]
    return shown, name(shown[-1]) if shown and start + limit < len(items) else None
