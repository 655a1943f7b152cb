"""Everything that is known, at one moment: immutable, named by the hash of its content, answering without I/O.

Two snapshots of the same observations are equal whatever order those came in, so a decision can be replayed on the snapshot
that it was made on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import TypeVar

import msgspec

from ledger.catalogue.identity import model_of
from ledger.catalogue.merge import Conflict, Model, Priority, Score, StatedFact, at_once, blend, merge, merge_models
from ledger.catalogue.metrics import METRICS
from ledger.facts import Observation
from ledger.records import Price

# What is true of a model at every effort: a variant without a value of its own has the model's.
SHARED = frozenset(name for name, metric in METRICS.items() if metric.group in ("limit", "price"))

Live = Mapping[tuple[str, str], tuple[float, int]]
"""What is measured here: by offer and metric, the value and its samples."""

T = TypeVar("T")

_EMPTY: Mapping[str, Score] = MappingProxyType({})
_encode = msgspec.json.Encoder(order="sorted").encode


class StatedPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a source said an offer costs, and when it was read."""

    source: str
    offer: str
    fetched_at_us: int
    price: Price


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between two snapshots: a metric of a subject, its ``price``, or a field of a model."""

    subject: str
    field: str
    before: object
    after: object


class Snapshot:
    """The ledger at one moment.  Read only; every look-up is a dict's.

    at_us: the moment.  id: 64 hex digits, the SHA-256 of the content: equal content, equal id, whatever the moment.
    scores: by subject (variant or offer), then metric.  prices: by offer.  models: by model.  scales: which version of a
    versioned metric counts.  conflicts: where sources disagree.  pause: called now and then while it is built, by a thread
    that wants to leave time for others.
    """

    __slots__ = (
        "_above",
        "_offers",
        "_priority",
        "_variants",
        "at_us",
        "conflicts",
        "id",
        "models",
        "prices",
        "scales",
        "scores",
    )

    def __init__(
        self,
        observations: Iterable[Observation] = (),
        facts: Iterable[StatedFact] = (),
        prices: Iterable[StatedPrice] = (),
        *,
        at_us: int = 0,
        priority: Priority = Priority(),  # noqa: B008  # frozen
        pause: Callable[[], None] = at_once,
    ) -> None:
        merged = merge(_paced(observations, pause), priority, pause)
        pause()
        self.at_us = at_us
        self._priority = priority
        self._above: dict[tuple[str, str], bool] = {}
        self.scores: Mapping[str, Mapping[str, Score]] = merged.scores
        self.scales: Mapping[str, str] = merged.scales
        self.conflicts: tuple[Conflict, ...] = merged.conflicts
        self.models: Mapping[str, Model] = merge_models(_paced(facts, pause), priority, pause)
        self.prices: Mapping[str, StatedPrice] = _prices(_paced(prices, pause), priority)
        pause()
        variants: dict[str, list[str]] = {}
        offers: dict[str, list[str]] = {}
        for subject in {*self.scores, *self.prices, *self.models}:
            pause()
            model = model_of(subject)
            variant, at, _ = subject.partition("@")
            variants.setdefault(model, []).append(variant)
            if at:
                offers.setdefault(model, []).append(subject)
        self._variants = {model: tuple(sorted(set(found))) for model, found in variants.items()}
        self._offers = {model: tuple(sorted(found)) for model, found in offers.items()}
        self.id = self._hash(pause)

    def score(self, subject: str, metric: str, /) -> Score | None:
        """The value of a variant's or an offer's metric; ``None``: nobody knows.

        An offer without one of its own has its variant's, and a variant its model's where effort does not matter (limits,
        prices).
        """
        found = self.scores.get(subject, _EMPTY).get(metric)
        if found is not None:
            return found
        variant, at, _ = subject.partition("@")
        if at:
            found = self.scores.get(variant, _EMPTY).get(metric)
            if found is not None:
                return found
        if "#" in variant and metric in SHARED:
            return self.scores.get(variant.partition("#")[0], _EMPTY).get(metric)
        return None

    def value(self, subject: str, metric: str, /, live: Live = MappingProxyType({})) -> float | None:
        """The value alone, blended with what is measured here if it is: ``(n * live + k * prior) / (n + k)``.

        A source that counts more than ``live``, such as an operator's override, is not blended with it.
        """
        found = self.score(subject, metric)
        prior = None if found is None else found.value
        measured = live.get((subject, metric))
        if measured is None or (found is not None and self._is_above_live(found)):
            return prior
        return blend(*measured, prior, metric=metric)

    def measured(self, subject: str, metric: str, /, live: Live) -> tuple[float, int] | None:
        """What is measured here, if it counts, and its samples."""
        measured = live.get((subject, metric))
        if measured is None:
            return None
        found = self.score(subject, metric)
        return None if found is not None and self._is_above_live(found) else measured

    def price(self, offer: str, /) -> StatedPrice | None:
        """What the offer costs; of a variant, as of the model at that host."""
        found = self.prices.get(offer)
        if found is None and "#" in offer:
            variant, _, host = offer.partition("@")
            found = self.prices.get(f"{variant.partition('#')[0]}@{host}")
        return found

    def variants(self, model: str, /) -> tuple[str, ...]:
        """The model's variants of which anything is known, the plain one among them, by name."""
        return self._variants.get(model, ())

    def offers(self, model: str, /) -> tuple[str, ...]:
        """Where the model is offered, by name."""
        return self._offers.get(model, ())

    def names(self) -> tuple[str, ...]:
        """Every model, by name."""
        return tuple(sorted(self._variants))

    def _is_above_live(self, score: Score) -> bool:
        """Whether what the score's source says counts more than what is measured."""
        key = (score.source, score.metric)
        above = self._above.get(key)
        if above is None:  # as many as there are sources and metrics
            rank = self._priority.rank
            above = self._above[key] = rank(score.source, score.metric) < rank("live", score.metric)
        return above

    def _hash(self, pause: Callable[[], None]) -> str:
        digest = sha256()
        # When a price was read is no part of it: reading it again changes nothing.
        prices = {offer: (it.source, it.price) for offer, it in self.prices.items()}
        kinds: tuple[Mapping[str, object], ...] = (self.scores, self.models, prices, self.scales)
        for kind in kinds:
            for name in sorted(kind):
                digest.update(_encode((name, kind[name])))
                digest.update(b"\n")
                pause()
            digest.update(b"\n")
        return digest.hexdigest()


def diff(before: Snapshot, after: Snapshot, /) -> tuple[Change, ...]:
    """What differs, by subject and field; ``None`` where there was nothing, or is nothing any more."""
    changes = []
    for subject in sorted({*before.scores, *after.scores}):
        old, new = before.scores.get(subject, _EMPTY), after.scores.get(subject, _EMPTY)
        for metric in sorted({*old, *new}):
            one = old[metric].value if metric in old else None
            other = new[metric].value if metric in new else None
            if one != other:
                changes.append(Change(subject=subject, field=metric, before=one, after=other))
    for offer in sorted({*before.prices, *after.prices}):
        stated = before.prices.get(offer), after.prices.get(offer)
        costs = [None if it is None else _costs(it.price) for it in stated]
        if costs[0] != costs[1]:
            changes.append(Change(subject=offer, field="price", before=costs[0], after=costs[1]))
    for model in sorted({*before.models, *after.models}):
        known = before.models.get(model, Model(model=model)), after.models.get(model, Model(model=model))
        for name in Model.__struct_fields__[1:-1]:
            parts = getattr(known[0], name), getattr(known[1], name)
            if parts[0] != parts[1]:
                changes.append(Change(subject=model, field=name, before=parts[0] or None, after=parts[1] or None))
    return tuple(changes)


def _prices(stated: Iterable[StatedPrice], priority: Priority) -> dict[str, StatedPrice]:
    best: dict[str, tuple[tuple[int, int, bytes], StatedPrice]] = {}
    for it in stated:
        key = (priority.rank(it.source, "prices"), -it.fetched_at_us, _encode(it))
        if it.offer not in best or key < best[it.offer][0]:
            best[it.offer] = (key, it)
    return {offer: it for offer, (_, it) in best.items()}


def _costs(price: Price) -> dict[str, object]:
    """The price without what only says where it is from."""
    fields = msgspec.structs.asdict(price)
    return {name: msgspec.to_builtins(fields[name]) for name in fields if name != "source" and fields[name] not in (None, ())}


def _paced(items: Iterable[T], pause: Callable[[], None]) -> Iterator[T]:
    for count, item in enumerate(items):
        if not count % 16:
            pause()
        yield item
