"""``tollway ledger reconcile``, which needs to know the adapters that the composition root has."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ledger import cli as reports
from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import LedgerError, ReportUnreadable
from ledger.journal.reconcile import Question, Reconciliation, merged
from proxy import app
from proxy.api.reconcile import ReconcileRequest
from proxy.commands.console import ConfigOption, fail, home, load
from proxy.commands.server import ask

APPLY_S = 600
"""A month of adjustments takes its time."""


def reconcile(
    provider: Annotated[str, typer.Option(help="The provider, as the configuration calls it.")],
    report: Annotated[
        list[Path], typer.Option(help="A file that the provider exported; repeatable: its pages, usage and costs.")
    ],
    layout: Annotated[
        str | None, typer.Option("--format", help=f"The files' layout: {', '.join(app.REPORTS)}. Default: the provider's.")
    ] = None,
    account: Annotated[str, typer.Option(help="Of our side, this account alone.")] = "",
    owner: Annotated[str, typer.Option(help="Of the report, this project, workspace or key alone (its id).")] = "",
    tolerance: Annotated[float, typer.Option(min=0, max=100, help="Percent that the two may differ by.")] = 0.1,
    apply: Annotated[bool, typer.Option("--apply", help="Book adjustments that make our costs the report's.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
    config_file: ConfigOption = None,
) -> None:
    """Compare a provider's usage or cost report with the journal.  Exits 1 if they do not match."""
    read = app.REPORTS.get(layout or provider)
    if read is None:
        fail(f"--format must be one of {', '.join(app.REPORTS)}: {layout or provider!r} is none")
    try:
        whole = merged([read(path.read_bytes()) for path in report])
    except FileNotFoundError as error:
        fail(f"there is no report at {error.filename}")
    except OSError as error:
        fail(f"the report {error.filename} cannot be read: {error.strerror}")
    except ReportUnreadable as error:
        fail(str(error))
    question = Question(provider=provider, report=whole, account=account, owner=owner, tolerance_ppm=round(tolerance * 10_000))
    found = _reconcile(config_file, ReconcileRequest(question, apply))
    typer.echo(msgspec.json.encode(found).decode() if json else reports.reconciliation_text(found).rstrip())
    if found.alert:
        sys.exit(1)


def _reconcile(config_file: Path | None, request: ReconcileRequest) -> Reconciliation:
    """Through the server if one is running on this home; here otherwise."""
    here = home()
    if here.running() is not None:
        answer = ask(config_file, "POST", "ledger/reconcile", msgspec.to_builtins(request), timeout_s=APPLY_S)
        return msgspec.convert(answer, Reconciliation)
    settings = load(config_file, {})
    if not settings.ledger.path(here.path).exists():
        fail(f"there is no ledger at {settings.ledger.path(here.path)}")

    async def work() -> Reconciliation:
        with SqliteLedger(settings.ledger.path(here.path), prices=app.price_book(settings)) as file:
            return await file.reconcile(request.question, apply=request.apply)

    try:
        return asyncio.run(work())
    except LedgerError as error:
        fail(str(error))
