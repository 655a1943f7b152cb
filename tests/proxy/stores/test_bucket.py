"""One bucket, to the last part."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from proxy.stores.bucket import Bucket
from proxy.stores.store import DEBT_MINUTES, Limit

MINUTE_US = 60_000_000


def limit(capacity: int = 60, per_minute: int = 60) -> Limit:
    return Limit(name="x", capacity=capacity, per_minute=per_minute)


def emptied(made: Limit, at_us: int = 0) -> Bucket:
    bucket = Bucket(made, at_us)
    bucket.take(made.capacity)
    return bucket


@given(rate=st.integers(1, 10**9), steps=st.lists(st.integers(0, 10**7), max_size=20))
def test_however_often_it_is_looked_at_a_minute_lets_in_a_minutes_worth(rate: int, steps: list[int]) -> None:
    bucket = emptied(limit(rate * 10, rate))
    now_us = 0

    for step_us in steps:
        now_us += step_us
        bucket.age(now_us)
    bucket.age(now_us + MINUTE_US - now_us % MINUTE_US)

    assert bucket.left == min(rate * (now_us // MINUTE_US + 1), rate * 10)


@given(rate=st.integers(1, 10**6), capacity=st.integers(1, 10**6), amount=st.integers(1, 10**6))
def test_the_wait_is_as_long_as_needed_and_no_longer(rate: int, capacity: int, amount: int) -> None:
    bucket = emptied(limit(capacity, rate))

    wait_s = bucket.short_s(amount)

    if amount > capacity:
        assert math.isinf(wait_s)
        return
    bucket.age(math.ceil(wait_s * 1e6))
    assert bucket.short_s(amount) == 0.0
    early = emptied(limit(capacity, rate))
    early.age(math.floor(wait_s * 1e6) - 1)
    assert early.short_s(amount) > 0.0


def test_what_is_taken_without_asking_is_owed_and_the_debt_has_an_end() -> None:
    bucket = emptied(limit())

    bucket.give(-(10**9))

    assert (bucket.left, bucket.full_s) == (0, (DEBT_MINUTES + 1) * 60.0)


def test_it_is_never_fuller_than_full() -> None:
    bucket = Bucket(limit(), 0)

    bucket.give(5)

    assert (bucket.left, bucket.is_full) == (60, True)


def test_a_clock_that_steps_back_changes_nothing() -> None:
    bucket = emptied(limit(), at_us=MINUTE_US)

    bucket.age(0)
    bucket.age(MINUTE_US)

    assert bucket.left == 0


def test_a_higher_limit_keeps_what_was_used() -> None:
    bucket = Bucket(limit(60, 60), 0)
    bucket.take(50)

    bucket.refill(limit(100, 100), 0)

    assert bucket.left == 50


def test_a_lower_limit_is_no_debt() -> None:
    bucket = Bucket(limit(60, 60), 0)
    bucket.take(50)

    bucket.refill(limit(10, 10), 0)

    assert (bucket.left, bucket.full_s) == (0, 60.0)


def test_what_is_lent_stays_lent_when_the_limit_is_lowered() -> None:
    bucket = Bucket(limit(10, 0), 0)
    bucket.take(5)

    bucket.refill(limit(2, 0), 0)
    bucket.give(1)
    bucket.give(1)
    after_two = bucket.left
    bucket.give(1)
    bucket.give(1)

    assert (after_two, bucket.left) == (0, 1)
    assert bucket.is_lent
