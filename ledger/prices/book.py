"""The price book: every row that is known of an offer, and which of them holds at a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from msgspec.structs import replace

from ledger.prices.pieces import BY_THE_PIECE
from ledger.records import Price, Rates

MEMO_MAX = 4096
"""Offers that are remembered, priced or not; a client that invents names cannot make it grow."""

DAY_S = 86_400
US_PER_S = 1_000_000


class Source(Protocol):
    """A list of prices.

    name: what it is called.  as_of_us: when it was compiled, where its rows have dates.
    dated: its rows say from when to when they hold; a row without dates holds for ever.  A list that is not dated says
    what holds now, and nothing of earlier prices.
    """

    @property
    def name(self) -> str: ...

    @property
    def dated(self) -> bool: ...

    @property
    def as_of_us(self) -> int | None: ...

    def rows(self, provider: str, model: str, /) -> Sequence[Price]:
        """The rows of a provider's model, in the list's word for the provider; where several hold, the last counts."""
        ...

    def names(self, provider: str, /) -> Sequence[str]:
        """The provider's models, by the names that the list has for them."""
        ...


class Listed:
    """A source, and its words for our providers.  A provider that it has no word for is not in it."""

    def __init__(self, source: Source, words: Mapping[str, str] | None = None) -> None:
        self.source = source
        self._words = words

    def rows(self, provider: str, model: str, /) -> Sequence[Price]:
        """The source's rows of a model at one of our providers."""
        word = provider if self._words is None else self._words.get(provider, "")
        return self.source.rows(word, model) if word else ()

    def names(self, provider: str, /) -> Sequence[str]:
        """The source's names of the models of one of our providers."""
        word = provider if self._words is None else self._words.get(provider, "")
        return self.source.names(word) if word else ()


class Book:
    """A PricingPort over several lists, the one that counts first first.  Rows are looked up once and remembered.

    clock_us: the time at which ``price`` answers when it is not told one.
    """

    def __init__(self, lists: Iterable[Listed], *, clock_us: Callable[[], int]) -> None:
        self.lists = tuple(lists)
        self._clock_us = clock_us
        self._memo = lru_cache(maxsize=MEMO_MAX)(self._rows)

    def price(self, provider: str, model: str, at_us: int | None = None, /) -> Price | None:
        """What ``model`` at ``provider`` costs at a moment, now by default; ``None`` where no list says it.

        O(1) for an offer that was asked for before; no I/O.
        """
        rows = self._memo(provider, model)
        if not rows:
            return None
        first = rows[0]
        if first.effective_from_us is None and first.effective_to_us is None and first.daily_from_s is None:
            return first
        moment_us = self._clock_us() if at_us is None else at_us
        for row in rows:
            if holds(row, moment_us):
                return row
        return None

    def rows_of(self, provider: str, model: str, /) -> tuple[Price, ...]:
        """Every row of an offer, the one that counts first first."""
        return self._memo(provider, model)

    def _rows(self, provider: str, model: str) -> tuple[Price, ...]:
        found = [(listed.source, listed.rows(provider, model)) for listed in self.lists]
        ranked: list[Price] = []
        for rank, (source, rows) in enumerate(found):
            if source.dated:
                ranked.extend(reversed(rows))
                continue
            for row in reversed(rows):
                present = _present(row, found[rank + 1 :])
                if present is not None:
                    ranked.append(present)
        return tuple(ranked)


def holds(row: Price, at_us: int, /) -> bool:
    """Whether a row holds at a moment."""
    if row.effective_from_us is not None and at_us < row.effective_from_us:
        return False
    if row.effective_to_us is not None and at_us >= row.effective_to_us:
        return False
    start_s, end_s = row.daily_from_s, row.daily_to_s
    if start_s is None or end_s is None:
        return True
    second = at_us // US_PER_S % DAY_S
    return start_s <= second < end_s if start_s <= end_s else second >= start_s or second < end_s


def _present(row: Price, below: Sequence[tuple[Source, Sequence[Price]]]) -> Price | None:
    """The row of a list without dates, for the stretch of time that it can speak of.

    That is the one between the last change that a dated list below knows of and the next; what held before, and what was
    announced for later, only that list can say.  Where it knows prices by the hour of the day, it counts alone.
    """
    for source, rows in below:
        as_of_us = source.as_of_us
        if not source.dated or as_of_us is None or not rows:
            continue
        standing = [it for it in rows if _spans(it, as_of_us)]
        if any(it.daily_from_s is not None for it in standing):
            return None
        changes = {it.effective_from_us for it in rows} | {it.effective_to_us for it in rows}
        known = sorted(change for change in changes if change is not None)
        return replace(
            _completed(row, standing[-1]) if standing else row,
            effective_from_us=max((change for change in known if change <= as_of_us), default=None),
            effective_to_us=min((change for change in known if change > as_of_us), default=None),
        )
    return row


def _spans(row: Price, at_us: int) -> bool:
    return (row.effective_from_us is None or row.effective_from_us <= at_us) and (
        row.effective_to_us is None or at_us < row.effective_to_us
    )


def _completed(row: Price, other: Price) -> Price:
    """``row`` with what it does not say, cliffs and services too, from a row of another list that has the same prices.

    The same: for input and output.  Two rows that differ there are of different times, or of different models.
    """
    if (row.input_nusd_per_mtok, row.output_nusd_per_mtok) != (other.input_nusd_per_mtok, other.output_nusd_per_mtok):
        return row
    missing = {
        field: said
        for field in PIECES
        if getattr(row, field) in (None, ()) and (said := getattr(other, field)) not in (None, ())
    }
    if not missing:
        return row
    cliffs = {service.name: service.context_tiers for service in other.service_tiers}
    services = tuple(
        service if service.context_tiers else replace(service, context_tiers=cliffs.get(service.name, ()))
        for service in row.service_tiers
    )
    return replace(row, **({"source": f"{row.source}, {other.source}", "service_tiers": services} | missing))


PIECES = (*(field for field in Rates.__struct_fields__ if field.endswith("_nusd_per_mtok")), "search_nusd", *BY_THE_PIECE,
          "images", "context_tiers", "service_tiers")  # fmt: skip
"""What a row may leave out."""
