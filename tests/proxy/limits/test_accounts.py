"""Room at the accounts: taken, passed over, waited for, given back."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.usage import Usage
from proxy.call import Attempt, Principal, Rates
from proxy.errors import Overloaded, RateLimited
from proxy.limits.accounts import AccountLimits, Permit, Policy
from proxy.limits.adaptive import Bounds
from proxy.limits.queue import LOW, NORMAL, FairQueue
from tests.proxy.samples import attempt, call, deployment

A, B = deployment(account="a"), deployment(account="b")


class Clock:
    def __init__(self) -> None:
        self.us = 1_000_000

    def __call__(self) -> int:
        return self.us


def limited(
    clock: Clock | None = None, *, queue: FairQueue | None = None, adaptive: Bounds | None = None, **accounts: Rates
) -> AccountLimits:
    rates = {("acme", name): it for name, it in accounts.items()}
    return AccountLimits(Policy(rates=rates, burst_s=60, adaptive=adaptive), clock or Clock(), queue=queue)


def ended(**changes: Any) -> Attempt:
    return attempt(**{"deployment": A, **changes})


def test_an_account_without_limits_has_room() -> None:
    limits = limited()

    assert all(limits.try_acquire(A, 10**9) is not None for _ in range(1_000))


@pytest.mark.parametrize(
    ("rates", "admitted"),
    [
        (Rates(requests_per_minute=3), 3),
        (Rates(concurrent=2), 2),
        (Rates(tokens_per_minute=1_000), 10),
        (Rates(requests_per_minute=3, tokens_per_minute=150), 1),
    ],
)
def test_it_has_room_for_what_its_limits_say(rates: Rates, admitted: int) -> None:
    limits = limited(a=rates)

    assert sum(limits.try_acquire(A, 100) is not None for _ in range(20)) == admitted


def test_what_one_account_has_no_room_for_takes_nothing_from_it() -> None:
    limits = limited(a=Rates(requests_per_minute=5, tokens_per_minute=100))
    limits.try_acquire(A, 90)

    refused = [limits.try_acquire(A, 50) for _ in range(10)]
    room = limits.try_acquire(A, 10)

    assert refused == [None] * 10
    assert room is not None


def test_an_account_at_its_limit_is_passed_over_for_another() -> None:
    limits = limited(a=Rates(requests_per_minute=1))

    chosen = [found[0] for _ in range(3) if (found := limits.first(call(), (A, B))) is not None]

    assert chosen == [0, 1, 1]


def test_a_thousand_tries_that_were_never_begun_leave_no_trace() -> None:
    limits = limited(a=Rates(requests_per_minute=2, tokens_per_minute=500, concurrent=1))

    for _ in range(1_000):
        permit = limits.try_acquire(A, 400)
        assert permit is not None
        permit.end(None)

    assert limits.room_s((A,), 500) == 0.0


def test_a_permit_ends_once() -> None:
    limits = limited(a=Rates(concurrent=2))
    first, second = limits.try_acquire(A, 1), limits.try_acquire(A, 1)
    assert first is not None and second is not None

    first.end(ended())
    first.end(ended())
    first.end(None)

    assert limits.state()["acme", "a"][0] == 1


def test_a_failed_try_counts_as_a_request_and_gives_its_tokens_back() -> None:
    limits = limited(a=Rates(requests_per_minute=10, tokens_per_minute=1_000))

    for _ in range(9):
        permit = limits.try_acquire(A, 1_000)
        assert permit is not None
        permit.end(ended(outcome="upstream_error", fault="upstream", status=500, may_cost=False))

    assert limits.room_s((A,), 1_000) == 0.0
    assert limits.try_acquire(A, 1_000) is not None
    assert limits.room_s((A,), 1) > 0.0


def test_tokens_are_settled_with_what_was_reported() -> None:
    limits = limited(a=Rates(tokens_per_minute=1_000))
    permit = limits.try_acquire(A, 900)
    assert permit is not None

    permit.end(ended(usage=Usage(input_uncached=100, output_text=100)))

    assert limits.room_s((A,), 800) == 0.0
    assert limits.room_s((A,), 801) > 0.0


def test_it_refills() -> None:
    clock = Clock()
    limits = limited(clock, a=Rates(requests_per_minute=60))
    for _ in range(60):
        limits.try_acquire(A, 1)

    wait_s = limits.room_s((A,), 1)
    clock.us += 1_000_000

    assert wait_s == pytest.approx(1.0)
    assert limits.try_acquire(A, 1) is not None


# --- adaptive --------------------------------------------------------------------------------------------------------


def cut_to_four(limits: AccountLimits) -> None:
    permits = [limits.try_acquire(A, 1) for _ in range(6)]
    for permit in permits:
        assert permit is not None
        permit.end(ended(outcome="rate_limit_exceeded", fault="rate_limit", status=429, may_cost=False))


def test_an_account_that_refuses_is_asked_less() -> None:
    limits = limited(adaptive=Bounds(least=1, most=1_000))

    cut_to_four(limits)

    assert limits.state()["acme", "a"] == (0, 4)
    assert sum(limits.try_acquire(A, 1) is not None for _ in range(20)) == 4


def test_requests_of_low_priority_leave_room_for_others_at_an_account_that_refuses() -> None:
    limits = limited(adaptive=Bounds(least=1, most=1_000))
    cut_to_four(limits)

    low = [limits.try_acquire(A, 1, LOW) is not None for _ in range(5)]
    normal = [limits.try_acquire(A, 1, NORMAL) is not None for _ in range(5)]

    assert (sum(low), sum(normal)) == (3, 1)


@pytest.mark.parametrize("status", [503, 529])
def test_an_upstream_that_says_that_it_is_too_busy_is_asked_less(status: int) -> None:
    limits = limited(adaptive=Bounds(least=1, most=1_000))
    permits = [limits.try_acquire(A, 1) for _ in range(10)]

    assert permits[0] is not None
    permits[0].end(ended(outcome="upstream_error", fault="upstream", status=status, may_cost=False))

    assert limits.state()["acme", "a"][1] == 7


@pytest.mark.parametrize("fault", ["request", "client", "account", "upstream", "gateway"])
def test_other_failures_say_nothing_of_how_much_it_can_take(fault: Any) -> None:
    limits = limited(adaptive=Bounds(least=1, most=1_000))
    permits = [limits.try_acquire(A, 1) for _ in range(10)]

    for permit in permits:
        assert permit is not None
        permit.end(ended(outcome="x", fault=fault, status=500))

    assert limits.state()["acme", "a"] == (0, 1_000)


def test_a_stream_is_as_slow_as_its_first_event_however_long_it_is() -> None:
    clock = Clock()
    limits = limited(clock, adaptive=Bounds(least=1, most=1_000, slow_ratio=3))

    for number in range(200):
        permits = [limits.try_acquire(A, 1) for _ in range(10)]
        clock.us += 100_000
        for permit in permits:
            assert permit is not None
            permit.end(ended(ttfb_us=1_000, duration_us=10_000 * (number + 1)))

    assert limits.state()["acme", "a"][1] == 1_000


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


# --- waiting ---------------------------------------------------------------------------------------------------------


async def test_without_a_queue_a_full_account_refuses_at_once_and_says_when_to_come_again() -> None:
    limits = limited(a=Rates(requests_per_minute=60))
    for _ in range(60):
        limits.try_acquire(A, 1)

    with pytest.raises(RateLimited) as refused:
        await limits.wait(call(), (A,))

    assert refused.value.retry_after_s == pytest.approx(1.0)


async def test_an_account_that_cannot_take_more_is_overloaded_not_limited() -> None:
    limits = limited(adaptive=Bounds(least=1, most=1_000))
    cut_to_four(limits)
    for _ in range(4):
        limits.try_acquire(A, 1)

    with pytest.raises(Overloaded) as refused:
        await limits.wait(call(), (A,))

    assert refused.value.retry_after_s == 1.0


async def test_with_a_queue_room_is_waited_for_at_any_of_the_accounts() -> None:
    queue = FairQueue(wait_max_s=5, length_max=10)
    limits = limited(a=Rates(concurrent=1), b=Rates(concurrent=1), queue=queue)
    permits = [limits.try_acquire(A, 1), limits.try_acquire(B, 1)]

    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(limits.wait(call(), (A, B)))
        await settle()
        assert permits[1] is not None
        permits[1].end(ended())

    assert waiter.result()[0] == 1
    assert len(queue) == 0


async def test_while_all_wait_keys_take_turns() -> None:
    queue = FairQueue(wait_max_s=5, length_max=100)
    limits = limited(a=Rates(concurrent=1), queue=queue)
    held = limits.try_acquire(A, 1)
    order: list[str] = []

    async def one(key: str) -> None:
        principal = Principal(key_id=key, name=key)
        _, permit = await limits.wait(call(principal=principal), (A,))
        order.append(key)
        await asyncio.sleep(0)
        permit.end(None)

    async with asyncio.TaskGroup() as group:
        for key in ("noisy", "noisy", "noisy", "noisy", "quiet"):
            group.create_task(one(key))
        await settle()
        assert held is not None
        held.end(None)

    assert order[:2] == ["noisy", "quiet"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"), st.integers(0, 300), st.sampled_from(("end", "cancel", "hold")), st.integers(0, 10**7)
        ),
        max_size=80,
    )
)
def test_what_is_under_way_never_exceeds_the_limit_and_comes_back_to_nothing(
    steps: list[tuple[str, int, str, int]],
) -> None:
    clock = Clock()
    limits = limited(clock, a=Rates(concurrent=3, tokens_per_minute=500), b=Rates(concurrent=1))
    held: list[Permit] = []

    for account, tokens, then, passed_us in steps:
        clock.us += passed_us
        permit = limits.try_acquire(deployment(account=account), tokens)
        if permit is None:
            continue
        if then == "hold":
            held.append(permit)
        else:
            permit.end(ended(usage=Usage(output_text=tokens)) if then == "end" else None)
        under_way = {name[1]: count for name, (count, _) in limits.state().items()}
        assert under_way.get("a", 0) <= 3
        assert under_way.get("b", 0) <= 1
    for permit in held:
        permit.end(None)

    assert all(count == 0 for count, _ in limits.state().values())


# --- a machine that is slow or busy ------------------------------------------------------------------------------------


class Machine:
    """Clients that each ask again as soon as they are answered, of an account that has room for all of them.

    ``late_s``: how long this process has been late; what its own jolts add to a latency, as far as it notices.
    """

    def __init__(self, seed: int, *, clients: int, noticed: float) -> None:
        self.noise = Random(seed)  # noqa: S311  # noise, the same for the same seed
        self.noticed = noticed
        self.clock = Clock()
        self.late_s = 0.0
        self.limits = AccountLimits(Policy(adaptive=Bounds()), self.clock, late_s=lambda: self.late_s)
        self.refused = 0
        self.numbers = itertools.count()
        self.asking: list[tuple[int, int, int, Permit]] = []
        for _ in range(clients):
            self.ask()

    def ask(self) -> None:
        permit = self.limits.try_acquire(A, 1)
        if permit is None:
            self.refused += 1
        else:
            took_us = round(self.noise.lognormvariate(-3, 0.8) * 1e6)
            heapq.heappush(self.asking, (self.clock.us + took_us, next(self.numbers), self.clock.us, permit))

    def run(self, length_s: float, *, jolt_every_s: float, jolt_s: float) -> None:
        end_us = self.clock.us + round(length_s * 1e6)
        jolt_us = self.clock.us
        while self.clock.us < end_us and self.asking:
            due_us, _, began_us, permit = heapq.heappop(self.asking)
            self.clock.us = max(self.clock.us, due_us)
            if self.clock.us >= jolt_us:
                stood_s = self.noise.uniform(0, 2 * jolt_s)
                self.clock.us += round(stood_s * 1e6)
                self.late_s += stood_s * self.noticed
                jolt_us = self.clock.us + round(self.noise.expovariate(1 / jolt_every_s) * 1e6)
            streams = self.noise.random() < 0.5
            us = self.clock.us - began_us
            if streams:
                permit.streams("m", us / 1e6)
            permit.end(ended(ttfb_us=us, duration_us=us))
            self.ask()


@given(st.integers(0, 2**32), st.integers(17, 120), st.floats(0.05, 2.0), st.floats(0.05, 1.0))
@settings(max_examples=10, deadline=None)
def test_nobody_is_refused_because_this_process_stands_still_now_and_then(
    seed: int, clients: int, jolt_every_s: float, jolt_s: float
) -> None:
    machine = Machine(seed, clients=clients, noticed=1.0)

    machine.run(6, jolt_every_s=jolt_every_s, jolt_s=jolt_s)

    assert machine.refused == 0


@given(st.integers(0, 2**32), st.integers(17, 120), st.floats(1.0, 3.0))
@settings(max_examples=10, deadline=None)
def test_nobody_is_refused_for_jolts_that_this_process_does_not_notice_once_the_account_is_known(
    seed: int, clients: int, jolt_s: float
) -> None:
    machine = Machine(seed, clients=clients, noticed=0.0)
    machine.run(3, jolt_every_s=1e9, jolt_s=0.0)

    machine.run(10, jolt_every_s=1.0, jolt_s=jolt_s)

    assert machine.refused <= clients * 0.1


@pytest.mark.parametrize("first_s", [0.5, 1.0, 1.9])
def test_the_first_answers_after_a_start_may_be_slow(first_s: float) -> None:
    clock = Clock()
    limits = AccountLimits(Policy(adaptive=Bounds()), clock)
    permits = [limits.try_acquire(A, 1) for _ in range(200)]

    for permit in permits[:1]:
        assert permit is not None
        permit.end(ended(ttfb_us=10_000, duration_us=10_000))
    for permit in permits[1:]:
        clock.us += round(first_s * 1e6 / 200)
        assert permit is not None
        permit.end(ended(ttfb_us=round(first_s * 1e6), duration_us=round(first_s * 1e6)))

    assert limits.state()["acme", "a"] == (0, 10_000)


def test_an_account_that_gets_slow_for_being_asked_too_much_is_still_asked_less() -> None:
    """It works on 32 at once, for 0.2 s each; 400 clients ask."""
    clock = Clock()
    limits = AccountLimits(Policy(adaptive=Bounds()), clock)
    free_us = [clock.us] * 32
    numbers = itertools.count()
    asking: list[tuple[int, int, int, Permit]] = []
    refused = 0

    seen = []
    while clock.us < 60_000_000:
        while len(asking) < 400 and (permit := limits.try_acquire(A, 1)) is not None:
            done_us = max(heapq.heappop(free_us), clock.us) + 200_000
            heapq.heappush(free_us, done_us)
            heapq.heappush(asking, (done_us, next(numbers), clock.us, permit))
        refused += len(asking) < 400
        clock.us, _, began_us, permit = heapq.heappop(asking)
        permit.end(ended(ttfb_us=clock.us - began_us, duration_us=clock.us - began_us))
        seen.append(len(asking))

    last = seen[len(seen) // 2 :]
    assert refused
    assert min(last) >= 31
    assert max(last) <= 32 * Bounds().slow_ratio * 1.5


def test_what_the_journal_took_is_not_the_accounts() -> None:
    clock = Clock()
    limits = AccountLimits(Policy(adaptive=Bounds(least=1)), clock)

    for number in range(500):
        permits = [limits.try_acquire(A, 1) for _ in range(10)]
        clock.us += 50_000
        for permit in permits:
            assert permit is not None
            reserve_us = 10_000 if number < 100 else 900_000
            permit.end(ended(ttfb_us=reserve_us + 100_000, duration_us=reserve_us + 100_000, reserve_us=reserve_us))

    assert limits.state()["acme", "a"][1] == 10_000


def test_a_timeout_while_this_process_stood_still_is_no_reason() -> None:
    late_s = 0.0
    limits = AccountLimits(Policy(adaptive=Bounds(least=1)), Clock(), late_s=lambda: late_s)
    permits = [limits.try_acquire(A, 1) for _ in range(10)]

    late_s = 8.0
    assert permits[0] is not None
    permits[0].end(ended(outcome="upstream_timeout", fault="timeout", status=None, duration_us=10_000_000))
    own = limits.state()["acme", "a"][1]
    late = limits.try_acquire(A, 1)
    assert late is not None
    late.end(ended(outcome="upstream_timeout", fault="timeout", status=None, duration_us=10_000_000))

    assert (own, limits.state()["acme", "a"][1]) == (10_000, 7)
