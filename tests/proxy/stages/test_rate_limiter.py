"""What is taken before a request goes on, what it is told, and what is put back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.usage import Usage
from proxy.call import Attempt, Call, Completed, Principal, Rates, Reply, Streaming, Tier
from proxy.errors import ProxyError, RateLimited, RequestOverLimit, UpstreamError, to_openai
from proxy.limits.queue import FairQueue
from proxy.limits.rates import Declared, RateBook
from proxy.stages.rate_limiter import Enforcement, RateLimiter, duration
from proxy.stores.memory_buckets import MemoryBuckets
from tests.proxy.samples import PRINCIPAL, attempt, call, deployment

FULL = Rates(requests_per_minute=60, tokens_per_minute=6_000, concurrent=5)
ALL = {"requests key:key_1": 60, "concurrent key:key_1": 5, "tokens key:key_1": 6_000}


class Clock:
    def __init__(self) -> None:
        self.us = 0

    def __call__(self) -> int:
        return self.us

    def s(self) -> float:
        return self.us / 1e6


class Chunks:
    closing = b""

    async def read(self, _write: Any = None) -> bytes:
        return b""

    def fail(self, error: ProxyError) -> None:
        pass

    def close(self) -> None:
        pass


class Bench:
    """The stage over buckets in memory, before a service that does what it is told."""

    def __init__(self, default: Rates = FULL, *, wait_max_s: float = 0, shadow: bool = False, **declared: Any) -> None:
        self.clock = Clock()
        self.buckets = MemoryBuckets(self.clock)
        self.book = RateBook(Declared(default=default, **declared), burst_s=60)
        self.queue = FairQueue(wait_max_s=wait_max_s, length_max=100) if wait_max_s else None
        self.stage = RateLimiter(
            self.buckets,
            self.book,
            enforcement=Enforcement(shadow=shadow, output_tokens=1_000),
            queue=self.queue,
            clock_s=self.clock.s,
        )
        self.attempt: Attempt | None = attempt(usage=Usage(input_uncached=10, output_text=20))
        self.error: BaseException | None = None
        self.streams = False
        self.gate: asyncio.Event | None = None
        self.served = 0

    async def __call__(self, made: Call | None = None) -> Reply:
        return await self.stage(made or call(), self._next)

    async def _next(self, made: Call, /) -> Reply:
        self.served += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.attempt is not None:
            made.trail.append(self.attempt)
        if self.error is not None:
            raise self.error
        return Streaming(200, [], Chunks()) if self.streams else Completed(status=200, headers=[], body=b"{}")

    def left(self, principal: Principal = PRINCIPAL, model: str = "acme/gpt") -> dict[str, int]:
        plan = self.book.plan(principal, model)
        assert plan is not None
        verdict = self.buckets.take_now(plan.limits, (0,) * len(plan.limits))
        return {limit.name: left for limit, left in zip(plan.limits, verdict.left, strict=True)}

    async def refusal(self, made: Call | None = None) -> RateLimited:
        with pytest.raises(RateLimited) as refused:
            await self(made)
        return refused.value


def told(reply: Reply | ProxyError) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in reply.headers if name.startswith(b"x-ratelimit")}


# --- what is taken and put back --------------------------------------------------------------------------------------


async def test_a_whole_answer_uses_a_request_and_the_tokens_that_were_reported() -> None:
    bench = Bench()

    await bench()

    assert bench.left() == {**ALL, "requests key:key_1": 59, "tokens key:key_1": 5_970}


async def test_meanwhile_it_holds_a_place_and_what_it_may_need() -> None:
    bench = Bench()
    bench.gate = asyncio.Event()

    async with asyncio.TaskGroup() as group:
        group.create_task(bench(call(fields={"max_tokens": 500})))
        await asyncio.sleep(0)
        meanwhile = bench.left()
        bench.gate.set()

    assert meanwhile["concurrent key:key_1"] == 4
    assert 5_480 <= meanwhile["tokens key:key_1"] < 5_500


async def test_a_stream_is_settled_at_its_end_and_once() -> None:
    bench = Bench()
    bench.streams = True

    reply = await bench()
    meanwhile = bench.left()
    assert isinstance(reply, Streaming)
    await reply.finish()
    await reply.finish()

    assert meanwhile["concurrent key:key_1"] == 4
    assert bench.left() == {**ALL, "requests key:key_1": 59, "tokens key:key_1": 5_970}


async def test_more_than_was_reserved_is_drained() -> None:
    bench = Bench()
    bench.attempt = attempt(usage=Usage(input_uncached=5_000, output_text=10_000))

    await bench()
    refused = await bench.refusal()

    assert bench.left()["tokens key:key_1"] == 0
    assert refused.retry_after_s == pytest.approx(90, abs=11)


@pytest.mark.parametrize("fault", ["upstream", "timeout", "account", "rate_limit", "gateway"])
async def test_after_a_thousand_failures_that_were_not_the_callers_the_buckets_are_as_before(fault: Any) -> None:
    bench = Bench()
    bench.attempt = attempt(outcome="upstream_error", fault=fault, status=500, may_cost=False)
    bench.error = UpstreamError("no")

    for _ in range(1_000):
        with pytest.raises(UpstreamError):
            await bench()

    assert bench.left() == ALL


async def test_what_was_never_tried_does_not_count() -> None:
    bench = Bench()
    bench.attempt, bench.error = None, UpstreamError("nobody is there")

    with pytest.raises(UpstreamError):
        await bench()

    assert bench.left() == ALL


@pytest.mark.parametrize(("outcome", "fault"), [("upstream_refused", "request"), ("client_closed", "client")])
async def test_a_callers_own_failure_counts_as_a_request(outcome: str, fault: Any) -> None:
    bench = Bench()
    bench.attempt = attempt(outcome=outcome, fault=fault, may_cost=False)

    await bench()

    assert bench.left() == {**ALL, "requests key:key_1": 59}


async def test_a_caller_that_leaves_frees_its_place() -> None:
    bench = Bench()
    bench.gate = asyncio.Event()

    task = asyncio.ensure_future(bench())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert bench.left() == ALL


async def test_several_limits_are_taken_all_or_none() -> None:
    ann = Principal(key_id="key_1", name="alice", user="ann")
    bench = Bench(users={"ann": Rates(requests_per_minute=1)})
    await bench(call(principal=ann))

    refused = await bench.refusal(call(principal=ann))

    assert bench.left(ann)["requests key:key_1"] == 59
    assert "user 'ann'" in refused.message


async def test_a_models_limit_is_shared_by_all_who_ask_for_it_under_whatever_name() -> None:
    bench = Bench(Rates(), models={"acme/gpt": Rates(requests_per_minute=2)})
    tiers = (Tier(name="acme/gpt", deployments=(deployment(),)),)
    other = Principal(key_id="key_2", name="bob")
    await bench(call("gpt-4", tiers=tiers))
    await bench(call("acme/gpt", tiers=tiers, principal=other))

    refused = await bench.refusal(call("gpt", tiers=tiers))

    assert "model 'acme/gpt'" in refused.message


async def test_without_limits_nothing_is_asked_and_nothing_told() -> None:
    bench = Bench(Rates())

    reply = await bench()

    assert (reply.headers, len(bench.buckets)) == ([], 0)


@given(
    st.lists(
        st.tuples(st.integers(0, 3_000_000), st.integers(0, 9_000), st.sampled_from(("", "upstream", "client", "request"))),
        max_size=60,
    )
)
def test_in_any_window_no_more_goes_on_than_a_bucket_and_what_flows_in(steps: list[tuple[int, int, Any]]) -> None:
    bench = Bench(Rates(requests_per_minute=10, tokens_per_minute=5_000))
    went_on: list[int] = []

    async def run() -> None:
        for passed_us, used, fault in steps:
            bench.clock.us += passed_us
            bench.attempt = attempt(usage=Usage(output_text=used), fault=fault)
            try:
                await bench()
            except RateLimited:
                continue
            if fault != "upstream":
                went_on.append(bench.clock.us)
            assert all(0 <= left <= 5_000 for left in bench.left().values())

    asyncio.run(run())

    for first in range(len(went_on)):
        for last in range(first, len(went_on)):
            assert last - first + 1 <= 10 + 10 * (went_on[last] - went_on[first]) / 60e6


# --- what is told ----------------------------------------------------------------------------------------------------


async def test_every_answer_tells_what_is_left_as_openai_does() -> None:
    bench = Bench(Rates(requests_per_minute=60, tokens_per_minute=6_000))

    reply = await bench(call(fields={"max_tokens": 100}))

    assert told(reply) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "5890",
        "x-ratelimit-reset-tokens": "1.1s",
    }


async def test_an_error_from_further_on_tells_it_too() -> None:
    bench = Bench()
    bench.error = UpstreamError("no")

    with pytest.raises(UpstreamError) as failed:
        await bench()

    assert told(failed.value)["x-ratelimit-remaining-requests"] == "59"
    assert (b"x-ratelimit-limit-requests", b"60") in to_openai(failed.value)[1]


async def test_the_narrowest_is_told() -> None:
    bench = Bench(Rates(requests_per_minute=60), gateway=Rates(requests_per_minute=7))

    reply = await bench()

    assert told(reply)["x-ratelimit-limit-requests"] == "7"


async def test_only_what_is_limited_is_told() -> None:
    reply = await Bench(Rates(tokens_per_minute=6_000))()

    assert {name.rpartition("-")[2] for name in told(reply)} == {"tokens"}


async def test_a_refusal_says_which_limit_it_was_and_when_to_come_again() -> None:
    bench = Bench(Rates(requests_per_minute=2))
    await bench()
    await bench()

    refused = await bench.refusal()

    status, headers, body = to_openai(refused)
    assert (status, bench.served) == (429, 2)
    assert b'"code":"rate_limit_exceeded"' in body
    assert b"this API key is reached: 2 requests per minute" in body
    assert (b"retry-after", b"30") in headers
    assert told(refused) == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
    }
    assert bench.stage.counts == {("key", "requests", "refused"): 1}


async def test_too_many_at_once_may_come_again_in_a_second() -> None:
    bench = Bench(Rates(concurrent=1))
    bench.gate = asyncio.Event()

    async with asyncio.TaskGroup() as group:
        group.create_task(bench())
        await asyncio.sleep(0)
        refused = await bench.refusal()
        bench.gate.set()

    assert (refused.message, refused.retry_after_s) == ("The limit of this API key is reached: 1 requests at once.", 1.0)


async def test_a_request_whose_input_never_fits_is_told_not_to_come_again() -> None:
    bench = Bench(Rates(tokens_per_minute=1_000))

    refused = await bench.refusal(call(fields={"messages": "x" * 8_000}))

    assert isinstance(refused, RequestOverLimit)
    assert (b"x-should-retry", b"false") in to_openai(refused)[1]


async def test_a_request_whose_answer_might_not_fit_waits_for_a_full_bucket_and_no_longer() -> None:
    bench = Bench(Rates(tokens_per_minute=500))

    await bench(call(fields={"max_tokens": 100_000}))

    assert bench.left() == {"tokens key:key_1": 470}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, b"0ms"),
        (0.12, b"120ms"),
        (0.0001, b"1ms"),
        (1, b"1s"),
        (7.66, b"7.66s"),
        (59.0, b"59s"),
        (60, b"1m0s"),
        (360, b"6m0s"),
        (61.5, b"1m2s"),
        (3_661, b"1h1m1s"),
    ],
)
def test_times_look_as_openais_do(seconds: float, text: bytes) -> None:
    assert duration(seconds) == text


# --- shadow ----------------------------------------------------------------------------------------------------------


async def test_in_the_shadow_everything_goes_on_and_is_counted() -> None:
    bench = Bench(Rates(requests_per_minute=2, tokens_per_minute=5_000), shadow=True)

    for _ in range(5):
        await bench()
    await bench(call(fields={"messages": "x" * 80_000}))

    assert bench.served == 6
    assert bench.stage.counts["key", "requests", "shadow"] == 4
    assert bench.stage.counts["key", "tokens", "shadow"] == 1
    assert bench.left()["requests key:key_1"] == 0


# --- waiting ---------------------------------------------------------------------------------------------------------


async def test_with_a_queue_a_place_is_waited_for() -> None:
    bench = Bench(Rates(concurrent=1), wait_max_s=5)
    bench.gate = asyncio.Event()

    async with asyncio.TaskGroup() as group:
        group.create_task(bench())
        await asyncio.sleep(0)
        second = group.create_task(bench())
        await asyncio.sleep(0)
        waiting = (bench.served, len(bench.queue or ()))
        bench.gate.set()

    assert waiting == (1, 1)
    assert isinstance(second.result(), Completed)
    assert bench.stage.counts == {("key", "concurrent", "queued"): 1}
    assert bench.left() == {"concurrent key:key_1": 1}


async def test_who_comes_while_others_wait_for_the_same_does_not_overtake_them() -> None:
    bench = Bench(Rates(), gateway=Rates(concurrent=1), wait_max_s=5)
    bench.gate = asyncio.Event()
    order: list[str] = []

    async def one(key: str) -> None:
        await bench(call(principal=Principal(key_id=key, name=key)))
        order.append(key)

    async with asyncio.TaskGroup() as group:
        for key in ("a", "b", "b", "c"):
            group.create_task(one(key))
            await asyncio.sleep(0)
        bench.gate.set()

    assert order == ["a", "b", "c", "b"]


async def test_a_wait_that_would_be_too_long_is_a_refusal_at_once() -> None:
    bench = Bench(Rates(requests_per_minute=1), wait_max_s=5)
    await bench()

    refused = await bench.refusal()

    assert refused.retry_after_s == pytest.approx(60)
    assert bench.queue is not None and len(bench.queue) == 0


async def test_a_wait_in_vain_is_a_refusal_and_leaves_nothing_behind() -> None:
    bench = Bench(Rates(concurrent=1), wait_max_s=0.02)
    bench.gate = asyncio.Event()

    async with asyncio.TaskGroup() as group:
        group.create_task(bench())
        await asyncio.sleep(0)
        refused = await bench.refusal()
        bench.gate.set()

    assert refused.retry_after_s == 1.0
    assert bench.left() == {"concurrent key:key_1": 1}


async def test_a_header_may_lower_the_priority_and_not_raise_it() -> None:
    bench = Bench(Rates(), gateway=Rates(concurrent=1), wait_max_s=5)
    bench.gate = asyncio.Event()
    order: list[str] = []

    async def one(key: str, priority: str, header: bytes) -> None:
        principal = Principal(key_id=key, name=key, priority=priority)
        await bench(call(principal=principal, headers=((b"x-tollway-priority", header),)))
        order.append(key)

    async with asyncio.TaskGroup() as group:
        group.create_task(bench())
        await asyncio.sleep(0)
        for key, priority, header in (
            ("lowered", "normal", b"low"),
            ("raised", "low", b"high"),
            ("normal", "normal", b""),
            ("high", "high", b""),
        ):
            group.create_task(one(key, priority, header))
            await asyncio.sleep(0)
        bench.gate.set()

    assert order == ["high", "normal", "lowered", "raised"]


async def test_a_caller_that_leaves_the_queue_takes_nothing_with_it() -> None:
    bench = Bench(Rates(concurrent=1), wait_max_s=5)
    bench.gate = asyncio.Event()

    async with asyncio.TaskGroup() as group:
        group.create_task(bench())
        await asyncio.sleep(0)
        gone = group.create_task(bench())
        stays = group.create_task(bench())
        await asyncio.sleep(0)
        gone.cancel()
        bench.gate.set()

    assert (gone.cancelled(), isinstance(stays.result(), Completed)) == (True, True)
    assert bench.left() == {"concurrent key:key_1": 1}


# --- what asks no model ----------------------------------------------------------------------------------------------


async def test_a_request_that_asks_no_model_takes_a_request_and_a_place_and_no_tokens() -> None:
    bench = Bench(FULL)
    before = bench.left()

    async with bench.stage.counted(PRINCIPAL) as counted:
        meanwhile = bench.left()
    after = bench.left()

    kinds = {name.partition(" ")[0] for name, left in meanwhile.items() if left < before[name]}
    assert kinds == {"requests", "concurrent"}
    assert {name.partition(" ")[0] for name, left in after.items() if left < before[name]} == {"requests"}
    assert [name for name, _ in counted.headers if b"tokens" in name] == []
    assert (b"x-ratelimit-limit-requests", b"%d" % FULL.requests_per_minute) in counted.headers


async def test_one_that_does_not_count_is_given_back() -> None:
    bench = Bench(FULL)
    before = bench.left()

    async with bench.stage.counted(PRINCIPAL) as counted:
        counted.counts = False

    assert bench.left() == before


async def test_where_only_tokens_are_limited_it_is_not_held_up() -> None:
    bench = Bench(Rates(tokens_per_minute=1))

    async with bench.stage.counted(PRINCIPAL) as counted:
        assert counted.headers == []
