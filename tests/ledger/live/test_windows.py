"""Windows over tallies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.live.windows import WINDOWS, Windows

LENGTHS = {"5m": 300, "1h": 3_600, "24h": 86_400, "7d": 604_800}
SLICES = {"5m": 30, "1h": 300, "24h": 3_600, "7d": 21_600}
NOW = 1_800_000_000


def counted(windows: Windows, window: str, now_s: float) -> int:
    return windows.window(window, now_s).tries  # type: ignore[arg-type]  # a window's name


@pytest.mark.parametrize("window", WINDOWS)
def test_what_is_younger_than_the_window_is_in_it(window: str) -> None:
    windows = Windows()
    windows.now(NOW).tries += 1

    assert counted(windows, window, NOW + LENGTHS[window] - SLICES[window] - 1) == 1


@pytest.mark.parametrize("window", WINDOWS)
def test_what_is_older_than_the_window_is_not(window: str) -> None:
    windows = Windows()
    windows.now(NOW).tries += 1

    assert counted(windows, window, NOW + LENGTHS[window] + SLICES[window]) == 0


@given(st.lists(st.integers(0, 10_000), max_size=60), st.integers(0, 700_000))
def test_a_longer_window_has_at_least_what_a_shorter_one_has(steps: list[int], later: int) -> None:
    windows = Windows()
    now_s = float(NOW)
    for step in steps:
        now_s += step
        windows.now(now_s).tries += 1

    found = [counted(windows, window, now_s + later) for window in WINDOWS]

    assert found == sorted(found)
    assert found[-1] <= len(steps)


@given(st.lists(st.integers(0, 40_000), max_size=40))
def test_within_a_week_nothing_is_lost_and_nothing_counts_twice(steps: list[int]) -> None:
    windows = Windows()
    now_s = float(NOW)
    moments = []
    for step in steps:
        now_s += step
        moments.append(now_s)
        windows.now(now_s).tries += 1

    kept = sum(moment > now_s - LENGTHS["7d"] + SLICES["7d"] for moment in moments)
    possible = sum(moment > now_s - LENGTHS["7d"] - SLICES["7d"] for moment in moments)

    assert kept <= counted(windows, "7d", now_s) <= possible


@given(st.lists(st.integers(-100_000, 100_000), max_size=40))
def test_a_clock_that_steps_breaks_nothing(steps: list[int]) -> None:
    windows = Windows()
    now_s = float(NOW)
    for step in steps:
        now_s += step
        windows.now(now_s).tries += 1

    assert all(0 <= counted(windows, window, now_s) <= len(steps) for window in WINDOWS)


def test_what_was_written_down_is_there_again() -> None:
    windows = Windows()
    for step in range(0, 90_000, 777):
        tally = windows.now(NOW + step)
        tally.tries += 1
        tally.quantities["e2e_ms"].add(step + 1.0)
    end_s = NOW + 90_000

    again = Windows.load(windows.dump(), end_s)

    assert [again.window(it, end_s).dump() for it in WINDOWS] == [windows.window(it, end_s).dump() for it in WINDOWS]


def test_what_was_written_down_long_ago_is_left_out() -> None:
    windows = Windows()
    windows.now(NOW).tries += 1

    assert Windows.load(windows.dump(), NOW + 700_000).is_empty


def test_what_was_written_down_by_a_clock_ahead_of_ours_is_left_out() -> None:
    windows = Windows()
    windows.now(NOW + 5_000).tries += 1

    assert Windows.load(windows.dump(), NOW).is_empty
