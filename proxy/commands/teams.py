"""``tollway teams``."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.commands.console import ConfigOption, JsonOption, date, fail, rates, show_json, show_table, tell
from proxy.commands.owners import owners
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

teams = owners("team", "Teams: whom users and keys belong to.", empty="live keys and no users")

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
    tell(row, f"made the team {row['name']}", json=json)


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
    tell(row, f"changed the team {row['name']}", json=json)
