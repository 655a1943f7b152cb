"""When a source is asked, and when it is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.facts import Parsed
from ledger.refresh import schedule
from ledger.refresh.schedule import BREAKER_FAILURES, DAY_US, US_PER_S, Standing
from ledger.refresh.source import Source

NOW_US = 20_000 * DAY_US + 1
HOUR_S = 3600.0


def nothing(payload: bytes, /, *, fetched_at_us: int) -> Parsed:
    return Parsed()


def source(**changes: object) -> Source:
    fields = {"name": "s", "urls": ("http://127.0.0.1/",), "every_s": 24 * HOUR_S, "requests_per_day": 3}
    return Source(parse=nothing, **{**fields, **changes})  # type: ignore[arg-type]  # test data


def refusal(standing: Standing, *, now_us: int = NOW_US, forced: bool = False, **changes: object) -> str:
    return schedule.refusal(source(**changes), standing, now_us=now_us, forced=forced)


def test_a_source_that_was_never_asked_is_due() -> None:
    assert refusal(Standing()) == ""


@given(st.floats(0, 1, exclude_max=True))
def test_the_next_time_is_the_cadence_give_or_take_a_tenth(chance: float) -> None:
    standing = schedule.answered(source(), Standing(failures=3, problem="x"), now_us=NOW_US, chance=chance)

    assert 0.9 * 24 * HOUR_S <= (standing.due_us - NOW_US) / US_PER_S <= 1.1 * 24 * HOUR_S
    assert (standing.failures, standing.problem, standing.fetched_us) == (0, "", NOW_US)


def test_who_asks_for_it_need_not_wait_until_it_is_due() -> None:
    standing = schedule.answered(source(), Standing(), now_us=NOW_US, chance=0.5)

    assert refusal(standing) == "it is due in 24 h"
    assert refusal(standing, forced=True) == ""


@pytest.mark.parametrize("forced", [False, True])
def test_the_budget_of_the_day_holds_whoever_asks_and_is_new_the_next_day(forced: bool) -> None:
    standing = Standing()
    for _ in range(3):
        standing = schedule.spent(standing, now_us=NOW_US)

    assert refusal(standing, forced=forced) == "its 3 requests of the day are used up"
    assert refusal(standing, forced=forced, now_us=NOW_US + DAY_US) == ""
    assert schedule.spent(standing, now_us=NOW_US + DAY_US).requests == 1


@pytest.mark.parametrize("forced", [False, True])
def test_retry_after_holds_whoever_asks(forced: bool) -> None:
    standing = schedule.failed(source(), Standing(), "429", now_us=NOW_US, chance=0.0, retry_after_s=1800)

    assert refusal(standing, forced=forced) == "it asked to be left alone for another 30 min"
    assert refusal(standing, forced=forced, now_us=NOW_US + 1800 * US_PER_S) == ""


@pytest.mark.parametrize("nonsense_s", [-5.0, 1e12])
def test_a_retry_after_of_nonsense_holds_for_a_day_at_most(nonsense_s: float) -> None:
    standing = schedule.failed(source(), Standing(), "429", now_us=NOW_US, chance=0.0, retry_after_s=nonsense_s)

    assert refusal(standing, now_us=NOW_US + DAY_US) == ""


def test_failures_are_tried_again_later_and_later_until_the_breaker_opens() -> None:
    standing, waits_s, opened = Standing(), [], []
    for _ in range(9):
        standing = schedule.failed(source(), standing, "no answer", now_us=NOW_US, chance=0.0)
        waits_s.append((standing.due_us - NOW_US) // US_PER_S)
        opened.append(schedule.is_open(standing))

    assert waits_s == [60, 120, 240, 480, 3600, 7200, 14_400, 28_800, 57_600]
    assert opened.index(True) == BREAKER_FAILURES - 1
    assert not schedule.is_open(schedule.answered(source(), standing, now_us=NOW_US, chance=0.0))


def test_an_open_breaker_lets_one_try_through_when_its_time_has_come() -> None:
    standing = Standing(failures=40)
    standing = schedule.failed(source(), standing, "no answer", now_us=NOW_US, chance=0.0)

    assert refusal(standing)
    assert refusal(standing, now_us=NOW_US + DAY_US) == ""


def test_a_source_that_is_idle_says_why() -> None:
    assert refusal(Standing(), forced=True, idle="it needs a key") == "it needs a key"


def test_a_long_text_of_an_error_is_not_kept_whole() -> None:
    standing = schedule.failed(source(), Standing(), "x" * 10_000, now_us=NOW_US, chance=0.0)

    assert len(standing.problem) == 300
    assert replace(standing, problem="") != standing
