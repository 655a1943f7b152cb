"""Slow work in a thread, one at a time."""

from __future__ import annotations

import asyncio
import threading

import pytest

from providers.aside import Aside


class Work:
    """Waits until it is let go, and counts."""

    def __init__(self) -> None:
        self.done = 0
        self.go = threading.Event()
        self.fails = False

    def __call__(self) -> int:
        assert self.go.wait(20)
        self.done += 1
        if self.fails:
            raise ValueError("no")
        return self.done


async def test_who_asks_while_it_runs_waits_for_the_same() -> None:
    work = Work()
    aside = Aside(work)

    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(aside()) for _ in range(5)]
        await asyncio.sleep(0)
        work.go.set()

    assert [it.result() for it in asked] == [1] * 5
    assert await aside() == 2


async def test_who_leaves_does_not_end_it_and_the_next_does_not_begin_another() -> None:
    work = Work()
    aside = Aside(work)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await aside()

    work.go.set()

    assert await aside() == 1


async def test_what_went_wrong_is_told_and_forgotten() -> None:
    work = Work()
    work.go.set()
    work.fails = True
    aside = Aside(work)
    with pytest.raises(ValueError, match="no"):
        await aside()

    work.fails = False

    assert await aside() == 2
