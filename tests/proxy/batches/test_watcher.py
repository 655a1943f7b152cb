"""Looking after open batches: when they have ended they are booked, once, whatever fails in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from ledger.budgets.accounts import Accounts
from ledger.ports import Entry
from ledger.records import Bounds, Budget, RequestRecord
from providers.errors import Disconnected
from providers.openai.vendors import CUSTOM, VENDORS
from providers.provider import Vendor
from proxy.attempts.control import Control
from proxy.batches.opened import Open, Opened
from proxy.batches.tally import mark_of
from proxy.batches.watcher import LOST_LOOKS, Times, Watcher
from proxy.call import Deployment, Principal
from proxy.deployments.held import Held, Holding
from proxy.deployments.models import ModelTable, Provider
from proxy.metering.holds import Holds
from proxy.metering.outbox import Outbox
from proxy.metering.worst_case import Assumptions, WorstCases
from tests.proxy import samples
from tests.proxy.batches.test_opened import Lines, batch
from tests.proxy.scripted import Answer, Hang, MemoryJournal, Prices, ScriptedTransport, Step, Watch

DOLLAR = 10**9
IT = batch("req_1", provider="acme", account="default", batch_id="batch_1", reserve=(DOLLAR, 100, 1), most=(DOLLAR, 100, 1))
MINE = Principal(key_id="k", name="")
COST_NUSD = 10 * 1000 + 2 * 2000


def told(**fields: Any) -> Answer:
    said = {"id": "batch_1", "object": "batch", "status": "in_progress", "input_file_id": "file-1", "created_at": 1000}
    return Answer(json.dumps({**said, **fields}).encode())


def output(*, model: str = "gpt") -> Answer:
    body = {"model": model, "usage": {"prompt_tokens": 10, "completion_tokens": 2}}
    return Answer(json.dumps({"custom_id": "1", "response": {"status_code": 200, "body": body}}).encode())


ENDED = {"status": "completed", "output_file_id": "file-2"}


class Setup:
    """A watcher whose provider answers one step after the other."""

    def __init__(
        self,
        *steps: Step,
        it: Open | None = IT,
        journal: MemoryJournal | None = None,
        providers: Sequence[str] = ("acme",),
        vendor: Vendor = CUSTOM,
    ) -> None:
        self.watch = Watch()
        self.lines = Lines()
        self.held = Held()
        self.journal = journal or MemoryJournal()
        self.transport = ScriptedTransport(*steps)
        self.opened = Opened(self.lines)
        self.accounts = Accounts()
        self.accounts.put(Budget(id="b", scope="global", unit="usd", period="total", limit=100 * DOLLAR), self.watch.us())
        self.accounts.seed("b", ())
        worst_cases = WorstCases(Prices(), bounds=lambda *_: Bounds(), assumptions=Assumptions())
        self.holds = Holds(self.accounts, worst_cases, wait_s=0)
        self.charged: list[tuple[str, int | None]] = []
        table = ModelTable([Provider(name=name, accounts=((samples.upstream(name, vendor=vendor), 1),)) for name in providers])
        control = Control(
            self.transport,
            self.journal,
            Outbox(self.journal),
            limiter=samples.unlimited(),
            clock_s=self.watch.s,
            clock_us=self.watch.us,
        )
        self.watcher = Watcher(
            self.opened,
            self.held,
            control,
            self.journal,
            self.holds,
            prices=Prices(),
            table=lambda: table,
            times=Times(give_up_us=3600 * 10**6),
            request_id=lambda: "req_own",
            charged=(self.charge,),
            clock_s=self.watch.s,
            clock_us=self.watch.us,
        )
        self.it = it

    def charge(self, deployment: Deployment, cost_nusd: int | None, _at_us: int) -> None:
        self.charged.append((deployment.name, cost_nusd))

    async def opens(self) -> Setup:
        if self.it is not None:
            self.it = replace(self.it, created_us=self.watch.us())
            await self.opened.note(self.it)
            self.holds.restore(self.it.request_id, self.it.principal, self.it.worst, self.it.created_us)
        return self

    async def looks(self, times: int = 1) -> bool:
        found = False
        for _ in range(times):
            found = await self.watcher.look("req_1")
        return found

    @property
    def standing(self) -> tuple[int, int]:
        (it,) = self.accounts.standing(self.watch.us())
        return it.settled, it.reserved

    @property
    def booked(self) -> list[RequestRecord]:
        return self.journal.records


async def test_a_batch_is_booked_when_it_has_ended() -> None:
    setup = await Setup(told(), told(**ENDED), output()).opens()

    assert not await setup.looks()
    assert setup.standing == (0, DOLLAR)
    assert await setup.looks()

    (record,) = setup.booked
    assert (record.request_id, record.cost_nusd, record.quality) == ("req_1-1", COST_NUSD, "exact")
    assert setup.standing == (COST_NUSD, 0)
    assert setup.charged == [("acme/gpt", COST_NUSD)]
    assert (len(setup.opened), b'"open":null' in setup.lines.kept[-1]) == (0, True)
    assert setup.held.find(MINE, "file-2", "file") == Holding("k", "acme", "default")
    assert [it.url.rpartition("/v1/")[2] for it in setup.transport.requests][-1] == "files/file-2/content"


async def test_looking_again_books_nothing_more() -> None:
    setup = await Setup(told(**ENDED), output()).opens()

    assert await setup.looks(3)

    assert len(setup.booked) == 1
    assert setup.standing == (COST_NUSD, 0)


async def test_whatever_fails_is_tried_again() -> None:
    steps: list[Step] = [
        Disconnected("cut"),
        Answer(b'{"error": {}}', status=500),
        Answer(b"[]"),
        told(**{**ENDED, "output_file_id": "../models"}),
        told(**ENDED),
        Answer(b"", status=404),
        told(**ENDED),
        Answer(b'{"response":', Disconnected("cut")),
        told(**ENDED),
        output(),
    ]
    setup = await Setup(*steps).opens()

    assert not await setup.looks(6)
    assert (setup.booked, setup.standing) == ([], (0, DOLLAR))
    assert await setup.looks()

    assert [it.cost_nusd for it in setup.booked] == [COST_NUSD]


async def test_a_booking_that_the_disk_refuses_is_made_later() -> None:
    refusals = [True]
    journal = MemoryJournal(fails=lambda _: bool(refusals and refusals.pop()))
    setup = await Setup(told(**ENDED), output(), told(**ENDED), output(), journal=journal).opens()

    assert not await setup.looks()
    assert setup.standing == (0, DOLLAR)
    assert await setup.looks()

    assert (len(setup.booked), setup.standing) == (1, (COST_NUSD, 0))


async def test_a_booking_that_was_written_after_all_is_not_made_again() -> None:
    class Doubtful(MemoryJournal):
        async def write(self, entries: Sequence[Entry], /, *, power: bool = False) -> None:
            await super().write(entries, power=power)
            raise RuntimeError("nobody knows whether it was written")

    setup = await Setup(told(**ENDED), output(), journal=Doubtful()).opens()

    assert not await setup.looks()
    assert await setup.looks()

    assert (len(setup.booked), setup.standing) == (1, (COST_NUSD, 0))


async def test_what_was_booked_before_a_restart_is_not_held_again() -> None:
    before = await Setup(told(**ENDED), output()).opens()
    await before.looks()
    after = Setup(it=None, journal=before.journal)
    await after.opened.note(IT)
    await after.opened.note(replace(IT, request_id="req_2", batch_id="batch_2"))

    await after.watcher.restore()

    assert [it.request_id for it in after.opened] == ["req_2"]
    assert after.standing == (0, DOLLAR)


async def test_a_batch_that_nobody_can_tell_of_is_held_at_last() -> None:
    setup = await Setup(Answer(b"{}", status=404), Answer(b"{}", status=404)).opens()

    assert not await setup.looks()
    setup.watch.now_s += 3601
    assert await setup.looks()

    (record,) = setup.booked
    assert (record.quality, record.cost_nusd, record.outcome) == ("held", DOLLAR, "batch_lost")
    assert setup.standing == (DOLLAR, 0)


async def test_the_account_may_be_configured_no_longer() -> None:
    setup = await Setup(providers=("other",)).opens()

    assert not await setup.looks()
    setup.watch.now_s += 3601
    assert await setup.looks()

    assert [it.quality for it in setup.booked] == ["held"]


# --- whose answer never came ---------------------------------------------------------------------------------------------


def listed(*rows: dict[str, Any], more: bool = False) -> Answer:
    made = [{"id": "batch_1", "input_file_id": "file-1", "created_at": 1000, "status": "validating", **row} for row in rows]
    return Answer(json.dumps({"object": "list", "data": made, "has_more": more}).encode())


LOST = replace(IT, batch_id="")


async def test_a_batch_whose_answer_never_came_is_found() -> None:
    others = [{"id": "batch_8", "input_file_id": "file-8"}, {"id": "batch_7"}, {"id": "../batches"}]
    setup = await Setup(listed(*others[:1], more=True), listed(*others[1:], {}), told(**ENDED), output(), it=LOST).opens()
    setup.held.keep("batch", "batch_7", Holding("other", "acme", "default"))

    assert not await setup.looks()
    assert setup.held.find(MINE, "batch_1", "batch") is not None
    assert await setup.looks()

    assert [it.cost_nusd for it in setup.booked] == [COST_NUSD]


async def test_a_batch_that_was_never_made_holds_nothing() -> None:
    setup = await Setup(*[listed({"created_at": 900}) for _ in range(LOST_LOOKS)], it=LOST).opens()

    assert not await setup.looks(LOST_LOOKS - 1)
    assert await setup.looks()

    assert (setup.booked, setup.standing, len(setup.opened)) == ([], (0, 0), 0)


def messages(name: str, *, ended: bool = True, **fields: Any) -> dict[str, Any]:
    """A message batch of two requests."""
    counts = {"succeeded": 2} if ended else {"processing": 2}
    said = {"id": name, "processing_status": "ended" if ended else "in_progress", "request_counts": counts}
    return {**said, "created_at": "1970-01-01T00:16:40Z", "results_url": "https://elsewhere.invalid/", **fields}


def listing(*batches: dict[str, Any]) -> Answer:
    return Answer(json.dumps({"data": batches, "has_more": False}).encode())


def results(*custom_ids: str) -> Answer:
    message = {"model": "gpt", "usage": {"input_tokens": 5, "output_tokens": 1}}
    rows = [{"custom_id": it, "result": {"type": "succeeded", "message": message}} for it in custom_ids]
    return Answer(b"".join(json.dumps(row).encode() + b"\n" for row in rows))


LOST_MESSAGES = replace(LOST, endpoint="messages", input_file_id="", requests=2, mark=mark_of(["a", "b"]))


async def test_of_message_batches_that_may_be_the_lost_one_the_one_with_its_requests_is_metered_and_nobodys() -> None:
    others = [messages("msgbatch_9"), messages("msgbatch_8", request_counts={"succeeded": 3}), messages("../x")]
    all_of_them = (*others, messages("msgbatch_1"))
    told = [Answer(json.dumps(messages(name)).encode()) for name in ("msgbatch_9", "msgbatch_1")]
    steps = (listing(*all_of_them), told[0], results("a", "c"), listing(*all_of_them), told[1], results("b", "a"))
    setup = await Setup(*steps, it=LOST_MESSAGES, vendor=VENDORS["anthropic"]).opens()

    assert not await setup.looks(3)
    assert setup.booked == []
    assert await setup.looks()

    (record,) = setup.booked
    assert (record.attempts[0].upstream_request_id, record.quality, record.cost_nusd) == (
        "msgbatch_1",
        "estimated",
        COST_NUSD // 2,
    )
    assert setup.held.mine(MINE, "message_batch") == []
    assert setup.standing == (COST_NUSD // 2, 0)
    paths = [it.url.rpartition("/v1/")[2] for it in setup.transport.requests]
    assert paths[0] == paths[3] == "messages/batches?limit=100"
    assert paths[5] == "messages/batches/msgbatch_1/results"


async def test_a_lost_batch_is_not_given_up_while_another_is_looked_into() -> None:
    steps = [listing(messages("msgbatch_9", ended=False)) for _ in range(1 + LOST_LOOKS)]
    setup = await Setup(*steps, it=LOST_MESSAGES, vendor=VENDORS["anthropic"]).opens()
    await setup.looks()
    await setup.opened.note(replace(LOST_MESSAGES, request_id="req_2", created_us=setup.watch.us()))

    for _ in range(LOST_LOOKS):
        assert not await setup.watcher.look("req_2")

    assert len(setup.opened) == 2


# --- the task ------------------------------------------------------------------------------------------------------------


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  # there is nothing to be told by
            await asyncio.sleep(0)


async def test_the_task_looks_at_what_is_made_and_at_what_has_ended() -> None:
    setup = await Setup(told(), told(**ENDED), output()).opens()
    task = asyncio.ensure_future(setup.watcher.run())

    await until(lambda: len(setup.transport.requests) == 1)
    for _ in range(20):
        await asyncio.sleep(0)
    asked = len(setup.transport.requests)
    setup.watcher.ended("req_1")
    await until(lambda: not len(setup.opened))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert asked == 1
    assert len(setup.booked) == 1


async def test_one_that_hangs_does_not_keep_the_others() -> None:
    hang = Hang()
    setup = await Setup(hang, told(**ENDED), output()).opens()
    task = asyncio.ensure_future(setup.watcher.run())

    await asyncio.wait_for(hang.reached.wait(), 10)
    await setup.opened.note(replace(IT, request_id="req_2"))
    setup.watcher.made("req_2")
    setup.watcher.ended("req_2")
    await until(lambda: len(setup.opened) == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert [it.request_id for it in setup.booked] == ["req_2-1"]


async def test_what_is_being_made_is_not_looked_for() -> None:
    setup = Setup(it=None)
    setup.watcher.making("req_1")
    await setup.opened.note(LOST)
    task = asyncio.ensure_future(setup.watcher.run())

    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert setup.transport.requests == []
