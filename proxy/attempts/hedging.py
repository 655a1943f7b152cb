"""A second try of a request whose first one is slow: when, of whom, and who wins."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from providers.errors import ProviderError
from proxy.attempts.outcome import another_may_help
from proxy.attempts.retry_budget import BudgetRules, RetryBudget
from proxy.call import Call, Deployment, Gate, Reply, Streaming
from proxy.errors import HEDGED, Hedged, ProxyError

SAMPLES = 128
DEPLOYMENTS_MAX = 1024
NUSD_PER_USD = 1_000_000_000

Key = tuple[str, str, str, bool]

CostOf = Callable[[Call, Deployment], int | None]
"""About what a request costs at a deployment, in nano-USD; ``None``: nobody knows."""


class HedgeRules(msgspec.Struct, frozen=True, kw_only=True):
    """quantile: of the times to the first byte of the deployment: who is slower than that is hedged.

    samples_min: fewer times than that have no quantile.  ratio: of the requests of the last 10 seconds, how many at most.
    cost_max_nusd: a request that may cost more at the second deployment is not hedged, nor one whose cost nobody knows.
    """

    quantile: float = 0.95
    samples_min: int = 20
    ratio: float = 0.05
    cost_max_nusd: int = NUSD_PER_USD // 20


class Quantiles(Gate):
    """The last times to the first byte of every deployment, of streams and of whole answers apart."""

    def __init__(self, rules: HedgeRules) -> None:
        self._rules = rules
        self._times_s: dict[Key, deque[float]] = {}

    def begun(self, call: Call, number: int, deployment: Deployment, ttfb_us: int, /) -> None:  # noqa: ARG002  # a Gate's
        """Remember how long it took; of a form with files that says how large they were."""
        if call.upload is not None:
            return
        key = (*deployment.key, call.head.stream)
        times_s = self._times_s.get(key)
        if times_s is None:
            if len(self._times_s) >= DEPLOYMENTS_MAX:
                del self._times_s[next(iter(self._times_s))]
            times_s = self._times_s[key] = deque(maxlen=SAMPLES)
        times_s.append(ttfb_us / 1e6)

    def of(self, call: Call, deployment: Deployment) -> float | None:
        """How long such a request may take there before it is slow, in seconds; ``None``: nobody knows yet."""
        times_s = self._times_s.get((*deployment.key, call.head.stream))
        if times_s is None or len(times_s) < self._rules.samples_min:
            return None
        return sorted(times_s)[min(int(len(times_s) * self._rules.quantile), len(times_s) - 1)]


class Hedging:
    """Whether, when and how a request is tried at a second deployment at the same time."""

    def __init__(self, rules: HedgeRules, quantiles: Quantiles, *, cost_of: CostOf, clock_s: Callable[[], float]) -> None:
        self._rules = rules
        self._quantiles = quantiles
        self._cost_of = cost_of
        self._clock_s = clock_s
        self._budget = RetryBudget(BudgetRules(ratio=rules.ratio, floor=0))

    def request(self) -> None:
        """A request has come."""
        self._budget.request(self._clock_s())

    def after_s(self, call: Call, deployment: Deployment) -> float | None:
        """How long to wait for the first try before a second one; ``None``: there is none."""
        return self._quantiles.of(call, deployment)

    def may_hedge(self, call: Call, deployment: Deployment) -> bool:
        """Whether a second try may be made there, now; it is counted as made."""
        cost_nusd = self._cost_of(call, deployment)
        if cost_nusd is None or cost_nusd > self._rules.cost_max_nusd:
            return False
        return self._budget.take(self._clock_s()) is not None


Outcome = Reply | Exception


async def race(
    first: Awaitable[Reply], second: Callable[[], Awaitable[Reply] | None], *, after_s: float
) -> tuple[Outcome, Outcome | None]:
    """How both tries ended; at most one stream is left open.  The second is ``None`` if it was not made.

    second: begins the second try if the first has not been answered in time; ``None`` if there may be none, then it is just
    waited for the first.  A try that is given up because the other one has ended it is cancelled with ``HEDGED``, and has
    ended when this returns; its outcome is ``Hedged``.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_outcome(first))]
        try:
            await asyncio.wait(tasks, timeout=after_s)
            if not tasks[0].done() and (another := second()) is not None:
                tasks.append(group.create_task(_outcome(another)))
            while not any(_is_final(task) for task in tasks) and not all(task.done() for task in tasks):
                await asyncio.wait([task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError as error:
            # Why it is cancelled is in its arguments, and belongs on the record of both tries.
            await _cancelled(tasks, *error.args)
            raise
        # Nothing of them runs any more, unless one has ended it for both.
        await _cancelled(tasks, HEDGED)
        winner = next((task for task in tasks if _is_reply(task)), None)
    outcomes = [Hedged("Another try was answered first.") if task.cancelled() else task.result() for task in tasks]
    for task, outcome in zip(tasks, outcomes, strict=True):
        if winner is not None and task is not winner and isinstance(outcome, Streaming):
            # Both began at the same moment; one of them is enough.
            outcome.chunks.fail(Hedged("Another try was answered first."))
            outcome.chunks.close()
    return outcomes[0], outcomes[1] if len(outcomes) > 1 else None


async def _outcome(reply: Awaitable[Reply]) -> Outcome:
    try:
        return await reply
    except (ProviderError, ProxyError) as error:
        return error


def _is_final(task: asyncio.Task[Outcome]) -> bool:
    """Whether this try has ended it: by an answer, or by a failure that another one cannot cure."""
    if not task.done():
        return False
    outcome = task.result()
    return not isinstance(outcome, ProviderError) or not another_may_help(outcome)


def _is_reply(task: asyncio.Task[Outcome]) -> bool:
    return task.done() and not task.cancelled() and not isinstance(task.result(), Exception)


async def _cancelled(tasks: list[asyncio.Task[Outcome]], *reason: object) -> None:
    """Cancel those that still run, and wait until they have ended."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel(*reason)
    if running:
        await asyncio.wait(running)
