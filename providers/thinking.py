"""How much a model is to think, in the words of one family for a model of another.

An effort and a budget of tokens stand for each other; what a model does not take is moved to the nearest that it does.
What is asked in a family's own protocol is never changed: it refuses itself what it does not take.

Source: the efforts and budgets that the protocols' references name, read 2026-11; the table between the two is ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from providers.canonical import Delta, Family, Message, Part, Reasoning, ReasoningAsk, Request, Text, ToolCall

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""From no thinking to the most."""

BUDGETS: Final[Mapping[str, int]] = {
    "none": 0,
    "minimal": 512,
    "low": 1_024,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 128_000,
}
"""The tokens that an effort stands for."""

BUDGET_MAX: Final = BUDGETS["max"]
AUTO: Final = -1
"""The budget of a model that decides itself."""


class Thinking(msgspec.Struct, frozen=True, kw_only=True):
    """What a model can be told about its thinking; by default nothing is known, and what is asked is passed on.

    thinks: ``False``: it does not think, and is told nothing about it.
    efforts: the words that it takes; empty: nobody says.
    off: it can be told not to think.
    adaptive: it is told an effort instead of a budget.   budgets: it takes a budget of tokens.
    budget_min, budget_max: in tokens.
    """

    thinks: bool = True
    efforts: tuple[str, ...] = ()
    off: bool = True
    adaptive: bool = False
    budget_min: int = 0
    budget_max: int = BUDGET_MAX


ANY: Final = Thinking()


def effort_of(ask: ReasoningAsk | None, can: Thinking = ANY) -> str:
    """The effort that comes nearest to what is asked; empty: nothing is, or the model decides itself."""
    if ask is None or not can.thinks:
        return ""
    word = ask.effort or _word(ask.budget_tokens)
    if not word:
        return ""
    if word == "none" and can.off and (not can.efforts or word in can.efforts):
        return word
    allowed = can.efforts or (EFFORTS if can.off else EFFORTS[1:])
    return word if word in allowed or word not in EFFORTS else _nearest(word, allowed)


def budget_of(ask: ReasoningAsk | None, can: Thinking = ANY) -> int | None:
    """The budget in tokens that comes nearest to what is asked; ``None``: nothing is.  0: none.  -1: as it likes."""
    if ask is None or not can.thinks:
        return None
    asked = BUDGETS.get(ask.effort) if ask.budget_tokens is None else ask.budget_tokens
    if asked is None:
        return AUTO if ask.adaptive else None
    if asked < 0:
        return AUTO
    if asked == 0 and can.off:
        return 0
    return min(max(asked, can.budget_min), can.budget_max)


def _word(budget_tokens: int | None) -> str:
    if budget_tokens is None or budget_tokens < 0:
        return ""
    # Above what ``high`` stands for there is one word that models commonly take.
    return next((word for word in EFFORTS[:5] if budget_tokens <= BUDGETS[word]), "xhigh")


def _nearest(word: str, allowed: Sequence[str]) -> str:
    """The allowed effort that is nearest; of two, the smaller one."""
    place = EFFORTS.index(word)
    known = [it for it in EFFORTS if it in allowed]
    # Somebody who wants it to think is not told that it does not.
    thinking = [it for it in known if it != "none"] if word != "none" else known
    return min(thinking or known, key=lambda it: abs(EFFORTS.index(it) - place), default="")


def in_own_words(request: Request, family: Family) -> bool:
    """Whether what a request asks of thinking is in the family's words, and therefore passed on as it is."""
    return request.family == family and not (request.reasoning is not None and request.reasoning.suffixed)


class Summaries:
    """The parts of summaries as one text each, an empty line between them, for streams of protocols that have no parts."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, int], int] = {}

    def text(self, event: Delta) -> str:
        """What a piece adds to the text."""
        if event.summary_index is None or not event.text:
            return event.text
        key = (event.choice, event.index)
        before = self._last.get(key, event.summary_index)
        self._last[key] = event.summary_index
        return event.text if before == event.summary_index else f"\n\n{event.text}"


# --- Claude, wherever it is served -----------------------------------------------------------------------------------------

CLAUDE_BUDGET_MIN: Final = 1_024
CLAUDE_BUDGET_MAX: Final = 32_000
"""Above it Anthropic advises against a budget in a request that a client waits for.
Source: platform.claude.com/docs/en/build-with-claude/extended-thinking, read 2026-11."""
CLAUDE_EFFORTS: Final = ("low", "medium", "high", "max")
"""What an adaptive model takes as far as nobody says more."""


def of_claude(ask: ReasoningAsk | None, can: Thinking, output_max: int | None) -> tuple[dict[str, Any], str]:
    """What Claude is told by another family's words: its ``thinking`` field, and the effort beside it; empty: nothing.

    output_max: the answer's bound, of which a budget is a part.
    """
    if ask is None or not can.thinks:
        return {}, ""
    display = {} if ask.shown is None else {"display": "summarized" if ask.shown else "omitted"}
    if can.adaptive:
        can = can if can.efforts else msgspec.structs.replace(can, efforts=CLAUDE_EFFORTS)
        if can.off and (ask.effort == "none" or ask.budget_tokens == 0):
            return {"type": "disabled"}, ""
        return {"type": "adaptive", **display}, effort_of(ask, can)
    least, most = max(can.budget_min, CLAUDE_BUDGET_MIN), min(can.budget_max, CLAUDE_BUDGET_MAX)
    budget = budget_of(ask, msgspec.structs.replace(can, budget_min=least, budget_max=most))
    if budget is None:
        return {}, ""
    if budget == 0:
        return {"type": "disabled"}, ""
    if budget == AUTO:
        budget = BUDGETS["medium"]
    # The budget is part of the bound, and has to leave room for an answer.
    if output_max is not None and budget >= output_max:
        budget = output_max // 2
    return ({"type": "enabled", "budget_tokens": budget, **display}, "") if budget >= CLAUDE_BUDGET_MIN else ({}, "")


def keeps_still(request: Request, thinking: Mapping[str, Any]) -> bool:
    """Whether Claude would refuse to be told to think: where it is made to call a tool; and, told a budget, where it goes on
    after calls of tools whose thoughts the client has not kept.

    Source: platform.claude.com/docs/en/build-with-claude/extended-thinking, "Extended thinking with tool use", read 2026-11.
    """
    if thinking.get("type") not in ("enabled", "adaptive"):
        return False
    if request.tools and request.tool_choice is not None and request.tool_choice.mode == "required":
        return True
    return thinking["type"] == "enabled" and _without_thoughts(request.messages)


def _without_thoughts(messages: Sequence[Message]) -> bool:
    """Whether the last turn of the model called tools and does not begin with sealed thoughts."""
    turn: list[Part] = []
    for message in reversed(messages):
        if message.role == "assistant":
            turn[:0] = message.parts
        elif turn:
            break
    first = next((part for part in turn if isinstance(part, ToolCall | Text | Reasoning)), None)
    sealed = isinstance(first, Reasoning) and first.family == "anthropic" and bool(first.signature or first.encrypted)
    return any(isinstance(part, ToolCall) for part in turn) and not sealed


# --- the suffix of a model's name ----------------------------------------------------------------------------------------

_SUFFIX: Final = re.compile(r"(.+)\((none|auto|minimal|low|medium|high|xhigh|max|-1|\d{1,6})\)")


def suffix(model: str) -> tuple[str, ReasoningAsk | None]:
    """A model's name and how much it is to think, of ``name(high)``, ``name(8192)``, ``name(auto)``, ``name(none)``.

    A name without such an end is itself, and asks for nothing.
    """
    match = _SUFFIX.fullmatch(model) if model.endswith(")") else None
    if match is None:
        return model, None
    name, word = match.groups()
    if word in ("auto", "-1"):
        return name, ReasoningAsk(adaptive=True, suffixed=True)
    if word in BUDGETS:
        return name, ReasoningAsk(effort=word, suffixed=True)
    return name, ReasoningAsk(budget_tokens=int(word), suffixed=True)
