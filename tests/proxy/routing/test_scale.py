"""An index of published benchmarks is read as the share of answers that are good here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.scale import PLAIN, WORTH_LEAST, WORTH_MOST, Judged, Scale, fit

SHARE = st.floats(0, 1, width=16)
OFFERS = st.lists(st.builds(Judged, st.none() | SHARE, SHARE, st.integers(0, 500)), max_size=12)


def fitted(*offers: tuple[float | None, float, int], assumed: float = 0.25) -> Scale:
    return fit((Judged(*it) for it in offers), assumed=assumed)


def test_where_nothing_is_judged_the_index_stays_what_it_is() -> None:
    scale = fitted((0.4, 0.0, 0))

    assert scale == PLAIN
    assert scale.expected(0.4) == 0.4


def test_where_everybody_answers_well_so_does_who_was_not_judged() -> None:
    scale = fitted((0.2, 0.90, 500), (0.5, 0.92, 500), (0.8, 0.94, 500))

    assert 0.88 < scale.expected(0.3) < 0.94


def test_an_index_that_tells_who_is_good_counts_for_more_answers_than_one_that_does_not() -> None:
    shares = [0.2 + 0.01 * place for place in range(60)]
    telling = fitted(*((share, share, 400) for share in shares))
    idle = fitted(*((share, (0.9, 0.1, 0.5)[place % 3], 400) for place, share in enumerate(shares)))

    assert telling.worth > 6 * idle.worth
    assert idle.worth == WORTH_LEAST


def test_a_few_answers_of_an_offer_are_tempered_by_its_index() -> None:
    scale = fitted((0.4, 0.6, 300), (0.6, 0.8, 300), (0.5, 0.7, 300))

    assert 0.8 < scale.blended(Judged(0.6, 1.0, 5)) < 0.95


def test_who_is_published_nowhere_begins_in_the_middle_of_the_others_and_in_doubt() -> None:
    near, far = fitted((0.4, 0.6, 300), (0.6, 0.62, 300)), fitted((0.4, 0.1, 300), (0.6, 0.99, 300))

    assert near.blended(Judged(None, 1.0, 0)) == pytest.approx(0.61, abs=0.01)
    assert near.doubt < far.doubt


def test_where_nothing_is_published_of_anybody_one_good_answer_is_no_proof() -> None:
    scale = fitted((None, 1.0, 1))

    assert scale.blended(Judged(None, 1.0, 1)) < 0.4


@given(OFFERS, SHARE, SHARE, SHARE, st.integers(1, 500))
def test_better_benchmarks_and_better_answers_are_never_worse(
    offers: list[Judged], one: float, other: float, good: float, n: int
) -> None:
    scale = fit(offers, assumed=0.25)
    low, high = sorted((one, other))

    assert scale.expected(low) <= scale.expected(high)
    assert scale.blended(Judged(low, good, n)) <= scale.blended(Judged(high, good, n))
    assert scale.blended(Judged(good, low, n)) <= scale.blended(Judged(good, high, n))


@given(OFFERS, st.none() | SHARE, SHARE, st.integers(0, 500))
def test_what_comes_out_is_a_share(offers: list[Judged], published: float | None, good: float, n: int) -> None:
    scale = fit(offers, assumed=0.25)

    assert 0 <= scale.blended(Judged(published, good, n)) <= 1
    assert WORTH_LEAST <= scale.worth <= WORTH_MOST


def test_the_worth_of_an_index_is_found_back_in_a_simulation() -> None:
    # Offers are 0.05 around the line; an answer's variance is 0.24; so the index is worth about a hundred answers.
    away = (0.07, -0.04, 0.02, -0.06, 0.05, -0.03, 0.06, -0.07, 0.03, -0.05, 0.04, -0.02) * 40
    offers = [(0.3 + 0.4 * place / 479, 0.4 + 0.4 * place / 479 + by, 5_000) for place, by in enumerate(away)]

    scale = fitted(*offers)

    assert scale.worth == pytest.approx(100, rel=0.3)
