"""The commands that tell what is known of models: ``tollway ledger models | benchmarks | diff``.  They only read.

What is measured here (``live``) is shown where no past moment is asked for.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import msgspec
import typer

from ledger.catalogue import formulas
from ledger.catalogue.identity import Resolver, model_of
from ledger.catalogue.indices import SPEED_METRICS, TASKS, Indices
from ledger.catalogue.merge import UNSCALED, Model, Score
from ledger.catalogue.metrics import METRICS, check, decayed
from ledger.catalogue.snapshot import Snapshot, StatedPrice, diff
from ledger.cli import usd
from ledger.errors import LedgerError
from ledger.facts import Observation, Reading
from ledger.live import LiveView
from ledger.ports import FactsPort
from proxy.facts.asked import indices_at, live_models, live_scores, model_named

T = TypeVar("T")
Open = Callable[[Path | None], AbstractAsyncContextManager[FactsPort]]
Measured = Callable[[Resolver], LiveView]

DAY_US = 86_400_000_000
FOREVER = 2**63 - 1

At = Annotated[
    str | None, typer.Option(help="A day such as 2026-03-01 (its end, UTC), a time, or a snapshot's id. Default: now.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="The YAML file; else as for tollway serve.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="At most so many rows.")]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A value that a source states, or that is measured here (``live``).

    ``counts``: it is the one that counts, or is blended with it; ``conflicts``: it says something else than that.

    ``superseded``: it is of a version of its index that does not count.
    """

    subject: str
    metric: str
    value: float
    unit: str
    source: str
    source_version: str
    observed_at_us: int
    age_days: float
    confidence: float
    n: int | None
    counts: bool
    conflicts: bool
    superseded: bool


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a model."""

    model: str
    snapshot: str
    known: Model
    variants: tuple[str, ...]
    values: tuple[Line, ...]
    prices: tuple[dict[str, object], ...]


def add_to(ledger: typer.Typer, opened: Open, measured: Measured) -> None:
    """Add the commands.  opened: makes the facts of a configuration's file, to be read.  measured: what is measured here."""
    models = typer.Typer(help="What is known of models: list, show, suggestions.", no_args_is_help=True)
    benchmarks = typer.Typer(help="How good models are: list, show, validate.", no_args_is_help=True)
    ledger.add_typer(models, name="models")
    ledger.add_typer(benchmarks, name="benchmarks")

    @models.command(name="list")
    def list_models(at: At = None, json: Json = False, config_file: Config = None) -> None:
        """Every model, by name, with what it can take."""

        async def ask(facts: FactsPort) -> list[Model]:
            snapshot = (await indices_at(facts, at)).snapshot
            return [snapshot.models.get(name, Model(model=name)) for name in snapshot.names()]

        rows = _ask(opened, config_file, ask)
        if json:
            return _print(rows)
        lines = [(it.model, _count(it.context_tokens), _count(it.output_max_tokens), it.released) for it in rows]
        return _table(("MODEL", "CONTEXT", "OUTPUT", "RELEASED"), lines)

    @models.command(name="show")
    def show_model(
        model: Annotated[str, typer.Argument(help="A model, by any name that a host has for it.")],
        at: At = None,
        json: Json = False,
        config_file: Config = None,
    ) -> None:
        """Every value there is of a model: its source, its age, its confidence; which counts, and who disagrees."""
        shown = _ask(opened, config_file, lambda facts: _shown(facts, model, at, measured))
        if json:
            return _print(shown)
        return _tell(shown)

    @models.command(name="suggestions")
    def suggestions(json: Json = False, config_file: Config = None) -> None:
        """Names that nobody knows, and models whose names are so alike that they may be one: for review, used by nothing."""
        rows = _ask(opened, config_file, lambda facts: facts.reviews())
        if json:
            return _print(rows)
        return _table(
            ("KIND", "SOURCE", "NAME", "OTHER", "WHY"), [(it.kind, it.source, it.name, it.other, it.reason) for it in rows]
        )

    @benchmarks.command(name="list")
    def list_benchmarks(
        task: Annotated[str, typer.Option(help=f"One of {', '.join(TASKS)}.")] = "general",
        formula: Annotated[str, typer.Option(help="tollway, thegent or tokenledger: whose formula.")] = "tollway",
        limit: Limit = 20,
        at: At = None,
        json: Json = False,
        config_file: Config = None,
    ) -> None:
        """Variants by quality for a task, the best first."""

        async def ask(facts: FactsPort) -> tuple[Indices, LiveView]:
            return await indices_at(facts, at), measured(facts.resolver) if at is None else LiveView()

        indices, view = _ask(opened, config_file, ask)
        try:
            ranked = indices.rankings(task, live=view.values) if formula == "tollway" else ()
            valued = formulas.ranked(indices, formula) if formula != "tollway" else ()
        except LookupError as error:
            _fail(str(error))
        if json:
            return _print((ranked or valued)[:limit])
        qualities = [(it.quality.subject, it.quality.value) for it in ranked] or [(it.subject, it.value) for it in valued]
        lines = []
        for place, (subject, value) in enumerate(qualities[:limit], 1):
            speed, cost = indices.speed(subject, view.values), indices.cost(subject)
            live = max((n for metric in SPEED_METRICS if (n := view.values.get((subject, metric), (0, 0))[1])), default=0)
            lines.append(
                (
                    *(str(place), subject, f"{value:.3f}", f"{speed.answer_s:.1f} s" if speed else "unknown"),
                    *(usd(cost.blended_nusd_per_mtok if cost else None), f"{live:,}" if live else ""),
                )
            )
        return _table(("", "VARIANT", "QUALITY", "500 TOKENS", "BLENDED PER MTOK", "LIVE TRIES"), lines)

    @benchmarks.command(name="show")
    def show_benchmarks(
        model: Annotated[str, typer.Argument(help="A model, by any name that a host has for it.")],
        at: At = None,
        json: Json = False,
        config_file: Config = None,
    ) -> None:
        """A model's benchmarks alone, as `models show` has them."""
        shown = _ask(opened, config_file, lambda facts: _shown(facts, model, at, measured))
        values = tuple(it for it in shown.values if METRICS[it.metric].group in ("quality", "agentic"))
        shown = msgspec.structs.replace(shown, values=values, prices=())
        if json:
            return _print(shown)
        return _tell(shown)

    @benchmarks.command(name="validate")
    def validate(json: Json = False, config_file: Config = None) -> None:
        """Hold everything that counts against the catalogue: units, bounds, times.  Exits 1 if something cannot be true."""

        async def ask(facts: FactsPort) -> dict[str, object]:
            stated = await facts.observations(None)
            problems = [problem for it in stated if (problem := check(_reading(it)))]
            reviews = await facts.reviews()
            return {
                "observations": len(stated),
                "models": len(facts.snapshot.names()),
                "conflicts": len(facts.snapshot.conflicts),
                "unresolved": [it.name for it in reviews if it.kind == "unresolved"],
                "problems": [*problems, *facts.resolver.conflicts],
            }

        found = _ask(opened, config_file, ask)
        if json:
            _print(found)
        else:
            for name, value in found.items():
                for text in [f"{name}: {it}" for it in value] if isinstance(value, list) else [f"{value} {name}"]:
                    typer.echo(text)
        if found["problems"]:
            sys.exit(1)

    @ledger.command(name="diff")
    def show_diff(
        before: Annotated[str, typer.Argument(help="A day (its end, UTC), a time, or a snapshot's id.")],
        after: Annotated[str, typer.Argument(help="The same; 'now' for the current one.")] = "now",
        json: Json = False,
        config_file: Config = None,
    ) -> None:
        """What changed between two snapshots, by subject and field."""

        async def ask(facts: FactsPort) -> Sequence[object]:
            pair = [(await indices_at(facts, None if it == "now" else it)).snapshot for it in (before, after)]
            return diff(*pair)

        changes = _ask(opened, config_file, ask)
        if json:
            return _print(changes)
        for it in msgspec.to_builtins(changes):
            typer.echo(f"{it['subject']}  {it['field']}  {_brief(it['before'])} -> {_brief(it['after'])}")
        return None

    @ledger.command(name="snapshots")
    def list_snapshots(limit: Limit = 20, json: Json = False, config_file: Config = None) -> None:
        """The snapshots that were current, the newest first: what `--at` and `diff` take."""
        rows = _ask(opened, config_file, lambda facts: facts.snapshots(limit))
        if json:
            return _print(rows)
        return _table(("SINCE", "ID"), [(_time(it.at_us), it.id) for it in rows])


async def _shown(facts: FactsPort, name: str, at: str | None, measured: Measured) -> Shown:
    snapshot = (await indices_at(facts, at)).snapshot
    view = measured(facts.resolver) if at is None else LiveView()
    live = live_models(view)
    model = model_named(facts.resolver, {*snapshot.names(), *live}, name)
    if model is None:
        _fail(f"nothing is known of a model {name!r}")
    # Of a snapshot's id all that was known until its moment is shown, also what came in later.
    stated = await facts.observations(model, at_us=FOREVER if at is None else snapshot.at_us)
    disagree = {
        (it.counts.subject, it.counts.metric, other.source)
        for it in snapshot.conflicts
        if model_of(it.counts.subject) == model
        for other in it.others
    }
    lines = [_line(it, snapshot, disagree) for it in stated if it.confidence > 0]  # at 0 its source took it back
    lines += [_measured(it, time.time_ns() // 1000) for it in live_scores(snapshot, view, live.get(model, ()))]
    prices = (snapshot.price(offer) for offer in snapshot.offers(model))
    return Shown(
        model=model,
        snapshot=snapshot.id,
        known=snapshot.models.get(model, Model(model=model)),
        variants=snapshot.variants(model),
        values=tuple(sorted(lines, key=lambda it: (it.subject, it.metric, not it.counts, it.source, it.source_version))),
        prices=tuple(msgspec.to_builtins(it) for it in prices if it is not None),
    )


def _line(it: Observation, snapshot: Snapshot, disagree: set[tuple[str, str, str]]) -> Line:
    subject = it.offer or it.variant
    score = snapshot.scores.get(subject, {}).get(it.metric)
    scale = snapshot.scales.get(it.metric)
    counts = score is not None and (score.source, score.source_version) == (it.source, it.source_version)
    age_us = max(snapshot.at_us - it.observed_at_us, 0)
    return Line(
        subject=subject,
        metric=it.metric,
        value=it.value,
        unit=it.unit,
        source=it.source,
        source_version=it.source_version,
        observed_at_us=it.observed_at_us,
        age_days=round(age_us / DAY_US, 3),
        confidence=round(decayed(it.confidence, metric=it.metric, age_us=age_us), 4),
        n=it.n,
        counts=counts,
        conflicts=(subject, it.metric, it.source) in disagree,
        superseded=scale is not None and it.source not in UNSCALED and (it.source_version or it.source) != scale,
    )


def _measured(it: Score, now_us: int) -> Line:
    return Line(
        subject=it.subject,
        metric=it.metric,
        value=it.value,
        unit=METRICS[it.metric].unit,
        source=it.source,
        source_version="",
        observed_at_us=it.observed_at_us,
        age_days=round(max(now_us - it.observed_at_us, 0) / DAY_US, 6),
        confidence=round(it.confidence_at(now_us), 4),
        n=it.n,
        counts=True,
        conflicts=False,
        superseded=False,
    )


def _tell(shown: Shown) -> None:
    known = shown.known
    by = known.sources.get
    typer.echo(f"{shown.model}  {known.label}".rstrip())
    for name, value in (
        ("made by", known.creator),
        ("released", known.released),
        ("context_tokens", _count(known.context_tokens)),
        ("output_max_tokens", _count(known.output_max_tokens)),
        ("modalities_in", ", ".join(known.modalities_in)),
        ("modalities_out", ", ".join(known.modalities_out)),
        ("capabilities", ", ".join(known.capabilities)),
    ):
        if value:
            typer.echo(f"  {name.replace('_', ' ')}: {value} ({by('creator' if name == 'made by' else name, 'a source')})")
    for price in shown.prices:
        row = msgspec.convert(price, StatedPrice)
        rates = f"{usd(row.price.input_nusd_per_mtok)} in, {usd(row.price.output_nusd_per_mtok)} out per MTok"
        typer.echo(f"  price at {row.offer.partition('@')[2]}: {rates} ({row.source})")
    typer.echo("")
    lines = [
        (
            *(
                "*" if it.counts else "",
                it.subject.removeprefix(shown.model) or "(as it is)",
                it.metric,
                f"{it.value:g}",
                it.unit,
            ),
            *(f"{it.source} {it.source_version}".rstrip(), _age(it.age_days), _count(it.n), f"{it.confidence:.2f}"),
            "disagrees" if it.conflicts else "another version" if it.superseded else "",
        )
        for it in shown.values
    ]
    _table(("", "OF", "METRIC", "VALUE", "UNIT", "SOURCE", "AGE", "N", "CONFIDENCE", ""), lines)
    live = "; live values are blended with what is published" if any(it.source == "live" for it in shown.values) else ""
    typer.echo(f"\n* counts{live}; snapshot {shown.snapshot[:16]}")


def _ask(opened: Open, config_file: Path | None, question: Callable[[FactsPort], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with opened(config_file) as facts:
            return await question(facts)

    try:
        return asyncio.run(ask())
    except (LedgerError, LookupError) as error:
        _fail(str(error))


def _reading(it: Observation) -> Reading:
    fields = {name: getattr(it, name) for name in Reading.__struct_fields__}
    return Reading(**fields)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    rows = [head, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print(value: object) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _age(days: float) -> str:
    if days >= 2:
        return f"{days:.0f} d"
    return f"{days * 24:.0f} h" if days >= 1 / 12 else f"{days * 1440:.0f} min"


def _time(us: int) -> str:
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _brief(value: object) -> str:
    if value is None:
        return "unknown"
    return f"{value:g}" if isinstance(value, float) else msgspec.json.encode(value).decode()


def _fail(message: str) -> NoReturn:
    typer.echo(f"tollway: {message}", err=True)
    sys.exit(1)
