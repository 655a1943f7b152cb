"""Halves of characters become U+FFFD, and nothing else changes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.characters import Halves, cleaned, whole


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


@given(st.text(), st.integers(0, 2**32))
def test_a_text_that_is_cut_within_characters_is_put_together(text: str, seed: int) -> None:
    units = text.encode("utf-16-le")
    size = 2 * (1 + seed % 3)
    pieces = [units[at : at + size].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), size)]
    halves = Halves()

    told = [halves.join("a", piece) for piece in pieces]

    assert "".join(told) == text
    assert halves.rest("a") == ""
    assert not halves


def test_a_half_without_its_other_one_is_replaced_and_texts_do_not_mix() -> None:
    halves = Halves()

    told = [halves.join("a", "x\ud83d"), halves.join("b", "\ude00y"), halves.join("a", "z\ud83d")]

    assert told == ["x", "\ufffdy", "\ufffdz"]
    assert bool(halves)
    assert [halves.rest(it) for it in "aab"] == ["\ufffd", "", ""]


def test_a_value_is_cleaned_wherever_a_half_stands_in_it() -> None:
    assert cleaned({"a": ["\ud83d", {"b": "\ud83d\ude00"}], "c": 1}) == {"a": ["\ufffd", {"b": "\U0001f600"}], "c": 1}
