"""Windows over tallies."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.live.windows import WINDOWS, Answers, Tally, Windows

LENGTHS = {"5m": 300, "1h": 3_600, "24h": 86_400, "7d": 604_800}
SLICES = {"5m": 30, "1h": 300, "24h": 3_600, "7d": 21_600}
NOW = 1_800_000_000


def counted(windows: Windows[Tally], window: str, now_s: float) -> int:
    return windows.window(window, now_s).tries  # type: ignore[arg-type]  # a window's name


@pytest.mark.parametrize("window", WINDOWS)
def test_what_is_younger_than_the_window_is_in_it(window: str) -> None:
    windows = Windows(Tally)
    windows.now(NOW).tries += 1

    assert counted(windows, window, NOW + LENGTHS[window] - SLICES[window] - 1) == 1


@pytest.mark.parametrize("window", WINDOWS)
def test_what_is_older_than_the_window_is_not(window: str) -> None:
    windows = Windows(Tally)
    windows.now(NOW).tries += 1

    assert counted(windows, window, NOW + LENGTHS[window] + SLICES[window]) == 0


@given(st.lists(st.integers(0, 10_000), max_size=60), st.integers(0, 700_000))
def test_a_longer_window_has_at_least_what_a_shorter_one_has(steps: list[int], later: int) -> None:
    windows = Windows(Tally)
    now_s = float(NOW)
    for step in steps:
        now_s += step
        windows.now(now_s).tries += 1

    found = [counted(windows, window, now_s + later) for window in WINDOWS]

    assert found == sorted(found)
    assert found[-1] <= len(steps)


@given(st.lists(st.integers(0, 40_000), max_size=40))
def test_within_a_week_nothing_is_lost_and_nothing_counts_twice(steps: list[int]) -> None:
    windows = Windows(Tally)
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
    windows = Windows(Tally)
    now_s = float(NOW)
    for step in steps:
        now_s += step
        windows.now(now_s).tries += 1

    assert all(0 <= counted(windows, window, now_s) <= len(steps) for window in WINDOWS)


def again(windows: Windows[Tally], now_s: float) -> Windows[Tally]:
    """The windows, as they are after they were kept and loaded."""
    loaded = Windows(Tally)
    loaded.load(msgspec.json.decode(msgspec.json.encode(windows.slices), type=list[list[tuple[int, Tally]]]), now_s)
    return loaded


def test_what_was_written_down_is_there_again() -> None:
    windows = Windows(Tally)
    for step in range(0, 90_000, 777):
        tally = windows.now(NOW + step)
        tally.tries += 1
        tally.e2e_ms.add(step + 1.0)
    end_s = NOW + 90_000

    loaded = again(windows, end_s)

    assert [loaded.window(it, end_s) for it in WINDOWS] == [windows.window(it, end_s) for it in WINDOWS]


def test_what_was_written_down_long_ago_is_left_out() -> None:
    windows = Windows(Tally)
    windows.now(NOW).tries += 1

    assert again(windows, NOW + 700_000).is_empty


def test_what_was_written_down_by_a_clock_ahead_of_ours_is_left_out() -> None:
    windows = Windows(Tally)
    windows.now(NOW + 5_000).tries += 1

    assert again(windows, NOW).is_empty


@given(st.lists(st.tuples(st.integers(0, 2_000), st.booleans()), max_size=60))
def test_whenever_windows_are_read_they_have_what_was_counted(steps: list[tuple[int, bool]]) -> None:
    read, unread = Windows(Tally), Windows(Tally)
    now_s = float(NOW)
    for step, reads in steps:
        now_s += step
        for windows in (read, unread):
            windows.now(now_s).tries += 1
            windows.now(now_s).e2e_ms.add(step + 1.0)
        if reads:
            list(read.ladder(now_s))

    assert list(read.ladder(now_s)) == list(unread.ladder(now_s))


def test_a_window_is_made_only_when_it_is_asked_for_and_changes_no_more() -> None:
    windows = Windows(Tally)
    windows.now(NOW).tries += 1
    windows.now(NOW + 2_000).tries += 1

    ladder = windows.ladder(NOW + 2_000)
    shortest = next(ladder)
    longer = next(ladder)

    assert (shortest.tries, longer.tries) == (1, 2)


def test_answers_of_a_task_have_windows_too() -> None:
    windows = Windows(Answers)
    for step in range(0, 90_000, 777):
        windows.now(NOW + step).measured += 1

    counted = [windows.window(it, NOW + 89_400).measured for it in WINDOWS]
    assert counted == sorted(counted)
    assert (counted[0], counted[-1]) == (1, 116)


def test_a_window_that_there_is_not_is_an_error() -> None:
    with pytest.raises(LookupError):
        Windows(Tally).window("1y", NOW)  # type: ignore[arg-type]  # no window's name
