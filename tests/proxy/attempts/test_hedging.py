"""When a second try is made, and who wins."""

from __future__ import annotations

import asyncio

import pytest

from providers.errors import Disconnected, ErrorBody, ProviderError, Refused
from proxy.attempts.hedging import DEPLOYMENTS_MAX, SAMPLES, HedgeRules, Hedging, Quantiles, race
from proxy.call import Completed, Reply
from proxy.errors import Hedged, LedgerUnavailable
from tests.proxy.samples import call, deployment

RULES = HedgeRules(quantile=0.95, samples_min=20, ratio=0.05, cost_max_nusd=1000)
A = deployment("a/gpt")


def reply(name: str) -> Completed:
    return Completed(status=200, headers=[], body=name.encode())


async def at_once(outcome: Reply | Exception) -> Reply:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def never() -> Reply:
    await asyncio.Event().wait()
    raise AssertionError("it waits for ever")


# --- how slow is slow --------------------------------------------------------------------------------------------------


def measured(*millis: int) -> Quantiles:
    quantiles = Quantiles(RULES)
    for each in millis:
        quantiles.begun(call(), 1, A, each * 1000)
    return quantiles


@pytest.mark.parametrize(("count", "after_s"), [(0, None), (19, None), (20, 0.019), (100, 0.095)])
def test_it_is_known_after_some_answers_who_is_slower_than_most(count: int, after_s: float | None) -> None:
    assert measured(*range(count)).of(call(), A) == after_s


def test_how_long_a_form_with_files_took_says_nothing_of_others() -> None:
    quantiles = Quantiles(RULES)

    for _ in range(20):
        quantiles.begun(call(upload=object()), 1, A, 60_000_000)

    assert quantiles.of(call(), A) is None


def test_only_the_latest_answers_count() -> None:
    assert measured(*[9000] * SAMPLES, *[10] * SAMPLES).of(call(), A) == 0.01


def test_streams_and_other_deployments_have_their_own() -> None:
    quantiles = measured(*[10] * 20)

    assert quantiles.of(call(fields={"stream": True}), A) is None
    assert quantiles.of(call(), deployment("b/gpt")) is None


def test_what_is_remembered_is_bounded() -> None:
    quantiles = measured(*[10] * 20)

    for number in range(DEPLOYMENTS_MAX):
        quantiles.begun(call(), 1, deployment(f"a/m{number}"), 1000)

    assert quantiles.of(call(), A) is None
    assert len(quantiles._times_s) == DEPLOYMENTS_MAX


# --- whether -----------------------------------------------------------------------------------------------------------


def test_of_a_hundred_requests_five_may_be_tried_twice() -> None:
    hedging = Hedging(RULES, Quantiles(RULES), cost_of=lambda *_: 0, clock_s=lambda: 50.0)
    for _ in range(100):
        hedging.request()

    assert sum(hedging.may_hedge(call(), A) for _ in range(100)) == 5


@pytest.mark.parametrize(("cost_nusd", "may"), [(0, True), (1000, True), (1001, False), (None, False)])
def test_what_is_too_dear_or_of_unknown_price_is_not_tried_twice(cost_nusd: int | None, may: bool) -> None:
    hedging = Hedging(RULES, Quantiles(RULES), cost_of=lambda *_: cost_nusd, clock_s=lambda: 50.0)
    for _ in range(100):
        hedging.request()

    assert hedging.may_hedge(call(), A) is may


# --- the race ----------------------------------------------------------------------------------------------------------


async def test_who_answers_in_time_has_no_rival() -> None:
    assert await race(at_once(reply("1")), lambda: None, after_s=5.0) == (reply("1"), None)


async def test_who_is_slow_is_given_up_when_the_second_answers() -> None:
    first, second = await race(never(), lambda: at_once(reply("2")), after_s=0.001)

    assert isinstance(first, Hedged)
    assert second == reply("2")


async def test_where_there_may_be_no_second_the_first_is_waited_for() -> None:
    woken = asyncio.Event()

    async def late() -> Reply:
        await woken.wait()
        return reply("1")

    def second() -> None:
        woken.set()

    assert await race(late(), second, after_s=0.001) == (reply("1"), None)


async def test_a_failure_before_the_second_has_begun_is_just_a_failure() -> None:
    failure = Disconnected("x")

    assert await race(at_once(failure), lambda: at_once(reply("2")), after_s=5.0) == (failure, None)


async def test_while_one_fails_the_other_is_waited_for() -> None:
    woken = asyncio.Event()

    async def late() -> Reply:
        await woken.wait()
        return reply("1")

    async def failing() -> Reply:
        woken.set()
        raise Disconnected("x")

    first, second = await race(late(), failing, after_s=0.001)

    assert first == reply("1")
    assert isinstance(second, Disconnected)


@pytest.mark.parametrize("end", [Refused(400, ErrorBody(message="no")), LedgerUnavailable("no")])
async def test_a_failure_that_nobody_can_cure_ends_both(end: ProviderError | LedgerUnavailable) -> None:
    first, second = await race(never(), lambda: at_once(end), after_s=0.001)

    assert isinstance(first, Hedged)
    assert second is end


async def test_whoever_is_cut_cuts_both_for_the_same_reason() -> None:
    reasons: list[tuple[object, ...]] = []
    under_way = asyncio.Event()

    async def hanging(last: bool) -> Reply:
        if last:
            under_way.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            reasons.append(error.args)
            raise
        raise AssertionError("it waits for ever")

    task = asyncio.ensure_future(race(hanging(False), lambda: hanging(True), after_s=0.001))
    await under_way.wait()
    task.cancel("why")
    with pytest.raises(asyncio.CancelledError):
        await task

    assert reasons == [("why",), ("why",)]
