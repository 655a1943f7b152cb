"""models.dev: three files of one shape, prices that are none, scores in percent, and versions that are not mixed."""

import json
from typing import Any

import pytest

from ledger.adapters.models_dev import parse
from ledger.errors import SourceUnreadable
from ledger.facts import Parsed
from tests.ledger.adapters.hostile import attack

AT_US = 1_790_000_000_000_000
MODEL = {
    "id": "anthropic/claude-opus-5",
    "name": "Claude Opus 5",
    "release_date": "2026-07-01",
    "reasoning": True,
    "tool_call": True,
    "open_weights": False,
    "modalities": {"input": ["text", "image", "pdf"], "output": ["text"]},
    "limit": {"context": 1_000_000, "output": 128_000},
    "benchmarks": [
        {"name": "SWE-Bench Verified", "score": 82.5, "metric": "resolved", "date": "2026-07-01"},
        {"name": "Terminal-Bench", "score": 66.1, "version": "2.1", "harness": "Terminus-2", "variant": "medium"},
        {"name": "Terminal Bench 2.0", "score": 60.5},
        {"name": "Humanity’s Last Exam", "score": 0.5},
        {"name": "SWE Bench Pro", "score": "about 50"},
        {"name": "Artificial Analysis Coding Index", "score": 61},
        {"name": "Aider Polyglot", "score": 88},
    ],
}
OFFER = {
    "id": "claude-opus-5",
    "name": "Claude Opus 5",
    "limit": {"context": 200_000, "output": 64_000},
    "cost": {
        "input": 5,
        "output": 25,
        "cache_read": 0.5,
        "cache_write": 6.25,
        "tiers": [{"tier": {"type": "context", "size": 200_000}, "input": 10, "output": 37.5}],
    },
}
CATALOGUE = {
    "models": {"anthropic/claude-opus-5": MODEL},
    "providers": {"anthropic": {"id": "anthropic", "models": {"claude-opus-5": OFFER}}},
}


def read(payload: Any) -> Parsed:
    return parse(json.dumps(payload), fetched_at_us=AT_US)


def offer(**cost: Any) -> Parsed:
    return read({"acme": {"models": {"m": {"id": "m", "cost": cost}}}})


def test_scores_are_percentages_and_what_may_be_a_fraction_is_left_out() -> None:
    parsed = read(CATALOGUE)

    found = {(it.metric, it.source_version, it.subject.effort): it.value for it in parsed.readings}
    assert found == {
        ("swe_bench_verified", "", ""): 0.825,
        ("terminal_bench_2", "2.1; Terminus-2", "medium"): 0.661,
        ("terminal_bench_2", "2.0", ""): 0.605,
    }
    assert len(parsed.problems) == 2


def test_the_three_files_are_read_alike() -> None:
    catalogue, models, api = read(CATALOGUE), read(CATALOGUE["models"]), read(CATALOGUE["providers"])

    assert catalogue.models == models.models + api.models
    assert catalogue.readings == models.readings
    assert catalogue.prices == api.prices


def test_prices_are_per_million_and_tiers_keep_what_they_do_not_say() -> None:
    ((price,), *_) = ([it.price for it in read(CATALOGUE).prices],)

    assert (price.input_nusd_per_mtok, price.cache_read_nusd_per_mtok) == (5_000_000_000, 500_000_000)
    assert price.context_tiers[0].above_tokens == 200_000
    assert price.context_tiers[0].rates.output_nusd_per_mtok == 37_500_000_000
    assert price.context_tiers[0].rates.cache_write_nusd_per_mtok == 6_250_000_000


def test_the_older_name_of_a_tier_is_read_where_there_are_no_tiers() -> None:
    (found,) = offer(input=1, output=2, context_over_200k={"input": 3, "output": 4}).prices

    assert [tier.above_tokens for tier in found.price.context_tiers] == [200_000]


@pytest.mark.parametrize(
    "cost",
    [
        {"input": 0, "output": 0},
        {"input": 1},
        {"input": "free", "output": 1},
        {"input": -1, "output": 1},
        {"input": 1, "output": 2, "tiers": [{"tier": {"size": -5}, "input": 1}]},
        {},
    ],
)
def test_what_is_no_price_is_unknown_not_nothing(cost: dict[str, Any]) -> None:
    assert offer(**cost).prices == ()


def test_limits_and_capabilities_are_of_the_model_and_of_each_offer() -> None:
    model, at_host = read(CATALOGUE).models

    assert (model.context_tokens, model.released, model.subject.host) == (1_000_000, "2026-07-01", "")
    assert (model.modalities_in, model.capabilities) == (("text", "image", "file"), ("reasoning", "tools", "vision"))
    assert (at_host.context_tokens, at_host.subject.host, at_host.capabilities) == (200_000, "anthropic", ("prompt_cache",))


def test_no_broken_payload_becomes_a_wrong_value() -> None:
    assert attack(lambda payload: parse(payload, fetched_at_us=AT_US), CATALOGUE) > 100


def test_an_empty_catalogue_is_no_catalogue() -> None:
    with pytest.raises(SourceUnreadable, match="not one model"):
        read({})
