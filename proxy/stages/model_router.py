"""Which models may answer?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fnmatch import fnmatchcase

from msgspec.structs import replace

from ledger.ports import PricingPort
from providers.registry import WIRES
from providers.thinking import suffix
from proxy.attempts.translation import Translation
from proxy.caching.references import References
from proxy.call import Call, Deployment, Principal, Reply, RouteField, Tier
from proxy.deployments.held import Held, at_the_holder, with_its_files
from proxy.deployments.models import ModelTable
from proxy.errors import (
    InvalidRequest,
    ModelNotFound,
    NoCandidate,
    NoHealthyUpstream,
    NotAllowed,
    PriceUnknown,
    UnsupportedEndpoint,
)
from proxy.routing import constraints
from proxy.routing.auto import AUTO, Auto, features_for
from proxy.routing.estimate import Scope
from proxy.routing.receipt import reasons
from proxy.routing.router import Decision
from proxy.stage import Service

LARGE_BYTES = 256 * 1024
"""A larger body is looked at in a thread: it would hold up everybody else for a millisecond."""
RETRY_AFTER_S = 5
"""After the start it may take so long until the providers have said what they serve."""
SORTED_MAX = 20
"""Of those whom a name means that is sorted, so many are asked."""
REASONS_MAX = 20
"""Of those who cannot answer, so many are told why,"""
MESSAGE_MAX_CHARS = 440
"""in a sentence of so many characters."""


CHOSEN = frozenset({"chat", "text", "count"})
"""Kinds of which it is known who is good at them."""


class ModelRouter:
    """Turn the name that was asked for into tiers of deployments, as far as the key may use them, and as far as what is asked
    can be said to them.

    ``auto``, its policies and the suffixes ``:floor`` and ``:nitro`` are decided on: the first tier is the choice, the others
    stand by.  All other names say themselves who answers.  ``name(high)``: the model of that name, which is to think so much.
    prices: given where nothing may be sent whose price is unknown; deployments without one are then left out.
    references: what answers consisted of that nobody keeps.
    held: who holds the response that a request goes on from, and the files that it names: nobody else may answer it.
    auto: decides; without it there is no such name.
    Reads: head, body, headers, principal.   Writes: tiers, thinking, asked, routed.   Raises: 404, 403, 400; 422, where nobody
    meets what is asked; 503, where nobody is known yet.
    Config: providers, models, aliases, policies, routing, ledger.unknown_price.
    """

    def __init__(
        self,
        table: Callable[[], ModelTable],
        *,
        prices: PricingPort | None = None,
        translation: Translation | None = None,
        held: Held | None = None,
        auto: Auto | None = None,
        references: References | None = None,
    ) -> None:
        self._table = table
        self._prices = prices
        self._translation = translation or Translation()
        self._held = held
        self._auto = auto
        self._references = references or References()

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        principal = call.principal
        if principal is not None and principal.endpoints and call.endpoint not in principal.endpoints:
            raise NotAllowed(f"This API key may not use the endpoint '{call.endpoint}'.")
        call = self._references.resolved(call)
        table, auto = self._table(), self._auto
        call, name = _suffixed(table, call)
        if auto is not None and auto.wants(meant := table.meant(name)):
            tiers = await self._decided(auto, table, call, meant)
        else:
            tiers = self._named(table, call, name)
        if self._held is not None:
            tiers = with_its_files(self._held, call, at_the_holder(self._held, call, tiers))
        reply = await next(replace(call, tiers=self._translation.expressible(call, tiers)))
        return await self._references.keep(call, reply)

    async def explained(self, call: Call) -> Decision:
        """What would be decided for a call, whatever its name is; nobody is asked.  Raises: as when it is called."""
        auto, table = self._auto, self._table()
        if auto is None:
            raise ModelNotFound("Nothing is chosen here.", param="model")
        call, name = _suffixed(table, call)
        name = table.meant(name)
        if auto.wants(name):
            return (await self._decide(auto, table, call, name))[0]
        names = [it.name for tier in self._named(table, call, name) if not tier.detour for it in tier.deployments]
        decision, _ = await self._decide(auto, table, call, AUTO, only=frozenset(names))
        order = dict.fromkeys(decision.slate.where[it] for it in names if it in decision.slate.where)
        return replace(decision, policy=replace(decision.policy, name=name), order=tuple(order), why="named")

    def _named(self, table: ModelTable, call: Call, name: str) -> tuple[Tier, ...]:
        """The tiers of a name that says itself who answers.  Raises: ModelNotFound, NotAllowed, PriceUnknown."""
        tiers, said = table.resolve(name), _said(call)
        if call.principal is not None:
            for patterns in _patterns(call.principal):
                if not _fits(patterns, said):
                    tiers = tuple(filter(None, (_allowed(patterns, tier) for tier in tiers)))
            if all(tier.detour for tier in tiers):
                raise NotAllowed(f"This API key may not use the model '{call.head.model}'.", param="model")
        return tiers if self._prices is None else _priced(self._prices, tiers, call)

    async def _decided(self, auto: Auto, table: ModelTable, call: Call, name: str) -> tuple[Tier, ...]:
        """The tiers of a choice.  Raises: as ``_named``; NoCandidate; InvalidRequest."""
        if (plain := self._plain(table, call, name)) is not None:
            return plain
        if name == AUTO or name.startswith(f"{AUTO}:") or call.endpoint == "realtime":
            _refuse_to_choose(call)
        if not auto.knows_anybody:
            raise NoHealthyUpstream("No model is known here yet.", retry_after_s=RETRY_AFTER_S)
        decision, wanted = await self._decide(auto, table, call, name)
        among = auto.parsed(name)[1]
        if among and not (decision.slate.names or decision.slate.rejected):
            return self._named(table, call, among)  # nobody lists it, and there is nothing to sort
        standing_in = wanted.fallback or decision.policy.fallback if not decision.order else ""
        if standing_in:
            auto.keep(call, decision, standing_in=standing_in)
            return self._named(table, call, standing_in)
        if not decision.order:
            auto.keep(call, decision)
            raise NoCandidate(_refusal(decision), param="model")
        tiers = tuple(self._named(table, call, offer)[0] for offer in decision.names)
        if decision.why == "abstained" and decision.policy.default:
            stands = self._default(table, call, decision)
            auto.keep(call, decision, standing_in=decision.policy.default if stands else "")
            return stands or tiers
        auto.keep(call, decision)
        return tiers

    async def _decide(
        self, auto: Auto, table: ModelTable, call: Call, name: str, *, only: frozenset[str] | None = None
    ) -> tuple[Decision, RouteField]:
        """Raises: ModelNotFound, NotAllowed, InvalidRequest."""
        wanted = auto.asked(call)
        policy_name, among = auto.parsed(name)
        if wanted.policy:
            policy_name = _policy_name(wanted.policy)
            if policy_name not in auto.policies:
                raise InvalidRequest(f"There is no policy '{policy_name}'.", param="route.policy")
        policy = auto.policy(policy_name)
        if among:
            only = frozenset(_among(table, among))
            # The caller has chosen the model; how good it is does not matter.
            policy = replace(policy, abstain=None, fallbacks=SORTED_MAX)
        # A large body would hold up everybody else.
        task = wanted.task or policy.task
        features = (
            await asyncio.to_thread(features_for, call, task) if len(call.body) > LARGE_BYTES else features_for(call, task)
        )
        if features.goes_on:
            only = self._who_goes_on(auto, table, call)
        elif (holders := self._who_has_its_files(table, call)) is not None:
            only = holders
        patterns = () if call.principal is None else _patterns(call.principal)
        scope = Scope(
            allowed=tuple(it for it in patterns if not _fits(it, _said(call))),
            only=only,
            strict=self._prices is not None,
        )
        wanted = constraints.joined(wanted, policy.limits)
        return auto.decide(call, policy, wanted, scope, features), wanted

    def _who_goes_on(self, auto: Auto, table: ModelTable, call: Call) -> frozenset[str]:
        """The offers of who has what came before: the provider that keeps the response, or who answered the conversation.

        Raises: InvalidRequest, if nobody knows.
        """
        earlier = call.head.previous_response
        if self._held is not None and earlier and (holding := self._held.find(call.principal, earlier)) is not None:
            holders = (it for it in table.providers() if it.name == holding.provider)
            return frozenset(f"{it.name}/{model}" for it in holders for model in it.models)
        session = auto.session(call)
        if session is None:
            raise InvalidRequest(_GOES_ON, param="previous_response_id")
        return frozenset((session.offer,))

    def _who_has_its_files(self, table: ModelTable, call: Call) -> frozenset[str] | None:
        """The offers of the provider that keeps the files which a request names; ``None``: it names none of this key's."""
        holdings = [self._held.find_file(call.principal, it) for it in call.head.weight.files] if self._held else []
        holders = {it.provider for it in holdings if it is not None}
        if not holders:
            return None
        return frozenset(f"{it.name}/{model}" for it in table.providers() if it.name in holders for model in it.models)

    def _plain(self, table: ModelTable, call: Call, name: str) -> tuple[Tier, ...] | None:
        """The tiers of a name that only looks like one that is sorted: a provider's own, or OpenRouter's to sort."""
        provider, slash, model = name.partition("/")
        if slash and (provider == "openrouter" or any(it.name == provider and model in it.models for it in table.providers())):
            return self._named(table, call, name)
        return None

    def _default(self, table: ModelTable, call: Call, decision: Decision) -> tuple[Tier, ...]:
        """The policy's default, as far as it keeps to what is asked; empty: it does not."""
        kept = frozenset(decision.slate.names[at] for at in decision.alive)
        try:
            tiers = self._named(table, call, decision.policy.default)
        except (ModelNotFound, NotAllowed, PriceUnknown):
            return ()
        able = (
            replace(tier, deployments=tuple(it for it in tier.deployments if it.name in kept))
            for tier in tiers
            if not tier.detour
        )
        return tuple(tier for tier in able if tier.deployments)


def _refuse_to_choose(call: Call) -> None:
    """Raises: UnsupportedEndpoint, for what is asked of a model that was named."""
    kind = WIRES[call.endpoint].kind
    if kind == "embedding":
        # What one model makes of a text is no vector of another's.
        raise UnsupportedEndpoint("Embeddings of different models do not compare; name one.", param="model")
    if kind == "session":
        raise UnsupportedEndpoint(
            "A model is chosen by what is asked of it, and a session has not asked yet; name one.", param="model"
        )
    if kind not in CHOSEN:
        raise UnsupportedEndpoint(f"No model is chosen for /v1/{call.endpoint}; name one.", param="model")


def _suffixed(table: ModelTable, call: Call) -> tuple[Call, str]:
    """The call with what the suffix of its model's name asks for, and the name.  A name that somebody lists has no suffix."""
    asked = call.head.model
    name, thinking = suffix(asked)
    if thinking is None or table.lists(asked) or WIRES[call.endpoint].kind != "chat":
        return call, asked
    return replace(call, thinking=thinking), name


def _said(call: Call) -> str:
    """The model's name as the caller says it, without a suffix that says how much it is to think."""
    return call.head.model if call.thinking is None else suffix(call.head.model)[0]


_GOES_ON = (
    "What this request goes on with is where it was answered; name that model, or have the requests of a conversation share a "
    "'prompt_cache_key'."
)


def _policy_name(name: str) -> str:
    return name if name == AUTO or name.startswith(f"{AUTO}:") else f"{AUTO}:{name}"


def _among(table: ModelTable, name: str) -> list[str]:
    """Whom a name means that is to be sorted: every provider of a model, or every target.  Raises: ModelNotFound."""
    serving = table.serving(name)
    return serving or [it.name for tier in table.resolve(name) if not tier.detour for it in tier.deployments]


def _refusal(decision: Decision) -> str:
    """Why nobody can answer: everybody's reason, as far as an error's sentence has room for it."""
    found = reasons(decision, REASONS_MAX)
    if not found:
        return "No model can answer: none is known here that may be asked."
    text = "No model can answer within what is asked."
    told = 0
    for it in found:
        reason = f" {it.name}: {it.reason};"
        if len(text) + len(reason) > MESSAGE_MAX_CHARS:
            break
        text += reason
        told += 1
    total = len(decision.excluded) + len(decision.slate.rejected)
    more = f" {total - told} more are told by POST /v1/route/explain." if total > told else ""
    return f"{text.removesuffix(';')}.{more}" if told else f"{text}{more}"


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
