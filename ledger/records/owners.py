"""Whom requests belong to, and what they may spend: keys, users, teams, budgets, and who changed them."""

from __future__ import annotations

from typing import Literal

import msgspec

BudgetUnit = Literal["usd", "tokens", "requests"]
"""What a budget counts: nano-USD; tokens, in and out; requests that were sent to a provider."""


BudgetPeriod = Literal["day", "week", "month", "total"]
"""For how long a budget's limit is: a day, an ISO week or a month, all of UTC; or for ever."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as it is stored: an HMAC, never the key.

    models: glob patterns; empty: every model.  endpoints: what it may call; empty: everything.  user, team: whom it belongs
    to; empty: nobody in particular.  metadata: a JSON object, as text.
    previous_digest: the secret before the last rotation; it is as good as the present one until ``previous_until_us``.
    """

    id: str
    name: str
    digest: bytes
    last4: str
    admin: bool
    models: tuple[str, ...]
    created_us: int
    expires_us: int | None = None
    revoked_us: int | None = None
    user: str = ""
    team: str = ""
    endpoints: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    priority: str = "normal"
    disconnect: str = "cancel"
    durability: str = ""
    metadata: str = "{}"
    previous_digest: bytes = b""
    previous_until_us: int | None = None


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """Whom users and keys belong to.  Its name is what it is known by for ever: no other team will ever have it.

    models: glob patterns of what its keys may use, besides their own; empty: everything.  metadata: a JSON object, as text.
    """

    name: str
    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    metadata: str = "{}"
    created_us: int
    removed_us: int | None = None


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Whom keys belong to.  team: whom the user belongs to; empty: no team.  Everything else as for a team."""

    name: str
    team: str = ""
    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    metadata: str = "{}"
    created_us: int
    removed_us: int | None = None


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a unit may be used in a period.

    scope: ``key:ID``, ``user:NAME``, ``team:NAME`` or ``global``.  limit: nano-USD, or a count.
    warn_percent: from how much of it on callers are warned; ``None``: never.
    """

    id: str
    scope: str
    unit: BudgetUnit
    period: BudgetPeriod
    limit: int
    warn_percent: int | None = 80


Kind = Literal["key", "team", "user", "budget"]
"""What the directory holds."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit log: who changed what.

    id: rises; 0 before it is written.  actor_id, actor: the id and name of the key that was used.  object: the id of what
    was changed, name: what it was called then.  before, after: JSON objects without secrets; ``None``: there was nothing.
    """

    id: int = 0
    at_us: int
    actor_id: str
    actor: str
    action: str
    kind: Kind
    object: str
    name: str
    before: str | None
    after: str | None


class Owned(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is stored of keys, teams, users and budgets; revoked and removed ones too, the oldest first."""

    keys: tuple[Key, ...] = ()
    teams: tuple[Team, ...] = ()
    users: tuple[User, ...] = ()
    budgets: tuple[Budget, ...] = ()


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What one key's requests of one day (UTC, since the epoch) came to, as far as they were sent to a provider; of
    each user and team that it belonged to on that day apart.

    cost_nusd: the sum of the known costs, adjustments included.  tokens: in and out.
    """

    day: int
    key_id: str
    user: str
    team: str
    cost_nusd: int
    tokens: int
    requests: int
