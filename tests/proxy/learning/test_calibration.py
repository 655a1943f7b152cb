from __future__ import annotations

from typing import Any

import pytest

from proxy.learning.calibration import ALL, Fit, Scores, calibration, cost_ratios, fit, is_telling, score_of
from tests.ledger.samples import decision
from tests.proxy.learning.samples import routed


def test_nothing_comes_of_nothing() -> None:
    assert calibration([]) == []
    assert fit([]) is None
    assert fit([(1.0, 0.0), (0.0, 1.0)]) is None


def test_a_fit_is_the_median_error_the_bias_and_how_much_it_covers() -> None:
    found = fit([(100, 200), (100, 100), (100, 50), (100, 80)])

    assert found == Fit(n=4, error_median=pytest.approx(0.375), bias=pytest.approx(1.125), covered=0.75, low=pytest.approx(0.59), high=pytest.approx(1.7))  # noqa: E501  # fmt: skip


def test_what_was_expected_stands_beside_what_was_metered() -> None:
    everything, one = calibration([routed()])

    assert (everything.group, one.group) == (ALL, "openai/gpt-4o")
    assert (one.requests, one.compared) == (1, 1)
    assert one.cost == Fit(n=1, error_median=0.2, bias=0.8, covered=0.0, low=1.25, high=1.25)
    assert one.output_tokens == Fit(n=1, error_median=0.25, bias=1.25, covered=1.0, low=0.8, high=0.8)
    assert one.ttft == Fit(n=1, error_median=0.2, bias=0.8, covered=0.0, low=1.25, high=1.25)
    assert one.latency == Fit(n=1, error_median=0.2, bias=0.8, covered=0.0, low=1.25, high=1.25)
    assert one.quality is None


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "upstream_error"},
        {"tries": 2},
        {"offer": "some/other"},
        {"quality": "estimated"},
        {"cache": "hit", "offer": ""},
    ],
)
def test_a_request_that_was_not_answered_as_it_was_estimated_tells_nothing(changes: dict[str, Any]) -> None:
    it = routed(**changes)

    assert not is_telling(it)
    assert [(row.requests, row.compared, row.cost) for row in calibration([it])] == [(1, 0, None)] * 2


def test_what_nobody_expected_or_nobody_metered_is_not_compared() -> None:
    unknown = routed(decided=decision(cost_nusd=None, output_tokens=None, ttft_us=None, latency_us=None))
    unmetered = routed(cost_nusd=None, ttfb_us=None)
    whole = routed(stream=False)

    rows = [calibration([it])[1] for it in (unknown, unmetered, whole)]

    assert [(row.cost, row.ttft) for row in rows[:2]] == [(None, None)] * 2
    assert rows[2].ttft is None
    assert rows[2].latency is not None


def test_groups_are_models_tasks_or_policies_the_largest_first() -> None:
    every = [
        routed("a", decided=decision(chosen="x/1", task="math", policy="auto")),
        routed("b", decided=decision(chosen="y/2", task="math", policy="auto:best")),
        routed("c", decided=decision(chosen="y/2", task="coding", policy="auto:best")),
    ]

    assert [(row.group, row.requests) for row in calibration(every)] == [(ALL, 3), ("y/2", 2), ("x/1", 1)]
    assert [row.group for row in calibration(every, by="task")] == [ALL, "math", "coding"]
    assert [row.group for row in calibration(every, by="policy")] == [ALL, "auto:best", "auto"]


def test_a_score_is_the_weighted_mean_of_what_was_said() -> None:
    assert score_of(routed()) is None
    assert score_of(routed(feedback=((1_000_000, 1_000_000), (0, 500_000)))) == pytest.approx(2 / 3)


def test_expected_quality_stands_beside_the_mean_score() -> None:
    every = [routed(str(n), feedback=((score, 1_000_000),)) for n, score in enumerate((0, 1_000_000, 1_000_000, 600_000))]

    (row, _) = calibration([*every, routed("unjudged")])

    assert row.quality == Scores(n=4, expected=pytest.approx(0.61), score=pytest.approx(0.65))


def test_cost_ratios_are_of_sums_and_of_models_with_enough_requests() -> None:
    dear = [routed(f"a{n}", cost_nusd=8_000_000) for n in range(3)]
    cheap = [routed(f"b{n}", decided=decision(chosen="x/1"), cost_nusd=1_000_000) for n in range(2)]

    assert cost_ratios([*dear, *cheap], least=3) == {"openai/gpt-4o": 2.0, "": pytest.approx(1.3)}
    assert cost_ratios([*dear, *cheap]) == {}
