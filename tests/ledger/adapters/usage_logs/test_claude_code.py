"""Claude Code's transcripts."""

from __future__ import annotations

import pytest

from ledger.adapters.usage_logs.claude_code import parse
from ledger.adapters.usage_logs.reading import Reading
from ledger.records import Tokens
from tests.ledger.adapters.usage_logs.logs import largest, lines, read

SAMPLE = "claude_code.jsonl"


def test_an_answer_of_several_lines_is_one_event_and_its_largest_line_counts() -> None:
    events, _ = read(parse, SAMPLE)

    kept = largest(events)["claude-code", "msg_1:req_1"]

    assert len([it for it in events if it.event == "msg_1:req_1"]) == 3
    assert kept.tokens == Tokens(input_uncached=12, cache_read=9000, cache_write=100, cache_write_1h=200, output_text=80)
    assert (kept.at_us, kept.project, kept.provider, kept.model) == (
        1_793_700_002_500_000,
        "engine",
        "anthropic",
        "claude-sonnet-4-5-20250929",
    )


def test_thinking_searches_tier_and_the_tools_own_cost_are_kept_apart() -> None:
    event = largest(read(parse, SAMPLE)[0])["claude-code", "msg_2:req_2"]

    assert event.tokens == Tokens(
        input_uncached=12, cache_read=9000, cache_write=300, output_text=25, reasoning=15, web_searches=2
    )
    assert (event.service_tier, event.reported_nusd) == ("priority", 12_300_000)


def test_the_provider_is_named_only_where_id_or_model_tell_it_and_what_no_model_said_is_left_out() -> None:
    events, skipped = read(parse, SAMPLE)

    providers = {it.event: it.provider for it in events}

    assert (providers["msg_4:req_4"], providers["msg_bdrk_5:req_5"]) == ("", "bedrock")
    assert skipped == {"no_model_call": 1}


def test_a_projects_path_is_kept_only_where_it_is_asked_for() -> None:
    events, _ = read(parse, SAMPLE, Reading(paths=True))

    assert {it.project for it in events} == {"/home/ada/src/engine"}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"input_tokens":12', b'"input_tokens":-12', "wrong_shape"),
        (b'"input_tokens":12', b'"input_tokens":"12"', "wrong_shape"),
        (b'"input_tokens":12', b'"input_tokens":true', "wrong_shape"),
        (b'"output_tokens":80', b'"output_tokens":1e99', "wrong_shape"),
        (b'"timestamp":"2026-11-03T10:00:02.500Z"', b'"timestamp":"today"', "wrong_shape"),
        (b'"timestamp":"2026-11-03T10:00:02.500Z"', b'"other":1', "no_time"),
        (b'"id":"msg_1"', b'"id":""', "no_id"),
        (b'"usage":{', b'"usage":{{', "not_json"),
        (b"claude-sonnet", b"\xff\xfe", "not_json"),
    ],
)
def test_what_is_not_of_its_shape_is_counted_by_reason(old: bytes, new: bytes, reason: str) -> None:
    line = lines(SAMPLE)[3]
    assert old in line

    assert read(parse, [line.replace(old, new)]) == ([], {reason: 1})
