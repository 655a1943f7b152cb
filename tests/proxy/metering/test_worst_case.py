"""The most that a try may cost: nothing that a provider may charge is more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.prices.cost import cost_nusd
from ledger.records import Bounds, ContextTier, ImageRate, Pieces, Price, Rates, ServiceTier, Tokens
from providers.provider import Endpoint
from proxy.api.heads import admit
from proxy.call import Call, Head, Weight
from proxy.metering.worst_case import (
    INPUT_MOST_TOKENS,
    OUTPUT_MOST_TOKENS,
    PICTURE_MOST_TOKENS,
    Assumptions,
    Size,
    WorstCases,
    dearest_of,
)
from tests.proxy.house import Prices
from tests.proxy.samples import call, deployment


def cost_most(price: Price, input_tokens: int, output_tokens: int, weight: Weight) -> int:
    return dearest_of(price, input_tokens, weight).cost_nusd(input_tokens, output_tokens)


PLAIN = Price(source="list", input_nusd_per_mtok=1_000_000_000, output_nusd_per_mtok=2_000_000_000)
ACME = deployment()


def cases(bounds: Bounds | None = None, price: Price = PLAIN, **assumed: int) -> WorstCases:
    return WorstCases(Prices(price), bounds=lambda *_: bounds or Bounds(), assumptions=Assumptions(**assumed))


def size(
    fields: dict[str, Any], bounds: Bounds | None = None, *, endpoint: Endpoint = "chat/completions", **assumed: int
) -> Size:
    asked = call(fields=fields, endpoint=endpoint)
    return cases(bounds, **assumed).size(asked, ACME)


def length(fields: dict[str, Any]) -> int:
    return len(call(fields=fields).body)


def test_an_answer_of_a_session_rests_on_what_was_said_and_on_what_is_still_to_come() -> None:
    asked = call(endpoint="realtime", body=b"")
    weight = Weight(audio=True, said_tokens=3_000)
    asked = replace(asked, head=replace(asked.head, weight=weight))

    small = cases(Bounds(input_tokens=4_000, output_tokens=500)).size(asked, ACME)
    unknown = cases(reference_tokens=100, output_tokens=800).size(asked, ACME)

    assert small == Size(4_000, 4_000, 500, 500)
    assert unknown == Size(3_100, INPUT_MOST_TOKENS, 800, OUTPUT_MOST_TOKENS)


# --- tokens ------------------------------------------------------------------------------------------------------------


def test_a_bounded_answer_is_taken_at_its_bound_for_each_choice() -> None:
    fields = {"max_tokens": 100, "n": 3}

    found = size(fields)

    assert found == Size(-(-length(fields) // 2), length(fields), 300, 300)


def test_an_answer_without_a_bound_is_taken_at_what_is_assumed_and_ends_where_its_model_does() -> None:
    known = size({}, Bounds(output_tokens=16_384))
    small = size({}, Bounds(output_tokens=1000))
    unknown = size({})

    assert (known.output_tokens, known.output_most) == (4096, 16_384)
    assert (small.output_tokens, small.output_most) == (1000, 1000)
    assert (unknown.output_tokens, unknown.output_most) == (4096, OUTPUT_MOST_TOKENS)


def test_an_embedding_has_no_answer() -> None:
    found = size({"input": "hi"}, endpoint="embeddings")

    assert (found.output_tokens, found.output_most) == (0, 0)


def test_several_prompts_have_several_answers() -> None:
    assert size({"prompt": ["a", "b"], "max_tokens": 10}, endpoint="completions").output_most == 20


def test_what_the_body_refers_to_is_assumed_and_ends_where_its_model_does() -> None:
    fields = {"previous_response_id": "r", "max_tokens": 1}

    known, unknown = size(fields, Bounds(input_tokens=128_000)), size(fields)

    assert known.input_tokens == -(-length(fields) // 2) + 2000
    assert (known.input_most, unknown.input_most) == (128_000, INPUT_MOST_TOKENS)


def test_a_picture_in_the_body_is_a_reference_and_not_its_bytes() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    found = size({"messages": [{"role": "user", "content": [picture]}], "max_tokens": 1})

    assert 2000 < found.input_tokens < 2100


def test_the_assumptions_are_the_operators() -> None:
    fields = {"previous_response_id": "r"}

    found = size(fields, input_bytes_per_token=1, output_tokens=7, reference_tokens=3)

    assert (found.input_tokens, found.output_tokens) == (length(fields) + 3, 7)


# --- money -------------------------------------------------------------------------------------------------------------


def test_the_reserve_and_the_most_are_priced_and_the_first_try_alone_is_a_request() -> None:
    asked = call(fields={"max_tokens": 100})
    first = cases().of(asked, ACME, PLAIN)
    second = cases().of(asked, ACME, PLAIN, requests=0)

    into = len(asked.body)
    assert first.reserve == (-(-into // 2) * 1000 + 200_000, -(-into // 2) + 100, 1)
    assert first.most == (into * 1000 + 200_000, into + 100, 1)
    assert (second.reserve[:2], second.reserve[2]) == (first.reserve[:2], 0)


def test_without_a_price_only_tokens_and_requests_are_counted() -> None:
    found = cases().of(call(fields={"max_tokens": 100}), ACME, None)

    assert (found.reserve[0], found.most[0]) == (0, 0)
    assert found.reserve[1] > 100


def test_how_far_a_stream_has_come_is_priced_like_its_reserve() -> None:
    asked = call(fields={"max_tokens": 100})

    assert cases().reached(asked, ACME, PLAIN, 100)[:2] == cases().of(asked, ACME, PLAIN).reserve[:2]


def test_a_cliff_counts_from_where_the_input_may_reach_it() -> None:
    dear = Rates(input_nusd_per_mtok=2_000_000_000, output_nusd_per_mtok=9_000_000_000)
    price = replace(PLAIN, context_tiers=(ContextTier(above_tokens=1000, rates=dear),))

    below, beyond = (cost_most(price, tokens, 10, Weight()) for tokens in (1000, 1001))

    assert (below, beyond) == (1_020_000, 2_092_000)


def test_a_dearer_service_counts_where_it_is_asked_for() -> None:
    dear = Rates(input_nusd_per_mtok=5_000_000_000, output_nusd_per_mtok=2_000_000_000)
    price = replace(PLAIN, service_tiers=(ServiceTier(name="priority", rates=dear),))

    assert cost_most(price, 10, 0, Weight()) == 10_000
    assert cost_most(price, 10, 0, Weight(service_tier="priority")) == 50_000


def test_searches_are_assumed_for_what_may_search() -> None:
    price = replace(PLAIN, search_nusd=7)

    assert [cost_most(price, 0, 0, Weight(references=number)) for number in (0, 2)] == [0, 14]


RATES = st.builds(
    Price,
    source=st.just("any"),
    input_nusd_per_mtok=st.integers(0, 10**11),
    output_nusd_per_mtok=st.integers(0, 10**11),
    request_nusd=st.integers(0, 10**9),
    **{
        f"{name}_nusd_per_mtok": st.none() | st.integers(0, 10**11)
        for name in (
            *("cache_read", "cache_write", "cache_write_1h", "cache_read_audio", "input_audio", "input_image"),
            *("reasoning", "output_audio", "output_image"),
        )
    },
)
COUNTS = st.integers(0, 10**6)


@given(
    price=RATES,
    tiers=st.lists(st.tuples(COUNTS, RATES), max_size=2),
    counts=st.lists(COUNTS, min_size=11, max_size=11),
)
def test_no_mixture_of_tokens_costs_more_than_the_worst(
    price: Price, tiers: list[tuple[int, Price]], counts: list[int]
) -> None:
    names = [name for name in Tokens.__struct_fields__ if name != "web_searches"]
    tokens = Tokens(**dict(zip(names, counts, strict=True)))
    tiered = tuple(ContextTier(above_tokens=above, rates=rates) for above, rates in sorted(tiers, key=lambda it: it[0]))
    row = replace(price, context_tiers=tiered, service_tiers=(ServiceTier(name="priority", rates=price, context_tiers=tiered),))
    weight = Weight(references=1, audio=True, service_tier="priority")

    worst = cost_most(row, tokens.input_tokens, tokens.output_tokens, weight)

    assert worst >= cost_nusd(row, tokens, service_tier="priority")


@pytest.mark.parametrize("text", ["hello", "Grüße", "数学", "🙂🙂", "\u0000"])
def test_a_token_is_at_least_a_byte_of_the_body(text: str) -> None:
    assert size({"messages": [{"role": "user", "content": text}]}).input_most >= len(text.encode())


def test_counting_tokens_costs_nothing() -> None:
    asked = replace(call(), endpoint="countTokens")

    assert cases().size(asked, ACME) == Size(0, 0, 0, 0)


# --- by the piece ------------------------------------------------------------------------------------------------------


def asking(endpoint: Endpoint, **fields: Any) -> Call:
    body = json.dumps({"model": "acme/gpt", **fields}).encode()
    return replace(call(endpoint=endpoint), body=body, head=admit(body, endpoint))


BY_PIECE = Price(
    source="list",
    input_nusd_per_mtok=0,
    output_nusd_per_mtok=0,
    image_nusd=40_000_000,
    query_nusd=2_000_000,
    characters_nusd_per_mchar=15 * 10**9,
    images=(ImageRate(size="1024x1536", quality="hd", image_nusd=80_000_000),),
)


@pytest.mark.parametrize(
    ("endpoint", "fields", "reserve_nusd"),
    [
        ("images/generations", {"n": 3, "size": "1024x1024", "quality": "low"}, 120_000_000),
        ("images/generations", {"n": 2, "size": "1024x1536", "quality": "hd"}, 160_000_000),
        ("images/generations", {"n": 2, "size": "auto"}, 80_000_000),
        ("audio/speech", {"input": "x" * 1_000}, 15_000_000),
        ("rerank", {"query": "q", "documents": ["d"] * 101}, 4_000_000),
        ("moderations", {"input": "x"}, 0),
    ],
)
def test_what_is_charged_by_the_piece_is_reserved_by_it(endpoint: Endpoint, fields: dict[str, Any], reserve_nusd: int) -> None:
    asked = asking(endpoint, **fields)
    worst = cases(price=BY_PIECE)

    found = worst.of(asked, ACME, BY_PIECE)

    assert found.reserve[0] == worst.reserve_nusd(asked, ACME, BY_PIECE) == reserve_nusd
    assert found.most[0] >= reserve_nusd
    assert worst.reached(asked, ACME, BY_PIECE, 0)[0] == reserve_nusd


def test_pictures_that_are_counted_in_tokens_are_reserved_by_their_size_quality_and_number() -> None:
    asked = asking("images/generations", n=2, size="1024x1024", quality="low", partial_images=3)

    found = cases().size(asked, ACME)

    assert (found.output_tokens, found.output_most) == (2 * 272 + 300, 4 * 272 + 300)


def test_speech_is_reserved_by_its_text() -> None:
    found = cases().size(asking("audio/speech", input="x" * 150), ACME)

    assert (found.output_tokens, found.output_most) == (210, 1_680)


def test_the_query_of_a_reranking_is_reserved_for_with_every_document() -> None:
    asked = asking("rerank", query="q" * 1_000, documents=["d"] * 11)

    found = cases().size(asked, ACME)

    assert found.input_most == len(asked.body) + 10_000
    assert (found.output_tokens, found.output_most) == (0, 0)


# --- sounds and pictures of forms ----------------------------------------------------------------------------------------

HEARD = Weight(references=1, audio=True, pieces=Pieces(audio_ms=90_000), audio_most_ms=480_000)


def of_form(endpoint: Endpoint, weight: Weight) -> Call:
    return call(endpoint=endpoint, head=Head(model="acme/gpt", weight=weight))


def test_a_sound_is_taken_at_what_it_says_and_is_at_most_what_its_bytes_allow() -> None:
    found = cases(Bounds(output_tokens=2_000)).size(of_form("audio/transcriptions", HEARD), ACME)

    assert (found.input_tokens - found.input_tokens % 100, found.output_tokens) == (900, 361)
    assert (found.input_most >= 4_800, found.output_most) == (True, 2_000)


def test_a_sound_that_is_charged_by_the_hour_is_reserved_by_its_length() -> None:
    price = Price(source="list", input_nusd_per_mtok=0, output_nusd_per_mtok=0, audio_nusd_per_hour=360_000_000)

    worst = cases(price=price).of(of_form("audio/translations", HEARD), ACME, price)

    assert (worst.reserve[0], worst.most[0]) == (9_000_000, 48_000_000)


def test_a_picture_that_is_edited_is_read_too() -> None:
    drawn = Weight(references=2, pieces=Pieces(images=1, image_size="1024x1024", image_quality="low"))

    found = cases().size(of_form("images/edits", drawn), ACME)
    made = cases().size(of_form("images/edits", replace(drawn, references=0)), ACME)

    assert found.input_tokens - made.input_tokens == 2 * 2000
    assert found.input_most - made.input_most == 2 * PICTURE_MOST_TOKENS
    assert (found.output_tokens, found.output_most) == (272, 544)
