"""A receipt as ``tollway route`` prints and draws it."""

from __future__ import annotations

from io import StringIO
from typing import Any

import msgspec
from rich.console import Console

from proxy.call import RouteField
from proxy.commands.route import dots, figure, show
from proxy.routing.policy import POLICIES
from proxy.routing.receipt import told
from proxy.routing.router import decide
from tests.proxy.routing.worlds import ASK, Known, field_of

FIELD = field_of(
    {
        "small": Known(score=40, input_usd=0.1, output_usd=0.4),
        "large": Known(score=60, input_usd=10, output_usd=40),
        "unknown": Known(score=None, input_usd=None, ttft_ms=None, tokens_per_s=None),
    }
)


def receipt(**asked: Any) -> dict[str, Any]:
    decision = decide(FIELD, ASK, POLICIES["auto:best"], constraints=RouteField(**asked))
    plain: dict[str, Any] = msgspec.to_builtins(told(decision))
    return plain


def printed(it: dict[str, Any]) -> str:
    out = StringIO()
    show(it, Console(file=out, width=200))
    return out.getvalue()


def test_the_table_has_everybody_with_figures_and_reasons() -> None:
    lines = printed(receipt()).splitlines()

    assert lines[1].startswith("auto:best: openai/large: it is the best for the money")
    assert any(line.startswith("*  openai/large") and "$0.026000" in line for line in lines)
    assert any("openai/unknown" in line and "?" in line and "too little is known of it" in line for line in lines)
    assert any("★ chosen" in line for line in lines)


def test_nobody_is_said_too() -> None:
    text = printed(receipt(deny=("*",)))

    assert "auto:best: nobody: nobody can answer within what is asked" in text
    assert "the request denies it" in text


def test_only_what_is_known_is_drawn() -> None:
    it = receipt()

    assert [(dot.name, dot.chosen) for dot in dots(it)] == [("openai/large", True), ("openai/small", False)]
    assert [series.name for series in figure(it).panels[0].series] == ["beaten by nobody", "", "beaten", "chosen"]
    assert figure(it).panels[0].log_x
