"""Artificial Analysis: both shapes of its API, its efforts, its zeros, and its input price for Anthropic's models."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.artificial_analysis import effort_of, parse
from ledger.errors import SourceUnreadable
from ledger.facts import Parsed, Reading
from tests.ledger.adapters.hostile import attack, sane

DATA = Path(__file__).parent / "data"
AT_US = 1_778_000_000_000_000
OLD = {
    "status": 200,
    "data": [
        {
            "id": "u-1",
            "name": "GPT-5 (high)",
            "slug": "gpt-5",
            "release_date": "2025-08-07",
            "model_creator": {"id": "c", "name": "OpenAI", "slug": "openai"},
            "evaluations": {"artificial_analysis_intelligence_index": 44.6, "gpqa": 0.854, "lcr": 0, "aime": None},
            "pricing": {"price_1m_blended_3_to_1": 3.438, "price_1m_input_tokens": 1.25, "price_1m_output_tokens": 10},
            "median_output_tokens_per_second": 0,
            "median_time_to_first_token_seconds": 0.5,
            "median_time_to_first_answer_token": 72.25,
        }
    ],
}
NEW = {
    "tier": "free",
    "intelligence_index_version": 4.1,
    "pagination": {"page": 1, "page_size": 200, "total_pages": 1, "has_more": False},
    "data": [
        {
            "id": "u-2",
            "name": "Claude Opus 5 (Adaptive Reasoning, Max Effort)",
            "slug": "claude-opus-5-adaptive",
            "model_creator": {"name": "Anthropic", "slug": "anthropic"},
            "evaluations": {"artificial_analysis_agentic_index": 55.3},
            "artificial_analysis_intelligence_index_cost": {"total_cost": 900.5, "cost_per_task": 0.31},
            "pricing": {
                "price_1m_input_tokens": 6.25,
                "price_1m_output_tokens": 25,
                "price_1m_cache_hit_tokens": 0.5,
                "price_1m_blended_3_to_1": 10.94,
            },
            "performance": {
                "median_output_tokens_per_second": 61.5,
                "median_time_to_first_token_seconds": 1.25,
                "median_time_to_first_answer_token_seconds": 9.5,
                "median_end_to_end_response_time_seconds": 18,
            },
        }
    ],
}


def read(payload: Any) -> Parsed:
    return parse(json.dumps(payload), fetched_at_us=AT_US)


def values(parsed: Parsed) -> dict[str, tuple[float, str]]:
    return {reading.metric: (reading.value, reading.unit) for reading in parsed.readings}


def test_the_older_shape_is_read_in_our_units_and_its_zeros_are_missing() -> None:
    parsed = read(OLD)

    assert values(parsed) == {
        "intelligence_index": (44.6, "points"),
        "gpqa_diamond": (0.854, "fraction"),
        "ttft_p50": (500.0, "ms"),
        "ttfat_p50": (72_250.0, "ms"),
        "price_input": (1.25, "USD/MTok"),
        "price_output": (10, "USD/MTok"),
        "price_blended_3to1": (3.438, "USD/MTok"),
    }
    assert {reading.source_version for reading in parsed.readings} == {""}
    assert (parsed.prices, parsed.problems) == ((), ())


def test_the_newer_shape_says_which_version_its_index_has() -> None:
    parsed = read(NEW)

    assert {reading.source_version for reading in parsed.readings} == {"4.1"}
    assert values(parsed)["e2e_p50"] == (18_000.0, "ms")
    assert values(parsed)["effective_cost_per_task"] == (0.31, "USD")
    assert values(parsed)["agentic_index"] == (55.3, "points")


def test_the_input_price_of_anthropics_models_is_left_out_and_said() -> None:
    parsed = read(NEW)

    assert "price_input" not in values(parsed)
    assert "price_blended_3to1" not in values(parsed)
    assert values(parsed)["price_output"] == (25, "USD/MTok")
    assert parsed.problems == (
        "claude-opus-5-adaptive: the input price is left out; for Anthropic's models it is a cache write's",
    )


def test_a_fraction_that_comes_as_a_percentage_is_refused() -> None:
    wrong = json.loads(json.dumps(OLD))
    wrong["data"][0]["evaluations"]["gpqa"] = 85.4

    parsed = read(wrong)

    assert "gpqa_diamond" not in values(parsed)
    assert parsed.problems == ("gpt-5: gpqa is '85.4', which is no value in fraction",)


def test_pages_are_one_list_and_must_have_one_version() -> None:
    first = NEW | {"pagination": {"total_pages": 3}}
    second = NEW | {"data": OLD["data"]}

    parsed = read([first, second])

    assert [model.subject.source_name for model in parsed.models] == ["claude-opus-5-adaptive", "gpt-5"]
    assert "only 2 of 3 pages were read" in parsed.problems
    with pytest.raises(SourceUnreadable, match="different versions"):
        read([first, second | {"intelligence_index_version": 4.2}])


def test_a_slug_that_is_there_twice_counts_once() -> None:
    parsed = read(OLD | {"data": OLD["data"] * 2})

    assert len(parsed.models) == 1
    assert parsed.problems == ("gpt-5 is there twice; the first counts",)


@pytest.mark.parametrize(
    ("name", "slug", "effort"),
    [
        ("GPT-5.5 (xhigh)", "gpt-5-5", "xhigh"),
        ("GPT-5.5 (Non-reasoning)", "gpt-5-5-non-reasoning", "none"),
        ("Claude Opus 4.7 (Adaptive Reasoning, Max Effort)", "claude-opus-4-7", "max"),
        ("Claude Opus 4.7 (Non-reasoning, High Effort)", "claude-opus-4-7-non-reasoning", "none"),
        ("Claude Sonnet 4.6 (Non-reasoning, Low Effort)", "claude-sonnet-4-6-non-reasoning-low-effort", "none-low"),
        ("DeepSeek V4 Pro (Reasoning, High Effort)", "deepseek-v4-pro-high", "high"),
        ("Gemini 2.5 Flash-Lite Preview (Sep '25) (Reasoning)", "gemini-2-5-flash-lite-preview-09-2025-reasoning", "thinking"),
        ("GPT-4o (Aug '24)", "gpt-4o-2024-08-06", ""),
        ("Solar Pro 2 (Preview) (Non-reasoning)", "solar-pro-2-preview", "none"),
        ("Grok 3 mini Reasoning (high)", "grok-3-mini-reasoning", "high"),
        ("Mistral Medium", "mistral-medium", ""),
        ("Sonar Reasoning", "sonar-reasoning", ""),
        ("Kimi K2 Thinking", "kimi-k2-thinking", ""),
        ("Something New", "something-new-non-reasoning", "none"),
    ],
)
def test_the_effort_is_in_brackets_and_a_models_own_name_is_none(name: str, slug: str, effort: str) -> None:
    assert effort_of(name, slug) == effort


@pytest.mark.parametrize(("day", "models", "readings"), [("2026-03-01", 412, 6_095), ("2026-05-07", 513, 7_329)])
def test_a_whole_recorded_answer_is_read(day: str, models: int, readings: int) -> None:
    parsed = parse((DATA / f"llms-models-{day}.json").read_bytes(), fetched_at_us=AT_US)

    sane(parsed)
    assert (len(parsed.models), len(parsed.readings)) == (models, readings)
    assert all("the input price is left out" in problem for problem in parsed.problems)


def test_the_recorded_answer_has_every_value_that_was_measured_and_nothing_else() -> None:
    rows = json.loads((DATA / "llms-models-2026-05-07.json").read_bytes())["data"]
    expected = {
        (row["slug"], field): value for row in rows for field, value in row["evaluations"].items() if value not in (None, 0)
    }

    parsed = parse((DATA / "llms-models-2026-05-07.json").read_bytes(), fetched_at_us=AT_US)

    quality = [reading for reading in parsed.readings if reading.unit in ("points", "fraction")]
    assert len(quality) == len(expected)
    assert Counter(reading.value for reading in quality) == Counter(expected.values())


def test_no_broken_payload_becomes_a_wrong_value() -> None:
    def whole(payload: bytes) -> Parsed:
        return parse(payload, fetched_at_us=AT_US)

    assert attack(whole, OLD) > 100
    assert attack(whole, NEW) > 100


def test_a_reading_says_where_it_is_from() -> None:
    reading = read(OLD).readings[0]

    assert isinstance(reading, Reading)
    assert (reading.source, reading.fetched_at_us, reading.subject.creator) == ("artificial_analysis", AT_US, "OpenAI")
    assert read(OLD).models[0].aliases == ("u-1",)
    assert read(OLD).models[0].released == "2025-08-07"
