"""Looks after open batches: when one has ended, what its answers used is read as a stream, and booked once.

One task a process.  What it was about to do when the process ended it does again at the next start: a booking that is in the
journal already is not made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from ledger.ports import JournalPort, PricingPort
from providers.errors import InvalidResponse, ProviderError
from providers.keeping import Keeping, KeptBatch
from providers.provider import Upstream
from providers.registry import keeping
from proxy.attempts.control import Control
from proxy.attempts.outcome import translated
from proxy.batches import booking
from proxy.batches.opened import Open, Opened
from proxy.batches.tally import Sum, Tally
from proxy.call import Deployment
from proxy.deployments.held import BATCHES, ID, Held, Holding
from proxy.deployments.models import ModelTable
from proxy.errors import ProxyError
from proxy.metering.holds import Holds

AT_ONCE: Final = 4
GROWTH: Final = 1.5
PAGES_MAX: Final = 10
SLACK_US: Final = 60_000_000
"""How far a provider's clock may be behind ours."""
LOST_LOOKS: Final = 4
"""So many times a batch is looked for of which nobody knows whether it was made."""
HOUR_US: Final = 3_600_000_000

log = structlog.get_logger("tollway.batches")

Charged = Callable[[Deployment, int | None, int], None]
"""Told of what each model of a batch cost at an account, in nano-USD (``None``: unknown), and when that was booked."""


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How often it looks, how long it reads, and when it gives up."""

    poll_s: float = 15.0
    poll_max_s: float = 300.0
    read_s: float = 3600.0
    give_up_us: int = 192 * HOUR_US


class _Plan(msgspec.Struct):
    """When one is looked at next.  wait_s: the time between the last two looks."""

    at_s: float
    wait_s: float
    looks: int = 0


class Watcher:
    """The background task.  held: told of the files that batches make.  clock_s: the loop's."""

    def __init__(
        self,
        opened: Opened,
        held: Held,
        control: Control,
        journal: JournalPort,
        holds: Holds,
        *,
        prices: PricingPort,
        table: Callable[[], ModelTable],
        times: Times,
        request_id: Callable[[], str],
        charged: Sequence[Charged] = (),
        clock_s: Callable[[], float],
        clock_us: Callable[[], int],
    ) -> None:
        self._opened = opened
        self._held = held
        self._control = control
        self._journal = journal
        self._holds = holds
        self._prices = prices
        self._table = table
        self._times = times
        self._request_id = request_id
        self._charged = charged
        self._clock_s = clock_s
        self._clock_us = clock_us
        self._plans: dict[str, _Plan] = {}
        self._others: dict[str, set[str]] = {}
        """Batches that were looked into for one that was lost, and are somebody else's."""
        self._looking: set[str] = set()
        self._making: set[str] = set()
        self._news = asyncio.Event()

    async def restore(self) -> None:
        """Hold again what open batches reserved, but for those that were booked before the process ended.  At the start.

        Raises: LedgerUnavailable.
        """
        for it in self._opened:
            if await self._is_booked(it):
                await self._opened.close(it.request_id)
            else:
                self._holds.restore(it.request_id, it.principal, it.worst, it.created_us)

    async def run(self) -> None:
        """Look at all of them, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                now_s = self._clock_s()
                for it in self._opened:
                    if it.request_id not in self._making:
                        self._plans.setdefault(it.request_id, _Plan(now_s, self._times.poll_s))
                due = sorted((plan.at_s, name) for name, plan in self._plans.items() if name not in self._looking)
                room = AT_ONCE - len(self._looking)
                for at_s, name in due[:room]:
                    if at_s <= now_s:
                        group.create_task(self.look(name))
                # A look begins in the next turn, and whoever has room for another one is heard of.
                await asyncio.sleep(0)
                later = [at_s for at_s, name in due if name not in self._looking]
                wait_s = max(later[0] - now_s, 0.001) if later and len(self._looking) < AT_ONCE else None
                try:
                    async with asyncio.timeout(wait_s):
                        await self._news.wait()
                except TimeoutError:
                    continue

    def making(self, request_id: str) -> None:
        """A batch is about to be made: nobody looks for it before ``made`` says so."""
        self._making.add(request_id)

    def made(self, request_id: str) -> None:
        """Its provider has answered, or never will; it is looked after from now on, if it is open."""
        self._making.discard(request_id)
        self._plans[request_id] = _Plan(self._clock_s() + self._times.poll_s, self._times.poll_s)
        self._news.set()

    def ended(self, request_id: str) -> None:
        """Somebody has seen that it has ended: look at once."""
        plan = self._plans.get(request_id)
        if plan is not None:
            plan.at_s = min(plan.at_s, self._clock_s())
            self._news.set()

    async def look(self, request_id: str) -> bool:
        """Look at one now; whether it is booked, or there is no such batch any more."""
        it = self._opened.get(request_id)
        if it is None:
            self._plans.pop(request_id, None)
            return True
        if request_id in self._looking:
            return False
        self._looking.add(request_id)
        try:
            await self._tried(it)
        except Exception:  # around a background task: whatever is wrong with one batch, the others are looked after
            log.exception("batch_not_booked", batch=it.batch_id, provider=it.provider)
            self._again(it, None)
        finally:
            self._looking.discard(request_id)
            self._news.set()
        if self._opened.get(request_id) is None:
            self._plans.pop(request_id, None)
            return True
        return False

    # --- one look ----------------------------------------------------------------------------------------------------------

    async def _tried(self, it: Open) -> None:
        """Raises: LedgerUnavailable."""
        try:
            await self._looked(it)
        except ProxyError as error:
            log.info("batch_not_looked_at", batch=it.batch_id, provider=it.provider, reason=error.message)
            self._again(it, error.retry_after_s)
            await self._give_up(it)

    async def _looked(self, it: Open) -> None:
        """Raises: ProxyError; LedgerUnavailable."""
        if await self._is_booked(it):
            await self._settle(it)
            await self._over(it)
            return
        upstream = self._table().account(it.provider, it.account)
        if upstream is None:
            self._again(it, None)
            await self._give_up(it)
            return
        await self._asked(it, upstream)

    async def _asked(self, it: Open, upstream: Upstream) -> None:
        """Ask who runs it how far it is, and book it if it has ended.  Raises: ProxyError; LedgerUnavailable."""
        if not it.batch_id:
            await self._seek(it, upstream)
            return
        words = keeping(upstream.vendor)
        body = await self._told(upstream, f"{words.batches}/{it.batch_id}")
        batch = _batch(body, words)
        it = await self.seen(it, batch, body)
        if not batch.ended:
            self._again(it, None)
            await self._give_up(it)
            return
        await self._book(it, batch, upstream)

    async def seen(self, it: Open, batch: KeptBatch, body: bytes) -> Open:
        """What its provider says of a batch is known from now on, and the files that it has made are its maker's."""
        if it.lost:
            return it
        holding = Holding(it.key_id, it.provider, it.account)
        # How far it has come changes with each look.
        seen = replace(holding, seen=body.decode("utf-8", "replace"))
        # Files come of it where its requests came in one.
        thing = BATCHES["openai" if it.input_file_id else "anthropic"]
        self._held.keep(thing, batch.id, seen, lasting=batch.ended)
        for file_id in batch.made:
            if self._held.find(it.principal, file_id, "file") is None:
                self._held.keep("file", file_id, holding)
        output = batch.output_file_id or ""
        if output and output != it.output_file_id:
            it = replace(it, output_file_id=output)
            await self._opened.note(it)
        return it

    async def _book(self, it: Open, batch: KeptBatch, upstream: Upstream) -> None:
        """Raises: ProxyError, if its answers cannot be read; LedgerUnavailable."""
        tally, sums = await self._tallied(it, batch, upstream) if batch.answers else (None, ())
        if it.lost and (tally is None or tally.mark != it.mark):
            log.warning("batch_not_ours", batch=it.batch_id, provider=it.provider, request_id=it.request_id)
            self._others.setdefault(it.request_id, set()).add(it.batch_id)
            await self._opened.note(replace(it, batch_id="", lost=False))
            self._again(it, None)
            return
        unread = tally.unread if tally is not None else 0
        usage = bytes(batch.usage)
        if unread:
            log.warning("batch_lines_unread", batch=it.batch_id, provider=it.provider, lines=unread)
        made = booking.of_sums(
            it,
            sums,
            status=batch.status,
            exact=not unread and not it.lost,
            usage_raw=usage if usage != b"null" else b"",
            now_us=self._clock_us(),
        )
        await self._write(it, made, upstream, models=[sum_.model for sum_ in sums])
        log.info("batch_booked", batch=it.batch_id, provider=it.provider, status=batch.status, cost_nusd=made.actual[0])

    async def _tallied(self, it: Open, batch: KeptBatch, upstream: Upstream) -> tuple[Tally, tuple[Sum, ...]]:
        """Its answers, read to their end."""
        tally = Tally(upstream, it.endpoint, models=it.models, prices=self._prices, at_us=it.created_us)
        about = keeping(upstream.vendor).about
        asked = about("GET", batch.answers, upstream=upstream, request_id=self._request_id())
        answer = await self._control.ask(upstream, asked, deadline_s=self._clock_s() + self._times.read_s)
        try:
            while data := await answer.chunk():
                tally.feed(data)
                # A file that is here already is not to hold up everybody else.
                await asyncio.sleep(0)
        except ProviderError as error:
            raise translated(error) from error
        finally:
            answer.close()
        return tally, tally.end()

    async def _seek(self, it: Open, upstream: Upstream) -> None:
        """Find out whether a batch was made whose answer never came."""
        known = {other.batch_id for other in self._opened if other.batch_id} | self._others.get(it.request_id, set())
        words = keeping(upstream.vendor)
        after = ""
        for _ in range(PAGES_MAX):
            body = await self._told(upstream, f"{words.batches}?limit=100" + (f"&{words.after}={after}" if after else ""))
            batches, more = _page(body, words)
            for batch in batches:
                if batch.input_file_id != it.input_file_id or batch.id in known or ID.fullmatch(batch.id) is None:
                    continue
                if self._held.anybody(batch.id, BATCHES[words.protocol]) or batch.requests != it.requests:
                    continue
                if batch.created_s * 1e6 >= it.created_us - SLACK_US:
                    log.warning("batch_found", batch=batch.id, provider=it.provider, request_id=it.request_id)
                    # Whose file it is made of is known for sure; what has none may be somebody else's.
                    it = replace(it, batch_id=batch.id, lost=not it.input_file_id)
                    if not it.lost:
                        self._held.keep("batch", batch.id, Holding(it.key_id, it.provider, it.account))
                    await self._opened.note(it)
                    self._plans[it.request_id] = _Plan(self._clock_s(), self._times.poll_s)
                    return
            if not more or not batches or batches[-1].created_s * 1e6 < it.created_us - SLACK_US:
                break
            after = batches[-1].id
        self._again(it, None)
        # One that is looked into for another may turn out to be this one.
        if self._plans[it.request_id].looks >= LOST_LOOKS and not any(other.lost for other in self._opened):
            log.warning("batch_never_made", provider=it.provider, request_id=it.request_id)
            await self._drop(it)

    # --- ends --------------------------------------------------------------------------------------------------------------

    async def _write(self, it: Open, made: booking.Booking, upstream: Upstream, *, models: Sequence[str]) -> None:
        """Book it.  Raises: LedgerUnavailable; then nothing of it is written."""
        ending = self._holds.ending_of(it.request_id, it.principal, it.created_us)
        await self._journal.write(made.entries, power=it.power or (ending is not None and ending.hold is not None))
        if ending is not None:
            self._holds.ended(it.request_id, ending, made.actual)
        now_us = self._clock_us()
        for model, cost_nusd in zip(models, made.costs_nusd, strict=True):
            for tell in self._charged:
                tell(Deployment(upstream=upstream, model=model), cost_nusd, now_us)
        await self._over(it)

    async def _settle(self, it: Open) -> None:
        """Let go of what a batch still holds whose booking is in the journal: only whether it was written had been in doubt."""
        ending = self._holds.ending_of(it.request_id, it.principal, it.created_us)
        if ending is None or ending.hold is None:
            return
        cost = tokens = number = 0
        while (record := await self._journal.request(f"{it.request_id}-{number + 1}")) is not None:
            number += 1
            cost += record.cost_nusd or 0
            tokens += record.tokens.input_tokens + record.tokens.output_tokens
        self._holds.ended(it.request_id, ending, (cost, tokens, number))

    async def _give_up(self, it: Open) -> None:
        """Charge what it may have cost at most, if nobody could say for so long what it did.  Raises: LedgerUnavailable."""
        if self._clock_us() - it.created_us < self._times.give_up_us:
            return
        await self._lost(it)

    async def _lost(self, it: Open) -> None:
        """Nobody can say what it did.  Raises: LedgerUnavailable."""
        made = booking.of_nobody(it, outcome="batch_lost", now_us=self._clock_us())
        ending = self._holds.ending_of(it.request_id, it.principal, it.created_us)
        await self._journal.write(made.entries, power=it.power)
        if ending is not None:
            self._holds.ended(it.request_id, ending, made.actual)
        log.error("batch_given_up", batch=it.batch_id, provider=it.provider, cost_nusd=made.actual[0])
        await self._over(it)

    async def _drop(self, it: Open) -> None:
        self._holds.abandon(it.request_id)
        await self._over(it)

    async def _over(self, it: Open) -> None:
        await self._opened.close(it.request_id)
        self._plans.pop(it.request_id, None)
        self._others.pop(it.request_id, None)

    async def _is_booked(self, it: Open) -> bool:
        return await self._journal.request(booking.first_id(it)) is not None

    def _again(self, it: Open, retry_after_s: float | None) -> None:
        """Look again, later each time; not before the provider wants to be asked."""
        plan = self._plans.setdefault(it.request_id, _Plan(0.0, self._times.poll_s))
        plan.looks += 1
        plan.at_s = self._clock_s() + max(plan.wait_s, retry_after_s or 0.0)
        plan.wait_s = min(plan.wait_s * GROWTH, max(self._times.poll_max_s, self._times.poll_s))

    async def _told(self, upstream: Upstream, path: str) -> bytes:
        about = keeping(upstream.vendor).about
        return await self._control.told(upstream, about("GET", path, upstream=upstream, request_id=self._request_id()))


def _batch(body: bytes, words: Keeping) -> KeptBatch:
    """Raises: UpstreamInvalidResponse, also for ids that would lead elsewhere in a URL."""
    try:
        batch = words.batch(body)
        if any(ID.fullmatch(it) is None for it in (batch.id, *batch.made)):
            raise InvalidResponse("The upstream's answer has an id that is none.")
    except InvalidResponse as error:
        raise translated(error) from error
    return batch


def _page(body: bytes, words: Keeping) -> tuple[Sequence[KeptBatch], bool]:
    try:
        return words.page(body)
    except InvalidResponse as error:
        raise translated(error) from error
