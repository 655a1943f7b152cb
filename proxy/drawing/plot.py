"""Draws a figure: ``python -m proxy.drawing.plot FILE.png|FILE.svg`` with the figure as JSON on its standard input.

The only file that knows matplotlib; only the child process that ``proxy.drawing.figure`` starts loads it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from proxy.drawing.figure import MISSING, Figure, Panel

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing
except ImportError:
    sys.exit(MISSING)

WIDTH_IN, PANEL_IN = 9.0, 3.6
_STEPS: dict[str, Literal["default", "steps-post"]] = {"line": "default", "steps": "steps-post", "points": "default"}


def main(arguments: list[str], figure: BinaryIO) -> int:
    """The child.  Returns its exit code."""
    (path,) = map(Path, arguments)
    # No date and no random name in the file, and no font that this machine may lack.
    mpl.rcParams.update({"svg.hashsalt": "tollway", "font.family": "DejaVu Sans"})
    drawn(msgspec.json.decode(figure.read(), type=Figure)).savefig(
        path, dpi=120, metadata={"Date": None} if path.suffix.lower() == ".svg" else {"Software": "Tollway"}
    )
    return 0


def drawn(figure: Figure) -> Drawing:
    """The figure, ready to be saved."""
    drawing = Drawing(figsize=(WIDTH_IN, PANEL_IN * len(figure.panels)), layout="constrained")
    drawing.suptitle(figure.title)
    for place, panel in enumerate(figure.panels, 1):
        _draw(drawing.add_subplot(len(figure.panels), 1, place), panel)
    return drawing


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, loc="left", fontsize="medium")
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.grid(visible=True, alpha=0.3)
    if panel.log_x:
        axes.set_xscale("log")
    for it in panel.series:
        alone = it.kind == "points"
        axes.plot(
            *(it.x, it.y),
            label=it.name,
            linestyle="none" if alone else "solid",
            marker="o" if alone else "",
            drawstyle=_STEPS[it.kind],
        )
        for x, y, label in zip(it.x, it.y, it.labels, strict=False):
            axes.annotate(label, (x, y), xytext=(5, 4), textcoords="offset points", fontsize="small")
    if any(it.name for it in panel.series):
        axes.legend(fontsize="small")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin.buffer))
