"""``tollway teams``."""

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
    TokensOption,
    UnsetOption,
    given,
)

teams = group("Teams: whom users and keys belong to.")

NameArgument = Annotated[str, typer.Argument(help="The team's name.")]


@teams.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is known by for ever; no other team may ever have it.")],
    model: ModelOption = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    concurrent: ConcurrentOption = None,
    metadata: MetadataOption = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Make a team.  What is set for it holds for all of its keys together."""
    body = given(
        name=name,
        models=model,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent=concurrent,
        metadata=metadata,
    )
    row = ask(config_file, "POST", "teams", body)
    if json:
        show_json(row)
    else:
        typer.echo(f"made the team {row['name']}")


@teams.command(name="list")
def list_teams(json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Every team that is there, declared ones too."""
    rows = list(every(config_file, "teams"))
    if json:
        show_json(rows)
        return
    show_table(
        ("NAME", "MODELS", "RATES", "CREATED", "STATE"),
        [
            (
                row["name"],
                ", ".join(row["models"]) or "all",
                rates(row),
                date(row["created_at"]),
                "declared" if row["declared"] else "",
            )
            for row in rows
        ],
    )


@teams.command()
def show(name: NameArgument, config_file: ConfigOption = None) -> None:
    """Everything that is set for a team, as JSON."""
    show_json(ask(config_file, "GET", place("teams", name)))


@teams.command()
def update(
    name: NameArgument,
    model: ModelOption = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    concurrent: ConcurrentOption = None,
    metadata: MetadataOption = None,
    unset: UnsetOption = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Change a team, and so what its keys may do from the next request on; what is not given stays."""
    body = given(
        models=model,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent=concurrent,
        metadata=metadata,
        unset=unset,
    )
    if not body:
        fail("nothing to change was given; see --help")
    row = ask(config_file, "PATCH", place("teams", name), body)
    if json:
        show_json(row)
    else:
        typer.echo(f"changed the team {row['name']}")


@teams.command()
def remove(name: NameArgument, json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Remove a team that has no live keys and no users.  Its name is not given to another."""
    row = ask(config_file, "DELETE", place("teams", name))
    if json:
        show_json(row)
    else:
        typer.echo(f"removed the team {row['name']}")


@teams.command()
def restore(name: NameArgument, json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Bring back a team that was removed."""
    row = ask(config_file, "POST", place("teams", name, "restore"))
    if json:
        show_json(row)
    else:
        typer.echo(f"restored the team {row['name']}")
