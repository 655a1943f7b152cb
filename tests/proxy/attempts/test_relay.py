"""A stream between an upstream and a client: whatever its end is, it is told once, and nothing looks whole that is not."""

from __future__ import annotations

import asyncio
import json

import pytest

from providers.errors import Disconnected, IdleTimedOut, InvalidResponse, ProviderError
from providers.openai.stream import StreamReader
from providers.provider import Endpoint
from proxy.attempts.relay import Relay
from proxy.errors import BudgetExceeded, ClientClosed, Draining, ProxyError, UpstreamError
from tests.proxy.scripted import Answer, Hang, Piece, stream

FIRST = b'data: {"model":"gpt","choices":[{"delta":{"content":"a"}}]}\n\n'
SECOND = b'data: {"model":"gpt","choices":[{"delta":{"content":"b"}}]}\n\n'
FINISH = b'data: {"model":"gpt","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"model":"gpt","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
ERROR = b'data: {"error":{"message":"busy","type":"server_error","code":null}}\n\n'
ODD_ERROR = b'data: {"error":{"message":"busy"}}\n\n'
DONE = b"data: [DONE]\n\n"


class Watched:
    """A relay over a scripted answer, and what it said of its end."""

    def __init__(self, *pieces: Piece, endpoint: Endpoint = "chat/completions", strip_usage: bool = False) -> None:
        self.ends: list[ProxyError | None] = []
        self.reader = StreamReader(endpoint, strip_usage=strip_usage)
        self.answer: Answer = stream(*pieces)
        self.relay = Relay(
            self.answer,
            self.reader,
            ended=lambda _, error: self.ends.append(error),
            translate=lambda error: UpstreamError(str(error)),
        )

    async def passed(self) -> list[bytes]:
        await self.relay.begin()
        parts = []
        while part := await self.relay.read():
            parts.append(part)
        return parts


def code(event: bytes) -> str:
    """The code of an error event of ours."""
    error = json.loads(event.removeprefix(b"data: "))["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    return str(error["code"])


async def test_a_whole_stream_passes_and_its_terminator_comes_last() -> None:
    watched = Watched(FIRST, SECOND + FINISH, DONE)

    passed = await watched.passed()

    assert (passed, watched.relay.closing, watched.ends) == ([FIRST, SECOND + FINISH], DONE, [None])


async def test_events_are_passed_on_as_soon_as_they_are_whole() -> None:
    watched = Watched(FIRST[:10], FIRST[10:] + SECOND[:20], SECOND[20:], DONE)

    assert await watched.passed() == [FIRST, SECOND]


async def test_what_comes_after_the_terminator_is_read_and_dropped() -> None:
    watched = Watched(FIRST + DONE, SECOND)

    passed = await watched.passed()

    assert (passed, watched.relay.closing, watched.ends) == ([FIRST], DONE, [None])
    assert await watched.answer.read() == b""


async def test_a_terminator_after_a_responses_own_end_is_kept() -> None:
    end = b'data: {"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
    watched = Watched(FIRST, end, DONE, endpoint="responses")

    passed = await watched.passed()

    assert (passed, watched.relay.closing) == ([FIRST], end + DONE)


async def test_usage_that_came_only_because_we_asked_does_not_hold_anything_up() -> None:
    watched = Watched(USAGE, FIRST, USAGE, DONE, strip_usage=True)

    passed = await watched.passed()

    assert (passed, watched.relay.closing, watched.ends) == ([FIRST], DONE, [None])
    assert watched.reader.usage is not None


async def test_a_stream_of_nothing_but_its_terminator_is_whole() -> None:
    watched = Watched(DONE)

    assert (await watched.passed(), watched.relay.closing, watched.ends) == ([], DONE, [None])


async def test_an_answer_that_is_finished_needs_no_terminator() -> None:
    watched = Watched(FIRST, FINISH)

    passed = await watched.passed()

    assert (passed, watched.relay.closing, watched.ends) == ([FIRST, FINISH], DONE, [None])


# --- before the first event --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ((), Disconnected),
        ((FIRST[:-1],), Disconnected),
        ((b": comment\n",), Disconnected),
        ((Disconnected("gone"),), Disconnected),
        ((FIRST[:9], IdleTimedOut("silent")), IdleTimedOut),
        ((b"data: nonsense\n\n",), InvalidResponse),
        ((ERROR,), InvalidResponse),
        ((ODD_ERROR + FIRST,), InvalidResponse),
        ((USAGE, ERROR), InvalidResponse),
    ],
)
async def test_without_a_first_event_another_may_take_over(pieces: tuple[Piece, ...], error: type[ProviderError]) -> None:
    watched = Watched(*pieces, strip_usage=True)

    with pytest.raises(error):
        await watched.relay.begin()

    assert watched.ends == []


# --- after it ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces", [(), (SECOND,), (SECOND[:-1],), (Disconnected("gone"),), (b"data: {", IdleTimedOut("silent"))]
)
async def test_a_stream_that_breaks_off_ends_by_an_error_and_without_a_terminator(pieces: tuple[Piece, ...]) -> None:
    watched = Watched(FIRST, *pieces)

    passed = await watched.passed()

    assert passed == [FIRST, SECOND][: len(passed)]
    assert code(watched.relay.closing) == "upstream_error"
    assert [type(end) for end in watched.ends] == [UpstreamError]


async def test_an_event_that_is_nonsense_ends_the_stream() -> None:
    watched = Watched(FIRST, b'data: {"usage":{\n\n')

    await watched.passed()

    assert code(watched.relay.closing) == "upstream_error"
    assert len(watched.ends) == 1


@pytest.mark.parametrize(("said", "closing"), [(ERROR, ERROR), (ODD_ERROR, None)])
async def test_the_upstreams_own_error_ends_the_stream(said: bytes, closing: bytes | None) -> None:
    watched = Watched(FIRST, said + SECOND, DONE)

    passed = await watched.passed()

    assert passed == [FIRST]
    assert closing in (watched.relay.closing, None)
    assert json.loads(watched.relay.closing.removeprefix(b"data: "))["error"]["message"] == "busy"
    assert [end.message for end in watched.ends if end] == ["busy"]


async def test_an_error_beside_the_first_event_comes_after_it() -> None:
    watched = Watched(FIRST + ERROR)

    passed = await watched.passed()

    assert (passed, watched.relay.closing, len(watched.ends)) == ([FIRST], ERROR, 1)


@pytest.mark.parametrize("error", [Draining("stopping", retry_after_s=1), ClientClosed("left"), ProxyError("broken")])
async def test_a_stream_can_be_ended_for_a_reason_of_ours(error: ProxyError) -> None:
    hang = Hang()
    watched = Watched(FIRST, hang)
    await watched.relay.begin()
    await watched.relay.read()
    reading = asyncio.create_task(watched.relay.read())
    await hang.reached.wait()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)

    watched.relay.fail(error)
    watched.relay.fail(UpstreamError("again"))

    assert watched.ends == [error]
    assert code(watched.relay.closing) == error.code
    assert await watched.relay.read() == b""


async def test_a_reason_that_comes_after_the_end_changes_nothing() -> None:
    watched = Watched(FIRST, DONE)
    await watched.passed()

    watched.relay.fail(ClientClosed("left"))

    assert (watched.relay.closing, watched.ends) == (DONE, [None])


async def test_reading_on_after_the_end_gives_nothing_and_tells_nothing() -> None:
    watched = Watched(FIRST, DONE)
    await watched.passed()

    assert [await watched.relay.read() for _ in range(3)] == [b""] * 3
    assert watched.ends == [None]


async def test_letting_go_lets_go_of_the_upstream() -> None:
    watched = Watched(FIRST)

    watched.relay.close()

    assert watched.answer.closed == 1


# --- cut for a reason of our own ---------------------------------------------------------------------------------------


async def test_a_stream_that_is_cut_while_nothing_comes_ends_at_once_with_the_error() -> None:
    hang = Hang()
    watched = Watched(FIRST, hang)
    error = BudgetExceeded("no room")
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        reading = group.create_task(watched.passed())
        await hang.reached.wait()

        watched.relay.cut(error)
        watched.relay.cut(BudgetExceeded("again"))

    assert reading.result() == [FIRST]
    assert (code(watched.relay.closing), watched.ends) == ("budget_exceeded", [error])
    assert reading.cancelling() == 0


async def test_a_stream_that_is_cut_while_nobody_reads_ends_at_the_next_read() -> None:
    watched = Watched(FIRST, SECOND, DONE)
    await watched.relay.begin()

    watched.relay.cut(BudgetExceeded("no room"))

    assert [await watched.relay.read(), await watched.relay.read()] == [FIRST, b""]
    assert code(watched.relay.closing) == "budget_exceeded"


async def test_a_stream_that_is_over_cannot_be_cut() -> None:
    watched = Watched(FIRST, DONE)
    await watched.passed()

    watched.relay.cut(BudgetExceeded("no room"))

    assert (watched.relay.closing, watched.ends) == (DONE, [None])


async def test_a_client_that_leaves_is_not_taken_for_a_cut() -> None:
    hang = Hang()
    watched = Watched(FIRST, hang)
    reading = asyncio.ensure_future(watched.passed())
    async with asyncio.timeout(5):
        await hang.reached.wait()

    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
    assert watched.ends == []
