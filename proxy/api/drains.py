"""Requests whose client has left, and whose key has their answers read to the end all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from proxy.call import Call, Principal
from proxy.errors import ProxyError


class DrainLimits(msgspec.Struct, frozen=True, kw_only=True):
    """concurrent_max: answers that are read for nobody at once; beyond it they are cancelled.  timeout_s: for one of them."""

    concurrent_max: int = 100
    timeout_s: float = 60.0


class Drains:
    """Decides what becomes of a request whose client leaves, by its key's ``disconnect``.

    ``cancel``: its task is cancelled, and the upstream with it; what has come of the answer is counted.
    ``drain``: the answer is read to its end, which tells its exact usage.  ``drain:N``: as soon as N more events of a stream
    have come, it is cancelled.  An answer that is not a stream is drained whole, since it costs what it costs.

    identify: who sends these Authorization headers; asked only when a client leaves.
    """

    def __init__(self, identify: Callable[[tuple[str, ...]], Principal], limits: DrainLimits) -> None:
        self._identify = identify
        self._limits = limits
        self._deadlines: dict[asyncio.Task[Any], asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        """How many there are just now."""
        return len(self._deadlines)

    def left(self, call: Call, task: asyncio.Task[Any]) -> None:
        """The client has left: cancel the task, or let it go on."""
        if call.client.left:
            return
        call.client.left = True
        policy, _, tokens = self._policy(call).partition(":")
        if policy != "drain" or len(self._deadlines) >= self._limits.concurrent_max:
            task.cancel()
            return
        call.client.tokens_left = int(tokens) if tokens else None
        self._deadlines[task] = asyncio.get_running_loop().call_later(self._limits.timeout_s, task.cancel)

    def over(self, task: asyncio.Task[Any]) -> None:
        """The request has ended."""
        deadline = self._deadlines.pop(task, None)
        if deadline is not None:
            deadline.cancel()

    def _policy(self, call: Call) -> str:
        try:
            return self._identify(call.authorization).disconnect
        except ProxyError:  # the key was revoked meanwhile
            return "cancel"
