"""``tollway audit``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from proxy.commands.console import ConfigOption, JsonOption, show_json, show_table
from proxy.commands.server import ask


class Kind(StrEnum):
    """What is changed."""

    key = "key"
    user = "user"
    team = "team"
    budget = "budget"


def audit(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    before: Annotated[int | None, typer.Option(min=0, help="Only those before this number.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only changes of these.")] = None,
    object: Annotated[str | None, typer.Option(help="Only changes of the one of this id.")] = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Who changed which key, user, team or budget, when, and how; the latest first."""
    query = {"limit": limit, "before": before, "kind": kind, "object": object}
    rows = ask(config_file, "GET", "audit", query=query)["data"]
    if json:
        show_json(rows)
        return
    show_table(
        ("#", "WHEN (UTC)", "WHO", "WHAT", "OBJECT", "CHANGE"),
        [
            (
                str(row["id"]),
                row["at"][:19].replace("T", " "),
                row["actor"],
                f"{row['action']} {row['kind']}",
                row["name"] if row["name"] == row["object"] else f"{row['name']} ({row['object']})",
                _difference(row["before"], row["after"]),
            )
            for row in rows
        ],
    )


def _difference(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    """``models: [] -> ['openai/*']``; nothing for what was made or is gone."""
    if before is None or after is None:
        return ""
    return "; ".join(f"{name}: {before[name]} -> {after[name]}" for name in after if before.get(name) != after[name])
