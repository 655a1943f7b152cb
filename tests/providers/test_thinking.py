"""How much to think, from one family's words to another's."""

from __future__ import annotations

import pytest

from providers.canonical import ReasoningAsk
from providers.thinking import ANY, BUDGETS, EFFORTS, Thinking, budget_of, effort_of, suffix

THREE = Thinking(efforts=("low", "medium", "high"))
ALWAYS = Thinking(off=False)


@pytest.mark.parametrize(
    ("ask", "can", "effort"),
    [
        (None, ANY, ""),
        (ReasoningAsk(), ANY, ""),
        (ReasoningAsk(adaptive=True), ANY, ""),
        (ReasoningAsk(budget_tokens=-1), ANY, ""),
        (ReasoningAsk(effort="high"), ANY, "high"),
        (ReasoningAsk(effort="max"), THREE, "high"),
        (ReasoningAsk(effort="minimal"), THREE, "low"),
        (ReasoningAsk(effort="none"), THREE, "low"),
        (ReasoningAsk(effort="none"), ANY, "none"),
        (ReasoningAsk(effort="none"), ALWAYS, "minimal"),
        (ReasoningAsk(effort="medium"), Thinking(efforts=("low", "high")), "low"),
        (ReasoningAsk(effort="low"), Thinking(efforts=("none", "high")), "high"),
        (ReasoningAsk(effort="ludicrous"), THREE, "ludicrous"),
        (ReasoningAsk(budget_tokens=0), ANY, "none"),
        (ReasoningAsk(budget_tokens=512), ANY, "minimal"),
        (ReasoningAsk(budget_tokens=1024), ANY, "low"),
        (ReasoningAsk(budget_tokens=8192), ANY, "medium"),
        (ReasoningAsk(budget_tokens=8193), ANY, "high"),
        (ReasoningAsk(budget_tokens=99_999), ANY, "xhigh"),
        (ReasoningAsk(budget_tokens=99_999), THREE, "high"),
        (ReasoningAsk(effort="high"), Thinking(thinks=False), ""),
    ],
)
def test_an_effort_is_the_nearest_that_the_model_takes(ask: ReasoningAsk | None, can: Thinking, effort: str) -> None:
    assert effort_of(ask, can) == effort


@pytest.mark.parametrize(
    ("ask", "can", "budget"),
    [
        (None, ANY, None),
        (ReasoningAsk(), ANY, None),
        (ReasoningAsk(effort="ludicrous"), ANY, None),
        (ReasoningAsk(adaptive=True), ANY, -1),
        (ReasoningAsk(budget_tokens=-1), ANY, -1),
        (ReasoningAsk(effort="none"), ANY, 0),
        (ReasoningAsk(effort="none"), Thinking(off=False, budget_min=128), 128),
        (ReasoningAsk(effort="minimal"), Thinking(budget_min=1024), 1024),
        (ReasoningAsk(effort="max"), Thinking(budget_max=24_576), 24_576),
        (ReasoningAsk(effort="low", budget_tokens=5), ANY, 5),
        (ReasoningAsk(effort="high"), Thinking(thinks=False), None),
    ],
)
def test_a_budget_is_the_nearest_that_the_model_takes(ask: ReasoningAsk | None, can: Thinking, budget: int | None) -> None:
    assert budget_of(ask, can) == budget


@pytest.mark.parametrize("effort", EFFORTS)
def test_a_budget_that_stands_for_an_effort_leads_back_to_it(effort: str) -> None:
    again = effort_of(ReasoningAsk(budget_tokens=BUDGETS[effort]))

    assert again == ("xhigh" if effort == "max" else effort)


@pytest.mark.parametrize(
    ("name", "model", "ask"),
    [
        ("gpt-5(high)", "gpt-5", ReasoningAsk(effort="high", suffixed=True)),
        ("a/b(none)", "a/b", ReasoningAsk(effort="none", suffixed=True)),
        ("claude(8192)", "claude", ReasoningAsk(budget_tokens=8192, suffixed=True)),
        ("claude(auto)", "claude", ReasoningAsk(adaptive=True, suffixed=True)),
        ("claude(-1)", "claude", ReasoningAsk(adaptive=True, suffixed=True)),
        ("gpt-5", "gpt-5", None),
        ("gpt-5(beta)", "gpt-5(beta)", None),
        ("(high)", "(high)", None),
        ("gpt-5(high", "gpt-5(high", None),
        ("gpt-5(12345678)", "gpt-5(12345678)", None),
    ],
)
def test_a_suffix_says_how_much_to_think(name: str, model: str, ask: ReasoningAsk | None) -> None:
    assert suffix(name) == (model, ask)
