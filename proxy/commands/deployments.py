"""``tollway deployments``: ask the running server how each deployment is doing, and have it forget what is held against it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import typer

Ask = Callable[[str, str, Any], Any]
"""Asks the running server: method, path, body; its answer.  Ends the command with a sentence if there is none."""


def commands(ask: Ask) -> typer.Typer:
    """The sub-commands."""
    group = typer.Typer(help="Deployments of the running server: list, reset.", no_args_is_help=True)

    @group.command(name="list")
    def show(json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False) -> None:
        """How each deployment is doing that was asked lately."""
        rows = ask("GET", "/admin/v1/deployments", None)["data"]
        typer.echo(msgspec.json.encode(rows).decode() if json else table(rows))

    @group.command()
    def reset(
        name: Annotated[
            str, typer.Argument(help="provider, provider@account, provider/model or provider/model@account; else all.")
        ] = "",
    ) -> None:
        """Ask them again at once, whatever is held against them."""
        done = ask("POST", "/admin/v1/deployments/reset", {"name": name})["reset"]
        typer.echo(f"{done} reset" if done else "nothing was held against any of them")

    return group


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people, those first that are not asked."""
    lines = [("DEPLOYMENT", "STATE", "READY IN", "REASON", "IN FLIGHT", "TTFB", "STREAM TTFB", "ERRORS", "TODAY")]
    lines += [
        (
            row["name"],
            row["state"],
            f"{row['ready_in_s']:.0f} s" if row["ready_in_s"] else "",
            row["reason"],
            str(row["in_flight"]),
            _millis(row["ttfb_ms"]),
            _millis(row["stream_ttfb_ms"]),
            f"{row['error_percent']:.0f} %",
            "" if row["spent_today_usd"] is None else f"${row['spent_today_usd']:.2f}",
        )
        for row in sorted(rows, key=lambda row: (row["state"] == "closed", row["name"]))
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def _millis(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"
