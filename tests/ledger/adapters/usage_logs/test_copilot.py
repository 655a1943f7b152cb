"""Copilot CLI's sessions."""

from __future__ import annotations

from ledger.adapters.usage_logs.copilot import parse
from ledger.records import Tokens
from tests.ledger.adapters.usage_logs.logs import read


def test_each_shutdown_adds_what_its_totals_have_risen_by() -> None:
    events, skipped = read(parse, "copilot.jsonl")

    assert [(it.model, it.tokens) for it in events] == [
        (
            "claude-haiku-4.5",
            Tokens(input_uncached=100, cache_read=700, cache_write=200, output_text=65, reasoning=25),
        ),
        ("gpt-5-mini", Tokens(input_uncached=50, output_text=10)),
        ("claude-haiku-4.5", Tokens(input_uncached=150, cache_read=300, cache_write=50, output_text=50)),
    ]
    assert {(it.session, it.project) for it in events} == {("cop-1", "engine")}
    assert skipped == {"repeated": 1, "totals_fell": 1}
