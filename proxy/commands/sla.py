"""``tollway ledger sla``: how providers keep to what was agreed; and what was measured, for the commands that show it."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from typing import Annotated

import msgspec
import typer

from ledger.catalogue.identity import Resolver
from ledger.live import LiveMetrics, LiveView, Window
from ledger.live.sla import Report, Service, Targets, report, services
from proxy.commands.console import fail, home
from proxy.commands.server import fetched
from proxy.facts.live import FILE, view_of

_HEADS = (
    *("PROVIDER", "TRIES", "SUCCESS", "AVAILABLE", "429", "5XX", "TIMEOUT", "REFUSED", "TTFT P50", "P90", "P99"),
    *("E2E P50", "P95", "TOK/S"),
)


class Span(StrEnum):
    """How far back a report looks."""

    five_minutes = "5m"
    hour = "1h"
    day = "24h"
    week = "7d"


class Layout(StrEnum):
    """How a report is shown."""

    table = "table"
    markdown = "markdown"
    json = "json"


def add_to(ledger: typer.Typer) -> None:
    """Add the command to ``tollway ledger``."""
    ledger.command(name="sla")(sla)


def metrics() -> LiveMetrics:
    """What the server on this home has measured; what it had kept, if none is running.  Exits with what is wrong."""
    found = LiveMetrics(time.time)
    content = fetched("/admin/v1/ledger/live")
    try:
        if content is None:
            content = (home().path / FILE).read_bytes()
        found.load(content)
    except FileNotFoundError:
        return found
    except (OSError, ValueError) as error:
        fail(f"{home().path / FILE} cannot be read: {error}")
    return found


def view(resolver: Resolver) -> LiveView:
    """The same, under the ledger's names."""
    return view_of(metrics(), resolver, time.time)


def sla(
    provider: Annotated[str | None, typer.Option(help="Only this one, as the configuration calls it.")] = None,
    window: Annotated[Span, typer.Option(help="How far back.")] = Span.day,
    min_success: Annotated[float | None, typer.Option(min=0, max=1, help="The share of tries to be answered.")] = None,
    min_availability: Annotated[
        float | None, typer.Option(min=0, max=1, help="The same without rate limits and refused keys.")
    ] = None,
    max_ttft_p90_ms: Annotated[float | None, typer.Option(min=0, help="To the first token of a stream, for 90 %.")] = None,
    max_e2e_p95_ms: Annotated[float | None, typer.Option(min=0, help="To the end of an answer, for 95 %.")] = None,
    min_tries: Annotated[int, typer.Option(min=1, help="With fewer, targets are not met.")] = 1,
    layout: Annotated[Layout, typer.Option("--format", help="How it is shown.")] = Layout.table,
) -> None:
    """How fast and how reliable each provider and offer was, by the gateway's own traffic.

    With targets it exits 1 if a provider missed one, or if there was nothing to judge by.
    """
    targets = Targets(
        success_min=min_success,
        availability_min=min_availability,
        ttft_p90_max_ms=max_ttft_p90_ms,
        e2e_p95_max_ms=max_e2e_p95_ms,
        tries_min=min_tries,
    )
    measured = metrics()
    span: Window = window.value
    found = report(
        services(measured, span, provider=provider, targets=targets),
        window=span,
        at_us=time.time_ns() // 1000,
        targets=targets,
    )
    if layout is Layout.json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        typer.echo(_markdown(found) if layout is Layout.markdown else _table(found, provider))
    if found.met is False:
        for row in found.rows:
            for missed in row.missed:
                typer.echo(f"tollway: {row.provider}: {missed}", err=True)
        if not found.rows:
            typer.echo(f"tollway: nothing was asked of {provider or 'anybody'} in the last {span}", err=True)
        sys.exit(1)


def _table(found: Report, provider: str | None) -> str:
    if not found.rows:
        return f"nothing was asked of {provider or 'anybody'} in the last {found.window}"
    lines = [_HEADS, *map(_cells, found.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    return "\n".join(
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(pairs)).rstrip()
        for line in lines
        for pairs in [list(zip(line, widths, strict=True))]
    )


def _markdown(found: Report) -> str:
    lines = [_HEADS, ("---", *("---:" for _ in _HEADS[1:])), *map(_cells, found.rows)]
    rows = (" | ".join(cell.strip().replace("|", r"\|") for cell in line) for line in lines)
    return "\n".join(f"| {row} |" for row in rows)


def _cells(row: Service) -> tuple[str, ...]:
    shares = (row.success, row.availability, row.limited_rate, row.broken_rate, row.late_rate, row.refused_rate)
    times_ms = (row.ttft_p50_ms, row.ttft_p90_ms, row.ttft_p99_ms, row.e2e_p50_ms, row.e2e_p95_ms)
    return (
        f"  {row.offer}" if row.offer else row.provider,
        f"{row.tries:,}",
        *("" if it is None else f"{it:.2%}" for it in shares),
        *("" if it is None else f"{it:,.0f} ms" for it in times_ms),
        "" if row.output_tps_p50 is None else f"{row.output_tps_p50:.1f}",
    )
