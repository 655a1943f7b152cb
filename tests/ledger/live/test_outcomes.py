from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.catalogue.metrics import METRICS
from ledger.live.outcomes import ANY, DAY_S, HALF_LIVES_S, Outcomes

ACCEPT = "live_user_accept_rate"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000 * DAY_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(clock: Clock) -> Outcomes:
    return Outcomes(clock)


def test_a_judgement_counts_for_its_task_and_for_all_tasks(live: Outcomes) -> None:
    live.observe("acme/big", "coding", ACCEPT, 1.0)
    live.observe("acme/big", "math", ACCEPT, 0.0)

    assert (live.values("acme/big", "coding")[ACCEPT].value, live.values("acme/big", "coding")[ACCEPT].n) == (1.0, 1)
    assert (live.values("acme/big")[ACCEPT].value, live.values("acme/big")[ACCEPT].n) == (0.5, 2)
    assert live.pairs() == [("acme/big", ANY), ("acme/big", "coding"), ("acme/big", "math")]


def test_of_what_nobody_judged_nothing_is_known(live: Outcomes) -> None:
    live.observe("acme/big", "coding", ACCEPT, 1.0)

    assert live.values("acme/small") == {}
    assert live.values("acme/big", "math") == {}


def test_a_weight_counts_for_as_many_observations(live: Outcomes) -> None:
    live.observe("acme/big", "", ACCEPT, 1.0, weight=0.5)
    live.observe("acme/big", "", ACCEPT, 0.0, weight=1.5)

    assert live.values("acme/big")[ACCEPT].value == pytest.approx(0.25)
    assert live.values("acme/big")[ACCEPT].n == 2


def test_half_of_a_weight_is_gone_with_each_half_life(live: Outcomes, clock: Clock) -> None:
    for _ in range(8):
        live.observe("acme/big", "", ACCEPT, 1.0)
    clock.now_s += HALF_LIVES_S[ACCEPT]
    for _ in range(4):
        live.observe("acme/big", "", ACCEPT, 0.0)

    assert (live.values("acme/big")[ACCEPT].value, live.values("acme/big")[ACCEPT].n) == (0.5, 8)

    clock.now_s += 2 * HALF_LIVES_S[ACCEPT]

    assert (live.values("acme/big")[ACCEPT].value, live.values("acme/big")[ACCEPT].n) == (0.5, 2)

    clock.now_s += 20 * HALF_LIVES_S[ACCEPT]

    assert live.values("acme/big") == {}


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 1), st.floats(0.1, 3)), min_size=1, max_size=12))
def test_the_order_in_which_they_come_in_does_not_matter(judged: list[tuple[float, float, float]]) -> None:
    clock = Clock()
    first, second = Outcomes(clock), Outcomes(clock)
    for age_days, score, weight in judged:
        first.observe("o", "t", ACCEPT, score, weight=weight, at_s=clock.now_s - age_days * DAY_S)
    for age_days, score, weight in sorted(judged):
        second.observe("o", "t", ACCEPT, score, weight=weight, at_s=clock.now_s - age_days * DAY_S)

    a, b = first.values("o", "t"), second.values("o", "t")

    assert a.keys() == b.keys()
    assert all(math.isclose(a[name].value, b[name].value, abs_tol=1e-9) and abs(a[name].n - b[name].n) <= 1 for name in a)


def test_what_was_counted_can_be_taken_back(live: Outcomes) -> None:
    live.observe("acme/big", "coding", "check_pass_rate", 1.0)
    live.observe("acme/big", "coding", "check_pass_rate", 1.0)

    live.observe("acme/big", "coding", "check_pass_rate", 1.0, weight=-1.0)
    live.observe("acme/big", "coding", "check_pass_rate", 0.0)

    assert live.values("acme/big", "coding")["check_pass_rate"].value == pytest.approx(0.5)
    assert live.values("acme/big", "coding")["check_pass_rate"].n == 2


def test_who_was_heard_of_longest_ago_is_forgotten(clock: Clock) -> None:
    live = Outcomes(clock, pairs_max=3)

    for name in ("a", "b", "c", "a", "d"):
        live.observe(name, "", ACCEPT, 1.0)

    assert [offer for offer, _ in live.pairs()] == ["a", "c", "d"]


def test_what_has_changed_is_said(live: Outcomes) -> None:
    live.observe("a", "coding", ACCEPT, 1.0)
    live.changed.clear()

    live.observe("b", "coding", ACCEPT, 1.0)

    assert live.changed == {("b", "coding"), ("b", ANY)}


def test_every_metric_is_one_of_the_catalogue() -> None:
    assert {name for name in HALF_LIVES_S if METRICS[name].unit != "fraction"} == set()
