"""What an answer will cost is known within a quarter after two hundred of a model's."""

from __future__ import annotations

import pytest

from benchmarks.routing.prediction import TARGET, measure


@pytest.mark.parametrize("spread", [0.6, 1.0])
def test_after_two_hundred_answers_a_model_costs_are_predicted_within_a_quarter(spread: float) -> None:
    found = measure(requests=200, spread=spread, seed=3)

    assert found.expected < TARGET
    # A single answer is predicted about as well as by who knows the true mean.
    assert found.single < found.best + 0.05


def test_more_answers_predict_better() -> None:
    few, many = (measure(requests=requests, spread=0.6, seed=3).expected for requests in (30, 1_500))

    assert many < few
