"""Stage and Service: the two shapes that the pipeline is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from proxy.call import Call, Reply


class Service(Protocol):
    """Answers a call.  Raises: ProxyError."""

    async def __call__(self, call: Call, /) -> Reply:
        """The reply to the call."""
        ...


class Stage(Protocol):
    """One step: it may refuse the call, change it, answer it, or work on the reply."""

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        """The reply to the call, usually from ``next``."""
        ...


def compose(stages: Sequence[Stage], terminal: Service) -> Service:
    """One service out of the stages, the first one outermost, around the terminal."""
    service = terminal
    for stage in reversed(stages):
        service = _bind(stage, service)
    return service


def _bind(stage: Stage, following: Service) -> Service:
    async def service(call: Call, /) -> Reply:
        return await stage(call, following)

    return service
