"""What came of a comparison, as a table, as JSON and as a drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.routing.compare import OURS, Comparison
from benchmarks.routing.score import Interval
from benchmarks.routing.setup import Setup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = list[Sequence[str]]


class NoDrawing(Exception):
    """What draws is not installed."""


def tables(comparison: Comparison, /) -> str:
    """The arms, the best area first; then what is aimed at."""
    ranked = sorted(comparison.standings, key=lambda it: -it.aiq.value)
    head = [
        *("arm", "AIQ", "95 %", "narrow", "log", "points"),
        *(f"at {_usd(budget)}" for budget in comparison.budgets),
        *(f"cost of {quality:.3f} ({name})" for name, quality in comparison.targets),
    ]
    rows: Rows = [head]
    rows += [
        [
            it.name,
            _share(it.aiq.value),
            _span(it.aiq),
            _share(it.narrow_aiq.value),
            _share(it.log_aiq.value),
            str(len(it.points)),
            *(_share(at.value) for at in it.at),
            *(_usd(cost.value) for cost in it.cost_of),
        ]
        for it in ranked
    ]
    own: Rows = [("own setting of", "cost", "accuracy")]
    own += [(it.name, _usd(it.own[0]), _share(it.own[1])) for it in ranked if it.own is not None]
    aims: Rows = [("aim", "difference", "95 %", "at least", "")]
    aims += [
        (
            it.name,
            f"{it.difference.value:+.4f}",
            _span(it.difference, "+.4f"),
            f"{it.least:+.2f}",
            "met" if it.met else "MISSED",
        )
        for it in comparison.verdicts
    ]
    parts = [
        f"costs from {_usd(comparison.low)} to {_usd(comparison.high)} a prompt; narrow: to {_usd(comparison.narrow)}",
        aligned(rows),
        aligned(own),
    ]
    return "\n\n".join([*parts, aligned(aims)] if comparison.verdicts else parts)


def about(setup: Setup, rows: int, left_out: int, repeats: int, unknown_datasets: Sequence[str], /) -> str:
    """What was read, who was found in the ledger, and what they cost."""
    held = setup.held
    read = f"{rows:,} rows ({left_out:,} more without a score, {repeats:,} repeated)"
    split = f"{len(setup.warm.prompts):,} prompts of past traffic, {len(held.prompts):,} to score on"
    lines = [
        f"{read}; {len(held.models)} models; {len(held.datasets)} datasets; {split}",
        f"ledger snapshot {setup.facts.snapshot.id[:12]}",
        "",
    ]
    models: Rows = [("model", "in the ledger as", "input, USD/MTok", "output", "price", "answers", "mean score")]
    for column, it in enumerate(setup.joined):
        price = setup.prices.get(it.name)
        can = setup.can[:, column]
        score = held.score[can, column]
        models.append(
            (
                it.name,
                _known(it.variant, it.known),
                "unknown" if price is None else f"{price.input_usd:.4g}",
                "" if price is None else f"{price.output_usd:.4g}",
                "" if price is None else price.source,
                f"{int(can.sum()):,}",
                f"{score.mean():.4f}" if len(score) else "",
            )
        )
    lines.append(aligned(models))
    strangers = [it for it in setup.joined if not it.known]
    if strangers:
        lines += ["", "nothing is published of these; --models FILE maps them to names of the ledger:"]
        lines += [f"  {it.name}{_alike(it.alike)}" for it in strangers]
    if unknown_datasets:
        lines += ["", f"taken for general; --tasks FILE says otherwise: {', '.join(unknown_datasets)}"]
    return "\n".join(lines)


def _alike(names: Sequence[str]) -> str:
    return f"  (there is {', '.join(names)})" if names else ""


def _known(variant: str, known: bool) -> str:
    return f"{variant}{'' if known else ' (nothing known)'}" if variant else "-"


def document(comparison: Comparison, setup: Setup, /, **more: Any) -> bytes:
    """Everything, as JSON; what nobody knows is null."""
    plain = {
        **more,
        "snapshot": setup.facts.snapshot.id,
        "models": [
            {"name": it.name, "variant": it.variant, "known": it.known, "price": setup.prices.get(it.name)}
            for it in setup.joined
        ],
        "prompts": {"warm": len(setup.warm.prompts), "scored": len(setup.held.prompts)},
        "comparison": _finite(msgspec.to_builtins(comparison)),
    }
    return msgspec.json.format(msgspec.json.encode(plain)) + b"\n"


def _finite(value: Any) -> Any:
    """Without what JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(it) for name, it in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(it) for it in value]
    return value


def plot(comparison: Comparison, path: Path, /) -> None:
    """Draw the curves, PNG or SVG by the name.  Raises: NoDrawing."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  # an extra, and slow to load
    except ModuleNotFoundError as error:
        raise NoDrawing("to draw, install matplotlib: pip install 'tollway[plot]'") from error
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for it in comparison.standings:
        _draw(axes, it.name, it.curve, it.points, comparison.high)
    axes.axvspan(comparison.low, comparison.high, alpha=0.05, color="black", linewidth=0)
    axes.set_xscale("log")
    axes.set_xlabel("cost, US dollars a prompt")
    axes.set_ylabel("mean score")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def _draw(
    axes: Axes, name: str, curve: Sequence[tuple[float, float]], points: Sequence[tuple[float, float, str]], high: float
) -> None:
    costs, qualities = [it[0] for it in curve], [it[1] for it in curve]
    if len(points) == 1:
        axes.plot([points[0][0]], [points[0][1]], "o", label=name)
        return
    line = axes.plot(
        [*costs, max(high, costs[-1])], [*qualities, qualities[-1]], label=name, linewidth=2.5 if name == OURS else 1.2
    )
    axes.plot([it[0] for it in points], [it[1] for it in points], ".", color=line[0].get_color(), markersize=3)


def aligned(rows: Iterable[Sequence[str]], /) -> str:
    """Columns side by side; all but the first are set to the right."""
    table = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    return "\n".join(line.rstrip() for line in [lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _usd(value: float) -> str:
    return "-" if math.isnan(value) else f"${value:.3g}"


def _span(it: Interval, form: str = ".4f") -> str:
    return "" if math.isnan(it.low) else f"{it.low:{form}} .. {it.high:{form}}"
