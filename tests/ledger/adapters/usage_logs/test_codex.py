"""Codex's rollouts."""

from __future__ import annotations

from ledger.adapters.usage_logs.codex import parse
from ledger.adapters.usage_logs.reading import Reading
from ledger.records import Tokens
from tests.ledger.adapters.usage_logs.logs import lines, read

SAMPLE = "codex.jsonl"


def test_cached_and_reasoning_tokens_are_taken_out_of_what_they_are_part_of() -> None:
    events, _ = read(parse, SAMPLE)

    assert events[0].tokens == Tokens(input_uncached=400, cache_read=600, output_text=140, reasoning=60)
    assert (events[0].session, events[0].project, events[0].provider) == ("019a-codex", "engine", "openai")


def test_counts_that_are_written_again_are_counted_once_and_each_call_has_the_model_of_its_turn() -> None:
    events, skipped = read(parse, SAMPLE)

    assert [(it.model, it.tokens.input_tokens, it.tokens.output_tokens) for it in events] == [
        ("gpt-5-codex", 1000, 200),
        ("gpt-5.1-codex", 1500, 100),
        ("gpt-5.1-codex", 500, 50),
    ]
    assert skipped == {"repeated": 1}


def test_where_no_turn_names_a_model_none_is_invented() -> None:
    events, _ = read(parse, [it for it in lines(SAMPLE) if b"turn_context" not in it])

    assert {it.model for it in events} == {""}


def test_parts_larger_than_the_whole_are_left_out() -> None:
    line = lines(SAMPLE)[3].replace(b'"cached_input_tokens":600', b'"cached_input_tokens":1001')

    assert read(parse, [line]) == ([], {"counts_disagree": 1})


def test_a_reading_goes_on_with_what_it_knew() -> None:
    first, second = Reading(), Reading()
    whole, _ = read(parse, SAMPLE)

    before, _ = read(parse, lines(SAMPLE)[:5], first)
    second.restore(first.save())
    after, _ = read(parse, lines(SAMPLE)[5:], second)

    assert before + after == whole
