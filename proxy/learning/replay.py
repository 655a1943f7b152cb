"""Recorded requests, decided once more: by another policy, or by what was known on another day.  Pure and deterministic.

By another policy alone, the candidates' recorded estimates are ranked anew: exactly what was known then, what was measured
included.  By another day's facts, their qualities and prices are that day's, and what was measured stays as it was recorded.
No session is followed, nothing is explored, and no default stands in: each request is decided by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec.structs import replace

from ledger.records import Routed
from proxy.call import RouteField
from proxy.learning import calibration
from proxy.learning.records import Choice, Kept, choices_of, kept_of
from proxy.routing.constraints import joined
from proxy.routing.estimate import Scope, fits
from proxy.routing.field import Field
from proxy.routing.live import Live
from proxy.routing.pareto import UNKNOWN_MS, UNKNOWN_NUSD, UNKNOWN_QUALITY, frontier
from proxy.routing.policy import Axes, Policy, rank
from proxy.routing.router import decide

SURE: Final = 10**9
"""Samples of what is taken as it was recorded."""

Redo = Callable[[Routed, Kept, Sequence[Choice]], "Choice | None"]
"""How a request is decided once more: who is chosen, and what is expected of it; ``None``: nobody can answer."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One request: what happened, and what would have.  ``None``: nobody would have answered."""

    routed: Routed
    then: Choice
    now: Choice | None


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What a way to decide comes to, over all replayed requests that it has an answer for.

    cost_nusd: as was expected.  calibrated_nusd: the same, each as far off as metered costs of that model were; of what
    happened to the same model, what was metered.  quality: the mean that was expected; latencies: likewise, in ms.
    unpriced, unrated, untimed: how many of them have no such number, and are left out of it.
    """

    requests: int
    cost_nusd: int
    calibrated_nusd: int
    quality: float | None
    latency_p50_ms: float | None
    latency_p90_ms: float | None
    unpriced: int
    unrated: int
    untimed: int
    models: Mapping[str, int]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, beside what would have.

    replayed: requests; skipped: of an older form, or whose choice nobody recorded.  same: those that go to the same model.
    unanswered: those that nobody would have answered.  then, now: what was expected both times.
    metered: requests that were answered by whom they were sent to; what those cost, how long they took, what was thought of
    them.
    """

    replayed: int
    skipped: int
    same: int
    unanswered: int
    then: Side
    now: Side
    metered: int
    metered_nusd: int
    metered_p50_ms: float | None
    metered_p90_ms: float | None
    score: float | None
    scored: int


def by_record(policy: Policy) -> Redo:
    """Decide by what was recorded of the candidates."""

    def redo(_: Routed, kept: Kept, choices: Sequence[Choice]) -> Choice | None:
        return chosen(policy, kept, choices)

    return redo


def by_field(policy: Policy, field: Field) -> Redo:
    """Decide by what a field knows of those who could answer, with what was measured as it was recorded."""

    def redo(_: Routed, kept: Kept, choices: Sequence[Choice]) -> Choice | None:
        features = kept.features
        if policy.task and not features.hinted:
            features = replace(features, task=policy.task)
        decision = decide(
            field,
            features,
            policy,
            constraints=joined(kept.route, policy.limits),
            live=Live(offers=_Recorded(choices, features.choices)),
            scope=Scope(only=frozenset(it.name for it in choices)),
        )
        if not decision.order:
            return None
        at = decision.order[0]
        before = next(it for it in choices if it.name == decision.chosen)
        quality, cost, latency = decision.slate.qualities[at], decision.costs[at], decision.latencies[at]
        return Choice(
            decision.chosen,
            None if quality == UNKNOWN_QUALITY else round(quality * 1e6),
            None if cost == UNKNOWN_NUSD else cost,
            before.output_tokens,
            before.ttft_us,
            None if latency == UNKNOWN_MS else round(latency * 1000),
        )

    return redo


def replay(routed: Sequence[Routed], redo: Redo, step: Callable[[], None] = lambda: None) -> Iterator[Turn | None]:
    """Each request once more; ``None`` for one that cannot be replayed.  step: called after each."""
    for it in routed:
        step()
        try:
            kept, choices = kept_of(it.decision), choices_of(it.decision)
        except msgspec.DecodeError:
            yield None
            continue
        then = next((choice for choice in choices if choice.name == it.decision.chosen), None)
        yield None if then is None else Turn(routed=it, then=then, now=redo(it, kept, choices))


def chosen(policy: Policy, kept: Kept, choices: Sequence[Choice]) -> Choice | None:
    """Whom the policy takes of those that were recorded; ``None``: none of them may answer."""
    route = joined(kept.route, policy.limits)
    pool = [it for it in choices if _may(it, policy, route)]
    if route.prefer:
        pool = [it for it in pool if fits(route.prefer, it.name)] or pool
    if not pool:
        return None
    pool.sort(key=lambda it: (-_quality(it), it.name))
    if policy.rule != "throughput":
        places = frontier([_quality(it) for it in pool], [_cost(it) for it in pool], [_latency_ms(it) for it in pool])
        pool = [pool[place] for place in places]
    axes = Axes(
        [_quality(it) for it in pool],
        [_cost(it) for it in pool],
        [_latency_ms(it) for it in pool],
        [_token_ms(it) for it in pool],
        policy.task or kept.features.task,
    )
    return pool[rank(policy, axes, [it.name for it in pool])[0]]


def compared(turns: Sequence[Turn], *, skipped: int = 0) -> Comparison:
    """The sum of a replay."""
    ratios = calibration.cost_ratios(turn.routed for turn in turns)
    answered = [turn for turn in turns if turn.now is not None]
    metered = [turn.routed for turn in turns if turn.routed.outcome == "ok" and turn.routed.offer == turn.then.name]
    costs = [it.cost_nusd for it in metered if it.cost_nusd is not None]
    times = sorted(it.duration_us / 1000 for it in metered)
    scores = [score for turn in turns if (score := calibration.score_of(turn.routed)) is not None]
    return Comparison(
        replayed=len(turns),
        skipped=skipped,
        same=sum(turn.now is not None and turn.now.name == turn.then.name for turn in turns),
        unanswered=len(turns) - len(answered),
        then=_side([(turn.routed, turn.then) for turn in turns], ratios),
        now=_side([(turn.routed, turn.now) for turn in answered if turn.now is not None], ratios),
        metered=len(costs),
        metered_nusd=sum(costs),
        metered_p50_ms=_quantile(times, 0.5),
        metered_p90_ms=_quantile(times, 0.9),
        score=sum(scores) / len(scores) if scores else None,
        scored=len(scores),
    )


def _side(chosen: Sequence[tuple[Routed, Choice]], ratios: Mapping[str, float]) -> Side:
    cost = 0
    calibrated = 0.0
    models: dict[str, int] = {}
    for routed, choice in chosen:
        models[choice.name] = models.get(choice.name, 0) + 1
        if choice.cost_nusd is None:
            continue
        cost += choice.cost_nusd
        if calibration.is_telling(routed) and routed.offer == choice.name and routed.cost_nusd is not None:
            calibrated += routed.cost_nusd
        else:
            calibrated += choice.cost_nusd * ratios.get(choice.name, ratios.get("", 1.0))
    qualities = [it.quality_ppm / 1e6 for _, it in chosen if it.quality_ppm is not None]
    times = sorted(it.latency_us / 1000 for _, it in chosen if it.latency_us is not None)
    return Side(
        requests=len(chosen),
        cost_nusd=cost,
        calibrated_nusd=round(calibrated),
        quality=sum(qualities) / len(qualities) if qualities else None,
        latency_p50_ms=_quantile(times, 0.5),
        latency_p90_ms=_quantile(times, 0.9),
        unpriced=sum(it.cost_nusd is None for _, it in chosen),
        unrated=len(chosen) - len(qualities),
        untimed=len(chosen) - len(times),
        models=dict(sorted(models.items(), key=lambda it: (-it[1], it[0]))),
    )


def _may(it: Choice, policy: Policy, route: RouteField) -> bool:
    """Whether a candidate keeps to what the policy and the caller ask; what is unknown keeps to no limit."""
    for patterns in (policy, route):
        if (patterns.allow and not fits(patterns.allow, it.name)) or fits(patterns.deny, it.name):
            return False
    return (
        (route.max_cost_nusd is None or _cost(it) <= route.max_cost_nusd)
        and (route.max_ttft_ms is None or (it.ttft_us is not None and it.ttft_us / 1000 <= route.max_ttft_ms))
        and (route.max_latency_ms is None or _latency_ms(it) <= route.max_latency_ms)
        and (route.min_quality is None or _quality(it) >= route.min_quality)
    )


def _quality(it: Choice) -> float:
    return UNKNOWN_QUALITY if it.quality_ppm is None else it.quality_ppm / 1e6


def _cost(it: Choice) -> int:
    return UNKNOWN_NUSD if it.cost_nusd is None else it.cost_nusd


def _latency_ms(it: Choice) -> float:
    return UNKNOWN_MS if it.latency_us is None else it.latency_us / 1000


def _token_ms(it: Choice) -> float:
    if it.latency_us is None or it.ttft_us is None or not it.output_tokens:
        return UNKNOWN_MS
    return (it.latency_us - it.ttft_us) / it.output_tokens / 1000


class _Figure(msgspec.Struct, frozen=True):
    """A measured value, as good as certain."""

    value: float
    n: int = SURE


class _Recorded:
    """What was measured of the candidates, as far as their recorded estimates tell."""

    def __init__(self, choices: Sequence[Choice], answers: int) -> None:
        self._known = {it.name: _figures(it, answers) for it in choices}

    def by_offer(self, offer: str, task: str = "", /) -> Mapping[str, _Figure]:  # noqa: ARG002  # recorded for its own task
        """As it was recorded."""
        return self._known.get(offer, _UNKNOWN)


_UNKNOWN: Final[Mapping[str, _Figure]] = MappingProxyType({})


def _figures(it: Choice, answers: int) -> Mapping[str, _Figure]:
    found = {}
    if it.output_tokens is not None:
        found["tokens_out_per_answer"] = _Figure(it.output_tokens / max(answers, 1))
    if it.ttft_us is not None:
        for name in ("ttft_p50", "ttft_p90", "ttft_p99"):
            found[name] = _Figure(it.ttft_us / 1000)
    if (token_ms := _token_ms(it)) != UNKNOWN_MS and token_ms > 0:
        # Whatever percentile was asked for, it is in the recorded number already.
        for name in ("output_tps_p50", "output_tps_p10"):
            found[name] = _Figure(1000 / token_ms * max(answers, 1))
    return found


def _quantile(ranked: Sequence[float], share: float) -> float | None:
    """The number that so many are not above."""
    return ranked[min(int(len(ranked) * share), len(ranked) - 1)] if ranked else None
