"""``tollway budgets``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from proxy.commands.console import ConfigOption, JsonOption, fail, group, show_json, show_table
from proxy.commands.server import ask, every, place

budgets = group("Budgets: how much a key, a user, a team or everybody may use in a period.")


class Period(StrEnum):
    """When a budget begins anew (UTC)."""

    day = "day"
    week = "week"
    month = "month"
    total = "total"


@budgets.command(name="set")
def set_budget(
    scope: Annotated[str, typer.Argument(help="key:ID (or its name), user:NAME, team:NAME, or global.")],
    usd: Annotated[str | None, typer.Option(help="US dollars, such as 12.50.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens, in and out.")] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="Requests.")] = None,
    period: Annotated[Period, typer.Option(help="When it begins anew (UTC); a week on Monday, a total never.")] = Period.month,
    warn_percent: Annotated[
        int | None, typer.Option(min=0, max=100, help="From how much of it on callers are warned; 0: never.  Default: 80.")
    ] = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Set a budget: there is one for each scope, unit and period, and what is given here is what it is."""
    amounts: dict[str, Any] = {"usd": usd, "tokens": tokens, "requests": requests}
    body = {unit: amount for unit, amount in amounts.items() if amount is not None}
    if len(body) != 1:
        fail("a budget has one of --usd, --tokens and --requests")
    (unit,) = body
    if warn_percent is not None:
        body["warn_percent"] = warn_percent or None
    same = [it for it in _of(config_file, scope) if (it["unit"], it["period"]) == (unit, period)]
    if same:
        row = ask(config_file, "PATCH", place("budgets", same[0]["id"]), body)
    else:
        row = ask(config_file, "POST", "budgets", {"scope": scope, "period": period, **body})
    if json:
        show_json(row)
    else:
        typer.echo(f"{row['id']}: {row['scope']} has {_amount(row)} {_per(row)}")


@budgets.command(name="list")
def list_budgets(
    scope: Annotated[str | None, typer.Option(help="Only those of this scope.")] = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Every budget that is set, and how it stands."""
    rows = _of(config_file, scope)
    if json:
        show_json(rows)
        return
    show_table(
        ("ID", "SCOPE", "LIMIT", "PERIOD", "WARN", "USED", "RESERVED"),
        [
            (
                row["id"],
                row["scope"],
                _amount(row),
                row["period"],
                f"{row['warn_percent']} %" if row["warn_percent"] else "",
                _used(row, "settled"),
                _used(row, "reserved"),
            )
            for row in rows
        ],
    )


@budgets.command()
def remove(
    budget: Annotated[str, typer.Argument(help="The budget's id.")],
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Remove a budget."""
    row = ask(config_file, "DELETE", place("budgets", budget))
    if json:
        show_json(row)
    else:
        typer.echo(f"removed {row['id']}: {row['scope']} had {_amount(row)} {_per(row)}")


def _of(config_file: Any, scope: str | None) -> list[dict[str, Any]]:
    return list(every(config_file, "budgets", {"scope": scope}))


def _amount(row: dict[str, Any]) -> str:
    return f"${row['usd']}" if row["unit"] == "usd" else f"{row['limit']} {row['unit']}"


def _per(row: dict[str, Any]) -> str:
    return "in total" if row["period"] == "total" else f"a {row['period']}"


def _used(row: dict[str, Any], what: str) -> str:
    if row["standing"] is None:
        return ""
    used: int = row["standing"][what]
    return f"{used * 100 // row['limit']} %"
