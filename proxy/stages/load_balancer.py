"""In which order are the deployments tried?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import log

import msgspec
from msgspec.structs import replace

from proxy.attempts.balance import Loads
from proxy.call import Call, Deployment, Reply, Strategy, Tier
from proxy.routing.sessions import session_of
from proxy.stage import Service

ROTATIONS_MAX = 4096
TOLERANCE = 2.0
"""Whose turn it is keeps it unless it costs more than so many times as much: shares hold as long as all are about as good."""


class Balancing(msgspec.Struct, frozen=True, kw_only=True):
    """strategy: of models that have none of their own.  affinity: requests of one session stay together, as long as that
    costs no more than affinity_factor times as much as the best other choice.
    """

    strategy: Strategy = "p2c"
    affinity: bool = True
    affinity_factor: float = 4.0


class LoadBalancer:
    """Rank each tier's deployments: who is asked first, and who if that fails.

    ``round_robin``: smooth weighted round robin; even spacing, exact shares, no chance.
    ``p2c``: whose turn it is by round robin, unless another one, drawn at random, is less than half as busy and slow; so a
    deployment gets its share as long as it is about as good as the others.
    ``least_in_flight``: who has the fewest tries under way for its weight.   ``weighted``: drawn at random by weight.
    Then a session's own deployment goes first, by weighted rendezvous: of all sessions only those move that have to.
    Source: nginx, ngx_http_upstream_round_robin, 2012; Mitzenmacher, The Power of Two Choices, 2001; Thaler and
    Ravishankar, Using Name-Based Mappings to Increase Hit Rates, 1998.
    Reads: tiers, headers, head, principal.   Writes: deployments, detours.   Raises: nothing.
    Config: load_balancer, models.*.load_balancer, providers.*.accounts.*.weight, models.*.targets.*.weight, priority.
    """

    def __init__(
        self,
        balancing: Balancing,
        *,
        loads: Loads,
        clock_s: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._balancing = balancing
        self._loads = loads
        self._clock_s = clock_s
        self._chance = chance
        self._shares: dict[tuple[str, ...], list[int]] = {}

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        tiers = call.tiers
        if len(tiers) == 1 and len(tiers[0].deployments) == 1:
            return await next(replace(call, deployments=tiers[0].deployments))
        session = session_of(call) if self._balancing.affinity else ""
        ranked: list[Deployment] = []
        detours = []
        for tier in tiers:
            order = self._rank(call, tier, session)
            if tier.detour:
                detours.append((tier.detour, tuple(order)))
            else:
                ranked.extend(order)
        return await next(replace(call, deployments=tuple(ranked), detours=tuple(detours)))

    def _rank(self, call: Call, tier: Tier, session: str) -> Sequence[Deployment]:
        deployments = tier.deployments
        if len(deployments) < 2:
            return deployments
        strategy = tier.strategy or self._balancing.strategy
        order = self._drawn(deployments) if strategy == "weighted" else self._turns(tier)
        scores: list[float] | None = None
        if strategy == "p2c":
            scores = self._scores(call, deployments)
            order = self._better(order, scores)
        elif strategy == "least_in_flight":
            busy = [self._loads.of(it).in_flight / it.weight for it in deployments]
            order = sorted(order, key=busy.__getitem__)
        if session:
            order = self._together(session, deployments, order, scores or self._scores(call, deployments))
        return [deployments[index] for index in order]

    def _turns(self, tier: Tier) -> list[int]:
        """Whose turn it is, then the others by what they are owed."""
        deployments = tier.deployments
        # A key that may use only some of them takes turns of its own.
        key = (tier.name, *(deployment.name for deployment in deployments))
        shares = self._shares.get(key)
        if shares is None:
            if len(self._shares) >= ROTATIONS_MAX:
                self._shares.clear()
            shares = self._shares[key] = [0] * len(deployments)
        total = 0
        for index, deployment in enumerate(deployments):
            shares[index] += deployment.weight
            total += deployment.weight
        order = sorted(range(len(deployments)), key=lambda index: (-shares[index], index))
        # Also where it is passed over then: what it has missed is not made up for.
        shares[order[0]] -= total
        return order

    def _drawn(self, deployments: Sequence[Deployment]) -> list[int]:
        """At random by weight, without putting back.  Source: Efraimidis and Spirakis, 2006."""
        return sorted(range(len(deployments)), key=lambda index: log(1.0 - self._chance()) / deployments[index].weight)[::-1]

    def _scores(self, call: Call, deployments: Sequence[Deployment]) -> list[float]:
        """What one more request costs at each; less is better."""
        now_s = self._clock_s()
        stream = call.head.stream
        loads = [self._loads.of(it) for it in deployments]
        known = [ttfb_s for load in loads if (ttfb_s := load.ttfb_s(stream=stream))]
        best_s = min(known, default=1.0)
        mean = sum(it.weight for it in deployments) / len(deployments)
        return [
            load.score(now_s, stream=stream, best_s=best_s, share=it.weight / mean)
            for load, it in zip(loads, deployments, strict=True)
        ]

    def _better(self, order: list[int], scores: Sequence[float]) -> list[int]:
        """The first keeps its turn, unless another one, drawn at random, costs much less; the rest by cost."""
        first, *others = order
        other = others[int(self._chance() * len(others))]
        if scores[first] > TOLERANCE * scores[other]:
            first = other
        if len(order) == 2:
            return [first, order[0] if first == order[1] else order[1]]
        return [first, *sorted((index for index in order if index != first), key=scores.__getitem__)]

    def _together(
        self, session: str, deployments: Sequence[Deployment], order: Sequence[int], scores: Sequence[float]
    ) -> list[int]:
        """The session's own deployments first, in its own order, then those for which it would cost too much."""
        most = self._balancing.affinity_factor * min(scores)
        own = sorted(range(len(deployments)), key=lambda index: _distance(session, deployments[index]))
        kept = [index for index in own if scores[index] <= most]
        return kept + [index for index in order if index not in kept]


def _distance(session: str, deployment: Deployment) -> float:
    """How far a session is from a deployment: the nearest is its own.  Exponentially distributed, by weight."""
    name = f"{session}\n{deployment.upstream.provider}\n{deployment.upstream.account}\n{deployment.model}"
    drawn = int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=7).digest(), "big")
    return -log((drawn + 1) / (2**56 + 1)) / deployment.weight
