"""Arms beside each other, against what a pencil finds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.routing.arms import Arm
from benchmarks.routing.compare import Comparison, compare


def arm(name: str, *points: tuple[float, float], prompts: int = 4, own: int | None = None) -> Arm:
    """An arm whose settings have these costs and qualities at every prompt."""
    cost, quality = (np.array([[it[axis]] * prompts for it in points], dtype=np.float32) for axis in (0, 1))
    return Arm(name=name, labels=tuple(map(str, range(len(points)))), quality=quality, cost=cost, own=own)


CHEAPEST = arm("cheapest", (1, 0.2), own=0)
COMPOSITE = arm("composite", (1, 0.2), (5, 0.6))
OURS = arm("ours", (1, 0.2), (3, 0.6), (9, 0.7))
TOKENLEDGER = arm("tokenledger", (4, 0.55), (7, 0.5), own=0)
HINDSIGHT = arm("hindsight", (8, 0.65), own=0)
ALL = (CHEAPEST, COMPOSITE, OURS, TOKENLEDGER, HINDSIGHT, arm("oracle", (1, 0.9), (20, 1.0)))


def found(*arms: Arm, times: int = 0) -> Comparison:
    return compare(arms or ALL, times=times, seed=3)


def test_the_range_is_from_the_cheapest_model_to_the_dearest_corner_of_anybody_but_the_oracle() -> None:
    it = found()

    assert (it.low, it.high, it.narrow) == (1, 9, 4)


def test_each_arm_has_its_area_over_that_range() -> None:
    areas = {it.name: it.aiq.value for it in found().standings}

    assert areas == pytest.approx(
        {
            "cheapest": 0.2,
            "composite": (4 * 0.4 + 4 * 0.6) / 8,
            "ours": (2 * 0.4 + 6 * 0.65) / 8,
            # Of its two settings one is worse and dearer; what is left is mixed with the cheapest.
            "tokenledger": (3 * 0.375 + 5 * 0.55) / 8,
            "hindsight": (7 * 0.425 + 1 * 0.65) / 8,
            "oracle": (8 * (0.9 + (0.9 + 0.1 * 8 / 19)) / 2) / 8,
        },
        abs=1e-6,
    )


def test_accuracy_is_told_at_budgets_and_costs_at_accuracies() -> None:
    it = compare(ALL, times=0, seed=3, budgets=(2.0, 5.0))
    ours = next(one for one in it.standings if one.name == "ours")

    assert [at.value for at in ours.at] == pytest.approx([0.4, 0.6 + 0.1 * 2 / 6], abs=1e-6)
    assert it.targets == (("hindsight", pytest.approx(0.65)),)
    assert [at.value for at in ours.cost_of] == pytest.approx([6.0], abs=1e-4)


def test_what_nobody_can_buy_has_no_cost() -> None:
    composite = next(one for one in found().standings if one.name == "composite")

    assert math.isnan(composite.cost_of[0].value)


def test_what_is_aimed_at_is_a_verdict() -> None:
    aiq, beside = found().verdicts

    assert (aiq.difference.value, aiq.least, aiq.met) == (pytest.approx((4.7 - 4.0) / 8, abs=1e-6), 0.01, True)
    # At the four dollars of its own setting.
    assert (beside.difference.value, beside.met) == (pytest.approx(0.6 + 0.1 / 6 - 0.55, abs=1e-6), True)


def test_an_aim_that_is_missed_is_said_to_be() -> None:
    it = found(CHEAPEST, COMPOSITE, arm("ours", (1, 0.2), (5, 0.6)))

    assert [one.met for one in it.verdicts] == [False]


def test_a_policy_that_starts_cheaper_than_the_anchor_is_not_charged_for_it() -> None:
    it = found(CHEAPEST, COMPOSITE, arm("ours", (0.5, 0.3), (5, 0.6)))

    assert it.low == 1
    assert next(one for one in it.standings if one.name == "ours").aiq.value == pytest.approx(
        (0.3 + 0.3 * 0.5 / 4.5 + 0.6) / 2, abs=1e-6
    )


def test_resamples_are_paired_and_the_same_each_time() -> None:
    draw = np.random.default_rng(1)
    shared = draw.random(400)
    cost = np.ones((1, 400), dtype=np.float32)
    arms = tuple(
        Arm(name=name, labels=("",), quality=(shared + gain)[None].astype(np.float32), cost=cost * usd, own=0)
        for name, gain, usd in (("cheapest", 0.0, 1.0), ("composite", 0.1, 2.0), ("ours", 0.2, 2.0))
    )

    first, again = found(*arms, times=200), found(*arms, times=200)

    assert first == again
    difference = first.verdicts[0].difference
    # Each mean moves by a hundredth; their difference does not, since it is the same prompts.
    assert difference.low == pytest.approx(difference.high, abs=1e-5)
    ours = next(one for one in first.standings if one.name == "ours")
    assert ours.aiq.high - ours.aiq.low > 0.02
