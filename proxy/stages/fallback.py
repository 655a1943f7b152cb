"""The terminal stage: the only one that sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from providers.errors import ProviderError
from proxy.attempt import Reserve, Sender, Try, Watch
from proxy.call import Call, Observer, Reply
from proxy.errors import NoHealthyUpstream, UnsupportedEndpoint
from proxy.outcome import RETRY_AFTER_S, another_may_help, verdict


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """attempts_max: tries for one request, the first included.  total_s: one deadline for all of them."""

    attempts_max: int = 3
    total_s: float = 600.0


class Fallback:
    """Try the deployments in order until one answers; a fault of the request itself ends it at once.

    Before the first event has reached the client any deployment may take over, after it none.
    observers: told of every try when it has ended, in their order, after it is on the trail.
    Reads: deployments, body, head.   Writes: trail, one Attempt a try.   Raises: 4xx of the provider, 429, 502, 503, 504.
    Config: retries.max_attempts, retries.total_timeout_s, and the timeouts of each provider.
    """

    def __init__(
        self,
        transport: Sender,
        *,
        reserve: Reserve,
        watch: Watch,
        retries: Retries,
        observers: Sequence[Observer] = (),
        clock_s: Callable[[], float],
        clock_us: Callable[[], int],
    ) -> None:
        self._try = Try(transport, reserve=reserve, watch=watch, observers=observers, clock_s=clock_s, clock_us=clock_us)
        self._retries = retries

    async def __call__(self, call: Call, /) -> Reply:
        able = [it for it in call.deployments if call.endpoint in it.upstream.vendor.endpoints]
        if not able:
            if call.deployments:
                names = ", ".join(sorted({it.upstream.provider for it in call.deployments}))
                raise UnsupportedEndpoint(f"/v1/{call.endpoint} is not served by {names}.", param="model")
            raise NoHealthyUpstream("No deployment of this model is available.", retry_after_s=RETRY_AFTER_S)
        deadline_s = call.started_s + self._retries.total_s
        failures: list[ProviderError] = []
        for number, deployment in enumerate(able[: self._retries.attempts_max], start=1):
            try:
                return await self._try(call, number, deployment, deadline_s)
            except ProviderError as error:
                failures.append(error)
                if not another_may_help(error):
                    break
        raise verdict(failures) from failures[-1]
