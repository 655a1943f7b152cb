"""A decision as the ledger keeps it, and back: everything that another policy needs to decide it again, and nothing of the
prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec

from ledger.records import DecisionRecord
from proxy.call import Call, RouteField
from proxy.routing.features import Features
from proxy.routing.pareto import UNKNOWN_NUSD
from proxy.routing.router import Decision

MOST_MS: Final = 1e12
"""Thirty years: longer answers are not expected; nor is what is no number, or infinite."""
MOST_TOKENS: Final = 10**12
CANDIDATES_MAX: Final = 16
"""That are kept of those who could have answered: the front first, and then the best."""


class Choice(msgspec.Struct, frozen=True, array_like=True):
    """One candidate, in the order of ``ledger.records.CANDIDATE``; ``None``: nobody knew."""

    name: str
    quality_ppm: int | None = None
    cost_nusd: int | None = None
    output_tokens: int | None = None
    ttft_us: int | None = None
    latency_us: int | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a request's features, and of what its caller asked of the choice."""

    features: Features
    route: RouteField = RouteField()


Row = tuple[str, int | None, int | None, int | None, int | None, int | None]
_NOBODY: Final[Row] = ("", None, None, None, None, None)

_DEFAULTS: Final = {
    kind: tuple((it.name, it.default) for it in msgspec.structs.fields(kind)) for kind in (Features, RouteField)
}
_encode: Final = msgspec.json.Encoder().encode
_kept: Final = msgspec.json.Decoder(Kept).decode
_choices: Final = msgspec.json.Decoder(tuple[Choice, ...]).decode


def record_of(
    decision: Decision,
    *,
    request_id: str,
    at_us: int,
    chosen: str = "",
    route: RouteField | None = None,
    candidates_max: int = CANDIDATES_MAX,
) -> DecisionRecord:
    """The decision of a request.  About 20 µs.

    chosen: who stood in for the decision's own first; empty: nobody.  route: what the caller asked; ``None``: nothing but what
    the decision went by, the policy's own limits included.  candidates_max: how many of those who could have answered are kept.
    """
    slate = decision.slate
    name = chosen or decision.chosen
    places = [slate.where[name]] if name in slate.where else []
    kept_rows = _rows(decision, _worth_keeping(decision, candidates_max))
    first = kept_rows[0] if name == decision.chosen and kept_rows else next(iter(_rows(decision, places)), _NOBODY)
    _, quality_ppm, cost_nusd, output_tokens, ttft_us, latency_us = first
    kept: dict[str, Any] = {"features": _unusual(decision.features)}
    if wishes := _unusual(decision.constraints if route is None else route):
        kept["route"] = wishes
    return DecisionRecord(
        request_id=request_id,
        at_us=at_us,
        policy=decision.policy.name,
        task=decision.features.task,
        chosen=name,
        snapshot_id=slate.outlook.field.snapshot.id,
        propensity_ppm=min(max(int(decision.propensity * 1e6 + 0.5), 0), 1_000_000),
        why=decision.why,
        quality_ppm=quality_ppm,
        cost_nusd=cost_nusd,
        output_tokens=output_tokens,
        ttft_us=ttft_us,
        latency_us=latency_us,
        features=_encode(kept).decode(),
        candidates=_encode(kept_rows).decode(),
    )


def decided(asked: Callable[[Call], RouteField]) -> Callable[[Call], DecisionRecord | None]:
    """What is kept of a call that a policy decided on.  asked: what its caller asked of the choice."""

    def record(call: Call) -> DecisionRecord | None:
        decision = call.routed.decision
        if not isinstance(decision, Decision):
            return None
        return record_of(
            decision, request_id=call.id, at_us=call.received_us, chosen=call.routed.standing_in, route=asked(call)
        )

    return record


def kept_of(record: DecisionRecord, /) -> Kept:
    """What was kept of the request.  Raises: msgspec.DecodeError, if this release cannot read it."""
    return _kept(record.features)


def choices_of(record: DecisionRecord, /) -> tuple[Choice, ...]:
    """Who could have answered.  Raises: msgspec.DecodeError, if this release cannot read it."""
    return _choices(record.candidates)


def _worth_keeping(decision: Decision, most: int) -> Sequence[int]:
    """The chosen one, whom nobody beats, and the best of the others; at most so many."""
    places = dict.fromkeys((*decision.order[:1], *decision.front))
    if len(places) < most:
        for at in decision.alive:  # the best in quality first
            places[at] = None
            if len(places) >= most:
                break
    return list(places)[:most]


def _rows(decision: Decision, places: Sequence[int]) -> list[Row]:
    """The candidates' figures, in the order of ``Choice``; ``None`` also for what no row can hold, since the row stands beside
    the record of money.  Rounded by hand: it is a third of the time, many times over.
    """
    if not places:
        return []
    slate, choices = decision.slate, decision.features.choices
    bound = decision.features.output_max
    most, most_tokens = (MOST_TOKENS, None) if bound is None else (bound, bound * choices)
    # The last place is there twice, so that one is a tuple, too.
    of: Callable[[Sequence[Any]], tuple[Any, ...]] = itemgetter(*places, places[-1])
    columns = (slate.names, slate.qualities, decision.costs, slate.outputs, slate.ttft_ms, decision.latencies)
    rows: list[Row] = [
        (
            name,
            int(quality * 1e6 + 0.5) if 0 <= quality <= 1 else None,
            cost if 0 <= cost < UNKNOWN_NUSD else None,
            int(tokens * choices + 0.5) if 0 <= tokens < most else most_tokens,
            int(ttft * 1000 + 0.5) if 0 <= ttft < MOST_MS else None,
            int(latency * 1000 + 0.5) if 0 <= latency < MOST_MS else None,
        )
        for name, quality, cost, tokens, ttft, latency in zip(*(of(column) for column in columns), strict=True)
    ]
    return rows[:-1]


def _unusual(value: Features | RouteField) -> dict[str, Any]:
    """The fields that are not as by default."""
    fields = {}
    for name, usual in _DEFAULTS[type(value)]:
        it = getattr(value, name)
        if it is not usual and it != usual:
            fields[name] = it
    return fields
