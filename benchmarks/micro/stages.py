"""What each step of a request costs alone: CPU time of one call, the best of several rounds.

``python -m benchmarks.micro.stages [--rounds 7] [--seconds 0.1]``

The best round is the one that was disturbed least.  Everything is called as the running proxy calls it, on one thread,
without a socket; a stage's own answer is the next one, which returns at once.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
from msgspec import structs

from ledger.prices.cost import cost_nusd
from ledger.records import Price, Tokens
from providers import usage
from providers.openai import request, response
from providers.openai.stream import StreamReader
from providers.openai.vendors import VENDORS
from providers.provider import HttpRequest, Timeouts, Upstream
from proxy.api import gate
from proxy.api.hosts import Hosts
from proxy.app import price_book
from proxy.attempts.attempt import Try
from proxy.attempts.balance import Loads
from proxy.caching.entry import Entry, Form, Sealer, is_whole
from proxy.caching.flight import Bounds, Flights
from proxy.caching.key import Keyer, fields_of
from proxy.caching.policy import Mode, Policies, Policy
from proxy.call import Attempt, Call, Completed, Deployment, Head, Origin, Principal, Reply, Streaming, Tier
from proxy.config import Config
from proxy.deployments.models import ModelTable, Provider
from proxy.errors import UpstreamRateLimited, to_openai
from proxy.owners.keys import KeyRing
from proxy.stage import compose
from proxy.stages.cache import Cache
from proxy.stages.load_balancer import Balancing, LoadBalancer
from proxy.stages.model_router import ModelRouter
from proxy.stores.memory_buckets import MemoryBuckets
from proxy.stores.memory_cache import MemoryCache
from proxy.wiring import limiting
from proxy.wiring.traffic import Clocks, traffic

SECRET = "tw-" + "0123456789abcdef" * 4
EVENT = (
    b'data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,'
    b'"model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":" hello"},"finish_reason":null}]}\n\n'
)
ANSWER = msgspec.json.encode(
    {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1741569952,
        "model": "gpt-4o-mini",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello! How can I assist you today? " * 3, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 19,
            "completion_tokens": 17,
            "total_tokens": 36,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
    }
)
UPSTREAM = Upstream(
    provider="openai",
    account="default",
    vendor=VENDORS["openai"],
    base_url="https://api.openai.com/v1",
    api_key="sk-0123456789abcdef0123456789abcdef",
)

RESTRICTED = Principal(
    key_id="bench",
    name="bench",
    models=("openai/*",),
    owner_models=(("openai/gpt-?o*", "groq/*"), ("*/*",)),
    endpoints=("chat/completions",),
)

Step = Callable[[], object]


def chat(size: int) -> bytes:
    """A chat request whose body has about ``size`` bytes, in messages of at most 2,000 characters."""
    text = "Tell me something about the sea and the ships that cross it. "
    messages = [{"role": "system", "content": "You are a helpful assistant."}]
    left = size - 130
    while left > 0:
        messages.append({"role": "user", "content": (text * 34)[: min(left, 2000)]})
        left -= 2030
    return msgspec.json.encode({"model": "openai/gpt-4o-mini", "messages": messages, "temperature": 0.7, "stream": True})


def best_us(call: Step, *, rounds: int, seconds: float) -> float:
    """CPU microseconds of one call, the best of the rounds; each takes about ``seconds``."""
    turns = 1
    while (spent_s := _spent_s(call, turns)) < seconds / 10:
        turns *= 2
    turns = max(round(turns * seconds / spent_s), 1)
    return min(_spent_s(call, turns) for _ in range(rounds)) / turns * 1e6


def _spent_s(call: Step, turns: int) -> float:
    gc.collect()
    repeat = range(turns)
    started_ns = time.process_time_ns()
    for _ in repeat:
        call()
    return (time.process_time_ns() - started_ns) / 1e9


def finished(awaitable: Awaitable[Any]) -> Any:
    """What a coroutine returns that waits for nothing, without an event loop."""
    assert isinstance(awaitable, Coroutine)
    try:
        awaitable.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited for something")


def encode(body: bytes, *, ask_usage: bool) -> HttpRequest:
    """The upstream's request, as ``fallback`` asks for it."""
    return request.encode(
        body,
        upstream=UPSTREAM,
        endpoint="chat/completions",
        asked_model="openai/gpt-4o-mini",
        model="gpt-4o-mini",
        ask_usage=ask_usage,
        stream_options=False,
        request_id="req_0123456789abcdef00000001",
    )


def reader() -> StreamReader:
    """A reader in the middle of a stream."""
    begun = StreamReader("chat/completions", strip_usage=True)
    begun.feed(EVENT)
    return begun


USAGE = msgspec.json.encode(msgspec.json.decode(ANSWER)["usage"])


def planning(principal: Principal | None = None) -> Callable[[], Reply]:
    """ModelRouter and LoadBalancer on a name that they have seen before, and a terminal that answers at once."""
    table = ModelTable([Provider(name="openai", accounts=((UPSTREAM, 1),), models=("gpt-4o-mini",), closed=True)])
    answer = Completed(status=200, headers=[], body=b"")

    balancer = LoadBalancer(Balancing(), loads=Loads(clock_s=time.monotonic), clock_s=time.monotonic, chance=random.random)

    async def terminal(call: Call, /) -> Reply:
        assert call.deployments
        return answer

    service = compose((ModelRouter(lambda: table), balancer), terminal)
    call = Call(
        id="req_0123456789abcdef00000001",
        endpoint="chat/completions",
        authorization=(f"Bearer {SECRET}",),
        body=b"",
        head=Head(model="openai/gpt-4o-mini"),
        received_us=0,
        started_s=0.0,
        principal=principal,
    )
    return lambda: finished(service(call))


class Instant:
    """An upstream that has answered already."""

    status = 200
    content_type = header_content_type = "application/json"
    counted = b""
    request_id = "up_1"
    retry_after_s: float | None = None

    async def send(self, request: HttpRequest, *, timeouts: Timeouts, deadline_s: float) -> Instant:
        """The answer."""
        assert request.body and timeouts.total_s < deadline_s + 1e9
        return self

    async def read(self, _most_bytes: int = 0) -> bytes:
        """The same bytes each time."""
        return ANSWER

    async def chunk(self) -> bytes:
        """It is no stream."""
        return b""

    async def push(self, sink: Callable[[bytes], bool]) -> None:
        """It is no stream."""

    async def rest(self) -> bytes:
        """It is no stream."""
        return b""

    def close(self) -> None:
        """Nothing is held."""


def clock_us() -> int:
    """As the running proxy has it."""
    return time.time_ns() // 1000


async def reserve(call: Call, number: int, deployment: Deployment) -> None:
    """Write nothing down."""
    assert number == 1 and deployment.model and call.id


def asking(offered: tuple[Deployment, ...], *, session: bool) -> Call:
    """A small request, with as many headers as an SDK sends."""
    headers = [(b"host", b"127.0.0.1:4000"), (b"user-agent", b"OpenAI/Python 3.3.0"), (b"accept", b"*/*")] * 4
    return Call(
        id="req_0123456789abcdef00000001",
        endpoint="chat/completions",
        authorization=(f"Bearer {SECRET}",),
        body=chat(300),
        head=Head(model="smart", cache_key="session" if session else ""),
        received_us=0,
        started_s=time.monotonic(),
        headers=headers,
        tiers=(Tier(name="smart", deployments=offered),),
        deployments=offered,
    )


def trying(deployments: int, *, session: bool = False, ill: int = 0) -> Callable[[], Reply]:
    """LoadBalancer, CircuitBreaker and Fallback over so many deployments, and an upstream that has answered already.

    ill: that many others have failed lately, so that the breaker has to look.
    """
    flow = traffic(
        Config(),
        Instant(),
        reserve=reserve,
        watch=lambda *_: None,
        spending=None,
        room=limiting.build(Config(), MemoryBuckets(clock_us), clock_s=time.monotonic, clock_us=clock_us).room,
        windows=lambda _: None,
        cost_of=lambda *_: None,
        clocks=Clocks(s=time.monotonic, us=clock_us, chance=random.random),
    )
    accounts = (structs.replace(UPSTREAM, account=str(number)) for number in range(deployments))
    call = asking(tuple(Deployment(upstream=it, model="gpt-4o-mini") for it in accounts), session=session)
    for number in range(ill):
        told = Attempt(
            number=1,
            deployment=Deployment(upstream=UPSTREAM, model=f"ill-{number}"),
            started_us=0,
            duration_us=0,
            ttfb_us=None,
            status=500,
            outcome="upstream_error",
            may_cost=False,
            fault="upstream",
        )
        flow.circuit_breaker.observe(call, told)
    service = compose((flow.load_balancer, flow.circuit_breaker), flow.fallback)

    def once() -> Reply:
        call.trail.clear()
        reply: Reply = finished(service(call))
        return reply

    return once


def alone() -> Callable[[], Reply]:
    """What one try costs without anybody who chooses, looks or learns: to be taken off the others."""
    attempt = Try(Instant(), reserve=reserve, watch=lambda *_: None, clock_s=time.monotonic, clock_us=clock_us)
    deployment = Deployment(upstream=UPSTREAM, model="gpt-4o-mini")
    call = asking((deployment,), session=False)

    def once() -> Reply:
        call.trail.clear()
        reply: Reply = finished(attempt(call, 1, deployment, 1e12))
        return reply

    return once


def caching(mode: Mode, *, stream: bool = False, kept: Form | None = None, declines: bool = False) -> Step:
    """The cache stage before a terminal that answers at once; ``kept``: the form in which it has the answer already."""
    store = MemoryCache(1024 * 1024, time.monotonic)
    cache = Cache(
        store,
        Flights(Bounds()),
        policies=Policies(Policy(mode=mode)),
        scope="key",
        secret=SECRET.encode(),
        single_flight=True,
        entry_max_bytes=1024 * 1024,
        clock_us=lambda: 0,
    )
    fields = {**msgspec.json.decode(chat(300)), "temperature": 0, "stream": stream}
    body = msgspec.json.encode(fields)
    call = Call(
        id="req_0123456789abcdef00000001",
        endpoint="chat/completions",
        authorization=(f"Bearer {SECRET}",),
        body=body,
        head=gate.admit(body),
        headers=((b"x-tollway-cache", b"off"),) if declines else (),
        received_us=0,
        started_s=0.0,
        principal=Principal(key_id="key_1", name="bench"),
        tiers=(Tier(name="openai/gpt-4o-mini", deployments=(Deployment(upstream=UPSTREAM, model="gpt-4o-mini"),)),),
    )
    answer = Completed(status=200, headers=[], body=ANSWER)

    async def terminal(call: Call, /) -> Reply:  # noqa: ARG001  # the shape of a Service
        assert kept is None
        return answer

    service = compose((cache,), terminal)
    if kept is not None:
        key = Keyer(SECRET.encode()).key(
            tenant="key:key_1",
            endpoint=call.endpoint,
            model=call.head.model,
            tiers=call.tiers,
            namespace="",
            fields=fields_of(body),
        )
        slot = key + (b"w" if kept == "whole" else b"s")
        events = EVENT * 50
        origin = Origin(provider="openai", model="gpt-4o-mini", answered_model="gpt-4o-mini", at_us=0)
        entry = Entry(
            made_us=0,
            form=kept,
            content_type=b"application/json",
            body=ANSWER if kept == "whole" else events,
            origin=origin,
            closing=b"" if kept == "whole" else b"data: [DONE]\n\n",
        )
        finished(store.put(slot, Sealer(SECRET.encode()).seal(slot, entry), ttl_s=1e6))

    def step() -> Reply:
        reply: Reply = finished(service(call))
        if kept is None:
            reply.headers.clear()
        assert isinstance(reply, Streaming) is (stream and kept is not None)
        return reply

    return step


def steps() -> list[tuple[str, Step, int]]:
    """Name, what to call, and how many units of its name one call does."""
    small, large = chat(300), chat(300_000)
    ring = KeyRing(b"p" * 32, lambda: 0)
    ring.admit(ring.digest(SECRET), Principal(key_id="bench", name="bench"))
    hosts = Hosts("127.0.0.1")
    head = gate.admit(small)
    one, fifty = reader(), reader()
    burst = EVENT * 50
    price = Price(source="litellm", input_nusd_per_mtok=150_000_000, output_nusd_per_mtok=600_000_000)
    tokens = Tokens(input_uncached=800, cache_read=200, output_text=150, reasoning=50)
    prices = price_book(Config())
    semantics = usage.semantics_of("openai", "chat/completions")
    error = UpstreamRateLimited("Too many requests.", retry_after_s=2)
    return [
        ("Hosts.accept, seen before", lambda: hosts.accept(b"127.0.0.1:4000"), 1),
        (f"gate.admit, {len(small)} B", lambda: gate.admit(small), 1),
        (f"gate.admit, {len(large):,} B", lambda: gate.admit(large), 1),
        ("KeyRing.find", lambda: ring.find(SECRET), 1),
        ("ModelRouter + LoadBalancer, one deployment", planning(), 1),
        ("the same, allowed by a key, its user and team", planning(RESTRICTED), 1),
        ("a try alone: sent, read, logged", alone(), 1),
        ("the same, balanced and guarded, 1 deployment", trying(1), 1),
        ("the same, 2 deployments", trying(2), 1),
        ("the same, 2 deployments, a session", trying(2, session=True), 1),
        ("the same, 8 deployments", trying(8), 1),
        ("the same, 2 deployments, others are ill", trying(2, ill=3), 1),
        ("request.encode, model spliced in, 300 B", lambda: encode(small, ask_usage=False), 1),
        ("request.encode, model and usage, 300 B", lambda: encode(small, ask_usage=True), 1),
        ("request.encode, model and usage, 300 kB", lambda: encode(large, ask_usage=True), 1),
        ("Cache, off", caching("off"), 1),
        ("Cache, on and declined", caching("on", declines=True), 1),
        ("Cache, a hit, whole", caching("on", kept="whole"), 1),
        ("Cache, a hit, a stream of 50 events", caching("on", stream=True, kept="stream"), 1),
        ("Cache, a hit, whole as a stream", caching("on", stream=True, kept="whole"), 1),
        ("Cache, a hit, a stream of 50 events as whole", caching("on", kept="stream"), 1),
        (f"is_whole, {len(ANSWER)} B", lambda: is_whole("chat/completions", head, ANSWER), 1),
        (f"response.decode, {len(ANSWER)} B", lambda: response.decode(ANSWER), 1),
        ("StreamReader.feed, an event in a chunk", lambda: one.feed(EVENT), 1),
        ("StreamReader.feed, 50 events in a chunk, each", lambda: fifty.feed(burst), 50),
        ("usage.read", lambda: usage.read(USAGE, semantics), 1),
        ("cost_nusd", lambda: cost_nusd(price, tokens), 1),
        ("Book.price, seen before, and cost_nusd", lambda: cost_nusd(prices.price("openai", "gpt-5", 0) or price, tokens), 1),
        ("errors.to_openai", lambda: to_openai(error), 1),
    ]


def main() -> None:
    """Print a line for each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="how long a round is (default 0.1)")
    arguments = parser.parse_args()
    for name, call, units in steps():
        spent_us = best_us(call, rounds=arguments.rounds, seconds=arguments.seconds) / units
        print(f"{name:46s} {spent_us:9.2f} us")


if __name__ == "__main__":
    main()
