"""Slow work in a thread, one at a time: what hangs keeps one thread, not all that there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Aside(Generic[T]):
    """Does ``work`` in a thread.  Who asks while it is at it waits for the same, and may leave without ending it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._running: asyncio.Future[T] | None = None

    async def __call__(self) -> T:
        """What the work gives.  Raises: what it raises."""
        if self._running is None:
            self._running = asyncio.get_running_loop().run_in_executor(None, self._work)
            self._running.add_done_callback(self._done)
        return await asyncio.shield(self._running)

    def _done(self, future: asyncio.Future[T]) -> None:
        self._running = None
        if not future.cancelled():
            # Whoever asked may have left: then nobody looks at it.
            future.exception()
