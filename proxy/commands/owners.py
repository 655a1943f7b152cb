"""What can be done to a user and to a team alike."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.commands.console import ConfigOption, JsonOption, group, show_json, tell
from proxy.commands.server import ask, place

NameArgument = Annotated[str, typer.Argument(help="Its name.")]


def owners(kind: str, help: str, *, empty: str) -> typer.Typer:
    """The commands of a kind of owner: ``show``, ``remove`` and ``restore``, and room for its own.

    empty: what one must not have any more when it is removed.
    """
    commands = group(help)

    @commands.command(help=f"Everything that is set for a {kind}, as JSON.")
    def show(name: NameArgument, config_file: ConfigOption = None) -> None:
        show_json(ask(config_file, "GET", place(f"{kind}s", name)))

    @commands.command(help=f"Remove a {kind} that has no {empty}.  Its name is not given to another.")
    def remove(name: NameArgument, json: JsonOption = False, config_file: ConfigOption = None) -> None:
        row = ask(config_file, "DELETE", place(f"{kind}s", name))
        tell(row, f"removed the {kind} {row['name']}", json=json)

    @commands.command(help=f"Bring back a {kind} that was removed.")
    def restore(name: NameArgument, json: JsonOption = False, config_file: ConfigOption = None) -> None:
        row = ask(config_file, "POST", place(f"{kind}s", name, "restore"))
        tell(row, f"restored the {kind} {row['name']}", json=json)

    return commands
