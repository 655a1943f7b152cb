"""``tollway ledger refresh | sources | import``: where facts about models come from."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import msgspec
import typer

from ledger.errors import LedgerError, SourceUnreadable
from ledger.refresh.forms import FORMS as FORM_NAMES
from ledger.refresh.forms import form_of
from ledger.refresh.refresher import Outcome, Refresher
from ledger.refresh.source import Source
from proxy.api import sources as api
from proxy.config import Config
from proxy.disk.home import Home, Running
from proxy.facts import sources
from proxy.facts.web import HttpxWeb

REFRESH_S = 300.0

Load = Callable[[Path | None, dict[str, str]], Config]
ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="The YAML file; as for serve.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


class _Shell:
    """What the commands need of the command line's own part."""

    def __init__(self, load: Load, home: Callable[[], Home], fail: Callable[[str], NoReturn]) -> None:
        self.load = load
        self.home = home
        self.fail = fail

    def ask(self, running: Running, method: str, path: str, **body: Any) -> Any:
        """What the server on this home answers."""
        headers = {"authorization": f"Bearer {running.token}"}
        try:
            answer = httpx.request(method, running.url + path, headers=headers, timeout=REFRESH_S, trust_env=False, **body)
            content = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            self.fail(f"the server at {running.url} (process {running.pid}) does not answer: {error}")
        if answer.is_error:
            self.fail(content["error"]["message"])
        return content

    def here(self, config_file: Path | None, work: Callable[[Refresher], Any]) -> Any:
        """Do it in this process: what is fetched is kept for the next start of the server."""
        settings, home = self.load(config_file, {}), self.home()

        async def run() -> Any:
            home.make()
            async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
                web = HttpxWeb(client, _now_us)
                return await work(sources.refresher(settings, home.path, os.environ, web, None, _now_us))

        try:
            return asyncio.run(run())
        except (LedgerError, OSError) as error:
            self.fail(str(error))


def add(ledger: typer.Typer, *, load: Load, home: Callable[[], Home], fail: Callable[[str], NoReturn]) -> None:
    """Add the commands to ``tollway ledger``."""
    shell = _Shell(load, home, fail)

    @ledger.command(name="refresh")
    def refresh(
        source: Annotated[list[str] | None, typer.Option(help="Only this source; repeatable.")] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Fetch and look, but keep nothing.")] = False,
        accept: Annotated[str, typer.Option(help="Let a payload count that was put aside; its id.")] = "",
        json: Json = False,
        config_file: ConfigFile = None,
    ) -> None:
        """Ask the sources for news now.  Exits 1 if one failed or was put aside."""
        names = [row.name for row in sources.configured(load(config_file, {}), os.environ)]
        if unknown := sorted(set(source or ()) - set(names)):
            fail(f"there is no source {unknown[0]!r}; there are: {', '.join(names)}")
        running = home().running()
        outcomes: list[api.Refreshed] = []

        def tell(shown: api.Refreshed) -> None:
            outcomes.append(shown)
            if not json:
                typer.echo(_line(shown))

        if running is not None:
            bodies = [{"accept": accept}] if accept else [{"sources": [it], "dry_run": dry_run} for it in source or names]
            for body in bodies:
                for row in shell.ask(running, "POST", "/v1/ledger/refresh", json=body)["data"]:
                    tell(api.Refreshed(**row))
        elif accept:
            accepted = shell.here(config_file, lambda refresher: refresher.accept(accept))
            if accepted is None:
                fail(f"nothing was put aside with the id {accept!r}")
            tell(api.refreshed(accepted))
        else:

            def step(outcome: Outcome) -> None:
                tell(api.refreshed(outcome))

            shell.here(config_file, lambda refresher: refresher.refresh(source or (), forced=True, dry_run=dry_run, step=step))
        if json:
            typer.echo(api.encoded(api.Refreshes(data=outcomes)))
        if any(it.status in ("failed", "put_aside") for it in outcomes):
            sys.exit(1)

    @ledger.command(name="sources")
    def show_sources(json: Json = False, config_file: ConfigFile = None) -> None:
        """Every source of facts, when it answered last, and what was put aside."""
        running = home().running()
        if running is not None:
            shown = api.Sources(**shell.ask(running, "GET", "/v1/ledger/sources"))
        else:
            rows = sources.configured(load(config_file, {}), os.environ)
            shown = shell.here(config_file, lambda refresher: _status(refresher, rows))
        typer.echo(api.encoded(shown) if json else _table(shown))

    @ledger.command(name="import")
    def take(
        files: Annotated[list[Path], typer.Argument(help="Files of a harness.", metavar="FILE...")],
        format: Annotated[str, typer.Option(help=f"Which harness: auto, {', '.join(FORM_NAMES)}.")] = "auto",
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Read them and keep nothing.")] = False,
        json: Json = False,
        config_file: ConfigFile = None,
    ) -> None:
        """Take in what harnesses measured.  Exits 1 if anything was refused."""
        if format not in ("auto", *FORM_NAMES):
            fail(f"there is no format {format!r}; there are: auto, {', '.join(FORM_NAMES)}")
        running = home().running()
        results = []
        for file in files:
            try:
                payload = file.read_bytes()
            except OSError as error:
                fail(f"{file} cannot be read: {error.strerror}")
            if running is not None:
                path = f"/v1/ledger/benchmarks?format={format}&dry_run={'true' if dry_run else 'false'}"
                result = shell.ask(running, "POST", path, content=payload)
            else:
                result = shell.here(config_file, partial(_take, format=format, payload=payload, dry_run=dry_run))
            results.append({"file": str(file), **result})
            if not json:
                typer.echo(f"{file}: {result['accepted']} accepted, {len(result['refused'])} refused ({result['format']})")
                for refusal in result["refused"]:
                    typer.echo(f"  {refusal}", err=True)
        if json:
            typer.echo(msgspec.json.format(msgspec.json.encode(results), indent=2))
        if any(result["refused"] for result in results):
            sys.exit(1)


async def _status(refresher: Refresher, rows: Sequence[Source]) -> api.Sources:
    return api.view(tuple(rows), await refresher.status(), _now_us(), background=refresher.background)


async def _take(refresher: Refresher, *, format: str, payload: bytes, dry_run: bool) -> dict[str, Any]:
    """Raises: SourceUnreadable."""
    form = form_of(payload) if format == "auto" else format
    parsed, _ = await refresher.take(form, sources.FORMS[form], payload, keep=not dry_run)
    if not parsed.readings:
        raise SourceUnreadable(f"nothing in it can be kept: {'; '.join(parsed.problems[:3])}")
    return {"format": form, "accepted": len(parsed.readings), "refused": list(parsed.problems), "dry_run": dry_run}


def _line(row: api.Refreshed) -> str:
    counts = f"{row.rows} models, {row.readings} readings, {row.prices} prices" if row.rows else ""
    left_out = f"{len(row.problems)} left out" if row.problems else ""
    told = "; ".join(filter(None, (counts, left_out, row.detail)))
    return f"{row.source}: {row.status.replace('_', ' ')}{f' ({told})' if told else ''}"


def _table(shown: api.Sources) -> str:
    lines = [("SOURCE", "EVERY", "TODAY", "ANSWERED", "STATE")]
    for row in shown.data:
        state = row.why_not or (f"{row.problem} ({row.failures} in a row)" if row.failures else "ok" if row.last_answer else "")
        answered = time.strftime("%Y-%m-%d %H:%M", time.gmtime(row.last_answer)) if row.last_answer else "never"
        lines.append((row.name, f"{row.every_hours:g} h", f"{row.requests_today}/{row.requests_per_day}", answered, state))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    if not shown.background:
        text.append("nobody is asked in the background: ledger.refresh.enabled is off; `tollway ledger refresh` asks now")
    text += [f"put aside: {it.id} of {it.source} ({it.rows} models): {'; '.join(it.reasons)}" for it in shown.put_aside]
    return "\n".join(text)


def _now_us() -> int:
    return time.time_ns() // 1000
