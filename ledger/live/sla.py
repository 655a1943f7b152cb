"""How providers keep to what was agreed, by what was measured of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ledger.live.metrics import LiveMetrics
from ledger.live.windows import Tally, Window


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider has to keep to; ``None``: it need not.  tries_min: with fewer nothing is judged, and nothing is met."""

    success_min: float | None = None
    availability_min: float | None = None
    ttft_p90_max_ms: float | None = None
    e2e_p95_max_ms: float | None = None
    tries_min: int = 1

    @property
    def any(self) -> bool:
        """Whether there is anything to keep to."""
        bounds = (self.success_min, self.availability_min, self.ttft_p90_max_ms, self.e2e_p95_max_ms)
        return any(it is not None for it in bounds)


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a provider, or of one of its offers, in a window; ``None``: nothing is known of that.

    tries: samples.  success: the answered share of them.  availability: that of those which were neither held back by a rate
    limit nor refused for the account's key or credit.  ``*_rate``: shares of the tries.
    missed: the targets that it did not keep to, as sentences; only of a whole provider, if there are targets.
    """

    provider: str
    offer: str = ""
    tries: int
    success: float | None = None
    availability: float | None = None
    limited_rate: float | None = None
    broken_rate: float | None = None
    late_rate: float | None = None
    refused_rate: float | None = None
    ttft_p50_ms: float | None = None
    ttft_p90_ms: float | None = None
    ttft_p99_ms: float | None = None
    e2e_p50_ms: float | None = None
    e2e_p95_ms: float | None = None
    output_tps_p50: float | None = None
    missed: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A row for each provider, followed by those of its offers.  met: ``None`` without targets."""

    window: Window
    at_us: int
    met: bool | None
    rows: tuple[Service, ...]


def services(
    metrics: LiveMetrics,
    window: Window,
    *,
    provider: str | None = None,
    targets: Targets = Targets(),  # noqa: B008  # frozen
) -> Iterator[Service]:
    """A row for each offer that was tried, and one for each provider after those of its offers; each takes some 100 µs.

    provider: only this one.
    """
    by_provider: dict[str, list[str]] = {}
    for offer in metrics.offers():
        name = offer.partition("/")[0]
        if provider in (None, name):
            by_provider.setdefault(name, []).append(offer)
    for name, offers in by_provider.items():
        total = Tally()
        for offer in offers:
            tally = metrics.tally((offer,), window)
            if tally.tries:
                total.merge(tally)
                yield _service(tally, name, offer)
        if total.tries:
            whole = _service(total, name, "")
            yield msgspec.structs.replace(whole, missed=tuple(_missed(whole, targets)))


def report(rows: Iterable[Service], *, window: Window, at_us: int, targets: Targets) -> Report:
    """The rows in order, each provider before its offers, and whether all providers keep to the targets.

    Where nobody was tried, nothing says that they do, so they do not.
    """
    ordered = tuple(sorted(rows, key=lambda row: (row.provider, row.offer)))
    wholes = [row for row in ordered if not row.offer]
    met = bool(wholes) and not any(row.missed for row in wholes)
    return Report(window=window, at_us=at_us, met=met if targets.any else None, rows=ordered)


def _service(tally: Tally, provider: str, offer: str) -> Service:
    tries, asked = tally.tries, tally.ok + tally.broken + tally.late
    ttft = tally.ttft_ms.quantiles(0.5, 0.9, 0.99) or (None, None, None)
    e2e = tally.e2e_ms.quantiles(0.5, 0.95) or (None, None)
    return Service(
        provider=provider,
        offer=offer,
        tries=tries,
        success=tally.ok / tries,
        availability=tally.ok / asked if asked else None,
        limited_rate=tally.limited / tries,
        broken_rate=tally.broken / tries,
        late_rate=tally.late / tries,
        refused_rate=tally.refused / tries,
        ttft_p50_ms=ttft[0],
        ttft_p90_ms=ttft[1],
        ttft_p99_ms=ttft[2],
        e2e_p50_ms=e2e[0],
        e2e_p95_ms=e2e[1],
        output_tps_p50=tally.output_tps.quantile(0.5),
    )


def _missed(row: Service, targets: Targets) -> Iterator[str]:
    if not targets.any:
        return
    if row.tries < targets.tries_min:
        yield f"{row.tries} tries are fewer than {targets.tries_min}"
        return
    for name, value, low in (
        ("success", row.success, targets.success_min),
        ("availability", row.availability, targets.availability_min),
    ):
        if low is not None and (value is None or value < low):
            yield f"{name} is {'unknown' if value is None else f'{value:.2%}'}, not at least {low:.2%}"
    for name, value, high in (
        ("ttft p90", row.ttft_p90_ms, targets.ttft_p90_max_ms),
        ("e2e p95", row.e2e_p95_ms, targets.e2e_p95_max_ms),
    ):
        if high is not None and (value is None or value > high):
            yield f"{name} is {'unknown' if value is None else f'{value:,.0f} ms'}, not at most {high:,.0f} ms"
