"""Tokens that end, and are fetched anew before they do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from providers.errors import NoCredentials
from providers.provider import HttpRequest

AHEAD_S: Final = 300.0
"""How long before its end a token is exchanged beside the requests; they are given for an hour as a rule."""
LATE_S: Final = 120.0
"""How long before its end a request exchanges it itself, if nobody has."""
AGAIN_S: Final = 30.0
"""How long one that is still good is used before a fetch that failed is tried again."""
WAIT_MAX_S: Final = 15.0


class Token(msgspec.Struct, frozen=True):
    """A bearer token.  lives_s: for how long it is good from now on.  headers: what is sent beside it."""

    text: str
    lives_s: float
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Token(lives_s={self.lives_s})"


class Bearer:
    """Sends a token along with each request.

    fetch: gets a new one.  Raises: NoCredentials.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Token]], clock_s: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock_s = clock_s
        self._lock = asyncio.Lock()
        self._headers: dict[str, str] = {}
        self._due_s = 0.0
        self._late_s = 0.0
        self._ends_s = 0.0
        self._used = False

    async def signed(self, request: HttpRequest) -> HttpRequest:
        """The request with the token.  Raises: NoCredentials."""
        now_s = self._clock_s()
        self._used = True
        # While one fetches, the others use what is still good.
        if now_s >= self._late_s and not (self._lock.locked() and now_s < self._ends_s):
            await self._renew()
        return HttpRequest(request.url, {**request.headers, **self._headers}, request.body)

    async def freshen(self) -> None:
        """Exchange the token if it is about to end and has been in use; for who looks now and then, beside the requests."""
        if self._used and self._clock_s() >= self._due_s and not self._lock.locked():
            # A request that finds none is told.
            with contextlib.suppress(NoCredentials):
                await self._renew()

    async def _renew(self) -> None:
        async with self._lock:
            now_s = self._clock_s()
            if now_s < self._due_s:
                return
            try:
                async with asyncio.timeout(WAIT_MAX_S):
                    token = await self._fetch()
            except (NoCredentials, TimeoutError) as error:
                if now_s < self._ends_s:
                    self._due_s = self._late_s = min(now_s + AGAIN_S, self._ends_s)
                    return
                if isinstance(error, NoCredentials):
                    raise
                raise NoCredentials(f"No token was given within {WAIT_MAX_S:g} s.") from error
            self._headers = {**token.headers, "authorization": f"Bearer {token.text}"}
            self._ends_s = now_s + token.lives_s
            self._due_s = now_s + max(token.lives_s - AHEAD_S, token.lives_s / 2)
            self._late_s = now_s + max(token.lives_s - LATE_S, token.lives_s * 3 / 4)
            self._used = False
