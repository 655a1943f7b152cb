"""A drawing: what is in it, and how it gets into a file.

It is drawn by a process of its own (``python -m proxy.drawing.plot``): matplotlib takes a second to load, and is not always
installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final, Literal

import msgspec

import proxy

DRAWN_S: Final = 120.0
MISSING: Final = 3
"""The exit code of a child that lacks its library."""
FORMATS: Final = (".png", ".svg")


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Points by their coordinates.  kind: joined in their order, held until the next one, or each by itself.

    labels: of the points; as many as there are, or none.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    kind: Literal["line", "steps", "points"] = "line"
    labels: tuple[str, ...] = ()


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of axes.  log_x: in powers of ten; only for numbers above 0."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """Panels, one below the other."""

    title: str
    panels: tuple[Panel, ...]


class NotDrawn(Exception):
    """The text says why, and what to do."""


def draw(figure: Figure, path: Path) -> None:
    """Draw it into a PNG or SVG file; the same figure gives the same file.  Raises: NotDrawn."""
    if path.suffix.lower() not in FORMATS:
        raise NotDrawn(f"{path} is neither a PNG nor an SVG file by its name")
    root = Path(proxy.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((os.environ.get("PYTHONPATH", ""), str(root)))}
    command = [sys.executable, "-m", "proxy.drawing.plot", str(path)]
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter, our own module, a path
            command, input=msgspec.json.encode(figure), env=environment, capture_output=True, check=False, timeout=DRAWN_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotDrawn(f"nothing could be drawn: {error}") from error
    if done.returncode == MISSING:
        raise NotDrawn("drawing needs matplotlib, which comes with the extra 'plot': pip install 'tollway[plot]'")
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise NotDrawn(f"{path} could not be drawn: {why[:300]}")
