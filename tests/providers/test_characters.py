"""Halves of characters become U+FFFD, and nothing else changes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.characters import whole


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (rb'"\ud83d\ude00"', "😀"),
        (rb'"\ud83d"', "�"),
        (rb'"\ude00 x"', "� x"),
        (rb'"\ud83d\ud83d\ude00"', "�😀"),
        (rb'"\\ud83d"', "\\ud83d"),
        (rb'"\\\ud83d"', "\\�"),
        (rb'"\u00e9\n\"\ud83dx"', 'é\n"�x'),
    ],
)
def test_a_half_is_replaced_and_a_pair_is_kept(said: bytes, expected: str) -> None:
    assert json.loads(whole(said)) == expected


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_what_comes_out_can_always_be_written_as_utf8(text: str) -> None:
    read = json.loads(whole(json.dumps(text).encode()))

    read.encode()
    assert len(read) <= len(text)


@given(st.text())
def test_whole_characters_stay_as_they_are(text: str) -> None:
    assert json.loads(whole(json.dumps(text).encode())) == text
