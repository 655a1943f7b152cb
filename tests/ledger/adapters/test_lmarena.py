"""LMArena's boards, in the shape of a mirror and of the data set."""

import json
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.lmarena import parse
from ledger.errors import SourceUnreadable
from ledger.facts import Parsed
from tests.ledger.adapters.hostile import attack, sane

RECORDED = (Path(__file__).parent / "data" / "lmarena-text-2026-03-27.json").read_bytes()
AT_US = 1_790_000_000_000_000
ROWS = {
    "rows": [
        {
            "row": {
                "model_name": "gpt-5.4",
                "organization": "openai",
                "rating": 1466.5,
                "rating_lower": 1458.5,
                "rating_upper": 1474.5,
                "vote_count": 900,
                "category": "overall",
            }
        }
    ]
}


def read(payload: Any) -> Parsed:
    return parse(json.dumps(payload), fetched_at_us=AT_US)


def test_a_mirrors_board_is_read_with_its_votes_and_its_time() -> None:
    parsed = parse(RECORDED, fetched_at_us=AT_US)

    sane(parsed)
    first = parsed.readings[0]
    assert (first.metric, first.value, first.unit, first.n) == ("arena_text_elo", 1504, "elo", 12_730)
    assert first.subject.source_name == "claude-opus-4-6-thinking"
    assert first.observed_at_us == 1_774_591_451_389_817
    assert [it.value for it in parsed.readings if it.metric == "arena_ci_halfwidth"] == [6, 6, 6, 11]


def test_few_votes_are_worth_less() -> None:
    weights = {it.n: it.confidence for it in parse(RECORDED, fetched_at_us=AT_US).readings}

    assert weights == {12_730: 0.9, 13_553: 0.9, 15_809: 0.9, 2_860: 0.7}


def test_the_data_sets_rows_are_read_alike() -> None:
    values = {it.metric: (it.value, it.confidence) for it in read(ROWS).readings}

    assert values == {"arena_text_elo": (1466.5, 0.4), "arena_ci_halfwidth": (8.0, 0.4)}


def test_boards_of_other_things_are_not_mixed_in() -> None:
    board = json.loads(RECORDED)
    video = {**board, "meta": {**board["meta"], "leaderboard": "text-to-video"}}
    code = {**board, "meta": {**board["meta"], "leaderboard": "code"}}

    parsed = read([code, video])

    assert {it.metric for it in parsed.readings} == {"arena_code_elo"}
    assert any("'text-to-video'" in problem for problem in parsed.problems)
    with pytest.raises(SourceUnreadable, match="no row of a board"):
        read(video)


def test_a_time_that_is_yet_to_come_is_not_believed() -> None:
    board = json.loads(RECORDED)
    board["meta"]["fetched_at"] = "2199-01-01T00:00:00Z"

    assert {it.observed_at_us for it in read(board).readings} == {AT_US}


def test_no_broken_payload_becomes_a_wrong_value() -> None:
    assert attack(lambda payload: parse(payload, fetched_at_us=AT_US), json.loads(RECORDED)) > 100
    assert attack(lambda payload: parse(payload, fetched_at_us=AT_US), ROWS) > 50
