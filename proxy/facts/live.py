"""Live metrics of the gateway's own traffic: fed with every try that ended, kept over restarts, read as a view."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from ledger.catalogue.identity import Resolution, Resolver
from ledger.catalogue.metrics import METRICS
from ledger.facts import Subject
from ledger.live import LiveMetrics, LiveView, Outcome, Sample, Views
from ledger.records import Settlement
from proxy.call import Attempt, Call, Fault
from proxy.disk.home import Home

FILE = "live.jsonl"
"""Below ``TOLLWAY_HOME``."""
RENEW_S = 0.5
"""Between two views, at least."""
IDLE_S = 30.0
"""After so long windows have moved on, also if nobody has asked for anything."""
SAVE_S = 30.0

_BOUNDS = {name: (metric.low, metric.high) for name, metric in METRICS.items()}
# The request's own faults, the client's and ours say nothing about who was asked.
_OUTCOMES: dict[Fault, Outcome] = {
    "rate_limit": "limited",
    "account": "refused",
    "upstream": "broken",
    "timeout": "late",
}

log = structlog.get_logger("tollway.live")


def sample_of(attempt: Attempt, settlement: Settlement | None, *, stream: bool, task: str = "") -> Sample | None:
    """What a try says about its offer; ``None``: nothing.  settlement: what it is charged, if it is."""
    known = settlement is not None and settlement.quality == "exact"
    if attempt.fault:
        outcome = _OUTCOMES.get(attempt.fault)
        if outcome is None:
            return None
    elif attempt.outcome == "ok":
        outcome = "ok"
    else:
        return None  # a hedge, which another try was faster than
    tokens = settlement.tokens if settlement is not None and known else None
    return Sample(
        offer=attempt.deployment.name,
        outcome=outcome,
        e2e_ms=attempt.duration_us / 1000,
        ttft_ms=attempt.ttfb_us / 1000 if stream and attempt.ttfb_us is not None else None,
        truncated=attempt.truncated,
        input_tokens=None if tokens is None else tokens.input_tokens,
        cached_tokens=None if tokens is None else tokens.cache_read + tokens.cache_read_audio,
        output_tokens=None if tokens is None else tokens.output_tokens,
        # A guess at what an answer cost is no measurement; what a failure cost is never more than one.
        cost_nusd=None if settlement is None or (outcome == "ok" and not known) else settlement.cost_nusd,
        task=task,
    )


def subjects_of(resolver: Resolver, offer: str) -> Sequence[str]:
    """The ledger's names of ``provider/model``: the offer's own, and its variant's; nothing, if nobody knows it."""
    provider, _, model = offer.partition("/")
    found = resolver.resolve(provider, Subject(source_name=model, host=provider))
    return (found.offer, found.variant) if isinstance(found, Resolution) else ()


def view_of(metrics: LiveMetrics, resolver: Resolver, clock_s: Callable[[], float]) -> LiveView:
    """The view of metrics that nobody feeds any more."""
    views = Views(metrics, subjects=lambda offer: subjects_of(resolver, offer), bounds=_BOUNDS, clock_s=clock_s)
    for _ in views.renew(all_of=True):
        pass
    return views.view


class Live:
    """The live metrics of a running gateway.

    resolver: who is meant by a name, as it is known now.  clock_s: wall time.  task_of: what kind of task a call is, if
    somebody knows.
    """

    def __init__(
        self,
        home: Home,
        resolver: Callable[[], Resolver],
        clock_s: Callable[[], float],
        *,
        task_of: Callable[[Call], str] = lambda _: "",
    ) -> None:
        self.metrics = LiveMetrics(clock_s)
        self._home = home
        self._resolver = resolver
        self._clock_s = clock_s
        self._task_of = task_of
        self._views = Views(self.metrics, subjects=self._subjects, bounds=_BOUNDS, clock_s=clock_s)
        self._heard = asyncio.Event()
        self._unsaved = False
        self._named_by: Resolver | None = None

    @property
    def view(self) -> LiveView:
        """What is known now, at most a second old.  Hold on to it for the length of one decision."""
        return self._views.view

    def observe(self, call: Call, attempt: Attempt, settlement: Settlement | None) -> None:
        """Learn from a try that has ended.  A few µs; raises nothing."""
        sample = sample_of(attempt, settlement, stream=call.head.stream, task=self._task_of(call))
        if sample is not None:
            self.metrics.observe(sample)
            self._heard.set()

    def restore(self) -> None:
        """Take over what was kept before the restart; what cannot be read is logged, and nothing is known then."""
        path = self._home.path / FILE
        try:
            self.metrics.load(path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.warning("live_metrics_not_restored", path=str(path), reason=str(error))
            return
        for _ in self._views.renew(all_of=True):
            pass

    async def run(self) -> None:
        """Keep the view and the file up to date, until cancelled."""
        saved_s = self._clock_s()
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._heard.wait()
            except TimeoutError:
                pass
            self._unsaved = self._unsaved or self._heard.is_set()
            self._heard.clear()
            await self._renew()
            if self._unsaved and abs(self._clock_s() - saved_s) >= SAVE_S:
                await self.save()
                saved_s = self._clock_s()
            await asyncio.sleep(RENEW_S)

    async def dump(self) -> bytes:
        """Everything, as ``LiveMetrics.load`` takes it, without keeping anybody waiting."""
        pieces = []
        for piece in self.metrics.pieces():
            pieces.append(piece)
            await asyncio.sleep(0)
        return b"".join(pieces)

    async def save(self) -> None:
        """Write everything to its file, in a thread; what cannot be written is logged, and tried again next time."""
        content = await self.dump()
        try:
            await asyncio.to_thread(self._home.replace, FILE, content)
        except OSError as error:
            log.warning("live_metrics_not_kept", reason=str(error))
            return
        self._unsaved = False

    async def close(self) -> None:
        """Write what was not written yet."""
        if self._unsaved or self._heard.is_set():
            await self.save()

    async def _renew(self) -> None:
        """Make the view of now, without keeping anybody waiting."""
        resolver = self._resolver()
        learned, self._named_by = resolver is not self._named_by, resolver
        for _ in self._views.renew(all_of=learned):
            await asyncio.sleep(0)

    def _subjects(self, offer: str) -> Sequence[str]:
        return subjects_of(self._resolver(), offer)
