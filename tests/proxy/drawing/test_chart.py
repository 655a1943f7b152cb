"""The chart in a terminal."""

from __future__ import annotations

from proxy.drawing.chart import Dot, drawn


def test_who_is_good_stands_high_and_who_is_dear_to_the_right() -> None:
    dots = [
        Dot(name="cheap", cost_usd=0.001, quality=0.2, on_front=True),
        Dot(name="best", cost_usd=0.1, quality=0.8, on_front=True, chosen=True),
        Dot(name="beaten", cost_usd=0.1, quality=0.2),
    ]

    assert drawn(dots, width=11, height=3).splitlines() == [
        "    0.80 │          ★",
        "         │",
        "    0.20 │●         ·",
        "         └───────────",
        " quality  $0.001 $0.1  cost",
        "          ★ chosen   ● beaten by nobody   · beaten",
    ]


def test_one_alone_and_nobody_are_drawn_too() -> None:
    assert "★" in drawn([Dot(name="free", cost_usd=0, quality=0.5, chosen=True)])
    assert drawn([]) == ""
