"""What becomes of a request whose client leaves, by what its key says."""

from __future__ import annotations

import asyncio

import pytest

from proxy.api.drains import DrainLimits, Drains
from proxy.call import Call, Client, Principal
from proxy.errors import InvalidApiKey
from tests.proxy.samples import call


def drains(policy: str, **limits: float) -> Drains:
    return Drains(
        lambda _: Principal(key_id="k", name="k", disconnect=policy),
        DrainLimits(**limits),  # type: ignore[arg-type]  # one of them is an int
    )


async def forever() -> None:
    await asyncio.Event().wait()


async def left(drains: Drains, call: Call) -> asyncio.Task[None]:
    """A task at work on a call whose client has just left."""
    task = asyncio.ensure_future(forever())
    await asyncio.sleep(0)
    drains.left(call, task)
    await asyncio.sleep(0)
    return task


async def ended(task: asyncio.Task[None]) -> bool:
    await asyncio.wait((task,), timeout=0.01)
    was_done = task.done()
    task.cancel()
    await asyncio.wait((task,), timeout=1)
    return was_done


@pytest.mark.parametrize(("policy", "cancelled"), [("cancel", True), ("drain", False), ("drain:5", False)])
async def test_a_key_says_whether_its_answers_are_read_on(policy: str, cancelled: bool) -> None:
    asked = call()

    task = await left(drains(policy), asked)

    assert asked.client.left
    assert await ended(task) is cancelled


async def test_what_is_beyond_the_limit_is_cancelled_until_one_is_over() -> None:
    limited = drains("drain", concurrent_max=1)
    first = await left(limited, call())

    second = await left(limited, call())
    limited.over(first)
    third = await left(limited, call())

    assert [await ended(task) for task in (first, second, third)] == [False, True, False]


async def test_nobody_is_read_for_longer_than_the_deadline() -> None:
    task = await left(drains("drain", timeout_s=0.005), call())

    await asyncio.wait((task,), timeout=1)

    assert task.cancelled()


async def test_what_is_over_leaves_no_deadline_behind() -> None:
    limited = drains("drain")
    task = await left(limited, call())

    limited.over(task)

    assert len(limited) == 0
    assert await ended(task) is False


async def test_the_requests_of_a_key_that_is_gone_are_cancelled() -> None:
    def unknown(_: tuple[str, ...]) -> Principal:
        raise InvalidApiKey("no")

    task = await left(Drains(unknown, DrainLimits()), call())

    assert await ended(task)


def test_a_stream_for_nobody_ends_when_its_tokens_are_used_up() -> None:
    events = b"data: 1\n\ndata: 2\n\n"

    there, drained, bounded = Client(), Client(left=True), Client(left=True, tokens_left=3)

    assert [[it.may_come(events) for _ in range(2)] for it in (there, drained, bounded)] == [
        [True, True],
        [True, True],
        [True, False],
    ]
