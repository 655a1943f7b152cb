"""What judgements of answers come to, beside what is measured of them: what the next decision reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import msgspec
import structlog

from ledger.errors import LedgerUnavailable
from ledger.live import Outcomes, Value
from ledger.live.outcomes import HALF_LIVES_S
from ledger.ports import LearningPort
from ledger.records import Checked, Feedback
from proxy.learning import checks

RESTORED_MAX: Final = 50_000
"""Checks, and rows of feedback, that are taken up at the start."""
RESTORED_S: Final = 60 * 86_400.0
"""Older ones count for little."""
RENEW_S: Final = 0.5
"""Between two views, at least."""
AGE_S: Final = 3_600.0
"""After so long a view is made anew altogether: judgements grow old also where no new ones come in."""

_NOTHING: Final[Mapping[str, Value]] = MappingProxyType({})

log = structlog.get_logger("tollway.learning")


class Offers(Protocol):
    """What is measured of offers, at one moment."""

    def by_offer(self, offer: str, task: str = "", /) -> Mapping[str, Value]:
        """By the names of the metric catalogue: of ``provider/model``, or of it at one kind of task."""
        ...


class Judged(msgspec.Struct, frozen=True):
    """What is measured of offers, and what is thought of their answers, at one moment."""

    offers: Offers
    judgements: Mapping[tuple[str, str], Mapping[str, Value]]

    def by_offer(self, offer: str, task: str = "", /) -> Mapping[str, Value]:
        """By the names of the metric catalogue: of ``provider/model``, or of it at one kind of task.

        Judgements are those of that task alone; what is measured may be the offer's.
        """
        measured = self.offers.by_offer(offer, task)
        judged = self.judgements.get((offer, task), _NOTHING)
        return {**measured, **judged} if judged else measured


class Learned:
    """Keeps the view.  measured: the live metrics of now; another object whenever they have changed.  clock_s: wall time."""

    def __init__(self, measured: Callable[[], Offers], clock_s: Callable[[], float]) -> None:
        self.outcomes = Outcomes(clock_s)
        self._measured = measured
        self._clock_s = clock_s
        self._view = Judged(measured(), {})
        self._made_s = clock_s()

    @property
    def view(self) -> Judged:
        """What is known now, as of the last ``renew``.  Hold on to it for the length of one decision."""
        measured = self._measured()
        if measured is not self._view.offers:
            self._view = Judged(measured, self._view.judgements)
        return self._view

    def checked(self, row: Checked, *, at_s: float | None = None) -> None:
        """Count what of an answer was checked."""
        observe = self.outcomes.observe
        if row.failed == (checks.KEPT,):
            # What was counted as flawless turns out not to be.
            observe(row.offer, row.task, checks.ALL, 1.0, weight=-1.0, at_s=at_s)
            observe(row.offer, row.task, checks.ALL, 0.0, at_s=at_s)
            return
        for metric, score in checks.scores(row.passed, row.failed):
            observe(row.offer, row.task, metric, score, at_s=at_s)
        observe(row.offer, row.task, checks.ALL, float(checks.is_flawless(row.failed)), at_s=at_s)

    def told(self, row: Feedback, *, at_s: float | None = None) -> None:
        """Count what somebody thinks of an answer."""
        if row.offer and row.metric in HALF_LIVES_S:  # another release may know others
            self.outcomes.observe(row.offer, row.task, row.metric, row.score_ppm / 1e6, weight=row.weight_ppm / 1e6, at_s=at_s)

    def told_now(self, row: Feedback) -> None:
        """The same, so that the next decision knows it."""
        self.told(row)
        self.renew()

    async def restore(self, ledger: LearningPort) -> None:
        """Take up what was judged before the restart.  What cannot be read is logged, and nothing is known then."""
        since_us = round((self._clock_s() - RESTORED_S) * 1e6)
        try:
            told = await ledger.given(since_us=since_us, newest=RESTORED_MAX)
            seen = await ledger.checked(since_us=since_us, newest=RESTORED_MAX)
        except LedgerUnavailable as error:
            log.warning("judgements_not_restored", reason=str(error))
            return
        for at, row in enumerate(told):
            self.told(row, at_s=row.at_us / 1e6)
            await _give_way(at)
        for at, check in enumerate(seen):
            self.checked(check, at_s=check.at_us / 1e6)
            await _give_way(at)
        self.renew()

    def renew(self) -> None:
        """Make the view of now.  2 µs for each offer and task that was judged since."""
        outcomes = self.outcomes
        if abs(self._clock_s() - self._made_s) >= AGE_S:
            self._made_s = self._clock_s()
            changed: Iterable[tuple[str, str]] = outcomes.pairs()
            known = {}
        elif not outcomes.changed:
            return
        else:
            changed, known = outcomes.changed, dict(self._view.judgements)
        known.update({pair: outcomes.values(*pair) for pair in changed})
        outcomes.changed = set()
        self._view = Judged(self._measured(), known)


async def _give_way(at: int) -> None:
    if at % 100 == 99:
        await asyncio.sleep(0)
