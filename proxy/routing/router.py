"""``decide``: from what a request needs to who answers it.  Pure: the same arguments give the same decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from proxy.call import RouteField
from proxy.routing.estimate import (
    ANYTHING,
    EVERYBODY,
    Scope,
    Session,
    Slate,
    costs_of,
    excess,
    is_bounded,
    latencies_of,
    may_not_fit,
    slate,
    within,
)
from proxy.routing.features import Features
from proxy.routing.field import Field
from proxy.routing.live import NOTHING, Live
from proxy.routing.pareto import UNKNOWN_MS, frontier
from proxy.routing.policy import Axes, Policy, Stick, rank

Why = Literal["rule", "session", "explored", "abstained", "nobody", "named"]

_NONE_BROKEN: Final[Mapping[str, str]] = MappingProxyType({})
_NOBODY: Final[Mapping[int, str]] = MappingProxyType({})


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to answer, and all that it takes to say why.  Places are those on the slate.

    order: who is asked, and who after them; empty: nobody can.  front: whom nobody beats, the policy's first one first.
    alive: who keeps to every limit.  excluded: of the others, by place, why.
    why: ``rule``: the policy's choice; ``session``: the model of the conversation so far; ``explored``: drawn;
    ``abstained``: too little is known of everybody, and the policy's default, if it has one, stands in; ``named``: nothing
    was chosen, the name says who answers.
    propensity: the chance that this one was taken.
    """

    policy: Policy
    features: Features
    constraints: RouteField
    slate: Slate
    costs: Sequence[int]
    latencies: Sequence[float]
    alive: Sequence[int]
    excluded: Mapping[int, str]
    front: Sequence[int]
    order: Sequence[int]
    why: Why
    propensity: float = 1.0
    session: Session | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Whom to ask, in this order."""
        return tuple(self.slate.names[at] for at in self.order)

    @property
    def chosen(self) -> str:
        """Whom to ask first; empty: nobody."""
        return self.slate.names[self.order[0]] if self.order else ""


def decide(
    field: Field,
    features: Features,
    policy: Policy,
    *,
    constraints: RouteField = ANYTHING,
    live: Live = NOTHING,
    scope: Scope = EVERYBODY,
    session: Session | None = None,
    broken: Mapping[str, str] = _NONE_BROKEN,
    seed: str = "",
) -> Decision:
    """Decide who answers.

    broken: offers that cannot be asked just now, with the reason.  session: who answered before.  seed: of this request, for
    exploration: the same one draws the same.
    """
    outlook = field.outlook(features.task, features.effort, policy.percentile, policy.caution, live)
    offered = slate(outlook, features, constraints, policy, scope)
    costs = costs_of(offered, features, session if policy.stick is not None else None)
    latencies = latencies_of(offered, features)
    qualities = offered.qualities
    alive, excluded = _alive(offered, features, constraints, costs, latencies, broken)
    known: Sequence[int] = [at for at in alive if at not in offered.weak] if offered.weak else alive
    abstains = not known
    pool = known or alive
    if offered.preferred:
        pool = [at for at in pool if at in offered.preferred] or pool
    if not pool:
        return Decision(
            policy=policy, features=features, constraints=constraints, slate=offered, costs=costs, latencies=latencies,
            alive=(), excluded=excluded, front=(), order=(), why="nobody", session=session,
        )  # fmt: skip
    if policy.rule == "throughput":  # an order, and no choice among those whom nobody beats
        front: Sequence[int] = pool
    elif len(pool) == len(costs):
        front = frontier(qualities, costs, latencies)
    else:
        kept = frontier([qualities[at] for at in pool], [costs[at] for at in pool], [latencies[at] for at in pool])
        front = [pool[place] for place in kept]
    front = _ranked(policy, offered, front, costs, latencies, features.task)
    first = front[0]
    why: Why = "abstained" if abstains else "rule"
    propensity = 1.0
    if session is not None and policy.stick is not None and not abstains:
        own = offered.where.get(session.offer, -1)
        if own >= 0 and own != first and own not in excluded and _stays(policy.stick, offered, own, first, costs, latencies):
            first, why = own, "session"
    if policy.explore.fraction > 0 and why == "rule":
        first, why, propensity = _explored(policy, front, costs, seed)
    return Decision(
        policy=policy, features=features, constraints=constraints, slate=offered, costs=costs, latencies=latencies,
        alive=alive, excluded=excluded, front=front, order=_order(first, front, known or alive, policy.fallbacks), why=why,
        propensity=propensity, session=session,
    )  # fmt: skip


class _Excluded(Mapping[int, str]):
    """Who does not keep to the limits, by place, and why: put into words when somebody asks."""

    __slots__ = ("_asked", "_broken")

    def __init__(
        self,
        broken: dict[int, str | None],
        asked: tuple[Slate, Features, RouteField, Sequence[int], Sequence[float]],
    ) -> None:
        self._broken = broken
        self._asked = asked

    def __getitem__(self, at: int) -> str:
        reason = self._broken[at]
        if reason is None:
            offered, features, constraints, costs, latencies = self._asked
            reason = excess(offered, at, costs[at], latencies[at], features, constraints)
        return reason

    def __contains__(self, at: object) -> bool:
        return at in self._broken

    def __iter__(self) -> Iterator[int]:
        return iter(self._broken)

    def __len__(self) -> int:
        return len(self._broken)


def _alive(
    offered: Slate,
    features: Features,
    constraints: RouteField,
    costs: Sequence[int],
    latencies: Sequence[float],
    broken: Mapping[str, str],
) -> tuple[Sequence[int], Mapping[int, str]]:
    """Who keeps to every limit, and of the others why not."""
    everybody: Sequence[int] = range(len(costs))
    excluded: dict[int, str | None] = {}
    for name, reason in broken.items():
        if (at := offered.where.get(name, -1)) >= 0:
            excluded[at] = reason
    kept = everybody
    if is_bounded(constraints):
        kept = within(offered, constraints, costs, latencies)
    if may_not_fit(offered, features):
        kept = [at for at in kept if not excess(offered, at, costs[at], latencies[at], features, constraints)]
    if len(kept) < len(costs):
        left = set(kept)
        excluded = {**dict.fromkeys(at for at in everybody if at not in left), **excluded}
    if not excluded:
        return everybody, _NOBODY
    asked = (offered, features, constraints, costs, latencies)
    return [at for at in kept if at not in excluded], _Excluded(excluded, asked)


def _ranked(
    policy: Policy, offered: Slate, front: Sequence[int], costs: Sequence[int], latencies: Sequence[float], task: str
) -> list[int]:
    axes = Axes(
        [offered.qualities[at] for at in front],
        [costs[at] for at in front],
        [latencies[at] for at in front],
        [offered.token_ms[at] for at in front],
        task,
    )
    order = rank(policy, axes, [offered.names[at] for at in front])
    return [front[place] for place in order]


def _stays(stick: Stick, offered: Slate, own: int, other: int, costs: Sequence[int], latencies: Sequence[float]) -> bool:
    """Whether what a change would gain is not worth it: neither in quality, nor in cost, nor in time."""
    if offered.qualities[other] - offered.qualities[own] > stick.points / 100:
        return False
    if costs[own] > costs[other] * stick.cost_ratio:
        return False
    return latencies[own] <= latencies[other] * stick.latency_ratio or latencies[other] == UNKNOWN_MS


def _explored(policy: Policy, front: Sequence[int], costs: Sequence[int], seed: str) -> tuple[int, Why, float]:
    """The rule's choice, or another one drawn evenly among those of the front that do not cost too much more."""
    explore = policy.explore
    first = front[0]
    most = costs[first] + explore.max_cost_nusd
    others = [at for at in front[1:] if costs[at] <= most]
    if not others:
        return first, "rule", 1.0
    drawn = int.from_bytes(blake2b(f"{explore.seed}\n{seed}".encode("utf-8", "replace"), digest_size=7).digest(), "big") / 2**56
    if drawn >= explore.fraction:
        return first, "rule", 1.0 - explore.fraction
    return others[int(drawn / explore.fraction * len(others))], "explored", explore.fraction / len(others)


def _order(first: int, front: Sequence[int], others: Sequence[int], count: int) -> tuple[int, ...]:
    """The first, and those who stand by: the rest of the front, then the best of the others."""
    order = [first]
    for candidates in (front, others):
        for at in candidates:
            if len(order) > count:
                return tuple(order)
            if at not in order:
                order.append(at)
    return tuple(order)
