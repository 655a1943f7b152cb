from __future__ import annotations

from io import BytesIO
from pathlib import Path

import msgspec

from proxy.drawing import plot
from proxy.drawing.figure import Figure, Panel, Series

FIGURE = Figure(
    title="Cost",
    panels=(
        Panel(
            title="so far",
            x_label="requests",
            y_label="USD",
            series=(
                Series(name="then", x=(1, 2, 3), y=(1, 2, 4), kind="steps"),
                Series(name="now", x=(1, 2, 3), y=(1, 1, 2), kind="points", labels=("a", "b", "c")),
            ),
            log_x=True,
        ),
        Panel(title="quality", x_label="requests", y_label="", series=()),
    ),
)


def drawn(path: Path) -> bytes:
    assert plot.main([str(path)], BytesIO(msgspec.json.encode(FIGURE))) == 0
    return path.read_bytes()


def test_a_figure_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    first, second = drawn(tmp_path / "a.svg"), drawn(tmp_path / "b.svg")

    assert first == second
    assert first.startswith(b"<?xml")


def test_a_drawing_can_be_of_pixels(tmp_path: Path) -> None:
    assert drawn(tmp_path / "c.png").startswith(b"\x89PNG")


def test_every_panel_and_series_is_on_it() -> None:
    first, second = plot.drawn(FIGURE).axes

    assert [line.get_label() for line in first.get_lines()] == ["then", "now"]
    assert [it.get_text() for it in first.texts] == ["a", "b", "c"]
    assert (first.get_xscale(), second.get_xscale()) == ("log", "linear")
    assert second.get_legend() is None
