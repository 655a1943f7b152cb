"""Buckets in memory keep the contract, and stay few."""

from __future__ import annotations

import resource
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import settings

from proxy.stores.memory_buckets import MemoryBuckets
from tests.proxy.stores.contract import MINUTE_US, BucketStoreContract, Machine, StepClock, of


def finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What it returns; it must not wait for anything."""
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    return done.value.value


class TestMemoryBuckets(BucketStoreContract):
    @pytest.fixture
    def store(self, clock: StepClock) -> MemoryBuckets:
        return MemoryBuckets(clock)


class MemoryMachine(Machine):
    make = staticmethod(MemoryBuckets)
    run = staticmethod(finished)


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_a_decision_does_not_give_up_the_loop() -> None:
    store = MemoryBuckets(StepClock())

    verdict = finished(store.take((of("a", 1, 1),), (1,)))

    assert verdict.blocked is None


def test_buckets_that_are_full_again_are_forgotten() -> None:
    clock = StepClock()
    store = MemoryBuckets(clock)

    for number in range(5_000):
        clock.us += 10_000
        store.take_now((of(f"b{number}", 60, 60), of(f"s{number}", 1)), (1, 0))

    # A request flows back in within a second, in which a hundred others come.
    assert len(store) < 1_000


def test_a_million_names_at_one_moment_take_no_more_than_the_largest_number() -> None:
    store = MemoryBuckets(StepClock(), buckets_max=1_000)
    for number in range(10_000):
        store.take_now((of(f"b{number}", 60, 60),), (1,))
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for number in range(10_000, 1_010_000):
        store.take_now((of(f"b{number}", 60, 60),), (1,))

    assert len(store) <= 1_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 8_192


def test_what_somebody_holds_is_never_forgotten() -> None:
    clock = StepClock()
    store = MemoryBuckets(clock, buckets_max=10)
    slot = of("held", 1)
    store.take_now((slot,), (1,))

    for number in range(1_000):
        store.take_now((of(f"b{number}", 60, 60),), (1,))
    clock.us += 100 * MINUTE_US

    assert store.take_now((slot,), (1,)).blocked == 0


def test_a_new_bucket_is_not_forgotten_in_the_decision_that_makes_it() -> None:
    store = MemoryBuckets(StepClock(), buckets_max=1)
    limits = tuple(of(f"b{number}", 1, 1) for number in range(5))

    store.take_now(limits, (1,) * 5)

    assert store.take_now(limits[-1:], (1,)).blocked == 0
