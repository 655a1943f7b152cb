"""Who is sent away when there is too much to do."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

import msgspec
import pytest

from proxy.limits.overload import CALM_MEASUREMENTS, FIRST_TURNS, TURN_RATIO, Bounds, Overload
from proxy.limits.queue import LOW, NORMAL

HIGH = 0
LAG_S = 0.1
TURN_S = LAG_S * TURN_RATIO
COST_S = TURN_S / 10
BOUNDS = Bounds(lag_s=LAG_S, requests=100)


def late(cost_s: float = COST_S) -> Overload:
    """With room for ten requests a turn."""
    overload = Overload(BOUNDS)
    while not overload.is_late:
        overload.measured(2 * LAG_S, 2 * LAG_S, round(2 * LAG_S / cost_s))
    return overload


def let_in(overload: Overload, ranks: Sequence[int]) -> list[int]:
    """The ranks of those that come in, of so many in one turn."""
    return [rank for rank in ranks if not overload.sheds(rank, 0)]


def test_nobody_is_sent_away_while_there_is_time() -> None:
    overload = Overload(BOUNDS)

    for _ in range(1_000):
        overload.measured(0.99 * LAG_S, 1.0, 10)

    assert not overload.is_pressed(0)
    assert let_in(overload, [LOW] * 1_000) == [LOW] * 1_000


def test_one_long_pause_is_no_overload() -> None:
    overload = Overload(BOUNDS)

    for _ in range(10):
        overload.measured(30.0, 30.0, 0)
        overload.measured(0.0, 0.0, 0)

    assert not overload.is_late


def test_it_is_not_late_for_what_other_processes_took() -> None:
    overload = Overload(BOUNDS)

    for _ in range(100):
        overload.measured(30.0, 0.01, 100)

    assert not overload.is_late


def test_as_many_come_in_as_a_turn_has_time_for() -> None:
    overload = late()

    assert len(let_in(overload, [NORMAL] * 1_000)) == 10
    overload.turned(TURN_S)
    assert len(let_in(overload, [NORMAL] * 1_000)) == 10


def test_what_a_turn_leaves_the_next_one_may_use_and_no_later_one() -> None:
    overload = late()

    for _ in range(20):
        overload.turned(0.0)

    assert len(let_in(overload, [NORMAL] * 1_000)) == 20


def test_when_requests_cost_more_fewer_come_in() -> None:
    overload = late()

    came = []
    for _ in range(400):
        came.append(len(let_in(overload, [NORMAL] * 1_000)))
        overload.turned(came[-1] * COST_S * 5)

    assert sum(came[-100:]) == pytest.approx(200, abs=10)


def test_one_comes_in_however_little_time_there_is() -> None:
    overload = late()

    came = []
    for _ in range(400):
        overload.turned(100.0)
        came.append(len(let_in(overload, [NORMAL] * 1_000)))

    assert came[-100:] == [1] * 100


def test_the_less_important_leave_room_for_the_others() -> None:
    overload = late()

    came = Counter(let_in(overload, [LOW] * 10 + [NORMAL] * 10 + [HIGH] * 1_000))

    assert came == {LOW: 8, NORMAL: 2, HIGH: 70}


def test_what_the_important_take_beyond_a_turn_the_others_wait_for() -> None:
    overload = late()
    let_in(overload, [HIGH] * 40)

    came = []
    overload.turned(4 * TURN_S)
    for _ in range(5):
        came.append(len(let_in(overload, [NORMAL] * 20)))
        overload.turned(came[-1] * COST_S)

    assert came == [0, 0, 0, 10, 10]


def test_after_somebody_was_sent_away_nobody_less_important_comes_in_for_a_while() -> None:
    overload = late()
    let_in(overload, [NORMAL] * 11)

    came = []
    for _ in range(FIRST_TURNS):
        overload.turned(COST_S)
        came.append(let_in(overload, [LOW, NORMAL]))
    after = let_in(overload, [LOW, NORMAL])

    assert came == [[NORMAL]] * (FIRST_TURNS - 1) + [[LOW, NORMAL]]
    assert after == [LOW, NORMAL]


def test_it_is_over_when_nobody_was_sent_away_for_a_while() -> None:
    overload = late()

    for _ in range(3 * CALM_MEASUREMENTS):
        overload.sheds(NORMAL, 10**9)
        overload.measured(0.0, 0.0, 0)
    still = overload.is_late
    for _ in range(CALM_MEASUREMENTS):
        overload.measured(0.0, 0.0, 0)

    assert [still, overload.is_late, overload.is_pressed(0)] == [True, False, False]


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


def test_turns_are_of_no_interest_while_it_is_not_late() -> None:
    overload = Overload(BOUNDS)
    overload.sheds(NORMAL, 0)

    for _ in range(100):
        overload.turned(100.0)
    while not overload.is_late:
        overload.measured(2 * LAG_S, 2 * LAG_S, round(2 * LAG_S / COST_S))

    assert len(let_in(overload, [NORMAL] * 1_000)) == 10


def test_those_that_are_sent_away_are_told_different_times() -> None:
    overload = late()
    let_in(overload, [NORMAL] * 10)

    told = []
    for _ in range(8):
        overload.sheds(NORMAL, 0)
        told.append(overload.retry_after_s)

    assert sorted(set(told)) == [1, 2, 3, 4]


ONSET_S = 4.0
"""It takes a while to know that it is no burst, and to have done what came in that time."""
LENGTH_S = 20.0


class Ran(msgspec.Struct, kw_only=True):
    """What became of a simulated loop."""

    busy_s: float = 0.0
    turns_s: list[float] = []
    came: Counter[int] = msgspec.field(default_factory=Counter)
    shed: Counter[int] = msgspec.field(default_factory=Counter)


def simulated(ranks: Sequence[int], *, rate: float, stall_every_s: float = 1e9, length_s: float = LENGTH_S) -> Ran:
    """A loop that is asked so many times a second; of the ranks in turn.

    A request costs 1 ms in five turns, with 5 ms of waiting for a journal in between, which now and then takes 50 ms; to send
    one away costs 0.05 ms.  Measured when the onset is over.
    """
    overload, ran = Overload(Bounds(lag_s=0.05, requests=10**9)), Ran()
    now_s = arrived = measured_s = busy_s = 0.0
    came = number = 0
    # Of requests let in: when the next part of their work is due, and how many there are.
    due: deque[tuple[float, int]] = deque()
    while now_s < length_s:
        turn_s = 0.00002
        for _ in range(len(due)):
            at_s, parts = due.popleft()
            if at_s > now_s:
                due.append((at_s, parts))
                continue
            turn_s += 0.0002
            if parts > 1:
                stall_s = 0.05 if parts == 3 and now_s % stall_every_s < 0.05 else 0.005
                due.append((now_s + (stall_s if parts in (2, 3) else 0), parts - 1))
        while arrived <= now_s:
            arrived += 1 / rate
            number += 1
            rank = ranks[number % len(ranks)]
            gone = overload.is_pressed(0) and overload.sheds(rank, 0)
            turn_s += 0.00005 if gone else 0.0
            came += not gone
            if not gone:
                due.append((now_s, 5))
            if now_s > ONSET_S:
                (ran.shed if gone else ran.came)[rank] += 1
        overload.turned(turn_s)
        now_s += turn_s
        busy_s += turn_s
        if now_s > ONSET_S:
            ran.turns_s.append(turn_s)
        if now_s - measured_s >= 0.025:
            overload.measured(now_s - measured_s - 0.025, busy_s, came)
            measured_s, busy_s, came = now_s, 0.0, 0
    return ran


@pytest.mark.parametrize("times", [1.5, 2, 5])
@pytest.mark.parametrize("stall_every_s", [1e9, 1.0])
def test_a_loop_that_is_asked_for_more_than_it_can_does_what_it_can_in_short_turns(times: float, stall_every_s: float) -> None:
    ran = simulated([NORMAL], rate=1_000 * times, stall_every_s=stall_every_s)

    # Of the time, what is not spent on sending away.
    possible = (1_000 - 1_000 * times * 0.05) / 0.95
    assert ran.came[NORMAL] / (LENGTH_S - ONSET_S) >= 0.95 * possible
    turns_s = sorted(ran.turns_s)
    assert turns_s[len(turns_s) * 99 // 100] <= 0.05


def test_a_loop_that_is_asked_for_nearly_what_it_can_sends_hardly_anybody_away() -> None:
    ran = simulated([NORMAL], rate=900)

    assert ran.shed.total() <= ran.came.total() * 0.01


def test_under_overload_those_of_low_priority_go_before_any_of_the_others() -> None:
    ran = simulated([LOW, NORMAL, LOW, HIGH], rate=1_600)

    shares = {rank: ran.shed[rank] / (ran.shed[rank] + ran.came[rank]) for rank in (HIGH, NORMAL, LOW)}
    assert shares[HIGH] == 0
    assert shares[NORMAL] <= 0.03
    assert shares[LOW] >= 0.7


def test_where_the_normal_ones_alone_are_too_many_no_low_one_comes_in() -> None:
    ran = simulated([NORMAL, NORMAL, NORMAL, LOW, HIGH], rate=3_000)

    assert ran.shed[HIGH] == 0
    assert ran.came[LOW] <= ran.shed[LOW] * 0.01
    assert ran.came[NORMAL] > 0
