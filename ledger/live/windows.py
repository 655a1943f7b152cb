"""Sliding windows over tallies: an observation is counted once, and moves to coarser slices as it ages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, Generic, Literal, Protocol, Self, TypeVar

import msgspec

from ledger.live.histogram import Count, Histogram

Window = Literal["5m", "1h", "24h", "7d"]

# Each window: how long it is, and how long a slice of it.  A slice that leaves the finer window goes into the next one.
_RUNGS: Final[tuple[tuple[Window, int, int], ...]] = (
    ("5m", 300, 30),
    ("1h", 3_600, 300),
    ("24h", 86_400, 3_600),
    ("7d", 604_800, 21_600),
)
WINDOWS: Final[tuple[Window, ...]] = tuple(name for name, _, _ in _RUNGS)
SLICE_S: Final = _RUNGS[0][2]
"""After so many seconds what has not changed is in other windows than before."""


class Countable(Protocol):
    """What is counted in one slice of time."""

    def merge(self, other: Self, /) -> None:
        """Count everything that the other one has counted."""
        ...


class Tally(msgspec.Struct):
    """What was counted and measured of an offer in one slice of time.

    tries: ``ok + limited + broken + late + refused``.  measured: answers whose tokens are known; priced: whose cost is.
    cost_nusd: of all tries, those that failed too.
    """

    tries: Count = 0
    ok: Count = 0
    limited: Count = 0
    broken: Count = 0
    late: Count = 0
    refused: Count = 0
    truncated: Count = 0
    measured: Count = 0
    priced: Count = 0
    input_tokens: Count = 0
    cached_tokens: Count = 0
    output_tokens: Count = 0
    cost_nusd: Count = 0
    ttft_ms: Histogram = msgspec.field(default_factory=Histogram)
    e2e_ms: Histogram = msgspec.field(default_factory=Histogram)
    output_tps: Histogram = msgspec.field(default_factory=Histogram)
    itl_ms: Histogram = msgspec.field(default_factory=Histogram)

    def merge(self, other: Tally, /) -> None:
        """Count everything that the other one has counted."""
        if not other.tries:
            return
        self.tries += other.tries
        self.ok += other.ok
        self.limited += other.limited
        self.broken += other.broken
        self.late += other.late
        self.refused += other.refused
        self.truncated += other.truncated
        self.measured += other.measured
        self.priced += other.priced
        self.input_tokens += other.input_tokens
        self.cached_tokens += other.cached_tokens
        self.output_tokens += other.output_tokens
        self.cost_nusd += other.cost_nusd
        self.ttft_ms.merge(other.ttft_ms)
        self.e2e_ms.merge(other.e2e_ms)
        self.output_tps.merge(other.output_tps)
        self.itl_ms.merge(other.itl_ms)


class Answers(msgspec.Struct):
    """How long answers of one kind of task were, in one slice of time."""

    measured: Count = 0
    output_tokens: Count = 0

    def merge(self, other: Answers, /) -> None:
        """Count everything that the other one has counted."""
        self.measured += other.measured
        self.output_tokens += other.output_tokens


T = TypeVar("T", bound=Countable)
Slices = Sequence[Sequence[tuple[int, T]]]
"""By window, the oldest first: when a slice begins, in seconds, and what was counted in it."""


class Windows(Generic[T]):
    """The tallies of one offer.  Times are seconds of one clock, which may stand still or step back: then what comes is
    counted in the newest slice.

    kind: makes an empty tally.  last_s: when something was last counted.
    """

    def __init__(self, kind: type[T], *, last_s: float = 0.0) -> None:
        self._kind = kind
        self._slices: tuple[deque[tuple[int, T]], ...] = tuple(deque() for _ in _RUNGS)
        # What each window adds to the one before it, without the newest slice: it changes with a slice, not with a sample.
        self._settled: list[T] | None = None
        self.last_s = last_s

    def now(self, now_s: float) -> T:
        """The tally that counts what happens now."""
        self.last_s = now_s
        finest = self._slices[0]
        start_s = int(now_s) // SLICE_S * SLICE_S
        if not finest or finest[-1][0] < start_s:
            self._age(now_s)
            finest.append((start_s, self._kind()))
            self._settled = None
        return finest[-1][1]

    def window(self, name: Window, now_s: float) -> T:
        """Everything of the last five minutes, hour, day or week, to the nearest slice."""
        for rung, tally in zip(WINDOWS, self.ladder(now_s), strict=True):
            if rung == name:
                return tally
        raise LookupError(f"there is no window {name!r}")

    def ladder(self, now_s: float) -> Iterator[T]:
        """Everything of the last five minutes, of the last hour, of the day, of the week: each is made when it is asked for."""
        self._age(now_s)
        if self._settled is None:
            finest, *coarser = self._slices
            self._settled = [self._sum(list(finest)[:-1]), *map(self._sum, coarser)]
        newest = self._slices[0][-1][1] if self._slices[0] else self._kind()
        total = self._kind()
        total.merge(newest)
        for settled in self._settled:
            longer = self._kind()
            longer.merge(total)
            longer.merge(settled)
            total = longer
            yield total

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left."""
        return not any(self._slices)

    @property
    def slices(self) -> Slices[T]:
        """Everything, to be kept."""
        return [list(slices) for slices in self._slices]

    def load(self, kept: Slices[T], now_s: float) -> None:
        """Take over what ``slices`` gave, without what is too old by now, or from the future.  Raises: ValueError."""
        for slices, old in zip(self._slices, kept, strict=True):
            slices.extend((start_s, tally) for start_s, tally in old if start_s <= now_s)
        self._settled = None
        self._age(now_s)

    def _sum(self, slices: Sequence[tuple[int, T]]) -> T:
        total = self._kind()
        for _, tally in slices:
            total.merge(tally)
        return total

    def _age(self, now_s: float) -> None:
        """Move what is too old for its window into the next one, and forget what is too old for all."""
        for (slices, (_, length_s, _)), coarser in zip(zip(self._slices, _RUNGS, strict=True), self._coarser(), strict=True):
            while slices and slices[0][0] <= now_s - length_s:
                self._settled = None
                start_s, tally = slices.popleft()
                if coarser is not None:
                    into, slice_s = coarser
                    _put(into, start_s // slice_s * slice_s, tally)

    def _coarser(self) -> Iterator[tuple[deque[tuple[int, T]], int] | None]:
        for slices, (_, _, slice_s) in list(zip(self._slices, _RUNGS, strict=True))[1:]:
            yield slices, slice_s
        yield None


def _put(slices: deque[tuple[int, T]], start_s: int, tally: T) -> None:
    """Count a tally in the slice that begins then, which is the last one unless the clock stepped back."""
    if slices and slices[-1][0] >= start_s:
        slices[-1][1].merge(tally)
    else:
        slices.append((start_s, tally))
