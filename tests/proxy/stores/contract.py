"""What every BucketStore keeps: each store's test file runs this with a store of its own."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.stores.store import DEBT_MINUTES, BucketStore, Limit

MINUTE_US = 60_000_000


class StepClock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.us = 1_000_000_000

    def __call__(self) -> int:
        return self.us


Make = Callable[[StepClock], BucketStore]


def of(name: str, capacity: int, per_minute: int = 0) -> Limit:
    return Limit(name=name, capacity=capacity, per_minute=per_minute)


class BucketStoreContract:
    """Subclass it as ``Test…`` and say how a store is made whose time is the given clock's."""

    @pytest.fixture
    def clock(self) -> StepClock:
        return StepClock()

    @pytest.fixture
    def store(self, clock: StepClock) -> BucketStore:
        raise NotImplementedError

    async def test_of_four_times_six_hundred_tries_at_a_thousand_exactly_a_thousand_are_let_in(
        self, store: BucketStore
    ) -> None:
        limit = of("requests", 1_000, 1)

        async def client() -> int:
            admitted = 0
            for turn in range(600):
                admitted += (await store.take((limit,), (1,))).blocked is None
                if turn % 7 == 0:
                    await asyncio.sleep(0)
            return admitted

        admitted = await asyncio.gather(*(client() for _ in range(4)))

        assert sum(admitted) == 1_000
        assert min(admitted) > 0

    async def test_fifty_tasks_that_want_five_of_a_hundred_are_twenty(self, store: BucketStore) -> None:
        limit = of("tokens", 100, 1)

        verdicts = await asyncio.gather(*(store.take((limit,), (5,)) for _ in range(50)))

        assert sum(it.blocked is None for it in verdicts) == 20
        assert {it.left for it in verdicts if it.blocked is not None} == {(0,)}

    async def test_all_is_taken_or_nothing(self, store: BucketStore) -> None:
        wide, narrow = of("wide", 10, 10), of("narrow", 1, 1)

        first = await store.take((wide, narrow), (1, 1))
        second = await store.take((wide, narrow), (1, 1))

        assert (first.blocked, first.left) == (None, (9, 0))
        assert (second.blocked, second.left) == (1, (9, 0))
        assert second.wait_s == pytest.approx(60.0)

    async def test_the_one_that_takes_longest_is_named(self, store: BucketStore) -> None:
        fast, slow = of("fast", 60, 60), of("slow", 1, 1)
        await store.take((fast, slow), (60, 1))

        verdict = await store.take((fast, slow), (1, 1))

        assert (verdict.blocked, verdict.wait_s) == (1, pytest.approx(60.0))

    async def test_it_fills_with_the_stores_own_time(self, store: BucketStore, clock: StepClock) -> None:
        limit = of("requests", 60, 60)
        await store.take((limit,), (60,))

        clock.us += 999_999
        early = await store.take((limit,), (1,))
        clock.us += 1
        verdict = await store.take((limit,), (1,))

        assert (early.blocked, verdict.blocked) == (0, None)
        assert verdict.full_s == (pytest.approx(60.0),)

    async def test_a_clock_that_steps_back_gives_nothing_and_takes_nothing(self, store: BucketStore, clock: StepClock) -> None:
        limit = of("requests", 60, 60)
        await store.take((limit,), (30,))

        clock.us -= 10 * MINUTE_US
        back = await store.take((limit,), (0,))
        clock.us += 10 * MINUTE_US
        again = await store.take((limit,), (0,))

        assert (back.left, again.left) == ((30,), (30,))

    async def test_what_does_not_fill_has_to_be_given_back(self, store: BucketStore, clock: StepClock) -> None:
        slots = of("under way", 2)
        await store.take((slots,), (2,))

        clock.us += 1_000 * MINUTE_US
        full = await store.take((slots,), (1,))
        await store.give((slots,), (1,))
        freed = await store.take((slots,), (1,))

        assert (full.blocked, full.wait_s, full.full_s) == (0, math.inf, (0.0,))
        assert freed.blocked is None

    async def test_a_thousand_refunds_leave_it_as_it_was(self, store: BucketStore) -> None:
        limits = (of("requests", 10, 10), of("tokens", 5_000, 5_000), of("under way", 3))

        for _ in range(1_000):
            verdict = await store.take(limits, (1, 4_000, 1))
            assert verdict.blocked is None
            await store.give(limits, (1, 4_000, 1))

        assert (await store.take(limits, (0, 0, 0))).left == (10, 5_000, 3)

    async def test_what_was_used_beyond_the_reserve_is_owed(self, store: BucketStore, clock: StepClock) -> None:
        limit = of("tokens", 1_000, 1_000)
        await store.take((limit,), (1_000,))

        await store.give((limit,), (-500,))
        owing = await store.take((limit,), (1,))
        clock.us += MINUTE_US
        later = await store.take((limit,), (0,))

        assert (owing.blocked, owing.left) == (0, (0,))
        assert owing.wait_s == pytest.approx(30.06)
        assert later.left == (500,)

    async def test_a_debt_has_an_end(self, store: BucketStore, clock: StepClock) -> None:
        limit = of("tokens", 1_000, 1_000)

        await store.give((limit,), (-(10**9),))
        clock.us += DEBT_MINUTES * MINUTE_US
        at_zero = await store.take((limit,), (0,))
        clock.us += MINUTE_US
        full = await store.take((limit,), (1_000,))

        assert (at_zero.left, full.blocked) == ((0,), None)

    async def test_more_than_it_holds_is_never_there(self, store: BucketStore) -> None:
        verdict = await store.take((of("tokens", 10, 10),), (11,))

        assert (verdict.blocked, verdict.wait_s) == (0, math.inf)

    async def test_a_name_twice_and_a_negative_amount_are_mistakes(self, store: BucketStore) -> None:
        limit = of("tokens", 10, 10)

        with pytest.raises(ValueError, match="twice"):
            await store.take((limit, limit), (1, 1))
        with pytest.raises(ValueError, match="cannot be taken"):
            await store.take((limit,), (-1,))

        assert (await store.take((limit,), (0,))).left == (10,)

    async def test_buckets_of_different_names_know_nothing_of_each_other(self, store: BucketStore) -> None:
        await store.take((of("a", 1, 1),), (1,))

        assert (await store.take((of("b", 1, 1),), (1,))).blocked is None

    async def test_takers_and_givers_in_any_order_never_hold_more_than_there_is(self, store: BucketStore) -> None:
        slots = of("under way", 5)
        chance = random.Random(7)  # noqa: S311  # which task runs when
        held = most = 0

        async def holder() -> None:
            nonlocal held, most
            for _ in range(50):
                if (await store.take((slots,), (1,))).blocked is None:
                    held += 1
                    most = max(most, held)
                    for _ in range(chance.randrange(4)):
                        await asyncio.sleep(0)
                    held -= 1
                    await store.give((slots,), (1,))
                else:
                    await asyncio.sleep(0)

        await asyncio.gather(*(holder() for _ in range(20)))

        assert most == 5
        assert (await store.take((slots,), (0,))).left == (5,)


RATES = ((1, 60), (60, 60), (7, 13), (1_000, 6_000))
"""Capacity and flow of the buckets that the machine plays with; the last of them does not fill."""


class Machine(RuleBasedStateMachine):
    """A store against the promise itself: what was let through in any window, and what is in it.

    ``run``: how to wait for the store.  ``make``: a new store.
    """

    make: Make
    run: Callable[[Any], Any]

    def __init__(self) -> None:
        super().__init__()
        self.clock = StepClock()
        self.store = type(self).make(self.clock)
        self.limits = (*(of(f"b{index}", *rate) for index, rate in enumerate(RATES)), of("lent", 3))
        self.taken: list[list[tuple[int, int]]] = [[] for _ in self.limits]
        self.lent = 0

    @rule(passed_us=st.sampled_from((0, 1, 999, 10_000, 1_000_000, 59_999_999, MINUTE_US)))
    def pass_time(self, passed_us: int) -> None:
        self.clock.us += passed_us

    @rule(back_us=st.integers(1, MINUTE_US))
    def step_back(self, back_us: int) -> None:
        """A step back is no time, and the way forth again is none either."""
        self.clock.us -= back_us
        type(self).run(self.store.take(self.limits[:1], (0,)))
        self.clock.us += back_us

    @rule(
        chosen=st.sets(st.integers(0, len(RATES)), min_size=1),
        amounts=st.lists(st.integers(0, 70), min_size=len(RATES) + 1, max_size=len(RATES) + 1),
    )
    def take(self, chosen: set[int], amounts: list[int]) -> None:
        order = sorted(chosen)
        limits = tuple(self.limits[index] for index in order)
        wanted = tuple(1 if index == len(RATES) else amounts[index] for index in order)
        before = type(self).run(self.store.take(limits, (0,) * len(limits))).left

        verdict = type(self).run(self.store.take(limits, wanted))

        enough = all(amount <= left for amount, left in zip(wanted, before, strict=True))
        assert (verdict.blocked is None) == enough
        if enough:
            assert verdict.left == tuple(left - amount for left, amount in zip(before, wanted, strict=True))
            for index, amount in zip(order, wanted, strict=True):
                self.taken[index].append((self.clock.us, amount))
            self.lent += len(RATES) in chosen
        else:
            assert verdict.left == before
            assert verdict.wait_s > 0

    @rule()
    def give_back(self) -> None:
        if self.lent:
            self.lent -= 1
            type(self).run(self.store.give(self.limits[-1:], (1,)))

    @rule(index=st.integers(0, len(RATES) - 1), amount=st.integers(1, 10_000))
    def use_more(self, index: int, amount: int) -> None:
        type(self).run(self.store.give(self.limits[index : index + 1], (-amount,)))

    @invariant()
    def holds_what_it_may(self) -> None:
        left = type(self).run(self.store.take(self.limits, (0,) * len(self.limits))).left
        assert all(0 <= it <= limit.capacity for it, limit in zip(left, self.limits, strict=True))
        assert left[-1] == self.limits[-1].capacity - self.lent

    @invariant()
    def lets_through_no_more_than_a_capacity_and_what_flows_in(self) -> None:
        for limit, taken in zip(self.limits[:-1], self.taken, strict=False):
            total = 0
            for at_us, amount in reversed(taken):
                total += amount
                window_us = self.clock.us - at_us
                assert total <= limit.capacity + limit.per_minute * window_us / MINUTE_US
