from __future__ import annotations

from pathlib import Path

import pytest

from proxy.drawing.figure import Figure, NotDrawn, Panel, Series, draw

FIGURE = Figure(
    title="Cost",
    panels=(Panel(title="", x_label="n", y_label="USD", series=(Series(name="then", x=(1, 2), y=(1, 2)),)),),
)


def instead(folder: Path, source: str) -> str:
    """A search path on which something else stands before the library."""
    (folder / "matplotlib").mkdir()
    (folder / "matplotlib" / "__init__.py").write_text(source, encoding="utf-8")
    return str(folder)


def test_a_figure_is_drawn_by_a_process_of_its_own(tmp_path: Path) -> None:
    draw(FIGURE, tmp_path / "a.svg")

    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")


def test_only_two_formats_are_drawn(tmp_path: Path) -> None:
    with pytest.raises(NotDrawn, match="neither a PNG nor an SVG"):
        draw(FIGURE, tmp_path / "a.pdf")


def test_what_goes_wrong_there_is_said_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", instead(tmp_path, "raise ValueError('no such file')"))

    with pytest.raises(NotDrawn, match="could not be drawn: ValueError: no such file"):
        draw(FIGURE, tmp_path / "a.svg")


def test_without_the_library_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", instead(tmp_path, "raise ImportError('no')"))

    with pytest.raises(NotDrawn, match=r"tollway\[plot\]"):
        draw(FIGURE, tmp_path / "a.svg")
