"""``tollway route replay | report | calibration``: what recorded decisions, and what became of them, say of policies."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ledger.cli import usd
from ledger.errors import LedgerError
from ledger.journal.decisions import FOREVER_US, routed
from ledger.prices.days import day_us
from ledger.records import Routed
from proxy import config as settings
from proxy.commands.console import ConfigOption, JsonOption, fail, home, load, show_json, show_table
from proxy.disk.home import Home
from proxy.drawing.figure import NotDrawn, draw
from proxy.learning import offpolicy
from proxy.learning.calibration import By, Fit, Row, calibration, score_of
from proxy.learning.offpolicy import Mean, Verdict
from proxy.learning.records import Choice, Kept
from proxy.learning.replay import Comparison, Redo, Side, by_field, by_record, compared, replay
from proxy.learning.report import Judged, checked_score, figure, grouped, logged, offers
from proxy.routing.field import Field
from proxy.routing.policy import Policy

DAY_US = 86_400_000_000
_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": DAY_US, "w": 7 * DAY_US}

Since = Annotated[str, typer.Option(help="From then on: a day such as 2026-11-01 (UTC), or 12h, 7d, 4w ago.")]
Until = Annotated[str | None, typer.Option(help="Until before then, likewise. Default: now.")]
Newest = Annotated[int, typer.Option(min=1, max=10_000_000, help="Of more requests, the newest so many.")]
OfPolicy = Annotated[str, typer.Option(help="Only requests that this policy decided.")]


class FieldAt(Protocol):
    """Makes the field of a past moment."""

    def __call__(self, config: settings.Config, home: Home, names: Sequence[str], at: str, /) -> Coroutine[None, None, Field]:
        """What was known of these offers, and what they cost, at a day's end, at a time, or by a snapshot's id.

        Raises: LedgerError, LookupError.
        """
        ...


Policies = Callable[[settings.Config], Mapping[str, Policy]]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay prints."""

    policy: str
    at: str | None
    since: str
    until: str | None
    comparison: Comparison


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the feedback says.  verdict: of the policy that was asked about."""

    requests: int
    judged: int
    groups: tuple[Judged, ...]
    policy: str = ""
    verdict: Verdict | None = None


def add_to(route: typer.Typer, *, policies: Policies, field_at: FieldAt) -> None:
    """Add the commands.  policies: those of a configuration."""

    @route.command(name="replay")
    def replay_requests(
        since: Since = "7d",
        until: Until = None,
        policy: Annotated[str | None, typer.Option(help="The policy to decide by. Default: each request's own.")] = None,
        at: Annotated[
            str | None, typer.Option(help="By what was known then: a snapshot's id, a day (its end, UTC), or a time.")
        ] = None,
        of: OfPolicy = "",
        newest: Newest = 100_000,
        plot: Annotated[Path | None, typer.Option(help="Draw cost and quality into this PNG or SVG file.")] = None,
        json: JsonOption = False,
        config_file: ConfigOption = None,
    ) -> None:
        """Decide recorded requests once more, by another policy or another day's facts, beside what happened."""
        config = load(config_file, {})
        if policy is None and at is None:
            fail("there is nothing to change: --policy names another policy, --at another day or snapshot")
        known = policies(config)
        other = None if policy is None else _policy(known, policy)
        found = _routed(config, since, until, of, newest)
        redo = _redo(config, found, known, other, at, field_at)
        with ExitStack() as stack:
            turns = list(replay(found, redo, _progress(stack, len(found))))
        done = [turn for turn in turns if turn is not None]
        told = Told(
            policy=policy or "(each request's own)",
            at=at,
            since=since,
            until=until,
            comparison=compared(done, skipped=len(turns) - len(done)),
        )
        if plot is not None:
            try:
                draw(figure(done, policy=told.policy, at=at), plot)
            except NotDrawn as error:
                fail(str(error))
        if json:
            show_json(told)
        else:
            _tell_replay(told)

    @route.command(name="report")
    def report(
        since: Since = "30d",
        until: Until = None,
        policy: Annotated[str, typer.Option(help="Estimate what this policy would have been thought of.")] = "",
        of: OfPolicy = "",
        checks: Annotated[
            bool, typer.Option("--checks", help="Judge by what could be checked of answers instead of by feedback.")
        ] = False,
        newest: Newest = 100_000,
        json: JsonOption = False,
        config_file: ConfigOption = None,
    ) -> None:
        """What the feedback says of the policies: by policy, task and model; and of another one, as far as that can be told."""
        config = load(config_file, {})
        found = _routed(config, since, until, of, newest)
        score = checked_score if checks else score_of
        verdict = None
        if policy:
            verdict = offpolicy.judge(logged(found, _by_record(_policy(policies(config), policy)), score))
        groups = grouped(found, score)
        judged = sum(it.judged for it in groups)
        told = Report(requests=len(found), judged=judged, groups=groups, policy=policy, verdict=verdict)
        if json:
            show_json(told)
        else:
            _tell_report(told)

    @route.command(name="calibration")
    def calibrated(
        since: Since = "30d",
        until: Until = None,
        by: Annotated[str, typer.Option(help="model, task or policy.")] = "model",
        of: OfPolicy = "",
        newest: Newest = 100_000,
        json: JsonOption = False,
        config_file: ConfigOption = None,
    ) -> None:
        """Expected beside metered: cost, output tokens, time to the first token, latency."""
        if by not in ("model", "task", "policy"):
            fail(f"--by must be model, task or policy: {by!r} is none")
        rows = calibration(_routed(load(config_file, {}), since, until, of, newest), by=msgspec.convert(by, By))
        if json:
            show_json(rows)
        else:
            _tell_calibration(rows)


# --- what is asked for -------------------------------------------------------------------------------------------------


def moment_us(text: str, now_us: int) -> int:
    """A day, or so long ago.  Raises: ValueError."""
    if found := _AGO.fullmatch(text):
        return now_us - int(found[1]) * _UNITS_US[found[2]]
    at_us = day_us(text)
    if at_us is None:
        raise ValueError(f"{text!r} is no day such as 2026-11-01, and no time such as 12h, 7d or 4w")
    return at_us


def _routed(config: settings.Config, since: str, until: str | None, of: str, newest: int) -> list[Routed]:
    now_us = time.time_ns() // 1000
    try:
        since_us = moment_us(since, now_us)
        until_us = FOREVER_US if until is None else moment_us(until, now_us)
        path = config.ledger.path(home().path)
        return routed(path, since_us=max(since_us, 0), until_us=until_us, policy=of, newest=newest)
    except (LedgerError, ValueError) as error:
        fail(str(error))


def _policy(known: Mapping[str, Policy], name: str) -> Policy:
    found = known.get(name) or known.get(f"auto:{name}")
    if found is None:
        fail(f"there is no policy {name!r}; there are: {', '.join(known)}")
    return found


def _by_record(policy: Policy, hint: str = "") -> Policy:
    """A policy that can decide by what was recorded."""
    if policy.task:
        fail(f"{policy.name} takes every request for {policy.task}: how good models are at that is not in the record{hint}")
    return policy


def _redo(
    config: settings.Config,
    found: Sequence[Routed],
    known: Mapping[str, Policy],
    other: Policy | None,
    at: str | None,
    field_at: FieldAt,
) -> Redo:
    field = None if at is None else _field(config, found, at, field_at)
    if field is None and other is not None:
        _by_record(other, hint="; give --at")

    def own(it: Routed) -> Policy:
        return other or known.get(it.decision.policy) or _policy(known, "auto")

    ways: dict[str, Redo] = {}

    def redo(it: Routed, kept: Kept, choices: Sequence[Choice]) -> Choice | None:
        policy = own(it)
        way = ways.get(policy.name)
        if way is None:
            way = ways[policy.name] = by_record(policy) if field is None else by_field(policy, field)
        return way(it, kept, choices)

    return redo


def _field(config: settings.Config, found: Sequence[Routed], at: str, field_at: FieldAt) -> Field:
    names = sorted(offers(found))
    try:
        return asyncio.run(field_at(config, home(), names, at))
    except (LedgerError, LookupError) as error:
        fail(str(error))


def _progress(stack: ExitStack, total: int) -> Callable[[], None]:
    console = Console(stderr=True)
    if not console.is_terminal:
        return lambda: None
    columns = (TextColumn("replaying"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = stack.enter_context(Progress(*columns, console=console, transient=True))
    task = bar.add_task("", total=total)
    return lambda: bar.advance(task)


# --- how it is told ----------------------------------------------------------------------------------------------------


def _tell_replay(told: Told) -> None:
    it = told.comparison
    skipped = f"; {it.skipped} cannot be replayed" if it.skipped else ""
    typer.echo(f"{it.replayed:,} requests since {told.since}{skipped}")
    if not it.replayed:
        return
    head = ("", "HAPPENED", f"{told.policy}{f' at {told.at}' if told.at else ''}", "")
    then, now = it.then, it.now
    rows = [
        ("expected cost", usd(then.cost_nusd), usd(now.cost_nusd), _change(then.cost_nusd, now.cost_nusd)),
        (
            *("as metered, about", usd(then.calibrated_nusd), usd(now.calibrated_nusd)),
            _change(then.calibrated_nusd, now.calibrated_nusd),
        ),
        ("expected quality", _quality(then), _quality(now), ""),
        ("expected latency p50", _ms(then.latency_p50_ms), _ms(now.latency_p50_ms), ""),
        ("expected latency p90", _ms(then.latency_p90_ms), _ms(now.latency_p90_ms), ""),
        ("metered cost", f"{usd(it.metered_nusd)} of {it.metered:,}", "", ""),
        ("metered latency p50", _ms(it.metered_p50_ms), "", ""),
        ("metered latency p90", _ms(it.metered_p90_ms), "", ""),
        ("score", f"{it.score:.3f} of {it.scored:,}" if it.score is not None else "nobody said", "", ""),
        ("to the same model", "", f"{it.same:,}", f"{it.same / it.replayed:.1%}"),
        ("nobody could answer", "", f"{it.unanswered:,}", ""),
    ]
    names = sorted({*then.models, *now.models}, key=lambda it: (-then.models.get(it, 0), -now.models.get(it, 0), it))
    rows += [(f"  {name}", f"{then.models.get(name, 0):,}", f"{now.models.get(name, 0):,}", "") for name in names]
    show_table(head, rows)
    for side, name in ((then, "of what happened"), (now, "of what would have")):
        if side.unpriced:
            typer.echo(f"{name}, {side.unpriced:,} have no known price and are in no cost")


def _tell_report(told: Report) -> None:
    typer.echo(f"{told.requests:,} routed requests, {told.judged:,} of them judged")
    if told.groups:
        show_table(
            ("POLICY", "TASK", "MODEL", "REQUESTS", "JUDGED", "MEAN SCORE", "CHECKED", "FLAWLESS", "COST"),
            [
                (
                    *(it.policy, it.task, it.model or "(nobody)", f"{it.requests:,}", f"{it.judged:,}", _mean(it.score)),
                    *(f"{it.checked:,}", f"{it.flawless / it.checked:.1%}" if it.checked else "", usd(it.cost_nusd)),
                )
                for it in told.groups
            ],
        )
    verdict = told.verdict
    if verdict is None:
        return
    typer.echo(f"\n{told.policy}, by {verdict.n:,} judged requests; {verdict.matched:,} of them it would decide the same way")
    rows = [("what was done", _mean(verdict.logged)), ("of those it decides alike", _mean(verdict.matched_score))]
    if verdict.reason:
        show_table(("", "MEAN SCORE"), rows)
        typer.echo(f"what it would have been thought of cannot be told: {verdict.reason}")
        return
    rows += [
        ("inverse propensities", _mean(verdict.ips)),
        ("self-normalised", _mean(verdict.snips)),
        ("doubly robust", _mean(verdict.dr)),
    ]
    show_table(("", "MEAN SCORE"), rows)
    typer.echo(f"worth {verdict.effective:.0f} requests; about {verdict.support:.0%} of its choices can have been observed")


def _tell_calibration(rows: Sequence[Row]) -> None:
    if not rows:
        typer.echo("no routed requests yet")
        return
    head = ("", "REQUESTS", "COMPARED", "", "N", "MEDIAN ERROR", "BIAS", "COVERED", "80% WITHIN")
    lines: list[Sequence[str]] = []
    for row in rows:
        first = (row.group, f"{row.requests:,}", f"{row.compared:,}")
        fits = {"cost": row.cost, "output tokens": row.output_tokens, "ttft": row.ttft, "latency": row.latency}
        for name, it in fits.items():
            if it is not None:
                lines.append((*first, name, *_fit(it)))
                first = ("", "", "")
        if row.quality is not None:
            said = row.quality
            lines.append(
                (*first, "quality", f"{said.n:,}", f"{said.expected:.3f} expected", f"{said.score:.3f} scored", "", "")
            )
        elif first[0]:
            lines.append((*first, "", "", "", "", "", ""))
    show_table(head, lines)


def _fit(it: Fit) -> tuple[str, ...]:
    return f"{it.n:,}", f"{it.error_median:.1%}", f"x{it.bias:.2f}", f"{it.covered:.0%}", f"x{it.low:.2f} to x{it.high:.2f}"


def _mean(it: Mean | None) -> str:
    return "" if it is None else f"{it.value:.3f} ({it.low:.3f} to {it.high:.3f})"


def _quality(side: Side) -> str:
    return "unknown" if side.quality is None else f"{side.quality:.3f}"


def _ms(number: float | None) -> str:
    return "unknown" if number is None else f"{number:,.0f} ms"


def _change(before: int, after: int) -> str:
    return f"{(after - before) / before:+.1%}" if before else ""
