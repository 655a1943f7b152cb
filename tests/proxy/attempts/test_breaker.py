"""The circuit's table, and what it promises whatever happens."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.attempts.breaker import TRANSITIONS, Circuit, Input, Rules, State

RULES = Rules(failures_max=3, open_s=10.0, open_max_s=60.0, last_open_s=2.0, jitter=0.5)


def failing(times: int, *, rules: Rules = RULES, now_s: float = 100.0) -> Circuit:
    circuit = Circuit(rules)
    for number in range(times):
        assert circuit.enter(f"t{number}", now_s)
    for number in range(times):
        circuit.fail(f"t{number}", now_s, chance=0.0)
        circuit.leave(f"t{number}")
    return circuit


# --- the table ---------------------------------------------------------------------------------------------------------

MEANING = {
    (State.CLOSED, Input.SUCCESS): State.CLOSED,
    (State.CLOSED, Input.FAILURE): State.CLOSED,
    (State.CLOSED, Input.LIMIT): State.OPEN,
    (State.OPEN, Input.PROBE): State.HALF_OPEN,
    (State.HALF_OPEN, Input.SUCCESS): State.CLOSED,
    (State.HALF_OPEN, Input.FAILURE): State.OPEN,
    (State.HALF_OPEN, Input.LOST): State.OPEN,
    **{(state, Input.RESET): State.CLOSED for state in State},
}


@pytest.mark.parametrize(("state", "happened"), list(itertools.product(State, Input)))
def test_the_table_says_what_follows_and_nothing_else_can_happen(state: State, happened: Input) -> None:
    assert TRANSITIONS.get((state, happened)) == MEANING.get((state, happened))


# --- opening -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("failures", "state"), [(1, State.CLOSED), (2, State.CLOSED), (3, State.OPEN), (5, State.OPEN)])
def test_it_opens_at_so_many_failures_in_a_row(failures: int, state: State) -> None:
    assert failing(failures).state is state


def test_a_success_between_them_starts_the_count_anew() -> None:
    circuit = failing(2)

    circuit.succeed("x", 100.0)
    circuit.fail("y", 100.0, chance=0.0)
    circuit.fail("z", 100.0, chance=0.0)

    assert circuit.state is State.CLOSED


def alternating(count: int, *, every_s: float) -> Circuit:
    circuit = Circuit(Rules(failures_max=99, error_ratio=0.5, requests_min=20, window_s=30.0))
    for number in range(count):
        now_s = 100.0 + number * every_s
        if number % 2:
            circuit.fail("t", now_s, chance=0.0)
        else:
            circuit.succeed("t", now_s)
    return circuit


@pytest.mark.parametrize(
    ("count", "every_s", "state"),
    [(19, 0.1, State.CLOSED), (20, 0.1, State.OPEN), (40, 10.0, State.CLOSED)],
)
def test_it_opens_at_an_error_rate_but_not_on_a_handful_of_requests_in_the_window(
    count: int, every_s: float, state: State
) -> None:
    assert alternating(count, every_s=every_s).state is state


def test_while_it_is_open_nobody_enters_and_it_says_for_how_long() -> None:
    circuit = failing(3)

    assert not circuit.enter("x", 109.9)
    assert circuit.ready_in_s(103.0) == pytest.approx(7.0)


def test_the_time_is_longer_by_chance_up_to_the_jitter() -> None:
    circuit = Circuit(RULES)
    for _ in range(3):
        circuit.fail("t", 100.0, chance=0.999)

    assert circuit.ready_in_s(100.0) == pytest.approx(15.0, abs=0.01)


def test_late_outcomes_of_tries_that_began_before_change_nothing() -> None:
    circuit = failing(3)
    before_s = circuit.ready_in_s(100.0)

    circuit.succeed("late", 101.0)
    circuit.fail("later", 102.0, chance=0.0)

    assert circuit.state is State.OPEN
    assert circuit.ready_in_s(100.0) == before_s


# --- half open ---------------------------------------------------------------------------------------------------------


def test_of_two_hundred_that_wait_one_is_the_probe() -> None:
    circuit = failing(3)

    entered = [circuit.enter(f"w{number}", 111.0) for number in range(200)]

    assert entered.count(True) == 1
    assert circuit.state is State.HALF_OPEN


def test_a_probe_that_succeeds_lets_everybody_in() -> None:
    circuit = failing(3)
    circuit.enter("probe", 111.0)

    circuit.succeed("probe", 112.0)

    assert circuit.state is State.CLOSED
    assert all(circuit.enter(f"w{number}", 112.0) for number in range(10))


def test_only_the_probes_own_outcome_counts() -> None:
    circuit = failing(3)
    circuit.enter("probe", 111.0)

    circuit.succeed("late", 112.0)
    circuit.leave("late")

    assert circuit.state is State.HALF_OPEN
    assert not circuit.enter("x", 112.0)


def test_a_probe_whose_client_leaves_gives_its_place_to_the_next() -> None:
    circuit = failing(3)
    circuit.enter("probe", 111.0)

    circuit.leave("probe")

    assert [circuit.enter(name, 111.0) for name in ("next", "after")] == [True, False]


def test_each_time_it_opens_again_it_is_open_for_twice_as_long_up_to_the_most() -> None:
    circuit = failing(3)
    now_s, waits = 100.0, []

    for _ in range(5):
        waits.append(circuit.ready_in_s(now_s))
        now_s += waits[-1]
        assert circuit.enter("probe", now_s)
        circuit.fail("probe", now_s, chance=0.0)

    assert waits == pytest.approx([10.0, 20.0, 40.0, 60.0, 60.0])


@pytest.mark.parametrize(("quiet_s", "wait_s"), [(5.0, 20.0), (30.0, 10.0)])
def test_a_short_recovery_does_not_count_as_one(quiet_s: float, wait_s: float) -> None:
    circuit = failing(3)
    circuit.enter("probe", 110.0)
    circuit.succeed("probe", 110.0)

    now_s = 110.0 + quiet_s
    for _ in range(3):
        circuit.fail("t", now_s, chance=0.0)

    assert circuit.ready_in_s(now_s) == pytest.approx(wait_s)


# --- the last one ------------------------------------------------------------------------------------------------------


def test_the_last_one_is_open_only_for_a_moment() -> None:
    circuit = failing(3)

    assert circuit.ready_in_s(100.0, last=True) == pytest.approx(2.0)
    assert not circuit.enter("x", 102.0)
    assert circuit.enter("x", 102.0, last=True)
    assert not circuit.enter("y", 102.0, last=True)


@pytest.mark.parametrize(("failures", "dead"), [(3, False), (5, False), (6, True), (9, True)])
def test_it_is_dead_after_twice_as_many_failures_as_open_it(failures: int, dead: bool) -> None:
    assert failing(failures).is_dead is dead


def test_a_success_shows_that_it_is_not_dead_even_while_it_is_open() -> None:
    circuit = failing(9)

    circuit.succeed("as the last resort", 101.0)

    assert (circuit.state, circuit.is_dead) == (State.OPEN, False)


def test_a_reset_forgets_everything() -> None:
    circuit = failing(3)

    circuit.reset(101.0)

    assert circuit.state is State.CLOSED
    assert circuit.is_idle(101.0)


def test_there_is_something_to_remember_until_the_window_and_the_escalation_are_over() -> None:
    circuit = failing(1)

    assert [circuit.is_idle(now_s) for now_s in (101.0, 125.0, 140.0)] == [False, False, True]


# --- whatever happens --------------------------------------------------------------------------------------------------


class Machine(RuleBasedStateMachine):
    """Tries begin and end in any order, at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit(RULES)
        self.now_s = 1000.0
        self.number = 0
        self.inside: list[str] = []
        self.probing: list[str] = []

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(last=st.booleans())
    def somebody_asks(self, last: bool) -> None:
        self.number += 1
        token = f"t{self.number}"
        before = self.circuit.state
        if self.circuit.enter(token, self.now_s, last=last):
            self.inside.append(token)
            if before is not State.CLOSED:
                self.probing.append(token)

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), outcome=st.sampled_from(("ok", "failed", "left")), chance=st.floats(0, 0.999))
    def somebody_is_done(self, data: st.DataObject, outcome: str, chance: float) -> None:
        token = data.draw(st.sampled_from(self.inside))
        if outcome == "ok":
            self.circuit.succeed(token, self.now_s)
        elif outcome == "failed":
            self.circuit.fail(token, self.now_s, chance=chance)
        self.circuit.leave(token)
        self.inside.remove(token)
        if token in self.probing:
            self.probing.remove(token)

    @rule()
    def somebody_resets(self) -> None:
        self.circuit.reset(self.now_s)
        self.probing.clear()

    @invariant()
    def at_most_one_probe_is_under_way(self) -> None:
        assert len(self.probing) <= 1
        assert (self.circuit.state is State.HALF_OPEN) == bool(self.probing)

    @invariant()
    def it_is_never_open_for_longer_than_the_most(self) -> None:
        assert 0 <= self.circuit.ready_in_s(self.now_s) <= RULES.open_max_s * (1 + RULES.jitter)


Machine.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestMachine = Machine.TestCase


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5000))
def test_the_time_never_overflows(times: int) -> None:
    circuit = failing(3)
    now_s = 100.0
    for _ in range(times % 1500):
        now_s += circuit.ready_in_s(now_s)
        circuit.enter("p", now_s)
        circuit.fail("p", now_s, chance=0.5)

    assert circuit.ready_in_s(now_s) <= 90.0
