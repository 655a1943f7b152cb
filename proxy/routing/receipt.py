"""A decision, told: what the request needed, who could answer, what each would be worth, and why the others lost.

A ``Decision`` is kept as it was made, and only told when somebody asks.
"""

from __future__ import annotations

import msgspec

from ledger.catalogue.merge import Score
from proxy.call import RouteField
from proxy.routing.estimate import Rejected, input_tokens
from proxy.routing.features import Features
from proxy.routing.field import TOKENS, Offer, Outlook, flawless_of, judged_of
from proxy.routing.kinds import KINDS
from proxy.routing.pareto import UNKNOWN_MS, UNKNOWN_NUSD, UNKNOWN_QUALITY
from proxy.routing.router import Decision

CANDIDATES_MAX = 1_000


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A number, and what it rests on.

    value: ``None``: nobody knows.  source: who stated it; ``live``: measured here, ``assumed``: nobody has.
    n: our own samples in it.  at_us: when what was stated was observed.
    """

    value: float | int | None
    source: str = ""
    n: int = 0
    at_us: int | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody who could answer, and what that would be worth.

    subject: the ledger's model; as_run: the variant whose benchmarks were taken.  quality: in [0, 1], what counts: the
    expected one less its uncertainty.  borrowed: none of this task's own benchmarks is known of it.
    flawless: the share of its answers to such tasks in which nothing that can be checked was wrong; it is part of the quality.
    place: in the order in which they are asked, from 1; 0: not at all.  reason: why it is not the first.
    """

    name: str
    subject: str = ""
    as_run: str = ""
    quality: Figure
    expected_quality: float | None = None
    error: float = 0.0
    coverage: float = 0.0
    confidence: float = 0.0
    borrowed: bool = False
    flawless: float = 1.0
    input_tokens: int = 0
    output_tokens: Figure
    cost_nusd: Figure
    ttft_ms: Figure
    latency_ms: Figure
    on_front: bool = False
    place: int = 0
    reason: str = ""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request went where it went.

    policy: its name, rule: what that does.  candidates: the best in quality first; at most ``CANDIDATES_MAX``.
    rejected: those who could not answer.  front: whom nobody beats.  order: whom the gateway asks.
    why: of the choice, in a sentence.  propensity: the chance that this one was taken.
    """

    policy: str
    rule: str
    features: Features
    constraints: RouteField
    snapshot: str
    chosen: str
    why: str
    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejected, ...]
    front: tuple[str, ...]
    order: tuple[str, ...]
    explored: bool = False
    abstained: bool = False
    propensity: float = 1.0


def told(decision: Decision) -> Receipt:
    """The receipt of a decision.  About 20 µs a candidate."""
    slate = decision.slate
    candidates = tuple(_candidate(decision, at) for at in range(min(len(slate.names), CANDIDATES_MAX)))
    return Receipt(
        policy=decision.policy.name,
        rule=decision.policy.rule,
        features=decision.features,
        constraints=decision.constraints,
        snapshot=slate.outlook.field.snapshot.id,
        chosen=decision.chosen,
        why=_why(decision),
        candidates=candidates,
        rejected=slate.rejected[:CANDIDATES_MAX],
        front=tuple(slate.names[at] for at in decision.front),
        order=decision.names,
        explored=decision.why == "explored",
        abstained=decision.why == "abstained",
        propensity=decision.propensity,
    )


def reasons(decision: Decision, most: int = 20) -> list[Rejected]:
    """Why nobody can answer: of everybody who was asked for, up to ``most``."""
    slate = decision.slate
    limits = [Rejected(name=slate.names[at], reason=reason) for at, reason in decision.excluded.items()]
    return [*limits, *slate.rejected][:most]


def _why(decision: Decision) -> str:
    policy = decision.policy
    if decision.why == "nobody":
        return "nobody can answer within what is asked"
    if decision.why == "named":
        return "nothing is chosen: the name says who answers, and in which order"
    if decision.why == "session":
        return "it answered this conversation before, and a change would not gain enough"
    if decision.why == "explored":
        return f"it was drawn to learn more of it, which happens to {policy.explore.fraction:.1%} of the requests"
    if decision.why == "abstained":
        if policy.default:
            return f"too little is known of everybody who can answer, so '{policy.default}' does, as the policy says"
        return f"too little is known of everybody who can answer; by what little is known, '{policy.rule}' takes it"
    return _RULES[policy.rule]


_RULES = {
    "weights": "of those whom nobody beats, its quality weighed against its cost and latency is worth most",
    "knee": "of those whom nobody beats, it is the best balance of quality, cost and latency",
    "cheapest": "it is the cheapest that is good enough",
    "best": "it is the best for the money",
    "fastest": "it is the fastest that is good enough",
    "throughput": "it writes the fastest",
    "pareto": "of those whom nobody beats, it has the most quality for the money",
    "cost-aware": "it is the best for the money",
    "hybrid": "hard tasks are weighed, and others go to the cheapest that is good enough",
    "quality": "it is the best",
    "speed": "it is the fastest",
}


def _candidate(decision: Decision, at: int) -> Candidate:
    slate = decision.slate
    outlook = slate.outlook
    place = slate.places[at]
    offer = slate.offers[at]
    grade = outlook.field.grades(outlook.kind, outlook.effort)[place]
    quality, cost, latency = slate.qualities[at], decision.costs[at], decision.latencies[at]
    ttft = slate.ttft_ms[at]
    tokens = slate.outputs[at]
    if decision.features.output_max is not None:
        tokens = min(tokens, float(decision.features.output_max))
    judged = judged_of(outlook.live.offers.by_offer(offer.name, outlook.kind))
    own = None if grade is None else outlook.field.indices.quality(grade.as_run, KINDS[outlook.kind].task)
    scores = () if own is None else tuple(part.score for part in own.parts)
    return Candidate(
        name=offer.name,
        subject=offer.subject,
        as_run="" if grade is None else grade.as_run,
        quality=Figure(
            value=None if quality == UNKNOWN_QUALITY else round(quality, 6),
            source=", ".join(sorted({it.source for it in scores})) or ("" if grade is None else "other tasks' benchmarks"),
            n=0 if judged is None else judged[1],
            at_us=max((it.observed_at_us for it in scores), default=None),
        ),
        expected_quality=outlook.expected[place],
        error=round(outlook.errors[place], 6),
        coverage=round(outlook.coverages[place], 6),
        confidence=round(outlook.confidences[place], 6),
        borrowed=grade is not None and grade.borrowed,
        flawless=round(flawless_of(outlook.live.offers.by_offer(offer.name, outlook.kind)), 6),
        input_tokens=input_tokens(slate, at, decision.features),
        output_tokens=_spoken(outlook, offer, place, tokens),
        cost_nusd=Figure(
            value=None if cost == UNKNOWN_NUSD else cost, source="" if offer.price is None else offer.price.source
        ),
        ttft_ms=_timed(outlook, offer, "ttft_p50", None if ttft == UNKNOWN_MS else ttft),
        latency_ms=_timed(outlook, offer, "output_tps_p50", None if latency == UNKNOWN_MS else latency),
        on_front=at in decision.front,
        place=decision.order.index(at) + 1 if at in decision.order else 0,
        reason=_reason(decision, at),
    )


def _spoken(outlook: Outlook, offer: Offer, place: int, tokens: float) -> Figure:
    """n: of this kind of task; of any, where too few of this kind are known."""
    n = outlook.measured[place]
    if not n and (every := outlook.live.offers.by_offer(offer.name).get(TOKENS)) is not None:
        n = every.n
    stated = outlook.field.snapshot.score(offer.host, TOKENS) if offer.subject else None
    source = "live" if n else stated.source if stated is not None else "assumed"
    return Figure(value=round(tokens, 1), source=source, n=n, at_us=None if stated is None else stated.observed_at_us)


def _timed(outlook: Outlook, offer: Offer, metric: str, value: float | None) -> Figure:
    stated: Score | None = outlook.field.snapshot.score(offer.host, metric) if offer.subject else None
    measured = outlook.live.offers.by_offer(offer.name).get(metric)
    n = 0 if measured is None else measured.n
    source = "live" if n else "" if stated is None else stated.source
    rounded = None if value is None else round(value, 3)
    return Figure(value=rounded, source=source, n=n, at_us=None if stated is None else stated.observed_at_us)


def _reason(decision: Decision, at: int) -> str:
    slate = decision.slate
    if at in decision.excluded:
        return decision.excluded[at]
    if decision.order and at == decision.order[0]:
        return ""
    if decision.why == "named":
        return "others come first by that name"
    if at in slate.weak and decision.why != "abstained":
        return "too little is known of it"
    if slate.preferred and at not in slate.preferred and decision.order[0] in slate.preferred:
        return "others are preferred by the request"
    if at not in decision.front:
        for other in decision.front:
            if _beats(decision, other, at):
                return f"{slate.names[other]} beats it: {_better(decision, other, at)}"
    return f"nobody beats it, but the policy takes {decision.chosen}: {_compared(decision, at)}"


def _beats(decision: Decision, one: int, other: int) -> bool:
    slate = decision.slate
    mine = (-slate.qualities[one], decision.costs[one], decision.latencies[one])
    yours = (-slate.qualities[other], decision.costs[other], decision.latencies[other])
    return mine != yours and all(a <= b for a, b in zip(mine, yours, strict=True))


def _better(decision: Decision, one: int, other: int) -> str:
    slate = decision.slate
    words = []
    if slate.qualities[one] > slate.qualities[other]:
        words.append("better")
    if decision.costs[one] < decision.costs[other]:
        words.append("cheaper")
    if decision.latencies[one] < decision.latencies[other]:
        words.append("faster")
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 2 else " and ".join(words)


def _compared(decision: Decision, at: int) -> str:
    """How the chosen one compares with it."""
    first = decision.order[0]
    gains, losses = _better(decision, first, at), _better(decision, at, first)
    if not gains and not losses:
        return "the two are equal, and names decide"
    return "; ".join(filter(None, (f"that is {gains}" if gains else "", f"this is {losses}" if losses else "")))
