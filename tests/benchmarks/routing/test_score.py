"""Curves and their areas, against what a pencil finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.routing.score import Interval, aiq, cost_at, hull, interval, quality_at, resampled

# A point below the line between its neighbours, one that is dearer and worse, and a corner.
COSTS = np.array([4.0, 1.0, 2.0, 3.0, 6.0])
QUALITIES = np.array([0.5, 0.2, 0.3, 0.6, 0.7])
CURVE = hull(COSTS, QUALITIES)

POINTS = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20)), min_size=1, max_size=12)


def test_a_curve_has_the_corners_that_no_mixture_of_others_beats() -> None:
    assert [it.tolist() for it in CURVE] == [[1, 3, 6], [0.2, 0.6, 0.7]]


@pytest.mark.parametrize(("budget", "quality"), [(1, 0.2), (2, 0.4), (3, 0.6), (4.5, 0.65), (6, 0.7), (100, 0.7)])
def test_a_budget_buys_what_a_mixture_of_two_corners_has(budget: float, quality: float) -> None:
    assert quality_at(CURVE, budget) == pytest.approx(quality)


def test_less_than_the_cheapest_buys_nothing() -> None:
    assert math.isnan(quality_at(CURVE, 0.5))


@pytest.mark.parametrize(("quality", "cost"), [(0.1, 1), (0.2, 1), (0.4, 2), (0.65, 4.5), (0.7, 6)])
def test_a_quality_costs_what_a_mixture_of_two_corners_costs(quality: float, cost: float) -> None:
    assert cost_at(CURVE, quality) == pytest.approx(cost)


def test_no_money_buys_more_than_the_best() -> None:
    assert math.isnan(cost_at(CURVE, 0.71))


def test_the_area_is_the_mean_quality_over_all_budgets() -> None:
    # From 1 to 3: 0.4 on average; to 6: 0.65; to 7: 0.7.
    assert aiq(CURVE, 1, 7) == pytest.approx((2 * 0.4 + 3 * 0.65 + 1 * 0.7) / 6)
    assert aiq(CURVE, 2, 4.5) == pytest.approx((0.5 + 1.5 * 0.625) / 2.5)


def test_the_area_over_one_budget_is_the_quality_there() -> None:
    assert aiq(CURVE, 2, 2) == pytest.approx(0.4)


@given(POINTS)
def test_a_curve_rises_ever_slower_and_is_below_no_point(points: list[tuple[int, int]]) -> None:
    costs, qualities = np.array(points, dtype=float).T
    curve = hull(costs, qualities)
    slopes = np.diff(curve[1]) / np.diff(curve[0])

    assert (np.diff(curve[0]) > 0).all()
    assert (np.diff(curve[1]) > 0).all()
    assert (np.diff(slopes) < 1e-9).all()
    assert all(quality <= quality_at(curve, cost) + 1e-9 for cost, quality in points)


def test_the_same_seed_draws_the_same_prompts_for_every_row() -> None:
    row = np.random.default_rng(1).random(200).astype(np.float32)
    first, again = (np.array(list(resampled([row, 2 * row], times=70, seed=3))) for _ in range(2))

    assert first.shape == (70, 2)
    assert (first == again).all()
    assert first[:, 1] == pytest.approx(2 * first[:, 0])
    assert (first[:, 0] != np.array(list(resampled([row], times=70, seed=4)))[:, 0]).any()


def test_resamples_spread_as_means_do() -> None:
    row = np.random.default_rng(1).normal(0, 1, 400).astype(np.float32)

    means = np.array(list(resampled([row], times=2_000, seed=3)))[:, 0]

    assert means.mean() == pytest.approx(float(row.mean()), abs=0.005)
    assert means.std() == pytest.approx(float(row.std()) / 20, rel=0.1)


def test_an_interval_is_the_middle_of_the_draws() -> None:
    assert interval(5.0, [float(number) for number in range(1001)]) == Interval(5.0, 25.0, 975.0)


def test_without_draws_there_is_no_interval() -> None:
    assert math.isnan(interval(5.0, []).low)
    assert list(resampled([np.ones(3, dtype=np.float32)], times=0, seed=1)) == []
