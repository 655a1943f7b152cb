"""What a request is taken to need, and what it needed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.records import Pieces
from providers.usage import Usage
from proxy.call import Fault, Head, Weight
from proxy.limits.estimate import FILE_TOKENS, expected_tokens, input_of, input_tokens, used_tokens
from tests.proxy.samples import attempt, call


def test_four_bytes_are_a_token() -> None:
    assert [input_tokens(b"x" * size) for size in (1, 4, 4_000)] == [1, 1, 1_000]


def test_a_picture_is_not_taken_for_text() -> None:
    picture = b'{"url":"data:image/png;base64,' + b"A" * 1_000_000 + b'"}'

    assert input_tokens(picture * 2) - 2 * FILE_TOKENS == 2 * len(b'{"url":"data:image/png"}') // 4


def test_a_picture_that_does_not_end_is_looked_at_once() -> None:
    assert input_tokens(b" " * 2_000 + b";base64," + b"A" * 10_000) == FILE_TOKENS + 500


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 110),
        ({"max_tokens": 30}, 40),
        ({"max_tokens": 5_000}, 110),
        ({"max_completion_tokens": 30, "n": 3}, 100),
        ({"max_tokens": 0}, 10),
    ],
)
def test_an_answer_has_what_its_request_asks_for_but_no_more_than_the_estimate(fields: dict[str, int], expected: int) -> None:
    assert expected_tokens(call(fields=fields), 10, 100) == expected


def test_an_embedding_has_no_answer_in_tokens() -> None:
    assert expected_tokens(call(endpoint="embeddings"), 10, 100) == 10


def test_what_was_reported_counts_with_everything_that_is_cached_or_thought() -> None:
    usage = Usage(input_uncached=1, cache_read=2, output_text=4, reasoning=8)

    assert used_tokens([attempt(usage=usage), attempt(2, usage=usage)], 100) == 30


@pytest.mark.parametrize(
    ("outcome", "fault", "output", "may_cost", "expected"),
    [
        ("ok", "", 7, True, 17),
        ("upstream_error", "upstream", 0, False, 0),
        ("upstream_timeout", "timeout", 0, True, 0),
        ("upstream_error", "upstream", 7, True, 17),
        ("client_closed", "client", 0, True, 10),
        ("client_closed", "client", 0, False, 0),
    ],
)
def test_without_a_report_a_try_used_what_it_gave(
    outcome: str, fault: Fault, output: int, may_cost: bool, expected: int
) -> None:
    tried = attempt(outcome=outcome, fault=fault, output_estimate=output, may_cost=may_cost)

    assert used_tokens([tried], 10) == expected


def test_data_that_only_the_edge_can_tell_from_text_is_no_text() -> None:
    body = b'{"contents":"' + b"A" * 100_000 + b'"}'
    head = Head(model="m", weight=Weight(references=1, payload_bytes=100_000))

    asked = replace(call(), endpoint="generateContent", body=body, head=head)

    assert input_of(asked) == FILE_TOKENS + 15 // 4


def test_counting_tokens_needs_none_and_used_none() -> None:
    asked = replace(call(), endpoint="messages/count_tokens")

    assert expected_tokens(asked, 100, 1_000) == 0
    assert used_tokens([attempt(may_cost=False)], 100) == 0


def test_a_sound_is_taken_for_its_tokens_and_what_is_said_in_it() -> None:
    head = Head(model="acme/gpt", weight=Weight(pieces=Pieces(audio_ms=10_000)))

    assert expected_tokens(call(endpoint="audio/transcriptions", head=head), 10, 100) == 10 + 100 + 41
