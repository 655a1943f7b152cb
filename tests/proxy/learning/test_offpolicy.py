from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from proxy.learning.offpolicy import Logged, judge, mean

# How good each model is at each of two kinds of task.
TRUTH = {("big", "hard"): 0.8, ("big", "easy"): 0.9, ("small", "hard"): 0.3, ("small", "easy"): 0.85}


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # the same in every run


def played(
    chance: random.Random, *, n: int, explored: float, target: Callable[[str], str], expected: bool = True
) -> list[Logged]:
    """A policy that always takes ``small``, and ``big`` in so many of the requests by chance; half of the tasks are hard."""
    logged = []
    for _ in range(n):
        task = chance.choice(("hard", "easy"))
        chosen = "big" if chance.random() < explored else "small"
        wanted = target(task)
        logged.append(
            Logged(
                chosen=chosen,
                propensity=explored if chosen == "big" else 1 - explored,
                score=float(chance.random() < TRUTH[chosen, task]),
                task=task,
                target=wanted,
                expected=TRUTH[chosen, task] * 0.7 if expected else None,
                expected_target=TRUTH[wanted, task] * 0.7 if expected else None,
            )
        )
    return logged


def by_task(task: str) -> str:
    return "big" if task == "hard" else "small"


TRUE_VALUE = (TRUTH["big", "hard"] + TRUTH["small", "easy"]) / 2


def test_another_policy_is_estimated_from_what_exploration_showed() -> None:
    verdict = judge(played(seeded(1), n=4_000, explored=0.2, target=by_task))

    assert verdict.reason == ""
    assert verdict.support == pytest.approx(1.0, abs=0.05)
    for estimate in (verdict.ips, verdict.snips, verdict.dr):
        assert estimate is not None
        assert estimate.low < TRUE_VALUE < estimate.high
        assert estimate.value == pytest.approx(TRUE_VALUE, abs=0.05)
    assert verdict.logged is not None
    assert verdict.logged.value < TRUE_VALUE - 0.1


@pytest.mark.parametrize("expected", [True, False])
def test_the_intervals_hold_what_they_promise(expected: bool) -> None:
    held = {"ips": 0, "snips": 0, "dr": 0}
    rounds = 120
    for seed in range(rounds):
        verdict = judge(played(seeded(seed), n=400, explored=0.3, target=by_task, expected=expected))
        for name in held:
            estimate = getattr(verdict, name)
            held[name] += estimate.low <= TRUE_VALUE <= estimate.high

    assert min(held.values()) >= 0.9 * rounds


def test_what_is_known_of_models_makes_the_estimate_surer() -> None:
    verdict = judge(played(seeded(3), n=2_000, explored=0.1, target=by_task))

    assert verdict.dr is not None
    assert verdict.ips is not None
    assert verdict.dr.high - verdict.dr.low < verdict.ips.high - verdict.ips.low


def test_the_policy_that_was_logged_is_estimated_as_it_did() -> None:
    scores = [1.0, 0.0, 1.0, 1.0] * 20
    verdict = judge([Logged(chosen="a", propensity=1.0, score=score, target="a") for score in scores])

    assert verdict.matched == verdict.n == 80
    assert verdict.logged is not None
    for estimate in (verdict.ips, verdict.snips, verdict.dr):
        assert estimate is not None
        assert estimate.value == pytest.approx(0.75, abs=0.01)
        assert (estimate.low, estimate.high) == (pytest.approx(0.64, abs=0.03), pytest.approx(0.84, abs=0.03))


def test_what_was_never_done_is_not_estimated_and_the_report_says_so() -> None:
    chance = seeded(1)
    deterministic = [
        Logged(
            chosen="small",
            propensity=1.0,
            score=float(chance.random() < TRUTH["small", task]),
            task=task,
            target=by_task(task),
        )
        for task in ("hard", "easy") * 200
    ]

    verdict = judge(deterministic)

    assert (verdict.ips, verdict.snips, verdict.dr) == (None, None, None)
    assert "about 50% of the requests" in verdict.reason
    assert "explore" in verdict.reason
    assert verdict.matched == 200
    assert verdict.matched_score is not None
    assert verdict.matched_score.value == pytest.approx(TRUTH["small", "easy"], abs=0.06)


def test_a_few_judged_requests_say_nothing() -> None:
    verdict = judge(played(seeded(1), n=29, explored=0.5, target=by_task))

    assert verdict.ips is None
    assert "only 29 requests were judged" in verdict.reason


def test_little_exploration_says_nothing_even_of_many_requests() -> None:
    verdict = judge(played(seeded(2), n=400, explored=0.01, target=lambda _: "big"))

    assert verdict.ips is None
    assert verdict.effective < 20
    assert "worth" in verdict.reason or "never chosen" in verdict.reason


def test_no_request_at_all_is_no_error() -> None:
    verdict = judge([])

    assert (verdict.n, verdict.logged, verdict.ips) == (0, None, None)
    assert verdict.reason


@pytest.mark.parametrize(
    ("scores", "low", "high"), [([1.0] * 10, 0.72, 1.0), ([0.0] * 10, 0.0, 0.28), ([0.5] * 40, 0.35, 0.65)]
)
def test_a_mean_is_no_surer_than_its_count_makes_it(scores: list[float], low: float, high: float) -> None:
    found = mean(scores)

    assert found is not None
    assert (found.low, found.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_the_mean_of_nothing_is_unknown() -> None:
    assert mean([]) is None
