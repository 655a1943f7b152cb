"""Requests about what a provider keeps, and their records."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from providers.errors import Disconnected, NoCredentials
from providers.openai import request as http
from providers.provider import HttpRequest
from proxy.attempts.control import Control
from proxy.call import Rates
from proxy.errors import NotAllowed, NotFound, ProxyError, RateLimited, UpstreamAuth, UpstreamError, UpstreamRefused
from proxy.limits.rates import Declared, RateBook
from proxy.metering.outbox import Outbox
from proxy.stages.rate_limiter import Enforcement, RateLimiter
from proxy.stores.memory_buckets import MemoryBuckets
from tests.proxy import samples
from tests.proxy.scripted import Answer, Clock, Hang, MemoryJournal, ScriptedTransport, Step

UPSTREAM = samples.upstream()
REFUSAL = b'{"error": {"message": "gone", "type": "invalid_request_error", "param": null, "code": "nope"}}'


class Setup:
    def __init__(self, *steps: Step, journal: MemoryJournal | None = None, limiter: RateLimiter | None = None) -> None:
        clock = Clock()
        self.journal = journal or MemoryJournal()
        self.transport = ScriptedTransport(*steps)
        self.outbox = Outbox(self.journal)
        self.control = Control(
            self.transport,
            self.journal,
            self.outbox,
            limiter=limiter or samples.unlimited(),
            clock_s=clock.s,
            clock_us=clock.us,
        )

    async def look(self, request_id: str = "req_1", **principal: object) -> bytes:
        caller = replace(samples.PRINCIPAL, **principal)
        async with self.control.recorded(caller, "files", request_id=request_id, tags=("t",)) as it:
            asked = http.about("GET", "files/file-1", upstream=UPSTREAM, request_id="req_1")
            return await self.control.told(UPSTREAM, asked, it)


async def test_one_account_is_asked_and_one_record_says_so() -> None:
    setup = Setup(Answer(b"{}"))

    assert await setup.look(user="alice", team="search") == b"{}"

    (record,) = setup.journal.records
    (attempt,) = record.attempts
    assert (record.request_id, record.endpoint, record.status, record.outcome) == ("req_1", "files", 200, "ok")
    assert (record.cost_nusd, record.provider, record.user, record.team, record.tags) == (0, "", "alice", "search", ("t",))
    assert (attempt.provider, attempt.account, attempt.status, attempt.cost_nusd) == ("acme", "default", 200, 0)
    assert len(setup.journal.entries) == 1


@pytest.mark.parametrize(
    ("step", "error", "outcome", "status"),
    [
        (Answer(REFUSAL, status=404), UpstreamRefused, "upstream_refused", 404),
        (Disconnected("cut"), UpstreamError, "upstream_error", 502),
        (Answer(b"{", Disconnected("cut")), UpstreamError, "upstream_error", 502),
        (Answer(b"", status=302), ProxyError, "upstream_invalid_response", 502),
    ],
)
async def test_a_failure_is_told_and_recorded(step: Step, error: type[ProxyError], outcome: str, status: int) -> None:
    setup = Setup(step)

    with pytest.raises(error):
        await setup.look()

    (record,) = setup.journal.records
    assert (record.outcome, record.status, record.cost_nusd) == (outcome, status, 0)
    if isinstance(step, Answer):
        assert step.closed


async def test_what_nobody_was_asked_is_recorded_too() -> None:
    setup = Setup()

    with pytest.raises(NotFound):
        async with setup.control.recorded(samples.PRINCIPAL, "batches", request_id="req_1"):
            raise NotFound("There is none.")

    assert [(it.endpoint, it.status, it.attempts) for it in setup.journal.records] == [("batches", 404, ())]


async def test_a_key_that_may_not_is_recorded() -> None:
    setup = Setup()

    with pytest.raises(NotAllowed):
        await setup.look(endpoints=("batches",))

    assert [(it.status, it.outcome) for it in setup.journal.records] == [(403, "not_allowed")]


async def test_who_leaves_leaves_a_record() -> None:
    hang = Hang()
    setup = Setup(hang)
    task = asyncio.ensure_future(setup.look())
    await hang.reached.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [it.outcome for it in setup.journal.records] == ["client_closed"]


async def test_a_record_that_the_disk_refuses_is_written_later() -> None:
    refusals = [True]
    setup = Setup(Answer(b"{}"), journal=MemoryJournal(fails=lambda _: bool(refusals and refusals.pop())))

    assert await setup.look() == b"{}"
    assert setup.journal.records == []
    await setup.outbox.flush()

    assert [it.request_id for it in setup.journal.records] == ["req_1"]


async def test_an_account_without_a_key_signs() -> None:
    class Signer:
        async def signed(self, request: HttpRequest) -> HttpRequest:
            return HttpRequest(request.url, {**request.headers, "authorization": "signed"}, request.body, request.method)

    class Nobody:
        async def signed(self, request: HttpRequest) -> HttpRequest:
            raise NoCredentials(f"There are none for {request.method}.")

    setup = Setup(Answer(b"{}"))
    asked = http.about("GET", "files/file-1", upstream=UPSTREAM, request_id="req_1")

    await setup.control.told(replace(UPSTREAM, signer=Signer()), asked)
    with pytest.raises(UpstreamAuth):
        await setup.control.told(replace(UPSTREAM, signer=Nobody()), asked)

    assert [it.headers["authorization"] for it in setup.transport.requests] == ["signed"]


def limited(requests_per_minute: int) -> RateLimiter:
    book = RateBook(Declared(default=Rates(requests_per_minute=requests_per_minute)), burst_s=60)
    return RateLimiter(MemoryBuckets(lambda: 0), book, enforcement=Enforcement(), clock_s=lambda: 0.0)


async def test_requests_about_what_is_kept_count_for_their_keys_limit() -> None:
    setup = Setup(Answer(b"{}"), Answer(b"{}"), limiter=limited(2))

    await setup.look("req_1")
    await setup.look("req_2")
    with pytest.raises(RateLimited) as refused:
        await setup.look("req_3")

    assert [it.outcome for it in setup.journal.records] == ["ok", "ok", "rate_limit_exceeded"]
    assert refused.value.retry_after_s == 30
    assert (b"x-ratelimit-remaining-requests", b"0") in refused.value.headers


@pytest.mark.parametrize(
    ("step", "counts"), [(Answer(REFUSAL, status=404), True), (Disconnected("cut"), False), (Answer(b"", status=500), False)]
)
async def test_one_that_failed_through_no_fault_of_its_caller_does_not_count(step: Step, counts: bool) -> None:
    setup = Setup(step, Answer(b"{}"), limiter=limited(1))
    with pytest.raises(ProxyError):
        await setup.look()

    if counts:
        with pytest.raises(RateLimited):
            await setup.look("req_2")
    else:
        assert await setup.look("req_2") == b"{}"
