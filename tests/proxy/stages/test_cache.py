"""Kept answers and shared calls, with the real meter outside and the real fallback inside; whoever leaves whenever."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.ports import Entry
from ledger.records import RequestRecord, Reservation, Settlement, Void
from providers.errors import Disconnected
from providers.provider import HttpRequest
from providers.usage import Usage
from proxy.caching.flight import Bounds, Flights
from proxy.caching.idempotency import Idempotency
from proxy.caching.policy import Policies, Policy
from proxy.caching.semantic import Semantic
from proxy.call import Call, Completed, Reply, Routed, Streaming, Tier
from proxy.errors import (
    DRAINING,
    IdempotencyAnswerLost,
    IdempotencyKeyReused,
    NotCached,
    ProxyError,
    RequestTooLarge,
    UpstreamError,
    of_cancellation,
)
from proxy.stage import compose
from proxy.stages.cache import BODY_MAX_BYTES, Cache
from proxy.stages.fallback import Fallback, Retries
from proxy.stages.meter import Meter
from proxy.stores.memory_cache import MemoryCache
from tests.proxy.samples import PRINCIPAL, attempt, call, deployment
from tests.proxy.scripted import Answer, Clock, MemoryJournal, Prices, stream

WAIT_S = 5.0
WORDS = 4
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
TIER = Tier(name="acme/gpt", deployments=(deployment(),))


def answer(text: str, **changes: Any) -> Answer:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", **changes}
    return Answer(json.dumps({"id": "c", "model": "gpt", "choices": [choice], "usage": USAGE}).encode())


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "model": "gpt", "choices": [choice]}).encode() + b"\n\n"


USAGE_EVENT = b"data: " + json.dumps({"id": "c", "model": "gpt", "choices": [], "usage": USAGE}).encode() + b"\n\n"
DONE = b"data: [DONE]\n\n"


def said(data: bytes) -> str:
    """The text of a whole answer, or of a stream that ended well.  Raises: AssertionError."""
    if not data.startswith(b"data: "):
        content: str = json.loads(data)["choices"][0]["message"]["content"]
        return content
    *events, last, _ = data.split(b"\n\n")
    assert last == b"data: [DONE]", data
    return "".join(it["delta"]["content"] for part in events for it in json.loads(part[6:])["choices"])


class Counter:
    """A terminal that counts, and answers with what ``answers`` makes of the number."""

    def __init__(self, house: House, answers: Callable[[int], Answer]) -> None:
        self.requests: list[HttpRequest] = []
        self._answers = answers
        self._house = house

    async def send(self, request: HttpRequest, **_: object) -> Answer:
        self.requests.append(request)
        return self._answers(len(self.requests))


class Journal(MemoryJournal):
    """As the real one: what was given to it is written, also when nobody waits for it any more."""

    async def write(self, entries: Sequence[Entry], /, *, power: bool = False) -> None:
        await asyncio.shield(asyncio.get_running_loop().create_task(super().write(entries, power=power)))


class House:
    """Meter, cache, and a fallback over ``sender``; whoever asks is as patient as the edge is."""

    def __init__(self, *, policy: Policy | None = None, store: MemoryCache | None = None, **changes: Any) -> None:
        clock = Clock()
        self.journal = Journal()
        self.meter = Meter(self.journal, Prices(), clock.us)
        self.store = MemoryCache(10_000_000, clock.s) if store is None else store
        self.flights = Flights(Bounds())
        options = {"scope": "key", "single_flight": True, "entry_max_bytes": 100_000, **changes}
        self.cache = Cache(
            self.store,
            self.flights,
            policies=Policies(policy or Policy(mode="on")),
            secret=b"s" * 32,
            clock_us=clock.us,
            **options,
        )
        self._clock = clock
        self._ids = itertools.count(1)

    def serve(self, sender: Any) -> None:
        fallback = Fallback(
            sender,
            reserve=self.meter.reserve,
            watch=self.meter.watch,
            retries=Retries(attempts_max=1),
            clock_s=self._clock.s,
            clock_us=self._clock.us,
        )
        self.service = compose((self.meter, self.cache), fallback)

    def answers(self, make: Callable[[int], Answer]) -> Counter:
        counter = Counter(self, make)
        self.serve(counter)
        return counter

    def ask(self, question: int = 0, **changes: Any) -> Call:
        fields = {"seed": question, **changes.pop("fields", {})}
        asked = call(fields=fields, tiers=(TIER,), deployments=TIER.deployments, **changes)
        return replace(asked, id=f"req_{next(self._ids)}")

    async def client(self, asked: Call) -> bytes:
        """All that a client is sent, as the edge would do it.  Raises: ProxyError, CancelledError."""
        reply: Reply = await self.service(asked)
        if isinstance(reply, Completed):
            return reply.body
        parts = []
        chunks = reply.chunks
        try:
            while events := await chunks.read():
                parts.append(events)
            await reply.finish()
        except asyncio.CancelledError as cancelled:
            chunks.fail(of_cancellation(cancelled))
            await reply.finish()
            raise
        finally:
            chunks.close()
        return b"".join((*parts, chunks.closing))


@asynccontextmanager
async def house(**changes: Any) -> AsyncIterator[House]:
    """A house whose flights have an owner; nothing of them is left at the end."""
    made = House(**changes)
    owner = asyncio.get_running_loop().create_task(made.cache.run())
    await turns()
    try:
        yield made
        assert (made.flights.under_way, made.flights.held_bytes) == (0, 0)
    finally:
        owner.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(owner, WAIT_S)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def state(reply: Reply) -> bytes:
    return dict(reply.headers)[b"x-tollway-cache"]


# --- hits ------------------------------------------------------------------------------------------------------------


async def test_the_same_question_is_answered_once_and_the_second_answer_costs_nothing() -> None:
    async with house() as it:
        sender = it.answers(lambda number: answer(f"answer {number}"))

        first, second = [await it.service(it.ask()) for _ in range(2)]

        assert isinstance(second, Completed)
        assert (state(first), state(second), said(second.body)) == (b"miss", b"hit", "answer 1")
        assert dict(second.headers)[b"x-tollway-attempts"] == b"0"
        assert dict(second.headers)[b"x-tollway-cost-usd"] == b"0.000000000"
        assert b"age" in dict(second.headers)
        assert len(sender.requests) == 1


async def test_a_hit_has_a_record_with_what_it_saved() -> None:
    async with house() as it:
        it.answers(lambda number: answer(f"answer {number}"))

        for _ in range(2):
            await it.service(it.ask())

        paid, hit = it.journal.records
        assert (paid.cache, paid.cost_nusd, paid.saved_nusd) == ("miss", 7_000, 0)
        assert (hit.cache, hit.cost_nusd, hit.saved_nusd) == ("hit", 0, 7_000)
        assert (hit.outcome, hit.status, hit.attempts, hit.answered_model) == ("ok", 200, (), "gpt")
        assert (hit.tokens.input_tokens, hit.tokens.output_tokens) == (0, 0)


async def test_a_kept_stream_that_its_client_leaves_is_recorded_as_left() -> None:
    async with house() as it:
        it.answers(lambda _: stream(event("hi", "stop"), USAGE_EVENT, DONE))
        await it.client(it.ask(fields={"stream": True}))
        reply = await it.service(it.ask(fields={"stream": True}))
        assert isinstance(reply, Streaming)

        reply.chunks.fail(of_cancellation(asyncio.CancelledError()))
        await reply.finish()

        assert [(record.cache, record.outcome, record.status) for record in it.journal.records] == [
            ("miss", "ok", 200),
            ("hit", "client_closed", 499),
        ]


async def test_a_damaged_entry_is_a_miss_and_counted() -> None:
    async with house() as it:
        sender = it.answers(lambda number: answer(f"answer {number}"))
        await it.client(it.ask())
        (slot,) = it.store._entries
        value, _ = it.store._entries[slot]
        await it.store.put(slot, value[:-1] + bytes([value[-1] ^ 1]), ttl_s=60)

        heard = said(await it.client(it.ask()))

        assert (heard, len(sender.requests), it.cache.counts.damaged) == ("answer 2", 2, 1)


async def test_what_cannot_be_said_in_the_other_form_is_asked_for_in_it_and_both_are_kept() -> None:
    sound = {"message": {"role": "assistant", "content": "hi", "audio": {"id": "a"}}}
    async with house() as it:
        sender = it.answers(
            lambda number: answer("", **sound) if number == 1 else stream(event("hi", "stop"), USAGE_EVENT, DONE)
        )

        for streamed in (False, True, False, True):
            await it.client(it.ask(fields={"stream": streamed}))

        assert (len(sender.requests), it.cache.counts.unfaithful, it.cache.counts.hits) == (2, 1, 2)


async def test_an_answer_that_is_too_large_is_not_kept() -> None:
    async with house(entry_max_bytes=1000) as it:
        sender = it.answers(lambda _: answer("x" * 1000))

        for _ in range(2):
            await it.client(it.ask())

        assert (len(sender.requests), it.cache.counts.refused) == (2, 2)


async def test_a_question_that_is_too_large_is_none_of_its_business() -> None:
    async with house() as it:
        it.answers(lambda _: answer("hi"))

        reply = await it.service(it.ask(fields={"input": "x" * BODY_MAX_BYTES}))

        assert state(reply) == b"bypass"


async def test_where_it_is_off_nothing_is_said_of_it() -> None:
    async with house(policy=Policy()) as it:
        it.answers(lambda _: answer("hi"))

        replies = [await it.service(it.ask(headers=[(b"x-tollway-cache", b"on")])) for _ in range(2)]

        assert [b"x-tollway-cache" in dict(reply.headers) for reply in replies] == [False, False]
        assert [record.cache for record in it.journal.records] == ["", ""]


async def test_only_a_kept_answer_where_nothing_else_is_taken() -> None:
    async with house() as it:
        it.answers(lambda _: answer("hi"))

        with pytest.raises(NotCached):
            await it.service(it.ask(headers=[(b"cache-control", b"only-if-cached")]))

        assert [(record.status, record.outcome) for record in it.journal.records] == [(504, "not_cached")]


async def test_a_caller_can_have_an_answer_kept_for_less_time_and_not_for_more() -> None:
    kept: list[float] = []

    class Store(MemoryCache):
        async def put(self, _key: bytes, _value: bytes, /, *, ttl_s: float) -> None:
            kept.append(ttl_s)

    async with house(store=Store(1, lambda: 0.0), policy=Policy(mode="on", ttl_s=100)) as it:
        it.answers(lambda _: answer("hi"))

        for ttl_s in (10, 1000):
            await it.client(it.ask(fields={"cache": {"ttl": ttl_s}}))

        assert kept == [10, 100]


# --- sharing ---------------------------------------------------------------------------------------------------------


async def test_without_keeping_anything_those_who_ask_at_once_still_share() -> None:
    async with house(policy=Policy(mode="on", ttl_s=0)) as it:
        sender = it.answers(lambda number: answer(f"answer {number}"))

        at_once = await asyncio.gather(*(it.client(it.ask()) for _ in range(5)))
        later = await it.client(it.ask())

        assert ([said(heard) for heard in at_once], said(later)) == (["answer 1"] * 5, "answer 2")
        assert len(sender.requests) == 2


async def test_where_sharing_is_off_everybody_asks() -> None:
    async with house(single_flight=False) as it:
        sender = it.answers(lambda number: answer(f"answer {number}"))

        await asyncio.gather(*(it.client(it.ask()) for _ in range(5)))

        assert len(sender.requests) == 5


NEVER_SHARED: list[dict[str, Any]] = [
    {"headers": [(b"cache-control", b"no-store")]},
    {"headers": [(b"cache-control", b"no-cache")]},
    {"headers": [(b"x-tollway-cache", b"off")]},
    {"fields": {"temperature": 0.9}},
    {"fields": {"store": True}},
]


@pytest.mark.parametrize("how", NEVER_SHARED, ids=str)
async def test_what_is_not_to_be_kept_or_to_be_new_is_not_shared(how: dict[str, Any]) -> None:
    async with house() as it:
        sender = it.answers(lambda number: answer(f"answer {number}"))

        await asyncio.gather(*(it.client(it.ask(**how)) for _ in range(3)))

        assert len(sender.requests) == 3


async def test_two_keys_never_share() -> None:
    async with house() as it:
        sender = it.answers(lambda number: answer(f"answer {number}"))
        keys = [replace(PRINCIPAL, key_id=f"key_{number}", team="t") for number in range(3)]

        heard = await asyncio.gather(*(it.client(it.ask(principal=key)) for key in keys))

        assert ({said(text) for text in heard}, len(sender.requests)) == ({"answer 1", "answer 2", "answer 3"}, 3)


async def test_the_keys_of_a_team_share_where_the_operator_says_so() -> None:
    async with house(scope="team") as it:
        sender = it.answers(lambda number: answer(f"answer {number}"))
        keys = [replace(PRINCIPAL, key_id=f"key_{number}", team="t") for number in range(3)]

        await asyncio.gather(*(it.client(it.ask(principal=key)) for key in keys))

        assert len(sender.requests) == 1
        assert sorted((record.cache, record.cost_nusd) for record in it.journal.records) == [
            ("joined", 0),
            ("joined", 0),
            ("miss", 7_000),
        ]


async def test_who_leads_is_refused_for_itself_and_not_for_another_key() -> None:
    async def terminal(call: Call, /) -> Reply:
        await asyncio.sleep(0)
        if call.principal is not None and call.principal.key_id == "poor":
            raise RequestTooLarge("no money")
        return Completed(status=200, headers=[], body=b"{}")

    async with house(scope="global") as it:
        service = compose((it.cache,), terminal)
        poor, rich = replace(PRINCIPAL, key_id="poor"), replace(PRINCIPAL, key_id="rich")

        ended = await asyncio.gather(*(service(it.ask(principal=key)) for key in (poor, poor, rich)), return_exceptions=True)

        assert [type(it) for it in ended] == [RequestTooLarge, RequestTooLarge, Completed]
        assert ended[0] is not ended[1]


async def test_a_bug_in_the_shared_call_is_everybodys_internal_error() -> None:
    async def terminal(call: Call, /) -> Reply:
        await asyncio.sleep(0)
        raise RuntimeError("a bug")

    async with house() as it:
        service = compose((it.cache,), terminal)

        ended = await asyncio.gather(*(service(it.ask()) for _ in range(3)), return_exceptions=True)

        assert [type(it) for it in ended] == [RuntimeError, ProxyError, ProxyError]


async def test_a_client_that_leaves_while_it_leads_has_the_try_on_its_record() -> None:
    async with house() as it:
        gate = asyncio.Event()

        class Sender:
            async def send(self, _request: HttpRequest, **_: object) -> Answer:
                await gate.wait()
                return answer("hi")

        it.serve(Sender())
        loop = asyncio.get_running_loop()
        leader, follower = (loop.create_task(it.client(it.ask())) for _ in range(2))
        await turns()

        leader.cancel()
        await turns()
        waiting = leader.done()
        gate.set()
        heard = await asyncio.wait_for(follower, WAIT_S)
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(leader, WAIT_S)

        records = {record.cache: record for record in it.journal.records}
        assert (waiting, said(heard), leader.cancelled()) == (False, "hi", True)
        assert (records["miss"].outcome, records["miss"].cost_nusd) == ("client_closed", 7_000)
        assert (records["joined"].outcome, records["joined"].cost_nusd, records["joined"].saved_nusd) == ("ok", 0, 7_000)


# --- requests with a name of their own ---------------------------------------------------------------------------------


def once(**changes: Any) -> dict[str, Any]:
    """Options of a house that answers named requests once, and keeps nothing else."""
    store = MemoryCache(10_000_000, lambda: 0.0)
    named = Idempotency(store, b"n" * 32, ttl_s=60)
    return {"policy": Policy(mode="off"), "idempotency": named, **changes}


def named(it: House, name: str = "n1", question: int = 0, **changes: Any) -> Call:
    return it.ask(question, headers=((b"idempotency-key", name.encode()),), **changes)


def finish(upstream: Upstream) -> None:
    for slow in upstream.under_way:
        slow.finish()


def replays(reply: Reply) -> bool:
    return (b"idempotent-replayed", b"true") in reply.headers


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_named_request_that_is_sent_again_gets_the_same_answer_and_costs_nothing(streamed: bool) -> None:
    async with house(**once()) as it:
        sender = it.answers(
            lambda number: (
                stream(event(f"answer {number}", "stop"), USAGE_EVENT, DONE) if streamed else answer(f"answer {number}")
            )
        )

        heard = [await it.client(named(it, fields={"stream": streamed})) for _ in range(2)]
        reply = await it.service(named(it, fields={"stream": streamed}))

        assert heard[0] == heard[1]
        assert (said(heard[0]), len(sender.requests), replays(reply)) == ("answer 1", 1, True)
        assert [record.cost_nusd for record in it.journal.records][:2] == [7_000, 0]
        assert [record.cache for record in it.journal.records][:2] == ["", "hit"]
        if isinstance(reply, Streaming):
            await reply.finish()


async def test_the_first_to_send_a_named_request_is_told_nothing_of_it() -> None:
    async with house(**once()) as it:
        it.answers(lambda _: answer("hi"))

        reply = await it.service(named(it))

        assert not {b"x-tollway-cache", b"idempotent-replayed"} & {name for name, _ in reply.headers}


async def test_a_name_that_was_given_to_another_request_is_refused_while_it_is_answered_and_afterwards() -> None:
    async with house(**once()) as it:
        upstream = Upstream()
        it.serve(upstream)
        first = asyncio.ensure_future(it.client(named(it)))
        await turns()

        with pytest.raises(IdempotencyKeyReused):
            await it.client(named(it, question=1))
        finish(upstream)
        await first
        with pytest.raises(IdempotencyKeyReused):
            await it.client(named(it, question=1))

        assert upstream.sent == 1


async def test_names_of_two_keys_have_nothing_to_do_with_each_other() -> None:
    async with house(**once()) as it:
        sender = it.answers(lambda number: answer(f"answer {number}"))

        mine = said(await it.client(named(it)))
        theirs = said(await it.client(named(it, question=1, principal=replace(PRINCIPAL, key_id="key_2"))))

        assert (mine, theirs, len(sender.requests)) == ("answer 1", "answer 2", 2)


async def test_named_requests_that_are_sent_at_once_are_one() -> None:
    async with house(**once()) as it:
        sender = it.answers(lambda number: answer(f"answer {number}"))

        heard = await asyncio.gather(*(it.client(named(it)) for _ in range(50)))

        assert ({said(each) for each in heard}, len(sender.requests)) == ({"answer 1"}, 1)
        assert sum(record.cost_nusd or 0 for record in it.journal.records) == 7_000


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_named_request_whose_client_has_left_is_answered_and_the_next_one_gets_the_answer(streamed: bool) -> None:
    async with house(**once()) as it:
        upstream = Upstream()
        it.serve(upstream)
        gone = asyncio.ensure_future(it.client(named(it, fields={"stream": streamed})))
        await turns()
        gone.cancel()
        await turns()

        again = asyncio.ensure_future(it.client(named(it, fields={"stream": streamed})))
        await turns()
        finish(upstream)
        heard = await again
        with pytest.raises(asyncio.CancelledError):
            await gone
        later = await it.client(named(it, fields={"stream": streamed}))

        assert (heard, upstream.sent) == (later, 1)
        assert sorted(record.cost_nusd or 0 for record in it.journal.records) == [0, 0, 7_000]
        assert {record.outcome for record in it.journal.records} == {"client_closed", "ok"}


async def test_a_stop_ends_a_named_request_that_nobody_waits_for_and_it_may_be_sent_again() -> None:
    async with house(**once()) as it:
        upstream = Upstream()
        it.serve(upstream)
        gone = asyncio.ensure_future(it.client(named(it)))
        await turns()

        gone.cancel(DRAINING)
        with pytest.raises(asyncio.CancelledError):
            await gone
        again = asyncio.ensure_future(it.client(named(it)))
        await turns()
        finish(upstream)

        assert said(await again)
        assert upstream.sent == 2


async def test_a_named_request_that_failed_may_be_tried_again_and_those_who_waited_are_told_so() -> None:
    async with house(**once()) as it:
        sender = it.answers(lambda number: Answer(status=500) if number == 1 else answer("hi"))

        failed = await asyncio.gather(*(it.client(named(it)) for _ in range(3)), return_exceptions=True)
        heard = said(await it.client(named(it)))

        assert [type(each) for each in failed] == [UpstreamError] * 3
        assert (heard, len(sender.requests)) == ("hi", 2)


async def test_a_named_answer_that_is_too_large_to_be_given_again_is_not_asked_for_again_either() -> None:
    async with house(**once(entry_max_bytes=1000)) as it:
        sender = it.answers(lambda _: answer("x" * 1000))
        await it.client(named(it))

        with pytest.raises(IdempotencyAnswerLost):
            await it.client(named(it))

        assert len(sender.requests) == 1


async def test_a_named_answer_that_the_cache_would_not_keep_is_kept_for_its_name() -> None:
    async with house(**once()) as it:
        sender = it.answers(lambda number: answer(f"answer {number}", finish_reason="content_filter"))

        heard = [said(await it.client(named(it))) for _ in range(2)]

        assert (heard, len(sender.requests)) == (["answer 1"] * 2, 1)


async def test_a_named_request_goes_through_the_cache_like_any_other() -> None:
    async with house(**once(policy=Policy(mode="on"))) as it:
        sender = it.answers(lambda number: answer(f"answer {number}"))

        replies = [await it.service(asked) for asked in (it.ask(), named(it), named(it), named(it, "n2"))]

        assert [state(reply) for reply in replies] == [b"miss", b"hit", b"hit", b"hit"]
        assert [replays(reply) for reply in replies] == [False, False, True, False]
        assert len(sender.requests) == 1


# --- questions that mean the same ------------------------------------------------------------------------------------

VECTORS = {"how are you?": [1.0, 0.0], "how are you doing?": [0.99, 0.1], "who are you?": [0.0, 1.0]}


class Meaningful:
    """A terminal that knows a few vectors, and answers every question with its number."""

    def __init__(self, meter: Meter, *, knows: bool = True) -> None:
        self.texts: list[str] = []
        self.answered = 0
        self._meter = meter
        self._knows = knows

    async def __call__(self, call: Call, /) -> Reply:
        asked = json.loads(call.body)
        await asyncio.sleep(0)
        if call.endpoint == "embeddings":
            self.texts.append(asked["input"])
            if not self._knows:
                raise UpstreamError("no vectors today")
            body = json.dumps({"data": [{"embedding": VECTORS[asked["input"]]}], "usage": USAGE}).encode()
        else:
            self.answered += 1
            body = b"".join(answer(f"answer {self.answered}")._pieces)  # type: ignore[arg-type]  # bytes alone
        call.trail.append(attempt(usage=Usage(input_uncached=3, output_text=2)))
        return Completed(status=200, headers=[(b"content-type", b"application/json")], body=body)


def meaning(it: House, *, knows: bool = True) -> Meaningful:
    """Let the house compare by meaning."""
    terminal = Meaningful(it.meter, knows=knows)
    it.cache._semantic = Semantic(model="acme/embed", threshold=0.95, entries_max=10, before=(it.meter,))
    it.service = compose((it.meter, it.cache), terminal)
    return terminal


def question(it: House, text: str, **changes: Any) -> Call:
    fields = {"messages": [{"role": "user", "content": text}], **changes.pop("fields", {})}
    return it.ask(fields=fields, **changes)


async def test_a_question_that_means_the_same_has_the_same_answer_and_costs_its_vector() -> None:
    async with house() as it:
        terminal = meaning(it)

        replies = [await it.service(question(it, text)) for text in VECTORS]

        texts = [said(reply.body) for reply in replies if isinstance(reply, Completed)]
        assert (texts, [state(reply) for reply in replies]) == (
            ["answer 1", "answer 1", "answer 2"],
            [b"miss", b"hit", b"miss"],
        )
        assert dict(replies[1].headers)[b"x-tollway-similarity"] == b"0.9949"
        assert (terminal.answered, terminal.texts, it.cache.counts.similar) == (2, list(VECTORS), 1)
        records = {record.request_id: record for record in it.journal.records}
        assert sorted(records) == ["req_1", "req_1e", "req_2", "req_2e", "req_3", "req_3e"]
        assert (records["req_2"].cost_nusd, records["req_2"].cache, records["req_2"].saved_nusd) == (0, "hit", 7_000)
        assert (records["req_2e"].cost_nusd, records["req_2e"].endpoint, records["req_2e"].key_id) == (
            7_000,
            "embeddings",
            "key_1",
        )


OTHERS: list[dict[str, Any]] = [
    {"principal": replace(PRINCIPAL, key_id="key_2")},
    {"fields": {"seed": 5}},
    {"fields": {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "how are you doing?"}]}},
    {"fields": {"cache": {"namespace": "other"}}},
]


@pytest.mark.parametrize("other", OTHERS, ids=str)
async def test_what_means_the_same_and_is_of_somebody_else_or_otherwise_different_is_no_hit(other: dict[str, Any]) -> None:
    async with house() as it:
        terminal = meaning(it)
        await it.service(question(it, "how are you?"))

        reply = await it.service(question(it, "how are you doing?", **other))

        assert (state(reply), terminal.answered) == (b"miss", 2)


async def test_the_same_question_needs_no_vector_and_a_herd_needs_one() -> None:
    async with house() as it:
        terminal = meaning(it)

        replies = await asyncio.gather(*(it.service(question(it, "how are you?")) for _ in range(5)))
        again = await it.service(question(it, "how are you?"))

        assert sorted(state(reply) for reply in replies) == [b"joined"] * 4 + [b"miss"]
        assert (state(again), len(terminal.texts), terminal.answered) == (b"hit", 1, 1)


async def test_a_herd_that_means_the_same_shares_the_kept_answer() -> None:
    async with house() as it:
        terminal = meaning(it)
        await it.service(question(it, "how are you?"))

        replies = await asyncio.gather(*(it.service(question(it, "how are you doing?")) for _ in range(3)))

        assert sorted(state(reply) for reply in replies) == [b"hit", b"joined", b"joined"]
        assert terminal.answered == 1
        assert [record.saved_nusd for record in it.journal.records if record.cache in ("hit", "joined")] == [7_000] * 3


async def test_without_vectors_it_is_answered_all_the_same() -> None:
    async with house() as it:
        terminal = meaning(it, knows=False)

        replies = [await it.service(question(it, "how are you?")) for _ in range(2)]

        assert ([state(reply) for reply in replies], terminal.answered) == ([b"miss", b"hit"], 1)


async def test_an_answer_that_is_kept_no_longer_is_asked_for_anew() -> None:
    async with house() as it:
        terminal = meaning(it)
        await it.service(question(it, "how are you?"))
        for slot in list(it.store._entries):
            await it.store.delete(slot)

        reply = await it.service(question(it, "how are you doing?"))

        assert (state(reply), terminal.answered) == (b"miss", 2)


# --- whoever leaves whenever -----------------------------------------------------------------------------------------


class Upstream:
    """Answers come piece by piece, when the test says so.  What is asked of it twice at once is a fault."""

    def __init__(self) -> None:
        self.alive: dict[bytes, list[Slow]] = {}
        self.most = 0
        self.sent = 0

    async def send(self, request: HttpRequest, **_: object) -> Slow:
        self.sent += 1
        under_way = self.alive.setdefault(request.body, [])
        asked = json.loads(request.body)
        made = Slow(f"{asked['seed']}/{self.sent}", under_way, streams=asked.get("stream") is True)
        under_way.append(made)
        self.most = max(self.most, len(under_way))
        return made

    @property
    def under_way(self) -> list[Slow]:
        return [it for row in self.alive.values() for it in row]


class Slow(Answer):
    """An answer whose every word names the question and the number of the upstream call."""

    def __init__(self, word: str, alive: list[Slow], *, streams: bool) -> None:
        super().__init__(content_type="text/event-stream" if streams else "application/json")
        self._alive = alive
        self._ready: asyncio.Queue[bytes | Disconnected] = asyncio.Queue()
        if streams:
            pieces = [*[event(f"{word} ")] * (WORDS - 1), event(f"{word} ", "stop"), USAGE_EVENT + DONE, b""]
        else:
            body = b"".join(answer(f"{word} " * WORDS)._pieces)  # type: ignore[arg-type]  # bytes alone
            pieces = [body[:50], body[50:], b""]
        self._left: list[bytes | Disconnected] = list(pieces)

    def step(self) -> None:
        if self._left:
            self._ready.put_nowait(self._left.pop(0))

    def break_off(self) -> None:
        self._left = [Disconnected("broken off")]
        self.step()

    def finish(self) -> None:
        while self._left:
            self.step()

    async def chunk(self) -> bytes:
        piece = await self._ready.get()
        if isinstance(piece, Disconnected):
            raise piece
        return piece

    async def rest(self) -> bytes:
        return b""

    def close(self) -> None:
        if self in self._alive:
            self._alive.remove(self)


STEP = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 1), st.booleans()),
    st.tuples(st.just("leave"), st.integers(0, 20), st.just(False)),
    st.tuples(st.just("step"), st.integers(0, 5), st.just(False)),
    st.tuples(st.just("step"), st.integers(0, 5), st.just(True)),
    st.tuples(st.just("break"), st.integers(0, 5), st.just(False)),
    st.tuples(st.just("turn"), st.integers(1, 5), st.just(False)),
)


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(STEP, max_size=50))
async def test_whoever_leaves_and_whatever_breaks_everybody_gets_all_of_one_answer_or_an_error(
    steps: list[tuple[str, int, bool]],
) -> None:
    async with house(policy=Policy(mode="on", ttl_s=0)) as it:
        upstream = Upstream()
        it.serve(upstream)
        loop = asyncio.get_running_loop()
        clients: list[tuple[int, asyncio.Task[bytes]]] = []
        left: set[int] = set()

        for what, number, flag in steps:
            under_way = upstream.under_way
            if what == "ask":
                asked = it.ask(number, fields={"stream": True} if flag else {})
                clients.append((number, loop.create_task(it.client(asked))))
            elif what == "leave" and clients and number % len(clients) not in left:
                left.add(number % len(clients))
                clients[number % len(clients)][1].cancel()
            elif what == "step" and under_way:
                under_way[number % len(under_way)].step()
            elif what == "break" and under_way:
                under_way[number % len(under_way)].break_off()
            await turns(number if what == "turn" else int(flag) * 3)
        while any(not client.done() for _, client in clients):
            for slow in upstream.under_way:
                slow.finish()
            await turns(3)

        for question, client in clients:
            if client.cancelled():
                continue
            error = client.exception()
            if error is not None:
                assert isinstance(error, UpstreamError)
                continue
            heard = client.result()
            if b'"error"' in heard:
                assert not heard.endswith(DONE)
                continue
            words = said(heard).split()
            assert len(words) == WORDS
            assert len(set(words)) == 1
            assert words[0].startswith(f"{question}/")
        assert upstream.most <= 1
        assert upstream.under_way == []
        _check_books(it.journal, len(clients), upstream.sent)
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert not [name for name in names if name.startswith("flight")]


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(STEP, max_size=50))
async def test_whoever_leaves_and_whatever_breaks_a_named_request_is_answered_once(steps: list[tuple[str, int, bool]]) -> None:
    async with house(**once()) as it:
        upstream = Upstream()
        it.serve(upstream)
        loop = asyncio.get_running_loop()
        clients: list[tuple[int, asyncio.Task[bytes]]] = []
        left: set[int] = set()
        broken = 0

        for what, number, flag in steps:
            under_way = upstream.under_way
            if what == "ask":
                asked = named(it, f"n{number}", number, fields={"stream": True} if number else {})
                clients.append((number, loop.create_task(it.client(asked))))
            elif what == "leave" and clients and number % len(clients) not in left:
                left.add(number % len(clients))
                clients[number % len(clients)][1].cancel()
            elif what == "step" and under_way:
                under_way[number % len(under_way)].step()
            elif what == "break" and under_way:
                broken += 1
                under_way[number % len(under_way)].break_off()
            await turns(number if what == "turn" else int(flag) * 3)
        while any(not client.done() for _, client in clients):
            finish(upstream)
            await turns(3)

        heard: dict[int, set[bytes]] = {}
        for name, client in clients:
            if not client.cancelled() and client.exception() is None and b'"error"' not in client.result():
                heard.setdefault(name, set()).add(client.result())
        assert all(len(each) == 1 for each in heard.values())
        assert upstream.sent <= len({name for name, _ in clients}) + broken
        assert upstream.most <= 1
        _check_books(it.journal, len(clients), upstream.sent)


def _check_books(journal: MemoryJournal, asked: int, sent: int) -> None:
    """One record for each request that came as far; each try reserved once and ended once, on the record of who paid."""
    records = [entry for entry in journal.entries if isinstance(entry, RequestRecord)]
    reserved = [(it.request_id, it.attempt) for it in journal.entries if isinstance(it, Reservation)]
    settled = [(it.request_id, it.attempt) for it in journal.entries if isinstance(it, Settlement)]
    void = [(it.request_id, it.attempt) for it in journal.entries if isinstance(it, Void)]
    paid = [(record.request_id, tried.attempt) for record in records for tried in record.attempts]
    # Who is cancelled before its task has run at all has asked nothing.
    assert len(records) <= asked
    assert sorted(reserved) == sorted(paid) == sorted([*settled, *void])
    assert len(settled) == sent
    assert {record.request_id for record in records if record.cache == "joined"}.isdisjoint(key for key, _ in reserved)


# --- a model that was chosen -------------------------------------------------------------------------------------------


async def test_a_chosen_models_answer_is_kept_under_the_choice_and_what_was_asked_of_it() -> None:
    other = Tier(name="acme/mini", deployments=(deployment("acme/mini"),))

    async with house() as it:
        it.answers(lambda number: answer(f"answer {number}"))

        def chosen(*tiers: Tier, header: bytes = b"") -> Call:
            headers = ((b"x-tollway-route", header),) if header else ()
            return replace(it.ask(headers=headers), tiers=tiers, routed=Routed(task="general", decision=object()))

        found = [
            state(await it.service(asked))
            for asked in (chosen(TIER, other), chosen(TIER), chosen(other, TIER), chosen(TIER, header=b"deny=acme/mini"))
        ]

        assert found == [b"miss", b"hit", b"miss", b"miss"]
