"""Results as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.load.measure import Check, Figure, Results

Row = tuple[str, ...]


def table(rows: Sequence[Row]) -> str:
    """Columns as wide as their widest cell; the first one to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def own(results: Results) -> str:
    """Every figure with its spread over the rounds, its target, and the verdict."""
    rows: list[Row] = [("", "median", "min - max", "unit", "target", "")]
    for figure in results.figures:
        target = "" if figure.target is None else f"{figure.target.sign} {number(figure.target.limit)}"
        verdict = {None: "", True: "ok", False: "miss"}[figure.ok]
        rows.append((figure.name, number(figure.median), spread(figure), figure.unit, target, verdict))
    return table(rows)


def beside(results: Results, peer: Results) -> str:
    """The medians side by side; the ratio says how many times as much the peer's is."""
    theirs = {figure.key: figure for figure in peer.figures}
    rows: list[Row] = [("", results.subject, peer.subject, "unit", "ratio")]
    for figure in results.figures:
        other = theirs[figure.key]
        rows.append((label(figure, other), number(figure.median), number(other.median), figure.unit, ratio(figure, other)))
    return table(rows)


def label(figure: Figure, other: Figure) -> str:
    """The figure's name, and the peer's where that is another."""
    return figure.name if figure.name == other.name else f"{figure.name} / {other.name}"


def ratio(figure: Figure, other: Figure) -> str:
    """The peer's median over ours; nothing where ours is too near to zero to divide by."""
    return f"{other.median / figure.median:.2f}" if figure.median > 0.001 else ""


def checks(found: Sequence[Check]) -> str:
    """One line if all is well, else the counts that do not agree."""
    wrong = [f"  {check.name}: {check.found:,}, not {check.expected:,}" for check in found if not check.ok]
    if not wrong:
        counts = ", ".join(f"{check.found:,} {check.name}" for check in found)
        return f"counts agree: {counts}"
    return "\n".join(["COUNTS DO NOT AGREE:", *wrong])


def document(machine: Mapping[str, str], results: Sequence[Results]) -> dict[str, Any]:
    """All of it, every round's value included."""
    return {"machine": dict(machine), "subjects": {one.subject: _subject(one) for one in results}}


def number(value: float) -> str:
    """Four digits or so, as many as mean anything."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def spread(figure: Figure) -> str:
    """The smallest and the largest value; empty where there is only one."""
    if len(figure.values) < 2:
        return ""
    return f"{number(min(figure.values))} - {number(max(figure.values))}"


def _subject(results: Results) -> dict[str, Any]:
    return {
        "figures": {
            figure.key: {
                "name": figure.name.strip(),
                "unit": figure.unit,
                "median": figure.median,
                "min": min(figure.values),
                "max": max(figure.values),
                "values": list(figure.values),
                "target": None if figure.target is None else {"sign": figure.target.sign, "limit": figure.target.limit},
                "ok": figure.ok,
            }
            for figure in results.figures
        },
        "checks": [
            {"name": check.name, "expected": check.expected, "found": check.found, "ok": check.ok} for check in results.checks
        ],
        "other_work_ratio": results.other_work_ratio,
    }
