"""``tollway ledger ingest``, ``monthly`` and ``daily``: what coding agents used, by their own logs, beside the gateway.

Where a server runs, it is handed events in small batches, since its requests wait behind them.  Where none runs, the logs are
read by all processors and their rows written by the ten thousand.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ledger.adapters.sqlite import SqliteLedger
from ledger.adapters.usage_logs import news, scan
from ledger.cli import agent_markdown, agent_table
from ledger.errors import LedgerError
from ledger.journal.agent_reports import AgentsBy, month_report
from ledger.journal.agents import cursors, largest
from ledger.prices.days import day_us
from ledger.records import AgentBatch, AgentRow, AgentStored, AgentUsage, LogCursor
from proxy import app
from proxy.api.agent_usage import CURSORS_MAX, EVENTS_MAX
from proxy.commands.console import ConfigOption, JsonOption, fail, home, load, show_json
from proxy.commands.server import ask
from proxy.metering.prices import subscriptions

ALL = "all"
ROWS_MIN, ROWS_MAX = 20_000, 200_000
"""Rows of one transaction where no server waits behind it: more, the more there are already, since each touches much of
their index; and fewer again towards the end, since nobody reads any more while the last ones are written.
"""
STORE_S = 60

Store = Callable[[AgentBatch], Awaitable[AgentStored]]


class By(StrEnum):
    """What agents' usage is summed by."""

    model = "model"
    agent = "agent"
    project = "project"
    day = "day"


class Layout(StrEnum):
    """How a report is shown."""

    table = "table"
    markdown = "markdown"
    json = "json"


class Used(msgspec.Struct, kw_only=True):
    """Tokens of one model in what was read."""

    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


class Summary(msgspec.Struct, kw_only=True):
    """What came of reading logs.

    unchanged: files that were not opened.  events: lines that tell of usage.  duplicate: those that say no more of an event
    than another line, or than the ledger.  skipped: lines and files, by reason.  models: what was read, each event once.
    """

    files: int = 0
    unchanged: int = 0
    events: int = 0
    new: int = 0
    duplicate: int = 0
    dry_run: bool = False
    skipped: dict[str, int] = {}
    models: dict[str, Used] = {}

    def add(self, event: AgentUsage) -> None:
        """Count the tokens of an event."""
        name = f"{event.provider}/{event.model}" if event.provider else event.model or "(unknown)"
        used = self.models.get(name) or self.models.setdefault(name, Used())
        tokens = event.tokens
        used.calls += 1
        used.input_tokens += tokens.input_tokens
        used.cached_tokens += tokens.cache_read
        used.output_tokens += tokens.output_tokens
        used.reasoning_tokens += tokens.reasoning

    def sum_up(self, sums: Mapping[tuple[str, str], news.Sums], sign: int = 1) -> None:
        """Count the tokens of many events; ``-1``: do not count them after all."""
        for (provider, model), (calls, given, cached, out, thought) in sums.items():
            name = f"{provider}/{model}" if provider else model or "(unknown)"
            used = self.models.get(name) or self.models.setdefault(name, Used())
            used.calls += sign * calls
            used.input_tokens += sign * given
            used.cached_tokens += sign * cached
            used.output_tokens += sign * out
            used.reasoning_tokens += sign * thought

    def skip(self, reasons: dict[str, int]) -> None:
        """Count what was left out."""
        for reason, count in reasons.items():
            self.skipped[reason] = self.skipped.get(reason, 0) + count


def add_to(commands: typer.Typer) -> None:
    """Add the three commands to ``tollway ledger``."""
    for command in (ingest, monthly, daily):
        commands.command(name=command.__name__)(command)


def ingest(
    agent: Annotated[str, typer.Option(help=f"One of {', '.join(scan.FORMATS)}; or {ALL} that have a folder.")] = ALL,
    root: Annotated[Path | None, typer.Option(help="The folder or file to read, instead of the agent's own.")] = None,
    since: Annotated[str | None, typer.Option(help="Leave out what was before this day (UTC), such as 2026-11-01.")] = None,
    with_paths: Annotated[bool, typer.Option("--with-paths", help="Keep projects' paths, not only their names.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count; write nothing.")] = False,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Read what coding agents wrote of their usage into the ledger.  A second run reads only what is new."""
    since_us = 0 if since is None else day_us(since)
    if since_us is None:
        fail(f"{since!r} is no day; one is written 2026-03-01")
    work = Ingestion(_found(agent, root), since_us=since_us, paths=with_paths, dry_run=dry_run, quiet=json)
    here = home()
    settings = load(config_file, {})
    path = settings.ledger.path(here.path)
    try:
        if dry_run:
            summary = asyncio.run(work.read(path, write=False))
        elif here.running() is not None:

            async def send(batch: AgentBatch) -> AgentStored:
                body = msgspec.to_builtins(batch)
                answer = await asyncio.to_thread(ask, config_file, "POST", "ledger/agent-usage", body, timeout_s=STORE_S)
                return msgspec.convert(answer, AgentStored)

            summary = asyncio.run(work.run(path, send, EVENTS_MAX))
        else:
            summary = asyncio.run(work.read(path, write=True))
    except LedgerError as error:
        fail(str(error))
    if json:
        show_json(summary)
    else:
        _say(summary)


def monthly(
    month: Annotated[str | None, typer.Option(help="The month (UTC), such as 2026-11. Default: this one.")] = None,
    by: Annotated[By, typer.Option(help="What to sum by.")] = By.model,
    layout: Annotated[Layout, typer.Option("--format", help="How to show it.")] = Layout.table,
    config_file: ConfigOption = None,
) -> None:
    """A month's usage: coding agents' by their logs, and the gateway's own beside it."""
    _report(config_file, month, by.value, layout, daily=False)


def daily(
    month: Annotated[str | None, typer.Option(help="The month (UTC), such as 2026-11. Default: this one.")] = None,
    by: Annotated[By, typer.Option(help="What to sum each day by.")] = By.agent,
    layout: Annotated[Layout, typer.Option("--format", help="How to show it.")] = Layout.table,
    config_file: ConfigOption = None,
) -> None:
    """Each day of a month: coding agents' usage by their logs, and the gateway's own beside it."""
    _report(config_file, month, by.value, layout, daily=True)


def _report(config_file: Path | None, month: str | None, by: AgentsBy, layout: Layout, *, daily: bool) -> None:
    first_us = day_us(f"{month}-01") if month else int(datetime.now(UTC).timestamp()) * 1_000_000
    if first_us is None:
        fail(f"{month!r} is no month; one is written 2026-11")
    at = datetime.fromtimestamp(first_us // 1_000_000, UTC)
    settings = load(config_file, {})
    try:
        rows = month_report(
            settings.ledger.path(home().path),
            year=at.year,
            month=at.month,
            daily=daily,
            by=by,
            prices=app.price_book(settings),
            subscriptions=subscriptions(settings),
        )
    except LedgerError as error:
        fail(str(error))
    if layout is Layout.json:
        show_json(rows)
    else:
        typer.echo((agent_markdown if layout is Layout.markdown else agent_table)(rows), nl=False)


class Ingestion:
    """Reading of logs: their files in turn, in batches of events and of how far they are read with them."""

    def __init__(self, places: Iterable[tuple[str, Path]], *, since_us: int, paths: bool, dry_run: bool, quiet: bool) -> None:
        self._places = tuple(places)
        self._since_us = since_us
        self._paths = paths
        self._quiet = quiet
        self._summary = Summary(dry_run=dry_run)

    async def read(self, path: Path, *, write: bool) -> Summary:
        """Read all by all processors, and write it into the ledger; or only read it."""
        summary = self._summary
        before = cursors(path)
        skipped: dict[str, int] = {}
        logs = [log for agent, root in self._places for log in scan.files(agent, root, skipped)]
        summary.skip(skipped)
        places = [(log, before.get(log.file_hash)) for log in logs]
        changed = [place for place in places if not self._is_unchanged(*place)]
        summary.files, summary.unchanged = len(places), len(places) - len(changed)
        with ExitStack() as stack:
            gc.disable()  # rows by the hundred thousand and not one cycle
            stack.callback(gc.enable)
            readers = stack.enter_context(news.Readers(worth=news.worth(changed)))
            left_bytes = size_bytes = news.size_bytes(changed)
            advance = self._progress(stack, size_bytes)
            ledger = stack.enter_context(SqliteLedger(path)) if write else None
            rows: list[AgentRow] = []
            done: list[LogCursor] = []

            async def flush() -> None:
                found = largest(rows)
                if len(found) < len(rows):  # what stands in several files is counted once
                    kept = set(map(id, found))
                    summary.sum_up(news.summed(row for row in rows if id(row) not in kept), -1)
                if ledger is not None and (found or done):
                    summary.new += await ledger.store_agent_rows(found, done)
                    summary.duplicate = summary.events - summary.new
                rows.clear()
                done.clear()

            for told in readers.news(news.jobs(changed, since_us=self._since_us, paths=self._paths)):
                rows += told.unpacked()
                done += told.cursors
                summary.events += told.events
                summary.sum_up(told.sums)
                summary.skip(told.skipped)
                if told.early:
                    summary.skip({"before_since": told.early})
                advance(told.read_bytes)
                left_bytes -= told.read_bytes
                to_come = summary.events * left_bytes // max(size_bytes - left_bytes, 1)
                if len(rows) >= max(ROWS_MIN, min(summary.new // 2, ROWS_MAX, to_come)):
                    await flush()
            await flush()
        return summary

    def _is_unchanged(self, log: scan.LogFile, before: LogCursor | None) -> bool:
        return scan.is_unchanged(log, before) or log.modified_ns < self._since_us * 1000

    async def run(self, path: Path, store: Store, events_max: int) -> Summary:
        """Read all, and hand it to ``store`` in batches."""
        summary = self._summary
        before = cursors(path)
        skipped: dict[str, int] = {}
        logs = [log for agent, root in self._places for log in scan.files(agent, root, skipped)]
        summary.skip(skipped)
        events: dict[tuple[str, str], AgentUsage] = {}
        done: list[LogCursor] = []

        async def flush() -> None:
            for event in events.values():
                summary.add(event)
            if events or done:
                summary.new += (await store(AgentBatch(events=tuple(events.values()), cursors=tuple(done)))).new
                summary.duplicate = summary.events - summary.new
            events.clear()
            done.clear()

        with ExitStack() as stack:
            advance = self._progress(stack, sum(log.size_bytes for log in logs))
            for log in logs:
                summary.files += 1
                reader = scan.Reader(log, before.get(log.file_hash), paths=self._paths)
                if self._is_unchanged(log, before.get(log.file_hash)):
                    summary.unchanged += 1
                    advance(log.size_bytes)
                    continue
                left_out = 0
                for event in reader.events():
                    if event.at_us < self._since_us:
                        left_out += 1
                        continue
                    summary.events += 1
                    # The lines of one answer stand close together: of each event the largest, once.
                    known = events.get((event.agent, event.event))
                    if known is None or _size(event) > _size(known):
                        events[event.agent, event.event] = event
                    if len(events) >= events_max:
                        await flush()
                advance(log.size_bytes)
                summary.skip(reader.reading.skipped)
                if left_out:
                    summary.skip({"before_since": left_out})
                elif reader.cursor is not None:
                    # With the last of its events or after them, never before: what is read again is known by its name.
                    done.append(reader.cursor)
                    if len(done) >= CURSORS_MAX:
                        await flush()
            await flush()
        return summary

    def _progress(self, stack: ExitStack, size_bytes: int) -> Callable[[int], None]:
        if self._quiet or not sys.stderr.isatty():
            return lambda _: None
        columns = (TextColumn("reading logs"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        bar = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
        task = bar.add_task("", total=size_bytes)
        return lambda done: bar.advance(task, done)


def _size(event: AgentUsage) -> int:
    return event.tokens.input_tokens + event.tokens.output_tokens


def _found(agent: str, root: Path | None) -> list[tuple[str, Path]]:
    """The agents and where their logs are."""
    if agent != ALL and agent not in scan.FORMATS:
        _unknown(agent)
    if root is not None:
        if agent == ALL:
            fail("--root needs --agent: which agent's logs it has")
        if not root.exists():
            fail(f"there is nothing at {root}")
        return [(agent, root)]
    places = []
    for name in scan.FORMATS if agent == ALL else (agent,):
        own = scan.root_of(name, os.environ, Path.home())
        if own is not None and own.is_dir():
            places.append((name, own))
        elif agent != ALL:
            fail(f"{name} has no logs at {own}" if own else f"{name} has no folder of its own: --root names the file")
    return places


def _unknown(agent: str) -> NoReturn:
    fail(f"--agent must be one of {', '.join(scan.FORMATS)}, {ALL}: {agent!r} is none")


def _say(summary: Summary) -> None:
    kept = "nothing written" if summary.dry_run else f"{summary.new} new, {summary.duplicate} known already"
    typer.echo(f"{summary.files} files, {summary.unchanged} of them unchanged; {summary.events} events: {kept}")
    for reason, count in sorted(summary.skipped.items()):
        typer.echo(f"  left out, {reason}: {count}")
    for name, used in sorted(summary.models.items()):
        counts: Any = msgspec.structs.asdict(used)
        typer.echo(f"  {name}: " + ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items()))
