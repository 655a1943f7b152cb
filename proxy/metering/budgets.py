"""The budgets of a gateway: those that are declared, those that are stored, and what was spent of them before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from ledger.budgets.accounts import Accounts, Amounts, Standing
from ledger.budgets.periods import span_us
from ledger.ports import SpendingPort
from ledger.records import Budget, BudgetUnit, Spent
from proxy.config import BudgetConfig, Config

NUSD_PER_USD = 10**9


def declared(config: Config) -> list[Budget]:
    """The budgets of a configuration; a budget's id is its name there."""
    return [_budget(name, budget) for name, budget in config.budgets.items()]


class Budgets:
    """Puts budgets into the accounts, with what the journal says was spent of them in their periods.

    A new one has no room until that is known, which is a moment.  Requests under way when it is put hold nothing of it and
    count when they end.
    """

    def __init__(
        self,
        accounts: Accounts,
        spending: SpendingPort,
        *,
        freed: Callable[[Sequence[str]], None],
        clock_us: Callable[[], int],
    ) -> None:
        self._accounts = accounts
        self._spending = spending
        self._freed = freed
        self._clock_us = clock_us

    async def declare(self, budgets: Iterable[Budget]) -> None:
        """Put all of them; the journal is asked once.  Raises: LedgerUnavailable; then those that are new are not there."""
        budgets = list(budgets)
        now_us = self._clock_us()
        new = set(self._accounts.declare(budgets, now_us))
        if new:
            await self._seed([budget for budget in budgets if budget.id in new], now_us)
        self._freed([budget.id for budget in budgets])

    async def put(self, budget: Budget) -> None:
        """Add or change a budget; the next request sees it.  Raises: LedgerUnavailable; then a new one is not there."""
        await self.declare((budget,))

    def remove(self, budget_id: str) -> bool:
        """Forget a budget; ``False`` if there is none."""
        removed = self._accounts.remove(budget_id)
        self._freed([budget_id])
        return removed

    def standing(self) -> list[Standing]:
        """How every budget stands in its present period."""
        return self._accounts.standing(self._clock_us())

    async def _seed(self, budgets: Sequence[Budget], now_us: int) -> None:
        since_us = min(span_us(budget.period, now_us)[0] for budget in budgets)
        seeded = False
        try:
            # Asked in the step in which the accounts were made: what is handed to the journal from now on is charged to
            # them, and what was handed to it before is in its answer.
            rows = await self._spending.spent(since_us)
            seeded = True
        finally:
            if not seeded:
                for budget in budgets:
                    self._accounts.remove(budget.id)
        for budget in budgets:
            self._accounts.seed(budget.id, _of(budget.scope, rows))


def _of(scope: str, rows: Iterable[Spent]) -> list[tuple[int, Amounts]]:
    """What was spent of one scope, by day."""
    return [
        (row.day, (row.cost_nusd, row.tokens, row.requests))
        for row in rows
        if scope in ("global", f"key:{row.key_id}", f"user:{row.user}", f"team:{row.team}")
    ]


def _budget(name: str, budget: BudgetConfig) -> Budget:
    unit, limit = _limit(budget)
    return Budget(
        id=name,
        scope=budget.scope,
        unit=unit,
        period=budget.period,
        limit=limit,
        warn_percent=budget.warn_percent or None,
    )


def _limit(budget: BudgetConfig) -> tuple[BudgetUnit, int]:
    if budget.usd is not None:
        # The shortest decimal of a float is what somebody wrote into the file.
        return "usd", int((Decimal(str(budget.usd)) * NUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))
    if budget.tokens is not None:
        return "tokens", budget.tokens
    return "requests", budget.requests or 0
