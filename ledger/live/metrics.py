"""Live metrics by offer: fed with samples, read by name and window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec

from ledger.live.histogram import Histogram
from ledger.live.windows import Answers, Tally, Window, Windows

OFFERS_MAX: Final = 2_000
"""Offers that are watched; beyond them the one that was heard of longest ago is forgotten."""
TASKS_MAX: Final = 5_000
"""Offers by kind of task, likewise."""
ENOUGH: Final = 100
"""Samples from which on a window speaks for itself; with fewer, the next longer one is asked.  Four times what a published
value weighs beside it."""
TASK_ENOUGH: Final = 10
"""Answers from which on the length of those to one kind of task is not taken from the offer's others."""

VERSION: Final = 1

Outcome = Literal["ok", "limited", "broken", "late", "refused"]


class Sample(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One try at one offer (``provider/model``), after it ended; the caller's own faults and departures are no samples.

    outcome: ``ok``, ``limited`` (429), ``broken`` (5xx, bad answer, no connection), ``late`` (a timeout), ``refused`` (the
    account's key or credit).
    ttft_ms: to the first event, of a stream; with it the time between tokens is known, as the mean of each answer.
    Tokens: ``None`` if not known.  cost_nusd: ``None`` if not known; of a failed try what it is charged with.
    task: what kind of task it was, if somebody knows.
    """

    offer: str
    outcome: Outcome
    e2e_ms: float
    ttft_ms: float | None = None
    truncated: bool = False
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    cost_nusd: int | None = None
    task: str = ""


class Value(msgspec.Struct, frozen=True, gc=False):
    """A metric's value, and how many samples it rests on."""

    value: float
    n: int


class LiveMetrics:
    """Every offer's windows.  clock_s: wall time in seconds.  About 3 µs a sample.

    changed: offers that were sampled since somebody cleared it.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._offers: dict[str, Windows[Tally]] = {}
        self._tasks: dict[tuple[str, str], Windows[Answers]] = {}
        self.changed: set[str] = set()

    def observe(self, sample: Sample) -> None:
        """Count one try."""
        now_s = self._clock_s()
        windows = self._offers.pop(sample.offer, None) or Windows(Tally)
        self._offers[sample.offer] = windows  # the last one heard of is the last one to be forgotten
        if len(self._offers) > OFFERS_MAX:
            del self._offers[next(iter(self._offers))]
        _count(windows.now(now_s), sample)
        self.changed.add(sample.offer)
        if sample.task and sample.outcome == "ok" and sample.output_tokens is not None:
            key = (sample.offer, sample.task)
            answers = self._tasks.pop(key, None) or Windows(Answers)
            self._tasks[key] = answers
            if len(self._tasks) > TASKS_MAX:
                del self._tasks[next(iter(self._tasks))]
            tally = answers.now(now_s)
            tally.measured += 1
            tally.output_tokens += sample.output_tokens

    def offers(self) -> list[str]:
        """Every offer that was heard of within a week, by name."""
        return sorted(self._offers)

    def tasks(self) -> list[tuple[str, str]]:
        """Every offer and kind of task whose answers were measured within a week, by name."""
        return sorted(self._tasks)

    def heard_s(self, offer: str) -> float | None:
        """When an offer was last heard of."""
        windows = self._offers.get(offer)
        return None if windows is None else windows.last_s

    def tally(self, offers: Iterable[str], window: Window) -> Tally:
        """What was counted of several offers together."""
        now_s = self._clock_s()
        total = Tally()
        for offer in offers:
            if (windows := self._offers.get(offer)) is not None:
                total.merge(windows.window(window, now_s))
        return total

    def values(self, offer: str, window: Window) -> Mapping[str, Value]:
        """What is known of an offer, by the names of the metric catalogue; a metric that nothing is known of is missing."""
        windows = self._offers.get(offer)
        if windows is None:
            return {}
        tally = windows.window(window, self._clock_s())
        return _values(lambda _: tally)

    def best(self, offers: Sequence[str]) -> Mapping[str, Value]:
        """What is known of offers together: of each metric by the shortest window that has ENOUGH samples, else the longest."""
        now_s = self._clock_s()
        found = [windows for offer in offers if (windows := self._offers.get(offer)) is not None]
        ladder = _Ladder([windows.ladder(now_s) for windows in found])
        return _values(ladder.enough)

    def tokens_out(self, offer: str, task: str) -> Value | None:
        """How long answers to a kind of task are, in tokens; ``None``: too few of them are known."""
        windows = self._tasks.get((offer, task))
        if windows is None:
            return None
        answers = Answers()
        for answers in windows.ladder(self._clock_s()):
            if answers.measured >= ENOUGH:
                break
        if answers.measured < TASK_ENOUGH:
            return None
        return Value(answers.output_tokens / answers.measured, answers.measured)

    def forget_old(self) -> None:
        """Drop whom nobody has heard of for a week."""
        now_s = self._clock_s()
        for offer in [offer for offer, windows in self._offers.items() if _is_over(windows, now_s)]:
            del self._offers[offer]
        for key in [key for key, answers in self._tasks.items() if _is_over(answers, now_s)]:
            del self._tasks[key]

    def dump(self) -> bytes:
        """Everything, to be loaded after a restart."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """What ``dump`` gives, an offer at a time, so that others can be served in between; each is as it is then."""
        yield _encode(_Head(version=VERSION)) + b"\n"
        for offer in list(self._offers):
            if (windows := self._offers.get(offer)) is not None:
                yield _encode(_Kept(offer=offer, last_s=windows.last_s, slices=windows.slices)) + b"\n"
        for offer, task in list(self._tasks):
            if (answers := self._tasks.get((offer, task))) is not None:
                kept = _KeptTask(offer=offer, task=task, last_s=answers.last_s, slices=answers.slices)
                yield _encode(kept) + b"\n"

    def load(self, data: bytes) -> None:
        """Take over what ``dump`` gave; what is too old by now is left out.  Raises: ValueError, if it is not that."""
        now_s = self._clock_s()
        offers: dict[str, Windows[Tally]] = {}
        tasks: dict[tuple[str, str], Windows[Answers]] = {}
        head, *lines = data.splitlines() or [b""]
        try:
            if (version := _head(head).version) != VERSION:
                raise ValueError(f"they are of version {version}")
            for line in lines:
                match _line(line):
                    case _Kept() as kept:
                        offers[kept.offer] = windows = Windows(Tally, last_s=kept.last_s)
                        windows.load(kept.slices, now_s)
                    case _KeptTask() as task:
                        tasks[task.offer, task.task] = answers = Windows(Answers, last_s=task.last_s)
                        answers.load(task.slices, now_s)
        except (ValueError, RecursionError) as error:  # msgspec's own errors are among them
            raise ValueError(f"not live metrics: {error}") from error
        self._offers = dict(list(offers.items())[-OFFERS_MAX:])
        self._tasks = dict(list(tasks.items())[-TASKS_MAX:])
        self.forget_old()
        self.changed = set(self._offers)


Seconds = Annotated[int, msgspec.Meta(ge=0)]


class _Head(msgspec.Struct, frozen=True):
    version: int


class _Kept(msgspec.Struct, frozen=True, tag="offer", tag_field="kind"):
    offer: str
    last_s: float
    slices: Sequence[Sequence[tuple[Seconds, Tally]]]


class _KeptTask(msgspec.Struct, frozen=True, tag="task", tag_field="kind"):
    offer: str
    task: str
    last_s: float
    slices: Sequence[Sequence[tuple[Seconds, Answers]]]


_encode = msgspec.json.Encoder().encode
_head = msgspec.json.Decoder(_Head).decode
_line = msgspec.json.Decoder(_Kept | _KeptTask).decode


class _Ladder:
    """Several offers' windows together, the longer ones made only when they are asked for."""

    def __init__(self, ladders: Sequence[Iterator[Tally]]) -> None:
        self._ladders = ladders
        self._rungs: list[Tally] = []

    def enough(self, count: str) -> Tally:
        """The shortest window that has ENOUGH of what is counted by that name; the longest, if none has."""
        tally = Tally()
        for tally in self._each():
            counted = getattr(tally, count)
            if (counted.count if isinstance(counted, Histogram) else counted) >= ENOUGH:
                break
        return tally

    def _each(self) -> Iterator[Tally]:
        yield from self._rungs
        while rungs := [tally for ladder in self._ladders if (tally := next(ladder, None)) is not None]:
            total = rungs[0]
            if len(rungs) > 1:
                total = Tally()
                for rung in rungs:
                    total.merge(rung)
            self._rungs.append(total)
            yield total


def _is_over(windows: Windows[Tally] | Windows[Answers], now_s: float) -> bool:
    for _ in windows.ladder(now_s):  # which lets go of what is too old
        break
    return windows.is_empty


def _count(tally: Tally, sample: Sample) -> None:
    tally.tries += 1
    if sample.cost_nusd is not None:
        tally.cost_nusd += sample.cost_nusd
    match sample.outcome:
        case "ok":
            tally.ok += 1
        case "limited":
            tally.limited += 1
            return
        case "broken":
            tally.broken += 1
            return
        case "late":
            tally.late += 1
            return
        case _:
            tally.refused += 1
            return
    if sample.truncated:
        tally.truncated += 1
    if sample.cost_nusd is not None:
        tally.priced += 1
    ttft_ms = sample.ttft_ms
    tally.e2e_ms.add(sample.e2e_ms)
    if ttft_ms is not None:
        tally.ttft_ms.add(ttft_ms)
    output_tokens = sample.output_tokens
    if output_tokens is not None:
        tally.measured += 1
        tally.output_tokens += output_tokens
        tally.input_tokens += sample.input_tokens or 0
        tally.cached_tokens += sample.cached_tokens or 0
        # From the first token on, if that is known; an answer of one token has no rate.
        spent_ms = sample.e2e_ms - (ttft_ms or 0.0)
        if output_tokens > 1 and spent_ms > 0:
            tally.output_tps.add(output_tokens * 1000 / spent_ms)
            if ttft_ms is not None:
                tally.itl_ms.add(spent_ms / (output_tokens - 1))


_QUANTILES: Final = (
    ("ttft_ms", {"ttft_p50": 0.5, "ttft_p90": 0.9, "ttft_p99": 0.99}),
    ("e2e_ms", {"e2e_p50": 0.5, "e2e_p95": 0.95}),
    ("output_tps", {"output_tps_p10": 0.1, "output_tps_p50": 0.5}),
    ("itl_ms", {"itl_p95": 0.95}),
)


def _values(of: Callable[[str], Tally]) -> dict[str, Value]:
    """The metrics.  of: the tally to take them from, by the name of what counts their samples."""
    values: dict[str, Value] = {}
    for quantity, shares in _QUANTILES:
        histogram: Histogram = getattr(of(quantity), quantity)
        for name, found in zip(shares, histogram.quantiles(*shares.values()), strict=False):
            values[name] = Value(found, histogram.count)
    tally = of("tries")
    if tries := tally.tries:
        values["success_rate"] = Value(tally.ok / tries, tries)
        values["rate_429"] = Value(tally.limited / tries, tries)
        values["rate_5xx"] = Value(tally.broken / tries, tries)
        values["rate_timeout"] = Value(tally.late / tries, tries)
    tally = of("ok")
    if tally.ok:
        values["truncation_rate"] = Value(tally.truncated / tally.ok, tally.ok)
    tally = of("measured")
    if tally.measured:
        values["tokens_out_per_answer"] = Value(tally.output_tokens / tally.measured, tally.measured)
        if tally.input_tokens:
            values["cache_hit_rate"] = Value(tally.cached_tokens / tally.input_tokens, tally.measured)
    tally = of("priced")
    if tally.priced:
        values["effective_cost_per_task"] = Value(tally.cost_nusd / tally.priced / 1e9, tally.priced)
        tokens = tally.input_tokens + tally.output_tokens
        if tokens:
            values["effective_cost_per_mtok"] = Value(tally.cost_nusd / tokens / 1e3, tally.priced)
    return values
