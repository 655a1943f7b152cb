"""Who is admitted, what they are told who are not, and what is held until the end is written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from ledger.ports import Entry
from ledger.records import Bounds, Price, Reservation, Settlement
from providers.errors import ConnectFailed, FirstByteTimedOut, Refused
from providers.openai.response import error_body
from providers.provider import HttpRequest, Timeouts
from proxy.call import Completed, Streaming
from proxy.errors import BudgetBusy, BudgetExceeded, LedgerUnavailable, PriceUnknown, ProxyError, to_openai
from proxy.metering.holds import WAITING_MAX
from proxy.metering.worst_case import Assumptions
from tests.proxy.house import CENT, USD, Busy, House, Prices, answer, budget, turn
from tests.proxy.scripted import Answer, Hang, MemoryJournal, ScriptedTransport, stream

BY_TOKEN = Price(source="a list", input_nusd_per_mtok=1_000_000_000, output_nusd_per_mtok=10_000_000_000)


async def refusal(house: House, request_id: str = "req_1", model: str = "acme/gpt") -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await house.pipeline(house.call(request_id, model))
    return caught.value


# --- admission ---------------------------------------------------------------------------------------------------------


async def test_what_fits_is_answered_charged_and_let_go_of() -> None:
    house = House(MemoryJournal(), budget(CENT))

    reply = await house.pipeline(house.call())

    assert isinstance(reply, Completed)
    assert house.standing() == [(CENT, 0)]


async def test_what_does_not_fit_is_refused_before_anything_is_sent() -> None:
    journal = MemoryJournal()
    house = House(journal, budget(CENT - 1), transport=ScriptedTransport())

    error = await refusal(house)

    assert isinstance(error, BudgetExceeded)
    assert [(it.status, it.outcome, it.cost_nusd) for it in journal.records] == [(429, "budget_exceeded", 0)]
    assert len(journal.entries) == 1
    assert house.standing() == [(0, 0)]


async def test_the_refusal_names_the_scope_the_period_the_limit_what_is_spent_and_when_it_begins_anew() -> None:
    error = await refusal(House(MemoryJournal(), budget(USD, scope="user:alice"), spent=USD - 1))

    status, headers, _ = to_openai(error)
    assert (status, error.type, error.code) == (429, "insufficient_quota", "budget_exceeded")
    assert dict(headers)[b"x-should-retry"] == b"false"
    assert error.message == (
        "The budget 'b' of user:alice has no room for this request: 0.999999999 USD of 1.00 USD of the month 1970-01 are "
        "spent, and the request may take 0.01 USD more. It begins anew on the first of next month at 00:00 UTC "
        "(Unix time 2678400)."
    )


@pytest.mark.parametrize(
    ("unit", "limit", "said"),
    [("tokens", 5, "0 tokens of 5 tokens in all"), ("requests", 0, "0 requests of 0 requests in all")],
)
async def test_a_budget_that_never_begins_anew_says_so(unit: str, limit: int, said: str) -> None:
    error = await refusal(House(MemoryJournal(), budget(limit, unit=unit, period="total")))

    assert said.removesuffix(" in all") in error.message
    assert error.message.endswith("It does not begin anew.")


@pytest.mark.parametrize("scope", ["key:key_1", "user:alice", "team:search", "global"])
async def test_every_scope_of_the_key_counts(scope: str) -> None:
    assert isinstance(await refusal(House(MemoryJournal(), budget(0, scope=scope))), BudgetExceeded)


async def test_a_budget_of_somebody_else_counts_nothing() -> None:
    house = House(MemoryJournal(), budget(0, scope="team:other"), budget(0, id="c", scope="key:key_2"))

    assert isinstance(await house.pipeline(house.call()), Completed)
    assert house.standing() == [(0, 0), (0, 0)]


async def test_requests_and_tokens_are_counted_as_the_provider_reports_them() -> None:
    house = House(
        MemoryJournal(),
        budget(10_000, unit="tokens"),
        budget(1, id="c", unit="requests"),
        transport=ScriptedTransport(answer(700, 50)),
    )

    await house.pipeline(house.call())
    error = await refusal(house, "req_2")

    assert house.standing() == [(750, 0), (1, 0)]
    assert "'c'" in error.message


async def test_a_request_that_no_model_answers_reserves_and_costs_nothing() -> None:
    house = House(MemoryJournal(), budget(USD))

    await refusal(house, model="nobody/gpt")

    assert house.standing() == [(0, 0)]


# --- prices ------------------------------------------------------------------------------------------------------------


async def test_under_a_budget_of_money_a_model_without_a_price_is_refused() -> None:
    error = await refusal(House(MemoryJournal(), budget(USD), providers=("gamma",)), model="gamma/gpt")

    assert isinstance(error, PriceUnknown)
    assert (error.status, error.code, error.param) == (400, "price_unknown", "model")


async def test_a_budget_of_tokens_needs_no_price() -> None:
    house = House(MemoryJournal(), budget(10_000, unit="tokens"), providers=("gamma",))

    reply = await house.pipeline(house.call(model="gamma/gpt"))

    assert isinstance(reply, Completed)
    assert house.standing() == [(30, 0)]


# --- what the journal has ----------------------------------------------------------------------------------------------


async def test_the_reservation_has_the_most_that_it_may_cost_and_survives_a_power_cut() -> None:
    journal = MemoryJournal()
    house = House(journal, budget(USD))

    await house.pipeline(house.call())

    assert [it.max_cost_nusd for it in journal.entries if isinstance(it, Reservation)] == [CENT]
    assert journal.powers == [True, True]


async def test_without_a_budget_it_has_that_too_and_costs_no_flush() -> None:
    journal = MemoryJournal()

    await (house := House(journal)).pipeline(house.call())

    assert [it.max_cost_nusd for it in journal.entries if isinstance(it, Reservation)] == [CENT]
    assert journal.powers == [False, False]


async def test_without_a_price_the_most_is_unknown() -> None:
    journal = MemoryJournal()
    house = House(journal, providers=("gamma",))

    await house.pipeline(house.call(model="gamma/gpt"))

    assert [it.max_cost_nusd for it in journal.entries if isinstance(it, Reservation)] == [None]


# --- tries -------------------------------------------------------------------------------------------------------------


def slow() -> FirstByteTimedOut:
    return FirstByteTimedOut("too slow")


async def test_each_further_try_reserves_anew_and_all_are_charged_that_may_have_cost() -> None:
    journal = MemoryJournal()
    transport = ScriptedTransport(slow(), answer())
    house = House(journal, budget(2 * CENT), transport=transport, providers=("acme", "beta"))

    reply = await house.pipeline(house.call(model="smart"))

    assert isinstance(reply, Completed)
    assert [(it.attempt, it.max_cost_nusd) for it in journal.entries if isinstance(it, Reservation)] == [(1, CENT), (2, CENT)]
    assert house.standing() == [(2 * CENT, 0)]


async def test_a_try_for_which_there_is_no_room_is_not_sent() -> None:
    journal = MemoryJournal()
    transport = ScriptedTransport(slow())
    house = House(journal, budget(2 * CENT - 1), transport=transport, providers=("acme", "beta"))

    error = await refusal(house, model="smart")

    assert isinstance(error, BudgetExceeded)
    assert len(transport.requests) == 1
    assert [it.attempt for it in journal.settlements] == [1]
    assert house.standing() == [(CENT, 0)]


async def test_tries_that_cost_nothing_are_let_go_of_at_the_end() -> None:
    transport = ScriptedTransport(ConnectFailed("refused"), Refused(500, error_body(b"{}")))
    house = House(MemoryJournal(), budget(2 * CENT), transport=transport, providers=("acme", "beta"))

    await refusal(house, model="smart")

    assert house.standing() == [(0, 0)]


async def test_several_tries_are_one_request() -> None:
    transport = ScriptedTransport(slow(), answer())
    house = House(MemoryJournal(), budget(1, unit="requests"), transport=transport, providers=("acme", "beta"))

    await house.pipeline(house.call(model="smart"))

    assert house.standing() == [(1, 0)]


# --- waiting -----------------------------------------------------------------------------------------------------------


class Gated:
    """A provider that answers one request for each time that it is told to."""

    def __init__(self) -> None:
        self.permits = asyncio.Semaphore(0)
        self.arrived = asyncio.Event()
        self.sent = 0

    async def send(self, _request: HttpRequest, *, timeouts: Timeouts, deadline_s: float) -> Answer:
        del timeouts, deadline_s
        self.sent += 1
        self.arrived.set()
        await self.permits.acquire()
        return answer()


BOUNDED = {"max_tokens": 100}
BOUNDED_NUSD = 1_300_000
"""Room for a small request with that bound after another one of which it took 20 tokens; not for two at once."""


def gated(limit: int, wait_s: float = 5.0, **options: Any) -> tuple[House, Gated]:
    gate = Gated()
    return House(MemoryJournal(), budget(limit), transport=gate, wait_s=wait_s, prices=Prices(BY_TOKEN), **options), gate


async def test_a_request_waits_for_room_that_one_under_way_leaves() -> None:
    house, gate = gated(BOUNDED_NUSD)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        first = group.create_task(house.pipeline(house.call("req_1", fields=BOUNDED)))
        second = group.create_task(house.pipeline(house.call("req_2", fields=BOUNDED)))
        await gate.arrived.wait()
        sent_at_first = gate.sent

        gate.permits.release()
        gate.permits.release()

    assert sent_at_first == 1
    assert [type(first.result()), type(second.result())] == [Completed, Completed]
    assert house.standing() == [(2 * (10 * 1000 + 20 * 10_000), 0)]


async def test_a_request_that_waited_in_vain_is_told_to_come_back() -> None:
    house, gate = gated(BOUNDED_NUSD, wait_s=0.05)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(house.pipeline(house.call("req_1", fields=BOUNDED)))
        await gate.arrived.wait()

        with pytest.raises(BudgetBusy) as caught:
            await house.pipeline(house.call("req_2", fields=BOUNDED))
        gate.permits.release()

    status, headers, _ = to_openai(caught.value)
    assert (status, dict(headers)[b"retry-after"]) == (429, b"1")
    assert b"x-should-retry" not in dict(headers)
    assert "may leave some of it" in caught.value.message


async def test_who_waits_and_leaves_keeps_nobody_behind_it_waiting() -> None:
    house, gate = gated(BOUNDED_NUSD)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(house.pipeline(house.call("req_1", fields=BOUNDED)))
        await gate.arrived.wait()
        leaving = group.create_task(house.pipeline(house.call("req_2", fields=BOUNDED)))
        staying = group.create_task(house.pipeline(house.call("req_3", fields=BOUNDED)))
        await turn()
        leaving.cancel()
        gate.permits.release()
        gate.permits.release()

    assert isinstance(staying.result(), Completed)
    assert house.accounts.holds == {}


async def test_who_leaves_in_the_very_moment_of_its_turn_passes_it_on() -> None:
    house, gate = gated(BOUNDED_NUSD)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(house.pipeline(house.call("req_1", fields=BOUNDED)))
        await gate.arrived.wait()
        leaving = group.create_task(house.pipeline(house.call("req_2", fields=BOUNDED)))
        staying = group.create_task(house.pipeline(house.call("req_3", fields=BOUNDED)))
        await turn()
        house.accounts.put(budget(2 * BOUNDED_NUSD), house.clock.us())

        house.holds.freed(["b"])
        leaving.cancel()
        for _ in range(100):
            await turn()
        sent_before_the_first_ended = gate.sent
        gate.permits.release()
        gate.permits.release()

    assert sent_before_the_first_ended == 2
    assert isinstance(staying.result(), Completed)


async def test_only_so_many_wait_for_one_budget() -> None:
    house, gate = gated(BOUNDED_NUSD)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(house.pipeline(house.call("req_0", fields=BOUNDED)))
        await gate.arrived.wait()
        waiting = [
            group.create_task(house.pipeline(house.call(f"req_{number}", fields=BOUNDED)))
            for number in range(1, WAITING_MAX + 1)
        ]
        await turn()

        error = await refusal_of_bounded(house)
        for task in waiting:
            task.cancel()
        gate.permits.release()

    assert isinstance(error, BudgetBusy)
    assert house.accounts.holds == {}


async def refusal_of_bounded(house: House) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await house.pipeline(house.call("req_last", fields=BOUNDED))
    return caught.value


async def test_who_waits_is_refused_for_good_when_the_room_is_spent() -> None:
    house = House(MemoryJournal(), budget(CENT), transport=(gate := Gated()), wait_s=5)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(house.pipeline(house.call("req_1")))
        await gate.arrived.wait()
        gate.permits.release()

        error = await refusal(house, "req_2")

    assert isinstance(error, BudgetExceeded)


async def test_near_its_limit_requests_without_a_bound_go_one_at_a_time() -> None:
    unbounded_nusd = 4096 * 10_000 + 100_000
    house, gate = gated(3 * unbounded_nusd, wait_s=0.05)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(house.pipeline(house.call("req_1")))
        await gate.arrived.wait()

        error = await refusal(house, "req_2")
        gate.permits.release()

    assert isinstance(error, BudgetBusy)
    assert "one request at a time" in error.message


async def test_with_a_bound_they_go_side_by_side_down_to_the_limit() -> None:
    house, gate = gated(10 * BOUNDED_NUSD)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(house.pipeline(house.call(f"req_{number}", fields=BOUNDED)))
            gate.permits.release()

    assert gate.sent == 10
    assert house.standing() == [(10 * (10 * 1000 + 20 * 10_000), 0)]


async def test_room_that_a_higher_limit_makes_is_found_by_who_waits() -> None:
    house, gate = gated(BOUNDED_NUSD)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(house.pipeline(house.call("req_1", fields=BOUNDED)))
        group.create_task(house.pipeline(house.call("req_2", fields=BOUNDED)))
        await gate.arrived.wait()
        house.accounts.put(budget(2 * BOUNDED_NUSD), house.clock.us())
        house.holds.freed(["b"])
        gate.permits.release()
        gate.permits.release()

    assert gate.sent == 2


# --- warnings ----------------------------------------------------------------------------------------------------------


async def test_from_the_warning_on_answers_say_how_much_is_spent() -> None:
    house = House(
        MemoryJournal(),
        budget(10 * USD, warn_percent=83),
        budget(1000, id="c", unit="tokens", period="day"),
        spent=8 * USD + 300_000_000,
        transport=ScriptedTransport(answer(), answer()),
    )
    house.accounts.put(budget(10**12, id="c", unit="tokens", period="day"), 0)

    reply = await house.pipeline(house.call())

    told = [value for name, value in reply.headers if name == b"x-tollway-budget-warning"]
    assert told == [b"team:search month 83% of 10.00 USD"]


async def test_below_the_warning_nothing_is_said() -> None:
    house = House(MemoryJournal(), budget(10 * USD), spent=7 * USD)

    reply = await house.pipeline(house.call())

    assert b"x-tollway-budget-warning" not in dict(reply.headers)


# --- a limit that is reached in the middle of a stream -----------------------------------------------------------------

EVENT = b'data: {"model":"gpt","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
ASSUMED = Assumptions(output_tokens=100)


async def streaming(house: House, request_id: str = "req_1") -> Streaming:
    reply = await house.pipeline(house.call(request_id, fields={"stream": True}))
    assert isinstance(reply, Streaming)
    return reply


async def test_a_stream_that_comes_further_than_it_reserved_is_extended_where_there_is_room() -> None:
    answering = stream(EVENT * 150, Hang())
    house = House(
        MemoryJournal(), budget(USD), transport=ScriptedTransport(answering), prices=Prices(BY_TOKEN), assumptions=ASSUMED
    )
    reply = await streaming(house)
    reserved_nusd = house.standing()[0][1]

    house.meter.end_overruns()

    extended_nusd = house.standing()[0][1] - reserved_nusd
    assert extended_nusd == (150 + 500 - 100) * 10_000
    assert await reply.chunks.read() == EVENT * 150


async def test_a_stream_for_which_there_is_no_more_room_ends_with_an_error_and_is_charged_by_estimate() -> None:
    journal = MemoryJournal()
    hang = Hang()
    house = House(
        journal,
        budget(1_200_000),
        transport=ScriptedTransport(stream(EVENT * 150, hang)),
        prices=Prices(BY_TOKEN),
        assumptions=ASSUMED,
    )
    reply = await streaming(house)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        first = await reply.chunks.read()
        reading = group.create_task(reply.chunks.read())
        await hang.reached.wait()

        house.meter.end_overruns()

    await reply.finish()
    assert (first, reading.result()) == (EVENT * 150, b"")
    assert b'"code":"budget_exceeded"' in reply.chunks.closing
    assert b"[DONE]" not in reply.chunks.closing
    assert [(it.outcome, it.quality, it.tokens.output_text) for it in journal.records] == [
        ("budget_exceeded", "estimated", 150)
    ]
    assert house.standing() == [(journal.records[0].cost_nusd, 0)]


async def test_a_stream_within_what_it_reserved_is_left_alone() -> None:
    hang = Hang()
    house = House(
        MemoryJournal(),
        budget(1_200_000),
        transport=ScriptedTransport(stream(EVENT * 90, hang)),
        prices=Prices(BY_TOKEN),
        assumptions=ASSUMED,
    )
    reply = await streaming(house)
    before = house.standing()

    house.meter.end_overruns()

    assert house.standing() == before
    assert reply.chunks.closing == b""


# --- a journal that refuses --------------------------------------------------------------------------------------------


async def test_what_cannot_be_reserved_in_the_journal_is_not_held() -> None:
    house = House(MemoryJournal(fails=lambda _: True), budget(USD), transport=ScriptedTransport())

    error = await refusal(house)

    assert isinstance(error, LedgerUnavailable)
    assert house.standing()[0][0] == 0


async def test_what_is_held_is_let_go_of_only_when_its_end_is_written() -> None:
    refusing = True

    def ends(entries: Sequence[Entry]) -> bool:
        return refusing and any(isinstance(it, Settlement) for it in entries)

    journal = MemoryJournal(fails=ends)
    house = House(journal, budget(USD))

    error = await refusal(house)
    while_refusing = (house.standing(), await house.outbox.flush())
    refusing = False
    delivered = await house.outbox.flush()

    assert isinstance(error, LedgerUnavailable)
    assert while_refusing == ([(0, CENT)], False)
    assert delivered
    assert house.standing() == [(CENT, 0)]
    assert [(it.status, it.outcome, it.cost_nusd) for it in journal.records] == [(503, "ledger_unavailable", CENT)]
    assert journal.open == set()


async def test_an_end_whose_request_was_cut_while_it_was_written_is_handed_in_again() -> None:
    journal = MemoryJournal()
    house = House(journal, budget(USD))
    task = asyncio.ensure_future(house.pipeline(house.call()))
    async with asyncio.timeout(5):
        while not journal.settlements and len(journal.powers) < 2:
            await turn()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    kept = (len(house.outbox), house.standing())
    await house.outbox.flush()

    assert kept == (1, [(0, CENT)])
    assert house.standing() == [(CENT, 0)]
    assert len(journal.records) == 1


# --- leases ------------------------------------------------------------------------------------------------------------


async def test_a_reservation_whose_end_is_never_told_is_held_until_its_lease_is_over_and_then_charged() -> None:
    journal = MemoryJournal()
    house = House(journal, budget(USD), transport=ScriptedTransport(stream(EVENT * 3, Hang())), prices=Prices(BY_TOKEN))
    await streaming(house)  # and nobody ever reads it
    house.meter.note_progress()

    lapsed = [await house.meter.end_lapsed(), await house.meter.end_lapsed(), await house.meter.end_lapsed()]

    assert lapsed == [0, 1, 0]
    assert [(it.status, it.outcome, it.quality) for it in journal.records] == [(0, "interrupted", "estimated")]
    assert journal.open == set()
    assert house.standing() == [(journal.records[0].cost_nusd, 0)]


async def test_an_end_that_is_told_after_its_lease_changes_nothing() -> None:
    journal = MemoryJournal()
    house = House(journal, budget(USD), transport=ScriptedTransport(stream(EVENT * 3)), prices=Prices(BY_TOKEN))
    reply = await streaming(house)
    await house.meter.end_lapsed()
    await house.meter.end_lapsed()
    before = house.standing()

    while await reply.chunks.read():
        pass
    await reply.finish()

    assert house.standing() == before
    assert len(journal.records) == 1


# --- all at once -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait_s", [0.0, 5.0])
async def test_of_many_at_once_exactly_as_many_are_admitted_as_there_is_money_for(wait_s: float) -> None:
    house = House(MemoryJournal(), budget(20 * CENT), transport=(busy := Busy(lambda _: answer())), wait_s=wait_s)

    replies = await asyncio.gather(
        *(house.pipeline(house.call(f"req_{number}")) for number in range(100)), return_exceptions=True
    )

    assert sum(isinstance(it, Completed) for it in replies) == busy.sent == 20
    assert all(isinstance(it, Completed | BudgetExceeded | BudgetBusy) for it in replies)
    assert house.standing() == [(20 * CENT, 0)]


async def test_of_the_first_requests_of_a_new_user_only_as_many_pass_as_there_is_money_for() -> None:
    house = House(MemoryJournal(), budget(CENT, scope="user:new"), transport=(busy := Busy(lambda _: answer())))

    await asyncio.gather(
        *(house.pipeline(house.call(f"req_{number}", authorization=("Bearer tw-new",))) for number in range(64)),
        return_exceptions=True,
    )

    assert busy.sent == 1
    assert house.standing() == [(CENT, 0)]


async def test_an_answer_that_exceeds_an_assumption_is_the_only_one_that_does() -> None:
    assumed = Assumptions(output_tokens=100)
    limit = 5_000_000
    house = House(
        MemoryJournal(),
        budget(limit),
        transport=Busy(lambda _: answer(10, 200)),
        prices=Prices(BY_TOKEN),
        assumptions=assumed,
        bounds=Bounds(output_tokens=200),
        wait_s=5.0,
    )

    await asyncio.gather(*(house.pipeline(house.call(f"req_{number}")) for number in range(64)), return_exceptions=True)

    ((settled, reserved),) = house.standing()
    assert reserved == 0
    assert settled <= limit + 200 * 10_000 + 10 * 1000 - 100 * 10_000
