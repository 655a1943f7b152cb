"""Past traffic and what is scored are told apart; prices are found."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks.routing.outcomes import Unreadable
from benchmarks.routing.setup import NO_PRICE_USD, is_warm
from tests.benchmarks.routing.worlds import NAN, facts, outcomes, setup

NAMES = [f"set/{number}" for number in range(4_000)]


def test_a_prompt_is_past_traffic_by_its_name_alone() -> None:
    warm = {name for name in NAMES if is_warm(name, 0.3, 7)}

    assert warm == {name for name in reversed(NAMES) if is_warm(name, 0.3, 7)}
    assert len(warm) == pytest.approx(0.3 * len(NAMES), rel=0.1)
    assert warm != {name for name in NAMES if is_warm(name, 0.3, 8)}
    assert warm < {name for name in NAMES if is_warm(name, 0.6, 7)}
    assert not any(is_warm(name, 0.0, 7) for name in NAMES)


def test_every_prompt_is_on_one_side() -> None:
    made = setup(outcomes(["one"], [[1]] * 400, [[0.1]] * 400), facts(), warmup=0.3)

    assert len(made.warm.prompts) + len(made.held.prompts) == 400
    assert set(made.warm.prompts) & set(made.held.prompts) == set()


def test_prices_are_recovered_from_what_was_charged() -> None:
    inputs = [[100.0], [200.0], [50.0], [400.0], [10.0], [70.0]]
    outputs = [[10.0], [500.0], [20.0], [30.0], [900.0], [80.0]]
    costs = [[(3 * i[0] + 15 * o[0]) / 1e6] for i, o in zip(inputs, outputs, strict=True)]

    price = setup(outcomes(["one"], [[1]] * 6, costs, inputs=inputs, outputs=outputs), facts()).prices["one"]

    assert (price.source, price.input_usd, price.output_usd) == ("fitted", pytest.approx(3), pytest.approx(15))
    assert price.blended_usd == pytest.approx(6)


def test_past_traffic_that_was_charged_exactly_tells_the_price() -> None:
    tokens = [[float(10 + 7 * number)] for number in range(100)]
    made = outcomes(["one"], [[1]] * 100, [[it[0] * 5e-6] for it in tokens], inputs=tokens, outputs=[[0.0]] * 100)

    assert setup(made, facts(), warmup=0.3).prices["one"].source == "recorded"


def test_where_tokens_are_not_told_apart_the_price_is_what_a_token_cost_on_average() -> None:
    made = outcomes(["gpt-4o-mini"], [[1]] * 100, [[1e-6 * (5 + number % 3)] for number in range(100)])
    made = replace(made, total_tokens=np.full(made.score.shape, 10.0))

    price = setup(made, facts(), warmup=0.3).prices["gpt-4o-mini"]

    assert (price.source, price.input_usd) == ("recorded", price.output_usd)
    assert price.output_usd == pytest.approx(0.6, rel=0.05)


def test_whoever_runs_it_may_say_what_a_model_costs() -> None:
    made = setup(outcomes(["one"], [[1]], [[0.1]]), facts(), prices={"one": (1.0, 2.0)})

    assert made.blended_usd.tolist() == [1.25]


def test_costs_that_the_file_does_not_have_are_those_of_its_tokens() -> None:
    made = outcomes(["one"], [[1], [1]], [[NAN], [0.5]], inputs=[[1_000.0], [1.0]], outputs=[[500.0], [1.0]])

    found = setup(made, facts(), prices={"one": (2.0, 4.0)})

    assert found.held.cost.tolist() == [[0.004], [0.5]]


def test_a_prompt_that_nobody_has_a_cost_for_is_not_scored() -> None:
    found = setup(outcomes(["one", "two"], [[1, 1], [1, NAN]], [[0.1, NAN], [NAN, 0.1]]), facts())

    assert (found.held.prompts, found.can.tolist()) == (("set/0",), [[True, False]])
    assert found.blended_usd.tolist() == [NO_PRICE_USD, NO_PRICE_USD]


def test_where_nothing_is_left_it_says_so() -> None:
    with pytest.raises(Unreadable, match="no prompt is left to score on"):
        setup(outcomes(["one"], [[1]], [[NAN]]), facts())


def test_models_that_are_alike_in_name_are_named_for_review_and_not_taken() -> None:
    known = facts(**{"gpt-x-turbo": 40.0, "gpt-y": 50.0})

    found = setup(outcomes(["gpt-x"], [[1]], [[0.1]]), known).joined[0]

    assert not found.known
    assert found.alike == ("openai/gpt-x-turbo",)
