"""OpenRouter: USD per token as texts, what 0 and -1 mean, whose benchmarks it shows, and who serves a model how."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.openrouter import parse, parse_endpoints
from ledger.facts import ModelFact, Parsed
from ledger.prices.cost import cost_nusd
from ledger.records import Price, Tokens
from tests.ledger.adapters.hostile import attack, sane

DATA = Path(__file__).parent / "data"
AT_US = 1_785_500_000_000_000
RECORDED = (DATA / "openrouter-models-2026-08-01.json").read_bytes()
ROW = {
    "id": "anthropic/claude-sonnet-4.5",
    "canonical_slug": "anthropic/claude-4.5-sonnet-20250929",
    "hugging_face_id": "",
    "name": "Anthropic: Claude Sonnet 4.5",
    "created": 1_759_161_676,
    "context_length": 1_000_000,
    "architecture": {"input_modalities": ["text", "image", "file"], "output_modalities": ["text"]},
    "pricing": {
        "prompt": "0.000003",
        "completion": "0.000015",
        "request": "0.001",
        "web_search": "0.01",
        "input_cache_read": "0.0000003",
        "input_cache_write": "0.00000375",
        "overrides": [{"min_prompt_tokens": 200_000, "prompt": "0.000006", "completion": "0.0000225"}],
    },
    "top_provider": {"context_length": 1_000_000, "max_completion_tokens": 64_000},
    "supported_parameters": ["tools", "reasoning", "structured_outputs", "seed"],
    "reasoning": {"mandatory": False, "supported_efforts": ["high", "low"]},
    "benchmarks": {
        "artificial_analysis": {"intelligence_index": 36.4, "coding_index": 52.1, "agentic_index": 0},
        "design_arena": [
            {"arena": "models", "category": "codecategories", "elo": 1213},
            {"arena": "models", "category": "svg", "elo": 1161},
        ],
    },
}
ENDPOINTS = {
    "data": {
        "id": "deepseek/deepseek-v4",
        "name": "DeepSeek V4",
        "endpoints": [
            {
                "tag": "deepinfra/fp8",
                "provider_name": "DeepInfra",
                "context_length": 131_072,
                "max_completion_tokens": 8192,
                "pricing": {"prompt": "0.0000002", "completion": "0.0000008", "discount": 0},
                "supported_parameters": ["tools"],
                "supports_implicit_caching": True,
                "status": 0,
                "uptime_last_1d": 99.5,
                "latency_last_30m": {"p50": 0.45, "p75": 0.8, "p90": 1.5, "p99": 4},
                "throughput_last_30m": {"p50": 62.5},
            },
            {
                "provider_name": "Elsewhere",
                "pricing": {"prompt": "0.0000002", "completion": "0.0000008", "discount": 0.25},
                "uptime_last_1d": 101,
                "latency_last_30m": {"p50": 450, "p90": 1500},
            },
        ],
    }
}


def read(*rows: dict[str, Any]) -> Parsed:
    return parse(json.dumps({"data": rows}), fetched_at_us=AT_US)


def priced(**pricing: Any) -> tuple[Price | None, tuple[str, ...]]:
    parsed = read(ROW | {"id": "acme/m", "pricing": pricing})
    return (parsed.prices[0].price if parsed.prices else None), parsed.problems


def test_a_price_per_token_is_an_integer_per_million() -> None:
    (offer,) = read(ROW).prices

    price = offer.price
    assert (price.input_nusd_per_mtok, price.output_nusd_per_mtok) == (3_000_000_000, 15_000_000_000)
    assert (price.cache_read_nusd_per_mtok, price.cache_write_nusd_per_mtok) == (300_000_000, 3_750_000_000)
    assert (price.request_nusd, price.search_nusd) == (1_000_000, 10_000_000)
    assert offer.subject.host == "openrouter"


def test_an_override_holds_from_its_number_of_tokens_on_and_keeps_what_it_does_not_say() -> None:
    price = read(ROW).prices[0].price

    at_last, from_then = (cost_nusd(price, Tokens(input_uncached=count)) for count in (199_999, 200_000))

    assert at_last == 1_000_000 + 199_999 * 3_000
    assert from_then == 1_000_000 + 200_000 * 6_000
    assert price.context_tiers[0].rates.cache_read_nusd_per_mtok == 300_000_000


@pytest.mark.parametrize(
    ("name", "free"), [("acme/m:free", True), ("openrouter/free", True), ("acme/m", False), ("google/lyria-3", False)]
)
def test_nothing_to_pay_is_believed_of_what_is_called_free_only(name: str, free: bool) -> None:
    parsed = read(ROW | {"id": name, "pricing": {"prompt": "0", "completion": "0"}})

    assert bool(parsed.prices) == free
    assert bool(parsed.problems) != free
    assert all(offer.price.source.endswith("(free)") for offer in parsed.prices)


@pytest.mark.parametrize(
    "pricing",
    [
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "$2.50 / 1M tokens", "completion": "0.000001"},
        {"prompt": "2.5", "completion": "10"},
        {"prompt": "NaN", "completion": "0.1"},
        {"completion": "0.000001"},
        {"prompt": "0.000001", "completion": "0.000001", "input_cache_read": "-0.5"},
        {"prompt": "0.000001", "completion": "0.000001", "overrides": [{"min_prompt_tokens": 0, "prompt": "0.1"}]},
        {"prompt": "0.000001", "completion": "0.000001", "overrides": [{"min_prompt_tokens": 9, "prompt": "-1"}]},
    ],
)
def test_a_price_that_cannot_be_read_whole_is_unknown_and_said(pricing: dict[str, Any]) -> None:
    price, problems = priced(**pricing)

    assert price is None
    assert problems


def test_a_cache_write_below_the_input_price_is_storage_on_top_of_it() -> None:
    price, _ = priced(prompt="0.0000003", completion="0.0000025", input_cache_write="0.00000008333333333333334")

    assert price is not None
    assert price.cache_write_nusd_per_mtok == 383_333_333


def test_a_picture_or_a_second_of_sound_is_no_token() -> None:
    price, problems = priced(prompt="0.0000001", completion="0.0000003", image="0.00361", audio="0.0001")

    assert price is not None
    assert (price.input_image_nusd_per_mtok, price.input_audio_nusd_per_mtok) == (None, None)
    assert len(problems) == 2


def test_benchmarks_are_the_models_own_and_those_of_artificial_analysis_its_highest_effort() -> None:
    readings = {reading.metric: reading for reading in read(ROW).readings}

    assert {metric: reading.value for metric, reading in readings.items()} == {
        "intelligence_index": 36.4,
        "coding_index": 52.1,
        "design_arena_elo": 1213,
    }
    assert readings["intelligence_index"].subject.effort == "max"
    assert readings["design_arena_elo"].subject.effort == ""
    assert {reading.subject.host for reading in readings.values()} == {""}


def test_a_model_without_efforts_has_no_highest_one() -> None:
    row = {key: value for key, value in ROW.items() if key != "reasoning"}

    assert {reading.subject.effort for reading in read(row).readings} == {""}


def test_a_model_has_its_limits_and_capabilities() -> None:
    (model,) = read(ROW).models

    assert (model.context_tokens, model.output_max_tokens, model.released) == (1_000_000, 64_000, "2025-09-29")
    assert model.capabilities == ("prompt_cache", "reasoning", "structured_output", "tools", "vision")
    assert (model.modalities_in, model.aliases) == (("text", "image", "file"), ("anthropic/claude-4.5-sonnet-20250929",))


def test_another_name_of_a_model_is_no_model_of_its_own() -> None:
    parsed = read(ROW | {"id": "~anthropic/claude-latest", "alias_target": {"slug": "anthropic/claude-sonnet-4.5"}})

    assert parsed.models[0].base_model == "anthropic/claude-sonnet-4.5"
    assert (parsed.prices, parsed.readings) == ((), ())


def test_the_whole_recorded_answer_is_read() -> None:
    parsed = parse(RECORDED, fetched_at_us=AT_US)

    sane(parsed)
    assert (len(parsed.models), len(parsed.prices), len(parsed.readings)) == (336, 319, 432)
    assert len(parsed.problems) == 8


def recorded() -> Iterator[tuple[dict[str, Any], Price]]:
    parsed = parse(RECORDED, fetched_at_us=AT_US)
    prices = {offer.subject.source_name: offer.price for offer in parsed.prices}
    for row in json.loads(RECORDED)["data"]:
        if row["id"] in prices:
            yield row, prices[row["id"]]


def test_every_recorded_price_is_what_was_written_to_the_nano_dollar() -> None:
    different = []
    for row, price in recorded():
        for key, amount in (("prompt", price.input_nusd_per_mtok), ("completion", price.output_nusd_per_mtok)):
            if abs(Decimal(row["pricing"][key]) * 10**15 - amount) > Decimal("0.5"):
                different.append((row["id"], key))

    assert different == []


def test_the_endpoints_of_several_models_are_one_list() -> None:
    one = parse_endpoints(json.dumps(ENDPOINTS), fetched_at_us=AT_US)

    both = parse_endpoints(json.dumps([ENDPOINTS, {"data": {"id": "x/y", "endpoints": []}}]), fetched_at_us=AT_US)

    assert both == one


def test_endpoints_are_offers_with_their_own_speed_and_uptime() -> None:
    parsed = parse_endpoints(json.dumps(ENDPOINTS), fetched_at_us=AT_US)

    by_host: dict[str, dict[str, float]] = {}
    for reading in parsed.readings:
        by_host.setdefault(reading.subject.host, {})[reading.metric] = reading.value
    assert by_host == {
        "openrouter:deepinfra": {
            "uptime_external": 0.995,
            "ttft_p50": 450.0,
            "ttft_p90": 1500.0,
            "ttft_p99": 4000.0,
            "output_tps_p50": 62.5,
        },
        "openrouter:elsewhere": {"ttft_p50": 450.0, "ttft_p90": 1500.0},
    }
    assert [offer.subject.plan for offer in parsed.prices] == ["fp8"]
    assert len(parsed.problems) == 2
    assert isinstance(parsed.models[0], ModelFact)


@pytest.mark.parametrize("p50", [10, 25, 49.9])
def test_a_latency_whose_unit_nobody_can_tell_is_left_out(p50: float) -> None:
    endpoint = {"tag": "a", "latency_last_30m": {"p50": p50}, "pricing": {"prompt": "0.1", "completion": "0.1"}}

    parsed = parse_endpoints(json.dumps({"data": {"id": "x/y", "endpoints": [endpoint]}}), fetched_at_us=AT_US)

    assert parsed.readings == ()
    assert "seconds or in milliseconds" in parsed.problems[-1]


def test_no_broken_payload_becomes_a_wrong_value() -> None:
    assert attack(lambda payload: parse(payload, fetched_at_us=AT_US), {"data": [ROW]}) > 100
    assert attack(lambda payload: parse_endpoints(payload, fetched_at_us=AT_US), ENDPOINTS) > 100
