"""What is done beside the requests, at its times: progress, overruns, leases, holds, budgets, lag, the journal's head."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Protocol

import structlog

from ledger.errors import LedgerUnavailable
from ledger.journal.holds import AfterHold
from ledger.ports import LearningPort
from ledger.records import Budget
from proxy.attempts.spending import DAY_US
from proxy.config import Config
from proxy.learning.learned import Learned
from proxy.limits.overload import Overload
from proxy.metering.budgets import Budgets
from proxy.stages.meter import Meter

PROGRESS_S = 1.0
"""Between two notes of how far streams have come: what a crash can leave uncharged of them."""
OVERRUN_S = 0.25
"""Between two looks at how far the streams under budgets have come."""
LEASE_SLACK_S = 60.0
"""How much longer than a request can live its reservation is left alone."""
RETRY_BUDGET_S = 1.0
"""Until a new budget is looked at again whose past could not be read."""
HEAD_S = 3600.0
HOLDS_S = 3600.0
FORGET_S = 3600.0
LAG_S = 0.025
"""Between two looks at how late the event loop is."""
HOUR_US = 3_600_000_000

log = structlog.get_logger("tollway")


class Ledger(LearningPort, Protocol):
    """The ledger, as its upkeep knows it."""

    async def chain_head(self) -> bytes:
        """The hash of the journal's last entry.  Raises: LedgerUnavailable."""
        ...

    async def lapse_holds(self, *, hold_us: int, policy: AfterHold) -> int:
        """Resolve what is held for so long; how many tries that were.  Raises: LedgerUnavailable."""
        ...


class Traffic(Protocol):
    """The requests, as the watch over the loop's lag knows them.  begun: how many so far; at_work: how many now."""

    @property
    def begun(self) -> int: ...
    @property
    def at_work(self) -> int: ...


class Upkeep:
    """The tasks of one gateway.  ``tasks``: each of them, by name; they go on until they are cancelled."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        meter: Meter,
        budgets: Budgets,
        learned: Learned,
        overload: Overload,
        traffic: Traffic,
        clock_us: Callable[[], int],
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._meter = meter
        self._budgets = budgets
        self._changed_budgets: asyncio.Queue[tuple[str, Budget | None]] = asyncio.Queue()
        self._learned = learned
        self._overload = overload
        self._traffic = traffic
        self._clock_us = clock_us

    def tasks(self) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
        """Each is to be run once."""
        yield "progress", self._note_progress()
        yield "overruns", self._end_overruns()
        yield "leases", self._end_lapsed()
        yield "budgets", self._follow_budgets()
        yield "lag", self._watch_lag()
        yield "head", self._tell_head()
        yield "holds", self._lapse_holds()
        yield "learning", self._learn()

    def budget_changed(self, name: str, budget: Budget | None) -> None:
        """A budget is another one from now on; ``None``: there is none of that name."""
        self._changed_budgets.put_nowait((name, budget))

    async def _note_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            self._meter.note_progress()

    async def _end_overruns(self) -> None:
        while True:
            await asyncio.sleep(OVERRUN_S)
            self._meter.end_overruns()

    async def _end_lapsed(self) -> None:
        lease_s = self._config.retries.total_timeout_s + self._config.server.write_timeout_s + LEASE_SLACK_S
        while True:
            await asyncio.sleep(lease_s)
            await self._meter.end_lapsed()

    async def _follow_budgets(self) -> None:
        """Put what the directory's budgets have become into the accounts."""
        while True:
            name, budget = await self._changed_budgets.get()
            if budget is None:
                self._budgets.remove(name)
                continue
            try:
                await self._budgets.put(budget)
            except LedgerUnavailable:
                # A new budget without its past would admit too much; the next look at it tries again.
                log.exception("budget_not_counted", budget=name)
                self._changed_budgets.put_nowait((name, budget))
                await asyncio.sleep(RETRY_BUDGET_S)

    async def _watch_lag(self) -> None:
        """Tell the overload how late the event loop is; and the log, once a second, how many it has sent away."""
        loop = asyncio.get_running_loop()
        told, told_s = 0, loop.time()
        while True:
            due_s = loop.time() + LAG_S
            had_s, begun = time.thread_time(), self._traffic.begun
            await asyncio.sleep(LAG_S)
            now_s = loop.time()
            self._overload.measured(now_s - due_s, time.thread_time() - had_s, self._traffic.begun - begun)
            shed = sum(self._overload.shed)
            if shed > told and now_s - told_s >= 1:
                log.warning(
                    "overloaded", shed=shed - told, requests=self._traffic.at_work, lag_ms=round((now_s - due_s) * 1000)
                )
                told, told_s = shed, now_s

    async def _tell_head(self) -> None:
        """Log the journal's head: who keeps the logs elsewhere can see later that nothing behind it was made anew."""
        while True:
            with suppress(LedgerUnavailable):
                log.info("ledger_head", head=(await self._ledger.chain_head()).hex())
            await asyncio.sleep(HEAD_S)

    async def _lapse_holds(self) -> None:
        """Resolve what is held for too long; the ledger's file is asked every hour."""
        ledger = self._config.ledger
        while True:
            with suppress(LedgerUnavailable):
                count = await self._ledger.lapse_holds(hold_us=ledger.hold_hours * HOUR_US, policy=ledger.after_hold)
                if count:
                    log.warning("holds_lapsed", attempts=count, policy=ledger.after_hold)
            await asyncio.sleep(HOLDS_S)

    async def _learn(self) -> None:
        """Take up what was judged before the restart; and remove what was kept for long enough, every hour."""
        await self._learned.restore(self._ledger)
        keep_us = self._config.routing.keep_days * DAY_US
        while True:
            with suppress(LedgerUnavailable):
                await self._ledger.forget_decisions(self._clock_us() - keep_us)
            await asyncio.sleep(FORGET_S)
