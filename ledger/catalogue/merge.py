"""Which of several sources' values counts.

Per field, by priority; nothing is averaged.  What is missing in every source stays missing.  The values of an index are
comparable only within one version of it, so for each such metric one version counts in the whole snapshot.  Where sources
disagree, the one that counts is taken and the disagreement is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from ledger.catalogue.metrics import METRICS, Group, decayed, grain_us
from ledger.facts import ModelFact, Observation

ORDER = (
    *("override", "live", "harness", "artificial_analysis", "openrouter", "lmarena", "models_dev"),
    *("genai_prices", "litellm", "manual", "bundled"),
)
"""Whose word counts most, by default.  ``harness`` also stands for ``harness:anything``; who is not here comes last."""

UNSCALED = frozenset(("override", "live"))
"""Sources whose values are meant for the scale that counts, whichever that is."""

PRIOR_SAMPLES: dict[Group, int] = {"quality": 200, "agentic": 200}
"""How many live samples weigh as much as what was published; for other groups ``PRIOR_SAMPLES_DEFAULT``."""
PRIOR_SAMPLES_DEFAULT = 25

# From which relative difference on two sources disagree.
_DISAGREE: dict[Group, float] = {"price": 0.005, "limit": 0.0, "quality": 0.01, "agentic": 0.01}
_DISAGREE_DEFAULT = 0.25  # speeds differ by the hour


class Priority(msgspec.Struct, frozen=True, kw_only=True):
    """Whose word counts, the first most.  ``of``: another order for a metric, or for a group of metrics."""

    order: tuple[str, ...] = ORDER
    of: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def rank(self, source: str, metric: str, /) -> int:
        """The place of a source for a metric or a field; 0 counts most."""
        order = self.of.get(metric)
        if order is None and metric in METRICS:
            order = self.of.get(METRICS[metric].group)
        order = self.order if order is None else order
        kind = source.partition(":")[0]
        if source in order:
            return order.index(source)
        return order.index(kind) if kind in order else len(order)


class Score(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The value of a metric that counts, and where it is from.

    ``observed_at_us``: to the grain of its metric.  ``confidence``: when it was observed; ``confidence_at`` is what age has
    left of it.   ``subject``: the variant or offer that it was measured on.
    """

    subject: str
    metric: str
    value: float
    source: str
    source_version: str
    observed_at_us: int
    confidence: float
    n: int | None = None

    def confidence_at(self, at_us: int, /) -> float:
        """The confidence at a moment, in [0, 1]."""
        return decayed(self.confidence, metric=self.metric, age_us=at_us - self.observed_at_us)


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """Sources that disagree: the value that counts, and the others, by priority."""

    counts: Score
    others: tuple[Score, ...]


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome.  ``scores``: by subject, then metric.  ``scales``: which version of a versioned metric counts."""

    scores: Mapping[str, Mapping[str, Score]]
    conflicts: tuple[Conflict, ...]
    scales: Mapping[str, str]


class StatedFact(msgspec.Struct, frozen=True, kw_only=True):
    """What a source said of a model, at a time."""

    source: str
    model: str
    plan: str
    fetched_at_us: int
    fact: ModelFact


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model.  ``sources``: where each field is from; a field that no source states is empty."""

    model: str
    label: str = ""
    creator: str = ""
    context_tokens: int | None = None
    output_max_tokens: int | None = None
    modalities_in: tuple[str, ...] = ()
    modalities_out: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    released: str = ""
    sources: Mapping[str, str] = msgspec.field(default_factory=dict)


def at_once() -> None:
    """Do not pause."""


def merge(observations: Iterable[Observation], priority: Priority, /, pause: Callable[[], None] = at_once) -> Merged:
    """Choose among observations, in whatever order they come.  pause: called now and then.

    Of one source and version the latest counts; an observation of confidence 0 takes back what its source said before.
    """
    latest: dict[tuple[str, str, str, str], Observation] = {}
    for it in observations:
        key = (it.offer or it.variant, it.metric, it.source, it.source_version)
        there = latest.get(key)
        if there is None or _age(it) > _age(there):
            latest[key] = it
    by_field: dict[tuple[str, str], list[Observation]] = {}
    versioned: dict[str, list[Observation]] = {}
    for key, it in latest.items():
        pause()
        if it.confidence > 0:
            by_field.setdefault(key[:2], []).append(it)
            if METRICS[it.metric].versioned:
                versioned.setdefault(it.metric, []).append(it)
    scales = {metric: _scale(metric, found, priority) for metric, found in versioned.items()}
    ranks: dict[tuple[str, str], int] = {}
    scores: dict[str, dict[str, Score]] = {}
    conflicts = []
    for (subject, metric), candidates in by_field.items():
        pause()
        scale = scales.get(metric)
        found = [it for it in candidates if scale is None or it.source in UNSCALED or _scale_of(it) == scale]
        if not found:
            continue
        if len(found) == 1:
            scores.setdefault(subject, {})[metric] = _score(subject, found[0])
            continue
        for it in found:
            if (it.source, metric) not in ranks:
                ranks[it.source, metric] = priority.rank(it.source, metric)
        # Of one source's versions the latest; of sources the one that counts most.
        by_source: dict[str, Observation] = {}
        for it in sorted(found, key=_age):
            by_source[it.source] = it
        best, *rest = sorted(by_source.values(), key=lambda it: (ranks[it.source, metric], it.source))
        scores.setdefault(subject, {})[metric] = counts = _score(subject, best)
        others = tuple(_score(subject, it) for it in rest if _disagree(metric, best.value, it.value))
        if others:
            conflicts.append(Conflict(counts=counts, others=others))
    conflicts.sort(key=lambda it: (it.counts.subject, it.counts.metric))
    return Merged(scores=scores, conflicts=tuple(conflicts), scales=scales)


def merge_models(facts: Iterable[StatedFact], priority: Priority, /, pause: Callable[[], None] = at_once) -> dict[str, Model]:
    """What is known of each model, field by field; of one source what it said last.  pause: called now and then."""
    by_model: dict[str, list[StatedFact]] = {}
    for it in facts:
        by_model.setdefault(it.model, []).append(it)
    merged = {}
    for model, stated in by_model.items():
        pause()
        # What is said of a plan, such as a free one with a smaller window, is said of the model last of all.
        stated.sort(key=lambda it: (bool(it.plan), priority.rank(it.source, "models"), -it.fetched_at_us, _spelled(it)))
        fields: dict[str, object] = {}
        sources: dict[str, str] = {}
        for it in stated:
            for name, value in _fields(it.fact):
                if value and name not in fields:
                    fields[name] = value
                    sources[name] = it.source
        merged[model] = msgspec.convert({"model": model, **fields, "sources": sources}, Model)
    return merged


def blend(live: float, n: int, prior: float | None, /, *, metric: str) -> float:
    """What is measured here, tempered by what was published: ``(n * live + k * prior) / (n + k)``.

    n: live samples.  k: ``PRIOR_SAMPLES`` of the metric's group.  Without a prior it is the live value.
    """
    if prior is None:
        return live
    k = prior_samples(metric)
    return (n * live + k * prior) / (n + k)


def prior_samples(metric: str, /) -> int:
    """How many live samples of a metric weigh as much as what was published."""
    return PRIOR_SAMPLES.get(METRICS[metric].group, PRIOR_SAMPLES_DEFAULT)


def _age(it: Observation) -> tuple[int, int, float, float, str]:
    """Later is larger; what is as late in every way is told apart by its value, so that no order of arrival matters."""
    return (it.observed_at_us, it.fetched_at_us, it.value, it.confidence, it.source_version)


def _scale_of(it: Observation) -> str:
    return it.source_version or it.source


def _scale(metric: str, found: Sequence[Observation], priority: Priority) -> str:
    """The version that counts: the newest of the source that counts most."""
    of_sources = [it for it in found if it.source not in UNSCALED]
    if not of_sources:
        return ""
    first = min({it.source for it in of_sources}, key=lambda source: (priority.rank(source, metric), source))
    return max((it.observed_at_us, _scale_of(it)) for it in of_sources if it.source == first)[1]


def _score(subject: str, it: Observation) -> Score:
    grain = grain_us(it.metric)
    return Score(
        subject=subject,
        metric=it.metric,
        value=it.value,
        source=it.source,
        source_version=it.source_version,
        observed_at_us=it.observed_at_us // grain * grain,
        confidence=it.confidence,
        n=it.n,
    )


def _disagree(metric: str, one: float, other: float) -> bool:
    limit = _DISAGREE.get(METRICS[metric].group, _DISAGREE_DEFAULT)
    return abs(one - other) > limit * max(abs(one), abs(other))


def _fields(fact: ModelFact) -> tuple[tuple[str, object], ...]:
    return (
        ("label", fact.subject.label),
        ("creator", fact.subject.creator),
        ("context_tokens", fact.context_tokens),
        ("output_max_tokens", fact.output_max_tokens),
        ("modalities_in", fact.modalities_in),
        ("modalities_out", fact.modalities_out),
        ("capabilities", fact.capabilities),
        ("released", fact.released),
    )


def _spelled(it: StatedFact) -> bytes:
    return msgspec.json.encode(it.fact, order="sorted")
