"""One try: what is sent, what comes back, and the one Attempt that it leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.errors import (
    ConnectFailed,
    ConnectTimedOut,
    Disconnected,
    FirstByteTimedOut,
    ProviderError,
    TlsFailed,
    TotalTimedOut,
)
from providers.openai.vendors import VENDORS
from providers.registry import WIRES
from proxy.api.heads import admit
from proxy.attempts.attempt import Try
from proxy.call import Call, Completed, Deployment, Reply, Streaming
from proxy.errors import LedgerUnavailable, ProxyError
from tests.proxy.samples import call, deployment
from tests.proxy.scripted import Answer, Clock, Hang, ScriptedTransport, Step, stream

ANSWER = b'{"model":"gpt-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}'
EVENT = b'data: {"model":"gpt-1","choices":[{"delta":{"content":"a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def whole() -> Answer:
    return Answer(ANSWER)


def refused(status: int, retry_after_s: float | None = None, **error: Any) -> Answer:
    return Answer(
        json.dumps({"error": {"message": f"said {status}", **error}}).encode(), status=status, retry_after_s=retry_after_s
    )


class Bench:
    """A Try between a scripted transport and a notebook of what it tells."""

    def __init__(self, *steps: Step, reserve_fails: bool = False) -> None:
        self.story: list[str] = []
        self.transport = ScriptedTransport(*steps, story=self.story)
        self._reserve_fails = reserve_fails
        clock = Clock()
        self._try = Try(
            self.transport,
            reserve=self._reserve,
            watch=lambda *_: None,
            observers=[lambda _, attempt: self.story.append(f"told {attempt.number} {attempt.outcome}")],
            clock_s=clock.s,
            clock_us=clock.us,
        )

    async def _reserve(self, call: Call, number: int, deployment: Deployment) -> None:
        if self._reserve_fails:
            raise LedgerUnavailable(f"the disk is full for {call.id}")
        self.story.append(f"reserve {number} {deployment.upstream.provider}")

    async def attempt(self, call: Call) -> Reply:
        return await self._try(call, 1, call.deployments[0], 600.0)


def calling(name: str, *, stream: bool = False) -> Call:
    return call("smart", fields={"stream": True} if stream else None, deployments=(deployment(f"{name}/gpt"),))


def outcomes(call: Call) -> list[str]:
    return [attempt.outcome for attempt in call.trail]


async def failure(bench: Bench, call: Call) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await bench.attempt(call)
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

    reply = await bench.attempt(asked)

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

    await bench.attempt(asked)

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

    await bench.attempt(calling("a"))

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

    passed = await drained(await bench.attempt(asked))

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

    await bench.attempt(call("smart", endpoint=endpoint, fields=fields, deployments=offered))

    assert b"stream_options" not in bench.transport.requests[0].body


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


async def test_what_cannot_be_reserved_is_not_sent_and_leaves_no_attempt() -> None:
    bench = Bench(whole(), reserve_fails=True)
    asked = calling("a")

    with pytest.raises(LedgerUnavailable):
        await bench.attempt(asked)

    assert (bench.story, asked.trail) == ([], [])


async def test_observers_are_told_once_when_it_is_over() -> None:
    bench = Bench(whole())

    await bench.attempt(calling("a"))

    assert bench.story == ["reserve 1 a", "send a", "told 1 ok"]


async def test_a_stream_leaves_its_attempt_when_it_has_ended_and_not_before() -> None:
    bench = Bench(stream(EVENT, EVENT, DONE))
    asked = calling("a", stream=True)

    reply = await bench.attempt(asked)
    before = list(asked.trail)
    passed = await drained(reply)

    assert (before, passed, outcomes(asked)) == ([], [EVENT, EVENT], ["ok"])
    assert asked.trail[0].output_estimate >= 2


async def test_a_stream_whose_client_left_leaves_one_attempt() -> None:
    bench = Bench(stream(EVENT, Hang()))
    asked = calling("a", stream=True)
    reply = await bench.attempt(asked)
    assert isinstance(reply, Streaming)
    await reply.chunks.read()

    reply.chunks.fail(ProxyError("x"))
    reply.chunks.fail(ProxyError("x"))
    reply.chunks.close()

    assert outcomes(asked) == ["internal_error"]


# --- what is neither events nor JSON -----------------------------------------------------------------------------------


def speaking(text: str = "Hello") -> Call:
    head = admit(json.dumps({"model": "smart", "input": text, "voice": "v"}).encode(), "audio/speech")
    return call("smart", endpoint="audio/speech", head=head, deployments=(deployment("acme/gpt"),))


async def heard(reply: Reply) -> bytes:
    assert isinstance(reply, Streaming)
    parts = []
    while part := await reply.chunks.read():
        parts.append(part)
    return b"".join(parts) + reply.chunks.closing


async def test_sound_passes_as_it_comes_with_its_own_type() -> None:
    bench = Bench(Answer(b"\x00\xff", b"data: {", content_type="audio/mpeg"))
    asked = speaking()

    reply = await bench.attempt(asked)

    assert await heard(reply) == b"\x00\xffdata: {"
    assert (b"content-type", b"audio/mpeg") in reply.headers
    assert outcomes(asked) == ["ok"]
    assert b"stream_options" not in bench.transport.requests[0].body


async def test_sound_that_breaks_off_is_followed_by_nothing() -> None:
    bench = Bench(Answer(b"\x00\xff", Disconnected("gone"), content_type="audio/mpeg"))
    asked = speaking()

    sound = await heard(await bench.attempt(asked))

    assert sound == b"\x00\xff"
    assert outcomes(asked) == ["upstream_error"]


async def test_speech_in_events_ends_in_an_error_event_where_it_breaks_off() -> None:
    delta = b'data: {"type":"speech.audio.delta","audio":"QUJD"}\n\n'
    bench = Bench(Answer(delta, Disconnected("gone"), content_type="text/event-stream"))
    asked = speaking()

    said = await heard(await bench.attempt(asked))

    assert said.startswith(delta)
    assert b'"error"' in said
    assert outcomes(asked) == ["upstream_error"]


async def test_a_vendor_may_speak_in_json() -> None:
    body = b'{"audio_data":"QUJD","usage":{"prompt_tokens":3,"completion_tokens":2}}'
    bench = Bench(Answer(body))
    asked = speaking()

    reply = await bench.attempt(asked)

    assert isinstance(reply, Completed)
    assert reply.body == body
    assert outcomes(asked) == ["ok"]


async def test_an_answer_that_is_pictures_may_be_larger_than_others() -> None:
    assert WIRES["images/generations"].answer_max_bytes == 4 * WIRES["chat/completions"].answer_max_bytes


async def test_a_body_without_a_model_gets_the_one_that_was_chosen() -> None:
    body = b'{"input":[{"model":"x"}]}'
    asked = call(endpoint="moderations", head=admit(body, "moderations"), body=body, deployments=(deployment("acme/gpt"),))
    bench = Bench(Answer(b'{"model":"gpt","results":[]}'))

    await bench.attempt(asked)

    assert json.loads(bench.transport.requests[0].body) == {"model": "gpt", "input": [{"model": "x"}]}
