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
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import httpx
import msgspec
import typer

from ledger import cli as reports
from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import LedgerError, LedgerLocked
from ledger.journal.reports import hours, usage
from ledger.journal.verify import verify
from ledger.prices.book import Book
from ledger.prices.compare import differences, known
from ledger.prices.days import day_us
from providers.openai.vendors import VENDORS
from proxy import app, config, logs, price_file, pricing_cli, sources_cli
from proxy.api import admin as admin_api
from proxy.errors import ProxyError
from proxy.home import Home, Running
from proxy.keys import KeyRing

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
keys = typer.Typer(help="API keys: make, list, revoke.", no_args_is_help=True)
cli.add_typer(keys, name="keys")
ledger = typer.Typer(help="The ledger's file: verify.", no_args_is_help=True)
cli.add_typer(ledger, name="ledger")
prices = typer.Typer(help="Prices: what is known of a model, and where the lists disagree.", no_args_is_help=True)
cli.add_typer(prices, name="prices")

CONFIG_VARIABLE = "TOLLWAY_CONFIG"
CONFIG_FILE = Path("config.yaml")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help=f"The YAML file; else ${CONFIG_VARIABLE}, else ./config.yaml, else no file."),
]


class By(StrEnum):
    """What usage is summed by."""

    day = "day"
    week = "week"
    month = "month"
    key = "key"
    model = "model"
    provider = "provider"


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
def check(config_file: Annotated[Path, typer.Argument(help="The YAML file.", metavar="CONFIG")]) -> None:
    """Check a configuration, and say what it sets up.  Exits 1 if it would be refused."""
    settings = _load(config_file, {})
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
    """Requests, tokens and cost, by day, week, month, key, model or provider."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since_us = round((today - timedelta(days=days - 1)).timestamp()) * 1_000_000
    path = _load(config_file, {}).ledger.path(_home().path)
    try:
        if focus:
            typer.echo(reports.focus_csv(hours(path, since_us=since_us) if path.exists() else []), nl=False)
            return
        rows = usage(path, by=by.value, since_us=since_us) if path.exists() else []
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


@keys.command(name="create")
def create_key(
    name: Annotated[str, typer.Argument(help="What it is for; unique among live keys.")],
    admin: Annotated[bool, typer.Option("--admin", help="It may administer the gateway.")] = False,
    model: Annotated[
        list[str] | None, typer.Option(help="A pattern of models it may use, such as 'openai/*'; repeatable.")
    ] = None,
    expires_days: Annotated[int | None, typer.Option(min=1, max=36500, help="It is refused after so many days.")] = None,
    config_file: ConfigOption = None,
) -> None:
    """Make a key.  It is shown once."""
    expires_s = int(time.time()) + expires_days * 86_400 if expires_days else None

    async def here(ring: KeyRing) -> Any:
        made = await ring.create(name, admin=admin, models=model or (), expires_us=expires_s and expires_s * 1_000_000)
        return {"id": made.key.id, "key": made.secret}

    body = {"name": name, "admin": admin, "models": model or [], "expires_at": expires_s}
    made = _on_keys(config_file, here, "POST", "/admin/v1/keys", body)
    typer.echo(made["key"])
    typer.echo(f"{made['id']} ({name}); it is not stored and cannot be shown again", err=True)


@keys.command(name="list")
def list_keys(
    json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
    config_file: ConfigOption = None,
) -> None:
    """Every key that was ever made, without what opens the gateway."""

    async def here(ring: KeyRing) -> Any:
        return {"data": [admin_api.view(key).model_dump() for key in ring.stored()]}

    rows = _on_keys(config_file, here, "GET", "/admin/v1/keys", None)["data"]
    if json:
        typer.echo(msgspec.json.encode(rows).decode())
        return
    lines = [("ID", "NAME", "KEY", "ADMIN", "MODELS", "CREATED", "STATE")]
    lines += [
        (
            row["id"],
            row["name"],
            f"tw-…{row['last4']}",
            "yes" if row["admin"] else "",
            ", ".join(row["models"]) or "all",
            _date(row["created_at"]),
            _state(row),
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@keys.command(name="revoke")
def revoke_key(key: Annotated[str, typer.Argument(help="The key's id or name.")], config_file: ConfigOption = None) -> None:
    """Revoke a key.  The next request with it is refused."""

    async def here(ring: KeyRing) -> Any:
        revoked = await ring.revoke(key)
        if revoked is None:
            _fail(f"there is no live key {key!r}")
        return {"id": revoked.id, "name": revoked.name}

    revoked = _on_keys(config_file, here, "DELETE", f"/admin/v1/keys/{quote(key, safe='')}", None)
    typer.echo(f"revoked {revoked['id']} ({revoked['name']})")


def _on_keys(config_file: Path | None, here: Callable[[KeyRing], Any], method: str, path: str, body: Any) -> Any:
    """Do it through the server if one is running on this home, since only one process writes; here otherwise."""
    home = _home()
    running = home.running()
    if running is not None:
        return _ask(running, method, path, body)
    settings = _load(config_file, {})

    async def work() -> Any:
        home.make()
        with SqliteLedger(settings.ledger.path(home.path)) as file:
            ring = KeyRing(home.pepper(), file, lambda: time.time_ns() // 1000)
            await ring.load()
            return await here(ring)

    try:
        return asyncio.run(work())
    except LedgerLocked as error:
        _fail(f"{error} (and it does not say where it listens: try again in a moment)")
    except ProxyError as error:
        _fail(error.message)
    except (LedgerError, OSError, ValueError) as error:
        _fail(str(error))


def _ask(running: Running, method: str, path: str, body: Any) -> Any:
    try:
        answer = httpx.request(
            method,
            running.url + path,
            json=body,
            headers={"authorization": f"Bearer {running.token}"},
            timeout=10,
            trust_env=False,
        )
        content = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        _fail(f"the server at {running.url} (process {running.pid}) does not answer: {error}")
    if answer.is_error:
        _fail(content["error"]["message"])
    return content


def _load(path: Path | None, overrides: dict[str, str]) -> config.Config:
    if path is None:
        named = os.environ.get(CONFIG_VARIABLE)
        path = Path(named) if named else CONFIG_FILE if CONFIG_FILE.exists() else None
    try:
        return config.load(path, {**os.environ, **overrides})
    except config.ConfigError as error:
        _fail(str(error))


def _home() -> Home:
    return Home(config.home(os.environ))


def _date(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d")


def _state(row: dict[str, Any]) -> str:
    if row["revoked_at"]:
        return f"revoked {_date(row['revoked_at'])}"
    if row["expires_at"]:
        verb = "expired" if row["expires_at"] <= time.time() else "expires"
        return f"{verb} {_date(row['expires_at'])}"
    return "live"


def _fail(message: str) -> NoReturn:
    typer.echo(f"tollway: {message}", err=True)
    sys.exit(1)


sources_cli.add(ledger, load=_load, home=_home, fail=_fail)
pricing_cli.add(ledger, load=_load, home=_home, book=app.price_book, providers=_providers, fail=_fail)
