"""What requests hold of budgets, from their admission until their end is written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import structlog

from ledger.budgets.accounts import (
    USD,
    Account,
    Accounts,
    Amounts,
    Denied,
    Ending,
    Hold,
    Line,
    Standing,
    WorstCase,
    standing_of,
)
from ledger.records import Adjusted, BudgetUnit
from proxy.call import Call, Deployment, Principal
from proxy.errors import BudgetBusy, BudgetExceeded, PriceUnknown, ProxyError
from proxy.metering.worst_case import WorstCases

WAITING_MAX = 1000
"""Requests that may wait for room in one budget; the others are told to come back."""

AHEAD_TOKENS = 500
"""How far beyond what it has said a stream's hold is extended at once."""

RETRY_AFTER_S = 1
NUSD_PER_USD = 10**9

log = structlog.get_logger("tollway.budget")


class Terms(msgspec.Struct, frozen=True):
    """How a try is reserved.  max_cost_nusd: ``None`` if its price is unknown.  power: it must survive a power cut."""

    max_cost_nusd: int | None
    power: bool


class Holds:
    """Reserves in the accounts what requests may cost, and lets go of it when their end is written.

    accounts: where it is reserved.
    wait_s: how long a request waits at most for room that others may leave.
    """

    def __init__(self, accounts: Accounts, worst_cases: WorstCases, *, wait_s: float) -> None:
        self.accounts = accounts
        self.worst_cases = worst_cases
        self._wait_s = wait_s
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def any(self) -> bool:
        """Whether any request holds anything."""
        return bool(self.accounts.holds)

    def is_held(self, request_id: str) -> bool:
        """Whether a request holds anything."""
        return request_id in self.accounts.holds

    # --- admission -----------------------------------------------------------------------------------------

    def lines(self, call: Call) -> list[Line]:
        """The budgets that count this call."""
        return [] if call.principal is None else self.lines_of(call.principal)

    def lines_of(self, principal: Principal) -> list[Line]:
        """The budgets that count what this key asks for."""
        return self.accounts.counting(principal.scopes) if self.accounts.any else []

    def price_is_known(self, call: Call, deployment: Deployment) -> bool:
        """Whether anybody says what the deployment costs."""
        return self.worst_cases.price(call, deployment) is not None

    async def admit(self, call: Call, lines: Sequence[Line], deployments: Sequence[Deployment]) -> Hold:
        """Reserve the first try, at whichever of these deployments it will be.  Waits shortly for room that others may leave.

        Raises: BudgetExceeded, BudgetBusy.
        """
        worst, offer = self._dearest(call, deployments)
        got = self.accounts.admit(call.id, lines, worst, call.received_us)
        if isinstance(got, Hold):
            got.offer = offer
            return got
        waited_for = ""
        try:
            async with asyncio.timeout(self._wait_s):
                while isinstance(got, Denied):
                    if got.final:
                        raise self._refusal(got)
                    budget_id = got.account.line.budget.id
                    await self._turn(budget_id, first=budget_id == waited_for)
                    waited_for = budget_id
                    got = self.accounts.admit(call.id, self.lines(call), worst, call.received_us)
                    if not isinstance(got, Denied) or got.final or got.account.line.budget.id != budget_id:
                        self._wake(budget_id)  # there may be room for the next as well
        except TimeoutError as error:
            assert isinstance(got, Denied)  # noqa: S101  # an admitted request waits for nothing
            raise busy(got) from error
        got.offer = offer
        return got

    async def _turn(self, budget_id: str, *, first: bool) -> None:
        """Wait for one's turn to look whether there is room.  first: before all others, having been there before."""
        queue = self._waiting.setdefault(budget_id, deque())
        if len(queue) >= WAITING_MAX:
            raise TimeoutError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if first:
            queue.appendleft(turn)
        else:
            queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in queue:
                queue.remove(turn)
            else:
                self._wake(budget_id)  # gone in the very moment of its turn, which is the next one's then
            raise
        finally:
            if not queue and self._waiting.get(budget_id) is queue:
                del self._waiting[budget_id]

    def _wake(self, budget_id: str) -> None:
        queue = self._waiting.get(budget_id)
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def freed(self, budget_ids: Sequence[str]) -> None:
        """There is room in these budgets: a limit was raised, or a new budget is known."""
        if self._waiting:
            for budget_id in budget_ids:
                self._wake(budget_id)

    def admit_whole(self, request_id: str, principal: Principal, worst: WorstCase, at_us: int) -> None:
        """Reserve something whose worst case is known beforehand, and that ends some day.  It waits for nobody.

        Raises: BudgetExceeded, BudgetBusy.
        """
        got = self.accounts.admit(request_id, self.accounts.counting(principal.scopes), worst, at_us)
        if isinstance(got, Denied):
            raise self._refusal(got) if got.final else busy(got)

    def restore(self, request_id: str, principal: Principal, worst: WorstCase, at_us: int) -> None:
        """Hold again what was admitted before a restart."""
        lines = self.accounts.counting(principal.scopes)
        if lines:
            self.accounts.restore(request_id, lines, worst, at_us)

    def held(self, request_id: str) -> WorstCase | None:
        """What a request holds just now; ``None``: nothing."""
        hold = self.accounts.holds.get(request_id)
        return None if hold is None else WorstCase(hold.reserve, hold.most)

    def ending_of(self, request_id: str, principal: Principal, at_us: int) -> Ending | None:
        """As ``ending``, of what was admitted whole."""
        return self.accounts.ending(request_id, principal.scopes, at_us)

    def _dearest(self, call: Call, deployments: Sequence[Deployment]) -> tuple[WorstCase, object]:
        """The worst case of all of them, and the offer that it is of; ``None``: of none in particular."""
        offers = {(it.upstream.provider, it.model): it for it in deployments}
        cases = [self.worst_cases.of(call, it, self.worst_cases.price(call, it)) for it in offers.values()]
        if len(cases) == 1:
            return cases[0], next(iter(offers))
        worst = WorstCase(_ONE, _ONE)
        for case in cases:
            worst = WorstCase(_larger(worst.reserve, case.reserve), _larger(worst.most, case.most))
        return worst, None

    # --- tries ---------------------------------------------------------------------------------------------

    def reserve(self, call: Call, number: int, deployment: Deployment) -> Terms:
        """A try is about to be sent: reserve what it may cost beside the tries before it.

        Raises: BudgetExceeded, BudgetBusy; PriceUnknown, where a budget of money counts it and nobody knows the price.
        """
        price = self.worst_cases.price(call, deployment)
        hold = self.accounts.holds.get(call.id)
        if hold is None:
            if price is None:
                return Terms(None, power=False)
            return Terms(self.worst_cases.reserve_nusd(call, deployment, price), power=False)
        if number == 1 and hold.offer == (deployment.upstream.provider, deployment.model):
            # It was admitted with this very try in view.
            return Terms(None if price is None else hold.parts[1].reserve[USD], power=True)
        if price is None and any(account.line.unit == USD for account in hold.accounts):
            raise price_unknown(call)
        worst = self.worst_cases.of(call, deployment, price, requests=int(number == 1))
        denied = self.accounts.cover(hold, number, worst)
        if denied is not None:
            raise self._refusal(denied) if denied.final else busy(denied)
        if self._waiting:
            self._freed(hold)  # it may be less than was reserved before the deployment was known
        return Terms(None if price is None else hold.parts[number].reserve[USD], power=True)

    def drop(self, call: Call, number: int) -> None:
        """The try was not sent, and nothing of it is written."""
        hold = self.accounts.holds.get(call.id)
        if hold is not None:
            self.accounts.drop(hold, number)
            self._freed(hold)

    def grow(self, call: Call, number: int, deployment: Deployment) -> ProxyError | None:
        """A try that was reserved may take more than it did then, as the call says now: why there is no room for that."""
        hold = self.accounts.holds.get(call.id)
        if hold is None or number not in hold.parts:
            return None
        worst = self.worst_cases.of(call, deployment, self.worst_cases.price(call, deployment), requests=0)
        denied = self.accounts.extend(hold, number, worst.reserve)
        if denied is None:
            return None
        return self._refusal(denied) if denied.final else busy(denied)

    def spent(self, call: Call, number: int, cost_nusd: int | None, tokens: int) -> None:
        """A try has ended and its request goes on.  cost_nusd: ``None``: nobody knows; then what it reserved stands for it."""
        hold = self.accounts.holds.get(call.id)
        if hold is None:
            return
        part = hold.parts.get(number)
        reserved: Amounts = (0, 0, 0) if part is None else part.reserve
        self.accounts.spent(hold, number, (reserved[USD] if cost_nusd is None else cost_nusd, tokens, reserved[2]))
        if self._waiting:
            self._freed(hold)

    def counts_money(self, call: Call) -> bool:
        """Whether a budget of money counts the call."""
        hold = self.accounts.holds.get(call.id)
        return hold is not None and any(account.line.unit == USD for account in hold.accounts)

    def overrun(self, call: Call, number: int, deployment: Deployment, output_tokens: int) -> ProxyError | None:
        """Whether a stream has come further than what it reserved, and no budget has room for more of it: why it ends."""
        hold = self.accounts.holds.get(call.id)
        if hold is None or (part := hold.parts.get(number)) is None:
            return None
        price = self.worst_cases.price(call, deployment)
        reached = self.worst_cases.reached(call, deployment, price, output_tokens)
        if reached[0] <= part.reserve[0] and reached[1] <= part.reserve[1]:
            return None
        ahead = self.worst_cases.reached(call, deployment, price, output_tokens + AHEAD_TOKENS)
        denied = self.accounts.extend(hold, number, ahead)
        if denied is None:
            return None
        denied = self.accounts.extend(hold, number, reached)
        return None if denied is None else self._refusal(denied)

    # --- ends ----------------------------------------------------------------------------------------------

    def ending(self, call: Call) -> Ending | None:
        """Its end is handed to the journal in this very step.  ``None``: no budget is concerned."""
        if call.principal is None:
            return None
        accounts = self.accounts
        if not accounts.any:
            return None
        return accounts.ending(call.id, call.principal.scopes, call.received_us)

    def ended(self, request_id: str, ending: Ending, actual: Amounts) -> None:
        """The end is durable."""
        for account in self.accounts.settle(request_id, ending, actual):
            _log_of(account, "budget_warning")
        if ending.hold is not None:
            self._freed(ending.hold)

    def adjusting(self) -> Callable[[Sequence[Adjusted]], None]:
        """Adjustments are handed to the journal in this very step; what is returned is to be called when they are written."""
        accounts, before = self.accounts, self.accounts.made

        def written(adjustments: Sequence[Adjusted]) -> None:
            for it in adjustments:
                if not it.cost_nusd:
                    continue
                scopes = Principal(key_id=it.key_id, name="", user=it.user, team=it.team).scopes
                for account in accounts.adjust(scopes, it.at_us, (it.cost_nusd, 0, 0), before=before):
                    _log_of(account, "budget_warning")
                if it.cost_nusd < 0:
                    self.freed([line.budget.id for line in accounts.counting(scopes)])

        return written

    def abandon(self, request_id: str) -> None:
        """The end can never be written: what is held is let go of."""
        hold = self.accounts.holds.get(request_id)
        self.accounts.void(request_id)
        if hold is not None:
            self._freed(hold)

    def _freed(self, hold: Hold) -> None:
        self.freed([account.line.budget.id for account in hold.accounts])

    # --- what people are told ------------------------------------------------------------------------------

    def warnings(self, hold: Hold) -> list[str]:
        """What is nearly used up of what counts this request: ``team:search month 83% of 10.00 USD``."""
        return [_warning(account) for account in hold.accounts if account.warns]

    def _refusal(self, denied: Denied) -> BudgetExceeded:
        account = denied.account
        if not account.refused:
            account.refused = True
            _log_of(account, "budget_exceeded")
        return exceeded(denied)


def exceeded(denied: Denied, /) -> BudgetExceeded:
    """The refusal of a request that no longer fits: whose budget it is, how it stands, and when it begins anew."""
    return BudgetExceeded(f"{_story(denied)} {_reset(standing_of(denied.account))}")


def busy(denied: Denied, /) -> BudgetBusy:
    """The refusal of a request that may fit when others have ended."""
    if denied.near:
        why = "So near its limit one request at a time may go on of those that set no bound to their answer (max_tokens)."
    else:
        why = "Requests under way have reserved the rest, and may leave some of it."
    return BudgetBusy(f"{_story(denied)} {why}", retry_after_s=RETRY_AFTER_S)


def price_unknown(call: Call, /) -> PriceUnknown:
    """The refusal of a request under a budget of money whose price nobody knows."""
    return PriceUnknown(
        f"No price is known for the model '{call.head.model}', and a budget counts what this key spends; "
        "'ledger.prices' can give it one.",
        param="model",
    )


def _story(denied: Denied) -> str:
    standing = standing_of(denied.account)
    unit = standing.budget.unit
    period = "" if standing.end_us is None else f" of the {standing.budget.period} {standing.period}"
    reserved = f", {_amount(standing.reserved, unit)} more are reserved" if standing.reserved else ""
    return (
        f"The budget '{standing.budget.id}' of {standing.budget.scope} has no room for this request: "
        f"{_amount(standing.settled, unit)} of {_amount(standing.limit, unit)}{period} are spent{reserved}, "
        f"and the request may take {_amount(denied.needed, unit)} more."
    )


def _reset(standing: Standing) -> str:
    if standing.end_us is None:
        return "It does not begin anew."
    seconds = standing.end_us // 1_000_000
    days = {"day": "tomorrow", "week": "next Monday", "month": "on the first of next month"}
    return f"It begins anew {days[standing.budget.period]} at 00:00 UTC (Unix time {seconds})."


def _warning(account: Account) -> str:
    budget = account.line.budget
    percent = account.settled * 100 // budget.limit if budget.limit else 100
    return f"{budget.scope} {budget.period} {percent}% of {_amount(budget.limit, budget.unit)}"


def _log_of(account: Account, event: str) -> None:
    standing = standing_of(account)
    log.warning(
        event,
        budget=standing.budget.id,
        scope=standing.budget.scope,
        period=standing.period,
        unit=standing.budget.unit,
        settled=standing.settled,
        reserved=standing.reserved,
        limit=standing.limit,
    )


def _amount(amount: int, unit: BudgetUnit) -> str:
    """``10.00 USD``, ``0.0415 USD``, ``1000 tokens``: exactly, with at least two decimals of a dollar."""
    if unit != "usd":
        return f"{amount} {unit}"
    whole, rest = divmod(abs(amount), NUSD_PER_USD)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}{whole}.{decimals} USD"


_ONE: Amounts = (0, 0, 1)


def _larger(a: Amounts, b: Amounts) -> Amounts:
    return max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2])
