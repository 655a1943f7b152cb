"""Gemini CLI's chats."""

from __future__ import annotations

from ledger.adapters.usage_logs.gemini_cli import parse, parse_document
from ledger.adapters.usage_logs.reading import Reading
from ledger.records import Tokens
from tests.ledger.adapters.usage_logs.logs import DATA, largest, read


def test_thoughts_and_tools_prompts_are_apart_and_cached_tokens_are_part_of_the_input() -> None:
    events, skipped = read(parse, "gemini_cli.jsonl")

    kept = largest(events)

    assert [it.tokens for it in kept.values()] == [
        Tokens(input_uncached=1000, cache_read=4000, output_text=120, reasoning=30),
        Tokens(input_uncached=6020, output_text=80),
    ]
    assert {(it.provider, it.model, it.project) for it in events} == {("gemini", "gemini-2.5-pro", "folder")}
    assert skipped == {"counts_disagree": 1}


def test_a_chat_of_an_earlier_release_has_the_same_events() -> None:
    reading = Reading(folder="folder")

    events = list(parse_document((DATA / "gemini_cli.json").read_bytes(), reading))

    assert largest(events) == largest(read(parse, "gemini_cli.jsonl")[0])


def test_a_document_that_is_cut_off_is_counted_and_nothing_more() -> None:
    reading = Reading()

    assert list(parse_document((DATA / "gemini_cli.json").read_bytes()[:-20], reading)) == []
    assert reading.skipped == {"not_json": 1}
