"""Names: two that a reader would take for one are one."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.names import KEY_NAME_MAX, OWNER_NAME_MAX, clean, fold, key_fault, owner_fault

# What there is to get wrong: marks in any order, ligatures, letters whose case is longer than they are, wide ones.
tricky = st.text(st.sampled_from("aA\u0308\u0327äÄßẞsSſŉıİiIκΚςσΣﬁﬃａＡⓐK\u212aµ\u0345ᾳ각\u1100\u1161\u11a8 .-@"), max_size=12)
names = st.one_of(st.text(max_size=12), tricky)


@given(names)
def test_folding_what_is_folded_changes_nothing(name: str) -> None:
    assert fold(fold(name)) == fold(name)


@given(names)
def test_case_and_composition_make_no_difference(name: str) -> None:
    folded = fold(name)

    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold(unicodedata.normalize(form, name)) == folded
    # A mark that becomes a letter (the iota below) is only in its place once the marks are in order.
    assert fold(unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())) == folded


@given(names)
def test_cleaning_what_is_clean_changes_nothing_and_keeps_what_is_read(name: str) -> None:
    cleaned = clean(name)

    assert clean(cleaned) == cleaned
    assert cleaned == unicodedata.normalize("NFC", cleaned)


@given(names)
def test_a_name_of_an_owner_is_one_line_without_gaps_and_fits_into_a_scope(name: str) -> None:
    cleaned = clean(name)

    if owner_fault(cleaned, "team") is None:
        assert cleaned.isprintable()
        assert 1 <= len(cleaned) <= OWNER_NAME_MAX
        assert not set(cleaned) & set(" :/\\?#%,;\"'<>&=\n\t")
        assert f"team:{cleaned}".partition(":")[2] == cleaned
        assert key_fault(cleaned) is None or cleaned.startswith(("key_", "bud_"))


@pytest.mark.parametrize(
    ("one", "other"),
    [("Search", "SEARCH"), ("ä", "a\u0308"), ("straße", "STRASSE"), ("ﬁ", "fi"), ("ａ", "a"), ("Σ", "ς"), ("K", "\u212a")],
)
def test_these_are_one_name(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a", "a."), ("a", "ä"), ("alice", "alice2")])
def test_these_are_two(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@pytest.mark.parametrize(
    "name", ["search", "alice@example.com", "Größe", "東京", "a.b_c+d-e", "7", "x" * OWNER_NAME_MAX, "한국"]
)
def test_these_are_names_of_owners(name: str) -> None:
    assert owner_fault(clean(name), "user") is None


@pytest.mark.parametrize(
    "name",
    [
        *("", "a b", "a/b", "a:b", "-a", ".a", "@a", "\u0301a", "a\nb", "a\x00", "a\u200bb", "a\u202eb", "a\u3164", "a\ufe0f"),
        *("a%2f", "a?b", "<b>", "x" * (OWNER_NAME_MAX + 1), "💸"),
    ],
)
def test_these_are_not(name: str) -> None:
    assert owner_fault(clean(name), "user") is not None


@pytest.mark.parametrize("name", ["ci job", "a/b?c", "x" * KEY_NAME_MAX, "💸", "key_1", "key_0123456789abcdeg"])
def test_a_key_may_be_called_nearly_anything(name: str) -> None:
    assert key_fault(clean(name)) is None


@pytest.mark.parametrize(
    "name", ["", "a\nb", "a\u202eb", "\u3164", "x" * (KEY_NAME_MAX + 1), "key_0123456789abcdef", "KEY_0123456789ABCDEF"]
)
def test_but_not_these(name: str) -> None:
    assert key_fault(clean(name)) is not None
