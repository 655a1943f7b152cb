"""The front is exactly those whom nobody beats."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.pareto import UNKNOWN_MS, UNKNOWN_NUSD, UNKNOWN_QUALITY, Point, front

# Few values, so that many are equal.
POINTS = st.lists(
    st.tuples(
        st.none() | st.integers(0, 4).map(lambda it: it / 4),
        st.none() | st.integers(0, 4),
        st.none() | st.integers(0, 4).map(float),
    ),
    max_size=24,
).map(lambda rows: [Point(f"p{place:02}", *row) for place, row in enumerate(rows)])


def axes(point: Point) -> tuple[float, float, float]:
    return (
        -(UNKNOWN_QUALITY if point.quality is None else point.quality),
        UNKNOWN_NUSD if point.cost_nusd is None else point.cost_nusd,
        UNKNOWN_MS if point.latency_ms is None else point.latency_ms,
    )


def beats(one: Point, other: Point) -> bool:
    mine, yours = axes(one), axes(other)
    return mine != yours and all(a <= b for a, b in zip(mine, yours, strict=True))


@given(POINTS)
def test_the_front_is_everybody_whom_nobody_beats(points: list[Point]) -> None:
    unbeaten = {it.name for it in points if not any(beats(other, it) for other in points)}

    assert {it.name for it in front(points)} == unbeaten


@given(POINTS, st.randoms(use_true_random=False))
def test_the_order_in_which_they_come_does_not_matter(points: list[Point], chance: object) -> None:
    shuffled = sorted(points, key=lambda _: chance.random())  # type: ignore[attr-defined]  # hypothesis types it as object

    assert front(shuffled) == front(points)


def test_equal_points_are_all_kept() -> None:
    points = [Point("b", 0.5, 10, 1.0), Point("a", 0.5, 10, 1.0), Point("c", 0.5, 11, 1.0)]

    assert [it.name for it in front(points)] == ["a", "b"]


def test_what_is_not_known_is_the_worst_there_is() -> None:
    points = [Point("known", 0.5, 10, 1.0), Point("slow?", 0.5, 10, None), Point("dear?", 0.9, None, 1.0)]

    assert [it.name for it in front(points)] == ["dear?", "known"]


def test_there_is_no_front_of_nobody() -> None:
    assert front([]) == ()
