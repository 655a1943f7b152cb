"""``tollway route``: who would answer a request, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from proxy.commands.console import JsonOption, fail, show_json
from proxy.commands.server import ask_running
from proxy.drawing.chart import Dot, drawn
from proxy.drawing.figure import Figure, NotDrawn, Panel, Series, draw

SHOWN = 30
PIPED = 240


class _OrExplain(TyperGroup):
    """A group whose command ``explain`` need not be named: ``tollway route "prompt"``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["explain", *args]
        return super().parse_args(ctx, args)


route = typer.Typer(cls=_OrExplain, help="Who would answer a request, and why.", no_args_is_help=True)


@route.callback()
def _group() -> None:
    """Who would answer a request, and why: `tollway route "prompt"`."""


@route.command(name="explain")
def explain(
    prompt: Annotated[str, typer.Argument(help="What would be asked.")],
    policy: Annotated[str, typer.Option(help="Of auto: cheap, fast, best, coding, … or a name of `policies`.")] = "",
    system: Annotated[str, typer.Option(help="Instructions before it.")] = "",
    task: Annotated[str, typer.Option(help="The kind of task that it is; else as it looks.")] = "",
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The most tokens of an answer.")] = None,
    max_cost_usd: Annotated[float | None, typer.Option(min=0, help="US dollars that it may cost.")] = None,
    max_ttft_ms: Annotated[float | None, typer.Option(min=0, help="Milliseconds to the first token.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option(min=0, help="Milliseconds to the whole answer.")] = None,
    min_quality: Annotated[float | None, typer.Option(min=0, max=1, help="Quality for the task, from 0 to 1.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="Patterns of provider/model that may answer.")] = None,
    deny: Annotated[list[str] | None, typer.Option(help="Patterns of provider/model that may not.")] = None,
    json: JsonOption = False,
    plotted: Annotated[Path | None, typer.Option("--plot", help="Draw the front into a .png or .svg file.")] = None,
) -> None:
    """Say who would answer, of the server that runs here.  Nobody is asked, and nothing is charged."""
    wanted = {
        "task": task or None,
        "max_cost_usd": max_cost_usd,
        "max_ttft_ms": max_ttft_ms,
        "max_latency_ms": max_latency_ms,
        "min_quality": min_quality,
        "allow": allow or None,
        "deny": deny or None,
    }
    messages = [{"role": "system", "content": system}] if system else []
    body: dict[str, Any] = {
        "model": f"auto:{policy.removeprefix('auto:')}" if policy and policy != "auto" else "auto",
        "messages": [*messages, {"role": "user", "content": prompt}],
        "route": {name: value for name, value in wanted.items() if value is not None},
    }
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    receipt = ask_running("POST", "/v1/route/explain", body)
    if plotted is not None:
        try:
            draw(figure(receipt), plotted)
        except NotDrawn as error:
            fail(str(error))
    if json:
        show_json(receipt)
    else:
        show(receipt)


def dots(receipt: dict[str, Any]) -> list[Dot]:
    """The candidates whose quality and cost are known, to be drawn."""
    return [
        Dot(
            name=it["name"],
            cost_usd=it["cost_nusd"]["value"] / 1e9,
            quality=it["quality"]["value"],
            on_front=it.get("on_front", False),
            chosen=it["name"] == receipt["chosen"],
        )
        for it in receipt["candidates"]
        if it["cost_nusd"]["value"] is not None and it["quality"]["value"] is not None
    ]


def figure(receipt: dict[str, Any]) -> Figure:
    """The candidates, quality over cost; the front is joined."""
    found = dots(receipt)
    line = sorted((it for it in found if it.on_front), key=lambda it: (it.cost_usd, it.quality))
    beaten = [it for it in found if not it.on_front and not it.chosen]
    chosen = [it for it in found if it.chosen]
    return Figure(
        title=f"{receipt['policy']}: {receipt['chosen'] or 'nobody'}",
        panels=(
            Panel(
                title=f"{receipt['features']['task']}, about {receipt['features']['input_tokens']:,} tokens in",
                x_label="cost of this request, US dollars",
                y_label="quality for this task",
                log_x=bool(found) and min(it.cost_usd for it in found) > 0,
                series=(
                    _series("beaten by nobody", line, kind="line"),
                    _series("", line, labels=tuple(it.name for it in line)),
                    _series("beaten", beaten),
                    _series("chosen", chosen),
                ),
            ),
        ),
    )


def _series(
    name: str, dots: Sequence[Dot], *, kind: Literal["line", "points"] = "points", labels: tuple[str, ...] = ()
) -> Series:
    return Series(name=name, x=tuple(it.cost_usd for it in dots), y=tuple(it.quality for it in dots), kind=kind, labels=labels)


def show(receipt: dict[str, Any], console: Console | None = None) -> None:
    """Print a receipt as a table, with the front as a chart."""
    if console is None:
        # Where nobody looks at it line by line, nothing is cut.
        console = Console() if Console().is_terminal else Console(width=PIPED)
    features = receipt["features"]
    console.print(
        f"task {features['task']} ({features['task_confidence']:.0%}), about {features['input_tokens']:,} tokens in"
        + (f", needs {', '.join(features['needs'])}" if features["needs"] else ""),
        highlight=False,
    )
    console.print(f"{receipt['policy']}: {receipt['chosen'] or 'nobody'}: {receipt['why']}", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    for head in ("", "model", "quality", "cost", "tokens out", "first token", "answer", "why not"):
        table.add_column(
            head, justify="right" if head in ("quality", "cost", "tokens out", "first token", "answer") else "left"
        )
    shown = sorted(receipt["candidates"], key=lambda it: (it.get("place") or SHOWN * 100, not it.get("on_front", False)))
    for it in shown[:SHOWN]:
        table.add_row(
            "*" if it["name"] == receipt["chosen"] else "o" if it.get("on_front") else "",
            it["name"],
            _number(it["quality"]["value"], "{:.3f}"),
            _number(it["cost_nusd"]["value"], "${:.6f}", 1e9),
            _number(it["output_tokens"]["value"], "{:,.0f}"),
            _number(it["ttft_ms"]["value"], "{:,.0f} ms"),
            _number(it["latency_ms"]["value"], "{:,.1f} s", 1e3),
            it.get("reason", ""),
        )
    for it in receipt["rejected"][: max(SHOWN - len(shown), 0)]:
        table.add_row("-", it["name"], "", "", "", "", "", it["reason"])
    console.print(table)
    hidden = len(receipt["candidates"]) + len(receipt["rejected"]) - SHOWN
    if hidden > 0:
        console.print(f"and {hidden} more: --json shows all", highlight=False)
    console.print(drawn(dots(receipt)), highlight=False, markup=False)
    console.print(f"snapshot {receipt['snapshot'][:12]}", highlight=False)


def _number(value: float | None, form: str, unit: float = 1) -> str:
    return "?" if value is None else form.format(value / unit)
