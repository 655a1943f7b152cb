"""What a reranker counted is read wherever its vendor puts it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.errors import InvalidResponse, RefusedInBody
from providers.openai.rerank import decode
from providers.usage import semantics_of

RESULTS = [{"index": 0, "relevance_score": 0.9}]
BILLED: dict[str, Any] = {"api_version": {"version": "2"}, "billed_units": {"search_units": 2}}


@pytest.mark.parametrize(
    ("vendor", "fields", "tokens", "queries", "counted"),
    [
        ("cohere", {"results": RESULTS, "meta": BILLED}, 0, 2, False),
        ("cohere", {"results": RESULTS, "meta": {"billed_units": {"input_tokens": 31}}}, 31, 0, True),
        ("voyage", {"data": RESULTS, "usage": {"total_tokens": 26}}, 26, 0, True),
        ("jina", {"results": RESULTS, "usage": {"total_tokens": 26, "prompt_tokens": 26}}, 26, 0, True),
        (
            "together",
            {"results": RESULTS, "usage": {"prompt_tokens": 7, "total_tokens": 7}},
            7,
            0,
            True,
        ),
        ("openai-compatible", {"results": RESULTS, "meta": BILLED}, 0, 2, False),
        ("vllm", {"results": RESULTS, "usage": {"total_tokens": 56}}, 56, 0, True),
    ],
)
def test_what_was_counted_is_read(vendor: str, fields: dict[str, Any], tokens: int, queries: int, counted: bool) -> None:
    answer = decode(json.dumps({"model": "m", **fields}).encode(), semantics_of(vendor, "rerank"))

    assert answer.usage is not None
    assert (answer.usage.input_uncached, answer.usage.queries, answer.usage.counted) == (tokens, queries, counted)
    assert json.loads(answer.usage_raw) == fields.get("usage", fields.get("meta"))


def test_openrouters_own_charge_is_kept() -> None:
    said = {"results": RESULTS, "usage": {"cost": 0.002, "search_units": 1}}

    answer = decode(json.dumps(said).encode(), semantics_of("openrouter", "rerank"))

    assert answer.usage is not None
    assert (answer.usage.cost_nusd, answer.usage.queries) == (2_000_000, 1)


def test_an_answer_that_counts_nothing_says_nothing() -> None:
    answer = decode(b'{"results": []}', semantics_of("vllm", "rerank"))

    assert (answer.usage, answer.usage_raw, answer.model) == (None, b"", "")


@pytest.mark.parametrize("broken", [b"", b"[]", b"{"])
def test_what_is_no_answer_is_refused(broken: bytes) -> None:
    with pytest.raises(InvalidResponse):
        decode(broken, semantics_of("vllm", "rerank"))


def test_an_error_in_disguise_is_one() -> None:
    with pytest.raises(RefusedInBody):
        decode(b'{"error": "no such model"}', semantics_of("vllm", "rerank"))
