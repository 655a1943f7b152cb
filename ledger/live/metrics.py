"""Live metrics by offer: fed with samples, read by name and window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from ledger.live.windows import Tally, Window, Windows

OFFERS_MAX: Final = 2_000
"""Offers that are watched; beyond them the one that was heard of longest ago is forgotten."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One try at one offer (``provider/model``), after it ended; the caller's own faults and departures are no samples.

    outcome: ``ok``, ``limited`` (429), ``broken`` (5xx, bad answer, no connection), ``late`` (a timeout).
    ttft_ms: to the first event, of a stream; with it the time between tokens is known, as the mean of each answer.
    Tokens and cost: ``None`` if not known.
    """

    offer: str
    outcome: str
    e2e_ms: float
    ttft_ms: float | None = None
    truncated: bool = False
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    cost_nusd: int | None = None


class Value(msgspec.Struct, frozen=True):
    """A metric's value, and how many samples it rests on."""

    value: float
    n: int


def blend(live: Value | None, prior: float | None, *, weight: float) -> float | None:
    """``(n·live + k·prior) / (n + k)``: the live value as far as it is grounded, what was believed before for the rest.

    weight: ``k``, the samples that the prior is worth.  ``None`` if nothing is known either way.
    """
    if live is None:
        return prior
    if prior is None:
        return live.value
    return (live.n * live.value + weight * prior) / (live.n + weight)


_OUTCOMES: Final = {"ok": "ok", "limited": "limited", "broken": "broken", "late": "late"}


class LiveMetrics:
    """Every offer's windows.  clock_s: wall time in seconds.  About 3 µs a sample."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._offers: dict[str, Windows] = {}

    def observe(self, sample: Sample) -> None:
        """Count one try."""
        windows = self._offers.pop(sample.offer, None) or Windows()
        self._offers[sample.offer] = windows  # the last one heard of is the last one to be forgotten
        if len(self._offers) > OFFERS_MAX:
            del self._offers[next(iter(self._offers))]
        _count(windows.now(self._clock_s()), sample)

    def offers(self) -> list[str]:
        """Every offer that was heard of within a week, by name."""
        return sorted(self._offers)

    def values(self, offer: str, window: Window) -> Mapping[str, Value]:
        """What is known of an offer, by the names of the metric catalogue; a metric that nothing is known of is missing."""
        windows = self._offers.get(offer)
        return {} if windows is None else _values(windows.window(window, self._clock_s()))

    def dump(self) -> bytes:
        """Everything, to be loaded after a restart."""
        return msgspec.json.encode({"version": 1, "offers": {name: it.dump() for name, it in self._offers.items()}})

    def load(self, data: bytes) -> None:
        """Take over what ``dump`` gave; what is too old by now is left out.  Raises: ValueError, if it is not that."""
        now_s = self._clock_s()
        try:
            plain = msgspec.json.decode(data)
            if plain["version"] != 1:
                raise ValueError("another version wrote it")
            offers = {name: Windows.load(kept, now_s) for name, kept in plain["offers"].items()}
        except (KeyError, TypeError, AttributeError, msgspec.DecodeError) as error:
            raise ValueError(f"not live metrics: {error}") from error
        self._offers = {name: windows for name, windows in offers.items() if not windows.is_empty}


def _count(tally: Tally, sample: Sample) -> None:
    tally.tries += 1
    counter = _OUTCOMES[sample.outcome]
    setattr(tally, counter, getattr(tally, counter) + 1)
    if counter != "ok":
        return
    tally.truncated += sample.truncated
    quantities = tally.quantities
    quantities["e2e_ms"].add(sample.e2e_ms)
    if sample.ttft_ms is not None:
        quantities["ttft_ms"].add(sample.ttft_ms)
    if sample.output_tokens is not None:
        tally.output_tokens += sample.output_tokens
        tally.input_tokens += sample.input_tokens or 0
        tally.cached_tokens += sample.cached_tokens or 0
        # From the first token on, if that is known; an answer of one token has no rate.
        spent_ms = sample.e2e_ms - (sample.ttft_ms or 0.0)
        if sample.output_tokens > 1 and spent_ms > 0:
            quantities["output_tps"].add(sample.output_tokens * 1000 / spent_ms)
            if sample.ttft_ms is not None:
                quantities["itl_ms"].add(spent_ms / (sample.output_tokens - 1))
    if sample.cost_nusd is not None:
        tally.priced += 1
        tally.cost_nusd += sample.cost_nusd


_QUANTILES: Final = (
    ("ttft_p50", "ttft_ms", 0.5),
    ("ttft_p90", "ttft_ms", 0.9),
    ("ttft_p99", "ttft_ms", 0.99),
    ("e2e_p50", "e2e_ms", 0.5),
    ("e2e_p95", "e2e_ms", 0.95),
    ("output_tps_p50", "output_tps", 0.5),
    ("output_tps_p10", "output_tps", 0.1),
    ("itl_p95", "itl_ms", 0.95),
)


def _values(tally: Tally) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, quantity, share in _QUANTILES:
        histogram = tally.quantities[quantity]
        found = histogram.quantile(share)
        if found is not None:
            values[name] = Value(found, histogram.count)
    for name, count in (
        ("success_rate", tally.ok),
        ("rate_429", tally.limited),
        ("rate_5xx", tally.broken),
        ("rate_timeout", tally.late),
    ):
        if tally.tries:
            values[name] = Value(count / tally.tries, tally.tries)
    if tally.ok:
        values["truncation_rate"] = Value(tally.truncated / tally.ok, tally.ok)
        values["tokens_out_per_answer"] = Value(tally.output_tokens / tally.ok, tally.ok)
    if tally.input_tokens:
        values["cache_hit_rate"] = Value(tally.cached_tokens / tally.input_tokens, tally.ok)
    if tally.priced:
        values["effective_cost_per_task"] = Value(tally.cost_nusd / tally.priced / 1e9, tally.priced)
        tokens = tally.input_tokens + tally.output_tokens
        if tokens:
            values["effective_cost_per_mtok"] = Value(tally.cost_nusd / tokens / 1e3, tally.priced)
    return values
