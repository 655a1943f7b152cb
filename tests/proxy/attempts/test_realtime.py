"""A session between two sockets of which nothing is real: what goes up when, what comes down when, and what is on the trail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.records import Settlement, Tokens
from providers.openai.realtime import TRANSCRIBED
from providers.provider import Listener
from providers.usage import Usage, semantics_of
from proxy.attempts.realtime import UNUSED, Limits, Session
from proxy.call import Attempt, Call, Deployment, Head, Weight
from proxy.errors import BudgetBusy, BudgetExceeded, InvalidApiKey, LedgerUnavailable, PriceUnknown, ProxyError
from tests.proxy.samples import call, deployment
from tests.proxy.scripted import Clock

HEAD = Head(model="acme/gpt", stream=True, weight=Weight(audio=True))
USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


class Wire:
    """A socket whose other side is the test."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any] | bytes] = []
        self.paused = False
        self.ended: tuple[int, str] | None = None
        self.listener: Listener | None = None

    def listen(self, listener: Listener) -> None:
        self.listener = listener

    def say(self, data: bytes, *, text: bool) -> None:
        self.said.append(json.loads(data) if text else data)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.ended = self.ended or (code, reason)

    def hear(self, **event: Any) -> None:
        assert self.listener is not None
        self.listener.message(self, json.dumps(event).encode(), True)

    def leave(self, code: int = 1000, reason: str = "") -> None:
        assert self.listener is not None
        self.listener.closed(self, code, reason)

    @property
    def types(self) -> list[str]:
        return [it["type"] for it in self.said if isinstance(it, dict)]


class Books:
    """Keeps what was reserved and settled.  room: how many reservations there may be at once; gate: closed, nothing returns."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.open = {1}
        self.reserved = [1]
        self.sizes: dict[int, int] = {}
        self.settled: list[Attempt] = []
        self.broken: ProxyError | None = None
        self.unpriced = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def reserve(self, call: Call, number: int, _deployment: Deployment) -> None:
        await self.gate.wait()
        if len(self.open) >= self.room:
            raise BudgetExceeded("There is no room.")
        self.open.add(number)
        self.reserved.append(number)
        self.sizes[number] = call.head.weight.said_tokens

    async def settle(self, call: Call, attempt: Attempt, *, unforeseen: bool = False) -> Settlement:
        await self.gate.wait()
        call.trail.append(attempt)
        if self.broken is not None:
            raise self.broken
        assert unforeseen or attempt.number in self.open
        self.open.discard(attempt.number)
        self.settled.append(attempt)
        usage = attempt.usage or Usage()
        tokens = Tokens(input_uncached=usage.input_tokens, output_text=usage.output_tokens)
        return Settlement(
            request_id=call.id, attempt=attempt.number, at_us=0, quality="exact", tokens=tokens, cost_nusd=1, price_source="p"
        )

    def grow(self, call: Call, number: int, _deployment: Deployment) -> ProxyError | None:
        self.sizes[number] = call.head.weight.said_tokens
        return BudgetExceeded("There is no room.") if call.head.weight.said_tokens > 50_000 else None

    def may_use(self, _call: Call, _deployment: Deployment) -> ProxyError | None:
        return PriceUnknown("Nobody knows.") if self.unpriced else None

    def opened(self, _call: Call) -> None:
        pass

    def watch(self, _call: Call, _number: int, output_tokens: Callable[[], int], cut: Callable[[ProxyError], None]) -> None:
        self.cut = cut
        self.output_tokens = output_tokens


class Room:
    """A session under way, and everything around it."""

    def __init__(
        self,
        books: Books | None = None,
        limits: Limits | None = None,
        clock_s: Callable[[], float] | None = None,
        head: Head | None = None,
    ) -> None:
        self.books = books or Books()
        self.client, self.upstream, self.clock = Wire(), Wire(), Clock()
        self.call = call("acme/gpt", endpoint="realtime", head=head or HEAD)
        self.over: list[tuple[ProxyError | None, Usage]] = []
        self.parts: list[int] = []
        self.revoked = False
        self.session = Session(
            self.call,
            1,
            deployment("acme/gpt"),
            self.upstream,
            books=self.books,
            identify=self._identify,
            limits=limits or Limits(),
            semantics=semantics_of("openai", "realtime"),
            over=lambda error, usage: self.over.append((error, usage)),
            clock_s=clock_s or self.clock.s,
            clock_us=self.clock.us,
        )
        self.session.part = self._part

    def _identify(self, _: tuple[str, ...]) -> None:
        if self.revoked:
            raise InvalidApiKey("It was revoked.")

    async def _part(self, tokens: int) -> None:
        self.parts.append(tokens)

    async def __aenter__(self) -> Self:
        self.task = asyncio.ensure_future(self.session.run(self.client))
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self.task.done():
            self.client.leave()
        await asyncio.wait_for(self.task, 20)

    async def answer(self, name: str = "r", usage: dict[str, Any] | None = USAGE, status: str = "completed") -> None:
        self.upstream.hear(type="response.created", response={"id": name})
        await settle()
        self.upstream.hear(type="response.done", response={"id": name, "status": status, "usage": usage})
        await settle()


async def settle() -> None:
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_answer_that_is_asked_for_is_reserved_and_the_next_one_too_before_anything_else_goes_up() -> None:
    async with Room() as room:
        room.books.gate.clear()
        room.client.hear(type="response.create")
        room.client.hear(type="input_audio_buffer.append", audio="AAAA")
        await settle()

        assert ["response.create"] == room.upstream.types
        assert room.client.paused
        room.books.gate.set()
        await settle()
        assert ["response.create", "input_audio_buffer.append"] == room.upstream.types
        assert [1, 2] == room.books.reserved
        assert not room.client.paused


async def test_the_end_of_an_answer_comes_down_when_it_is_settled_and_all_that_is_behind_it_after_that() -> None:
    async with Room() as room:
        room.client.hear(type="response.create")
        room.upstream.hear(type="response.created", response={"id": "r"})
        await settle()
        room.books.gate.clear()
        room.upstream.hear(type="response.done", response={"id": "r", "usage": USAGE})
        room.upstream.hear(type="rate_limits.updated")
        await settle()

        assert ["response.created"] == room.client.types
        assert room.upstream.paused
        room.books.gate.set()
        await settle()
        assert ["response.created", "response.done", "rate_limits.updated"] == room.client.types
        assert not room.upstream.paused
        assert [15] == room.parts


async def test_what_comes_while_the_next_answer_is_reserved_comes_down_at_once() -> None:
    async with Room() as room:
        room.books.gate.clear()
        room.upstream.hear(type="response.created", response={"id": "r"})
        await settle()
        room.upstream.hear(type="response.output_text.delta", delta="x")
        assert ["response.created", "response.output_text.delta"] == room.client.types

        room.upstream.hear(type="response.done", response={"id": "r", "usage": USAGE})
        await settle()
        assert "response.done" not in room.client.types
        room.books.gate.set()
        await settle()
        assert "response.done" == room.client.types[-1]


async def test_every_reservation_has_its_end_on_the_trail_and_an_answer_speaks_for_the_session() -> None:
    async with Room() as room:
        await room.answer("a")
        await room.answer("b")

    assert [(3, UNUSED, False), (1, "ok", True), (2, "ok", True)] == [
        (it.number, it.outcome, it.may_cost) for it in room.call.trail
    ]
    assert [(None, 20, 10)] == [(error, usage.input_tokens, usage.output_tokens) for error, usage in room.over]
    assert ("ok", 1000) == (room.session.outcome, room.session.code)


async def test_an_answer_that_is_refused_leaves_its_reservation_to_the_next() -> None:
    async with Room() as room:
        room.client.hear(type="response.create", event_id="mine")
        await settle()
        room.upstream.hear(type="error", error={"message": "No.", "event_id": "mine"})
        room.client.hear(type="response.create")
        await room.answer()

    assert [1, 2] == room.books.reserved[:2]
    assert 1 == len(room.books.settled)
    assert {1, 2} >= {it.number for it in room.call.trail}


async def test_what_goes_up_without_room_waits_for_the_answer_under_way_and_then_ends_the_session() -> None:
    async with Room(Books(room=1)) as room:
        room.client.hear(type="response.create")
        await settle()
        room.client.hear(type="conversation.item.create", item={})
        room.client.hear(type="response.cancel")
        await settle()
        assert ["response.create"] == room.upstream.types
        assert room.session.outcome == "ok"

        room.books.room = 0
        await room.answer()

    assert ["response.created", "response.done", "error"] == room.client.types
    assert ("budget_exceeded", 1008) == (room.session.outcome, room.session.code)


async def test_an_answer_may_be_stopped_when_nothing_else_may_go_up() -> None:
    async with Room(Books(room=1)) as room:
        room.client.hear(type="response.create")
        room.upstream.hear(type="response.created", response={"id": "r"})
        await settle()
        room.client.hear(type="response.cancel")
        await settle()

        assert ["response.create", "response.cancel"] == room.upstream.types


async def test_a_key_that_is_revoked_gets_the_answer_under_way_and_no_other() -> None:
    async with Room() as room:
        room.client.hear(type="response.create")
        await settle()
        room.revoked = True
        room.client.hear(type="response.create")
        await settle()
        await room.answer()
        await room.answer("b")

    assert ["response.created", "response.done", "response.created", "response.done", "error"] == room.client.types
    assert ("invalid_api_key", 1008) == (room.session.outcome, room.session.code)


async def test_room_that_an_answer_leaves_is_used_by_the_next() -> None:
    async with Room(Books(room=1)) as room:
        room.client.hear(type="response.create")
        await room.answer()
        room.client.hear(type="response.create")
        await room.answer("b")

    assert 2 == len(room.books.settled)
    assert "ok" == room.session.outcome


async def test_what_is_said_makes_the_reservation_larger_until_there_is_no_room_for_it() -> None:
    async with Room() as room:
        room.client.hear(type="conversation.item.create", text="x" * 10_000)
        await settle()
        assert 5_000 < room.books.sizes[1] < 5_100
        room.client.hear(type="conversation.item.create", text="x" * 100_000)
        await settle()
        assert 1 == len(room.upstream.said)

    assert "budget_exceeded" == room.session.outcome


async def test_the_next_answer_rests_on_what_the_last_one_saw_and_said() -> None:
    async with Room() as room:
        await room.answer(usage={"input_tokens": 3_000, "output_tokens": 400})
        await room.answer("b")

        assert 3_400 == room.books.sizes[3]


async def test_a_client_that_leaves_has_its_answer_stopped_and_waits_for_what_that_used() -> None:
    async with Room() as room:
        room.client.hear(type="response.create")
        room.upstream.hear(type="response.created", response={"id": "r"})
        await settle()
        room.client.leave(1006)
        await settle()
        assert "response.cancel" == room.upstream.types[-1]
        assert not room.task.done()

        room.upstream.hear(type="response.done", response={"id": "r", "status": "cancelled", "usage": USAGE})

    assert "client_closed" == room.session.outcome
    assert [(1, 10)] == [(it.number, it.usage.input_tokens if it.usage else 0) for it in room.books.settled]
    assert ["response.created"] == room.client.types


@pytest.mark.parametrize(
    ("code", "outcome", "sent"),
    [(1000, "ok", 1000), (1005, "ok", 1000), (1006, "upstream_error", 1011), (4000, "upstream_error", 4000)],
)
async def test_an_upstream_that_leaves_ends_the_session(code: int, outcome: str, sent: int) -> None:
    async with Room() as room:
        room.upstream.leave(code)
        await settle()

    assert (outcome, sent) == (room.session.outcome, room.session.code)
    assert [(1, False)] == [(it.number, it.may_cost) for it in room.call.trail]


async def test_an_answer_that_is_cut_is_estimated_by_what_had_come() -> None:
    async with Room() as room:
        await room.answer(usage={"input_tokens": 900, "output_tokens": 100})
        room.upstream.hear(type="response.created", response={"id": "r"})
        room.upstream.hear(type="response.output_text.delta", delta="x")
        room.upstream.hear(type="response.output_audio.delta", delta="x" * 32_000)
        await settle()
        assert 11 == room.books.output_tokens()
        room.upstream.leave(1006)
        await settle()

    cut = room.call.trail[-1]
    assert ("upstream_error", 11, True, None) == (cut.outcome, cut.output_estimate, cut.may_cost, cut.usage)
    assert 1_000 <= cut.input_estimate < 1_100


async def test_an_answer_without_a_word_and_without_usage_that_failed_costs_nothing() -> None:
    async with Room() as room:
        await room.answer(usage=None, status="failed")

    assert (1, False) == (room.call.trail[-1].number, room.call.trail[-1].may_cost)


async def test_two_answers_that_begin_by_themselves_at_once_are_both_paid_for() -> None:
    async with Room() as room:
        room.upstream.hear(type="response.created", response={"id": "a"})
        room.upstream.hear(type="response.created", response={"id": "b"})
        for name in ("a", "b"):
            room.upstream.hear(type="response.done", response={"id": name, "usage": USAGE})
        await settle()

    assert 2 == len(room.books.settled)
    assert 2 == len({it.number for it in room.books.settled})


async def test_a_journal_that_cannot_be_written_ends_the_session_and_the_answer_is_on_the_trail() -> None:
    books = Books()
    async with Room(books) as room:
        books.broken = LedgerUnavailable("The journal cannot be written.")
        await room.answer()

    assert ["response.created", "error"] == room.client.types
    assert ("ledger_unavailable", 1011) == (room.session.outcome, room.session.code)
    assert [1] == [it.number for it in room.call.trail if it.may_cost]


async def test_what_nobody_knows_the_price_of_is_not_written_down_under_a_budget() -> None:
    books = Books()
    books.unpriced = True
    async with Room(books) as room:
        room.upstream.hear(type="session.updated", session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}})
        await settle()

    assert "price_unknown" == room.session.outcome
    assert "error" == room.client.types[-1]


@pytest.mark.parametrize("limits", [Limits(idle_s=0.01, total_s=60), Limits(idle_s=60, total_s=0.01)])
async def test_a_session_has_its_times(limits: Limits) -> None:
    async with Room(limits=limits, clock_s=asyncio.get_running_loop().time) as room:
        await asyncio.wait_for(room.task, 20)

    assert ("session_expired", 1001) == (room.session.outcome, room.session.code)


async def test_a_gateway_that_stops_lets_an_answer_end() -> None:
    async with Room() as room:
        room.client.hear(type="response.create")
        room.upstream.hear(type="response.created", response={"id": "r"})
        await settle()
        room.session.stop()
        await settle()
        assert not room.task.done()
        room.upstream.hear(type="response.done", response={"id": "r", "usage": USAGE})
        await settle()

    assert ("draining", 1012) == (room.session.outcome, room.session.code)
    assert "response.done" in room.client.types


async def test_either_side_waits_for_the_other() -> None:
    async with Room() as room:
        room.session.full(room.client)
        assert (True, False) == (room.upstream.paused, room.client.paused)
        room.session.drained(room.client)
        room.session.full(room.upstream)
        assert (False, True) == (room.upstream.paused, room.client.paused)
        room.client.hear(type="conversation.item.create")
        assert [] == room.upstream.said
        room.session.drained(room.upstream)
        assert ["conversation.item.create"] == room.upstream.types


MOVES = st.sampled_from(("create", "append", "voice", "begin", "done", "refuse", "wait"))


@given(st.lists(MOVES, max_size=60), st.integers(1, 4), st.sampled_from((1000, 1006)))
def test_at_every_moment_there_are_as_many_reservations_as_answers_that_may_cost_something(
    moves: list[str], room_for: int, code: int
) -> None:
    async def play() -> None:
        async with Room(Books(room=room_for)) as room:
            begun: list[str] = []
            asked = named = 0
            for move in moves:
                if room.over:
                    break
                if move == "create":
                    room.client.hear(type="response.create")
                elif move == "append":
                    room.client.hear(type="input_audio_buffer.append", audio="AAAA")
                elif move in ("begin", "voice"):
                    ready = room.upstream.types.count("response.create") - asked
                    # Only what it was asked for, or what it hears, makes an upstream begin; and it heard nothing yet.
                    if ready > 0 or (move == "voice" and not begun and "input_audio_buffer.append" in room.upstream.types):
                        asked += ready > 0
                        named += 1
                        begun.append(f"r{named}")
                        room.upstream.hear(type="response.created", response={"id": begun[-1]})
                elif move == "done" and begun:
                    room.upstream.hear(type="response.done", response={"id": begun.pop(0), "usage": USAGE})
                elif move == "refuse" and room.upstream.types.count("response.create") > asked:
                    asked += 1
                    room.upstream.hear(type="error", error={"message": "No."})
                elif move == "wait":
                    await settle()
                under_way = room.upstream.types.count("response.create") - asked + len(begun)
                assert len(room.books.open) >= under_way - (move == "voice")
            room.upstream.leave(code)
            await settle()
        trail = [it.number for it in room.call.trail]
        assert len(trail) == len(set(trail))
        assert set(room.books.reserved) <= set(trail)

    asyncio.run(play())


# --- room that others have -----------------------------------------------------------------------------------------------


class Crowded(Books):
    """Others hold what there is: so many looks find no room."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks
        self.found = asyncio.Event()

    async def reserve(self, call: Call, number: int, _deployment: Deployment) -> None:
        if self.looks > 0:
            self.looks -= 1
            raise BudgetBusy("Others hold the rest.", retry_after_s=1)
        await super().reserve(call, number, _deployment)
        self.found.set()


async def test_room_that_others_leave_is_waited_for() -> None:
    books = Crowded(2)
    async with Room(books, Limits(busy_s=20), asyncio.get_running_loop().time) as room:
        room.client.hear(type="response.create")
        room.upstream.hear(type="response.created", response={"id": "r1"})
        room.upstream.hear(type="response.done", response={"id": "r1", "status": "completed", "usage": USAGE})
        async with asyncio.timeout(20):
            await books.found.wait()
        room.client.hear(type="response.create")
        await settle()

        assert room.upstream.types == ["response.create", "response.create"]
        assert room.session.outcome == "ok"


async def test_room_that_nobody_leaves_ends_the_session_after_a_while() -> None:
    async with Room(Crowded(10_000), Limits(busy_s=0.2), asyncio.get_running_loop().time) as room:
        room.client.hear(type="response.create")
        room.upstream.hear(type="response.created", response={"id": "r1"})
        room.upstream.hear(type="response.done", response={"id": "r1", "status": "completed", "usage": USAGE})
        async with asyncio.timeout(20):
            await room.task

        assert (room.session.outcome, room.session.code) == ("budget_busy", 1008)
        assert [it.outcome for it in room.call.trail] == ["ok"]


# --- transcription -----------------------------------------------------------------------------------------------------------


async def test_what_was_written_down_is_no_part_of_what_comes_next_where_nothing_is_answered() -> None:
    heard = "x" * 600_000
    room = Room(head=replace(HEAD, intent="transcription"))
    async with room:
        room.upstream.hear(type="session.created", session={"audio": {"input": {"transcription": {"model": "writer"}}}})
        for number in range(6):
            room.client.hear(type="input_audio_buffer.append", audio=heard)
            room.upstream.hear(type=TRANSCRIBED, item_id=f"i{number}", usage={"type": "duration", "seconds": 6})
            await settle()

        assert len(room.books.settled) == 6
        assert {it.deployment.model for it in room.books.settled} == {"writer"}
        assert {(it.usage.audio_ms, it.usage.counted) for it in room.books.settled if it.usage} == {(6_000, False)}
        assert 2 * len(heard) // 1_000 <= max(room.books.sizes.values()) < 2 * 2 * len(heard) // 1_000
