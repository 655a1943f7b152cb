"""THE ORDER of the stages.

    edge -> auth -> meter -> model_router -> cache -> rate_limiter -> budget -> load_balancer -> circuit_breaker
         -> fallback -> provider

Planning comes first, doing last: only ``fallback`` sends.
"""

from __future__ import annotations

import msgspec

from proxy.call import Call, Reply
from proxy.errors import ProxyError
from proxy.stage import Service, Stage, compose
from proxy.stages.auth import Auth
from proxy.stages.budget import Budget
from proxy.stages.cache import Cache
from proxy.stages.circuit_breaker import CircuitBreaker
from proxy.stages.fallback import Fallback
from proxy.stages.load_balancer import LoadBalancer
from proxy.stages.meter import Meter
from proxy.stages.model_router import ModelRouter
from proxy.stages.rate_limiter import RateLimiter


class Stages(msgspec.Struct, frozen=True, kw_only=True):
    """One of each, made by the composition root."""

    auth: Auth
    meter: Meter
    model_router: ModelRouter
    cache: Cache
    rate_limiter: RateLimiter
    budget: Budget
    load_balancer: LoadBalancer
    circuit_breaker: CircuitBreaker
    fallback: Fallback


class Pipeline:
    """The composed stages; and the first two of them alone, for what the edge itself refuses."""

    def __init__(self, stages: Stages) -> None:
        self._identified: tuple[Stage, ...] = (stages.auth, stages.meter)
        planning: tuple[Stage, ...] = (
            stages.model_router,
            stages.cache,
            stages.rate_limiter,
            stages.budget,
            stages.load_balancer,
            stages.circuit_breaker,
        )
        self._service = compose((*self._identified, *planning), stages.fallback)

    async def __call__(self, call: Call, /) -> Reply:
        """The reply to the call.  Raises: ProxyError."""
        return await self._service(call)

    async def refuse(self, call: Call, error: ProxyError) -> Reply:
        """Refuse the call for the edge's reason, on the record of whoever is calling.  Raises: always, usually ``error``."""
        return await compose(self._identified, _refusal(error))(call)


def _refusal(error: ProxyError) -> Service:
    async def service(call: Call, /) -> Reply:  # noqa: ARG001  # the protocol's signature
        raise error

    return service
