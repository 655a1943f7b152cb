"""The journal's side of a request: reserved before it is sent, ended exactly once, recorded exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.ports import Entry
from ledger.records import DecisionRecord, Pieces, Price, RequestRecord, Reservation, Settlement, Tokens, Void
from providers.provider import Endpoint
from providers.usage import Aside, Usage
from proxy.call import (
    PLAIN,
    Attempt,
    CacheUse,
    Call,
    Client,
    Completed,
    Head,
    Origin,
    Principal,
    Reply,
    Streaming,
    Weight,
)
from proxy.errors import DRAINING, ClientClosed, LedgerUnavailable, NotAllowed, ProxyError, UpstreamRefused
from proxy.stage import Service
from proxy.stages.meter import Meter
from tests.ledger.samples import decision
from tests.proxy.house import CENT, USD, House, budget
from tests.proxy.house import PRINCIPAL as HOUSE_PRINCIPAL
from tests.proxy.house import Prices as HousePrices
from tests.proxy.samples import attempt, call, deployment
from tests.proxy.scripted import MemoryJournal, Prices

USAGE = Usage(input_uncached=700, cache_read=200, input_audio=100, output_text=30, reasoning=20, raw=b'{"prompt_tokens":1000}')
NOW_US = 1_500_000


def meter(journal: MemoryJournal, provider: str = "acme", model: str = "gpt") -> Meter:
    return Meter(journal, Prices(provider, model), lambda: NOW_US)


class Chunks:
    """A stream that has been read."""

    closing = b""

    async def read(self) -> bytes:
        return b""

    def fail(self, error: ProxyError) -> None:
        """Nothing is left to fail."""

    def close(self) -> None:
        """Nothing is held."""


def answering(*attempts: Attempt, reply: Callable[[], Reply] = lambda: Completed(status=200, headers=[], body=b"")) -> Service:
    async def service(call: Call, /) -> Reply:
        call.trail.extend(attempts)
        return reply()

    return service


def raising(error: BaseException, *attempts: Attempt) -> Service:
    async def service(call: Call, /) -> Reply:
        call.trail.extend(attempts)
        raise error

    return service


def streaming() -> Streaming:
    return Streaming(200, [], Chunks())


async def settled(*attempts: Attempt, **changes: Any) -> tuple[list[Entry], RequestRecord]:
    """The entries of one answered call, and its record."""
    journal = MemoryJournal()
    await meter(journal, **changes)(call(), answering(*attempts))
    *entries, record = journal.entries
    assert isinstance(record, RequestRecord)
    return entries, record


# --- one record for each request ---------------------------------------------------------------------------------------


async def test_an_answered_request_has_one_record_that_says_all() -> None:
    journal = MemoryJournal()
    done = attempt(usage=USAGE, usage_raw=USAGE.raw, answered_model="gpt-1", upstream_request_id="up_1")

    await meter(journal)(call(fields={"n": 1}), answering(done))

    (record,) = journal.records
    assert (record.request_id, record.at_us, record.key_id, record.endpoint) == (
        "req_1",
        1_000_000,
        "key_1",
        "chat/completions",
    )
    assert (record.model, record.provider, record.upstream_model, record.answered_model) == ("acme/gpt", "acme", "gpt", "gpt-1")
    assert (record.status, record.outcome, record.quality, record.stream) == (200, "ok", "exact", False)
    assert (record.duration_us, record.ttfb_us, record.usage_raw) == (500_000, 1_000, USAGE.raw)
    assert record.tokens == Tokens(input_uncached=700, cache_read=200, input_audio=100, output_text=30, reasoning=20)
    # 1,000 in at 1 dollar a million, 50 out at 2.
    assert (record.cost_nusd, record.price_source) == (1_100_000, "a list")
    assert [(it.attempt, it.outcome, it.upstream_request_id) for it in record.attempts] == [(1, "ok", "up_1")]


async def test_whoever_watches_is_told_of_every_try_with_what_it_is_charged() -> None:
    told: list[tuple[str, int, int | None]] = []

    def watch(call: Call, attempt: Attempt, settlement: Settlement | None) -> None:
        told.append((call.id, attempt.number, None if settlement is None else settlement.cost_nusd))

    watched = Meter(MemoryJournal(), Prices("acme", "gpt"), lambda: NOW_US, ended=(watch,))
    unsent = attempt(1, may_cost=False, outcome="no_healthy_upstream", fault="upstream", status=None)
    done = attempt(2, usage=USAGE, usage_raw=USAGE.raw)

    await watched(call(), answering(unsent, done))
    with pytest.raises(NotAllowed):
        await watched(call(), raising(NotAllowed("no")))

    assert told == [("req_1", 1, None), ("req_1", 2, 1_100_000)]


REFUSALS: list[tuple[BaseException, int, str]] = [
    (NotAllowed("no"), 403, "not_allowed"),
    (UpstreamRefused(422, "no", kind=None, param=None, code=None), 422, "upstream_refused"),
    (ClientClosed("left"), 499, "client_closed"),
    (LedgerUnavailable("full"), 503, "ledger_unavailable"),
    (asyncio.CancelledError(), 499, "client_closed"),
    (asyncio.CancelledError(DRAINING), 503, "draining"),
    (RuntimeError("a bug"), 500, "internal_error"),
    (KeyboardInterrupt(), 500, "internal_error"),
]


@pytest.mark.parametrize(("error", "status", "outcome"), REFUSALS, ids=lambda it: type(it).__name__)
async def test_whatever_ends_a_request_it_has_one_record_and_the_error_goes_on(
    error: BaseException, status: int, outcome: str
) -> None:
    journal = MemoryJournal()

    with pytest.raises(type(error)) as caught:
        await meter(journal)(call(), raising(error))

    assert caught.value is error
    assert [(it.status, it.outcome, it.cost_nusd, it.provider) for it in journal.records] == [(status, outcome, 0, "")]
    assert len(journal.entries) == 1


async def test_what_was_read_on_for_a_client_that_left_is_exact_and_not_an_answer() -> None:
    journal = MemoryJournal()

    await meter(journal)(call(client=Client(left=True)), answering(attempt(usage=USAGE, usage_raw=USAGE.raw)))

    (record,) = journal.records
    assert (record.outcome, record.status, record.quality, record.cost_nusd) == ("client_closed", 499, "exact", 1_100_000)


async def test_nothing_is_begun_for_a_client_that_has_left() -> None:
    journal = MemoryJournal()

    with pytest.raises(ClientClosed):
        await meter(journal).reserve(call(client=Client(left=True)), 2, deployment())

    assert journal.entries == []


async def test_reservation_and_record_say_whose_it_was_and_its_tags() -> None:
    journal = MemoryJournal()
    principal = Principal(key_id="key_1", name="alice", user="ann", team="search")
    tagged = call(principal=principal, tags=("nightly",))

    await meter(journal).reserve(tagged, 1, deployment())
    await meter(journal)(tagged, answering(attempt(usage=USAGE)))

    reservation, _, record = journal.entries
    assert isinstance(reservation, Reservation)
    assert isinstance(record, RequestRecord)
    for it in (reservation, record):
        assert (it.key_id, it.user, it.team, it.tags) == ("key_1", "ann", "search", ("nightly",))


async def test_a_failed_request_settles_what_it_tried() -> None:
    journal = MemoryJournal()
    tries = (
        attempt(1, outcome="upstream_error", may_cost=False, status=500),
        attempt(2, outcome="upstream_timeout", deployment=deployment("beta/gpt"), output_estimate=0),
    )

    with pytest.raises(ProxyError):
        await meter(journal)(call(), raising(ProxyError("no"), *tries))

    void, settlement, record = journal.entries
    assert isinstance(void, Void)
    assert (void.attempt, void.reason) == (1, "upstream_error")
    assert isinstance(settlement, Settlement)
    assert (settlement.attempt, settlement.quality) == (2, "estimated")
    assert isinstance(record, RequestRecord)
    assert [(it.attempt, it.provider, it.outcome) for it in record.attempts] == [
        (1, "acme", "upstream_error"),
        (2, "beta", "upstream_timeout"),
    ]


async def test_a_call_that_is_cut_is_recorded_before_anybody_hears_of_it() -> None:
    journal = MemoryJournal()
    entered = asyncio.Event()

    async def service(call: Call, /) -> Reply:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody wakes it")

    task = asyncio.ensure_future(meter(journal)(call(), service))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [(it.status, it.outcome) for it in journal.records] == [(499, "client_closed")]


async def test_a_request_of_nobody_has_no_key() -> None:
    journal = MemoryJournal()

    await meter(journal)(call(principal=None), answering())

    assert [it.key_id for it in journal.records] == [""]


# --- streams -----------------------------------------------------------------------------------------------------------


async def test_a_stream_is_recorded_when_it_ends_once() -> None:
    journal = MemoryJournal()
    asked = call(fields={"stream": True})

    reply = await meter(journal)(asked, answering(reply=streaming))
    before = len(journal.entries)
    asked.trail.append(attempt(usage=USAGE))
    assert isinstance(reply, Streaming)
    await reply.finish()
    await reply.finish()

    assert before == 0
    assert [(it.status, it.outcome, it.stream, it.cost_nusd) for it in journal.records] == [(200, "ok", True, 1_100_000)]


@pytest.mark.parametrize(("outcome", "status"), [("client_closed", 499), ("upstream_error", 200), ("draining", 200)])
async def test_a_stream_that_was_cut_says_by_what(outcome: str, status: int) -> None:
    journal = MemoryJournal()
    asked = call(fields={"stream": True})

    reply = await meter(journal)(asked, answering(reply=streaming))
    asked.trail.append(attempt(outcome=outcome))
    assert isinstance(reply, Streaming)
    await reply.finish()

    assert [(it.status, it.outcome, it.quality) for it in journal.records] == [(status, outcome, "estimated")]


# --- reservations ------------------------------------------------------------------------------------------------------


async def test_a_reservation_has_all_that_a_crash_would_need() -> None:
    journal = MemoryJournal()
    asked = call("smart", fields={"stream": True, "pad": "x" * 4000})

    await meter(journal).reserve(asked, 2, deployment("beta/gpt", account="second"))

    assert journal.entries == [
        Reservation(
            request_id="req_1",
            attempt=2,
            at_us=NOW_US,
            key_id="key_1",
            endpoint="chat/completions",
            model="smart",
            provider="beta",
            account="second",
            upstream_model="gpt",
            stream=True,
            input_tokens_estimate=len(asked.body) // 4,
        )
    ]


async def test_every_reservation_is_ended_by_exactly_one_entry() -> None:
    journal = MemoryJournal()
    stage = meter(journal)

    async def service(call: Call, /) -> Reply:
        for number in (1, 2, 3):
            await stage.reserve(call, number, deployment())
            call.trail.append(attempt(number, may_cost=number != 2, outcome="ok" if number == 3 else "upstream_error"))
        return Completed(status=200, headers=[], body=b"")

    await stage(call(), service)

    assert journal.open == set()
    assert [type(it).__name__ for it in journal.entries] == ["Reservation"] * 3 + [
        "Settlement",
        "Void",
        "Settlement",
        "RequestRecord",
    ]


async def test_what_cannot_be_reserved_is_refused_and_the_client_may_come_back() -> None:
    journal = MemoryJournal(fails=lambda _: True)

    with pytest.raises(LedgerUnavailable) as caught:
        await meter(journal).reserve(call(), 1, deployment())

    assert (caught.value.status, caught.value.retry_after_s, caught.value.should_retry) == (503, 5, True)


def records(entries: Sequence[Entry]) -> bool:
    return any(isinstance(it, RequestRecord) for it in entries)


async def test_an_answer_that_cannot_be_recorded_is_not_released() -> None:
    journal = MemoryJournal(fails=records)

    with pytest.raises(LedgerUnavailable):
        await meter(journal)(call(), answering(attempt(usage=USAGE)))

    assert journal.entries == []


async def test_a_stream_that_cannot_be_recorded_does_not_look_whole() -> None:
    reply = await meter(MemoryJournal(fails=records))(call(), answering(reply=streaming))

    assert isinstance(reply, Streaming)
    with pytest.raises(LedgerUnavailable):
        await reply.finish()


async def test_a_refusal_that_cannot_be_recorded_stays_that_refusal() -> None:
    with pytest.raises(NotAllowed):
        await meter(MemoryJournal(fails=records))(call(), raising(NotAllowed("no")))


# --- money -------------------------------------------------------------------------------------------------------------


async def test_without_usage_what_it_cost_is_estimated() -> None:
    entries, record = await settled(attempt(output_estimate=10))

    tokens = Tokens(input_uncached=max(len(call().body) // 4, 1), output_text=10)
    assert [(it.quality, it.tokens) for it in entries if isinstance(it, Settlement)] == [("estimated", tokens)]
    assert (record.quality, record.tokens, record.cost_nusd) == ("estimated", tokens, tokens.input_tokens * 1000 + 20_000)


async def test_without_a_price_the_cost_is_unknown_and_not_nothing() -> None:
    entries, record = await settled(attempt(usage=USAGE), provider="other")

    assert [(it.cost_nusd, it.price_source) for it in entries if isinstance(it, Settlement)] == [(None, "")]
    assert (record.cost_nusd, record.tokens.input_tokens) == (None, 1000)


async def test_one_try_of_unknown_price_makes_the_sum_unknown() -> None:
    _, record = await settled(attempt(1, usage=USAGE, deployment=deployment("beta/x")), attempt(2, usage=USAGE))

    assert (record.cost_nusd, record.tokens.input_tokens) == (None, 2000)


async def test_tries_that_cost_are_added_up_and_those_that_do_not_are_not() -> None:
    _, record = await settled(attempt(1, usage=USAGE), attempt(2, usage=USAGE, may_cost=False), attempt(3, usage=USAGE))

    assert (record.cost_nusd, record.tokens.output_tokens, record.quality) == (2_200_000, 100, "exact")


async def test_one_estimated_try_makes_the_record_an_estimate() -> None:
    _, record = await settled(attempt(1, output_estimate=1), attempt(2, usage=USAGE))

    assert record.quality == "estimated"


@pytest.mark.parametrize(
    ("priced", "asked", "answered", "expected"),
    [
        ("gpt", "gpt", "gpt-2026-01-01", 1_100_000),
        ("gpt-2026-01-01", "gpt", "gpt-2026-01-01", 1_100_000),
        ("gpt", "gpt", "", 1_100_000),
        ("gpt", "gpt", "gpt", 1_100_000),
        ("gpt", "other", "", None),
    ],
)
async def test_the_price_is_that_of_the_model_that_answered_or_of_the_one_that_was_asked(
    priced: str, asked: str, answered: str, expected: int | None
) -> None:
    _, record = await settled(
        attempt(usage=USAGE, deployment=deployment(f"acme/{asked}"), answered_model=answered), model=priced
    )

    assert record.cost_nusd == expected


async def headers_of(*attempts: Attempt, provider: str = "acme") -> dict[bytes, bytes]:
    reply = await meter(MemoryJournal(), provider)(call(), answering(*attempts))
    assert isinstance(reply, Completed)
    return dict(reply.headers)


@pytest.mark.parametrize(
    ("model", "at_nusd"),
    [("", 1_000), ("wise", 5_000), ("nobody knows", 1_000)],
    ids=["itself", "another", "unknown"],
)
async def test_what_was_done_besides_the_answer_is_charged_by_the_price_of_who_did_it(model: str, at_nusd: int) -> None:
    class Two(Prices):
        def price(self, provider: str, model: str, _at_us: int | None = None, /) -> Price | None:
            dear = Price(source="a list", input_nusd_per_mtok=5_000_000_000, output_nusd_per_mtok=5_000_000_000)
            return dear if model == "wise" else super().price(provider, model)

    aside = Aside(model=model, usage=Usage(input_uncached=3_000, cache_read=400))
    usage = replace(USAGE, asides=(aside, aside))
    journal = MemoryJournal()

    await Meter(journal, Two("acme", "gpt"), lambda: NOW_US)(call(), answering(attempt(1, usage=usage)))

    (record,) = journal.records
    assert record.tokens == Tokens(input_uncached=6_700, cache_read=1_000, input_audio=100, output_text=30, reasoning=20)
    assert record.cost_nusd == 1_100_000 + 6_800 * at_nusd


async def test_the_client_is_told_what_it_cost_and_how_long_it_was_with_us() -> None:
    headers = await headers_of(attempt(usage=USAGE, duration_us=498_766))

    assert headers == {b"x-tollway-overhead-ms": b"1.234", b"x-tollway-cost-usd": b"0.001100000"}


async def test_a_cost_that_is_unknown_is_not_told() -> None:
    assert b"x-tollway-cost-usd" not in await headers_of(attempt(usage=USAGE), provider="other")


async def test_the_record_tells_of_each_try_why_it_was_made_whose_fault_it_was_and_what_it_cost() -> None:
    first = attempt(1, outcome="upstream_error", fault="upstream", may_cost=False)
    second = attempt(2, kind="fallback", waited_us=250_000, usage=USAGE)

    _, record = await settled(first, second)

    assert [(it.kind, it.fault, it.waited_us, it.cost_nusd) for it in record.attempts] == [
        ("", "upstream", 0, 0),
        ("fallback", "", 250_000, 1_100_000),
    ]


@pytest.mark.parametrize(
    ("fields", "output", "note"),
    [
        ({"max_tokens": 100}, {"output_text": 110}, ""),
        ({"max_tokens": 100}, {"output_text": 111}, "The provider counted 111 output tokens, and 100 were allowed."),
        ({"max_completion_tokens": 100}, {"output_text": 100, "reasoning": 900}, ""),
        ({"max_tokens": 100, "n": 3}, {"output_text": 300}, ""),
        ({"max_tokens": 100, "n": 3}, {"output_text": 331}, "The provider counted 331 output tokens, and 300 were allowed."),
        ({}, {"output_text": 10**6}, ""),
    ],
)
async def test_the_receipt_says_when_more_was_counted_than_was_allowed_and_it_is_settled_all_the_same(
    fields: dict[str, Any], output: dict[str, int], note: str
) -> None:
    journal = MemoryJournal()
    done = attempt(usage=Usage(input_uncached=10, **output))

    await meter(journal)(call(fields=fields), answering(done))

    (record,) = [it for it in journal.entries if isinstance(it, RequestRecord)]
    assert [it.error for it in record.attempts] == [note]
    assert (record.quality, record.outcome, record.tokens.output_text) == ("exact", "ok", output["output_text"])


@pytest.mark.parametrize("streams", [False, True])
async def test_what_is_made_in_the_background_is_left_to_whoever_is_told_of_it(streams: bool) -> None:
    journal = MemoryJournal()
    told: list[tuple[str, str, int]] = []

    async def put_off(asked: Call, last: Attempt) -> bool:
        told.append((asked.id, last.goes_on, len(journal.entries)))
        return True

    stage = Meter(journal, Prices(), lambda: NOW_US, put_off=put_off)
    asked = call(endpoint="responses")
    await stage.reserve(asked, 1, deployment())

    reply = await stage(asked, answering(attempt(goes_on="resp_1"), **({"reply": streaming} if streams else {})))
    if isinstance(reply, Streaming):
        await reply.finish()

    (record,) = journal.records
    assert told == [("req_1", "resp_1", 1)]
    assert [type(it).__name__ for it in journal.entries if isinstance(it, Void | Settlement)] == ["Void"]
    assert (record.cost_nusd, record.outcome, record.provider, record.tokens) == (0, "ok", "", Tokens())
    assert not any(name == b"x-tollway-cost-usd" for name, _ in reply.headers)


@pytest.mark.parametrize("earlier_cost", [False, True])
async def test_what_cannot_be_put_off_is_estimated(earlier_cost: bool) -> None:
    journal = MemoryJournal()

    async def put_off(_asked: Call, _last: Attempt) -> bool:
        return earlier_cost

    stage = Meter(journal, Prices(), lambda: NOW_US, put_off=put_off)
    first = attempt(1, outcome="upstream_error", may_cost=earlier_cost)

    await stage(call(endpoint="responses"), answering(first, attempt(2, goes_on="resp_1")))

    (record,) = journal.records
    assert (record.quality, record.provider) == ("estimated", "acme")
    assert (record.cost_nusd or 0) > 0


async def test_whoever_counts_what_accounts_spend_is_told_of_every_settled_try() -> None:
    told: list[tuple[str, int | None, int]] = []
    charged = Meter(
        MemoryJournal(),
        Prices(),
        lambda: NOW_US,
        charged=[lambda where, cost, at_us: told.append((where.name, cost, at_us))],
    )
    free, dear = attempt(1, may_cost=False), attempt(2, usage=USAGE)
    unpriced = attempt(3, deployment=deployment("beta/gpt"), usage=USAGE)

    await charged(call(), answering(free, dear, unpriced))

    assert told == [("acme/gpt", 1_100_000, NOW_US), ("beta/gpt", None, NOW_US)]


# --- answers that others made ------------------------------------------------------------------------------------------


ORIGIN = Origin(provider="acme", model="gpt", answered_model="gpt-1", at_us=1, usage=USAGE)


@pytest.mark.parametrize(
    ("origin", "saved_nusd"),
    [
        (ORIGIN, 1_100_000),
        (replace(ORIGIN, model="unpriced"), 0),
        # Counted by us: the body's 20 bytes are 5 tokens.
        (replace(ORIGIN, usage=None, output_estimate=7), 19_000),
    ],
    ids=["priced", "unpriced", "estimated"],
)
async def test_an_answer_that_was_not_asked_for_anew_costs_nothing_and_saves_what_it_would_have_cost(
    origin: Origin, saved_nusd: int
) -> None:
    journal = MemoryJournal()

    await meter(journal)(call(cached=CacheUse(state="hit", origin=origin)), answering())

    (record,) = journal.records
    assert (record.cost_nusd, record.saved_nusd, record.cache, record.answered_model) == (0, saved_nusd, "hit", "gpt-1")


@pytest.mark.parametrize(("outcome", "status"), [("client_closed", 499), ("upstream_error", 200)])
async def test_a_stream_without_a_try_of_its_own_says_itself_what_cut_it(outcome: str, status: int) -> None:
    journal = MemoryJournal()
    reply = streaming()
    reply.outcome = outcome

    await meter(journal)(call(), answering(reply=lambda: reply))
    await reply.finish()

    assert [(record.status, record.outcome) for record in journal.records] == [(status, outcome)]


# --- who is told, and what is kept beside the record ---------------------------------------------------------------------


class Heard:
    """Writes down what a listener is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, object]] = []

    def listen(self, call: Call, reply: Streaming, /) -> None:
        self.told.append(("listen", call.id, reply))

    def heard(self, call: Call, reply: Streaming, /) -> None:
        self.told.append(("heard", call.id, reply))

    def answered(self, call: Call, body: bytes | None, /) -> None:
        self.told.append(("answered", call.id, body))


async def test_why_a_call_goes_where_it_goes_is_written_with_its_record() -> None:
    journal = MemoryJournal()
    made = decision("req_1")
    stage = Meter(journal, Prices(), lambda: NOW_US, decided=lambda call: made if call.id == "req_1" else None)

    await stage(call(), answering(attempt()))
    await stage(replace(call(), id="req_2"), answering(attempt()))

    assert [it for it in journal.entries if isinstance(it, DecisionRecord)] == [made]
    assert len(journal.records) == 2


async def test_a_refused_call_keeps_why_it_would_have_gone_where() -> None:
    journal = MemoryJournal()
    stage = Meter(journal, Prices(), lambda: NOW_US, decided=lambda _: decision())

    with pytest.raises(NotAllowed):
        await stage(call(), raising(NotAllowed("no")))

    assert [type(it) for it in journal.entries] == [DecisionRecord, RequestRecord]


async def test_a_whole_answer_is_heard_once_its_books_are_closed() -> None:
    journal, heard = MemoryJournal(), Heard()
    stage = Meter(journal, Prices(), lambda: NOW_US, listener=heard)

    await stage(call(), answering(attempt(), reply=lambda: Completed(status=200, headers=[], body=b"{}")))

    assert heard.told == [("answered", "req_1", b"{}")]


async def test_a_stream_is_listened_to_from_its_beginning_and_heard_at_its_end() -> None:
    heard = Heard()
    stage = Meter(MemoryJournal(), Prices(), lambda: NOW_US, listener=heard)

    reply = await stage(call(), answering(attempt(), reply=streaming))
    assert isinstance(reply, Streaming)
    before = list(heard.told)
    await reply.finish()

    assert before == [("listen", "req_1", reply)]
    assert heard.told == [("listen", "req_1", reply), ("heard", "req_1", reply)]


async def test_a_failed_call_is_not_heard() -> None:
    heard = Heard()
    stage = Meter(MemoryJournal(), Prices(), lambda: NOW_US, listener=heard)

    with pytest.raises(NotAllowed):
        await stage(call(), raising(NotAllowed("no")))

    assert heard.told == []


# --- by the piece ------------------------------------------------------------------------------------------------------

DRAWN = Price(source="a list", input_nusd_per_mtok=0, output_nusd_per_mtok=0, image_nusd=40_000_000)
COUNTED = Price(source="a list", input_nusd_per_mtok=10**9, output_nusd_per_mtok=10**10, image_nusd=40_000_000)


async def charged(done: Attempt, row: Price, endpoint: Endpoint = "images/generations", **asked: Any) -> RequestRecord:
    """The record of a request for two pictures."""
    journal = MemoryJournal()
    weight = Weight(pieces=Pieces(images=2)) if endpoint == "images/generations" else PLAIN
    made = call(endpoint=endpoint, head=Head(model="acme/gpt", weight=weight), **asked)
    await Meter(journal, HousePrices(row), lambda: NOW_US)(made, answering(done))
    return journal.records[0]


@pytest.mark.parametrize(
    ("usage", "row", "cost_nusd", "quality"),
    [
        (Usage(counted=False, images=1), DRAWN, 40_000_000, "exact"),
        (Usage(input_uncached=10, output_image=100, images=1), DRAWN, 40_000_000, "exact"),
        (Usage(input_uncached=10, output_image=100, images=1), COUNTED, 1_010_000, "exact"),
        (Usage(counted=False, images=1), COUNTED, 40_000_000, "exact"),
        (None, DRAWN, 80_000_000, "estimated"),
        (Usage(counted=False, images=1, others=1), DRAWN, None, "exact"),
    ],
)
async def test_pictures_are_charged_by_tokens_that_were_counted_or_else_by_the_piece(
    usage: Usage | None, row: Price, cost_nusd: int | None, quality: str
) -> None:
    record = await charged(attempt(usage=usage), row)

    assert (record.cost_nusd, record.quality) == (cost_nusd, quality)
    assert record.price_source == ("" if cost_nusd is None else "a list")
    assert record.attempts[0].pieces.images == (2 if usage is None else 1)


async def test_pictures_that_were_asked_for_and_may_never_have_been_drawn_are_held() -> None:
    record = await charged(attempt(status=None, outcome="upstream_timeout"), DRAWN)

    assert (record.cost_nusd, record.quality) == (80_000_000, "held")


async def test_text_at_a_price_for_pictures_alone_costs_nobody_knows_what() -> None:
    record = await charged(attempt(usage=USAGE), DRAWN, "chat/completions")

    assert (record.cost_nusd, record.price_source) == (None, "")


# --- sessions ----------------------------------------------------------------------------------------------------------


def session(house: House) -> Call:
    asked = house.call(body=b"")
    head = replace(asked.head, stream=True, weight=Weight(audio=True))
    return replace(asked, endpoint="realtime", head=head, principal=HOUSE_PRINCIPAL)


async def opened(house: House, asked: Call, *answers: Attempt) -> Call:
    """A session that was opened and has given these answers."""
    line = house.holds.lines(asked)
    if line:
        await house.holds.admit(asked, line, [deployment("acme/gpt")])
    await house.meter.reserve(asked, 1, deployment("acme/gpt"))
    house.meter.opened(asked)
    for it in answers:
        if it.number > 1:
            await house.meter.reserve(asked, it.number, it.deployment)
        await house.meter.settle(asked, it)
    return asked


async def ended(house: House, asked: Call) -> RequestRecord:
    reply = streaming()
    reply.outcome = "ok"

    async def service(_: Call, /) -> Reply:
        return reply

    await (await house.meter(asked, service)).finish()  # type: ignore[union-attr]  # it is a stream
    record = house.journal.entries[-1]  # type: ignore[attr-defined]  # the one in memory
    assert isinstance(record, RequestRecord)
    return record


async def test_an_answer_of_a_session_is_settled_when_it_ends_and_counted_once_in_the_record() -> None:
    house = House(MemoryJournal(strict=True), budget(USD))
    asked = await opened(house, session(house), attempt(1, usage=USAGE), attempt(2, usage=USAGE))
    settled = [it for it in house.journal.entries if isinstance(it, Settlement)]
    standing = house.standing()

    record = await ended(house, asked)

    assert [CENT, CENT] == [it.cost_nusd for it in settled]
    assert [(0, 2 * CENT)] == standing
    assert (2 * CENT, 2_100) == (record.cost_nusd, record.tokens.input_tokens + record.tokens.output_tokens)
    assert 2 == len([it for it in house.journal.entries if isinstance(it, Settlement)])
    assert [(2 * CENT, 0)] == house.standing()


async def test_an_answer_that_the_journal_refuses_is_settled_with_the_end() -> None:
    broken = True
    house = House(MemoryJournal(fails=lambda entries: broken and isinstance(entries[0], Settlement)), budget(USD))
    asked = await opened(house, session(house))

    with pytest.raises(LedgerUnavailable):
        await house.meter.settle(asked, attempt(1, usage=USAGE))
    broken = False
    record = await ended(house, asked)

    assert (CENT, 1) == (record.cost_nusd, len([it for it in house.journal.entries if isinstance(it, Settlement)]))
    assert [(CENT, 0)] == house.standing()


async def test_what_nobody_foresaw_is_reserved_and_settled_in_one_step() -> None:
    house = House(MemoryJournal(strict=True), budget(USD))
    asked = await opened(house, session(house))

    await house.meter.settle(asked, attempt(2, deployment=deployment("acme/writer"), usage=USAGE), unforeseen=True)
    standing = house.standing()
    asked.trail.append(attempt(1, may_cost=False, outcome="unused"))
    record = await ended(house, asked)

    reservations = [it for it in house.journal.entries if isinstance(it, Reservation)]
    assert [("gpt", 1), ("writer", 2)] == [(it.upstream_model, it.attempt) for it in reservations]
    assert [(0, 2 * CENT)] == standing
    assert (CENT, [(CENT, 0)]) == (record.cost_nusd, house.standing())


async def test_a_session_holds_nothing_of_the_tries_before_it() -> None:
    house = House(MemoryJournal(strict=True), budget(USD))
    asked = session(house)
    await house.holds.admit(asked, house.holds.lines(asked), [deployment("acme/gpt")])
    await house.meter.reserve(asked, 1, deployment("acme/gpt"))
    asked.trail.append(attempt(1, may_cost=False, outcome="upstream_error"))
    await house.meter.reserve(asked, 2, deployment("acme/gpt"))
    before = house.standing()

    house.meter.opened(asked)

    assert ([(0, 2 * CENT)], [(0, CENT)]) == (before, house.standing())


async def test_an_open_session_outlives_a_lease() -> None:
    house = House(MemoryJournal())
    asked = await opened(house, session(house))

    lapsed = [await house.meter.end_lapsed() for _ in range(3)]
    asked.trail.append(attempt(1, usage=USAGE))
    await ended(house, asked)

    assert [0, 0, 0] == lapsed


async def test_what_has_no_price_is_not_used_beside_a_session_under_a_budget_of_money() -> None:
    house, free = House(MemoryJournal(), budget(USD)), House(MemoryJournal())
    asked, unbudgeted = await opened(house, session(house)), await opened(free, session(free))

    assert "price_unknown" == getattr(house.meter.may_use(asked, deployment("nobody/writer")), "code", "")
    assert house.meter.may_use(asked, deployment("acme/writer")) is None
    assert free.meter.may_use(unbudgeted, deployment("nobody/writer")) is None
