from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.live import LiveView, Value
from ledger.records import Checked
from proxy.call import CacheUse, Call, Client, Principal, Streaming
from proxy.errors import ProxyError
from proxy.learning.answers import Answered, read
from proxy.learning.judge import Bounds, Judge, Kept, Read
from proxy.learning.learned import Learned
from tests.proxy.learning.memory import MemoryLearning
from tests.proxy.samples import attempt, call

OFFER = "acme/gpt"
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "required": ["a"]}}}


class Bench:
    def __init__(
        self,
        *,
        routed: bool = True,
        again_s: float = 60.0,
        bounds: Bounds = Bounds(),  # noqa: B008  # frozen
        read: Read = read,
    ) -> None:
        self.ledger = MemoryLearning()
        self.now_us = 10_000_000
        self.learned = Learned(LiveView, lambda: self.now_us / 1e6)
        self.judge = Judge(
            self.learned,
            self.ledger,
            task_of=lambda _: "extraction",
            is_routed=lambda _: routed,
            clock_us=lambda: self.now_us,
            again_s=again_s,
            bounds=bounds,
            read=read,
        )

    def known(self) -> dict[str, Value]:
        return dict(self.learned.view.by_offer(OFFER, "extraction"))


def asking(request_id: str = "req_1", **changes: Any) -> Call:
    changes.setdefault("received_us", 9_000_000)
    made = call(**changes)
    made.trail.append(attempt())
    return replace(made, id=request_id)


def saying(text: str = "Hi", finish: str = "stop") -> bytes:
    return json.dumps({"choices": [{"finish_reason": finish, "message": {"content": text}}]}).encode()


class Pieces:
    """A stream of some pieces.  The client takes what it can."""

    def __init__(self, *pieces: bytes, closing: bytes = b"data: [DONE]\n\n") -> None:
        self._pieces = list(pieces)
        self.closing = closing
        self.failed: ProxyError | None = None
        self.closed = False

    async def read(self, write: Any = lambda _: False) -> bytes:
        while self._pieces:
            piece = self._pieces.pop(0)
            if not write(piece):
                return piece
        return b""

    def fail(self, error: ProxyError) -> None:
        self.failed = error

    def close(self) -> None:
        self.closed = True


def chunk(text: str, finish: str | None = None) -> bytes:
    return b"data: %b\n\n" % json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": finish}]}).encode()


async def test_a_whole_answer_is_looked_at_and_what_was_found_is_kept_and_counted() -> None:
    bench = Bench()
    bench.judge.answered(asking(fields={"response_format": SCHEMA}), saying('{"b": 1}'))

    await bench.judge.look()

    assert bench.ledger.checks == [
        Checked(
            request_id="req_1",
            at_us=10_000_000,
            offer=OFFER,
            task="extraction",
            passed=("answered", "whole"),
            failed=("schema",),
        )
    ]
    assert bench.known()["schema_adherence_rate"] == Value(0.0, 1)
    assert bench.known()["check_pass_rate"] == Value(0.0, 1)
    assert bench.known()["truncation_rate"] == Value(0.0, 1)


async def test_of_a_request_that_no_policy_chose_for_nothing_is_kept_and_it_counts_all_the_same() -> None:
    bench = Bench(routed=False)
    bench.judge.answered(asking(), saying())

    await bench.judge.look()

    assert bench.ledger.checks == []
    assert bench.known()["check_pass_rate"] == Value(1.0, 1)


async def read_all(reply: Streaming, *, takes: bool) -> bytes:
    written: list[bytes] = []

    def write(events: bytes) -> bool:
        if takes:
            written.append(events)
        return takes

    while events := await reply.chunks.read(write):
        written.append(events)
    return b"".join(written) + reply.chunks.closing


@pytest.mark.parametrize("takes", [True, False])
async def test_a_stream_of_which_a_form_was_asked_is_kept_on_its_way_and_passes_untouched(takes: bool) -> None:
    bench = Bench()
    pieces = (chunk('{"a"'), chunk(": 1}"), chunk("", "stop"))
    asked = asking(fields={"stream": True, "response_format": SCHEMA})
    reply = Streaming(200, [], Pieces(*pieces))

    (last,) = asked.trail
    asked.trail.clear()  # there is no attempt before it has ended
    bench.judge.listen(asked, reply)
    passed = await read_all(reply, takes=takes)
    asked.trail.append(last)
    bench.judge.heard(asked, reply)
    await bench.judge.look()

    assert passed == b"".join(pieces) + b"data: [DONE]\n\n"
    assert bench.known()["schema_adherence_rate"] == Value(1.0, 1)


async def test_an_answer_of_our_own_cache_is_not_kept() -> None:
    bench = Bench()
    chunks = Pieces()
    reply = Streaming(200, [], chunks)

    bench.judge.listen(asking(fields={"stream": True, "tools": []}, cached=CacheUse(state="hit")), reply)

    assert reply.chunks is chunks


async def test_a_plain_stream_is_not_kept_and_only_known_to_be_whole() -> None:
    bench = Bench()
    asked = asking(fields={"stream": True})
    chunks = Pieces(chunk("Hi"))
    reply = Streaming(200, [], chunks)

    bench.judge.listen(asked, reply)
    bench.judge.heard(asked, reply)
    await bench.judge.look()

    assert reply.chunks is chunks
    assert bench.known() == {"truncation_rate": Value(0.0, 1), "check_pass_rate": Value(1.0, 1)}


@pytest.mark.parametrize(("fields", "flawless"), [({}, 0.0), ({"max_tokens": 5}, 1.0)])
async def test_a_truncated_stream_is_a_flaw_unless_the_caller_wanted_it_short(fields: dict[str, Any], flawless: float) -> None:
    bench = Bench()
    asked = asking(fields={"stream": True, **fields})
    asked.trail[-1] = attempt(truncated=True)

    bench.judge.heard(asked, Streaming(200, [], Pieces()))
    await bench.judge.look()

    assert bench.known() == {"truncation_rate": Value(1.0, 1), "check_pass_rate": Value(flawless, 1)}


async def test_a_stream_that_is_too_long_is_passed_on_and_not_kept() -> None:
    bench = Bench(bounds=Bounds(answer_max_bytes=100))
    asked = asking(fields={"stream": True, "response_format": SCHEMA})
    reply = Streaming(200, [], Pieces(chunk("a" * 60), chunk("b" * 60), chunk("", "stop")))

    bench.judge.listen(asked, reply)
    passed = await read_all(reply, takes=True)
    bench.judge.heard(asked, reply)
    await bench.judge.look()

    assert passed.count(b"data: ") == 4
    assert bench.known() == {"truncation_rate": Value(0.0, 1), "check_pass_rate": Value(1.0, 1)}


async def test_only_so_many_streams_are_kept_at_once() -> None:
    bench = Bench(bounds=Bounds(answer_max_bytes=100, held_max_bytes=200))
    asked = asking(fields={"stream": True, "tools": []})
    replies = [Streaming(200, [], Pieces()) for _ in range(3)]

    for reply in replies:
        bench.judge.listen(asked, reply)
    kept = [isinstance(reply.chunks, Kept) for reply in replies]
    bench.judge.heard(asked, replies[0])
    later = Streaming(200, [], Pieces())
    bench.judge.listen(asked, later)

    assert kept == [True, True, False]
    assert isinstance(later.chunks, Kept)


async def test_a_kept_stream_fails_and_closes_as_any_other() -> None:
    chunks = Pieces(chunk("a"))
    kept = Kept(chunks, room=10)
    error = ProxyError("over")

    kept.fail(error)
    kept.close()

    assert (chunks.failed, chunks.closed) == (error, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"client": Client(left=True)},
        {"endpoint": "embeddings"},
    ],
)
async def test_what_nobody_read_or_what_is_no_text_is_not_looked_at(changes: dict[str, Any]) -> None:
    bench = Bench()

    bench.judge.answered(asking(**changes), saying())
    await bench.judge.look()

    assert bench.known() == {}


async def test_what_failed_or_was_not_asked_of_anybody_is_not_looked_at() -> None:
    bench = Bench()
    failed, cached = asking(), asking()
    failed.trail[-1] = attempt(outcome="upstream_error")
    cached.trail.clear()

    for it in (failed, cached):
        bench.judge.answered(it, saying())
    await bench.judge.look()

    assert bench.known() == {}


async def test_when_there_is_too_much_to_look_at_the_rest_is_passed_over() -> None:
    bench = Bench(bounds=Bounds(waiting_max=2))

    for n in range(5):
        bench.judge.answered(asking(f"req_{n}", fields={"seed": n}), saying())
    await bench.judge.look()
    bench.judge.answered(asking("req_9", fields={"seed": 9}), saying())
    await bench.judge.look()

    assert bench.judge.passed_over == 3
    assert [it.request_id for it in bench.ledger.checks] == ["req_0", "req_1", "req_9"]


async def test_a_ledger_that_refuses_does_not_keep_anything_from_being_counted() -> None:
    bench = Bench()
    bench.ledger.failing = True
    bench.judge.answered(asking(), saying())

    await bench.judge.look()

    assert bench.known()["check_pass_rate"] == Value(1.0, 1)


async def test_an_answer_that_is_not_understood_is_not_judged() -> None:
    bench = Bench()
    bench.judge.answered(asking(), b"<html>")

    await bench.judge.look()

    assert bench.known() == {}


async def test_an_answer_that_breaks_the_checks_does_not_keep_the_others_from_being_looked_at() -> None:
    def read(endpoint: str, body: bytes, *, stream: bool) -> list[Answered]:
        if body == b"bad":
            raise KeyError(endpoint)
        return [Answered(finish="stop", text="Hi")]

    bench = Bench(read=read)
    bench.judge.answered(asking("a", fields={"seed": 1}), b"bad")
    bench.judge.answered(asking("b", fields={"seed": 2}), b"good")

    await bench.judge.look()

    assert [it.request_id for it in bench.ledger.checks] == ["b"]


# --- asked once more ---------------------------------------------------------------------------------------------------


async def again(bench: Bench, *received_us: int, **changes: Any) -> list[Checked]:
    """The same prompt, received at these moments and answered a second later each; what is kept of it as asked again."""
    for n, at_us in enumerate(received_us):
        bench.now_us = at_us + 1_000_000
        bench.judge.answered(asking(f"req_{n}", received_us=at_us, **changes), saying())
        await bench.judge.look()
    return [it for it in bench.ledger.checks if it.failed]


async def test_a_prompt_that_is_asked_once_more_at_once_was_not_answered_well() -> None:
    bench = Bench()

    (flawed,) = await again(bench, 10_000_000, 20_000_000)

    assert (flawed.request_id, flawed.failed, flawed.offer) == ("req_0", ("kept",), OFFER)
    assert bench.known()["check_pass_rate"].value == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    "received_us",
    [(10_000_000, 200_000_000), (10_000_000, 10_500_000)],
    ids=["much later", "before it was answered"],
)
async def test_a_prompt_that_comes_again_later_or_beside_the_first_says_nothing(received_us: tuple[int, int]) -> None:
    assert await again(Bench(), *received_us) == []


async def test_who_asks_the_same_again_and_again_is_a_machine() -> None:
    flawed = await again(Bench(), *range(10_000_000, 100_000_000, 10_000_000))

    assert [it.request_id for it in flawed] == ["req_0"]


async def test_another_key_or_another_prompt_is_not_asked_once_more() -> None:
    bench = Bench()
    bench.judge.answered(asking("a"), saying())
    bench.judge.answered(asking("b", principal=Principal(key_id="key_2", name="bo"), received_us=11_000_000), saying())
    bench.judge.answered(asking("c", fields={"seed": 1}, received_us=12_000_000), saying())

    await bench.judge.look()

    assert [it.failed for it in bench.ledger.checks] == [(), (), ()]


async def test_it_can_be_switched_off() -> None:
    assert await again(Bench(again_s=0), 10_000_000, 20_000_000) == []


async def test_what_was_flawed_already_is_not_counted_again() -> None:
    bench = Bench()
    bench.judge.answered(asking("a", fields={"response_format": SCHEMA}), saying("no json"))
    await bench.judge.look()
    bench.judge.answered(asking("b", fields={"response_format": SCHEMA}, received_us=11_000_000), saying('{"a": 1}'))
    await bench.judge.look()

    assert [it.failed for it in bench.ledger.checks] == [("schema",), ()]


async def test_only_so_many_prompts_are_remembered() -> None:
    bench = Bench(bounds=Bounds(asked_max=1))
    bench.judge.answered(asking("a"), saying())
    bench.judge.answered(asking("b", fields={"seed": 1}), saying())
    bench.judge.answered(asking("c", received_us=11_000_000), saying())

    await bench.judge.look()

    assert [it.failed for it in bench.ledger.checks] == [(), (), ()]
