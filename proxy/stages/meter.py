"""What did it cost?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
import structlog
from msgspec.structs import replace

from ledger.budgets.accounts import Ending
from ledger.errors import EntryRefused
from ledger.errors import LedgerUnavailable as JournalFailed
from ledger.ports import Entry, JournalPort, PricingPort
from ledger.records import (
    DecisionRecord,
    Progress,
    Quality,
    RequestRecord,
    Settlement,
    Tokens,
    Void,
)
from proxy.call import Attempt, Call, Completed, Deployment, Reply, Streaming, tap
from proxy.errors import ClientClosed, LedgerUnavailable, PriceUnknown, ProxyError, of_cancellation
from proxy.metering import records
from proxy.metering.costs import Costs, total
from proxy.metering.holds import Holds, Terms
from proxy.metering.leases import INTERRUPTED, Leases, Try
from proxy.metering.outbox import Letter, Outbox
from proxy.stage import Service

RETRY_AFTER_S = 5

BACKGROUND = "background"
"""Why a try is not charged under its own request: what it began is metered when it is over."""

LAPSED_MAX = 10_000
"""Requests that are remembered because their lease was over before they ended."""
Charged = Callable[[Deployment, int | None, int], None]
"""Told of each settled try: where it was, what it cost in nano-USD (``None``: unknown), and when."""
Ended = Callable[[Call, Attempt, Settlement | None], None]
"""Told of each try when the request's books are closed, with what it is charged; ``None``: nothing.  Raises nothing."""

PutOff = Callable[[Call, Attempt], Awaitable[bool]]
"""Asked to meter what a provider goes on to make, when it is made.  Durable when it returns; ``False``: it is not."""

Decided = Callable[[Call], DecisionRecord | None]
"""Why a call goes where it goes, to be kept beside its record; ``None``: nobody decided."""


class Listener(Protocol):
    """Hears answers, once their books are closed.  Raises nothing."""

    def listen(self, call: Call, reply: Streaming, /) -> None:
        """A stream begins."""
        ...

    def heard(self, call: Call, reply: Streaming, /) -> None:
        """A stream that began is over, however it ended."""
        ...

    def answered(self, call: Call, body: bytes | None, /) -> None:
        """A whole answer was given."""
        ...


log = structlog.get_logger("tollway.meter")


class Meter:
    """Keep the journal: a reservation before each try is sent, and, before the reply's end is released, how every try ended
    and one record of the request, whatever happened to it.

    holds: what tries reserve of budgets; without it they reserve nothing, and of an unknown amount.
    outbox: keeps the ends that the journal refuses; without it they are left to the next start.
    charged: told of what each try cost.  ended: told of every try, once.  decided: what is kept beside the record.
    listener: hears the answers.  put_off: meters what is made in the background; without it that is estimated.
    Reads: principal, trail.   Writes: nothing.
    Raises: 503, when the journal cannot be written; 429, when no budget has room for another try.
    Config: ledger.durability.
    """

    def __init__(
        self,
        journal: JournalPort,
        prices: PricingPort,
        clock_us: Callable[[], int],
        *,
        holds: Holds | None = None,
        outbox: Outbox | None = None,
        charged: Sequence[Charged] = (),
        ended: Sequence[Ended] = (),
        decided: Decided | None = None,
        listener: Listener | None = None,
        put_off: PutOff | None = None,
    ) -> None:
        self._put_off = put_off
        self._decided = decided
        self._listener = listener
        self._charged = charged
        self._watchers = ended
        self._journal = journal
        self._costs = Costs(prices)
        self._clock_us = clock_us
        self._holds = holds
        self._outbox = outbox
        self._leases = Leases()
        self._lapsed: set[str] = set()
        self._streams: dict[str, _Stream] = {}  # by request
        self._noted: dict[str, int] = {}
        self._sessions: set[str] = set()

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        try:
            reply = await next(call)
        except BaseException as error:
            # Also when the client has left, or something of ours broke: the record is written before anybody is told.
            await self._write(call, _as_error(error))
            raise
        if isinstance(reply, Completed):
            record = await self._write(call, None)
            if self._listener is not None:
                self._listener.answered(call, reply.body)
            return _with_cost(reply, record, is_known=not call.trail or bool(record.provider))
        if self._listener is not None and call.endpoint != "realtime":
            self._listener.listen(call, reply)
        return await tap(reply, lambda: self._ended(call, reply))

    async def reserve(self, call: Call, number: int, deployment: Deployment) -> None:
        """Write down that a try is about to be sent, and reserve what it may cost.  Durable when it returns.

        Raises: LedgerUnavailable, BudgetExceeded, BudgetBusy, PriceUnknown; ClientClosed, since nothing is begun for a client
        that has left.  Then nothing of it is written.
        """
        if call.client.left:
            raise ClientClosed("The client left.")
        terms = _UNLIMITED if self._holds is None else self._holds.reserve(call, number, deployment)
        at_us = self._clock_us()
        reservation = records.reservation(call, number, deployment, at_us, terms.max_cost_nusd)
        self._leases.begin(call, number, Try(deployment, at_us, terms.max_cost_nusd))
        try:
            await self._journal.write((reservation,), power=terms.power or _outlives_power(call))
        except JournalFailed as error:
            self._leases.drop(call.id, number)
            if self._holds is not None:
                self._holds.drop(call, number)
            raise LedgerUnavailable(
                "The journal cannot be written, so nothing was sent.", retry_after_s=RETRY_AFTER_S
            ) from error

    async def settle(self, call: Call, attempt: Attempt, *, unforeseen: bool = False) -> Settlement:
        """One try of a session has ended, and the session goes on.  Durable when it returns; its record comes at the end.

        unforeseen: it is reserved now, in the same step: work that the provider did beside what it was asked for.
        Raises: LedgerUnavailable; then it is written with the session's end.
        """
        now_us = self._clock_us()
        settlement = self._settle(call, attempt, now_us)
        call.trail.append(attempt)
        entries: list[Entry] = [settlement]
        if unforeseen:
            reserved = records.reservation(call, attempt.number, attempt.deployment, now_us, settlement.cost_nusd)
            self._leases.begin(call, attempt.number, Try(attempt.deployment, now_us, settlement.cost_nusd))
            entries.insert(0, reserved)
        power = (self._holds is not None and self._holds.is_held(call.id)) or _outlives_power(call)
        try:
            await self._journal.write(entries, power=power)
        except JournalFailed as error:
            raise LedgerUnavailable("The journal cannot be written.", retry_after_s=RETRY_AFTER_S) from error
        lease = self._leases.of(call.id)
        if lease is not None:
            lease.ended[attempt.number] = settlement
        self._told(call, attempt, settlement, now_us)
        if self._holds is not None:
            tokens = settlement.tokens
            self._holds.spent(call, attempt.number, settlement.cost_nusd, tokens.input_tokens + tokens.output_tokens)
        return settlement

    def grow(self, call: Call, number: int, deployment: Deployment) -> ProxyError | None:
        """A session has been told more than its reservation for the next answer rests on: why no budget has room for it."""
        return None if self._holds is None else self._holds.grow(call, number, deployment)

    def may_use(self, call: Call, deployment: Deployment) -> ProxyError | None:
        """Why a session may not have something done beside what it was begun for; nobody may know what that costs."""
        holds = self._holds
        if holds is None or holds.price_is_known(call, deployment) or not holds.counts_money(call):
            return None
        return PriceUnknown(
            f"No price is known for the model '{deployment.model}', and a budget counts what this key spends; "
            "'ledger.prices' can give it one.",
            param="session",
        )

    def opened(self, call: Call) -> None:
        """A session is open; it has a deadline of its own.  What tries before it had reserved is let go of now."""
        self._sessions.add(call.id)
        if self._holds is not None:
            for attempt in call.trail:
                if not attempt.may_cost:
                    self._holds.spent(call, attempt.number, 0, 0)

    def watch(self, call: Call, number: int, output_tokens: Callable[[], int], cut: Callable[[ProxyError], None]) -> None:
        """A stream has begun; it is watched until its end.  cut: ends it."""
        self._streams[call.id] = _Stream(call, number, output_tokens, cut)

    def note_progress(self) -> None:
        """Note how far the streams have come that are under way.  Call it once a second: an event costs nothing this way."""
        marks = []
        for request_id, stream in self._streams.items():
            tokens = stream.output_tokens()
            if self._noted.get(request_id) != tokens:
                self._noted[request_id] = tokens
                marks.append(Progress(request_id=request_id, attempt=stream.number, output_tokens=tokens))
        if marks:
            self._journal.progress(marks)

    def end_overruns(self) -> None:
        """End the streams that have come further than they reserved, where no budget has room for more of them.

        Call it several times a second; a stream that no budget counts costs nothing.
        """
        if self._holds is None or not self._holds.any:
            return
        for request_id, stream in list(self._streams.items()):
            lease = self._leases.of(request_id)
            if lease is not None and (it := lease.tries.get(stream.number)) is not None:
                error = self._holds.overrun(stream.call, stream.number, it.deployment, stream.output_tokens())
                if error is not None:
                    stream.cut(error)

    async def end_lapsed(self) -> int:
        """End what should have ended long ago, by estimate, and let go of what it reserved.  Call it once in a lease, which
        is longer than any request can live.  How many there were.
        """
        late = self._leases.late(self._sessions)
        for lease in late:
            call = lease.call
            lease.lapse(self._noted.get(call.id))
            if len(self._lapsed) >= LAPSED_MAX:
                self._lapsed.clear()  # whoever is still to come after so many is charged twice at worst, and that is logged
            self._lapsed.add(call.id)
            log.error("lease_lapsed", request_id=call.id, tries=len(lease.tries))
            try:
                await self._write(call, None, lapsed=True)
            except LedgerUnavailable:
                continue
            except EntryRefused:
                log.exception("end_refused", request_id=call.id)
                self._abandon(call.id)
        return len(late)

    async def _ended(self, call: Call, reply: Streaming) -> None:
        """The end of a stream.  Its ``outcome``: what cut it, where the last try does not say."""
        outcome = reply.outcome
        if not outcome and call.trail:
            outcome = call.trail[-1].outcome
        try:
            await self._write(call, ClientClosed("The client left.") if outcome == ClientClosed.code else None, outcome)
        finally:
            if self._listener is not None and call.endpoint != "realtime":
                self._listener.heard(call, reply)

    async def _write(self, call: Call, error: ProxyError | None, outcome: str = "", *, lapsed: bool = False) -> RequestRecord:
        now_us = self._clock_us()
        if call.client.left:
            error = ClientClosed("The client left.")  # whatever came of it, and however much of that was read
        self._streams.pop(call.id, None)
        self._noted.pop(call.id, None)
        self._sessions.discard(call.id)
        goes_on = None if lapsed else await self._going_on(call)
        lease = self._leases.of(call.id)
        entries: list[Entry] = []
        tokens = Tokens()
        cost: int | None = 0
        quality: Quality = "exact"
        source = ""
        costs: list[int | None] = []
        # What was ended when its lease was over may end once more, and is told once.
        watchers = () if not lapsed and call.id in self._lapsed else self._watchers
        for attempt in call.trail:
            if beyond := records.beyond(call, attempt):
                log.warning(
                    "usage_beyond_limit",
                    request_id=call.id,
                    provider=attempt.deployment.upstream.provider,
                    model=attempt.deployment.model,
                    detail=beyond,
                )
            if lease is not None and (done := lease.ended.get(attempt.number)) is not None:
                settlement = done
            elif not attempt.may_cost or attempt is goes_on:
                for watch in watchers:
                    watch(call, attempt, None)
                costs.append(0)
                reason = BACKGROUND if attempt is goes_on else attempt.outcome
                entries.append(Void(request_id=call.id, attempt=attempt.number, at_us=now_us, reason=reason))
                continue
            else:
                settlement = self._settle(call, attempt, now_us)
                entries.append(settlement)
                self._told(call, attempt, settlement, now_us, watchers)
            costs.append(settlement.cost_nusd)
            tokens = total(tokens, settlement.tokens)
            cost = None if cost is None or settlement.cost_nusd is None else cost + settlement.cost_nusd
            quality = max(quality, settlement.quality, key=_DOUBT.index)
            source = settlement.price_source
        record = records.request(
            call,
            error,
            outcome,
            now_us,
            tokens=tokens,
            cost=cost,
            costs=costs,
            quality=quality,
            source=source,
            saved_nusd=0 if call.cached.origin is None else self._costs.saved_nusd(call, call.cached.origin),
        )
        if goes_on is not None:
            # No budget and no report counts it twice: it is counted where it is charged.
            record = replace(record, provider="", upstream_model="", answered_model="")
        if lapsed:
            record = replace(record, status=0, outcome=INTERRUPTED)
        if self._decided is not None and (decision := self._decided(call)) is not None:
            entries.append(decision)
        entries.append(record)
        if not lapsed and call.id in self._lapsed:
            self._lapsed.discard(call.id)
            return record  # it was ended when its lease was over, and the first end counts
        holds = None if goes_on is not None else self._holds
        ending = None if holds is None else holds.ending(call)
        try:
            await self._journal.write(entries, power=_is_held(ending) or _outlives_power(call))
        except JournalFailed as failure:
            log.exception("record_not_written", request_id=call.id, outcome=record.outcome)
            if error is not None:
                self._keep(call, entries, record, holds)
                return record
            told = LedgerUnavailable("The answer is here, but the journal cannot be written.", retry_after_s=RETRY_AFTER_S)
            if not lapsed:
                record = replace(record, status=record.status if call.head.stream else told.status, outcome=told.code)
            self._keep(call, entries, record, holds)
            raise told from failure
        except asyncio.CancelledError:
            # Nobody waits for it any more, and it may or may not be written; what it holds is let go of when it is.
            self._keep(call, entries, record, holds)
            raise
        self._leases.end(call.id)
        if ending is not None and holds is not None:
            holds.ended(call.id, ending, records.amounts(record))
        return record

    async def _going_on(self, call: Call) -> Attempt | None:
        """The try whose provider goes on with it, and that is charged when that is over; what it reserved is held until then.

        Where an earlier try may cost something as well, the request is charged as a whole, by estimate.
        """
        if self._put_off is None or not call.trail or not call.trail[-1].goes_on:
            return None
        *earlier, last = call.trail
        if any(it.may_cost for it in earlier):
            return None
        if self._holds is not None:
            for it in earlier:
                self._holds.spent(call, it.number, 0, 0)
        return last if await self._put_off(call, last) else None

    def _keep(self, call: Call, entries: list[Entry], record: RequestRecord, holds: Holds | None) -> None:
        """Have an end written later, and what it reserved held until then.  holds: ``None``: or for longer."""

        def handed() -> Callable[[], None]:
            ending = None if holds is None else holds.ending(call)

            def written() -> None:
                if ending is not None and holds is not None:
                    holds.ended(call.id, ending, records.amounts(record))

            return written

        kept = self._outbox is not None and self._outbox.put(
            Letter(
                request_id=call.id,
                entries=(*entries[:-1], record),
                power=(holds is not None and holds.is_held(call.id)) or _outlives_power(call),
                handed=handed,
                refused=lambda: self._abandon(call.id),
            )
        )
        if kept:
            self._leases.end(call.id)

    def _abandon(self, request_id: str) -> None:
        self._leases.end(request_id)
        if self._holds is not None:
            self._holds.abandon(request_id)

    def _told(
        self, call: Call, attempt: Attempt, settlement: Settlement, now_us: int, watchers: Sequence[Ended] | None = None
    ) -> None:
        for tell in self._charged:
            tell(attempt.deployment, settlement.cost_nusd, now_us)
        for watch in self._watchers if watchers is None else watchers:
            watch(call, attempt, settlement)

    def _settle(self, call: Call, attempt: Attempt, now_us: int) -> Settlement:
        it = self._costs.of(call, attempt)
        cost = it.nusd
        if it.quality == "held" and cost is not None and (lease := self._leases.of(call.id)) is not None:
            open_try = lease.tries.get(attempt.number)
            if open_try is not None and open_try.max_cost_nusd is not None:
                cost = min(cost, open_try.max_cost_nusd)
        return Settlement(
            request_id=call.id,
            attempt=attempt.number,
            at_us=now_us,
            quality=it.quality,
            tokens=it.tokens,
            cost_nusd=cost,
            price_source=it.source,
            usage_raw=attempt.usage_raw,
        )


class _Stream(msgspec.Struct, frozen=True):
    """A stream under way.  output_tokens: counts them so far.  cut: ends it with an error."""

    call: Call
    number: int
    output_tokens: Callable[[], int]
    cut: Callable[[ProxyError], None]


def _outlives_power(call: Call) -> bool:
    """Whether the key says that its entries have to."""
    return call.principal is not None and call.principal.durability == "power"


_UNLIMITED = Terms(None, power=False)


def _is_held(ending: Ending | None) -> bool:
    return ending is not None and ending.hold is not None


_DOUBT: tuple[Quality, ...] = ("exact", "estimated", "held")


def _with_cost(reply: Completed, record: RequestRecord, *, is_known: bool) -> Completed:
    """The reply with what it cost, if that is known, and how long it was with us rather than with the upstream."""
    spent_us = sum(attempt.duration_us for attempt in record.attempts)
    reply.headers.append((b"x-tollway-overhead-ms", b"%.3f" % (max(record.duration_us - spent_us, 0) / 1000)))
    if record.cost_nusd is not None and is_known:
        reply.headers.append((b"x-tollway-cost-usd", _usd(record.cost_nusd)))
    return reply


def _usd(nusd: int) -> bytes:
    return b"%d.%09d" % divmod(nusd, 1_000_000_000)


def _as_error(error: BaseException) -> ProxyError:
    if isinstance(error, ProxyError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return of_cancellation(error)
    return ProxyError("Something went wrong in the gateway.")
