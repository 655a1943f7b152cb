"""``tollway users``."""

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
    TeamOption,
    TokensOption,
    UnsetOption,
    given,
)

users = owners("user", "Users: whom keys belong to.", empty="live keys")

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
    tell(row, f"made the user {row['name']}", json=json)


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
    tell(row, f"changed the user {row['name']}", json=json)
