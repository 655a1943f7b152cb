"""What is known of a deployment's load, and what becomes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.attempts.balance import LOADS_MAX, Load, Loads
from proxy.call import Fault
from tests.proxy.samples import attempt, call, deployment
from tests.proxy.scripted import Watch


def score(load: Load, now_s: float = 100.0, *, share: float = 1.0) -> float:
    return load.score(now_s, stream=False, best_s=0.5, share=share)


def test_what_is_not_known_is_taken_to_be_as_good_as_the_best() -> None:
    assert score(Load()) == 0.5


def test_slow_busy_and_failing_all_cost_more() -> None:
    slow, busy, failing = Load(), Load(), Load()
    slow.answered(2.0, 100.0, stream=False)
    busy.in_flight = 3
    failing.ended(100.0, failed=True)

    assert [score(it) for it in (slow, busy, failing)] == pytest.approx([2.0, 2.0, 1.0])


def test_a_heavier_one_may_have_more_under_way() -> None:
    load = Load()
    load.in_flight = 6

    assert score(load, share=3.0) == 1.5


def test_streams_and_whole_answers_are_measured_apart() -> None:
    load = Load()
    load.answered(0.2, 100.0, stream=True)
    load.answered(8.0, 100.0, stream=False)

    assert (load.ttfb_s(stream=True), load.ttfb_s(stream=False)) == (0.2, 8.0)


def test_failures_of_long_ago_are_forgotten_by_halves_also_when_something_new_is_heard() -> None:
    load = Load()
    load.ended(100.0, failed=True)

    ratios = [load.error_ratio(now_s) for now_s in (100.0, 110.0, 120.0)]
    load.ended(400.0, failed=False)

    assert ratios == pytest.approx([0.1, 0.05, 0.025])
    assert load.error_ratio(400.0) < 1e-9


def test_who_was_slow_long_ago_is_taken_to_be_as_good_as_the_best_and_no_better() -> None:
    load = Load()
    load.answered(8.0, 100.0, stream=False)

    assert [score(load, now_s) for now_s in (100.0, 110.0, 120.0, 200.0)] == [8.0, 4.0, 2.0, 0.5]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1e5), st.floats(0, 1e6)), max_size=100))
def test_an_error_ratio_is_one_and_a_score_is_positive(story: list[tuple[bool, float, float]]) -> None:
    load = Load()
    now_s = 1.0

    for failed, ttfb_s, passed_s in story:
        now_s += passed_s
        load.ended(now_s, failed=failed)
        load.answered(ttfb_s, now_s, stream=False)

        assert 0 <= load.error_ratio(now_s) <= 1
        assert score(load, now_s) > 0


def test_whoever_enters_is_counted_until_it_leaves() -> None:
    loads = Loads(clock_s=Watch().s)
    one = deployment()

    assert [loads.enter(call(), number, one) for number in (1, 2)] == [True, True]
    loads.leave(call(), 1, one)

    assert loads.of(one).in_flight == 1


@pytest.mark.parametrize(
    ("fault", "worse"),
    [
        *((fault, False) for fault in ("", "request", "client", "gateway")),
        *((fault, True) for fault in ("upstream", "timeout", "rate_limit", "account")),
    ],
)
def test_only_its_own_failures_make_it_worse(fault: Fault, worse: bool) -> None:
    loads = Loads(clock_s=Watch().s)
    one = deployment()

    loads.observe(call(), attempt(deployment=one, fault=fault, outcome=fault or "ok"))

    assert (loads.of(one).error_ratio(1000.0) > 0) is worse


def test_a_wait_that_was_given_up_counts_as_long_as_it_was() -> None:
    loads = Loads(clock_s=Watch().s)
    one = deployment()

    loads.observe(call(), attempt(deployment=one, fault="timeout", outcome="x", ttfb_us=None, duration_us=2_000_000))

    assert loads.of(one).ttfb_s(stream=False) == 2.0


def test_what_is_remembered_is_bounded_and_who_is_busy_is_not_forgotten() -> None:
    loads = Loads(clock_s=Watch().s)
    busy = deployment("a/busy")
    loads.enter(call(), 1, busy)

    for number in range(LOADS_MAX + 50):
        loads.of(deployment(f"a/m{number}"))

    assert len(loads.all()) == LOADS_MAX
    assert loads.of(busy).in_flight == 1


def test_what_leaves_after_it_was_forgotten_leaves_nothing_behind() -> None:
    loads = Loads(clock_s=Watch().s)

    loads.leave(call(), 1, deployment())

    assert loads.of(deployment()).in_flight == 0


def test_a_reset_forgets_how_it_was_and_not_what_is_under_way() -> None:
    loads = Loads(clock_s=Watch().s)
    one, other = deployment("a/gpt"), deployment("b/gpt")
    for each in (one, other):
        loads.enter(call(), 1, each)
        loads.observe(call(), attempt(deployment=each, fault="upstream", outcome="upstream_error"))

    loads.reset(lambda key: key[0] == "a")

    assert [loads.of(it).error_ratio(1000.0) > 0 for it in (one, other)] == [False, True]
    assert [loads.of(it).in_flight for it in (one, other)] == [1, 1]
