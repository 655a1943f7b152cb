"""Whatever the policy: nobody loses a place by becoming better, and who is beaten changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.routing.pareto import Point, front
from proxy.routing.policy import POLICIES, Policy, choose

EVERY = [
    *POLICIES.values(),
    Policy(name="floor", rule="cheapest", min_quality=0.5),
    Policy(name="ceiling", rule="best", max_cost_nusd=1_000_000),
    Policy(name="thrifty", rule="cost-aware", max_cost_nusd=1_000_000),
    Policy(name="quick", rule="fastest", min_quality=0.6),
]
FRONTS = [it for it in EVERY if it.rule != "throughput"]
POLICY = st.sampled_from(FRONTS)
TASK = st.sampled_from(("general", "coding"))

QUALITY = st.none() | st.floats(0, 1, width=16)
COST = st.none() | st.just(0) | st.integers(0, 10**10) | st.sampled_from((1_000_000, 2_000_000))
LATENCY = st.none() | st.floats(0, 1e6, width=32)
POINTS = st.lists(st.tuples(QUALITY, COST, LATENCY), min_size=1, max_size=10).map(
    lambda rows: [Point(f"p{place:02}", *row) for place, row in enumerate(rows)]
)


def beats(one: Point, other: Point) -> bool:
    return one in front([one, other]) and other not in front([one, other])


@given(POINTS, POLICY, TASK)
def test_nobody_beats_the_choice(points: list[Point], policy: Policy, task: str) -> None:
    chosen = choose(points, policy, task=task)

    assert chosen is not None
    assert [it for it in points if beats(it, chosen)] == []


@given(POINTS, POLICY, TASK, st.tuples(QUALITY, COST, LATENCY))
def test_one_more_who_is_beaten_changes_nothing(
    points: list[Point], policy: Policy, task: str, row: tuple[float | None, int | None, float | None]
) -> None:
    other = Point("zz", *row)
    if any(beats(it, other) for it in points):
        assert choose([*points, other], policy, task=task) == choose(points, policy, task=task)


@given(POINTS, POLICY, TASK, st.integers(0, 9), st.tuples(QUALITY, COST, LATENCY))
def test_nobody_loses_a_place_by_becoming_better(
    points: list[Point], policy: Policy, task: str, which: int, row: tuple[float | None, int | None, float | None]
) -> None:
    it = points[which % len(points)]
    better = replace(
        it,
        quality=max((value for value in (it.quality, row[0]) if value is not None), default=None),
        cost_nusd=min((value for value in (it.cost_nusd, row[1]) if value is not None), default=None),
        latency_ms=min((value for value in (it.latency_ms, row[2]) if value is not None), default=None),
    )
    changed = [better if point is it else point for point in points]

    if it in front(points):
        assert better in front(changed)
    if choose(points, policy, task=task) == it:
        assert choose(changed, policy, task=task) == better


def test_a_policy_takes_what_it_says() -> None:
    points = [
        Point("cheap", 0.4, 10_000, 900.0),
        Point("quick", 0.6, 900_000, 200.0),
        Point("good", 0.75, 2_000_000, 4_000.0),
        Point("best", 0.79, 50_000_000, 9_000.0),
    ]

    chosen = {name: choose(points, POLICIES[name]).name for name in ("auto:cheap", "auto:fast", "auto:best", "auto:floor")}  # type: ignore[union-attr]  # there are points

    assert chosen == {"auto:cheap": "quick", "auto:fast": "quick", "auto:best": "best", "auto:floor": "cheap"}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(rule="cheapest", min_quality=0.75), "good"),
        (Policy(rule="cheapest", min_quality=0.9), "best"),
        (Policy(rule="best", max_cost_nusd=3_000_000), "good"),
        (Policy(rule="best", max_cost_nusd=1), "cheap"),
        (Policy(rule="fastest", min_quality=0.7), "good"),
        (Policy(rule="pareto"), "cheap"),
        (Policy(rule="quality"), "best"),
        (Policy(rule="speed"), "quick"),
    ],
)
def test_a_bound_that_nobody_keeps_is_kept_by_the_nearest(policy: Policy, expected: str) -> None:
    points = [
        Point("cheap", 0.4, 10_000, 900.0),
        Point("quick", 0.6, 900_000, 200.0),
        Point("good", 0.75, 2_000_000, 4_000.0),
        Point("best", 0.79, 50_000_000, 9_000.0),
    ]

    assert choose(points, policy) == next(it for it in points if it.name == expected)


def test_equal_ones_go_by_name() -> None:
    points = [Point("b", 0.5, 1, 1.0), Point("a", 0.5, 1, 1.0)]

    assert {choose(points, policy).name for policy in FRONTS} == {"a"}  # type: ignore[union-attr]  # there are points
