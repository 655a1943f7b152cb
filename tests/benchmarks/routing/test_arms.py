"""Whom each policy asks."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.routing import arms
from benchmarks.routing.arms import ARMS, Arm
from benchmarks.routing.setup import Setup
from tests.benchmarks.routing.worlds import NAN, facts, outcomes, setup

# Cheap, good, and one that nobody has heard of.
MODELS = ("gpt-cheap", "gpt-good", "stranger")
PRICES = {"gpt-cheap": (1.0, 1.0), "gpt-good": (10.0, 10.0), "stranger": (2.0, 2.0)}
KNOWN = facts(**{"gpt-cheap": 20.0, "gpt-good": 60.0, "gpt-other": 40.0})
SCORES = [[1, 1, 0], [0, 1, 1], [0, 0, 1], [0, 1, NAN]]
COSTS = [[1, 10, 2], [1, 10, 2], [1, 10, 2], [1, 10, NAN]]


def made() -> Setup:
    return setup(outcomes(MODELS, SCORES, COSTS), KNOWN, prices=PRICES)


def means(arm: Arm) -> list[tuple[float, float]]:
    """Cost and quality of each setting."""
    rows = zip(arm.cost.mean(axis=1).tolist(), arm.quality.mean(axis=1).tolist(), strict=True)
    return [(round(cost, 4), round(quality, 4)) for cost, quality in rows]


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("cheapest", (1, 0.25)),
        ("best", (10, 0.75)),
        # Of three answers each; so two thirds of the stranger's are above half of the good one's, and where the stranger
        # did not answer the good one does.
        ("hindsight", (10, 0.75)),
        ("random", ((13 / 3 * 3 + 11 / 2) / 4, (2 / 3 + 2 / 3 + 1 / 3 + 1 / 2) / 4)),
        ("ratio", (1, 0.25)),
    ],
)
def test_an_arm_without_a_trade_off_has_one_point(name: str, point: tuple[float, float]) -> None:
    arm = ARMS[name](made())

    assert means(arm) == [(round(point[0], 4), round(point[1], 4))]
    assert arm.own == 0


def test_an_index_is_swept_from_the_best_to_the_cheapest() -> None:
    points = means(arms.composite(made()))

    assert (points[0], points[-1]) == ((10, 0.75), (1, 0.25))


def test_no_model_is_passed_over_that_is_the_best_for_some_trade_off() -> None:
    # Their prices are so near to one another that weights a factor of two apart would miss those in the middle.
    prices = np.array([1.0, 1.01, 1.02, 1.03, 1e5])
    values = np.array([0.2, 0.5, 0.7, 0.8, 0.81])

    best = {int((values - weight * prices).argmax()) for weight in arms.trade_offs(values, prices)}

    assert best == {0, 1, 2, 3, 4}


def test_the_oracle_pays_only_where_it_gains() -> None:
    points = means(arms.oracle(made()))

    # The first prompt is answered by the cheap one, two by the stranger, the last only by the good one.
    assert points[0] == ((1 + 2 + 2 + 10) / 4, 1.0)
    assert points[-1] == (1, 0.25)


def test_who_is_not_in_the_ledger_has_the_least_index_there_is() -> None:
    values = arms.index_of(made(), {"openai/gpt-cheap": 2.0, "openai/gpt-good": 3.0}.get)

    assert values.tolist() == [2, 3, 2]


def test_if_nobody_is_known_the_cheapest_is_taken() -> None:
    blind = setup(outcomes(MODELS, SCORES, COSTS), facts(), prices=PRICES)

    assert {means(ARMS[name](blind))[0] for name in ("best", "thegent", "composite")} == {(1, 0.25)}


def test_the_formulas_own_setting_is_the_first() -> None:
    found = {name: ARMS[name](made()) for name in ("tokenledger", "thegent")}

    # tokenledger: 0.3 + 0.2 (1 - 1) for the good one, 0.1 + 0.2 (1 - 0.1) for the cheap one.
    assert {name: arm.own for name, arm in found.items()} == {"tokenledger": 0, "thegent": 0}
    assert means(found["tokenledger"])[0] == (10, 0.75)


def test_who_did_not_answer_a_prompt_is_not_asked() -> None:
    chosen = arms.best_by(made(), np.array([0.0, 1.0, 2.0]))

    assert chosen.tolist() == [2, 2, 2, 1]


def test_settings_that_choose_the_same_are_one() -> None:
    same = np.zeros(4, dtype=np.int64)

    arm = arms.by_choice(made(), "any", [("a", same), ("b", same + 1), ("c", same)], own=2)

    assert (arm.labels, arm.own) == (("a", "b"), 0)
