"""Whatever a vendor reports, no token is counted twice and none is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.usage import TOKENS_MAX, Usage, read, semantics_of

RECORDED = json.loads((Path(__file__).parent / "data" / "usages.json").read_text())
BUCKETS = ("input_uncached", "cache_read", "cache_write", "input_audio", "output_text", "reasoning", "output_audio")


def of(value: Any) -> Usage | None:
    return read(json.dumps(value).encode())


def buckets(usage: Usage | None) -> dict[str, int] | None:
    """The buckets that are not empty."""
    return None if usage is None else {name: count for name in BUCKETS if (count := getattr(usage, name))}


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["name"])
def test_a_recorded_usage_is_sorted_into_its_buckets(case: dict[str, Any]) -> None:
    assert buckets(of(case["usage"])) == case["buckets"]


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["name"])
def test_a_recorded_usage_adds_up_to_what_the_vendor_totals(case: dict[str, Any]) -> None:
    usage = of(case["usage"])

    assert usage is not None
    assert usage.input_tokens + usage.output_tokens == case["usage"]["total_tokens"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # Audio in and out, inside of the totals.  Source: OpenAI API reference, chat completions.
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {"audio_tokens": 30, "cached_tokens": 20},
                "completion_tokens_details": {"audio_tokens": 40, "reasoning_tokens": 5},
            },
            {"input_uncached": 50, "cache_read": 20, "input_audio": 30, "output_text": 5, "reasoning": 5, "output_audio": 40},
        ),
        # DeepSeek's own field.
        (
            {"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2},
            {"input_uncached": 2, "cache_read": 8, "output_text": 1},
        ),
        # xAI: reasoning is beside the completion, as the total says.
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 3,
                "total_tokens": 20,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            {"input_uncached": 10, "output_text": 3, "reasoning": 7},
        ),
        # Reasoning that exceeds the completion cannot be inside of it.
        (
            {"prompt_tokens": 10, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 7}},
            {"input_uncached": 10, "output_text": 3, "reasoning": 7},
        ),
        # Reasoning inside, as the total says.
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 7,
                "total_tokens": 17,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            {"input_uncached": 10, "reasoning": 7},
        ),
        # Moonshot.
        (
            {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13, "cached_tokens": 4},
            {"input_uncached": 6, "cache_read": 4, "output_text": 3},
        ),
        # Perplexity.
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 30,
                "total_tokens": 40,
                "reasoning_tokens": 25,
                "search_context_size": "low",
            },
            {"input_uncached": 10, "output_text": 5, "reasoning": 25},
        ),
        # The Responses API.
        (
            {
                "input_tokens": 10,
                "input_tokens_details": {"cached_tokens": 4},
                "output_tokens": 9,
                "output_tokens_details": {"reasoning_tokens": 8},
                "total_tokens": 19,
            },
            {"input_uncached": 6, "cache_read": 4, "output_text": 1, "reasoning": 8},
        ),
        # A detail that says null is one that does not say.
        (
            {"prompt_tokens": 10, "completion_tokens": None, "prompt_tokens_details": {"cached_tokens": None}},
            {"input_uncached": 10},
        ),
        # The same cache hit in two places is one.
        (
            {"prompt_tokens": 10, "prompt_cache_hit_tokens": 4, "prompt_tokens_details": {"cached_tokens": 4}},
            {"input_uncached": 6, "cache_read": 4},
        ),
        # Details larger than their total: the total is what is invoiced.
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 50}},
            {"input_uncached": 10, "output_text": 5},
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"audio_tokens": 50}},
            {"input_uncached": 10, "output_text": 5},
        ),
        ({"prompt_tokens": 0, "completion_tokens": 0}, {}),
    ],
)
def test_the_vendors_shapes(said: dict[str, Any], expected: dict[str, int]) -> None:
    assert buckets(of(said)) == expected


@pytest.mark.parametrize(
    "count", [-1, 2**31 + 1, 2**63, 10**30, 10**400, 1.5, 1e30, float("nan"), float("inf"), "5", "", True, [5], {"a": 5}]
)
@pytest.mark.parametrize("field", ["prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"])
def test_a_count_that_is_not_credible_makes_the_usage_unknown(field: str, count: Any) -> None:
    assert of({"prompt_tokens": 10, "completion_tokens": 5, field: count}) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        b"[]",
        b"5",
        b'"x"',
        b"{",
        b'{"prompt_tokens":NaN}',
        b'{"prompt_tokens":1e400}',
        b'{"completion_tokens":5}',
        b'{"total_tokens":5}',
        b'{"prompt_tokens_details":{"cached_tokens":5}}',
        b'{"prompt_tokens":' + b"9" * 5000 + b"}",
        b'{"x":' + b"[" * 100_000,
        b"\xff\xfe",
        b'{"prompt_tokens":5,"prompt_tokens_details":[]}',
    ],
)
def test_what_is_no_usage_is_none(raw: bytes) -> None:
    assert read(raw) is None


def test_the_largest_credible_count_is_credible() -> None:
    assert buckets(of({"prompt_tokens": TOKENS_MAX, "completion_tokens": TOKENS_MAX})) == {
        "input_uncached": TOKENS_MAX,
        "output_text": TOKENS_MAX,
    }


def test_what_the_vendor_said_is_kept_byte_for_byte() -> None:
    raw = b'{ "prompt_tokens" : 5, "cost": 1.0E-3, "x": {"\xc3\xa9": null} }'

    usage = read(raw)

    assert usage is not None
    assert usage.raw == raw


COUNTS = st.one_of(st.integers(0, 2000), st.none())
DETAILS = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from(["cached_tokens", "cache_write_tokens", "cache_creation_tokens", "audio_tokens", "reasoning_tokens"]),
        COUNTS,
    ),
)
PLAUSIBLE = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0, 2000), "completion_tokens": st.integers(0, 2000)},
    optional={
        "prompt_tokens_details": DETAILS,
        "completion_tokens_details": DETAILS,
        "prompt_cache_hit_tokens": COUNTS,
        "cached_tokens": COUNTS,
        "num_cached_tokens": COUNTS,
        "reasoning_tokens": COUNTS,
        "total_tokens": COUNTS,
    },
)


@settings(deadline=None, max_examples=400)
@given(PLAUSIBLE)
def test_the_buckets_always_add_up_to_the_totals(said: dict[str, Any]) -> None:
    usage = of(said)

    assert usage is not None
    assert min(getattr(usage, name) for name in BUCKETS) >= 0
    assert usage.input_tokens == said["prompt_tokens"]
    # Reasoning may stand beside the completion, whole; otherwise the completion is all there is.
    assert usage.output_tokens in (said["completion_tokens"], said["completion_tokens"] + usage.reasoning)


HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 2**31, 2**31 + 1, 2**63, 2**64, -(2**63), 10**30, 10**5000 // 10**1000]),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
)
FIELDS = st.sampled_from(
    [
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "input_tokens",
        "output_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "input_tokens_details",
        "output_tokens_details",
        "prompt_cache_hit_tokens",
        "cached_tokens",
        "num_cached_tokens",
        "reasoning_tokens",
        "audio_tokens",
        "cache_write_tokens",
        "other",
    ]
)
NESTED = st.dictionaries(FIELDS, st.one_of(HOSTILE, st.dictionaries(FIELDS, HOSTILE, max_size=4)), max_size=8)


@settings(deadline=None, max_examples=700)
@given(st.one_of(NESTED.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)))
def test_hostile_usage_never_raises_and_is_never_negative(raw: bytes) -> None:
    usage = read(raw)

    if usage is not None:
        assert all(0 <= getattr(usage, name) <= TOKENS_MAX for name in BUCKETS)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"prompt_tokens":5,"prompt_tokens":11,"completion_tokens":1}',
        b'{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":1,"cached_tokens":2}}',
    ],
)
def test_a_count_that_is_told_twice_is_not_credible(raw: bytes) -> None:
    assert read(raw) is None


def test_a_colon_in_a_text_is_no_key() -> None:
    assert read(b'{"prompt_tokens":5,"completion_tokens":1,"note":"a: b: c"}') is not None


# --- by the piece ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vendor", "api", "said", "expected"),
    [
        ("openai", "audio/transcriptions", {"type": "duration", "seconds": 9}, {"counted": False, "audio_ms": 9_000}),
        ("groq", "audio/translations", {"type": "duration", "seconds": 2.5004}, {"counted": False, "audio_ms": 2_500}),
        (
            "openai",
            "audio/transcriptions",
            {"type": "tokens", "input_tokens": 14, "input_token_details": {"audio_tokens": 10}, "output_tokens": 4},
            {"input_uncached": 4, "input_audio": 10, "output_text": 4},
        ),
        (
            "mistral",
            "audio/transcriptions",
            {"prompt_audio_seconds": 203, "prompt_tokens": 4, "completion_tokens": 7, "total_tokens": 11},
            {"input_uncached": 4, "output_text": 7, "audio_ms": 203_000},
        ),
        ("cohere", "rerank", {"billed_units": {"search_units": 2}}, {"counted": False, "queries": 2}),
        ("openai", "audio/speech", {"input_tokens": 3, "output_tokens": 5}, {"input_uncached": 3, "output_audio": 5}),
        ("openai", "images/generations", {"input_tokens": 3, "output_tokens": 5}, {"input_uncached": 3, "output_image": 5}),
    ],
)
def test_pieces_are_read_beside_tokens_or_in_their_place(
    vendor: str, api: str, said: dict[str, object], expected: dict[str, object]
) -> None:
    raw = json.dumps(said).encode()

    assert read(raw, semantics_of(vendor, api)) == Usage(raw=raw, **expected)  # type: ignore[arg-type]  # of several types


@pytest.mark.parametrize("seconds", ['"9"', "-1", "1e9", "[9]", "true"])
def test_seconds_that_are_none_are_not_credible(seconds: str) -> None:
    assert read(f'{{"type":"duration","seconds":{seconds}}}'.encode(), semantics_of("openai", "audio/transcriptions")) is None


def test_an_object_without_anything_to_charge_says_nothing() -> None:
    assert read(b'{"type":"duration","seconds":0}', semantics_of("openai", "audio/transcriptions")) is None
    assert read(b'{"billed_units":{}}', semantics_of("cohere", "rerank")) is None


def message_usage(**fields: Any) -> Usage | None:
    return read(json.dumps({"input_tokens": 23, "output_tokens": 5, **fields}).encode(), semantics_of("anthropic", "messages"))


def test_what_a_message_took_besides_its_answer_is_kept_apart() -> None:
    rounds = [
        {"type": "compaction", "input_tokens": 180, "output_tokens": 35, "cache_read_input_tokens": 7},
        {"type": "message", "input_tokens": 11, "output_tokens": 2},
        {"type": "compaction", "input_tokens": 90, "output_tokens": 10, "cache_creation_input_tokens": 4},
        {"type": "advisor_message", "model": "claude-wise", "input_tokens": 50, "output_tokens": 6},
        {"type": "message", "input_tokens": 12, "output_tokens": 3},
    ]

    usage = message_usage(iterations=rounds)

    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (23, 5)
    assert [(it.model, it.usage.input_tokens, it.usage.output_tokens) for it in usage.asides] == [
        ("", 187, 35),
        ("", 94, 10),
        ("claude-wise", 50, 6),
    ]
    assert [(it.usage.cache_read, it.usage.cache_write) for it in usage.asides] == [(7, 0), (0, 4), (0, 0)]


def test_a_model_that_declined_is_not_charged() -> None:
    declined = {"type": "message", "model": "claude-first", "input_tokens": 40, "output_tokens": 0}
    answered = {"type": "fallback_message", "model": "claude-second", "input_tokens": 23, "output_tokens": 5}

    usage = message_usage(iterations=[declined, answered])

    assert usage is not None and usage.asides == ()


@pytest.mark.parametrize("rounds", [None, {}, "two", [], [None, 3, "x"], [{"type": "compaction"}], [{"type": ["compaction"]}]])
def test_rounds_that_are_none_leave_the_usage_as_it_is(rounds: Any) -> None:
    usage = message_usage(iterations=rounds)

    assert usage is not None and (usage.input_tokens, usage.output_tokens, usage.asides) == (23, 5, ())


def test_a_round_whose_counts_are_absurd_makes_the_whole_usage_so() -> None:
    assert message_usage(iterations=[{"type": "compaction", "input_tokens": -5}]) is None
