"""Sliding windows over tallies: an observation is counted once, and moves to coarser slices as it ages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final, Literal

from ledger.live.histogram import Histogram

Window = Literal["5m", "1h", "24h", "7d"]

# Each window: how long it is, and how long a slice of it.  A slice that leaves the finer window goes into the next one.
_RUNGS: Final[tuple[tuple[Window, int, int], ...]] = (
    ("5m", 300, 30),
    ("1h", 3_600, 300),
    ("24h", 86_400, 3_600),
    ("7d", 604_800, 21_600),
)
WINDOWS: Final[tuple[Window, ...]] = tuple(name for name, _, _ in _RUNGS)

COUNTS: Final = (
    *("tries", "ok", "limited", "broken", "late", "truncated", "priced"),
    *("input_tokens", "cached_tokens", "output_tokens", "cost_nusd"),
)
QUANTITIES: Final = ("ttft_ms", "e2e_ms", "output_tps", "itl_ms")


class Tally:
    """What was counted and measured in one slice of time."""

    __slots__ = (*COUNTS, "quantities")

    def __init__(self) -> None:
        self.tries = self.ok = self.limited = self.broken = self.late = self.truncated = self.priced = 0
        self.input_tokens = self.cached_tokens = self.output_tokens = self.cost_nusd = 0
        self.quantities = {name: Histogram() for name in QUANTITIES}

    def merge(self, other: Tally) -> None:
        """Count everything that the other one has counted."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, histogram in other.quantities.items():
            self.quantities[name].merge(histogram)

    def dump(self) -> dict[str, Any]:
        """It as plain values."""
        return {
            **{name: getattr(self, name) for name in COUNTS},
            **{name: list(histogram.bins.items()) for name, histogram in self.quantities.items()},
        }

    @classmethod
    def load(cls, plain: dict[str, Any]) -> Tally:
        """What ``dump`` gave.  Raises: KeyError, TypeError, ValueError."""
        tally = cls()
        for name in COUNTS:
            setattr(tally, name, int(plain[name]))
        tally.quantities = {name: Histogram({int(k): int(v) for k, v in plain[name]}) for name in QUANTITIES}
        return tally


class Windows:
    """The tallies of one offer.  Times are seconds of one clock, which may stand still or step back: then what comes is
    counted in the newest slice.
    """

    def __init__(self) -> None:
        self._slices: tuple[deque[tuple[int, Tally]], ...] = tuple(deque() for _ in _RUNGS)

    def now(self, now_s: float) -> Tally:
        """The tally that counts what happens now."""
        finest, length_s = self._slices[0], _RUNGS[0][2]
        start_s = int(now_s) // length_s * length_s
        if not finest or finest[-1][0] < start_s:
            self._age(now_s)
            finest.append((start_s, Tally()))
        return finest[-1][1]

    def window(self, name: Window, now_s: float) -> Tally:
        """Everything of the last five minutes, hour, day or week, to the nearest slice."""
        self._age(now_s)
        total = Tally()
        for slices, (rung, _, _) in zip(self._slices, _RUNGS, strict=True):
            for _, tally in slices:
                total.merge(tally)
            if rung == name:
                break
        return total

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left."""
        return not any(self._slices)

    def dump(self) -> list[list[tuple[int, dict[str, Any]]]]:
        """It as plain values."""
        return [[(start_s, tally.dump()) for start_s, tally in slices] for slices in self._slices]

    @classmethod
    def load(cls, plain: list[list[tuple[int, dict[str, Any]]]], now_s: float) -> Windows:
        """What ``dump`` gave, without what is too old by now, or from the future.  Raises: KeyError, TypeError, ValueError."""
        windows = cls()
        for slices, kept in zip(windows._slices, plain, strict=True):
            slices.extend((int(start_s), Tally.load(tally)) for start_s, tally in kept if int(start_s) <= now_s)
        windows._age(now_s)
        return windows

    def _age(self, now_s: float) -> None:
        """Move what is too old for its window into the next one, and forget what is too old for all."""
        for (slices, (_, length_s, _)), coarser in zip(zip(self._slices, _RUNGS, strict=True), _coarser(self), strict=True):
            while slices and slices[0][0] <= now_s - length_s:
                start_s, tally = slices.popleft()
                if coarser is not None:
                    into, slice_s = coarser
                    _put(into, start_s // slice_s * slice_s, tally)


def _coarser(windows: Windows) -> Iterator[tuple[deque[tuple[int, Tally]], int] | None]:
    for slices, (_, _, slice_s) in list(zip(windows._slices, _RUNGS, strict=True))[1:]:
        yield slices, slice_s
    yield None


def _put(slices: deque[tuple[int, Tally]], start_s: int, tally: Tally) -> None:
    """Count a tally in the slice that begins then, which is the last one unless the clock stepped back."""
    if slices and slices[-1][0] >= start_s:
        slices[-1][1].merge(tally)
    else:
        slices.append((start_s, tally))
