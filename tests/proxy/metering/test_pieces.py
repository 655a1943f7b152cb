"""What was used beside tokens, and about how many tokens that is."""

from __future__ import annotations

import pytest

from ledger.records import NO_PIECES, Pieces, Tokens
from providers.provider import Endpoint
from providers.usage import Usage
from proxy.call import Call, Head, Weight
from proxy.metering.pieces import (
    answer_tokens,
    drawn_tokens,
    estimated,
    heard_tokens,
    is_told,
    media_tokens,
    most_of,
    pieces_of,
    said_tokens,
    search_units,
    spoken_ms,
    spoken_tokens,
)
from tests.proxy.samples import call


def asking(endpoint: Endpoint = "images/generations", pieces: Pieces = NO_PIECES) -> Call:
    return call(endpoint=endpoint, head=Head(model="acme/gpt", weight=Weight(pieces=pieces)))


def test_what_the_answer_says_goes_before_what_was_asked_for() -> None:
    asked = asking(pieces=Pieces(images=4, image_size="1024x1024", image_quality="auto"))

    assert pieces_of(asked, None) == Pieces(images=4, image_size="1024x1024", image_quality="auto")
    assert pieces_of(asked, Usage(images=3, image_quality="high")) == Pieces(
        images=3, image_size="1024x1024", image_quality="high"
    )
    assert pieces_of(asking("chat/completions"), Usage(input_uncached=5)) is NO_PIECES
    assert pieces_of(asking("audio/transcriptions"), Usage(audio_ms=9_000)) == Pieces(audio_ms=9_000)


def test_pieces_are_told_by_an_answer_that_has_them() -> None:
    assert not is_told(None)
    assert not is_told(Usage(input_uncached=5))
    assert is_told(Usage(images=1, counted=False))
    assert is_told(Usage(queries=1, counted=False))


@pytest.mark.parametrize(
    ("pieces", "tokens"),
    [
        (Pieces(images=1, image_size="1024x1024", image_quality="low"), 272),
        (Pieces(images=2, image_size="1024x1536", image_quality="high"), 12_480),
        (Pieces(images=1, image_size="auto", image_quality="auto"), 6_240),
        (Pieces(images=0), 0),
    ],
)
def test_a_picture_has_tokens_by_its_size_and_quality(pieces: Pieces, tokens: int) -> None:
    assert drawn_tokens(pieces) == tokens
    assert drawn_tokens(pieces, most=True) >= tokens


def test_the_most_that_a_picture_may_have_is_that_of_the_largest() -> None:
    most = drawn_tokens(Pieces(images=1), most=True)

    assert most == drawn_tokens(Pieces(images=1, image_size="3840x2160", image_quality="max"), most=True)
    assert most > 60_000


def test_an_answer_that_nobody_counts_has_tokens_of_its_kind() -> None:
    drawn = asking(pieces=Pieces(images=1, image_size="1024x1024", image_quality="low"))
    spoken = asking("audio/speech", Pieces(characters=150))

    counts = [answer_tokens(it, None, 3_000_300) for it in (drawn, spoken, asking("rerank"), asking("chat/completions"))]

    assert counts == [272, 210, 0, 750_000]
    assert [media_tokens(it, None) for it in (drawn, spoken, asking("rerank"))] == [272, 210, 0]
    assert estimated(drawn, 5, 272) == Tokens(input_uncached=5, output_image=272)
    assert estimated(spoken, 5, 210) == Tokens(input_uncached=5, output_audio=210)
    assert estimated(asking("chat/completions"), 5, 7) == Tokens(input_uncached=5, output_text=7)


def test_speech_is_as_long_as_it_takes_to_read_it() -> None:
    assert (spoken_ms(150, 1.0), spoken_ms(150, 2.0)) == (10_000, 5_000)
    assert spoken_tokens(150, most=True) == 8 * spoken_tokens(150)


@pytest.mark.parametrize(("documents", "tokens", "units"), [(1, 10, 1), (100, 499, 1), (101, 0, 2), (100, 500, 2), (0, 0, 1)])
def test_a_search_unit_is_a_hundred_documents_of_a_usual_length(documents: int, tokens: int, units: int) -> None:
    assert search_units(documents, tokens) == units


def test_the_most_pieces_follow_from_the_most_tokens() -> None:
    assert most_of(Pieces(queries=1), 100_000) == Pieces(queries=3)
    assert most_of(Pieces(images=2), 100_000) == Pieces(images=2)
    assert most_of(Pieces(characters=15, spoken_ms=1_000), 100) == Pieces(characters=15, spoken_ms=8_000)


def test_a_sound_has_tokens_by_its_length() -> None:
    assert (heard_tokens(0), heard_tokens(1), heard_tokens(9_000)) == (0, 1, 90)
    assert said_tokens(60_000) == 241
    assert said_tokens(60_000, most=True) > 8 * 200


def test_a_transcript_that_nobody_counted_is_sound_in_and_text_out() -> None:
    asked = asking("audio/transcriptions", Pieces(audio_ms=60_000))

    assert estimated(asked, 3, 7) == Tokens(input_uncached=3, input_audio=600, output_text=7)


def test_a_transcript_with_times_has_no_more_tokens_than_anybody_can_say() -> None:
    asked = asking("audio/transcriptions", Pieces(audio_ms=1_000))

    assert answer_tokens(asked, None, 20) == 6
    assert answer_tokens(asked, None, 100_000) == said_tokens(1_000, most=True)
