"""Every client's protocol with every provider's: what must hold of a try, whoever is translated for whom."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from providers.canonical import (
    Delta,
    Ended,
    Event,
    Failed,
    Finished,
    PartStarted,
    PartStopped,
    Started,
    Text,
    UsageSeen,
)
from providers.errors import Disconnected, ErrorBody
from providers.openai.vendors import CUSTOMS
from providers.protocol import Told
from providers.provider import Endpoint, protocol_of
from providers.usage import Usage, semantics_of
from proxy.api import gemini, heads
from proxy.attempts.translation import codec_of
from proxy.call import Call, Deployment, Reply, Streaming
from proxy.errors import BudgetExceeded
from proxy.stages.fallback import Fallback, Retries
from tests.proxy.samples import PRINCIPAL, deployment
from tests.proxy.scripted import Answer, Clock, Piece, ScriptedTransport, stream

CHATS: tuple[Endpoint, ...] = ("chat/completions", "messages", "generateContent")
PAIRS = list(itertools.product(CHATS, CHATS))
pairs = pytest.mark.parametrize(("client", "upstream"), PAIRS, ids=[f"{a}<-{b}" for a, b in PAIRS])

COUNT = [{"role": "user", "content": "count"}]
CONTENTS = [{"role": "user", "parts": [{"text": "count"}]}]
BODIES: dict[Endpoint, dict[str, Any]] = {
    "chat/completions": {"model": "smart", "stream": True, "messages": COUNT, "max_tokens": 10},
    "messages": {"model": "smart", "stream": True, "messages": COUNT, "max_tokens": 10},
    "generateContent": {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 10}},
}


def offered(name: str, upstream: Endpoint) -> Deployment:
    return deployment(f"{name}/gpt", vendor=CUSTOMS[protocol_of(upstream)])


def asking(client: Endpoint, *deployments: Deployment) -> Call:
    body = msgspec.json.encode(BODIES[client])
    method = gemini.method_of("/v1beta/models/smart:streamGenerateContent", {"alt": "sse"})
    return Call(
        id="req_1",
        endpoint=client,
        authorization=("Bearer tw-x",),
        body=body,
        head=heads.admit(body, client, method if client == "generateContent" else None),
        received_us=1_000_000,
        started_s=10.0,
        principal=PRINCIPAL,
        deployments=deployments,
    )


class Voice:
    """Says things as an upstream of that protocol does."""

    def __init__(self, upstream: Endpoint) -> None:
        self._family = codec_of(upstream).family
        self._encoder = codec_of(upstream).encoder(Told(model="model-1", created_s=1))

    def __call__(self, *events: Event) -> bytes:
        return b"".join([self._encoder.feed(event) for event in events])

    def begin(self) -> bytes:
        return self(Started(family=self._family, id="id_1", model="model-1"), PartStarted(index=0, part=Text(text="")))

    def say(self, text: str) -> bytes:
        return self(Delta(index=0, text=text))

    def end(self) -> bytes:
        usage = Usage(input_uncached=5, output_text=7)
        seen = UsageSeen(usage=usage, raw=b"") if self._family == "openai-chat" else UsageSeen(usage=usage, raw=self._raw())
        return self(PartStopped(index=0), Finished(finish="stop"), seen, Ended())

    def _raw(self) -> bytes:
        names = (
            ("input_tokens", "output_tokens") if self._family == "anthropic" else ("promptTokenCount", "candidatesTokenCount")
        )
        return msgspec.json.encode(dict(zip(names, (5, 7), strict=True)))


def answers(upstream: Endpoint, *texts: str, broken: bool = False) -> Answer:
    voice = Voice(upstream)
    pieces: list[Piece] = [voice.begin(), *map(voice.say, texts)]
    return stream(*(it for it in pieces if it), Disconnected("the line broke") if broken else voice.end())


class Bench:
    """The last stage over a scripted transport."""

    def __init__(self, *steps: Answer) -> None:
        self.transport = ScriptedTransport(*steps)
        clock = Clock()
        self.fallback = Fallback(
            self.transport,
            reserve=self._reserve,
            watch=lambda *_: None,
            retries=Retries(continue_streams=True),
            clock_s=clock.s,
            clock_us=clock.us,
        )

    async def _reserve(self, *_: object) -> None:
        """There is always room."""


async def drained(reply: Reply) -> list[bytes]:
    assert isinstance(reply, Streaming)
    parts = []
    while part := await reply.chunks.read():
        parts.append(part)
    return [*parts, reply.chunks.closing]


def heard(client: Endpoint, parts: Sequence[bytes]) -> list[Event]:
    """What a client of that protocol reads."""
    decoder = codec_of(client).decoder(semantics_of("", client))
    return [*(event for part in parts for event in decoder.feed(part)), *decoder.finish()]


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def kinds(events: Sequence[Event]) -> Iterator[str]:
    return (type(event).__name__ for event in events)


@pairs
async def test_a_stream_comes_piece_by_piece_and_is_metered(client: Endpoint, upstream: Endpoint) -> None:
    bench = Bench(answers(upstream, "one ", "two ", "three"))
    asked = asking(client, offered("a", upstream))

    parts = await drained(await bench.fallback(asked))

    events = heard(client, parts)
    assert text_of(events) == "one two three"
    assert isinstance(events[-1], Ended)
    # Each piece on its own, and none later than it came.
    assert [text_of(heard(client, parts[:count])) for count in range(len(parts))].count("one two ") >= 1
    (attempt,) = asked.trail
    assert (attempt.outcome, attempt.answered_model) == ("ok", "model-1")
    assert attempt.usage is not None and (attempt.usage.input_tokens, attempt.usage.output_tokens) == (5, 7)
    assert attempt.usage_raw


@pairs
async def test_a_request_goes_where_its_upstream_takes_it(client: Endpoint, upstream: Endpoint) -> None:
    bench = Bench(answers(upstream, "x"))

    await drained(await bench.fallback(asking(client, offered("a", upstream))))

    sent = bench.transport.requests[0]
    paths = {"generateContent": "models/gpt:streamGenerateContent?alt=sse"}
    assert sent.url == f"http://a.invalid/v1/{paths.get(upstream, upstream)}"
    assert b"count" in sent.body
    body = json.loads(sent.body)
    assert ("model" in body) is (upstream != "generateContent")
    assert body.get("model", "gpt") == "gpt"


@pairs
async def test_a_stream_that_breaks_off_ends_in_the_clients_error_event(client: Endpoint, upstream: Endpoint) -> None:
    bench = Bench(answers(upstream, "one ", broken=True))
    asked = asking(client, offered("a", upstream))

    parts = await drained(await bench.fallback(asked))

    events = heard(client, parts)
    assert (text_of(events), type(events[-1])) == ("one ", Failed)
    assert [it.outcome for it in asked.trail] == ["upstream_error"]
    assert asked.trail[0].usage is None or upstream == "generateContent"


@pairs
async def test_another_deployment_goes_on_where_a_stream_broke_off(client: Endpoint, upstream: Endpoint) -> None:
    bench = Bench(answers(upstream, "one ", "two ", broken=True), answers(upstream, "three"))
    asked = asking(client, offered("a", upstream), offered("b", upstream))

    parts = await drained(await bench.fallback(asked))

    events = heard(client, parts)
    assert text_of(events) == "one two three"
    assert isinstance(events[-1], Ended)
    assert list(kinds(events)).count("Started") == 1
    assert {event.index for event in events if isinstance(event, Delta)} == {0}
    assert b"one two" in bench.transport.requests[1].body
    assert [(it.outcome, it.kind) for it in asked.trail] == [("upstream_error", ""), ("ok", "continuation")]


@pytest.mark.parametrize("client", CHATS)
async def test_whoever_goes_on_may_speak_another_protocol(client: Endpoint) -> None:
    bench = Bench(*(answers(it, f"{at} ", broken=at < 2) for at, it in enumerate(CHATS)))
    asked = asking(client, *(offered(name, it) for name, it in zip("abc", CHATS, strict=True)))

    parts = await drained(await bench.fallback(asked))

    events = heard(client, parts)
    assert text_of(events) == "0 1 2 "
    assert isinstance(events[-1], Ended)
    assert [it.outcome for it in asked.trail] == ["upstream_error", "upstream_error", "ok"]


@pairs
async def test_an_error_event_is_said_in_the_clients_words(client: Endpoint, upstream: Endpoint) -> None:
    voice = Voice(upstream)
    failed = voice(Failed(error=ErrorBody(message="too busy", type="overloaded_error", code="x")))
    bench = Bench(stream(voice.begin() + voice.say("one "), failed))
    asked = asking(client, offered("a", upstream))

    parts = await drained(await bench.fallback(asked))

    events = heard(client, parts)
    assert (text_of(events), type(events[-1])) == ("one ", Failed)
    assert isinstance(events[-1], Failed) and events[-1].error.message == "too busy"
    assert [it.outcome for it in asked.trail] == ["upstream_error"]


@pairs
async def test_an_error_before_the_first_piece_is_another_deployments_turn(client: Endpoint, upstream: Endpoint) -> None:
    failed = Voice(upstream)(Failed(error=ErrorBody(message="too busy", type="overloaded_error", code="x")))
    bench = Bench(stream(failed), answers(upstream, "hi"))
    asked = asking(client, offered("a", upstream), offered("b", upstream))

    parts = await drained(await bench.fallback(asked))

    assert text_of(heard(client, parts)) == "hi"
    assert [(it.outcome, it.may_cost) for it in asked.trail] == [("upstream_invalid_response", False), ("ok", True)]


@pairs
async def test_a_stream_that_is_cut_does_not_look_whole(client: Endpoint, upstream: Endpoint) -> None:
    bench = Bench(answers(upstream, "one ", "two "))
    reply = await bench.fallback(asking(client, offered("a", upstream)))
    assert isinstance(reply, Streaming)
    begun = await reply.chunks.read()

    reply.chunks.fail(BudgetExceeded("no room"))

    events = heard(client, [begun, reply.chunks.closing])
    assert isinstance(events[-1], Failed) and events[-1].error.message == "no room"
    assert "Ended" not in set(kinds(events))


@pairs
async def test_a_refusal_keeps_its_status_and_its_sentence(client: Endpoint, upstream: Endpoint) -> None:
    said = {"error": {"message": "no such thing", "type": "invalid_request_error", "code": 400, "status": "INVALID_ARGUMENT"}}
    bench = Bench(Answer(json.dumps(said).encode(), status=400))
    asked = asking(client, offered("a", upstream))

    with pytest.raises(Exception, match="no such thing") as caught:
        await bench.fallback(asked)

    assert getattr(caught.value, "sent_status", None) == 400
