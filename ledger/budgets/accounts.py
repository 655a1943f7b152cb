"""Budgets as accounts: what is spent of each in its period, and what requests under way may still cost.

Memory decides who is admitted, and the journal is where it is seeded from.  Everything here is synchronous, so that on one
event loop nothing comes between a look at the accounts and the reservation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from ledger.budgets.periods import DAY_US, FOREVER_US, name_of, span_us
from ledger.records import Budget, BudgetUnit

Amounts = tuple[int, int, int]
"""Nano-USD, tokens, requests."""

NOTHING: Final[Amounts] = (0, 0, 0)
UNITS: Final[dict[BudgetUnit, int]] = {"usd": 0, "tokens": 1, "requests": 2}
USD: Final = UNITS["usd"]
ENDED: Final = 0
"""The number under which a request holds what its tries are charged that have ended already."""
PERIODS_KEPT: Final = 64
"""Periods of one budget that are remembered, so that a clock which is set back finds what was spent in them."""


class WorstCase(msgspec.Struct, frozen=True, gc=False):
    """What a try may cost.

    reserve: what it is taken to cost at most.  most: what it cannot exceed, whatever it does; where that is more, the
    reserve rests on an assumption.
    """

    reserve: Amounts
    most: Amounts


class Account:
    """One budget in one period.

    reserved: of the requests under way.  exposed: what they come to if each reaches its most.
    risky: how many of them may exceed what they reserved.
    """

    __slots__ = ("end_us", "exposed", "line", "refused", "reserved", "risky", "settled", "start_us", "warned")

    def __init__(self, line: Line, start_us: int, end_us: int, settled: int) -> None:
        self.line = line
        self.start_us = start_us
        self.end_us = end_us
        self.settled = settled
        self.reserved = 0
        self.exposed = 0
        self.risky = 0
        self.warned = False
        self.refused = False

    @property
    def warns(self) -> bool:
        """Whether so much is spent that there is a warning."""
        percent = self.line.budget.warn_percent
        return percent is not None and self.settled * 100 >= percent * self.line.budget.limit


class Line:
    """One budget through its periods.  number: how many there were before it."""

    __slots__ = ("_accounts", "_ahead", "budget", "current", "number", "seeded", "unit")

    def __init__(self, budget: Budget, at_us: int, number: int) -> None:
        self.budget = budget
        self.number = number
        self.unit = UNITS[budget.unit]
        self.seeded = False
        self._ahead: dict[int, int] = {}
        start_us, end_us = span_us(budget.period, at_us)
        self.current = Account(self, start_us, end_us, 0)
        self._accounts = {start_us: self.current}

    def at(self, at_us: int) -> Account:
        """The account of the period that a moment is in; of the earliest that is known, for what is before it.

        So a clock that is set back never finds an empty account where something was spent.
        """
        current = self.current
        if current.start_us <= at_us < current.end_us:
            return current
        accounts = self._accounts
        start_us, end_us = span_us(self.budget.period, at_us)
        account = accounts.get(start_us)
        if account is None:
            if start_us < (earliest_us := min(accounts)):
                return accounts[earliest_us]
            account = accounts[start_us] = Account(self, start_us, end_us, self._ahead.pop(start_us, 0))
            if len(accounts) > PERIODS_KEPT:
                del accounts[min(accounts)]
        self.current = account
        return account

    def counted(self, at_us: int) -> Account | None:
        """The account in which what came at a moment is counted; ``None``: its period was over before any that is known."""
        return None if span_us(self.budget.period, at_us)[0] < min(self._accounts) else self.at(at_us)

    def seed(self, spent: Iterable[tuple[int, Amounts]]) -> None:
        """Add what the journal has, by day since the epoch."""
        for day, amounts in spent:
            start_us, _ = span_us(self.budget.period, day * DAY_US)
            amount = amounts[self.unit]
            if start_us in self._accounts:
                self._accounts[start_us].settled += amount
            elif start_us > min(self._accounts):  # a clock was ahead when that was written, or is behind now
                self._ahead[start_us] = self._ahead.get(start_us, 0) + amount
        self.seeded = True


class Hold:
    """What one request has reserved, over all its tries, in every account that counts it.

    offer: what the first try was reserved for, as who reserved it names it.
    hard: it reserves the most that it can cost, because there was no room for an assumption that fails.
    """

    __slots__ = ("accounts", "hard", "most", "offer", "open", "parts", "reserve")

    def __init__(self, accounts: tuple[Account, ...]) -> None:
        self.accounts = accounts
        self.reserve = NOTHING
        self.most = NOTHING
        self.parts: dict[int, WorstCase] = {}
        self.offer: object = None
        self.hard = False
        self.open = True


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a budget stands in one period, which is half-open and ends never if ``end_us`` is ``None``.

    settled: what is spent; reserved: what requests under way may still cost.  Nano-USD, or counts.
    """

    budget: Budget
    period: str
    start_us: int
    end_us: int | None
    settled: int
    reserved: int
    limit: int


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """A budget has no room for what a request may cost.

    needed: how much more that is than it has reserved.
    final: it does not fit into what is left, whatever becomes of the requests under way.
    near: it would fit, but another request that may exceed its reserve is under way.
    """

    account: Account
    needed: int
    final: bool = False
    near: bool = False


class Ending(msgspec.Struct, frozen=True):
    """How a request's end will be counted once it is written: what it lets go of, and what it is charged to."""

    hold: Hold | None
    accounts: tuple[Account, ...]


class Accounts:
    """Every budget with its accounts.  One event loop uses it.

    serialise: near a limit, at most one request at a time that may exceed what it reserves.
    """

    def __init__(self, *, serialise: bool = True) -> None:
        self.holds: dict[str, Hold] = {}
        self._serialise = serialise
        self._lines: dict[str, Line] = {}
        self._scopes: dict[str, tuple[Line, ...]] = {}
        self._made = 0

    # --- which budgets there are ---------------------------------------------------------------------------

    def declare(self, budgets: Iterable[Budget], at_us: int) -> list[str]:
        """Put all of them.  Returns the ids of those that have to be seeded."""
        return [budget.id for budget in budgets if self.put(budget, at_us)]

    def put(self, budget: Budget, at_us: int) -> bool:
        """Add or change a budget; the next request sees it.  ``True``: it is new, and has no room until it is seeded.

        A new limit or warning keeps what is spent; another scope, unit or period makes it a new budget.
        """
        line = self._lines.get(budget.id)
        if line is not None and _counts_the_same(line.budget, budget):
            line.budget = budget
            return not line.seeded
        self.remove(budget.id)
        line = self._lines[budget.id] = Line(budget, at_us, self._made)
        self._made += 1
        self._scopes[budget.scope] = (*self._scopes.get(budget.scope, ()), line)
        return True

    def seed(self, budget_id: str, spent: Iterable[tuple[int, Amounts]]) -> None:
        """What the journal has of a new budget's scope, by day since the epoch, up to the moment it was put."""
        line = self._lines.get(budget_id)
        if line is not None and not line.seeded:
            line.seed(spent)

    def remove(self, budget_id: str) -> bool:
        """Forget a budget; ``False`` if there is none.  Requests under way end as they would."""
        line = self._lines.pop(budget_id, None)
        if line is None:
            return False
        rest = tuple(it for it in self._scopes[line.budget.scope] if it is not line)
        if rest:
            self._scopes[line.budget.scope] = rest
        else:
            del self._scopes[line.budget.scope]
        return True

    def budgets(self) -> list[Budget]:
        """Every budget, in the order in which they were put."""
        return [line.budget for line in self._lines.values()]

    @property
    def made(self) -> int:
        """How many budgets there ever were: those that come later have a number from here on."""
        return self._made

    @property
    def any(self) -> bool:
        """Whether there is any budget, or anything held of one that there was."""
        return bool(self._scopes or self.holds)

    def standing(self, at_us: int) -> list[Standing]:
        """How every budget stands in the period of a moment."""
        return [standing_of(line.at(at_us)) for line in self._lines.values()]

    def counting(self, scopes: Sequence[str]) -> list[Line]:
        """The budgets that count for any of the scopes."""
        lines = self._scopes
        if not lines:
            return []
        return [line for scope in scopes if scope in lines for line in lines[scope]]

    # --- requests ------------------------------------------------------------------------------------------

    def admit(self, request_id: str, lines: Sequence[Line], worst: WorstCase, at_us: int) -> Hold | Denied:
        """Reserve a request's first try in every one of these budgets, or in none of them.

        at_us: when the request came; it belongs to the periods of that moment until its end.
        """
        for line in lines:
            if not line.seeded:
                return Denied(account=line.at(at_us), needed=worst.reserve[line.unit])
        hold = Hold(tuple([line.at(at_us) for line in lines]))
        denied = self._cover(hold, 1, worst)
        if denied is not None:
            return denied
        self.holds[request_id] = hold
        return hold

    def restore(self, request_id: str, lines: Sequence[Line], worst: WorstCase, at_us: int) -> None:
        """Hold again what an earlier process had admitted, whatever room there is by now."""
        hold = Hold(tuple([line.at(at_us) for line in lines]))
        for account in hold.accounts:
            unit = account.line.unit
            account.reserved += worst.reserve[unit]
            account.exposed += worst.most[unit]
            account.risky += worst.most[unit] > worst.reserve[unit]
        hold.reserve, hold.most = worst.reserve, worst.most
        hold.parts[1] = worst
        self.holds[request_id] = hold

    def cover(self, hold: Hold, number: int, worst: WorstCase) -> Denied | None:
        """Reserve a try, beside the others of the request; or anew, if it has a reserve already."""
        return self._cover(hold, number, worst)

    def extend(self, hold: Hold, number: int, reached: Amounts) -> Denied | None:
        """A try has come so far that it exceeds what it reserved: reserve that much, if there is room."""
        part = hold.parts.get(number)
        if part is None or not hold.open:
            return None
        reserve = _larger(part.reserve, reached)
        return self._change(hold, number, WorstCase(reserve, _larger(part.most, reserve)), serialise=False)

    def spent(self, hold: Hold, number: int, actual: Amounts) -> None:
        """A try has ended and is charged this much, while its request goes on: it holds just that from now on, without asking
        whether there is room.
        """
        if not hold.open:
            return
        old = hold.parts.pop(number, _NO_CASE)
        before = hold.parts.get(ENDED, _NO_CASE)
        reserve, most = _moved(hold.reserve, old.reserve, actual), _moved(hold.most, old.most, actual)
        for account in hold.accounts:
            unit = account.line.unit
            account.reserved += reserve[unit] - hold.reserve[unit]
            account.exposed += most[unit] - hold.most[unit]
            account.risky += (most[unit] > reserve[unit]) - (hold.most[unit] > hold.reserve[unit])
        hold.reserve, hold.most = reserve, most
        hold.parts[ENDED] = WorstCase(_moved(before.reserve, NOTHING, actual), _moved(before.most, NOTHING, actual))

    def drop(self, hold: Hold, number: int) -> None:
        """A try was not sent after all, and nothing of it is written."""
        if hold.open and number in hold.parts:
            self._change(hold, number, WorstCase(NOTHING, NOTHING), serialise=False)
            del hold.parts[number]

    def ending(self, request_id: str, scopes: Sequence[str], at_us: int) -> Ending | None:
        """A request's end is about to be written.  Call it when it is handed to the journal, in the same step.

        It is charged to the budgets that there are at this moment, so that it is in a budget that comes later by the
        journal's sum, and never twice.  ``None``: no budget is concerned.
        """
        hold = self.holds.get(request_id)
        lines = self._scopes
        if hold is None and not lines:
            return None
        accounts = tuple([line.at(at_us) for scope in scopes if scope in lines for line in lines[scope]])
        return Ending(hold, accounts) if hold is not None or accounts else None

    def settle(self, request_id: str, ending: Ending, actual: Amounts) -> list[Account]:
        """The end is written: let go of what was reserved and charge what it came to.  Twice is once.

        Returns the accounts that have just reached their warning.
        """
        hold = ending.hold
        if hold is not None:
            if not hold.open:
                return []
            self._release(hold)
            self.holds.pop(request_id, None)
        return self._charge(ending.accounts, actual)

    def void(self, request_id: str) -> None:
        """A request's hold is let go of, and nothing is charged: nothing of it was ever written."""
        hold = self.holds.pop(request_id, None)
        if hold is not None and hold.open:
            self._release(hold)

    def adjust(self, scopes: Sequence[str], at_us: int, difference: Amounts, *, before: int | None = None) -> list[Account]:
        """Reconciliation found that a request of that moment came to more, or to less.

        before: what ``made`` was when that was handed to the journal: budgets that came later were seeded with it.  A period
        that was over before a budget began is none of its.  Returns the accounts that have just reached their warning.
        """
        lines = [line for line in self.counting(scopes) if before is None or line.number < before]
        return self._charge([account for line in lines if (account := line.counted(at_us)) is not None], difference)

    # --- below: one hold, all of its accounts ---------------------------------------------------------------

    def _cover(self, hold: Hold, number: int, worst: WorstCase) -> Denied | None:
        if hold.hard:
            return self._change(hold, number, WorstCase(worst.most, worst.most), serialise=self._serialise)
        denied = self._change(hold, number, worst, serialise=self._serialise)
        if denied is not None and denied.near and worst.reserve != worst.most:
            # There is no room for an assumption that fails; perhaps there is for the most that it can cost.
            hard = self._change(hold, number, WorstCase(worst.most, worst.most), serialise=True)
            if hard is None:
                hold.hard = True
                return None
        return denied

    def _change(self, hold: Hold, number: int, worst: WorstCase, *, serialise: bool) -> Denied | None:
        """Change what a try has reserved, in every account or in none."""
        old = hold.parts.get(number)
        reserve, most = worst.reserve, worst.most
        if hold.parts:
            others = old if old is not None else _NO_CASE
            reserve = _moved(hold.reserve, others.reserve, reserve)
            most = _moved(hold.most, others.most, most)
        held, held_most = hold.reserve, hold.most
        for account in hold.accounts:
            line = account.line
            unit = line.unit
            more, most_more = reserve[unit] - held[unit], most[unit] - held_most[unit]
            settled, limit = account.settled, line.budget.limit
            if more > 0 and settled + account.reserved + more > limit:
                return _denied(account, more, final=settled + reserve[unit] > limit)
            if serialise and most_more > 0 and settled + account.exposed + most_more > limit:
                others_risky = account.risky - (held_most[unit] > held[unit])
                if others_risky + (most[unit] > reserve[unit]) > 1:
                    return _denied(account, more, near=True)
        for account in hold.accounts:
            unit = account.line.unit
            account.reserved += reserve[unit] - held[unit]
            account.exposed += most[unit] - held_most[unit]
            account.risky += (most[unit] > reserve[unit]) - (held_most[unit] > held[unit])
        hold.reserve, hold.most = reserve, most
        hold.parts[number] = worst
        return None

    def _release(self, hold: Hold) -> None:
        hold.open = False
        reserve, most = hold.reserve, hold.most
        for account in hold.accounts:
            unit = account.line.unit
            account.reserved -= reserve[unit]
            account.exposed -= most[unit]
            account.risky -= most[unit] > reserve[unit]

    def _charge(self, accounts: Sequence[Account], actual: Amounts) -> list[Account]:
        reached = []
        for account in accounts:
            account.settled += actual[account.line.unit]
            if not account.warned and account.warns:
                account.warned = True
                reached.append(account)
        return reached


_NO_CASE: Final = WorstCase(NOTHING, NOTHING)


def _moved(whole: Amounts, less: Amounts, more: Amounts) -> Amounts:
    return whole[0] - less[0] + more[0], whole[1] - less[1] + more[1], whole[2] - less[2] + more[2]


def _larger(a: Amounts, b: Amounts) -> Amounts:
    return max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2])


def _counts_the_same(old: Budget, new: Budget) -> bool:
    return (old.scope, old.unit, old.period) == (new.scope, new.unit, new.period)


def standing_of(account: Account, /) -> Standing:
    """How the account's budget stands in its period."""
    budget = account.line.budget
    return Standing(
        budget=budget,
        period=name_of(budget.period, account.start_us),
        start_us=account.start_us,
        end_us=None if account.end_us == FOREVER_US else account.end_us,
        settled=account.settled,
        reserved=account.reserved,
        limit=budget.limit,
    )


def _denied(account: Account, needed: int, *, final: bool = False, near: bool = False) -> Denied:
    return Denied(account=account, needed=needed, final=final, near=near)
