"""Responses that are made in the background are booked once, by what they used, whoever sees first that they are over."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.budgets.accounts import Accounts, WorstCase
from ledger.records import Bounds, Budget, RequestRecord, Tokens
from providers.errors import Disconnected
from proxy.attempts.control import Control
from proxy.batches.background import GONE_LOOKS, Background
from proxy.batches.opened import Opened
from proxy.batches.watcher import Times
from proxy.deployments.held import Held
from proxy.deployments.models import ModelTable, Provider
from proxy.errors import ResponseNotMetered
from proxy.metering.holds import Holds
from proxy.metering.outbox import Outbox
from proxy.metering.worst_case import Assumptions, WorstCases
from tests.proxy import samples
from tests.proxy.batches.test_opened import Lines
from tests.proxy.samples import PRINCIPAL
from tests.proxy.scripted import Answer, MemoryJournal, Prices, ScriptedTransport, Step, Watch

DOLLAR = 10**9
COST_NUSD = 10 * 1000 + 2 * 2000
USED = {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}


def said(status: str, usage: dict[str, Any] | None = None, **fields: Any) -> bytes:
    body = {"id": "resp_1", "object": "response", "status": status, "model": "gpt", "usage": usage, "error": None}
    return json.dumps({**body, **fields}).encode()


def charged_by_recovery(request_id: str) -> RequestRecord:
    """What a start writes of a request that a kill ended while it was noted what becomes of it."""
    return RequestRecord(
        request_id=request_id,
        at_us=1,
        key_id=PRINCIPAL.key_id,
        endpoint="responses",
        model="acme/gpt",
        provider="acme",
        upstream_model="gpt",
        answered_model="",
        stream=False,
        status=0,
        outcome="interrupted",
        quality="held",
        tokens=Tokens(input_uncached=5),
        cost_nusd=5,
        price_source="",
        duration_us=0,
        ttfb_us=None,
        attempts=(),
    )


class Setup:
    """One response under way, whose provider answers one step after the other."""

    def __init__(
        self, *steps: Step, lines: Lines | None = None, open_max: int = 10, journal: MemoryJournal | None = None
    ) -> None:
        self.watch = Watch()
        self.lines = lines or Lines()
        self.journal = journal or MemoryJournal()
        self.transport = ScriptedTransport(*steps)
        self.opened = Opened(self.lines, self.lines.kept)
        self.accounts = Accounts()
        self.accounts.put(Budget(id="b", scope="global", unit="usd", period="total", limit=100 * DOLLAR), self.watch.us())
        self.accounts.seed("b", ())
        worst_cases = WorstCases(Prices(), bounds=lambda *_: Bounds(), assumptions=Assumptions())
        self.holds = Holds(self.accounts, worst_cases, wait_s=0)
        table = ModelTable([Provider(name="acme", accounts=((samples.upstream(), 1),))])
        control = Control(
            self.transport,
            self.journal,
            Outbox(self.journal),
            limiter=samples.unlimited(),
            clock_s=self.watch.s,
            clock_us=self.watch.us,
        )
        self.background = Background(
            self.opened,
            Held(),
            control,
            self.journal,
            self.holds,
            open_max=open_max,
            durable=False,
            prices=Prices(),
            table=lambda: table,
            times=Times(give_up_us=3600 * 10**6),
            request_id=lambda: "req_own",
            clock_s=self.watch.s,
            clock_us=self.watch.us,
        )

    async def begun(self) -> Setup:
        """A request has ended, whose response is queued; a dollar is reserved for it."""
        call = replace(samples.call(id="req_1", endpoint="responses"), received_us=self.watch.us(), principal=PRINCIPAL)
        worst = WorstCase((DOLLAR, 100, 1), (DOLLAR, 100, 1))
        self.holds.restore("req_1", PRINCIPAL, worst, call.received_us)
        assert await self.background.note(call, samples.attempt(goes_on="resp_1"))
        return self

    @property
    def standing(self) -> tuple[int, int]:
        (it,) = self.accounts.standing(self.watch.us())
        return it.settled, it.reserved

    @property
    def booked(self) -> list[RequestRecord]:
        return self.journal.records


async def test_it_is_booked_by_what_it_used_when_it_is_over() -> None:
    setup = await Setup(Answer(said("queued")), Answer(said("in_progress")), Answer(said("completed", USED))).begun()

    looks = [await setup.background.look("req_1") for _ in range(2)]
    meanwhile = setup.standing
    looks.append(await setup.background.look("req_1"))

    (record,) = setup.booked
    assert (looks, meanwhile) == ([False, False, True], (0, DOLLAR))
    assert (record.request_id, record.endpoint, record.outcome) == ("req_1-1", "responses", "ok")
    assert (record.cost_nusd, record.quality) == (COST_NUSD, "exact")
    assert (setup.standing, len(setup.opened)) == ((COST_NUSD, 0), 0)
    assert [it.url.rpartition("/v1/")[2] for it in setup.transport.requests] == ["responses/resp_1"] * 3


async def test_it_is_booked_by_what_its_client_is_told_and_nobody_is_asked_again() -> None:
    setup = await Setup().begun()

    await setup.background.told(PRINCIPAL, "resp_1", said("in_progress"))
    before = len(setup.booked)
    await setup.background.told(PRINCIPAL, "resp_1", said("completed", USED))
    await setup.background.told(PRINCIPAL, "resp_1", said("completed", USED))

    assert (before, len(setup.booked), setup.booked[0].cost_nusd) == (0, 1, COST_NUSD)
    assert setup.transport.requests == []


async def test_another_keys_word_books_nothing() -> None:
    setup = await Setup().begun()

    await setup.background.told(replace(PRINCIPAL, key_id="other"), "resp_1", said("completed", USED))

    assert (setup.booked, len(setup.opened)) == ([], 1)


@pytest.mark.parametrize(
    ("body", "outcome", "quality", "cost"),
    [
        (said("incomplete", USED), "ok", "exact", COST_NUSD),
        (said("cancelled", USED), "response_cancelled", "exact", COST_NUSD),
        (said("failed", error={"code": "server_error", "message": "no"}), "response_failed", "exact", 0),
        (said("failed"), "response_failed", "exact", 0),
        (said("failed", USED, error={"code": "server_error", "message": "no"}), "response_failed", "exact", COST_NUSD),
        (said("cancelled"), "response_cancelled", "estimated", None),
    ],
)
async def test_however_it_ends_it_is_booked(body: bytes, outcome: str, quality: str, cost: int | None) -> None:
    setup = await Setup(Answer(body)).begun()

    assert await setup.background.look("req_1")

    (record,) = setup.booked
    assert (record.outcome, record.quality) == (outcome, quality)
    assert record.cost_nusd == cost if cost is not None else record.tokens.input_tokens > 0
    assert setup.standing == (record.cost_nusd, 0)


async def test_what_is_open_is_held_again_after_a_restart_and_booked_then() -> None:
    before = await Setup().begun()

    after = Setup(Answer(said("completed", USED)), lines=before.lines, journal=before.journal)
    await after.background.restore()
    held = after.standing
    await after.background.look("req_1")

    assert (held, after.standing) == ((0, DOLLAR), (COST_NUSD, 0))


async def test_what_was_booked_before_a_restart_is_not_booked_again() -> None:
    before = await Setup(Answer(said("completed", USED))).begun()
    kept = list(before.lines.kept)
    await before.background.look("req_1")

    after = Setup(lines=Lines(), journal=before.journal)
    after.opened = after.background._opened = Opened(after.lines, kept)
    await after.background.restore()

    assert (len(after.opened), len(after.booked), after.standing) == (0, 1, (0, 0))


async def test_what_recovery_has_charged_is_not_charged_again() -> None:
    before = await Setup().begun()
    await before.journal.write((charged_by_recovery("req_1"),))

    after = Setup(lines=before.lines, journal=before.journal)
    await after.background.restore()

    assert (len(after.opened), after.standing) == (0, (0, 0))


async def test_one_that_is_gone_is_charged_what_went_in() -> None:
    gone = b'{"error": {"message": "gone", "type": "invalid_request_error", "param": null, "code": null}}'
    setup = await Setup(*(Answer(gone, status=404) for _ in range(GONE_LOOKS + 1))).begun()

    looks = [await setup.background.look("req_1") for _ in range(GONE_LOOKS + 1)]

    (record,) = setup.booked
    assert looks == [False] * GONE_LOOKS + [True]
    assert (record.outcome, record.quality, record.tokens.output_tokens) == ("response_lost", "estimated", 0)
    assert record.tokens.input_tokens > 0


async def test_one_of_which_nobody_says_anything_for_long_is_charged_what_went_in() -> None:
    setup = await Setup(Disconnected("no"), Disconnected("no")).begun()

    first = await setup.background.look("req_1")
    setup.watch.now_s += 3601
    second = await setup.background.look("req_1")

    assert (first, second, setup.booked[0].outcome) == (False, True, "response_lost")
    assert setup.standing[1] == 0


async def test_it_cannot_be_deleted_before_it_is_metered() -> None:
    setup = await Setup(Answer(said("in_progress")), Answer(said("cancelled", USED))).begun()

    with pytest.raises(ResponseNotMetered):
        await setup.background.may_delete(PRINCIPAL, "resp_1")
    await setup.background.may_delete(PRINCIPAL, "resp_1")
    await setup.background.may_delete(PRINCIPAL, "resp_other")

    assert setup.booked[0].outcome == "response_cancelled"


@pytest.mark.parametrize(("lines", "open_max"), [(Lines(works=False), 10), (Lines(), 0)])
async def test_one_that_cannot_be_remembered_or_is_one_too_many_is_not_put_off(lines: Lines, open_max: int) -> None:
    setup = Setup(lines=lines, open_max=open_max)
    call = replace(samples.call(id="req_1", endpoint="responses"), principal=PRINCIPAL)

    noted = await setup.background.note(call, samples.attempt(goes_on="resp_1"))

    assert (noted, len(setup.opened)) == (False, 0)
