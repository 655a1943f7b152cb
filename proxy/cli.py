"""The ``tollway`` command."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ledger import cli as reports
from ledger.errors import LedgerError
from ledger.journal.reports import fees, hours, usage
from ledger.journal.verify import verify
from ledger.prices.book import Book
from ledger.prices.compare import differences, known
from ledger.prices.days import day_us
from providers.openai.vendors import VENDORS
from proxy import app, config, logs
from proxy.commands import agents, deployments, facts, learning, pricing, sla, sources
from proxy.commands.audit import audit
from proxy.commands.budgets import budgets
from proxy.commands.console import ConfigOption
from proxy.commands.console import fail as _fail
from proxy.commands.console import home as _home
from proxy.commands.console import load as _load
from proxy.commands.keys import keys
from proxy.commands.reconcile import reconcile
from proxy.commands.route import route
from proxy.commands.server import ask_running
from proxy.commands.teams import teams
from proxy.commands.users import users
from proxy.metering import price_file
from proxy.metering.prices import subscriptions
from proxy.wiring import policies

try:
    import uvloop

    _LOOP: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
except ImportError:  # Windows has no uvloop
    _LOOP = asyncio.new_event_loop

cli = typer.Typer(
    name="tollway",
    help="A self-hosted gateway for language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cli.add_typer(keys, name="keys")
cli.add_typer(users, name="users")
cli.add_typer(teams, name="teams")
cli.add_typer(budgets, name="budgets")
cli.command(name="audit")(audit)
learning.add_to(route, policies=policies.policies, field_at=app.field_at)
cli.add_typer(route, name="route")
ledger = typer.Typer(help="The ledger's file: verify, reconcile; coding agents' usage beside it.", no_args_is_help=True)
ledger.command(name="reconcile")(reconcile)
agents.add_to(ledger)
cli.add_typer(ledger, name="ledger")
prices = typer.Typer(help="Prices: what is known of a model, and where the lists disagree.", no_args_is_help=True)
cli.add_typer(prices, name="prices")
facts.add_to(ledger, lambda config_file: app.known(_load(config_file, {}), _home()), sla.view)
sla.add_to(ledger)


class By(StrEnum):
    """What usage is summed by."""

    day = "day"
    week = "week"
    month = "month"
    key = "key"
    user = "user"
    team = "team"
    model = "model"
    provider = "provider"
    tag = "tag"


def main() -> None:
    """The command's entry point."""
    cli()


@cli.command()
def serve(
    config_file: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; else server.host.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one; else server.port.")] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    overrides = {}
    if host is not None:
        overrides["TOLLWAY_SERVER__HOST"] = host
    if port is not None:
        overrides["TOLLWAY_SERVER__PORT"] = str(port)
    settings = _load(config_file, overrides)
    logs.configure(settings.telemetry.logs.level, settings.telemetry.logs.format)
    for warning in settings.warnings:
        typer.echo(f"warning: {warning}", err=True)
    try:
        with asyncio.Runner(loop_factory=_LOOP) as runner:
            runner.run(app.serve(settings, _home(), os.environ, typer.echo))
    except (app.StartRefused, LedgerError) as error:
        _fail(str(error))


@cli.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="The YAML file.", metavar="CONFIG")] = None,
    config_file: ConfigOption = None,
) -> None:
    """Check a configuration, and say what it sets up.  Exits 1 if it would be refused."""
    if file is not None and config_file is not None:
        _fail("the configuration is named twice; give it as CONFIG or with --config")
    settings = _load(file or config_file, {})
    typer.echo(config.describe(settings))


@cli.command(name="usage")
def show_usage(
    by: Annotated[By, typer.Option(help="What to sum by.")] = By.day,
    days: Annotated[int, typer.Option(min=1, max=36500, help="How many days back, today included (UTC).")] = 30,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="CSV instead of a table; money in nano-dollars.")] = False,
    focus: Annotated[bool, typer.Option("--focus", help="CSV by hour, key and model, in the columns of FinOps FOCUS.")] = False,
    config_file: ConfigOption = None,
) -> None:
    """Requests, tokens and cost, by day, week, month, key, user, team, model, provider or tag."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since_us = round((today - timedelta(days=days - 1)).timestamp()) * 1_000_000
    settings = _load(config_file, {})
    path, flat = settings.ledger.path(_home().path), subscriptions(settings)
    try:
        if focus:
            charges = hours(path, since_us=since_us, subscriptions=flat) if path.exists() else []
            typer.echo(reports.focus_csv(charges, fees(path, flat, since_us=since_us) if charges else ()), nl=False)
            return
        rows = usage(path, by=by.value, since_us=since_us, subscriptions=flat) if path.exists() else []
    except LedgerError as error:
        _fail(str(error))
    if csv:
        typer.echo(reports.usage_csv(rows), nl=False)
        return
    typer.echo(reports.usage_json(rows).decode() if json else reports.usage_table(rows))


@ledger.command(name="verify")
def verify_ledger(
    head: Annotated[str, typer.Option(help="A head noted earlier (hexadecimal); it must still be in the chain.")] = "",
    json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
    config_file: ConfigOption = None,
) -> None:
    """Check the whole journal: its chain of hashes, and that it adds up.  Exits 1 at any fault."""

    def step(done: int, count: int) -> None:
        typer.echo(f"{done} of {count} entries", err=True)

    path = _load(config_file, {}).ledger.path(_home().path)
    try:
        found = verify(path, head=head, step=step)
    except (LedgerError, ValueError) as error:
        _fail(str(error))
    typer.echo(msgspec.json.encode(found).decode() if json else reports.verification_text(found).rstrip())
    if found.faults:
        sys.exit(1)


@cli.command(name="version")
def show_version() -> None:
    """The version."""
    typer.echo(version("tollway"))


@prices.command(name="show")
def show_prices(
    model: Annotated[str, typer.Argument(help="provider/model, or a model's name alone: at every provider.")],
    at: Annotated[str | None, typer.Option(help="The day that is asked for, such as 2026-03-01. Default: now.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config_file: ConfigOption = None,
) -> None:
    """Show every price row of a model, its source and time; the one that counts is marked.  In USD per million tokens."""
    settings = _load(config_file, {})
    # What runs on this machine has every name and costs nothing; it is shown where it is asked for.
    paid = [it for it in _providers(settings) if model.startswith(f"{it}/") or it not in VENDORS or not VENDORS[it].free]
    rows = known(_book(settings), model, paid, at_us=_moment(at))
    if not rows:
        _fail(f"no price is known for {model!r}; 'ledger.prices' in the configuration can give it one")
    typer.echo(reports.prices_json(rows) if json else reports.prices_text(rows), nl=False)


@prices.command(name="diff")
def diff_prices(
    provider: Annotated[str | None, typer.Option(help="Only this provider.")] = None,
    at: Annotated[str | None, typer.Option(help="The day that is asked for, such as 2026-03-01. Default: now.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config_file: ConfigOption = None,
) -> None:
    """Show where the configuration and the price lists disagree.  In USD per million tokens."""
    settings = _load(config_file, {})
    providers = _providers(settings)
    if provider is not None and provider not in providers:
        _fail(f"there is no provider {provider!r}; there are: {', '.join(providers)}")
    found = list(differences(_book(settings), [provider] if provider else providers, at_us=_moment(at)))
    typer.echo(reports.differences_json(found) if json else reports.differences_text(found), nl=False)


def _book(settings: config.Config) -> Book:
    try:
        return app.price_book(price_file.with_file(settings, _home().path))
    except (LedgerError, price_file.PriceFileRefused) as error:
        _fail(str(error))


def _providers(settings: config.Config) -> list[str]:
    return sorted({*VENDORS, *settings.providers})


def _moment(day: str | None) -> int:
    if day is None:
        return time.time_ns() // 1000
    at_us = day_us(day)
    if at_us is None:
        _fail(f"{day!r} is no day; one is written 2026-03-01")
    return at_us


cli.add_typer(deployments.commands(ask_running), name="deployments")
sources.add(ledger, load=_load, home=_home, fail=_fail)
pricing.add(ledger, load=_load, home=_home, book=app.price_book, providers=_providers, fail=_fail)
