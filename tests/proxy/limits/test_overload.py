"""Who is sent away when there is too much to do."""

from __future__ import annotations

from collections import Counter

import pytest

from proxy.limits.overload import Bounds, Overload
from proxy.limits.queue import LOW, NORMAL

HIGH = 0
BOUNDS = Bounds(lag_s=0.1, requests=100)


def pressed(pressure: float) -> Overload:
    overload = Overload(BOUNDS)
    for _ in range(round(pressure / 0.05)):
        overload.measured(0.2, 0.2)
    return overload


def test_nobody_is_sent_away_while_there_is_time() -> None:
    overload = Overload(BOUNDS)

    for _ in range(1_000):
        overload.measured(0.09, 0.09)

    assert overload.pressure == 0.0
    assert not overload.is_pressed(0)


def test_one_long_pause_is_no_overload() -> None:
    overload = Overload(BOUNDS)

    overload.measured(30.0, 30.0)

    assert [overload.sheds(NORMAL, 0) for _ in range(100)] == [False] * 100


@pytest.mark.parametrize(
    ("pressure", "high", "normal", "low"), [(0.5, 0, 0, 50), (1.0, 0, 0, 100), (1.25, 0, 25, 100), (2.5, 50, 100, 100)]
)
def test_the_less_important_go_first_and_of_each_class_the_share_that_is_too_much(
    pressure: float, high: int, normal: int, low: int
) -> None:
    overload = pressed(pressure)

    gone = Counter(rank for _ in range(100) for rank in (HIGH, NORMAL, LOW) if overload.sheds(rank, 0))

    assert [gone[HIGH], gone[NORMAL], gone[LOW]] == [pytest.approx(it, abs=1) for it in (high, normal, low)]
    assert overload.shed == [gone[HIGH], gone[NORMAL], gone[LOW]]


def test_it_ends_when_the_lag_does() -> None:
    overload = pressed(3.0)

    for _ in range(100):
        overload.measured(0.0, 0.0)

    assert not overload.is_pressed(0)


def test_too_many_at_work_are_too_many_however_fast_the_loop_is() -> None:
    overload = Overload(BOUNDS)

    shed = {at_work: [overload.sheds(rank, at_work) for rank in (HIGH, NORMAL, LOW)] for at_work in (79, 80, 90, 100)}

    assert not overload.is_pressed(79)
    assert shed == {
        79: [False, False, False],
        80: [False, False, True],
        90: [False, True, True],
        100: [True, True, True],
    }


def test_those_that_are_sent_away_are_told_different_times() -> None:
    overload = pressed(3.0)

    told = []
    for _ in range(8):
        overload.sheds(NORMAL, 0)
        told.append(overload.retry_after_s)

    assert sorted(set(told)) == [1, 2, 3, 4]


def test_it_holds_the_lag_of_a_loop_that_is_asked_for_twice_what_it_can() -> None:
    """Work costs 1 ms, sending away 0.1 ms; 2,000 requests a second; what is not done in an interval is left for the next."""
    overload = Overload(Bounds(lag_s=0.05, requests=10**9))
    behind_s, done, lags = 0.0, 0, []

    for step in range(1_200):
        work_s = behind_s
        for _ in range(100):
            shed = overload.is_pressed(0) and overload.sheds(NORMAL, 0)
            work_s += 0.0001 if shed else 0.001
            done += not shed and step >= 200
        behind_s = max(work_s - 0.05, 0.0)
        overload.measured(behind_s, behind_s)
        lags.append(behind_s)

    # (1 - share) * 1 ms + share * 0.1 ms = 0.5 ms leaves 44 % of the requests.
    assert done / (1_000 * 100) == pytest.approx(0.44, abs=0.03)
    assert sorted(lags[200:])[len(lags[200:]) // 2] < 0.1
