"""Which models may answer?"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

from msgspec.structs import replace

from proxy.call import Call, Deployment, Principal, Reply, Tier
from proxy.errors import NotAllowed
from proxy.models import ModelTable
from proxy.stage import Service


class ModelRouter:
    """Turn the name that was asked for into tiers of deployments, as far as the key may use them.

    Reads: head.model, principal.   Writes: tiers.   Raises: 404, 403.   Config: providers, models, aliases.
    """

    def __init__(self, table: Callable[[], ModelTable]) -> None:
        self._table = table

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        tiers = self._table().resolve(call.head.model)
        principal = call.principal
        if principal is not None and principal.models and not may_use(principal, call.head.model):
            tiers = tuple(filter(None, (_allowed(principal, tier) for tier in tiers)))
            if not tiers:
                raise NotAllowed(f"This API key may not use the model '{call.head.model}'.", param="model")
        return await next(replace(call, tiers=tiers))


def may_use(principal: Principal, name: str) -> bool:
    """Whether the key's patterns allow a name.  No patterns: everything."""
    return not principal.models or any(fnmatchcase(name, pattern) for pattern in principal.models)


def _allowed(principal: Principal, tier: Tier) -> Tier | None:
    """The tier without the deployments that the key may not use, under whatever name they were asked for."""
    kept: tuple[Deployment, ...] = tuple(it for it in tier.deployments if may_use(principal, it.name))
    return Tier(name=tier.name, deployments=kept) if kept else None
