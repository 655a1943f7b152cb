"""A ledger of what is learned, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ledger.errors import LedgerUnavailable
from ledger.records import Checked, DecisionRecord, Feedback, RequestRecord, Routed


class MemoryLearning:
    """A ``LearningPort``.  failing: the disk refuses."""

    def __init__(self) -> None:
        self.requests: dict[str, RequestRecord] = {}
        self.decisions: dict[str, DecisionRecord] = {}
        self.routes: list[Routed] = []
        self.feedback: list[Feedback] = []
        self.checks: list[Checked] = []
        self.failing = False

    async def request(self, request_id: str, /) -> RequestRecord | None:
        self._work()
        return self.requests.get(request_id)

    async def decision(self, request_id: str, /) -> DecisionRecord | None:
        self._work()
        return self.decisions.get(request_id)

    async def routed(
        self, *, since_us: int, until_us: int = 2**63 - 1, policy: str = "", newest: int = 100_000
    ) -> Sequence[Routed]:
        self._work()
        found = [it for it in self.routes if since_us <= it.decision.at_us < until_us and policy in ("", it.decision.policy)]
        return found[-newest:]

    def give(self, rows: Sequence[Feedback], /) -> asyncio.Future[Sequence[Feedback]]:
        self._work()
        there = {(it.request_id, it.source, it.other_id): it for it in self.feedback}
        standing = [there[key] for it in rows if (key := (it.request_id, it.source, it.other_id)) in there]
        if not standing:
            self.feedback += rows
        future: asyncio.Future[Sequence[Feedback]] = asyncio.get_running_loop().create_future()
        future.set_result(standing or list(rows))
        return future

    async def given(self, *, since_us: int, newest: int) -> Sequence[Feedback]:
        self._work()
        return [it for it in self.feedback if it.at_us >= since_us][-newest:]

    async def note_checks(self, rows: Sequence[Checked], /) -> None:
        self._work()
        self.checks += rows

    async def checked(self, *, since_us: int, newest: int) -> Sequence[Checked]:
        self._work()
        return [it for it in self.checks if it.at_us >= since_us][-newest:]

    async def forget_decisions(self, before_us: int, /) -> int:
        self._work()
        before = len(self.checks)
        self.checks = [it for it in self.checks if it.at_us >= before_us]
        return before - len(self.checks)

    def _work(self) -> None:
        if self.failing:
            raise LedgerUnavailable("the disk is full")
