"""What hears a socket in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from providers.provider import WebSocket

WAIT_S = 20.0


class Ear:
    """Hears a socket, and keeps what it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, bool]] = []
        self.levels: list[str] = []
        self.ends: list[tuple[int, str]] = []
        self.some = asyncio.Event()

    def message(self, _: WebSocket, data: bytes, text: bool, /) -> None:
        """A message came."""
        self.heard.append((data, text))
        self.some.set()

    def full(self, _: WebSocket, /) -> None:
        """The other side is behind."""
        self.levels.append("full")
        self.some.set()

    def drained(self, _: WebSocket, /) -> None:
        """It has caught up."""
        self.levels.append("drained")
        self.some.set()

    def closed(self, _: WebSocket, code: int, reason: str, /) -> None:
        """It is over."""
        self.ends.append((code, reason))
        self.some.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what a message, or an end, makes true."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self.some.clear()
                await self.some.wait()
