"""How long the gateway keeps away from who said "too many"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.attempts.cooldown import JITTER, Cooldown, CooldownRules

RULES = CooldownRules(base_s=1.0, max_s=120.0)


def test_who_has_not_refused_may_be_asked() -> None:
    cooldown = Cooldown(RULES)

    assert cooldown.ready_in_s(5.0) == 0.0
    assert cooldown.is_idle(5.0)


@pytest.mark.parametrize(("asked_s", "wait_s"), [(2.0, 2.0), (0.0, 0.0), (1e12, 120.0), (-3.0, 0.0)])
def test_what_it_asks_for_is_kept_up_to_the_most(asked_s: float, wait_s: float) -> None:
    cooldown = Cooldown(RULES)

    cooldown.limit(100.0, asked_s=asked_s, chance=0.0)

    assert cooldown.ready_in_s(100.0) == wait_s


def test_refusals_that_were_under_way_together_make_it_longer_once() -> None:
    cooldown = Cooldown(RULES)

    for _ in range(50):
        cooldown.limit(100.0, asked_s=None, chance=0.0)

    assert cooldown.ready_in_s(100.0) == 1.0


def test_each_further_refusal_doubles_it_up_to_the_most() -> None:
    cooldown = Cooldown(RULES)
    now_s, waits = 100.0, []

    for _ in range(9):
        cooldown.limit(now_s, asked_s=None, chance=0.0)
        waits.append(cooldown.ready_in_s(now_s))
        now_s += waits[-1]

    assert waits == [1, 2, 4, 8, 16, 32, 64, 120, 120]


def test_an_answer_starts_it_anew_unless_it_was_asked_for_before() -> None:
    cooldown = Cooldown(RULES)
    cooldown.limit(100.0, asked_s=None, chance=0.0)

    cooldown.succeed(100.5)
    during_s = cooldown.ready_in_s(100.5)
    cooldown.limit(101.0, asked_s=None, chance=0.0)
    second_s = cooldown.ready_in_s(101.0)
    cooldown.succeed(103.0)
    cooldown.limit(103.0, asked_s=None, chance=0.0)

    assert (during_s, second_s, cooldown.ready_in_s(103.0)) == (0.5, 2.0, 1.0)


def test_a_second_refusal_never_makes_it_shorter() -> None:
    cooldown = Cooldown(RULES)
    cooldown.limit(100.0, asked_s=30.0, chance=0.0)

    cooldown.limit(101.0, asked_s=1.0, chance=0.0)

    assert cooldown.ready_in_s(101.0) == 29.0


def test_a_reset_ends_it() -> None:
    cooldown = Cooldown(RULES)
    cooldown.limit(100.0, asked_s=30.0, chance=0.0)

    cooldown.reset()

    assert cooldown.is_idle(100.0)


@given(st.lists(st.tuples(st.floats(0, 50), st.none() | st.floats(-1e9, 1e9), st.floats(0, 0.999)), max_size=2000))
def test_it_is_never_longer_than_the_most(refusals: list[tuple[float, float | None, float]]) -> None:
    cooldown = Cooldown(RULES)
    now_s = 0.0

    for passed_s, asked_s, chance in refusals:
        now_s += passed_s
        cooldown.limit(now_s, asked_s=asked_s, chance=chance)

        assert 0 <= cooldown.ready_in_s(now_s) <= RULES.max_s * (1 + JITTER)
