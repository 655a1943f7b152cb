"""Who is tried, in which order, and what is said in the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

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
from providers.provider import HttpRequest, Timeouts
from proxy.attempts.hedging import HedgeRules, Hedging, Quantiles
from proxy.attempts.retry_budget import BudgetRules
from proxy.call import Attempt, Call, Completed, Deployment, Gate, Rates, Streaming
from proxy.errors import (
    DRAINING,
    ClientClosed,
    InvalidForm,
    LedgerUnavailable,
    NoHealthyUpstream,
    ProxyError,
    RateLimited,
    UnsupportedEndpoint,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRefused,
    status_of,
)
from proxy.limits.accounts import AccountLimits, Policy
from proxy.limits.adaptive import Bounds as AdaptiveBounds
from proxy.limits.queue import FairQueue
from proxy.limits.room import Room
from proxy.stages.fallback import Fallback, Retries
from tests.proxy.samples import call, deployment
from tests.proxy.scripted import Answer, Hang, ScriptedTransport, Step, Watch, stream

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
        self,
        *steps: Step,
        attempts_max: int = 3,
        total_s: float = 600.0,
        wait_s: float = 5.0,
        waiting_max: int = 1000,
        budget: BudgetRules | None = None,
        gates: Sequence[Gate] = (),
        windows: Mapping[str, int] | None = None,
        hedging: Hedging | None = None,
        continue_streams: bool = False,
        accounts: AccountLimits | None = None,
    ) -> None:
        room = Room(accounts) if accounts is not None else None
        self.story: list[str] = []
        self.transport = ScriptedTransport(*steps, story=self.story)
        self.reserve_fails_at = 0
        self.reserve_hangs: Hang | None = None
        self.watch = Watch(10.0)
        known = windows or {}
        self.fallback = Fallback(
            self.transport,
            reserve=self._reserve,
            watch=lambda *_: None,
            retries=Retries(
                attempts_max=attempts_max,
                total_s=total_s,
                wait_s=wait_s,
                waiting_max=waiting_max,
                budget=budget or BudgetRules(),
                continue_streams=continue_streams,
            ),
            observers=(room.observe,) if room else (),
            gates=(*gates, room) if room else gates,
            room=room,
            windows=lambda it: known.get(it.upstream.provider),
            hedging=hedging,
            clock_s=self.watch.s,
            clock_us=self.watch.us,
            sleep=self.watch.sleep,
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


class Form:
    """A form that passes, or one that is here.  fault: what its pieces end with.  hang: what they wait for."""

    content_type = "multipart/form-data; boundary=e"
    file_bytes = 100

    def __init__(self, *, whole: bool, fault: ProxyError | None = None, hang: Hang | None = None) -> None:
        self.is_whole = whole
        self.may_be_sent = True
        self.is_sent = False
        self.length = None
        self.held = 0
        self.models: list[str] = []
        self._fault = fault
        self._hang = hang

    def body(self, **changed: str) -> Form:
        self.models.append(changed["model"])
        return self

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        yield b"some"
        self.may_be_sent = self.is_whole
        if self._hang is not None:
            await self._hang()
        if self._fault is not None:
            raise self._fault
        self.is_sent = True

    def hold(self) -> None:
        self.held += 1

    def let_go(self) -> None:
        self.held -= 1


# --- forms ---------------------------------------------------------------------------------------------------------------


def sending(form: Form, *names: str) -> Call:
    return calling(*names, endpoint="audio/transcriptions", upload=form)


async def test_a_form_that_is_here_goes_to_the_next_deployment_by_its_name_there() -> None:
    bench, form = Bench(Disconnected("no"), Answer(b'{"text":"a"}')), Form(whole=True)
    asked = sending(form)

    reply = await bench.fallback(replace(asked, deployments=(deployment("a/one"), deployment("b/two"))))

    assert isinstance(reply, Completed)
    assert form.models == ["one", "two"]
    assert form.held == 0
    assert [it.headers["content-type"] for it in bench.transport.requests] == [form.content_type] * 2


async def test_a_form_that_has_passed_is_tried_once() -> None:
    bench, form = Bench(Disconnected("no"), whole()), Form(whole=False)

    error = await failure(bench, sending(form, "a", "b"))

    assert isinstance(error, UpstreamError)
    assert bench.story == ["reserve 1 a", "send a"]


async def test_a_form_of_which_nothing_has_passed_goes_to_the_next_deployment() -> None:
    class Unconnected(ScriptedTransport):
        async def send(self, request: HttpRequest, *, timeouts: Timeouts, deadline_s: float) -> Answer:
            if request.url.startswith("http://a."):
                raise ConnectFailed("no")
            return await super().send(request, timeouts=timeouts, deadline_s=deadline_s)

    bench, form = Bench(), Form(whole=False)
    fallback = Fallback(
        Unconnected(Answer(b'{"text":"a"}')),
        reserve=bench._reserve,
        watch=lambda *_: None,
        retries=Retries(),
        clock_s=bench.watch.s,
        clock_us=bench.watch.us,
    )

    assert isinstance(await fallback(sending(form, "a", "b")), Completed)


async def test_a_form_that_turns_out_to_be_none_is_the_clients_fault_and_costs_nothing() -> None:
    bench, form = Bench(whole()), Form(whole=False, fault=InvalidForm("cut off"))
    asked = sending(form, "a", "b")

    error = await failure(bench, asked)

    assert isinstance(error, InvalidForm)
    (attempt,) = asked.trail
    assert (attempt.outcome, attempt.fault, attempt.may_cost) == ("invalid_form", "client", False)
    assert form.held == 0


@pytest.mark.parametrize(("hang", "may_cost"), [(Hang(), False), (None, True)], ids=["sending", "sent"])
async def test_a_client_that_leaves_pays_for_what_was_sent_whole(hang: Hang | None, may_cost: bool) -> None:
    waits = Hang()
    bench, form = Bench(waits), Form(whole=False, hang=hang)
    asked = sending(form, "a")
    task = asyncio.ensure_future(bench.fallback(asked))
    await (hang or waits).reached.wait()

    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    assert [attempt.may_cost for attempt in asked.trail] == [may_cost]


async def test_a_form_says_nothing_of_how_busy_its_account_is() -> None:
    limits = AccountLimits(Policy(adaptive=AdaptiveBounds(least=1, most=100)), lambda: 0)
    bench = Bench(*(Answer(b'{"text":"a"}') for _ in range(30)), accounts=limits)

    for _ in range(30):
        await bench.fallback(sending(Form(whole=True), "a"))

    assert limits._accounts["a", "default"].baselines._known == {}


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

    await bench.fallback(calling(endpoint="completions", deployments=offered))

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


# --- the only one, once more -------------------------------------------------------------------------------------------


async def test_the_only_deployment_is_asked_again_after_waits_that_double() -> None:
    bench = Bench(refused(500), refused(503), whole())
    asked = calling("a")

    reply = await bench.fallback(asked)

    assert isinstance(reply, Completed)
    assert bench.watch.slept_s == [0.25, 0.5]
    assert [(it.kind, it.waited_us) for it in asked.trail] == [("", 0), ("retry", 250_000), ("retry", 500_000)]


async def test_the_only_deployment_is_asked_again_when_it_wants_to_be() -> None:
    bench = Bench(refused(429, 2), whole())

    await bench.fallback(calling("a"))

    assert bench.watch.slept_s == [2.0]


async def test_it_is_not_waited_for_longer_than_a_request_may_wait() -> None:
    bench = Bench(refused(429, 6), whole())

    error = await failure(bench, calling("a"))

    assert (error.code, error.retry_after_s) == ("rate_limit_exceeded", 6)
    assert bench.watch.slept_s == []


async def test_waits_count_together() -> None:
    bench = Bench(refused(429, 3), refused(429, 3), whole())

    error = await failure(bench, calling("a"))

    assert error.code == "rate_limit_exceeded"
    assert bench.watch.slept_s == [3.0]


async def test_it_is_not_waited_for_beyond_the_deadline_of_all() -> None:
    bench = Bench(refused(429, 2), whole(), total_s=1.5)

    await failure(bench, calling("a"))

    assert bench.watch.slept_s == []


async def test_no_more_wait_than_there_is_room_for() -> None:
    bench = Bench(refused(500), whole(), waiting_max=0)

    await failure(bench, calling("a"))

    assert bench.watch.slept_s == []


@pytest.mark.parametrize(
    "step",
    [
        ConnectFailed("x"),
        ConnectTimedOut("x"),
        FirstByteTimedOut("x"),
        Disconnected("x"),
        Answer(b"<html>"),
        refused(401),
        refused(408),
    ],
)
async def test_the_only_one_is_not_asked_again_where_it_would_not_help_or_could_cost_twice(step: Step) -> None:
    bench = Bench(step, whole())

    await failure(bench, calling("a"))

    assert bench.story == ["reserve 1 a", "send a"]


async def test_where_there_is_another_one_nothing_is_waited_for() -> None:
    bench = Bench(refused(429, 2), refused(500), whole())

    await failure(bench, calling("a", "b"))

    assert bench.watch.slept_s == []
    assert bench.story == ["reserve 1 a", "send a", "reserve 2 b", "send b"]


# --- the budget of retries ---------------------------------------------------------------------------------------------


async def test_in_an_outage_tries_are_the_requests_a_fifth_and_three() -> None:
    bench = Bench(*(refused(503) for _ in range(500)))

    for _ in range(100):
        await failure(bench, calling("a", "b"))

    assert len(bench.transport.requests) == 100 + 20 + 3


async def test_what_another_one_answers_costs_the_budget_nothing() -> None:
    bench = Bench(*(step for _ in range(200) for step in (refused(503), whole())))

    for _ in range(200):
        assert isinstance(await bench.fallback(calling("a", "b")), Completed)


async def test_what_is_not_tried_for_want_of_a_budget_says_what_went_wrong_before() -> None:
    bench = Bench(refused(500), budget=BudgetRules(ratio=0.0, floor=0))

    error = await failure(bench, calling("a", "b"))

    assert (error.code, error.should_retry) == ("upstream_error", False)


# --- gates -------------------------------------------------------------------------------------------------------------


class Turnstile(Gate):
    """Keeps back whoever is not ready, and writes down who comes and goes."""

    def __init__(self, watch: Watch | None = None, *, ready_s: Mapping[str, float] | None = None) -> None:
        self.watch = watch or Watch(10.0)
        self.ready_s = dict(ready_s or {})
        self.story: list[str] = []

    def ready_in_s(self, call: Call, deployment: Deployment, /) -> float:  # noqa: ARG002  # a Gate's
        return max(self.ready_s.get(deployment.upstream.provider, 0.0) - self.watch.now_s, 0.0)

    def enter(self, call: Call, number: int, deployment: Deployment, /) -> bool:
        if self.ready_in_s(call, deployment):
            return False
        self.story.append(f"enter {number} {deployment.upstream.provider}")
        return True

    def begun(self, call: Call, number: int, deployment: Deployment, ttfb_us: int, /) -> None:  # noqa: ARG002  # a Gate's
        self.story.append(f"begun {number}")

    def leave(self, call: Call, number: int, deployment: Deployment, /) -> None:  # noqa: ARG002  # a Gate's
        self.story.append(f"leave {number}")

    def refusal(self, call: Call, deployments: Sequence[Deployment], /) -> ProxyError | None:
        waits = [self.ready_in_s(call, it) for it in deployments]
        return UpstreamRateLimited("not yet", retry_after_s=min(waits)) if waits and min(waits) else None


async def test_who_is_kept_back_is_passed_over() -> None:
    gate = Turnstile(ready_s={"a": 99.0})
    bench = Bench(whole(), gates=[gate])

    await bench.fallback(calling("a", "b"))

    assert bench.story == ["reserve 1 b", "send b"]
    assert gate.story == ["enter 1 b", "begun 1", "leave 1"]


async def test_where_all_are_kept_back_the_gate_says_why() -> None:
    bench = Bench(gates=[Turnstile(ready_s={"a": 99.0, "b": 77.0})])

    error = await failure(bench, calling("a", "b"))

    assert isinstance(error, UpstreamRateLimited)
    assert error.retry_after_s == 67.0
    assert bench.story == []


async def test_a_request_waits_a_while_for_a_gate_to_open() -> None:
    gate = Turnstile(ready_s={"a": 12.0, "b": 99.0})
    bench = Bench(whole(), gates=[gate])
    gate.watch = bench.watch
    asked = calling("a", "b")

    await bench.fallback(asked)

    assert bench.watch.slept_s == [2.0]
    assert [(it.deployment.upstream.provider, it.waited_us) for it in asked.trail] == [("a", 2_000_000)]


async def test_whoever_entered_one_gate_and_not_the_next_leaves_it() -> None:
    first, second = Turnstile(), Turnstile(ready_s={"a": 99.0})
    bench = Bench(whole(), gates=[first, second])

    await bench.fallback(calling("a", "b"))

    assert first.story == ["enter 1 a", "leave 1", "enter 1 b", "begun 1", "leave 1"]


async def test_a_stream_leaves_when_it_is_over_and_not_before() -> None:
    gate = Turnstile()
    bench = Bench(stream(EVENT, EVENT, DONE), gates=[gate])

    reply = await bench.fallback(calling("a", stream=True))
    before = list(gate.story)
    await drained(reply)

    assert (before, gate.story[len(before) :]) == (["enter 1 a", "begun 1"], ["leave 1"])


async def test_what_could_not_be_reserved_leaves_too() -> None:
    gate = Turnstile()
    bench = Bench(whole(), gates=[gate])
    bench.reserve_fails_at = 1

    await failure(bench, calling("a"))

    assert gate.story == ["enter 1 a", "leave 1"]


async def test_a_call_that_is_cut_leaves_too() -> None:
    gate, hang = Turnstile(), Hang()

    await cancelled(Bench(hang, gates=[gate]), calling("a"), hang)

    assert gate.story == ["enter 1 a", "leave 1"]


# --- detours -----------------------------------------------------------------------------------------------------------

TOO_LONG = {"code": "context_length_exceeded"}
FLAGGED = {"code": "content_policy_violation"}


def detouring(**detours: str) -> Call:
    ways = tuple((kind, tuple(deployment(f"{name}/gpt") for name in names)) for kind, names in detours.items())
    return calling("a", "b", detours=ways)


async def test_what_is_too_long_goes_to_what_takes_in_more_and_not_to_the_usual_next_one() -> None:
    bench = Bench(refused(400, **TOO_LONG), whole(), windows={"a": 8_000, "c": 8_000, "d": 128_000})
    asked = detouring(context="cd")

    reply = await bench.fallback(asked)

    assert isinstance(reply, Completed)
    assert bench.story == ["reserve 1 a", "send a", "reserve 2 d", "send d"]
    assert asked.trail[1].kind == "fallback"


@pytest.mark.parametrize(
    ("windows", "tried"),
    [
        ({"a": 8_000, "c": 8_000}, []),
        ({"a": 8_000, "c": 4_000}, []),
        ({"a": 8_000}, []),
        ({"c": 8_000}, ["c"]),
        ({"c": 2}, []),
    ],
)
async def test_never_to_a_smaller_window_or_one_that_nobody_knows(windows: dict[str, int], tried: list[str]) -> None:
    bench = Bench(refused(400, **TOO_LONG), whole(), windows=windows)
    asked = detouring(context="c")

    try:
        await bench.fallback(asked)
    except UpstreamRefused as error:
        assert error.sent_code == "context_length_exceeded"

    assert [it.deployment.upstream.provider for it in asked.trail[1:]] == tried


async def test_what_is_refused_for_its_content_goes_where_it_may_be_taken() -> None:
    bench = Bench(refused(400, **FLAGGED), refused(500), whole())

    await bench.fallback(detouring(content_policy="cd", context="b"))

    assert bench.story[2::2] == ["reserve 2 c", "reserve 3 d"]


@pytest.mark.parametrize("steps", [[refused(400, **FLAGGED), refused(500)], [refused(400, **FLAGGED), refused(429, 3)]])
async def test_where_the_detour_fails_the_client_is_told_of_its_own_fault(steps: list[Step]) -> None:
    error = await failure(Bench(*steps), detouring(content_policy="c"))

    assert isinstance(error, UpstreamRefused)


async def test_without_a_detour_it_is_the_end() -> None:
    bench = Bench(refused(400, **TOO_LONG), whole(), windows={"a": 1, "b": 10**6})

    error = await failure(bench, detouring(content_policy="c"))

    assert isinstance(error, UpstreamRefused)
    assert bench.story == ["reserve 1 a", "send a"]


# --- two at the same time ----------------------------------------------------------------------------------------------


def hedging(*, ratio: float = 1.0, cost_nusd: int | None = 0) -> Hedging:
    """Whoever takes longer than a millisecond at ``a`` is slow."""
    rules = HedgeRules(ratio=ratio, samples_min=20, cost_max_nusd=1000)
    quantiles = Quantiles(rules)
    for streamed in (False, True):
        for _ in range(20):
            quantiles.begun(calling("a", stream=streamed), 1, deployment("a/gpt"), 1000)
    return Hedging(rules, quantiles, cost_of=lambda *_: cost_nusd, clock_s=lambda: 100.0)


async def test_a_slow_request_is_tried_at_another_one_and_the_first_answer_wins() -> None:
    gate = Turnstile()
    bench = Bench(Hang(), whole(), hedging=hedging(), gates=[gate])
    asked = calling("a", "b")

    reply = await bench.fallback(asked)

    assert isinstance(reply, Completed)
    assert bench.story == ["reserve 1 a", "send a", "reserve 2 b", "send b"]
    assert [(it.number, it.outcome, it.fault, it.kind, it.may_cost) for it in asked.trail] == [
        (1, "hedged", "", "", True),
        (2, "ok", "", "hedge", True),
    ]
    assert dict(reply.headers)[b"x-tollway-attempts"] == b"2"
    assert gate.story == ["enter 1 a", "enter 2 b", "begun 2", "leave 2", "leave 1"]


async def test_a_stream_is_won_by_whose_first_event_is_here_first() -> None:
    slow = stream(Hang(), DONE)
    bench = Bench(slow, stream(EVENT, DONE), hedging=hedging())
    asked = calling("a", "b", stream=True)

    passed = await drained(await bench.fallback(asked))

    assert passed == [EVENT]
    assert outcomes(asked) == ["hedged", "ok"]
    assert slow.closed > 0


async def test_the_first_may_still_win_and_its_attempt_speaks_for_the_request() -> None:
    woken = asyncio.Event()

    class Late(Hang):
        async def __call__(self) -> None:
            await woken.wait()

    class Waking(Hang):
        async def __call__(self) -> None:
            woken.set()
            await super().__call__()

    bench = Bench(Answer(Late(), ANSWER), Answer(Waking(), ANSWER), hedging=hedging())
    asked = calling("a", "b")

    reply = await bench.fallback(asked)

    assert isinstance(reply, Completed)
    assert dict(reply.headers)[b"x-tollway-provider"] == b"a"
    assert dict(reply.headers)[b"x-tollway-attempts"] == b"2"
    assert [(it.number, it.outcome) for it in asked.trail] == [(2, "hedged"), (1, "ok")]


@pytest.mark.parametrize(
    "never",
    [hedging(ratio=0.0), hedging(cost_nusd=None), hedging(cost_nusd=1001)],
    ids=["too many", "no price", "too dear"],
)
async def test_not_every_slow_request_is_tried_twice(never: Hedging) -> None:
    hang = Hang()

    trail = await cancelled(Bench(hang, whole(), hedging=never), calling("a", "b"), hang)

    assert [(it.number, it.outcome) for it in trail] == [(1, "client_closed")]


async def test_where_both_fail_a_third_one_takes_over() -> None:
    bench = Bench(Answer(Tick(), status=500), refused(503), whole(), hedging=hedging())
    asked = calling("a", "b", "c")

    reply = await bench.fallback(asked)

    assert isinstance(reply, Completed)
    assert sorted((it.number, it.outcome) for it in asked.trail) == [(1, "upstream_error"), (2, "upstream_error"), (3, "ok")]


class Tick(Hang):
    """Not there yet when it is looked for, and there a little later."""

    async def __call__(self) -> None:
        await asyncio.sleep(0.05)


async def test_a_fault_of_the_request_that_the_second_finds_ends_both() -> None:
    bench = Bench(Hang(), refused(400), hedging=hedging())
    asked = calling("a", "b", "c")

    error = await failure(bench, asked)

    assert isinstance(error, UpstreamRefused)
    assert [(it.number, it.outcome) for it in asked.trail] == [(2, "upstream_refused"), (1, "hedged")]


@pytest.mark.parametrize(("reason", "outcome"), [(None, "client_closed"), (DRAINING, "draining")])
async def test_a_call_that_is_cut_while_two_are_under_way_leaves_both(reason: str | None, outcome: str) -> None:
    hang = Hang()

    trail = await cancelled(Bench(Hang(), hang, hedging=hedging()), calling("a", "b"), hang, reason)

    assert sorted((it.number, it.outcome) for it in trail) == [(1, outcome), (2, outcome)]


async def test_a_journal_that_fails_for_the_second_ends_both() -> None:
    bench = Bench(Hang(), whole(), hedging=hedging())
    bench.reserve_fails_at = 2
    asked = calling("a", "b")

    error = await failure(bench, asked)

    assert isinstance(error, LedgerUnavailable)
    assert outcomes(asked) == ["hedged"]


# --- streams that are taken up -----------------------------------------------------------------------------------------


def said(text: str, **delta: Any) -> bytes:
    return b"data: " + json.dumps({"model": "gpt-1", "choices": [{"delta": {"content": text, **delta}}]}).encode() + b"\n\n"


FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
ROLE = said("", role="assistant")


async def test_another_one_goes_on_where_a_stream_broke_off() -> None:
    bench = Bench(
        stream(ROLE, said("one "), said("two "), Disconnected("x")),
        stream(ROLE, said("three"), FINISH, DONE),
        continue_streams=True,
    )
    asked = call(
        "smart",
        fields={"stream": True, "max_tokens": 10, "messages": [{"role": "user", "content": "count"}]},
        deployments=(deployment("a/gpt"), deployment("b/gpt")),
    )

    reply = await bench.fallback(asked)
    passed = await drained(reply)

    assert isinstance(reply, Streaming)
    assert b"".join(passed) == ROLE + said("one ") + said("two ") + said("three") + FINISH
    assert reply.chunks.closing == DONE
    body = json.loads(bench.transport.requests[1].body)
    assert body["messages"] == [{"role": "user", "content": "count"}, {"role": "assistant", "content": "one two "}]
    assert (body["max_tokens"], body["model"]) == (8, "gpt")
    assert [(it.number, it.outcome, it.kind, it.may_cost) for it in asked.trail] == [
        (1, "upstream_error", "", True),
        (2, "ok", "continuation", True),
    ]


def streaming(*names: str, **changes: Any) -> Call:
    offered = tuple(deployment(f"{name}/gpt") for name in names)
    return call("smart", fields={"stream": True, "messages": [], **changes}, deployments=offered)


TOOL = b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n'
THOUGHT = said("", reasoning_content="hm")


@pytest.mark.parametrize(
    ("pieces", "changes"),
    [
        ((said("a"), TOOL, Disconnected("x")), {}),
        ((said("a"), THOUGHT, Disconnected("x")), {}),
        ((said("a"), FINISH, InvalidResponse("x")), {}),
        ((said("a"), Disconnected("x")), {"n": 2}),
    ],
)
async def test_what_nobody_else_could_go_on_with_ends_as_it_broke_off(pieces: Any, changes: dict[str, Any]) -> None:
    bench = Bench(stream(*pieces), stream(said("b"), DONE), continue_streams=True)
    asked = streaming("a", "b", **changes)

    await drained(await bench.fallback(asked))

    assert [it.outcome != "ok" for it in asked.trail] == [True]


async def test_the_only_one_is_not_asked_to_go_on() -> None:
    bench = Bench(stream(said("a"), Disconnected("x")), stream(said("b"), DONE), continue_streams=True)
    asked = streaming("a")

    reply = await bench.fallback(asked)
    await drained(reply)

    assert isinstance(reply, Streaming)
    assert b"upstream_error" in reply.chunks.closing
    assert outcomes(asked) == ["upstream_error"]


async def test_one_after_the_other_may_go_on_as_often_as_a_request_may_be_tried() -> None:
    broken = [stream(said(text), IdleTimedOut("x")) for text in "abcd"]
    bench = Bench(*broken, continue_streams=True)
    asked = streaming(*NAMES)

    passed = await drained(await bench.fallback(asked))

    assert b"".join(passed) == said("a") + said("b") + said("c")
    assert [(it.outcome, it.kind) for it in asked.trail] == [
        ("upstream_timeout", ""),
        ("upstream_timeout", "continuation"),
        ("upstream_timeout", "continuation"),
    ]


async def test_if_the_next_one_cannot_go_on_the_one_after_it_may() -> None:
    bench = Bench(stream(said("a"), Disconnected("x")), refused(503), stream(said("b"), DONE), continue_streams=True)
    asked = streaming("a", "b", "c")

    passed = await drained(await bench.fallback(asked))

    assert b"".join(passed) == said("a") + said("b")
    assert outcomes(asked) == ["upstream_error", "upstream_error", "ok"]


async def test_what_cannot_be_reserved_anew_is_not_taken_up() -> None:
    bench = Bench(stream(said("a"), Disconnected("x")), stream(said("b"), DONE), continue_streams=True)
    bench.reserve_fails_at = 2
    asked = streaming("a", "b")

    reply = await bench.fallback(asked)
    passed = await drained(reply)

    assert isinstance(reply, Streaming)
    assert (passed, b"upstream_error" in reply.chunks.closing) == ([said("a")], True)


async def test_a_client_that_leaves_a_stream_that_was_taken_up_leaves_both_attempts() -> None:
    bench = Bench(stream(said("a"), Disconnected("x")), stream(said("b"), Hang()), continue_streams=True)
    asked = streaming("a", "b")
    reply = await bench.fallback(asked)
    assert isinstance(reply, Streaming)
    passed = [await reply.chunks.read(), await reply.chunks.read()]

    reply.chunks.fail(ClientClosed("x"))
    reply.chunks.close()

    assert passed == [said("a"), said("b")]
    assert outcomes(asked) == ["upstream_error", "client_closed"]


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
    bench = Bench(*steps, attempts_max=1, accounts=limits)

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


async def test_who_queues_for_room_enters_with_what_it_won() -> None:
    clock = Watch(10.0)
    policy = Policy(rates={("a", "default"): Rates(concurrent=1)}, adaptive=None)
    limits = AccountLimits(policy, clock.us, queue=FairQueue(wait_max_s=5, length_max=10))
    hang = Hang()
    bench = Bench(hang, whole(), accounts=limits)
    first = asyncio.ensure_future(bench.fallback(calling("a")))
    await hang.reached.wait()

    second = asyncio.ensure_future(bench.fallback(calling("a", id="req_2")))
    await asyncio.sleep(0)
    first.cancel()
    async with asyncio.timeout(2):
        reply = await second

    await asyncio.gather(first, return_exceptions=True)
    assert isinstance(reply, Completed)
    assert limits.state()["a", "default"][0] == 0


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
