"""What the vendors' own APIs mean by their counts."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.openai import response
from providers.openai.vendors import VENDORS
from providers.usage import OPENAI_LIKE, ROWS, TOKENS_MAX, Semantics, Usage, read, semantics_of
from tests.recordings import recordings

BUCKETS = ("input_uncached", "cache_read", "cache_write", "input_audio", "output_text", "reasoning", "output_audio",
           "cache_write_1h", "cache_read_audio", "input_image", "output_image", "web_searches")  # fmt: skip


def of(vendor: str, api: str, said: Any) -> Usage | None:
    return read(json.dumps(said).encode(), ROWS[vendor, api])


@pytest.mark.parametrize(
    ("vendor", "api", "said", "expected"),
    [
        # Cached tokens are beside input_tokens, an hour's writes inside of the writes, searches no tokens.
        ("anthropic", "messages",
         {"input_tokens": 10, "output_tokens": 7, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50,
          "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
          "server_tool_use": {"web_search_requests": 2}, "output_tokens_details": {"thinking_tokens": 3}},
         {"input_uncached": 10, "cache_read": 100, "cache_write": 20, "cache_write_1h": 30, "output_text": 4, "reasoning": 3,
          "web_searches": 2}),
        # A split that is larger than the whole is the whole.
        ("anthropic", "messages",
         {"input_tokens": 10, "output_tokens": 7, "cache_creation_input_tokens": 5,
          "cache_creation": {"ephemeral_1h_input_tokens": 30}},
         {"input_uncached": 10, "cache_write_1h": 5, "output_text": 7}),
        # Thoughts and the tools' prompt are beside, the cache is inside, and part of it may be audio or images.
        ("gemini", "generateContent",
         {"promptTokenCount": 100, "candidatesTokenCount": 20, "thoughtsTokenCount": 30, "toolUsePromptTokenCount": 5,
          "totalTokenCount": 155, "cachedContentTokenCount": 40,
          "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 60}, {"modality": "AUDIO", "tokenCount": 40}],
          "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 15}, {"modality": "TEXT", "tokenCount": 25}]},
         {"input_uncached": 40, "cache_read": 25, "cache_read_audio": 15, "input_audio": 25, "output_text": 20,
          "reasoning": 30}),
        ("gemini", "generateContent",
         {"promptTokenCount": 345, "candidatesTokenCount": 70, "cachedContentTokenCount": 191,
          "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 87}, {"modality": "IMAGE", "tokenCount": 258}],
          "cacheTokensDetails": [{"modality": "IMAGE", "tokenCount": 143}, {"modality": "TEXT", "tokenCount": 48}]},
         {"input_uncached": 39, "cache_read": 191, "input_image": 115, "output_text": 70}),
        ("gemini", "generateContent",
         {"promptTokenCount": 5, "candidatesTokenCount": 1300,
          "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]},
         {"input_uncached": 5, "output_text": 10, "output_image": 1290}),
        ("bedrock", "converse",
         {"inputTokens": 10, "outputTokens": 5, "totalTokens": 75, "cacheReadInputTokens": 40, "cacheWriteInputTokens": 20,
          "cacheDetails": [{"ttl": "5m", "inputTokens": 12}, {"ttl": "1h", "inputTokens": 8}]},
         {"input_uncached": 10, "cache_read": 40, "cache_write": 12, "cache_write_1h": 8, "output_text": 5}),
        # Billed units are what is invoiced.
        ("cohere", "chat",
         {"billed_units": {"input_tokens": 13.0, "output_tokens": 61}, "tokens": {"input_tokens": 542, "output_tokens": 63}},
         {"input_uncached": 13, "output_text": 61}),
        # num_cached_tokens are not discounted.
        ("mistral", "chat/completions", {"prompt_tokens": 64, "completion_tokens": 6, "num_cached_tokens": 32},
         {"input_uncached": 64, "output_text": 6}),
        ("deepseek", "chat/completions", {"prompt_tokens": 64, "completion_tokens": 6, "prompt_cache_hit_tokens": 32},
         {"input_uncached": 32, "cache_read": 32, "output_text": 6}),
        ("xai", "chat/completions",
         {"prompt_tokens": 10, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 2}},
         {"input_uncached": 10, "output_text": 3, "reasoning": 2}),
        ("xai", "responses", {"input_tokens": 10, "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 2}},
         {"input_uncached": 10, "output_text": 1, "reasoning": 2}),
        ("perplexity", "chat/completions",
         {"prompt_tokens": 33, "completion_tokens": 7163, "total_tokens": 7196, "num_search_queries": 18,
          "reasoning_tokens": 95305},
         {"input_uncached": 33, "output_text": 7163, "reasoning": 95305, "web_searches": 18}),
        # Thoughts that only the total has.
        ("gemini", "chat/completions", {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
         {"input_uncached": 35, "output_text": 12, "reasoning": 62}),
        ("gemini", "chat/completions",
         {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 47,
          "completion_tokens_details": {"reasoning_tokens": 5}},
         {"input_uncached": 35, "output_text": 7, "reasoning": 5}),
        ("openai", "embeddings", {"prompt_tokens": 8, "total_tokens": 8}, {"input_uncached": 8}),
        # Cached audio that is not told apart: no token is counted twice.
        ("openai", "chat/completions",
         {"prompt_tokens": 100, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 80}},
         {"input_uncached": 40, "cache_read": 60}),
    ],
)  # fmt: skip
def test_the_vendors_apis(vendor: str, api: str, said: dict[str, Any], expected: dict[str, int]) -> None:
    usage = of(vendor, api, said)

    assert usage is not None
    assert {name: count for name in BUCKETS if (count := getattr(usage, name))} == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.00194", 1_940_000), ("1.4e-05", 14_000), ("0", 0), ("2", 2_000_000_000), ("5e-10", 0), ("1.5e-9", 2),
     ("0.1234567891", 123_456_789), ("-1", None), ("1e12", None), ("1e999999999", None), ("1e99999999999999999999", None),
     ('"0.1"', None), ("null", None), ("true", None), ("[]", None)],
)  # fmt: skip
def test_openrouters_own_charge_is_read_from_its_decimal_digits(text: str, expected: int | None) -> None:
    raw = b'{"prompt_tokens": 1, "completion_tokens": 1, "cost": %b}' % text.encode()

    usage = read(raw, ROWS["openrouter", "chat/completions"])

    assert usage is not None
    assert usage.cost_nusd == expected


def test_a_charge_is_only_believed_of_a_vendor_that_reports_it() -> None:
    usage = read(b'{"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.5}')

    assert usage is not None
    assert usage.cost_nusd is None


@pytest.mark.parametrize(
    ("tier", "expected"), [("batch", "batch"), ("priority", "priority"), ("standard", ""), (5, ""), (None, "")]
)
def test_the_service_tier_is_read_where_the_usage_names_it(tier: object, expected: str) -> None:
    usage = of("anthropic", "messages", {"input_tokens": 1, "output_tokens": 1, "service_tier": tier})

    assert usage is not None
    assert usage.service_tier == expected


def test_the_usage_of_a_recorded_embedding_of_voyages_is_all_of_its_tokens() -> None:
    (recording,) = recordings("voyage")

    usage = response.decode(recording.body, semantics_of("voyage", "embeddings")).usage

    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (json.loads(recording.body)["usage"]["total_tokens"], 0)


@pytest.mark.parametrize("vendor", [it.name for it in VENDORS.values() if it.prices])
def test_every_vendor_that_is_paid_has_a_row_for_what_it_serves_chat_by(vendor: str) -> None:
    assert any(semantics_of(vendor, endpoint).vendor == vendor for endpoint in VENDORS[vendor].endpoints)


def test_a_server_that_is_no_known_vendor_is_read_by_what_they_have_in_common() -> None:
    assert semantics_of("my-vllm", "chat/completions") is OPENAI_LIKE


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: f"{row.vendor} {row.api}")
def test_every_row_says_where_it_is_from_and_what_goes_in(row: Semantics) -> None:
    assert "." in row.source
    assert row.input


HOSTILE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.integers(0, 2000),
    st.sampled_from([-1, 2**31, 2**31 + 1, 2**63, 2**64, 10**30]),
)  # fmt: skip


def keys_of(tree: dict[str, Any]) -> Iterator[str]:
    """Every key of a row's paths."""
    for key, value in tree.items():
        yield key
        for below in (value, *(value[1].values() if isinstance(value, tuple) and isinstance(value[0], str) else ())):
            if isinstance(below, dict):
                yield from keys_of(below)


KEYS = sorted({key for row in ROWS.values() for key in keys_of(row.tree)} | {"cost", "service_tier", "other"})
TREES = st.recursive(HOSTILE, lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=6) | st.lists(
    st.dictionaries(st.sampled_from(["modality", "ttl", "tokenCount", "inputTokens"]),
                    st.sampled_from(["AUDIO", "IMAGE", "1h"]) | HOSTILE),
    max_size=3), max_leaves=20)  # fmt: skip


@settings(deadline=None, max_examples=1500)
@given(st.sampled_from(sorted(ROWS)), st.dictionaries(st.sampled_from(KEYS), TREES, max_size=10))
def test_hostile_usage_of_any_vendor_never_raises_and_is_never_negative(key: tuple[str, str], said: dict[str, Any]) -> None:
    usage = read(json.dumps(said).encode(), ROWS[key])

    if usage is not None:
        counts = [getattr(usage, name) for name in BUCKETS]
        assert all(type(count) is int and count >= 0 for count in counts)
        assert usage.input_tokens <= 4 * TOKENS_MAX
        assert usage.cost_nusd is None or usage.cost_nusd >= 0
