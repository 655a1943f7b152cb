"""``tollway keys``."""

from __future__ import annotations

import re
import time
from enum import StrEnum
from json import dumps
from typing import Annotated, Any

import typer

from proxy.commands.console import ConfigOption, JsonOption, date, fail, group, rates, show_json, show_table, tell
from proxy.commands.server import ask, every, place
from proxy.commands.settings import (
    ConcurrentOption,
    MetadataOption,
    ModelOption,
    RequestsOption,
    TeamOption,
    TokensOption,
    UnsetOption,
    given,
)

DAY_S = 86_400
_SPAN = re.compile(r"(\d{1,9})([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": DAY_S}

keys = group("API keys: make, show, change, rotate, revoke.")


class Priority(StrEnum):
    """Who goes first when there is not room for all."""

    high = "high"
    normal = "normal"
    low = "low"


class Durability(StrEnum):
    """What the entries of a key's requests outlive."""

    process = "process"
    power = "power"


KeyArgument = Annotated[str, typer.Argument(help="The key's id or name.")]
EndpointOption = Annotated[
    list[str] | None, typer.Option("--endpoint", help="What it may call, such as 'chat/completions'; repeatable.")
]
UserOption = Annotated[str | None, typer.Option("--user", help="The user it belongs to.")]
PriorityOption = Annotated[Priority | None, typer.Option("--priority", help="Who goes first when there is not room for all.")]
DisconnectOption = Annotated[
    str | None, typer.Option("--disconnect", help="When the client leaves a stream: cancel, drain, or drain:N tokens.")
]
DurabilityOption = Annotated[
    Durability | None, typer.Option("--durability", help="What its entries outlive; else as ledger.durability.")
]
ExpiresOption = Annotated[
    int | None, typer.Option("--expires-days", min=1, max=36500, help="It is refused after so many days.")
]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for; unique among live keys.")],
    admin: Annotated[bool, typer.Option("--admin", help="It may administer the gateway.")] = False,
    model: ModelOption = None,
    endpoint: EndpointOption = None,
    user: UserOption = None,
    team: TeamOption = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    concurrent: ConcurrentOption = None,
    priority: PriorityOption = None,
    disconnect: DisconnectOption = None,
    durability: DurabilityOption = None,
    metadata: MetadataOption = None,
    expires_days: ExpiresOption = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Make a key.  It is shown once."""
    body = given(
        name=name,
        admin=admin or None,
        models=model,
        endpoints=endpoint,
        user=user,
        team=team,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent=concurrent,
        priority=priority,
        disconnect=disconnect,
        durability=durability,
        metadata=metadata,
        expires_at=_expiry(expires_days),
    )
    _show_secret(ask(config_file, "POST", "keys", body), json)


@keys.command(name="list")
def list_keys(
    user: Annotated[str | None, typer.Option(help="Only those of this user.")] = None,
    team: Annotated[str | None, typer.Option(help="Only those of this team.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Only those that were not revoked.")] = False,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Every key that was ever made or is declared, without what opens the gateway."""
    rows = list(every(config_file, "keys", {"user": user, "team": team, "live": live or None}))
    if json:
        show_json(rows)
        return
    heads = ("ID", "NAME", "KEY", "ADMIN", "USER", "TEAM", "MODELS", "CREATED", "STATE")
    show_table(heads, [_line(row) for row in rows])


@keys.command()
def show(key: KeyArgument, json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Everything that is set for a key."""
    row = ask(config_file, "GET", place("keys", key))
    if json:
        show_json(row)
        return
    shown = {
        "id": row["id"],
        "name": row["name"],
        "key": _masked(row),
        "state": _state(row),
        "created": date(row["created_at"]),
        "admin": "yes" if row["admin"] else "no",
        "user": row["user"],
        "team": row["team"],
        "models": ", ".join(row["models"]) or "all",
        "endpoints": ", ".join(row["endpoints"]) or "all",
        "rates": rates(row) or "no limit",
        "priority": row["priority"],
        "disconnect": row["disconnect"],
        "durability": row["durability"] or "as ledger.durability",
        "metadata": dumps(row["metadata"]) if row["metadata"] else "",  # escaped: a terminal obeys what it is sent
    }
    for name, value in shown.items():
        typer.echo(f"{name:<11} {value}".rstrip())


@keys.command()
def update(
    key: KeyArgument,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    admin: Annotated[bool | None, typer.Option("--admin/--no-admin", help="Whether it may administer the gateway.")] = None,
    model: ModelOption = None,
    endpoint: EndpointOption = None,
    user: UserOption = None,
    team: TeamOption = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    concurrent: ConcurrentOption = None,
    priority: PriorityOption = None,
    disconnect: DisconnectOption = None,
    durability: DurabilityOption = None,
    metadata: MetadataOption = None,
    expires_days: ExpiresOption = None,
    unset: UnsetOption = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Change what a key may do, without another secret.  The next request finds the change; what is not given stays."""
    body = given(
        name=name,
        admin=admin,
        models=model,
        endpoints=endpoint,
        user=user,
        team=team,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent=concurrent,
        priority=priority,
        disconnect=disconnect,
        durability=durability,
        metadata=metadata,
        expires_at=_expiry(expires_days),
        unset=unset,
    )
    if not body:
        fail("nothing to change was given; see --help")
    row = ask(config_file, "PATCH", place("keys", key), body)
    tell(row, f"changed {row['id']} ({row['name']})", json=json)


@keys.command()
def rotate(
    key: KeyArgument,
    grace: Annotated[str, typer.Option(help="How long the secret that it has now stays good: 30m, 24h, 7d, 0.")] = "24h",
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Give a key another secret, shown once; its id and settings stay.  The one before stays good for a while."""
    _show_secret(ask(config_file, "POST", place("keys", key, "rotate"), {"grace_s": _span_s(grace)}), json)


@keys.command()
def revoke(key: KeyArgument, json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Revoke a key.  The next request with it is refused."""
    row = ask(config_file, "DELETE", place("keys", key))
    tell(row, f"revoked {row['id']} ({row['name']})", json=json)


def _show_secret(made: dict[str, Any], json: bool) -> None:
    if json:
        show_json(made)
        return
    typer.echo(made["key"])
    typer.echo(f"{made['id']} ({made['name']}); it is not stored and cannot be shown again", err=True)
    if made["previous_until"]:
        until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(made["previous_until"]))
        typer.echo(f"the secret before it is good until {until}", err=True)


def _expiry(days: int | None) -> int | None:
    return int(time.time()) + days * DAY_S if days else None


def _span_s(text: str) -> int:
    found = _SPAN.fullmatch(text)
    if found is None:
        fail(f"{text!r} is no length of time; one is written 30m, 24h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["id"],
        row["name"],
        _masked(row),
        "yes" if row["admin"] else "",
        row["user"],
        row["team"],
        ", ".join(row["models"]) or "all",
        date(row["created_at"]),
        _state(row),
    )


def _masked(row: dict[str, Any]) -> str:
    return f"tw-…{row['last4']}" if row["last4"] else ""


def _state(row: dict[str, Any]) -> str:
    if row["revoked_at"]:
        return f"revoked {date(row['revoked_at'])}"
    if row["expires_at"]:
        verb = "expired" if row["expires_at"] <= time.time() else "expires"
        return f"{verb} {date(row['expires_at'])}"
    return "declared" if row["declared"] else "live"
