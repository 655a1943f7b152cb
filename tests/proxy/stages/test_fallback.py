"""Who is tried, in which order, and what is said in the end."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from providers.errors import (
    ConnectFailed,
    ConnectTimedOut,
    Disconnected,
    FirstByteTimedOut,
    IdleTimedOut,
    InvalidResponse,
    ProviderError,
    TlsFailed,
    TotalTimedOut,
)
from providers.openai.vendors import CUSTOM, VENDORS
from proxy.call import Attempt, Call, Completed, Deployment, Rates, Streaming
from proxy.errors import (
    DRAINING,
    LedgerUnavailable,
    NoHealthyUpstream,
    ProxyError,
    RateLimited,
    UnsupportedEndpoint,
    UpstreamError,
    UpstreamRefused,
    status_of,
)
from proxy.limits.accounts import AccountLimits, Policy
from proxy.stages.fallback import Fallback, Retries
from tests.proxy.samples import call, deployment
from tests.proxy.scripted import Answer, Clock, Hang, ScriptedTransport, Step, stream

ANSWER = b'{"model":"gpt-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}'
EVENT = b'data: {"model":"gpt-1","choices":[{"delta":{"content":"a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
NAMES = ("a", "b", "c", "d")


def whole() -> Answer:
    return Answer(ANSWER)


def refused(status: int, retry_after_s: float | None = None, **error: Any) -> Answer:
    return Answer(
        json.dumps({"error": {"message": f"said {status}", **error}}).encode(), status=status, retry_after_s=retry_after_s
    )


class Bench:
    """A fallback stage between a scripted transport and a notebook of reservations."""

    def __init__(
        self, *steps: Step, attempts_max: int = 3, total_s: float = 600.0, accounts: AccountLimits | None = None
    ) -> None:
        self.story: list[str] = []
        self.transport = ScriptedTransport(*steps, story=self.story)
        self.reserve_fails_at = 0
        self.reserve_hangs: Hang | None = None
        clock = Clock()
        self.fallback = Fallback(
            self.transport,
            reserve=self._reserve,
            watch=lambda *_: None,
            accounts=accounts,
            retries=Retries(attempts_max=attempts_max, total_s=total_s),
            clock_s=clock.s,
            clock_us=clock.us,
        )

    async def _reserve(self, call: Call, number: int, deployment: Deployment) -> None:
        if self.reserve_hangs is not None:
            await self.reserve_hangs()
        if number == self.reserve_fails_at:
            raise LedgerUnavailable(f"the disk is full for {call.id}")
        self.story.append(f"reserve {number} {deployment.upstream.provider}")


def calling(*names: str, stream: bool = False, **changes: Any) -> Call:
    deployments = changes.pop("deployments", tuple(deployment(f"{name}/gpt") for name in names))
    return call("smart", fields={"stream": True} if stream else None, deployments=deployments, **changes)


def outcomes(call: Call) -> list[str]:
    return [attempt.outcome for attempt in call.trail]


async def failure(bench: Bench, call: Call) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await bench.fallback(call)
    return caught.value


async def drained(reply: Any) -> list[bytes]:
    assert isinstance(reply, Streaming)
    parts = []
    while part := await reply.chunks.read():
        parts.append(part)
    return parts


# --- one try -----------------------------------------------------------------------------------------------------------


async def test_an_answer_comes_back_as_it_was_with_where_it_came_from() -> None:
    bench = Bench(whole())
    asked = calling("a")

    reply = await bench.fallback(asked)

    assert isinstance(reply, Completed)
    assert (reply.status, reply.body) == (200, ANSWER)
    assert reply.headers == [
        (b"content-type", b"application/json"),
        (b"x-tollway-model", b"gpt"),
        (b"x-tollway-provider", b"a"),
        (b"x-tollway-attempts", b"1"),
    ]


async def test_a_try_leaves_one_attempt_that_says_all() -> None:
    bench = Bench(whole())
    asked = calling("a")

    await bench.fallback(asked)

    (attempt,) = asked.trail
    assert (attempt.number, attempt.outcome, attempt.status, attempt.may_cost) == (1, "ok", 200, True)
    assert (attempt.answered_model, attempt.upstream_request_id) == ("gpt-1", "up_1")
    assert attempt.usage is not None
    assert (attempt.usage.input_tokens, attempt.usage.output_tokens) == (3, 2)
    assert attempt.usage_raw == b'{"prompt_tokens":3,"completion_tokens":2}'
    assert attempt.ttfb_us is not None
    assert 0 < attempt.ttfb_us <= attempt.duration_us


async def test_what_is_sent_is_the_callers_body_with_the_deployments_model_and_key() -> None:
    bench = Bench(whole())

    await bench.fallback(calling("a"))

    (sent,) = bench.transport.requests
    assert (sent.url, sent.body) == ("http://a.invalid/v1/chat/completions", b'{"model": "gpt"}')
    assert (sent.headers["authorization"], sent.headers["x-request-id"]) == ("Bearer sk-a-default", "req_1")


@pytest.mark.parametrize(
    ("fields", "sent", "stripped"),
    [
        ({"stream": True}, {"include_usage": True}, True),
        ({"stream": True, "stream_options": None}, {"include_usage": True}, True),
        ({"stream": True, "stream_options": {}}, {"include_usage": True}, True),
        ({"stream": True, "stream_options": {"include_usage": False}}, {"include_usage": True}, True),
        ({"stream": True, "stream_options": {"include_usage": True}}, {"include_usage": True}, False),
    ],
)
async def test_usage_is_asked_for_and_taken_out_again_unless_the_client_asked(fields: Any, sent: Any, stripped: bool) -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    bench = Bench(stream(EVENT, usage, DONE))
    asked = call("smart", fields=fields, deployments=(deployment("a/gpt"),))

    passed = await drained(await bench.fallback(asked))

    body = bench.transport.requests[0].body
    assert json.loads(body)["stream_options"] == sent
    assert body.count(b'"stream_options"') == 1
    assert passed == ([EVENT] if stripped else [EVENT, usage])
    assert [it.usage is not None for it in asked.trail] == [True]


@pytest.mark.parametrize(
    ("vendor", "endpoint", "fields"),
    [
        ("groq", "chat/completions", {"stream": True}),
        ("openai", "responses", {"stream": True}),
        ("openai", "chat/completions", {}),
    ],
)
async def test_usage_is_not_asked_for_where_it_comes_by_itself(vendor: str, endpoint: Any, fields: Any) -> None:
    steps = stream(b'data: {"type":"response.completed","response":{}}\n\n', DONE) if fields else whole()
    bench = Bench(steps)
    offered = (deployment("a/gpt", vendor=VENDORS[vendor]),)

    await bench.fallback(call("smart", endpoint=endpoint, fields=fields, deployments=offered))

    assert b"stream_options" not in bench.transport.requests[0].body


# --- the next one ------------------------------------------------------------------------------------------------------

CURABLE: dict[str, Step] = {
    "refused connection": ConnectFailed("no"),
    "connect timeout": ConnectTimedOut("no"),
    "tls": TlsFailed("no"),
    "first byte": FirstByteTimedOut("no"),
    "idle": Answer(b"{", IdleTimedOut("no")),
    "disconnected": Disconnected("no"),
    "cut off": Answer(b"{", Disconnected("no")),
    "not json": Answer(b"<html>"),
    "an error in a 200": Answer(b'{"error":{"message":"busy"}}'),
    "a redirect": Answer(status=302),
    "a 201": Answer(ANSWER, status=201),
    "a stream": stream(EVENT),
    "401": refused(401),
    "402": refused(402),
    "403": refused(403),
    "408": refused(408),
    "429": refused(429),
    "500": refused(500),
    "503": refused(503),
    "529": refused(529),
}


@pytest.mark.parametrize("name", CURABLE)
async def test_the_next_deployment_takes_over(name: str) -> None:
    bench = Bench(CURABLE[name], whole())
    asked = calling("a", "b")

    reply = await bench.fallback(asked)

    assert isinstance(reply, Completed)
    assert bench.story == ["reserve 1 a", "send a", "reserve 2 b", "send b"]
    assert [attempt.number for attempt in asked.trail] == [1, 2]
    assert outcomes(asked)[1] == "ok" != outcomes(asked)[0]
    assert (b"x-tollway-attempts", b"2") in reply.headers


STREAM_FAULTS: dict[str, Answer] = {
    "nothing": stream(),
    "half an event": stream(EVENT[:-1]),
    "cut off": stream(Disconnected("no")),
    "an error event": stream(b'data: {"error":{"message":"busy","type":"x","code":null}}\n\n'),
    "nonsense": stream(b"data: {\n\n"),
    "a whole answer": Answer(ANSWER),
    "an error in a 200": Answer(b'{"error":{"message":"busy"}}'),
    "503": refused(503),
}


@pytest.mark.parametrize("name", STREAM_FAULTS)
async def test_before_its_first_event_a_stream_is_taken_over(name: str) -> None:
    fault = STREAM_FAULTS[name]
    bench = Bench(fault, stream(EVENT, DONE))
    asked = calling("a", "b", stream=True)

    passed = await drained(await bench.fallback(asked))

    assert passed == [EVENT]
    assert outcomes(asked)[1:] == ["ok"]
    assert fault.closed > 0


@pytest.mark.parametrize("status", [400, 404, 405, 409, 413, 415, 418, 422, 424, 451])
async def test_a_fault_of_the_request_itself_ends_it_at_once(status: int) -> None:
    bench = Bench(refused(status, type="invalid_request_error", param="messages", code="bad"), whole())
    asked = calling("a", "b")

    error = await failure(bench, asked)

    assert bench.story == ["reserve 1 a", "send a"]
    assert isinstance(error, UpstreamRefused)
    assert (status_of(error), error.message, error.param, error.sent_code) == (status, f"said {status}", "messages", "bad")
    assert [(it.outcome, it.status, it.may_cost) for it in asked.trail] == [("upstream_refused", status, False)]


async def test_a_deadline_that_is_over_is_over_for_all() -> None:
    bench = Bench(TotalTimedOut("late"), whole())

    error = await failure(bench, calling("a", "b"))

    assert error.code == "upstream_timeout"
    assert bench.story == ["reserve 1 a", "send a"]


@pytest.mark.parametrize(("attempts_max", "tried"), [(1, 1), (2, 2), (3, 3), (9, 4)])
async def test_tries_are_limited(attempts_max: int, tried: int) -> None:
    bench = Bench(*(refused(500) for _ in NAMES), attempts_max=attempts_max)
    asked = calling(*NAMES)

    await failure(bench, asked)

    assert bench.story == [
        line for number, name in enumerate(NAMES[:tried], 1) for line in (f"reserve {number} {name}", f"send {name}")
    ]
    assert len(asked.trail) == tried


async def test_one_deadline_is_for_all_tries() -> None:
    bench = Bench(refused(500), refused(500), refused(500), total_s=30.0)

    await failure(bench, calling("a", "b", "c"))

    assert bench.transport.deadlines_s == [40.0] * 3


async def test_a_provider_that_does_not_serve_the_endpoint_is_not_asked() -> None:
    bench = Bench(whole())
    offered = (deployment("a/gpt", vendor=VENDORS["mistral"]), deployment("b/gpt", vendor=CUSTOM))

    await bench.fallback(calling(endpoint="responses", deployments=offered))

    assert bench.story == ["reserve 1 b", "send b"]


async def test_an_endpoint_that_nobody_serves_is_refused_and_nothing_is_reserved() -> None:
    bench = Bench()
    offered = (deployment("a/gpt", vendor=VENDORS["mistral"]), deployment("b/gpt", vendor=VENDORS["groq"]))

    error = await failure(bench, calling(endpoint="completions", deployments=offered))

    assert isinstance(error, UnsupportedEndpoint)
    assert error.message == "/v1/completions is not served by a, b."
    assert bench.story == []


async def test_without_a_deployment_there_is_nobody() -> None:
    error = await failure(Bench(), calling())

    assert isinstance(error, NoHealthyUpstream)
    assert error.retry_after_s == 5


# --- the verdict -------------------------------------------------------------------------------------------------------

QUOTA = {"type": "insufficient_quota", "code": "insufficient_quota"}


@pytest.mark.parametrize(
    ("steps", "status", "code", "retry_after_s"),
    [
        ([ConnectFailed("x"), ConnectFailed("x")], 503, "no_healthy_upstream", 5),
        ([refused(500), ConnectFailed("x")], 503, "no_healthy_upstream", 5),
        ([ConnectFailed("x"), refused(500)], 502, "upstream_error", None),
        ([refused(503, 9), refused(503, 7)], 502, "upstream_error", 7),
        ([ConnectTimedOut("x"), ConnectTimedOut("x")], 504, "upstream_timeout", None),
        ([refused(500), FirstByteTimedOut("x")], 504, "upstream_timeout", None),
        ([refused(408), refused(408)], 504, "upstream_timeout", None),
        ([TlsFailed("x"), TlsFailed("x")], 502, "upstream_error", None),
        ([Answer(b"<html>"), Answer(b"<html>")], 502, "upstream_invalid_response", None),
        ([refused(401), refused(403)], 502, "upstream_auth", None),
        ([refused(429, 9, **QUOTA), refused(402)], 502, "upstream_auth", None),
        ([refused(429, 9, code="enforced_spend_limit_reached"), refused(401)], 502, "upstream_auth", None),
        ([refused(429), refused(429)], 429, "rate_limit_exceeded", 5),
        ([refused(429, 30), refused(429, 7)], 429, "rate_limit_exceeded", 7),
        ([refused(429, 7), refused(500)], 429, "rate_limit_exceeded", 7),
        ([refused(500), refused(429, 7)], 429, "rate_limit_exceeded", 7),
        ([refused(429, 0), refused(401)], 429, "rate_limit_exceeded", 5),
        ([refused(500), refused(400)], 400, "upstream_refused", None),
    ],
)
async def test_the_last_failure_speaks_for_all_but_a_rate_limit_outranks_it(
    steps: list[Step], status: int, code: str, retry_after_s: float | None
) -> None:
    error = await failure(Bench(*steps), calling("a", "b"))

    assert (status_of(error), error.code, error.retry_after_s) == (status, code, retry_after_s)


async def test_the_gateways_own_key_is_never_blamed_on_the_client() -> None:
    error = await failure(Bench(refused(401, message="Incorrect API key provided: sk-a-default")), calling("a"))

    assert (status_of(error), error.message) == (502, "The provider refused the gateway's key or credit.")


MAY_COST: list[tuple[Step, bool]] = [
    (ConnectFailed("x"), False),
    (ConnectTimedOut("x"), False),
    (TlsFailed("x"), False),
    (refused(500), False),
    (refused(429), False),
    (Answer(b'{"error":{"message":"busy"}}'), False),
    (FirstByteTimedOut("x"), True),
    (Disconnected("x"), True),
    (Answer(b"{", Disconnected("x")), True),
    (Answer(b"<html>"), True),
    (TotalTimedOut("x"), True),
]


@pytest.mark.parametrize(("step", "may_cost"), MAY_COST)
async def test_what_the_provider_may_have_worked_on_may_cost(step: Step, may_cost: bool) -> None:
    asked = calling("a")

    await failure(Bench(step), asked)

    assert [it.may_cost for it in asked.trail] == [may_cost]


@pytest.mark.parametrize(
    ("pieces", "may_cost"),
    [
        ((b'data: {"error":{"message":"busy"}}\n\n',), False),
        ((b'data: {"usage":{"prompt_tokens":3},"choices":[]}\n\ndata: {"error":{"message":"busy"}}\n\n',), True),
        ((Disconnected("x"),), True),
        ((), True),
    ],
)
async def test_a_stream_that_never_began_may_cost_unless_it_was_refused(
    pieces: tuple[bytes | ProviderError, ...], may_cost: bool
) -> None:
    asked = calling("a", stream=True)

    await failure(Bench(stream(*pieces)), asked)

    assert [it.may_cost for it in asked.trail] == [may_cost]


@pytest.mark.parametrize("step", [refused(500), Answer(b"<html>"), Answer(b"{", Disconnected("x")), stream(EVENT)])
async def test_every_answer_is_let_go(step: Answer) -> None:
    await failure(Bench(step), calling("a"))

    assert step.closed > 0


# --- reservations ------------------------------------------------------------------------------------------------------


async def test_what_cannot_be_reserved_is_not_sent() -> None:
    bench = Bench(whole())
    bench.reserve_fails_at = 1
    asked = calling("a", "b")

    error = await failure(bench, asked)

    assert isinstance(error, LedgerUnavailable)
    assert (bench.story, asked.trail) == ([], [])


async def test_what_cannot_be_reserved_anew_is_not_tried_again() -> None:
    bench = Bench(refused(500), whole())
    bench.reserve_fails_at = 2
    asked = calling("a", "b")

    error = await failure(bench, asked)

    assert isinstance(error, LedgerUnavailable)
    assert bench.story == ["reserve 1 a", "send a"]
    assert outcomes(asked) == ["upstream_error"]


# --- cancellation ------------------------------------------------------------------------------------------------------


async def cancelled(bench: Bench, call: Call, hang: Hang, reason: str | None = None) -> list[Attempt]:
    task = asyncio.ensure_future(bench.fallback(call))
    await hang.reached.wait()
    task.cancel(reason)
    with pytest.raises(asyncio.CancelledError):
        await task
    return call.trail


@pytest.mark.parametrize(("reason", "outcome"), [(None, "client_closed"), (DRAINING, "draining")])
async def test_a_call_cut_while_it_reserves_leaves_one_attempt_that_cost_nothing(reason: str | None, outcome: str) -> None:
    bench = Bench(whole())
    bench.reserve_hangs = hang = Hang()

    trail = await cancelled(bench, calling("a", "b"), hang, reason)

    assert [(it.number, it.outcome, it.may_cost, it.status) for it in trail] == [(1, outcome, False, None)]
    assert bench.story == []


@pytest.mark.parametrize(("reason", "outcome"), [(None, "client_closed"), (DRAINING, "draining")])
async def test_a_call_cut_while_it_sends_leaves_one_attempt_that_may_cost(reason: str | None, outcome: str) -> None:
    hang = Hang()

    trail = await cancelled(Bench(hang), calling("a", "b"), hang, reason)

    assert [(it.number, it.outcome, it.may_cost, it.status) for it in trail] == [(1, outcome, True, None)]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_cut_while_it_reads_leaves_one_attempt_and_lets_go(streamed: bool) -> None:
    hang = Hang()
    answer = stream(EVENT[:9], hang) if streamed else Answer(b"{", hang)

    trail = await cancelled(Bench(answer), calling("a", "b", stream=streamed), hang)

    assert [(it.number, it.outcome, it.may_cost, it.status) for it in trail] == [(1, "client_closed", True, 200)]
    assert answer.closed > 0


async def test_a_call_cut_in_its_second_try_leaves_both() -> None:
    hang = Hang()

    trail = await cancelled(Bench(refused(500), hang), calling("a", "b"), hang)

    assert [(it.number, it.outcome) for it in trail] == [(1, "upstream_error"), (2, "client_closed")]


async def test_a_stream_leaves_its_attempt_when_it_has_ended_and_not_before() -> None:
    bench = Bench(stream(EVENT, EVENT, DONE))
    asked = calling("a", stream=True)

    reply = await bench.fallback(asked)
    before = list(asked.trail)
    passed = await drained(reply)

    assert (before, passed, outcomes(asked)) == ([], [EVENT, EVENT], ["ok"])
    assert asked.trail[0].output_estimate >= 2


@pytest.mark.parametrize(
    ("pieces", "outcome"),
    [
        ((), "upstream_error"),
        ((Disconnected("x"),), "upstream_error"),
        ((IdleTimedOut("x"),), "upstream_timeout"),
        ((InvalidResponse("x"),), "upstream_invalid_response"),
    ],
)
async def test_a_stream_that_is_cut_after_its_first_event_is_not_tried_again(
    pieces: tuple[bytes | ProviderError, ...], outcome: str
) -> None:
    bench = Bench(stream(EVENT, *pieces), stream(EVENT, DONE))
    asked = calling("a", "b", stream=True)

    reply = await bench.fallback(asked)
    passed = await drained(reply)

    assert isinstance(reply, Streaming)
    assert passed == [EVENT]
    assert json.loads(reply.chunks.closing.removeprefix(b"data: "))["error"]["code"] == outcome
    assert [(it.outcome, it.may_cost) for it in asked.trail] == [(outcome, True)]
    assert bench.story == ["reserve 1 a", "send a"]


async def test_a_stream_whose_client_left_leaves_one_attempt() -> None:
    bench = Bench(stream(EVENT, Hang()))
    asked = calling("a", stream=True)
    reply = await bench.fallback(asked)
    assert isinstance(reply, Streaming)
    await reply.chunks.read()

    reply.chunks.fail(ProxyError("x"))
    reply.chunks.fail(ProxyError("x"))
    reply.chunks.close()

    assert outcomes(asked) == ["internal_error"]


# --- room at the accounts --------------------------------------------------------------------------------------------


def limited(**rates: Rates) -> AccountLimits:
    policy = Policy(rates={(name, "default"): it for name, it in rates.items()}, burst_s=60, adaptive=None)
    return AccountLimits(policy, lambda: 0)


async def test_an_account_without_room_is_passed_over_and_costs_no_try() -> None:
    bench = Bench(whole(), whole(), attempts_max=1, accounts=limited(a=Rates(requests_per_minute=1)))

    await bench.fallback(calling("a", "b"))
    await bench.fallback(calling("a", "b"))

    assert bench.story == ["reserve 1 a", "send a", "reserve 1 b", "send b"]


async def test_when_no_account_has_room_nothing_is_sent_and_it_is_a_429() -> None:
    bench = Bench(whole(), accounts=limited(a=Rates(requests_per_minute=1)))
    await bench.fallback(calling("a"))

    with pytest.raises(RateLimited) as refused:
        await bench.fallback(calling("a"))

    assert status_of(refused.value) == 429
    assert refused.value.retry_after_s == 60


async def test_who_failed_answers_when_the_others_have_no_room() -> None:
    bench = Bench(whole(), refused(500), accounts=limited(b=Rates(requests_per_minute=1)))
    await bench.fallback(calling("b"))

    with pytest.raises(UpstreamError):
        await bench.fallback(calling("a", "b"))


async def test_every_end_of_a_try_frees_its_place() -> None:
    steps: list[Step] = [whole(), refused(500), refused(400), ConnectFailed("no"), InvalidResponse("no"), Disconnected("no")]
    limits = limited(a=Rates(concurrent=1))
    bench = Bench(*steps, accounts=limits)

    for _ in steps:
        with suppress(ProxyError):
            await bench.fallback(calling("a"))

    assert limits.state() == {("a", "default"): (0, None)}


async def test_a_stream_holds_its_place_until_its_end() -> None:
    limits = limited(a=Rates(concurrent=1))
    bench = Bench(stream(EVENT, DONE), accounts=limits)

    reply = await bench.fallback(calling("a", stream=True))
    assert isinstance(reply, Streaming)
    meanwhile = limits.state()["a", "default"][0]
    while await reply.chunks.read():
        pass

    assert (meanwhile, limits.state()["a", "default"][0]) == (1, 0)


async def test_a_try_that_the_journal_refuses_frees_its_place() -> None:
    limits = limited(a=Rates(requests_per_minute=5, concurrent=1))
    bench = Bench(accounts=limits)
    bench.reserve_fails_at = 1

    for _ in range(10):
        with pytest.raises(LedgerUnavailable):
            await bench.fallback(calling("a"))

    assert limits.room_s(calling("a").deployments, 1) == 0.0


async def test_a_caller_that_leaves_while_the_upstream_is_silent_frees_its_place() -> None:
    hang = Hang()
    limits = limited(a=Rates(concurrent=1))
    bench = Bench(hang, accounts=limits)

    task = asyncio.ensure_future(bench.fallback(calling("a")))
    await hang.reached.wait()
    meanwhile = limits.state()["a", "default"][0]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert (meanwhile, limits.state()["a", "default"][0]) == (1, 0)
