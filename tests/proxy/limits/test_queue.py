"""In turn, fair between keys, woken once, and nobody forgotten."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.limits.queue import LOW, NORMAL, Blocked, FairQueue, Line, Ticket, rank_of

HIGH = 0


class Slots:
    """So many of a thing; and the queue before it."""

    def __init__(self, free: int = 0, *, wait_max_s: float = 5.0, length_max: int = 1_000) -> None:
        self.free = free
        self.tries = 0
        self.order: list[str] = []
        self.queue = FairQueue(wait_max_s=wait_max_s, length_max=length_max)

    def attempt(self, name: str) -> Callable[[], Awaitable[Blocked | None]]:
        async def attempt() -> Blocked | None:
            self.tries += 1
            if not self.free:
                return Blocked("slots")
            self.free -= 1
            self.order.append(name)
            return None

        return attempt

    async def take(self, key: str, rank: int = NORMAL, *, name: str = "") -> bool:
        found = await self.queue.wait(self.attempt(name or key), Blocked("slots"), key=key, rank=rank)
        return found is None

    def give(self, count: int = 1) -> None:
        self.free += count
        self.queue.signal("slots")


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


# --- whose turn it is ------------------------------------------------------------------------------------------------


def test_keys_take_turns_however_many_requests_each_has() -> None:
    line = Line()
    for key in "aaab":
        line.join(Ticket(key, NORMAL))
    line.join(Ticket("c", NORMAL))

    order = []
    while (head := line.head()) is not None:
        order.append(head.key)
        line.leave(head, served=True)

    assert order == ["a", "b", "c", "a", "a"]


def test_a_higher_priority_goes_first() -> None:
    line = Line()
    for key, rank in (("low", LOW), ("normal", NORMAL), ("high", HIGH)):
        line.join(Ticket(key, rank))

    order = []
    while (head := line.head()) is not None:
        order.append(head.key)
        line.leave(head, served=True)

    assert order == ["high", "normal", "low"]


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60))
def test_no_key_is_served_twice_while_another_that_waits_is_not(keys: list[str]) -> None:
    line = Line()
    for key in keys:
        line.join(Ticket(key, NORMAL))
    waiting = Counter(keys)
    since: dict[str, int] = dict.fromkeys(waiting, 0)

    while (head := line.head()) is not None:
        line.leave(head, served=True)
        waiting[head.key] -= 1
        since[head.key] = 0
        for key in waiting.keys() - {head.key}:
            if waiting[key]:
                since[key] += 1
                assert since[key] < len(since)


@pytest.mark.parametrize(
    ("priority", "asked", "rank"),
    [
        ("high", None, 0),
        ("normal", "low", 2),
        ("normal", "high", 1),
        ("low", "high", 2),
        ("normal", "nonsense", 1),
        ("", None, 1),
    ],
)
def test_a_header_puts_a_request_back_and_never_forward(priority: str, asked: str | None, rank: int) -> None:
    assert rank_of(priority, asked) == rank


# --- waiting ---------------------------------------------------------------------------------------------------------


async def test_who_waits_goes_on_when_something_is_given_back() -> None:
    slots = Slots()

    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(slots.take("a"))
        await settle()
        asleep = (waiter.done(), slots.tries)
        slots.give()

    assert (asleep, waiter.result(), slots.tries) == ((False, 0), True, 1)
    assert (len(slots.queue), slots.queue.names) == (0, ())


async def test_several_that_fit_go_on_at_once() -> None:
    slots = Slots()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(slots.take(key)) for key in "abc"]
        await settle()
        slots.give(3)

    assert [task.result() for task in tasks] == [True] * 3
    assert slots.order == ["a", "b", "c"]


async def test_a_noisy_key_does_not_hold_up_a_quiet_one() -> None:
    slots = Slots()

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(slots.take("noisy", name=f"noisy {number}"))
        await settle()
        group.create_task(slots.take("quiet"))
        await settle()
        for _ in range(11):
            slots.give()
            await settle()

    assert slots.order.index("quiet") == 1


async def test_a_time_that_was_told_is_waited_for_without_a_signal() -> None:
    slots = Slots()
    loop = asyncio.get_running_loop()
    loop.call_later(0.03, setattr, slots, "free", 1)
    started_s = loop.time()

    found = await slots.queue.wait(slots.attempt("a"), Blocked("slots", 0.05), key="a", rank=NORMAL)

    assert found is None
    assert slots.tries == 1
    assert 0.045 < loop.time() - started_s < 1.0


async def test_the_wait_has_an_end() -> None:
    slots = Slots(wait_max_s=0.02)

    assert await asyncio.wait_for(slots.take("a"), 2) is False
    assert (len(slots.queue), slots.queue.names) == (0, ())


async def test_nobody_waits_for_what_cannot_be_in_time() -> None:
    slots = Slots(wait_max_s=1.0)
    blocked = Blocked("slots", 1.5)

    assert await slots.queue.wait(slots.attempt("a"), blocked, key="a", rank=NORMAL) is blocked
    assert slots.tries == 0


async def test_a_full_queue_takes_nobody() -> None:
    slots = Slots(length_max=1)

    async with asyncio.TaskGroup() as group:
        first = group.create_task(slots.take("a"))
        await settle()
        second = await slots.take("b")
        slots.give()

    assert (first.result(), second) == (True, False)


async def test_who_leaves_frees_its_place_and_the_next_is_called() -> None:
    slots = Slots()

    async with asyncio.TaskGroup() as group:
        first = group.create_task(slots.take("a"))
        second = group.create_task(slots.take("b"))
        await settle()
        slots.give()  # calls the first, which is gone before it can try
        first.cancel()

    assert (first.cancelled(), second.result(), slots.order) == (True, True, ["b"])
    assert len(slots.queue) == 0


async def test_who_comes_later_and_is_more_important_is_called_first() -> None:
    slots = Slots()

    async with asyncio.TaskGroup() as group:
        group.create_task(slots.take("a", LOW))
        await settle()
        group.create_task(slots.take("b", HIGH))
        await settle()
        slots.give()
        await settle()
        slots.give()

    assert slots.order == ["b", "a"]


async def test_who_did_not_try_yet_does_so_at_once_if_nobody_goes_before() -> None:
    slots = Slots(free=1)

    async with asyncio.TaskGroup() as group:
        low = group.create_task(slots.take("a", LOW))
        await settle()
        high = await slots.queue.wait(slots.attempt("b"), Blocked("slots"), key="b", rank=HIGH, tried=False)
        slots.give()

    assert (high, low.result(), slots.order) == (None, True, ["b", "a"])


async def test_what_is_missing_next_is_waited_for_in_its_own_line() -> None:
    queue = FairQueue(wait_max_s=5, length_max=10)
    free = {"x": 0, "y": 0}

    async def attempt() -> Blocked | None:
        return next((Blocked(name) for name, count in free.items() if not count), None)

    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(queue.wait(attempt, Blocked("x"), key="a", rank=NORMAL))
        await settle()
        free["x"] = 1
        queue.signal("x")
        await settle()
        moved = queue.names
        free["y"] = 1
        queue.signal("y")

    assert (moved, waiter.result()) == (("y",), None)


async def test_a_signal_during_a_try_that_fails_is_not_lost() -> None:
    queue = FairQueue(wait_max_s=5, length_max=10)
    tries = 0
    trying = asyncio.Event()
    go_on = asyncio.Event()

    async def attempt() -> Blocked | None:
        nonlocal tries
        tries += 1
        if tries > 1:
            return None
        trying.set()
        await go_on.wait()
        return Blocked("x")

    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(queue.wait(attempt, Blocked("x"), key="a", rank=NORMAL))
        await settle()
        queue.signal("x")
        await trying.wait()
        queue.signal("x")
        go_on.set()

    assert (waiter.result(), tries) == (None, 2)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 40), slots_count=st.integers(1, 5))
def test_in_any_order_of_coming_going_and_leaving_nobody_is_lost_and_nothing_is_given_twice(
    seed: int, count: int, slots_count: int
) -> None:
    chance = random.Random(seed)  # noqa: S311  # who does what when
    slots = Slots(slots_count)
    held = most = 0

    async def one(number: int) -> None:
        nonlocal held, most
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        attempt = slots.attempt(str(number))
        blocked = await attempt()
        if blocked is not None:
            blocked = await slots.queue.wait(attempt, blocked, key=str(number % 4), rank=chance.randrange(3))
        assert blocked is None
        held += 1
        most = max(most, held)
        try:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        finally:
            held -= 1
            slots.give()

    async def all_of_them() -> None:
        tasks = [asyncio.ensure_future(one(number)) for number in range(count)]
        for task in chance.sample(tasks, chance.randrange(count)):
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 3)
        assert all(task.cancelled() or task.exception() is None for task in tasks)

    asyncio.run(all_of_them())

    assert most <= slots_count
    assert (slots.free, held, len(slots.queue), slots.queue.names) == (slots_count, 0, 0, ())
