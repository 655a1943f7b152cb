"""Which models may answer?"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

from msgspec.structs import replace

from ledger.ports import PricingPort
from providers.canonical import ReasoningAsk
from providers.registry import WIRES
from providers.thinking import suffix
from proxy.call import Call, Deployment, Principal, Reply, Tier
from proxy.errors import NotAllowed, PriceUnknown
from proxy.held import Held, at_the_holder
from proxy.models import ModelTable
from proxy.stage import Service
from proxy.translation import Translation


class ModelRouter:
    """Turn the name that was asked for into tiers of deployments, as far as the key may use them, and as far as what is asked
    can be said to them.

    held: who holds the response that a request goes on from: nobody else may answer it.
    prices: given where nothing may be sent whose price is unknown; deployments without one are then left out.
    ``name(high)``: the model of that name, which is to think so much.
    Reads: head.model, principal, body.   Writes: tiers, thinking, asked.   Raises: 404, 403, 400.
    Config: providers, models, aliases, ledger.unknown_price.
    """

    def __init__(
        self,
        table: Callable[[], ModelTable],
        *,
        prices: PricingPort | None = None,
        held: Held | None = None,
        translation: Translation | None = None,
    ) -> None:
        self._table = table
        self._prices = prices
        self._held = held
        self._translation = translation or Translation()

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        principal = call.principal
        if principal is not None and principal.endpoints and call.endpoint not in principal.endpoints:
            raise NotAllowed(f"This API key may not use the endpoint '{call.endpoint}'.")
        name, thinking, tiers = self._resolved(call)
        if principal is not None:
            for patterns in _patterns(principal):
                if not _fits(patterns, name):
                    tiers = tuple(filter(None, (_allowed(patterns, tier) for tier in tiers)))
            if all(tier.detour for tier in tiers):
                raise NotAllowed(f"This API key may not use the model '{call.head.model}'.", param="model")
        if self._prices is not None:
            tiers = _priced(self._prices, tiers, call)
        if self._held is not None:
            tiers = at_the_holder(self._held, call, tiers)
        if thinking is not None:
            call = replace(call, thinking=thinking)
        return await next(replace(call, tiers=self._translation.expressible(call, tiers)))

    def _resolved(self, call: Call) -> tuple[str, ReasoningAsk | None, tuple[Tier, ...]]:
        """The model's name, what its suffix says, and who may answer.  A name that somebody lists has no suffix."""
        table, asked = self._table(), call.head.model
        name, thinking = suffix(asked)
        if thinking is not None and not table.lists(asked) and WIRES[call.endpoint].kind == "chat":
            return name, thinking, table.resolve(name)
        return asked, None, table.resolve(asked)


def may_use(principal: Principal, *names: str) -> bool:
    """Whether the key, its user and its team each allow a model by one of its names.  No patterns: everything."""
    return all(any(_fits(patterns, name) for name in names) for patterns in _patterns(principal))


def _patterns(principal: Principal) -> tuple[tuple[str, ...], ...]:
    """Every set of patterns that has to allow a model."""
    return (principal.models, *principal.owner_models) if principal.models else principal.owner_models


def _fits(patterns: tuple[str, ...], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _allowed(patterns: tuple[str, ...], tier: Tier) -> Tier | None:
    """The tier without the deployments that the patterns do not allow, under whatever name they were asked for."""
    kept: tuple[Deployment, ...] = tuple(it for it in tier.deployments if _fits(patterns, it.name))
    return replace(tier, deployments=kept) if kept else None


def _priced(prices: PricingPort, tiers: tuple[Tier, ...], call: Call) -> tuple[Tier, ...]:
    """The tiers without the deployments whose price is unknown.  Raises: PriceUnknown, if nothing is left."""
    kept = []
    for tier in tiers:
        known = tuple(
            it for it in tier.deployments if prices.price(it.upstream.provider, it.model, call.received_us) is not None
        )
        if known:
            kept.append(replace(tier, deployments=known))
    if all(tier.detour for tier in kept):
        raise PriceUnknown(
            f"No price is known for the model '{call.head.model}', and this gateway serves none without; "
            "'ledger.prices' can give it one.",
            param="model",
        )
    return tuple(kept)
