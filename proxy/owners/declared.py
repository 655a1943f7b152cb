"""What the configuration declares of keys, users and teams, as the directory holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ledger.records import Key, Owned, Team, User
from proxy.config import Config, TeamConfig
from proxy.config.grants import metadata_text


def declared(config: Config, digest: Callable[[str], bytes]) -> Owned:
    """The declared ones, which are as old as time.  digest: what is kept of a secret."""
    return Owned(
        keys=tuple(
            Key(
                id=name,
                name=name,
                digest=digest(it.key.get_secret_value()),
                last4="",
                admin=it.admin,
                endpoints=it.endpoints,
                user=it.user,
                team=it.team,
                priority=it.priority,
                disconnect=it.disconnect,
                durability=it.durability or "",
                created_us=0,
                **_shared(it),
            )
            for name, it in config.keys.items()
            if it.key is not None
        ),
        users=tuple(User(name=name, team=it.team, created_us=0, **_shared(it)) for name, it in config.users.items()),
        teams=tuple(Team(name=name, created_us=0, **_shared(it)) for name, it in config.teams.items()),
    )


def _shared(it: TeamConfig) -> dict[str, Any]:
    """What keys, users and teams have in common."""
    return {
        "models": it.models,
        "requests_per_minute": it.requests_per_minute,
        "tokens_per_minute": it.tokens_per_minute,
        "concurrent": it.concurrent,
        "metadata": metadata_text(it.metadata),
    }
