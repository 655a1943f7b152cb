"""``GET /v1/ledger/models|metrics|prices|snapshot`` and ``/v1/rankings``: what is known of models, by whom, and how old it is.

Anybody with a key may ask.  ``at`` asks the past: a day (as it was at its end, UTC), a time, or a snapshot's id.  What is
measured here (``source: live``) is of now, and is told where the past is not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from ledger.catalogue import formulas
from ledger.catalogue.indices import SPEED_METRICS, TASKS, Cost, Indices, Ranked, Speed
from ledger.catalogue.merge import Score
from ledger.catalogue.metrics import METRICS
from ledger.catalogue.snapshot import Live
from ledger.errors import LedgerUnavailable as FactsFailed
from ledger.live import LiveView
from ledger.ports import FactsPort
from proxy.call import Principal
from proxy.errors import InvalidRequest, LedgerUnavailable, NotFound
from proxy.facts.asked import indices_at, live_models, live_score, live_scores, model_named

ROWS_MAX = 1000

At = Annotated[str | None, Query(max_length=64, description="A day, a time, or a snapshot's id; now by default.")]
ModelName = Annotated[str | None, Query(max_length=200, description="Only this model, by any name for it.")]
Limit = Annotated[int, Query(ge=1, le=ROWS_MAX, description="At most so many rows.")]


class Stated(BaseModel):
    """The value of a metric that counts."""

    subject: str = Field(description="The variant (`model#effort`) or offer (`variant@host`).")
    metric: str
    value: float
    unit: str
    source: str
    source_version: str
    observed_at: datetime
    age_s: float = Field(description="How old it was at the moment that is asked for.")
    confidence: float = Field(
        description="In [0, 1], with what age had taken of it at the moment that is asked for; of what is measured here: how "
        "much of the value that counts it is, beside what was published."
    )
    n: int | None = Field(description="The samples behind it, where they are known.")


class Measured(Stated):
    """A value that is measured here, of the gateway's own traffic."""

    blended: float = Field(description="The value that counts: with what was published, as far as it is not outweighed.")


class Disagreement(BaseModel):
    """Sources that say something else than the one that counts."""

    counts: Stated
    others: list[Stated]


class SnapshotPart(BaseModel):
    """Which snapshot an answer is from."""

    id: str
    at: datetime


class FactModel(BaseModel):
    """What is known of a model; `sources` says who states each field."""

    id: str
    label: str
    creator: str
    context_tokens: int | None
    output_max_tokens: int | None
    modalities_in: list[str]
    modalities_out: list[str]
    capabilities: list[str]
    released: str
    sources: dict[str, str]
    variants: list[str]
    offers: list[str]
    live: list[Measured] = Field(description="What is measured of its offers and variants here.")


class FactModels(BaseModel):
    """Models, by name."""

    snapshot: SnapshotPart
    total: int
    data: list[FactModel]


class MetricRow(BaseModel):
    """A metric of the catalogue."""

    name: str
    unit: str
    higher_is_better: bool | None
    entity: str
    group: str
    half_life_days: float
    low: float
    high: float
    versioned: bool
    fields: str


class FactMetrics(BaseModel):
    """The catalogue, and the values that were asked for."""

    snapshot: SnapshotPart
    metrics: list[MetricRow]
    total: int
    data: list[Stated]
    live: list[Measured]
    conflicts: list[Disagreement]


class FactPrice(BaseModel):
    """What a source says an offer costs, in integer nano-USD per million tokens; `price` has every field of it."""

    offer: str
    source: str
    fetched_at: datetime
    input_nusd_per_mtok: int
    output_nusd_per_mtok: int
    price: dict[str, Any]


class FactPrices(BaseModel):
    """Prices, by offer.  What is charged is `GET /v1/usage`'s; these are what sources state, to compare."""

    snapshot: SnapshotPart
    total: int
    data: list[FactPrice]


class FactSnapshot(BaseModel):
    """The snapshot itself."""

    snapshot: SnapshotPart
    models: int
    scores: int
    prices: int
    conflicts: int
    live: int = Field(description="Values that are measured here; they are no part of the snapshot.")
    scales: dict[str, str] = Field(description="Which version of an index counts.")
    sources: dict[str, datetime] = Field(description="The newest observation that counts, by source; of live: the newest try.")


class RankedPart(BaseModel):
    """A value that a quality is made of; `z`: standard deviations above the mean; both null for a formula's."""

    score: Stated
    z: float | None
    weight: float | None


class Ranking(BaseModel):
    """A place in a ranking."""

    place: int
    subject: str
    quality: float
    coverage: float | None
    confidence: float | None
    speed: float | None = Field(description="In (0, 1): one half for an answer of 500 tokens in ten seconds.")
    answer_s: float | None
    speed_parts: list[Stated] = Field(description="What the speed is made of: as published, and as measured here.")
    cost: float | None = Field(description="In (0, 1]: one half at a dollar a million tokens, three of input to one of output.")
    blended_nusd_per_mtok: int | None
    offer: str | None = Field(description="Where it costs that.")
    missing: list[str] = Field(description="What a formula assumed.")
    parts: list[RankedPart]


class Rankings(BaseModel):
    """Variants, the best first."""

    snapshot: SnapshotPart
    task: str
    formula: str
    total: int
    data: list[Ranking]


class _Asked(msgspec.Struct, frozen=True):
    """The facts of the moment that was asked for, and the models; what is measured here, if the moment is now."""

    indices: Indices
    names: tuple[str, ...]
    view: LiveView
    measured: Mapping[str, Sequence[str]]
    now_us: int

    @property
    def live(self) -> Live:
        return self.view.values


def router(
    facts: FactsPort,
    caller: Callable[..., Principal],
    now_us: Callable[[], int],
    live: Callable[[], LiveView] = LiveView,
) -> APIRouter:
    """The routes.  caller: a dependency that lets anybody with a key through.  live: what is measured here."""
    routes = APIRouter(prefix="/v1", tags=["ledger"])
    anybody = [Depends(caller)]

    async def asked(at: str | None, model: str | None = None) -> _Asked:
        """What was asked for.  Raises: NotFound, LedgerUnavailable."""
        try:
            indices = await indices_at(facts, at)
        except LookupError as error:
            raise NotFound(f"{str(error)[:1].upper()}{str(error)[1:]}.", param="at") from error
        except FactsFailed as error:
            raise LedgerUnavailable("The ledger's facts cannot be read now.") from error
        view = live() if at is None else LiveView()
        measured = live_models(view)
        names = tuple(sorted({*indices.snapshot.names(), *measured}))
        if model is not None:
            found = model_named(facts.resolver, names, model)
            if found is None:
                raise NotFound(f"Nothing is known of a model {model!r}.", param="model")
            names = (found,)
        return _Asked(indices, names, view, measured, now_us() if at is None else indices.snapshot.at_us)

    def part(indices: Indices) -> SnapshotPart:
        return SnapshotPart(id=indices.snapshot.id, at=_at(indices.snapshot.at_us))

    @routes.get("/ledger/models", operation_id="list_ledger_models", dependencies=anybody)
    async def models(model: ModelName = None, at: At = None, limit: Limit = 200, after: ModelName = None) -> FactModels:
        """What each model is and can take, with who says so.  `after`: those whose name comes after it."""
        it = await asked(at, model)
        page = islice((name for name in it.names if after is None or name > after), limit)
        rows = [_model(it, name) for name in page]
        total = len({*it.indices.snapshot.names(), *it.measured})
        return FactModels(snapshot=part(it.indices), total=total, data=rows)

    @routes.get("/ledger/metrics", operation_id="list_ledger_metrics", dependencies=anybody)
    async def metrics(
        model: ModelName = None,
        metric: Annotated[str | None, Query(max_length=64, description="Only this metric.")] = None,
        at: At = None,
        limit: Limit = 200,
    ) -> FactMetrics:
        """The catalogue of metrics; with a model or a metric also the values that count, and who disagrees."""
        if metric is not None and metric not in METRICS:
            raise InvalidRequest(f"There is no metric {metric!r}.", param="metric")
        them = await asked(at, model)
        indices, us = them.indices, them.now_us
        names = them.names if model is not None or metric is not None else ()
        found = [it for name in names for it in _scores(indices, name) if metric in (None, it.metric)]
        measured = [it for name in names for it in _measured(them, name) if metric in (None, it.metric)]
        wanted = {(it.subject, it.metric) for it in found}
        return FactMetrics(
            snapshot=part(indices),
            metrics=[_metric(name) for name in METRICS if metric in (None, name)],
            total=len(found),
            data=[_stated(it, us) for it in found[:limit]],
            live=measured[:limit],
            conflicts=[
                Disagreement(counts=_stated(it.counts, us), others=[_stated(other, us) for other in it.others])
                for it in indices.snapshot.conflicts
                if (it.counts.subject, it.counts.metric) in wanted
            ][:limit],
        )

    @routes.get("/ledger/prices", operation_id="list_ledger_prices", dependencies=anybody)
    async def prices(model: ModelName = None, at: At = None, limit: Limit = 200) -> FactPrices:
        """What sources say each offer costs."""
        them = await asked(at, model)
        indices = them.indices
        stated = [it for name in them.names for offer in indices.snapshot.offers(name) if (it := indices.snapshot.price(offer))]
        return FactPrices(
            snapshot=part(indices),
            total=len(stated),
            data=[
                FactPrice(
                    offer=it.offer,
                    source=it.source,
                    fetched_at=_at(it.fetched_at_us),
                    input_nusd_per_mtok=it.price.input_nusd_per_mtok,
                    output_nusd_per_mtok=it.price.output_nusd_per_mtok,
                    price=msgspec.to_builtins(it.price),
                )
                for it in stated[:limit]
            ],
        )

    @routes.get("/ledger/snapshot", operation_id="get_ledger_snapshot", dependencies=anybody)
    async def snapshot(at: At = None) -> FactSnapshot:
        """Which snapshot is the current one, or was, and what is in it."""
        them = await asked(at)
        indices = them.indices
        newest: dict[str, int] = {"live": max(them.view.heard_us.values())} if them.view.heard_us else {}
        count = 0
        for by_metric in indices.snapshot.scores.values():
            for it in by_metric.values():
                count += 1
                newest[it.source] = max(newest.get(it.source, 0), it.observed_at_us)
        return FactSnapshot(
            snapshot=part(indices),
            models=len(indices.snapshot.names()),
            scores=count,
            prices=len(indices.snapshot.prices),
            conflicts=len(indices.snapshot.conflicts),
            live=len(them.view.values),
            scales=dict(indices.snapshot.scales),
            sources={source: _at(us) for source, us in sorted(newest.items())},
        )

    @routes.get("/rankings", operation_id="get_rankings", dependencies=anybody)
    async def rankings(
        task: Annotated[str, Query(max_length=64, description=f"One of {', '.join(TASKS)}.")] = "general",
        formula: Annotated[
            Literal["tollway", "thegent", "tokenledger"],
            Query(description="Whose formula makes the quality; the others' know no tasks."),
        ] = "tollway",
        at: At = None,
        limit: Limit = 100,
    ) -> Rankings:
        """Variants by quality for a task, the best first, with speed, cost, and what each is made of."""
        if task not in TASKS:
            raise InvalidRequest(f"There is no task {task!r}; there are: {', '.join(TASKS)}.", param="task")
        them = await asked(at)
        indices = them.indices
        if formula == "tollway":
            ranked = indices.rankings(task, live=them.live)
            rows = [_ranking(them, it) for it in ranked[:limit]]
            return Rankings(snapshot=part(indices), task=task, formula=formula, total=len(ranked), data=rows)
        valued = formulas.ranked(indices, formula)
        rows = [_valued(them, place, it) for place, it in enumerate(valued[:limit], 1)]
        return Rankings(snapshot=part(indices), task="general", formula=formula, total=len(valued), data=rows)

    return routes


def _scores(indices: Indices, model: str) -> Iterator[Score]:
    snapshot = indices.snapshot
    for subject in (*snapshot.variants(model), *snapshot.offers(model)):
        yield from sorted(snapshot.scores.get(subject, {}).values(), key=lambda it: it.metric)


def _measured(them: _Asked, model: str) -> list[Measured]:
    snapshot = them.indices.snapshot
    found = []
    for it in live_scores(snapshot, them.view, them.measured.get(model, ())):
        blended = snapshot.value(it.subject, it.metric, them.live)
        found.append(Measured(blended=it.value if blended is None else blended, **_fields(it, them.now_us)))
    return found


def _model(them: _Asked, name: str) -> FactModel:
    indices = them.indices
    known = indices.snapshot.models.get(name)
    fields: dict[str, Any] = {"label": "", "creator": "", "context_tokens": None, "output_max_tokens": None, "released": ""}
    fields |= {"modalities_in": [], "modalities_out": [], "capabilities": [], "sources": {}}
    if known is not None:
        fields |= {field: getattr(known, field) for field in fields}
    return FactModel(
        id=name,
        variants=list(indices.snapshot.variants(name)),
        offers=list(indices.snapshot.offers(name)),
        live=_measured(them, name),
        **fields,
    )


def _metric(name: str) -> MetricRow:
    fields = {field: getattr(METRICS[name], field) for field in MetricRow.model_fields}
    return MetricRow(**fields)


def _stated(it: Score, now_us: int) -> Stated:
    return Stated(**_fields(it, now_us))


def _fields(it: Score, now_us: int) -> dict[str, Any]:
    return {
        "subject": it.subject,
        "metric": it.metric,
        "value": it.value,
        "unit": METRICS[it.metric].unit,
        "source": it.source,
        "source_version": it.source_version,
        "observed_at": _at(it.observed_at_us),
        "age_s": max(now_us - it.observed_at_us, 0) / 1e6,
        "confidence": it.confidence_at(now_us),
        "n": it.n,
    }


def _ranking(them: _Asked, it: Ranked) -> Ranking:
    return Ranking(
        place=it.place,
        subject=it.quality.subject,
        quality=it.quality.value,
        coverage=it.quality.coverage,
        confidence=it.quality.confidence,
        **_beside(them, it.speed, it.cost),
        missing=[],
        parts=[RankedPart(score=_stated(part.score, them.now_us), z=part.z, weight=part.weight) for part in it.quality.parts],
    )


def _valued(them: _Asked, place: int, it: formulas.Formula) -> Ranking:
    indices = them.indices
    return Ranking(
        place=place,
        subject=it.subject,
        quality=it.value,
        coverage=None,
        confidence=None,
        **_beside(them, indices.speed(it.subject, them.live), indices.cost(it.subject)),
        missing=list(it.missing),
        parts=[RankedPart(score=_stated(score, them.now_us), z=None, weight=None) for score in it.scores],
    )


def _beside(them: _Asked, speed: Speed | None, cost: Cost | None) -> dict[str, Any]:
    parts: list[Score] = []
    if speed is not None:
        snapshot, view = them.indices.snapshot, them.view
        measured = (live_score(snapshot, view, speed.subject, metric) for metric in SPEED_METRICS)
        parts = [*(it for it in measured if it is not None), *speed.parts]
    return {
        "speed": speed.value if speed else None,
        "answer_s": speed.answer_s if speed else None,
        "speed_parts": [_stated(it, them.now_us) for it in parts],
        "cost": cost.value if cost else None,
        "blended_nusd_per_mtok": cost.blended_nusd_per_mtok if cost else None,
        "offer": cost.offer if cost else None,
    }


def _at(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)
