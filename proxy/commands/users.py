"""``tollway users``."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.commands.console import ConfigOption, JsonOption, date, fail, group, rates, show_json, show_table
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

users = group("Users: whom keys belong to.")

NameArgument = Annotated[str, typer.Argument(help="The user's name.")]


@users.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is known by for ever; no other user may ever have it.")],
    team: TeamOption = None,
    model: ModelOption = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    concurrent: ConcurrentOption = None,
    metadata: MetadataOption = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Make a user.  What is set for it holds for all of its keys together."""
    body = given(
        name=name,
        team=team,
        models=model,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent=concurrent,
        metadata=metadata,
    )
    row = ask(config_file, "POST", "users", body)
    if json:
        show_json(row)
    else:
        typer.echo(f"made the user {row['name']}")


@users.command(name="list")
def list_users(
    team: Annotated[str | None, typer.Option(help="Only those of this team.")] = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Every user that is there, declared ones too."""
    rows = list(every(config_file, "users", {"team": team}))
    if json:
        show_json(rows)
        return
    show_table(
        ("NAME", "TEAM", "MODELS", "RATES", "CREATED", "STATE"),
        [
            (
                row["name"],
                row["team"],
                ", ".join(row["models"]) or "all",
                rates(row),
                date(row["created_at"]),
                "declared" if row["declared"] else "",
            )
            for row in rows
        ],
    )


@users.command()
def show(name: NameArgument, config_file: ConfigOption = None) -> None:
    """Everything that is set for a user, as JSON."""
    show_json(ask(config_file, "GET", place("users", name)))


@users.command()
def update(
    name: NameArgument,
    team: TeamOption = None,
    model: ModelOption = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    concurrent: ConcurrentOption = None,
    metadata: MetadataOption = None,
    unset: UnsetOption = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Change a user, and so what its keys may do from the next request on; what is not given stays."""
    body = given(
        team=team,
        models=model,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent=concurrent,
        metadata=metadata,
        unset=unset,
    )
    if not body:
        fail("nothing to change was given; see --help")
    row = ask(config_file, "PATCH", place("users", name), body)
    if json:
        show_json(row)
    else:
        typer.echo(f"changed the user {row['name']}")


@users.command()
def remove(name: NameArgument, json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Remove a user that has no live keys.  Its name is not given to another."""
    row = ask(config_file, "DELETE", place("users", name))
    if json:
        show_json(row)
    else:
        typer.echo(f"removed the user {row['name']}")


@users.command()
def restore(name: NameArgument, json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Bring back a user that was removed."""
    row = ask(config_file, "POST", place("users", name, "restore"))
    if json:
        show_json(row)
    else:
        typer.echo(f"restored the user {row['name']}")
