import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from ledger.adapters.litellm_prices import FILE, MEMO_LIMIT, LitellmPrices, PricesUnreadable, facts, load, parse
from ledger.prices.cost import cost_nusd
from ledger.records import Bounds, ImageRate, Price, Tokens
from tests.ledger.adapters.hostile import attack, sane

EXCERPT = Path(__file__).parents[1] / "data" / "litellm_prices.json"
VENDORS = ("openai", "groq", "mistral", "deepseek", "together_ai", "fireworks_ai", "xai", "cerebras", "perplexity", "zai")


@pytest.fixture(scope="module")
def prices() -> LitellmPrices:
    return LitellmPrices(parse(EXCERPT.read_bytes()), version="9.9")


@pytest.fixture(scope="module")
def installed() -> LitellmPrices:
    return load()


def one(text: str) -> LitellmPrices:
    return LitellmPrices(parse(text.encode()), version="9.9")


def test_usd_per_token_become_nano_usd_per_million(prices: LitellmPrices) -> None:
    found = prices.price("openai", "gpt-4o")

    # $2.50, $10 and $1.25 per million tokens.
    assert found is not None
    assert (found.input_nusd_per_mtok, found.output_nusd_per_mtok) == (2_500_000_000, 10_000_000_000)
    assert found.cache_read_nusd_per_mtok == 1_250_000_000
    assert found.source == "litellm 9.9: gpt-4o"


def test_a_row_under_the_providers_prefix_is_found_by_the_bare_name(prices: LitellmPrices) -> None:
    assert prices.rows("groq", "openai/gpt-oss-120b") == (
        Price(
            source="litellm 9.9: groq/openai/gpt-oss-120b",
            input_nusd_per_mtok=150_000_000,
            output_nusd_per_mtok=600_000_000,
            cache_read_nusd_per_mtok=75_000_000,
            search_nusd=5_000_000,
        ),
    )


TIERED = """{"m": {"litellm_provider": "p", "mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6,
  "cache_creation_input_token_cost": 0, "cache_creation_input_token_cost_above_1hr": 3e-6,
  "input_cost_per_token_above_200k_tokens": 4e-6, "output_cost_per_token_above_272k_tokens": 5e-6,
  "input_cost_per_token_flex": 6e-7, "input_cost_per_token_above_200k_tokens_flex": 7e-7,
  "output_cost_per_token_batches": 8e-7, "input_cost_per_token_priority": "much", "input_cost_per_token_ultrafast": 9e-6,
  "search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_high": 0.01}}}"""


def test_cliffs_keep_what_they_do_not_change() -> None:
    found = one(TIERED).price("p", "m")

    assert found is not None
    tiers = [(it.above_tokens, it.rates.input_nusd_per_mtok, it.rates.output_nusd_per_mtok) for it in found.context_tiers]
    assert tiers == [(200_000, 4_000_000_000, 2_000_000_000), (272_000, 4_000_000_000, 5_000_000_000)]


def test_a_service_is_charged_as_standard_where_it_says_nothing() -> None:
    found = one(TIERED).price("p", "m")

    assert found is not None
    services = {it.name: it for it in found.service_tiers}
    assert set(services) == {"batch", "flex"}
    assert (services["batch"].rates.input_nusd_per_mtok, services["batch"].rates.output_nusd_per_mtok) == (10**9, 800_000_000)
    assert [it.rates.input_nusd_per_mtok for it in services["flex"].context_tiers] == [700_000_000, 700_000_000]
    assert [it.rates.output_nusd_per_mtok for it in services["flex"].context_tiers] == [2_000_000_000, 5_000_000_000]


def test_cache_writes_and_searches_have_their_prices() -> None:
    found = one(TIERED).price("p", "m")

    assert found is not None
    assert (found.cache_write_nusd_per_mtok, found.cache_write_1h_nusd_per_mtok) == (None, 3_000_000_000)
    assert found.search_nusd == 10_000_000


def test_a_search_that_costs_by_its_size_has_no_one_price() -> None:
    found = one(TIERED.replace('high": 0.01', 'high": 0.02')).price("p", "m")

    assert found is not None
    assert found.search_nusd is None


@pytest.mark.parametrize(
    ("provider", "model", "key"),
    [
        ("openai", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("openai", "ft:gpt-4o-2024-08-06:acme:support:A1b2C3", "ft:gpt-4o-2024-08-06"),
        ("openai", "gpt-3.5-turbo-instruct", "gpt-3.5-turbo-instruct"),
        ("deepseek", "deepseek-chat", "deepseek/deepseek-chat"),
        ("together_ai", "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo", None),
        ("perplexity", "sonar", "perplexity/sonar"),
        ("perplexity", "perplexity/sonar", "perplexity/perplexity/sonar"),
        ("perplexity", "perplexity/sonar-reasoning-pro", "perplexity/sonar-reasoning-pro"),
    ],
)
def test_the_row_that_was_used_is_named(prices: LitellmPrices, provider: str, model: str, key: str | None) -> None:
    found = prices.price(provider, model)

    assert found is not None
    assert found.source == f"litellm 9.9: {key or model}"


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-99"),
        ("groq", "gpt-4o"),
        ("openai", "claude-haiku-4-5"),
        ("openai", "azure/gpt-4o"),
        ("", "gpt-4o"),
        ("one of https://docs.litellm.ai/docs/providers", "sample_spec"),
    ],
    ids=["no row", "another's row", "another's bare row", "another's prefix", "no provider", "the example"],
)
def test_an_offer_that_the_list_does_not_have_has_no_price(prices: LitellmPrices, provider: str, model: str) -> None:
    found = prices.price(provider, model)

    assert found is None


def test_each_kind_of_token_has_the_price_of_its_row(prices: LitellmPrices) -> None:
    audio, haiku = prices.price("openai", "gpt-audio"), prices.price("anthropic", "claude-haiku-4-5")

    assert audio is not None
    assert haiku is not None
    assert (audio.input_audio_nusd_per_mtok, audio.output_audio_nusd_per_mtok) == (32_000_000_000, 64_000_000_000)
    assert (haiku.cache_read_nusd_per_mtok, haiku.cache_write_nusd_per_mtok) == (100_000_000, 1_250_000_000)


def test_reasoning_has_its_own_price_where_the_row_says_so() -> None:
    thinking = one(
        '{"m": {"litellm_provider": "p", "mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6,'
        ' "output_cost_per_reasoning_token": 3e-6}}'
    ).price("p", "m")

    assert thinking is not None
    assert thinking.reasoning_nusd_per_mtok == 3_000_000_000


def test_a_price_per_request_is_charged_beside_the_tokens(prices: LitellmPrices) -> None:
    online = prices.price("perplexity", "sonar-small-online")

    assert online is not None
    assert cost_nusd(online, Tokens(input_uncached=1000, output_text=1000)) == 5_000_000 + 280_000


def test_an_embedding_has_no_output_and_needs_no_price_for_it(prices: LitellmPrices) -> None:
    embed = prices.price("mistral", "mistral-embed")

    assert embed is not None
    assert (embed.input_nusd_per_mtok, embed.output_nusd_per_mtok) == (100_000_000, 0)


def test_a_free_model_costs_nothing_and_its_source_says_that_it_is_free(prices: LitellmPrices) -> None:
    free = prices.price("zai", "glm-4.7-flash")

    assert free is not None
    assert (free.input_nusd_per_mtok, free.output_nusd_per_mtok) == (0, 0)
    assert free.source == "litellm 9.9: zai/glm-4.7-flash (free)"


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("perplexity", "preset/pro-search"),
        ("gemini", "lyria-realtime-exp"),
        ("nvidia_nim", "nvidia/nv-rerankqa-mistral-4b-v3"),
    ],
    ids=["no prices", "by the image", "by the query"],
)
def test_a_row_that_does_not_charge_by_token_is_unknown_and_not_free(prices: LitellmPrices, provider: str, model: str) -> None:
    found = prices.price(provider, model)

    assert found is None


@pytest.mark.parametrize(
    ("mode", "fields", "expected"),
    [
        (
            "audio_transcription",
            '"input_cost_per_second": 0.0001, "output_cost_per_second": 0.0001',
            {"audio_nusd_per_hour": 360_000_000},
        ),
        ("audio_transcription", '"input_cost_per_second": 3.083e-05', {"audio_nusd_per_hour": 110_988_000}),
        ("audio_speech", '"input_cost_per_character": 1.5e-05', {"characters_nusd_per_mchar": 15_000_000_000}),
        ("rerank", '"input_cost_per_query": 0.002, "input_cost_per_token": 0.0', {"query_nusd": 2_000_000}),
        ("image_generation", '"input_cost_per_image": 0.02', {"image_nusd": 20_000_000}),
        ("image_generation", '"input_cost_per_image": 0.0011, "output_cost_per_image": 0.134', {"image_nusd": 134_000_000}),
        (
            "image_generation",
            '"input_cost_per_token": 5e-6, "output_cost_per_image_token": 4e-5',
            {
                "input_nusd_per_mtok": 5_000_000_000,
                "output_nusd_per_mtok": 40_000_000_000,
                "output_image_nusd_per_mtok": 40_000_000_000,
            },
        ),
    ],
)
def test_what_a_model_charges_by_the_piece_is_read_by_its_mode(mode: str, fields: str, expected: dict[str, int]) -> None:
    found = one(f'{{"m": {{"litellm_provider": "p", "mode": "{mode}", {fields}}}}}').price("p", "m")

    plain = {"input_nusd_per_mtok": 0, "output_nusd_per_mtok": 0}
    assert found == Price(source="litellm 9.9: m", **{**plain, **expected})


def test_moderation_without_a_charge_is_free() -> None:
    fields = '"input_cost_per_token": 0, "output_cost_per_token": 0'

    found = one(f'{{"m": {{"litellm_provider": "p", "mode": "moderation", {fields}}}}}').price("p", "m")

    assert found == Price(source="litellm 9.9: m (free)", input_nusd_per_mtok=0, output_nusd_per_mtok=0)


def test_pictures_of_one_size_and_quality_have_rows_of_their_own() -> None:
    rows = """{
      "high/1024-x-1536/m": {"litellm_provider": "p", "mode": "image_generation", "input_cost_per_image": 0.2},
      "1024-x-1024/m": {"litellm_provider": "p", "mode": "image_generation", "output_cost_per_image": 0.01},
      "p/hd/512-x-512/m": {"litellm_provider": "p", "mode": "image_generation", "input_cost_per_pixel": 1e-7},
      "low/1024-x-1024/m": {"litellm_provider": "other", "mode": "image_generation", "input_cost_per_image": 0.1},
      "low/9-x-9/m": {"litellm_provider": "p", "mode": "image_generation"},
      "m2": {"litellm_provider": "p", "mode": "image_generation", "input_cost_per_image": 0.1}}"""

    found = one(rows).price("p", "m")

    assert found == Price(
        source="litellm 9.9: m",
        input_nusd_per_mtok=0,
        output_nusd_per_mtok=0,
        images=(
            ImageRate(size="1024x1536", quality="high", image_nusd=200_000_000),
            ImageRate(size="1024x1024", quality="", image_nusd=10_000_000),
            ImageRate(size="512x512", quality="hd", image_nusd=26_214_400),
        ),
    )


def test_what_the_installed_list_says_of_models_that_draw_speak_listen_and_rerank(installed: LitellmPrices) -> None:
    drawn, spoken, heard, ranked = (
        installed.price(*offer)
        for offer in (("openai", "gpt-image-2"), ("openai", "tts-1"), ("groq", "whisper-large-v3"), ("cohere", "rerank-v3.5"))
    )

    assert drawn is not None and spoken is not None and heard is not None and ranked is not None
    assert drawn.output_image_nusd_per_mtok
    assert spoken.characters_nusd_per_mchar
    assert heard.audio_nusd_per_hour
    assert ranked.query_nusd


@pytest.mark.parametrize("missing", ["input_cost_per_token", "output_cost_per_token"])
def test_a_row_with_half_its_prices_is_unknown(missing: str) -> None:
    fields = '"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6'.replace(missing, "something_else")

    found = one(f'{{"m": {{"litellm_provider": "p", "mode": "chat", {fields}}}}}').price("p", "m")

    assert found is None


def test_a_negative_price_is_unknown() -> None:
    found = one(
        '{"m": {"litellm_provider": "p", "mode": "chat", "input_cost_per_token": -1, "output_cost_per_token": 1}}'
    ).price("p", "m")

    assert found is None


def test_a_cache_write_at_no_extra_cost_is_charged_as_input(prices: LitellmPrices) -> None:
    deepseek = prices.price("deepseek", "deepseek-chat")

    assert deepseek is not None
    assert cost_nusd(deepseek, Tokens(cache_write=1_000_000)) == 280_000_000


def test_the_noise_of_a_float_is_rounded_away(prices: LitellmPrices) -> None:
    noisy = prices.price("novita", "deepseek/deepseek-v4-pro-0813")

    assert noisy is not None
    assert noisy.cache_read_nusd_per_mtok == 132_000_000


def test_names_are_the_text_models_without_prefix(prices: LitellmPrices) -> None:
    assert prices.names("openai") == [
        "ft:gpt-4o-2024-08-06",
        "gpt-3.5-turbo-instruct",
        "gpt-4o",
        "gpt-4o-2024-08-06",
        "gpt-audio",
        "text-embedding-3-small",
    ]
    assert prices.names("deepseek") == ["deepseek-chat"]
    assert prices.names("nvidia_nim") == prices.names("unheard_of") == []


def test_a_price_class_by_model_size_is_no_model(prices: LitellmPrices) -> None:
    assert prices.names("together_ai") == ["meta-llama/Llama-3.3-70B-Instruct-Turbo"]


def test_a_row_of_another_shape_is_left_out_and_the_others_stay() -> None:
    rows = parse(
        b'{"a": {"litellm_provider": "p", "input_cost_per_token": "a lot"}, "b": 5,'
        b' "c": {"litellm_provider": "p", "input_cost_per_token": 1, "output_cost_per_token": 1}}'
    )

    assert list(rows) == ["c"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"a": {"input_cost_per_token": NaN}}', b"\xff"])
def test_what_is_no_price_list_is_refused(data: bytes) -> None:
    with pytest.raises(PricesUnreadable):
        parse(data)


def test_invented_names_do_not_fill_the_memory(prices: LitellmPrices) -> None:
    for number in range(MEMO_LIMIT + 100):
        prices.price("openai", f"invented-{number}")

    assert prices._memo.cache_info().currsize == MEMO_LIMIT


def test_the_installed_list_knows_every_vendor_and_prices_nearly_all_of_their_models(installed: LitellmPrices) -> None:
    names = {vendor: installed.names(vendor) for vendor in VENDORS}
    priced = {vendor: sum(installed.price(vendor, name) is not None for name in names[vendor]) for vendor in VENDORS}

    assert {vendor for vendor in VENDORS if len(names[vendor]) < 5} == set()
    assert {vendor for vendor in VENDORS if priced[vendor] < 0.9 * len(names[vendor])} == set()


def test_a_price_of_the_installed_list_names_its_release_and_row(installed: LitellmPrices) -> None:
    found = installed.price("openai", "gpt-4o")

    assert found is not None
    assert re.fullmatch(r"litellm 1\.\d+\.\d+: gpt-4o", found.source)
    assert found.output_nusd_per_mtok > found.input_nusd_per_mtok > 0


def test_the_most_that_a_model_takes_and_gives_is_read_where_the_list_says_it() -> None:
    text = (
        '{"m": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 128000, "max_output_tokens": 16384},'
        ' "odd": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": "many", "max_output_tokens": 0}}'
    )

    assert one(text).bounds("openai", "m") == Bounds(input_tokens=128_000, output_tokens=16_384, reasoning=False)
    assert one(text).bounds("openai", "odd") == Bounds(reasoning=False)
    assert one(text).bounds("openai", "none") == Bounds()


def test_the_installed_list_knows_who_thinks_and_how_it_is_told(installed: LitellmPrices) -> None:
    told = {model: installed.bounds("anthropic", model) for model in ("claude-opus-4-6", "claude-sonnet-4-5")}

    assert {model: (it.reasoning, it.adaptive) for model, it in told.items()} == {
        "claude-opus-4-6": (True, True),
        "claude-sonnet-4-5": (True, False),
    }
    assert not installed.bounds("openai", "gpt-4o").reasoning


@pytest.mark.parametrize(
    ("fields", "efforts"),
    [
        ({}, ()),
        ({"supports_minimal_reasoning_effort": True}, ("minimal", "low", "medium", "high")),
        ({"supports_none_reasoning_effort": True, "supports_low_reasoning_effort": False}, ("none", "medium", "high")),
        ({"supports_xhigh_reasoning_effort": True, "supports_max_reasoning_effort": True},
         ("low", "medium", "high", "xhigh", "max")),
        ({"reasoning_effort_levels": ["max", "low", "odd"], "supports_none_reasoning_effort": True}, ("low", "max")),
    ],
)  # fmt: skip
def test_the_efforts_that_a_model_takes_are_those_that_are_listed_or_the_usual_ones(
    fields: dict[str, object], efforts: tuple[str, ...]
) -> None:
    row = json.dumps({"m": {"litellm_provider": "openai", "mode": "chat", **fields}})

    assert one(row).bounds("openai", "m").efforts == efforts


def test_the_installed_list_knows_which_models_are_served_by_responses_alone(installed: LitellmPrices) -> None:
    assert installed.bounds("openai", "gpt-5-codex").responses_only
    assert not installed.bounds("openai", "gpt-5").responses_only
    assert not installed.bounds("openai", "gpt-4o").responses_only


def test_the_installed_list_knows_how_long_answers_can_be(installed: LitellmPrices) -> None:
    assert installed.bounds("openai", "gpt-4o").output_tokens == 16_384


LISTED = {
    "openai/gpt-5": {
        "litellm_provider": "openai",
        "mode": "chat",
        "max_input_tokens": 272_000,
        "max_output_tokens": 128_000,
        "input_cost_per_token": 1.25e-06,
        "output_cost_per_token": 1e-05,
        "supports_vision": True,
        "supports_function_calling": True,
        "supports_reasoning": False,
    },
    "dall-e-3": {"litellm_provider": "openai", "mode": "image_generation", "max_input_tokens": 1},
    "odd": {"litellm_provider": "acme", "mode": "chat", "max_input_tokens": "set it", "input_cost_per_token": "dear"},
}


def test_facts_are_limits_and_abilities_of_text_models_by_their_host() -> None:
    parsed = facts(json.dumps(LISTED), fetched_at_us=0)

    gpt, odd = parsed.models
    assert (gpt.subject.source_name, gpt.subject.host, gpt.context_tokens) == ("gpt-5", "openai", 272_000)
    assert (gpt.modalities_in, gpt.capabilities) == (("text", "image"), ("tools", "vision"))
    assert (odd.context_tokens, odd.output_max_tokens) == (None, None)
    assert [offer.price.input_nusd_per_mtok for offer in parsed.prices] == [1_250_000_000]
    assert parsed.problems[0].startswith("odd: the price cannot be read")


def test_the_facts_of_the_installed_list_are_read_whole() -> None:
    spec = find_spec("litellm")
    assert spec is not None
    data = Path(next(iter(spec.submodule_search_locations or ())), FILE).read_bytes()

    parsed = facts(data, fetched_at_us=0)

    sane(parsed)
    assert len(parsed.models) > 2_000
    assert len(parsed.problems) < 20


def test_no_broken_list_becomes_a_wrong_fact() -> None:
    assert attack(lambda payload: facts(payload, fetched_at_us=0), LISTED) > 100
