"""What the live metrics say at one moment, to be read in O(1) by whoever decides; made anew in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from ledger.live.metrics import LiveMetrics, Value
from ledger.live.windows import SLICE_S

Subjects = Callable[[str], Sequence[str]]
"""What the ledger calls an offer (``provider/model``): its offer, its variant; nothing, if it does not know it."""

_NOTHING: Final[Mapping[str, Value]] = MappingProxyType({})


class LiveView(msgspec.Struct, frozen=True, kw_only=True):
    """The live metrics of one moment.  Read only; every look-up is a dict's.

    values: by subject and metric, the value and its samples, as ``Snapshot.value`` and ``Indices`` take them.  A subject is the
    ledger's name of an offer (``model@host``) or of a variant (everything that was asked of it, at whatever host), or
    ``provider/model``; where a variant has that very name, it is the variant's.
    metrics: the same, by subject and then metric.  heard_us: when a subject was last heard of.
    """

    values: Mapping[tuple[str, str], tuple[float, int]] = MappingProxyType({})
    metrics: Mapping[str, Mapping[str, Value]] = MappingProxyType({})
    heard_us: Mapping[str, int] = MappingProxyType({})
    offers: Mapping[str, Mapping[str, Value]] = MappingProxyType({})
    tasks: Mapping[tuple[str, str], Mapping[str, Value]] = MappingProxyType({})

    def by_offer(self, offer: str, task: str = "", /) -> Mapping[str, Value]:
        """What is known of ``provider/model``, by the names of the metric catalogue; empty: nothing.

        task: ``tokens_out_per_answer`` is that of such tasks, if enough of them were answered.
        """
        return self.tasks.get((offer, task)) or self.offers.get(offer, _NOTHING)


class Views:
    """Keeps the view.  subjects: how the ledger calls an offer.  bounds: by metric, what a value must be between to count."""

    def __init__(
        self,
        metrics: LiveMetrics,
        *,
        subjects: Subjects = lambda _: (),
        bounds: Mapping[str, tuple[float, float]] = MappingProxyType({}),
        clock_s: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._subjects = subjects
        self._bounds = bounds
        self._clock_s = clock_s
        self._named: dict[str, tuple[str, ...]] = {}  # by offer, what the ledger calls it
        self._slice = -1.0
        self.view = LiveView()

    def renew(self, *, all_of: bool = False) -> Iterator[None]:
        """Make the view of now, an offer at a time (some 100 µs each), and swap it in at the end.

        Only what has changed is made, unless time itself has moved on.  all_of: everything.
        """
        metrics = self._metrics
        now_slice = self._clock_s() // SLICE_S
        if all_of or now_slice != self._slice:
            self._slice = now_slice
            metrics.forget_old()
            dirty = set(metrics.offers())
            before = LiveView()
            self._named = {}
        else:
            dirty, before = metrics.changed & set(metrics.offers()), self.view
        metrics.changed = set()
        offers, named, heard_us = dict(before.offers), dict(before.metrics), dict(before.heard_us)
        tasks, values = dict(before.tasks), dict(before.values)
        for offer in sorted(dirty):
            self._named[offer] = tuple(self._subjects(offer))
            offers[offer] = self._known((offer,))
            yield
        for subject, group in self._groups(dirty).items():
            named[subject] = found = offers[group[0]] if len(group) == 1 else self._known(group)
            heard_us[subject] = max(round((metrics.heard_s(offer) or 0.0) * 1e6) for offer in group)
            values.update({(subject, metric): (it.value, it.n) for metric, it in found.items()})
            if len(group) > 1:
                yield
        for offer, task in metrics.tasks():
            if offer in dirty and (length := metrics.tokens_out(offer, task)) is not None:
                tasks[offer, task] = {**offers[offer], "tokens_out_per_answer": length}
        self.view = LiveView(values=values, metrics=named, heard_us=heard_us, offers=offers, tasks=tasks)

    def _known(self, offers: Sequence[str]) -> Mapping[str, Value]:
        found = self._metrics.best(offers)
        return {name: it for name, it in found.items() if name not in self._bounds or self._holds(name, it.value)}

    def _holds(self, name: str, value: float) -> bool:
        low, high = self._bounds[name]
        return low <= value <= high

    def _groups(self, dirty: set[str]) -> dict[str, list[str]]:
        """By subject that has changed, the offers that are it."""
        by_subject: dict[str, list[str]] = {}
        for offer, subjects in self._named.items():
            for subject in subjects:
                by_subject.setdefault(subject, []).append(offer)
        for offer in self._named:
            by_subject.setdefault(offer, [offer])  # unless a variant has that name
        changed = {*dirty, *(subject for offer in dirty for subject in self._named[offer])}
        return {subject: group for subject, group in by_subject.items() if subject in changed}
