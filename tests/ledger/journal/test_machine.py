"""Whatever is done to a journal, in whatever order: what must hold of it holds, and it agrees with a model in memory.

The rules go through ``SqliteLedger`` as the proxy does.  A crash leaves the file as ``kill -9`` would: a copy of it and of
its log, taken while it is open, is what the next run finds.
"""

import asyncio
import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.adapters.sqlite import SqliteLedger
from ledger.journal.chain import GENESIS
from ledger.journal.reports import usage
from ledger.journal.verify import verify
from ledger.ports import Entry
from ledger.prices.cost import cost_nusd
from ledger.records import Adjustment, By, Price, Progress, RequestRecord, Reservation, Settlement, Tokens, Void
from tests.ledger.samples import record, reservation, settlement, void

KEYS = ("key_1", "key_2")
TEAM = {"key_1": "search", "key_2": ""}
OWNERS: tuple[By, ...] = ("team", "tag")
NOW_US = 7_200_000_000


class Prices:
    """A list whose one price can change."""

    def __init__(self) -> None:
        self.input_nusd_per_mtok = 2_500_000_000

    def price(self, _provider: str, _model: str, _at_us: int | None = None, /) -> Price:
        return Price(source="list", input_nusd_per_mtok=self.input_nusd_per_mtok, output_nusd_per_mtok=10_000_000_000)


class Model:
    """A journal as it ought to be, in dictionaries."""

    def __init__(self) -> None:
        self.reserved: dict[tuple[str, int], Reservation] = {}
        self.ended: dict[tuple[str, int], Settlement | Void] = {}
        self.progress: dict[tuple[str, int], int] = {}
        self.adjusted: dict[tuple[str, int, str], int] = {}
        self.records: dict[str, RequestRecord] = {}

    @property
    def open(self) -> list[Reservation]:
        return [it for attempt, it in self.reserved.items() if attempt not in self.ended]

    def recover(self, prices: Prices) -> None:
        for it in self.open:
            attempt = (it.request_id, it.attempt)
            heard = self.progress.get(attempt)
            tokens = Tokens(input_uncached=it.input_tokens_estimate, output_text=heard or 0)
            cost = cost_nusd(prices.price(it.provider, it.upstream_model), tokens)
            if heard is None and it.max_cost_nusd is not None:
                cost = min(cost, it.max_cost_nusd)
            quality: Any = "held" if heard is None else "estimated"
            self.ended[attempt] = settlement(*attempt, quality=quality, tokens=tokens, cost_nusd=cost)
        for request_id in {it.request_id for it in self.reserved.values()} - self.records.keys():
            self.records[request_id] = self.record(request_id)
        self.progress.clear()

    def record(self, request_id: str) -> RequestRecord:
        """What the proxy, or recovery, writes when all tries of a request have ended."""
        first = next(it for it in self.reserved.values() if it.request_id == request_id)
        ends = [it for (of, _), it in self.ended.items() if of == request_id and isinstance(it, Settlement)]
        costs = [it.cost_nusd for it in ends]
        total = None if None in costs else sum(cost for cost in costs if cost is not None)
        return record(request_id, key_id=first.key_id, at_us=first.at_us, cost_nusd=total, team=first.team, tags=first.tags)

    def spent_nusd(self) -> int:
        return sum((it.cost_nusd or 0) for it in self.ended.values() if isinstance(it, Settlement)) + sum(
            self.adjusted.values()
        )


class Journal(RuleBasedStateMachine):
    """Reserve, settle, void, deliver twice, die and recover, adjust, note progress, change prices."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=SHARED)
        self.run_count = 0
        self.model = Model()
        self.prices = Prices()
        self.delivered: list[list[Entry]] = []
        self.seen: list[tuple[Any, ...]] = []
        self.loop = asyncio.new_event_loop()
        self.ledger = self.opened(Path(self.folder.name, "0.sqlite"))

    @initialize()
    def begin(self) -> None:
        self.loop.run_until_complete(self.ledger.recover())

    def opened(self, path: Path) -> SqliteLedger:
        return SqliteLedger(path, prices=self.prices, clock_us=lambda: NOW_US)

    def deliver(self, *entries: Entry) -> None:
        self.delivered.append(list(entries))
        self.again(list(entries))

    def again(self, entries: list[Entry]) -> None:
        async def write() -> None:
            await self.ledger.write(entries)

        self.loop.run_until_complete(write())

    def teardown(self) -> None:
        self.ledger.close()
        self.loop.close()
        self.folder.cleanup()

    # --- what happens --------------------------------------------------------------------------------------

    @rule(
        number=st.integers(0, 3),
        key_id=st.sampled_from(KEYS),
        max_cost_nusd=st.none() | st.integers(0, 10**7),
        input_tokens=st.integers(0, 5000),
        tags=st.sampled_from([(), ("nightly",), ("nightly", "b")]),
    )
    def reserve(self, number: int, key_id: str, max_cost_nusd: int | None, input_tokens: int, tags: tuple[str, ...]) -> None:
        """The next try of a request that has none open; or the first of a new one."""
        request_id = f"req_{len(self.model.records)}_{number}"
        tries = [it for it in self.model.reserved.values() if it.request_id == request_id]
        if any((it.request_id, it.attempt) not in self.model.ended for it in tries):
            return
        if tries:
            key_id, tags = tries[0].key_id, tries[0].tags
        it = reservation(
            request_id,
            len(tries) + 1,
            key_id=key_id,
            at_us=3_600_000_000 * number,
            max_cost_nusd=max_cost_nusd,
            input_tokens_estimate=input_tokens,
            team=TEAM[key_id],
            tags=tags,
        )
        self.model.reserved[request_id, it.attempt] = it
        self.deliver(it)

    @precondition(lambda self: self.model.open)
    @rule(
        data=st.data(),
        quality=st.sampled_from(["exact", "estimated", "held"]),
        cost=st.none() | st.integers(0, 10**9),
    )
    def settle(self, data: st.DataObject, quality: str, cost: int | None) -> None:
        it = data.draw(st.sampled_from(self.model.open))
        end = settlement(it.request_id, it.attempt, quality=quality, cost_nusd=cost)
        self.model.ended[it.request_id, it.attempt] = end
        self.model.records[it.request_id] = self.model.record(it.request_id)
        self.deliver(end, self.model.records[it.request_id])

    @precondition(lambda self: self.model.open)
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        it = data.draw(st.sampled_from(self.model.open))
        end = void(it.request_id, it.attempt)
        self.model.ended[it.request_id, it.attempt] = end
        self.deliver(end)

    @precondition(lambda self: self.model.open)
    @rule(data=st.data(), output_tokens=st.integers(0, 3000))
    def note_progress(self, data: st.DataObject, output_tokens: int) -> None:
        it = data.draw(st.sampled_from(self.model.open))
        attempt = (it.request_id, it.attempt)
        self.model.progress[attempt] = max(output_tokens, self.model.progress.get(attempt, 0))

        async def note() -> None:
            self.ledger.progress([Progress(request_id=it.request_id, attempt=it.attempt, output_tokens=output_tokens)])
            await self.ledger.chain_head()  # it is written by the time that this is answered

        self.loop.run_until_complete(note())

    @precondition(lambda self: self.delivered)
    @rule(data=st.data())
    def deliver_twice(self, data: st.DataObject) -> None:
        self.again(data.draw(st.sampled_from(self.delivered)))

    @precondition(lambda self: self.model.ended)
    @rule(data=st.data())
    def end_twice(self, data: st.DataObject) -> None:
        """The first end is the one that counts."""
        attempt = data.draw(st.sampled_from(sorted(self.model.ended)))
        self.again([void(*attempt)])
        self.again([settlement(*attempt, cost_nusd=1)])

    @precondition(lambda self: any(request_id in self.model.records for request_id, _ in self.model.ended))
    @rule(data=st.data(), cost=st.integers(-1000, 1000), evidence=st.sampled_from(["report 1", "report 2"]))
    def adjust(self, data: st.DataObject, cost: int, evidence: str) -> None:
        attempts = sorted(attempt for attempt in self.model.ended if attempt[0] in self.model.records)
        request_id, attempt = data.draw(st.sampled_from(attempts))
        self.model.adjusted.setdefault((request_id, attempt, evidence), cost)
        self.deliver(
            Adjustment(request_id=request_id, attempt=attempt, at_us=NOW_US, cost_nusd=cost, reason="report", evidence=evidence)
        )

    @rule()
    def change_the_price(self) -> None:
        self.prices.input_nusd_per_mtok += 1_000_000

    @rule(clean=st.booleans())
    def die_and_recover(self, clean: bool) -> None:
        self.run_count += 1
        path = Path(self.folder.name, f"{self.run_count}.sqlite")
        old = self.ledger.path
        if clean:
            self.ledger.close()
        for end in ("", "-wal"):
            if Path(f"{old}{end}").exists():
                shutil.copyfile(f"{old}{end}", f"{path}{end}")
        self.ledger.close()
        self.ledger = self.opened(path)
        self.model.recover(self.prices)
        self.loop.run_until_complete(self.ledger.recover())
        again = self.loop.run_until_complete(self.ledger.recover())
        teams, tags = ({it.group: it.requests for it in usage(path, by=by)} for by in OWNERS)
        assert (again.attempts_settled, again.requests_interrupted) == (0, 0)
        assert teams == Counter(it.team for it in self.model.records.values())
        assert tags == Counter(tag for it in self.model.records.values() for tag in it.tags)

    # --- what must hold ------------------------------------------------------------------------------------

    @invariant()
    def it_is_whole_and_agrees_with_the_model(self) -> None:
        with closing(sqlite3.connect(f"{self.ledger.path.as_uri()}?mode=ro", uri=True)) as connection:
            found = verify(connection)
            entries = connection.execute("SELECT *, h FROM entries ORDER BY id").fetchall()
            unbalanced = connection.execute("SELECT id FROM postings GROUP BY id HAVING sum(amount_nusd) <> 0").fetchall()
            reserved = connection.execute(
                "SELECT account, sum(amount_nusd) FROM postings WHERE account LIKE 'reserved:%' GROUP BY account"
            ).fetchall()
            ends = connection.execute(
                "SELECT request_id, attempt, kind, quality, cost_nusd, max_cost_nusd FROM entries "
                "WHERE kind IN ('SETTLE', 'VOID')"
            ).fetchall()
            rows = usage(connection, by="key")

        model = self.model
        open_nusd = sum(it.max_cost_nusd or 0 for it in model.open)
        assert found.faults == ()  # I2, I5, I8, I9
        assert unbalanced == []  # I1
        assert (found.open_attempts, found.reserved_nusd) == (len(model.open), open_nusd)
        assert found.spent_nusd == model.spent_nusd()
        assert {account: nusd for account, nusd in reserved if nusd} == {
            f"reserved:{key_id}": nusd
            for key_id in KEYS
            if (nusd := sum(it.max_cost_nusd or 0 for it in model.open if it.key_id == key_id))
        }
        assert sorted(ends, key=str) == sorted((self.told(*attempt) for attempt in model.ended), key=str)
        assert sum(row.requests for row in rows) == len(model.records)
        assert entries[: len(self.seen)] == self.seen  # I6, I9, I12: nothing that was written ever changes
        self.seen = entries
        assert found.head == (entries[-1][-1] if entries else GENESIS).hex()

    def told(self, request_id: str, attempt: int) -> tuple[Any, ...]:
        """The end of a try, as its row has it."""
        end, max_cost_nusd = self.model.ended[request_id, attempt], self.model.reserved[request_id, attempt].max_cost_nusd
        if isinstance(end, Void):
            return (request_id, attempt, "VOID", None, None, max_cost_nusd)
        return (request_id, attempt, "SETTLE", end.quality, end.cost_nusd, max_cost_nusd)


SHARED = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # a folder of its own inside, in memory: thousands of files are made

TestJournal = Journal.TestCase
TestJournal.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
