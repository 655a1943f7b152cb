"""What commands have in common: the configuration they go by, tables, dates, and how they say that something is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer

from proxy import config
from proxy.disk.home import Home

CONFIG_VARIABLE = "TOLLWAY_CONFIG"
CONFIG_FILE = Path("config.yaml")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help=f"The YAML file; else ${CONFIG_VARIABLE}, else ./config.yaml, else no file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def group(help: str) -> typer.Typer:
    """A command that has others below it."""
    return typer.Typer(help=help, no_args_is_help=True)


def load(path: Path | None, overrides: dict[str, str]) -> config.Config:
    """The configuration; exits with what is wrong with it."""
    if path is None:
        named = os.environ.get(CONFIG_VARIABLE)
        path = Path(named) if named else CONFIG_FILE if CONFIG_FILE.exists() else None
    try:
        return config.load(path, {**os.environ, **overrides})
    except config.ConfigError as error:
        fail(str(error))


def home() -> Home:
    """This installation's folder."""
    return Home(config.home(os.environ))


def fail(message: str) -> NoReturn:
    """Say what is wrong and exit with 1."""
    typer.echo(f"tollway: {message}", err=True)
    sys.exit(1)


def show_json(value: Any) -> None:
    """Print a value for programs."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def tell(row: Any, sentence: str, *, json: bool) -> None:
    """Print what became of something: for programs the whole of it, for people a sentence."""
    if json:
        show_json(row)
    else:
        typer.echo(sentence)


def show_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns."""
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def date(at_s: int | None) -> str:
    """A day in UTC; nothing for none."""
    return "" if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d")


def rates(row: dict[str, Any]) -> str:
    """How fast something may go: ``60 rpm, 10000 tpm, 4 at once``."""
    units = (("requests_per_minute", "rpm"), ("tokens_per_minute", "tpm"), ("concurrent", "at once"))
    return ", ".join(f"{row[field]} {unit}" for field, unit in units if row[field] is not None)
