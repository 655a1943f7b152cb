"""In which order are the deployments tried?"""

from __future__ import annotations

from msgspec.structs import replace

from proxy.call import Call, Deployment, Reply, Tier
from proxy.stage import Service

_ROTATIONS_MAX = 4096


class LoadBalancer:
    """Rank each tier's deployments so that over time each comes first as often as its weight says.

    Smooth weighted round robin: even spacing, no chance involved.  Source: nginx, ngx_http_upstream_round_robin, 2012.
    Reads: tiers.   Writes: deployments.   Raises: nothing.   Config: providers.*.accounts.*.weight, models.*.targets.*.weight.
    """

    def __init__(self) -> None:
        self._shares: dict[tuple[str, ...], list[int]] = {}

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        tiers = call.tiers
        if len(tiers) == 1 and len(tiers[0].deployments) == 1:
            return await next(replace(call, deployments=tiers[0].deployments))
        ranked: list[Deployment] = []
        for tier in tiers:
            ranked.extend(self._rank(tier))
        return await next(replace(call, deployments=tuple(ranked)))

    def _rank(self, tier: Tier) -> list[Deployment]:
        deployments = tier.deployments
        if len(deployments) < 2:
            return list(deployments)
        # A key that may use only some of them takes turns of its own.
        key = (tier.name, *(deployment.name for deployment in deployments))
        shares = self._shares.get(key)
        if shares is None:
            if len(self._shares) >= _ROTATIONS_MAX:
                self._shares.clear()
            shares = self._shares[key] = [0] * len(deployments)
        total = 0
        for index, deployment in enumerate(deployments):
            shares[index] += deployment.weight
            total += deployment.weight
        order = sorted(range(len(deployments)), key=lambda index: (-shares[index], index))
        shares[order[0]] -= total
        return [deployments[index] for index in order]
