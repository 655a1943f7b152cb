"""How long an answer will be, where an offer was never asked for one of its kind."""

from __future__ import annotations

import random
from statistics import median

import pytest

from proxy.routing.lengths import Lengths, Measured, blended, fit

ASSUMED = {"general": 400, "coding": 900}


def test_where_nothing_is_measured_lengths_are_as_assumed() -> None:
    assert fit((), ASSUMED).expected("one", "coding", 900) == 900


def test_who_talks_much_at_one_kind_is_expected_to_at_another() -> None:
    lengths = fit([Measured("one", "general", 1_200, 10_000)], ASSUMED)

    assert lengths.expected("one", "coding", 900) == pytest.approx(2_700, rel=0.02)


def test_what_all_offers_show_of_a_kind_counts_more_than_what_is_assumed_of_it() -> None:
    pairs = [Measured(name, "coding", 90, 1_000) for name in "abcdefgh"] + [
        Measured(name, "general", 400, 1_000) for name in "abcdefgh"
    ]

    lengths = fit(pairs, ASSUMED)

    assert lengths.expected("a stranger", "coding", 900) < 200


def test_offers_and_kinds_are_told_apart() -> None:
    wordy = {"terse": 0.5, "usual": 1.0, "wordy": 2.0}
    usual = {"general": 400, "coding": 900}
    pairs = [
        Measured(offer, kind, usual[kind] * wordy[offer], 2_000)
        for offer in wordy
        for kind in usual
        if (offer, kind) != ("wordy", "coding")
    ]

    lengths = fit(pairs, usual)

    assert lengths.expected("wordy", "coding", 900) == pytest.approx(1_800, rel=0.05)


def test_what_was_measured_counts_by_how_much_it_is() -> None:
    assert [blended(1_000, n, 400) for n in (0, 10)] == [400, 700]
    assert blended(1_000, 10_000, 400) == pytest.approx(1_000, rel=0.01)


def test_answers_without_tokens_are_no_reason_to_fail() -> None:
    assert fit([Measured("one", "general", 0.0, 5)], ASSUMED) != Lengths()


def test_after_two_hundred_requests_a_model_the_mean_of_skewed_lengths_is_known_within_a_quarter() -> None:
    draw = random.Random(7)  # noqa: S311  # a simulation
    kinds = [f"kind {number}" for number in range(8)]

    def length() -> float:
        """Log-normal, and one of thirty from a Pareto tail, cut at fifty times."""
        return min(draw.paretovariate(1.5), 50) * 3 if draw.random() < 1 / 30 else draw.lognormvariate(0, 0.8)

    usual = {kind: draw.lognormvariate(5.3, 0.8) for kind in kinds}
    mean = sum(length() for _ in range(200_000)) / 200_000
    true, pairs = {}, []
    for offer in map(str, range(20)):
        wordy = draw.lognormvariate(0, 0.7)
        asked = draw.choices(kinds, k=200)
        for kind in kinds:
            own = usual[kind] * wordy * draw.lognormvariate(0, 0.4)
            true[offer, kind] = own * mean
            answers = [own * length() for _ in range(asked.count(kind))]
            if answers:
                pairs.append(Measured(offer, kind, sum(answers) / len(answers), len(answers)))

    lengths = fit(pairs, dict.fromkeys(kinds, 400))
    errors = [
        abs(blended(it.tokens, it.n, lengths.expected(it.offer, it.kind, 400)) - true[it.offer, it.kind])
        / true[it.offer, it.kind]
        for it in pairs
    ]

    assert median(errors) < 0.25
