"""Which names lead to which deployments: an immutable table, made from the configuration and what the providers list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import gcd, lcm
from typing import Literal

import msgspec

from providers.provider import Endpoint, Traits, Upstream
from proxy.call import Deployment, Detour, Strategy, Tier
from proxy.errors import ModelNotFound

Origin = Literal["configured", "alias", "listed", "catalogue"]


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A configured or discovered provider.

    accounts: each with its weight.  models: what it serves; ``closed``: that and nothing else.
    origin: who said so: the configuration, the provider's own list, or the price file's names while it cannot be asked.
    traits: what it says itself of some of them.
    """

    name: str
    accounts: tuple[tuple[Upstream, int], ...]
    models: tuple[str, ...] = ()
    closed: bool = False
    origin: Origin = "listed"
    traits: Mapping[str, Traits] = {}


class Target(msgspec.Struct, frozen=True):
    """``provider/model``, its share among those of its priority, and when it is its turn: 1 goes first."""

    name: str
    weight: int = 1
    priority: int = 1


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the operator's own naming.

    fallbacks: names, in order.  detours: names for what is too long, or not allowed, for all of these.
    strategy: how one of several is chosen, if not as everywhere.  timeouts: in seconds, by the names of ``Timeouts``,
    where they are not the providers'.
    """

    targets: tuple[Target, ...]
    fallbacks: tuple[str, ...] = ()
    detours: tuple[tuple[Detour, str], ...] = ()
    strategy: Strategy | None = None
    timeouts: tuple[tuple[str, float], ...] = ()


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the models list."""

    id: str
    owned_by: str


_MEMO_MAX = 4096

Narrow = Callable[[Upstream, str], Upstream]
"""An account as it is for one model, which it may not serve at every endpoint."""


def as_it_is(upstream: Upstream, model: str) -> Upstream:
    """The account, whatever the model."""
    del model
    return upstream


class ModelTable:
    """Resolves a name to tiers of deployments.  A new table replaces an old one; none is ever changed."""

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        models: Mapping[str, Named] | None = None,
        aliases: Mapping[str, str] | None = None,
        narrowed: Narrow = as_it_is,
    ) -> None:
        self._narrowed = narrowed
        self._providers = {provider.name: provider for provider in providers}
        self._models = dict(models or {})
        self._aliases = dict(aliases or {})
        self._bare: dict[str, list[str]] = {}
        for provider in providers:
            for model in provider.models:
                self._bare.setdefault(model, []).append(provider.name)
        self._memo: dict[str, tuple[Tier, ...]] = {}

    def resolve(self, name: str) -> tuple[Tier, ...]:
        """What may answer to a name: an alias, a configured model, ``provider/model``, or an unambiguous bare name.

        Raises: ModelNotFound.
        """
        tiers = self._memo.get(name)
        if tiers is None:
            tiers = self._resolve(name)
            # Names come from callers: whatever they send, the memo stays small.
            if len(self._memo) >= _MEMO_MAX:
                self._memo.clear()
            self._memo[name] = tiers
        return tiers

    def models(self) -> list[Model]:
        """Every name worth offering: the operator's own first, then ``provider/model``."""
        rows = [Model(id=name, owned_by="tollway") for name in self._models]
        rows += [Model(id=name, owned_by="tollway") for name in self._aliases]
        rows += [
            Model(id=f"{provider.name}/{model}", owned_by=provider.name)
            for provider in self._providers.values()
            for model in provider.models
        ]
        return rows

    def meant(self, name: str) -> str:
        """What an alias stands for; any other name is itself."""
        seen = set()
        while name in self._aliases and name not in seen:
            seen.add(name)
            name = self._aliases[name]
        return name

    def offers(self) -> list[tuple[Provider, str]]:
        """Every model of every provider that is listed, or is a target of the operator's models; each once."""
        found = {(provider.name, model): provider for provider in self._providers.values() for model in provider.models}
        for named in self._models.values():
            for target in named.targets:
                name, _, model = target.name.partition("/")
                provider = self._providers.get(name)
                if provider is not None and model and not (provider.closed and model not in provider.models):
                    found[name, model] = provider
        return [(provider, model) for (_, model), provider in found.items()]

    def serving(self, model: str) -> list[str]:
        """The offers, ``provider/model``, of every provider that lists a model by that name."""
        return [f"{provider}/{model}" for provider in self._bare.get(model, ())]

    def providers(self) -> list[Provider]:
        """Every provider, as configured or found."""
        return list(self._providers.values())

    def lists(self, name: str) -> bool:
        """Whether somebody calls a model exactly so."""
        provider, _, model = name.partition("/")
        known = self._providers.get(provider)
        return (
            name in self._models or name in self._aliases or name in self._bare or (known is not None and model in known.models)
        )

    def traits(self, provider: str, model: str) -> Traits | None:
        """What a provider says itself of a model; ``None``: nothing."""
        known = self._providers.get(provider)
        return known.traits.get(model) if known is not None else None

    def account(self, provider: str, account: str) -> Upstream | None:
        """An account by its name; ``None``: there is none."""
        known = self._providers.get(provider)
        return next((it for it, _ in known.accounts if it.account == account), None) if known is not None else None

    def _resolve(self, name: str) -> tuple[Tier, ...]:
        return self._tiers(self.meant(name))

    def _tiers(self, name: str) -> tuple[Tier, ...]:
        """The name's own tier and those of its fallbacks, depth first, each once.

        What no provider serves just now is left out as long as anything is left: a server that is not running must not
        take the others with it.  Raises: ModelNotFound.
        """
        tiers: list[Tier] = []
        detours: list[Tier] = []
        missing: list[ModelNotFound] = []
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            target = waiting.pop()
            if target in seen:
                continue
            seen.add(target)
            named = self._models.get(target)
            if named is not None:
                waiting.extend(self._aliases.get(fallback, fallback) for fallback in reversed(named.fallbacks))
                for detour, way in named.detours:
                    with suppress(ModelNotFound):
                        detours += (msgspec.structs.replace(tier, detour=detour) for tier in self._own(way))
            try:
                tiers += self._own(target)
            except ModelNotFound as error:
                missing.append(error)
        if not tiers:
            raise missing[0]
        return (*tiers, *detours)

    def _own(self, name: str) -> list[Tier]:
        """The name's own tiers, without its fallbacks.  Raises: ModelNotFound."""
        name = self._aliases.get(name, name)
        named = self._models.get(name)
        return [self._tier(name)] if named is None else self._named(name, named)

    def _named(self, name: str, named: Named) -> list[Tier]:
        """A tier for each priority.  Raises: ModelNotFound."""
        offers: dict[int, list[tuple[int, tuple[Deployment, ...]]]] = {}
        missing: list[ModelNotFound] = []
        for target in named.targets:
            try:
                offered = self._tier(target.name).deployments
            except ModelNotFound as error:
                missing.append(error)
            else:
                offers.setdefault(target.priority, []).append((target.weight, offered))
        if missing and not offers:
            raise missing[0]
        first = min(offers)
        return [
            Tier(
                name=name if priority == first else f"{name} {priority}",
                deployments=_timed(_shared(offers[priority]), named.timeouts),
                strategy=named.strategy,
            )
            for priority in sorted(offers)
        ]

    def _tier(self, name: str) -> Tier:
        provider_name, slash, model = name.partition("/")
        provider = self._providers.get(provider_name)
        if slash and provider is not None and model:
            if provider.closed and model not in provider.models:
                raise ModelNotFound(f"The provider '{provider_name}' does not serve '{model}'.", param="model")
            return self._offer(provider, model)
        owners = self._bare.get(name, [])
        if len(owners) == 1:
            return self._offer(self._providers[owners[0]], name)
        if owners:
            choices = ", ".join(f"'{owner}/{name}'" for owner in sorted(owners)[:8])
            raise ModelNotFound(f"Several providers serve '{name}': ask for one of {choices}.", param="model")
        raise ModelNotFound(
            f"The model '{name}' is not known here. GET /v1/models lists what is; 'provider/model' names one exactly.",
            param="model",
        )

    def _offer(self, provider: Provider, model: str) -> Tier:
        return Tier(
            name=f"{provider.name}/{model}",
            deployments=tuple(
                Deployment(
                    upstream=_serving(self._narrowed(upstream, model), provider.traits.get(model)), model=model, weight=weight
                )
                for upstream, weight in provider.accounts
            ),
        )


EMBEDDINGS: frozenset[Endpoint] = frozenset({"embeddings"})


def _serving(upstream: Upstream, traits: Traits | None) -> Upstream:
    """The account as it serves a model that makes vectors alone, or that cannot."""
    if traits is None or traits.can is None or traits.can >= {"chat", "embedding"}:
        return upstream
    has = upstream.vendor.endpoints
    serves = has & EMBEDDINGS if "embedding" in traits.can else has - EMBEDDINGS
    return msgspec.structs.replace(upstream, vendor=msgspec.structs.replace(upstream.vendor, endpoints=serves))


def _shared(offers: Sequence[tuple[int, tuple[Deployment, ...]]]) -> tuple[Deployment, ...]:
    """The targets' deployments: each target has the share of its weight, however many accounts divide that among them."""
    sums = [sum(it.weight for it in offered) for _, offered in offers]
    whole = lcm(*sums)
    weights = [weight * whole // total for (weight, _), total in zip(offers, sums, strict=True)]
    divisor = gcd(*(weight * it.weight for weight, (_, offered) in zip(weights, offers, strict=True) for it in offered))
    return tuple(
        msgspec.structs.replace(it, weight=it.weight * weight // divisor)
        for weight, (_, offered) in zip(weights, offers, strict=True)
        for it in offered
    )


def _timed(deployments: tuple[Deployment, ...], timeouts: Sequence[tuple[str, float]]) -> tuple[Deployment, ...]:
    """The deployments with a model's own timeouts."""
    if not timeouts:
        return deployments
    replace = msgspec.structs.replace
    return tuple(
        replace(it, upstream=replace(it.upstream, timeouts=replace(it.upstream.timeouts, **dict(timeouts))))
        for it in deployments
    )
