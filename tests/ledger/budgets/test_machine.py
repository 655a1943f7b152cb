"""Whatever happens to requests, budgets and clocks: no budget is overrun, none refuses what fits, and the journal agrees.

Accounts in memory over a ledger in a file, held against sums in dictionaries.  A crash leaves the file as ``kill -9``
would; the accounts of the next run are seeded from it.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.adapters.sqlite import SqliteLedger
from ledger.budgets.accounts import UNITS, Accounts, Amounts, Denied, WorstCase
from ledger.budgets.periods import DAY_US, span_us
from ledger.journal.verify import verify
from ledger.records import Adjustment, Budget, Price, Tokens
from proxy.metering.budgets import Budgets
from tests.ledger.samples import record, reservation, settlement, void

SCOPES = {
    "key_1": ("key:key_1", "team:a", "global"),
    "key_2": ("key:key_2", "team:a", "global"),
    "key_3": ("key:key_3", "global"),
}
BUDGETS = (
    Budget(id="key", scope="key:key_1", unit="usd", period="day", limit=1000),
    Budget(id="team", scope="team:a", unit="tokens", period="week", limit=3000),
    Budget(id="all", scope="global", unit="usd", period="total", limit=4000),
    Budget(id="count", scope="global", unit="requests", period="day", limit=6),
)
START_US = 20_000 * DAY_US + DAY_US // 2
VERIFIED_EVERY = 8
"""Steps between two looks at the whole journal, which take longer than the steps; the last look is at the end."""
SHARED = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # a folder of its own inside, in memory


def team_of(key_id: str) -> str:
    """The team that a key belongs to; empty: none."""
    return next((scope.removeprefix("team:") for scope in SCOPES[key_id] if scope.startswith("team:")), "")


class Prices:
    """A thousandth of a nano-dollar a token."""

    def price(self, _provider: str, _model: str, _at_us: int | None = None, /) -> Price:
        return Price(source="list", input_nusd_per_mtok=1000, output_nusd_per_mtok=1000)


class Asked(msgspec.Struct):
    """A request under way.  tries: the worst case of each."""

    key_id: str
    at_us: int
    tries: dict[int, WorstCase]


class Sums(msgspec.Struct):
    """A budget as it ought to be: what is spent in each period, by its start, and the earliest that counts."""

    budget: Budget
    earliest_us: int
    settled: dict[int, int]

    def start(self, at_us: int) -> int:
        return max(span_us(self.budget.period, at_us)[0], self.earliest_us)

    def counts(self, key_id: str) -> bool:
        return self.budget.scope in SCOPES[key_id]


class Spending(RuleBasedStateMachine):
    """Admit, try again, settle, void, adjust, die and recover, change budgets, move the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=SHARED)
        self.runs = 0
        self.count = 0
        self.steps = 0
        self.now_us = START_US
        self.loop = asyncio.new_event_loop()
        self.open: dict[str, Asked] = {}
        self.ended: list[tuple[str, str, int]] = []
        self.sums: dict[str, Sums] = {}
        self.ledger = self.opened()

    def opened(self) -> SqliteLedger:
        path = Path(self.folder.name, f"{self.runs}.sqlite")
        return SqliteLedger(path, prices=Prices(), clock_us=lambda: self.now_us)

    @initialize()
    def begin(self) -> None:
        self.start(BUDGETS)

    def start(self, budgets: tuple[Budget, ...]) -> None:
        self.loop.run_until_complete(self.ledger.recover())
        self.accounts = Accounts()
        self.budgets = Budgets(self.accounts, self.ledger, freed=lambda _: None, clock_us=lambda: self.now_us)
        self.loop.run_until_complete(self.budgets.declare(budgets))
        self.sums = {it.id: self.folded(it) for it in budgets}

    def teardown(self) -> None:
        self.check_journal()
        self.ledger.close()
        self.loop.close()
        self.folder.cleanup()

    def write(self, *entries: object) -> None:
        async def written() -> None:
            await self.ledger.write(entries, power=True)  # type: ignore[arg-type]  # entries

        self.loop.run_until_complete(written())

    def folded(self, budget: Budget) -> Sums:
        """What the journal's own requests come to for a budget that begins now."""
        made = Sums(budget, span_us(budget.period, self.now_us)[0], {})
        with closing(sqlite3.connect(f"{self.ledger.path.as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(
                "SELECT q.key_id, q.at_us, coalesce(q.cost_nusd, 0) + (SELECT coalesce(sum(a.cost_nusd), 0) FROM entries AS a"
                " WHERE a.kind = 'ADJUST' AND a.request_id = q.request_id),"
                " q.input_uncached + q.cache_read + q.cache_write + q.input_audio + q.output_text + q.reasoning"
                " + q.output_audio, 1 FROM requests AS q"
            ).fetchall()
        for key_id, at_us, *amounts in rows:
            start_us = span_us(budget.period, at_us)[0]
            if made.counts(key_id) and start_us >= made.earliest_us:
                made.settled[start_us] = made.settled.get(start_us, 0) + amounts[UNITS[budget.unit]]
        return made

    def used(self, sums: Sums, at_us: int, *, most: bool) -> int:
        """What is spent and reserved of a budget in the period of a moment; ``most``: if all that is open reaches its most."""
        start_us, unit = sums.start(at_us), UNITS[sums.budget.unit]
        held = [
            worst
            for request_id, asked in self.open.items()
            if sums.counts(asked.key_id) and sums.start(asked.at_us) == start_us and self.holds(request_id, sums.budget.id)
            for worst in asked.tries.values()
        ]
        return sums.settled.get(start_us, 0) + sum((it.most if most else it.reserve)[unit] for it in held)

    def holds(self, request_id: str, budget_id: str) -> bool:
        """Whether a request was admitted when the budget was there."""
        hold = self.accounts.holds.get(request_id)
        return hold is not None and any(
            it.line.budget.id == budget_id and it.line in self.accounts.counting([it.line.budget.scope]) for it in hold.accounts
        )

    def judge(self, request_id: str, asked: Asked, worst: WorstCase, denied: Denied | None) -> None:
        """I3, if it was admitted; I7, if it was not.  A budget that came after a request has nothing to say to it."""
        counting = [it for it in self.sums.values() if it.counts(asked.key_id)]
        if denied is None:
            for sums in counting:
                if worst.reserve[UNITS[sums.budget.unit]] and self.holds(request_id, sums.budget.id):
                    assert self.used(sums, asked.at_us, most=False) <= sums.budget.limit
            return
        # Another that may exceed its reserve is a reason only where that could overrun the limit.
        needs = [(sums, worst.most[UNITS[sums.budget.unit]]) for sums in counting]
        assert any(self.used(sums, asked.at_us, most=True) + need > sums.budget.limit for sums, need in needs)
        if worst.reserve == worst.most and not any(
            it.reserve != it.most for open_ in self.open.values() for it in open_.tries.values()
        ):
            assert any(self.used(sums, asked.at_us, most=False) + need > sums.budget.limit for sums, need in needs)

    # --- what happens --------------------------------------------------------------------------------------

    @rule(
        key_id=st.sampled_from(sorted(SCOPES)), cost=st.integers(0, 600), tokens=st.integers(1, 900), more=st.integers(0, 300)
    )
    def admit(self, key_id: str, cost: int, tokens: int, more: int) -> None:
        self.count += 1
        request_id = f"req_{self.count}"
        more = more if self.count % 3 == 0 else 0
        worst = WorstCase((cost, tokens, 1), (cost + more, tokens + more, 1))
        asked = Asked(key_id, self.now_us, {})
        got = self.accounts.admit(request_id, self.accounts.counting(SCOPES[key_id]), worst, self.now_us)
        if isinstance(got, Denied):
            self.judge(request_id, asked, worst, got)
            return
        asked.tries[1] = got.parts[1]
        self.open[request_id] = asked
        self.judge(request_id, asked, worst, None)
        self.reserve(request_id, 1)

    def reserve(self, request_id: str, number: int) -> None:
        asked = self.open[request_id]
        cost = asked.tries[number].reserve[0]
        self.write(
            reservation(
                request_id,
                number,
                key_id=asked.key_id,
                team=team_of(asked.key_id),
                at_us=asked.at_us,
                max_cost_nusd=cost,
                input_tokens_estimate=cost,
            )
        )

    @precondition(lambda self: self.open)
    @rule(data=st.data(), cost=st.integers(0, 400), tokens=st.integers(1, 900))
    def try_again(self, data: st.DataObject, cost: int, tokens: int) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.open)))
        asked = self.open[request_id]
        number = len(asked.tries) + 1
        worst = WorstCase((cost, tokens, 0), (cost, tokens, 0))
        hold = self.accounts.holds[request_id]
        denied = self.accounts.cover(hold, number, worst)
        if denied is None:
            asked.tries[number] = hold.parts[number]
            self.judge(request_id, asked, worst, None)
            self.reserve(request_id, number)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), exact=st.booleans())
    def settle(self, data: st.DataObject, exact: bool) -> None:
        """All that it may have cost, or less of it, is charged; then nothing is held."""
        request_id = data.draw(st.sampled_from(sorted(self.open)))
        asked = self.open[request_id]
        entries: list[object] = []
        cost, tokens = 0, Tokens()
        for number, worst in asked.tries.items():
            spent = data.draw(st.integers(0, worst.most[0]))
            tokens = Tokens(output_text=tokens.output_text + worst.reserve[1] // 2)
            cost += spent
            quality = "exact" if exact else "estimated"
            entries.append(settlement(request_id, number, cost_nusd=spent, tokens=tokens, quality=quality))
        actual = (cost, tokens.output_tokens, 1)
        self.end(request_id, entries, actual, twice=data.draw(st.booleans()))
        if cost:
            self.ended.append((request_id, asked.key_id, asked.at_us))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        """The provider refused all of it: it costs nothing, and was a request."""
        request_id = data.draw(st.sampled_from(sorted(self.open)))
        entries: list[object] = [void(request_id, number) for number in self.open[request_id].tries]
        self.end(request_id, entries, (0, 0, 1), twice=False)

    def end(self, request_id: str, entries: list[object], actual: Amounts, *, twice: bool) -> None:
        asked = self.open.pop(request_id)
        cost, tokens, _ = actual
        entries.append(
            record(
                request_id,
                key_id=asked.key_id,
                team=team_of(asked.key_id),
                at_us=asked.at_us,
                cost_nusd=cost,
                tokens=Tokens(output_text=tokens),
            )
        )
        ending = self.accounts.ending(request_id, SCOPES[asked.key_id], asked.at_us)
        self.write(*entries)
        if ending is not None:
            self.accounts.settle(request_id, ending, actual)
            if twice and ending.hold is not None:
                self.write(*entries)
                self.accounts.settle(request_id, ending, actual)
        self.charge(asked.key_id, asked.at_us, actual)

    def charge(self, key_id: str, at_us: int, amounts: Amounts) -> None:
        for sums in self.sums.values():
            if sums.counts(key_id):
                start_us = sums.start(at_us)
                sums.settled[start_us] = sums.settled.get(start_us, 0) + amounts[UNITS[sums.budget.unit]]

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), cost=st.integers(-5, 5))
    def adjust(self, data: st.DataObject, cost: int) -> None:
        request_id, key_id, at_us = self.ended.pop(data.draw(st.integers(0, len(self.ended) - 1)))
        self.write(
            Adjustment(request_id=request_id, attempt=1, at_us=self.now_us, cost_nusd=cost, reason="report", evidence="1")
        )
        self.accounts.adjust(SCOPES[key_id], at_us, (cost, 0, 0))
        for sums in self.sums.values():
            start_us = span_us(sums.budget.period, at_us)[0]
            # What is not in the journal's sum of any period that is counted here is not in memory's either.
            if sums.counts(key_id) and sums.budget.unit == "usd" and start_us >= sums.earliest_us:
                sums.settled[start_us] = sums.settled.get(start_us, 0) + cost

    @rule(hours=st.sampled_from([-48, -24, -1, 1, 24, 48]))
    def move_the_clock(self, hours: int) -> None:
        self.now_us += hours * DAY_US // 24

    @rule(which=st.sampled_from(BUDGETS), percent=st.integers(0, 200))
    def change_a_limit(self, which: Budget, percent: int) -> None:
        if which.id in self.sums:
            changed = msgspec.structs.replace(which, limit=which.limit * percent // 100)
            self.loop.run_until_complete(self.budgets.put(changed))
            self.sums[which.id].budget = changed

    @rule(which=st.sampled_from(BUDGETS))
    def remove_or_put(self, which: Budget) -> None:
        if which.id in self.sums:
            assert self.budgets.remove(which.id)
            del self.sums[which.id]
        else:
            self.loop.run_until_complete(self.budgets.put(which))
            self.sums[which.id] = self.folded(which)

    @rule()
    def die_and_recover(self) -> None:
        """What was under way is charged by estimate or held, and is no longer reserved."""
        self.runs += 1
        old, path = self.ledger.path, Path(self.folder.name, f"{self.runs}.sqlite")
        for end in ("", "-wal"):
            if Path(f"{old}{end}").exists():
                shutil.copyfile(f"{old}{end}", f"{path}{end}")
        self.ledger.close()
        self.ledger = self.opened()
        self.open.clear()
        self.start(tuple(sums.budget for sums in self.sums.values()))

    # --- what must hold ------------------------------------------------------------------------------------

    @invariant()
    def memory_is_what_the_sums_say(self) -> None:
        if not hasattr(self, "accounts"):
            return
        standing = {it.budget.id: it for it in self.accounts.standing(self.now_us)}
        assert standing.keys() == self.sums.keys()
        for name, sums in self.sums.items():
            found = standing[name]
            assert found.start_us == sums.start(self.now_us)
            assert found.settled == sums.settled.get(found.start_us, 0)
            assert found.settled + found.reserved == self.used(sums, self.now_us, most=False)
        if not self.open:  # I4
            assert self.accounts.holds == {}
            assert [it.reserved for it in standing.values()] == [0] * len(standing)

    @invariant()
    def the_journal_is_whole_and_reserves_the_same(self) -> None:
        self.steps += 1
        if not self.steps % VERIFIED_EVERY:
            self.check_journal()

    def check_journal(self) -> None:
        found = verify(self.ledger.path)
        assert found.faults == ()
        assert found.open_attempts == sum(len(asked.tries) for asked in self.open.values())
        assert found.reserved_nusd == sum(it.reserve[0] for asked in self.open.values() for it in asked.tries.values())


# The longest of all tests: a minute alone on a quiet machine.
TestSpending = pytest.mark.timeout(1200)(Spending.TestCase)
TestSpending.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
