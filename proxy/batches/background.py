"""Responses that providers make in the background: each is booked once, by the usage that it has when it is over.

As a batch is: what its request reserved is held until then, over a restart too, and its booking is called after its request,
``req_…-1``.  It is looked at when its client is told that it is over, and by itself in between.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from msgspec.structs import replace

from ledger.errors import LedgerUnavailable
from ledger.prices.cost import cost_nusd
from ledger.records import Tokens
from providers.errors import InvalidResponse, RefusedInBody
from providers.openai import request as http
from providers.openai import response
from providers.provider import Answer, Upstream
from providers.usage import semantics_of
from proxy.attempts.outcome import translated
from proxy.batches import booking
from proxy.batches.opened import Open
from proxy.batches.tally import Sum
from proxy.batches.watcher import Watcher
from proxy.call import Attempt, Call, Principal
from proxy.errors import ResponseNotMetered, UpstreamRefused

ENDPOINT: Final = "responses"
BYTES_PER_TOKEN: Final = 4
GONE_LOOKS: Final = 3
"""So many times a provider may say that there is no such response before that is believed."""
RETRY_AFTER_S: Final = 5
INTERRUPTED: Final = "interrupted"
"""The outcome of a request that a restart has ended."""
FAILED: Final = "failed"

_ANSWERED: Final = frozenset(("completed", "incomplete"))
_COUNTS: Final = Tokens.__struct_fields__

log = structlog.get_logger("tollway.background")


class Background(Watcher):
    """Looks after them.

    open_max: so many at once; of more the cost is estimated when their request ends.  durable: what is booked has to outlive
    the machine's power.  ports, rest: a watcher's.
    """

    def __init__(self, *ports: Any, open_max: int, durable: bool, **rest: Any) -> None:
        super().__init__(*ports, **rest)
        self._open_max = open_max
        self._durable = durable

    async def note(self, call: Call, attempt: Attempt) -> bool:
        """A request has ended whose answer is still being made; ``False``: that cannot be remembered.

        What it has reserved is its own from here on.
        """
        if len(self._opened) >= self._open_max:
            return False
        principal = call.principal
        upstream = attempt.deployment.upstream
        it = Open(
            request_id=call.id,
            key_id="" if principal is None else principal.key_id,
            user="" if principal is None else principal.user,
            team="" if principal is None else principal.team,
            tags=call.tags,
            power=self._durable or (principal is not None and principal.durability == "power"),
            provider=upstream.provider,
            account=upstream.account,
            endpoint=ENDPOINT,
            created_us=call.received_us,
            batch_id=attempt.goes_on,
            models=(attempt.deployment.model,),
            asked=call.head.model,
            input_tokens=max(len(call.body) // BYTES_PER_TOKEN, 1),
        )
        worst = self._holds.held(call.id)
        if worst is not None:
            it = replace(it, reserve=worst.reserve, most=worst.most)
        self.making(it.request_id)
        try:
            if await self._opened.note(it):
                return True
            await self._opened.close(it.request_id)
            return False
        finally:
            self.made(it.request_id)

    async def restore(self) -> None:
        """As a watcher's, but for those whose request was not written when the process ended: that was charged by now."""
        for it in self._opened:
            record = await self._journal.request(it.request_id)
            if record is not None and record.outcome == INTERRUPTED and record.tokens != Tokens():
                log.warning("response_charged_by_estimate", response=it.batch_id, request_id=it.request_id)
                await self._opened.close(it.request_id)
        await super().restore()

    async def told(self, principal: Principal, response_id: str, body: bytes) -> None:
        """A client is about to be told this of a response: if that is over, it is booked before."""
        it = self._opened.of(response_id, principal.key_id)
        upstream = None if it is None else self._table().account(it.provider, it.account)
        if it is None or upstream is None or it.request_id in self._looking:
            return
        try:
            answer = _read(body, upstream)
        except InvalidResponse:
            return
        if answer.goes_on:
            return
        self._looking.add(it.request_id)
        try:
            if await self._is_booked(it):
                await self._settle(it)
                await self._over(it)
            else:
                await self._end(it, answer, len(body), upstream)
        except LedgerUnavailable:
            log.exception("response_not_booked", response=it.batch_id, provider=it.provider)
            self._again(it, None)
        finally:
            self._looking.discard(it.request_id)

    def heard(self, principal: Principal, response_id: str) -> None:
        """A client has been told the events of a response, perhaps to the end: it is looked at soon."""
        it = self._opened.of(response_id, principal.key_id)
        if it is not None:
            self.ended(it.request_id)

    async def may_delete(self, principal: Principal, response_id: str) -> None:
        """Whether a response is known to have cost what it did.  Raises: ResponseNotMetered."""
        it = self._opened.of(response_id, principal.key_id)
        if it is not None and not await self.look(it.request_id):
            raise ResponseNotMetered(
                f"The response {response_id} is made in the background, and what it costs is not known yet; cancel it first.",
                param="response_id",
                retry_after_s=RETRY_AFTER_S,
            )

    # --- one look ----------------------------------------------------------------------------------------------------------

    async def _asked(self, it: Open, upstream: Upstream) -> None:
        """Raises: ProxyError; LedgerUnavailable."""
        asked = http.kept("GET", it.batch_id, upstream=upstream, request_id=self._request_id())
        try:
            body = await self._control.told(upstream, asked)
        except UpstreamRefused as refusal:
            plan = self._plans.get(it.request_id)
            if refusal.sent_status == 404 and plan is not None and plan.looks >= GONE_LOOKS:
                await self._lost(it)
                return
            raise
        try:
            answer = _read(body, upstream)
        except InvalidResponse as error:
            raise translated(error) from error
        if answer.goes_on:
            self._again(it, None)
            await self._give_up(it)
            return
        await self._end(it, answer, len(body), upstream)

    async def _end(self, it: Open, answer: Answer, size: int, upstream: Upstream) -> None:
        """Book one that is over.  Raises: LedgerUnavailable."""
        sums = self._sums_of(it, answer, size)
        made = booking.of_sums(
            it,
            sums,
            status=answer.status or FAILED,
            exact=True,
            outcome="ok" if answer.status in _ANSWERED else f"response_{answer.status or FAILED}"[:64],
            usage_raw=answer.usage_raw,
            now_us=self._clock_us(),
        )
        await self._write(it, made, upstream, models=[sum_.model for sum_ in sums])
        log.info("response_booked", response=it.batch_id, provider=it.provider, cost_nusd=made.actual[0])

    def _sums_of(self, it: Open, answer: Answer, size: int) -> tuple[Sum, ...]:
        """What it used; nothing, if it failed and says nothing of that."""
        usage = answer.usage
        if usage is not None and usage.counted:
            tokens = Tokens(**{name: getattr(usage, name) for name in _COUNTS})
            tier, unmetered = usage.service_tier, 0
        elif answer.status == FAILED:
            return ()
        else:
            written = size // BYTES_PER_TOKEN if answer.status in _ANSWERED else 0
            tokens, tier, unmetered = Tokens(input_uncached=it.input_tokens, output_text=written), "", 1
        sum_ = self._sum(it, tokens, answered_model=answer.model, tier=tier, unmetered=unmetered)
        if sum_.cost_nusd is None and usage is not None and usage.cost_nusd is not None:
            sum_ = replace(sum_, cost_nusd=usage.cost_nusd, price_source=f"reported by {it.provider}")
        return (sum_,)

    def _sum(self, it: Open, tokens: Tokens, *, answered_model: str = "", tier: str = "", unmetered: int = 0) -> Sum:
        model = it.models[0]
        price = self._prices.price(it.provider, answered_model, it.created_us) if answered_model else None
        price = price or self._prices.price(it.provider, model, it.created_us)
        cost = None if price is None else cost_nusd(price, tokens, service_tier=tier)
        return Sum(
            model=model,
            answered_model=answered_model,
            answers=1,
            tokens=tokens,
            cost_nusd=cost,
            price_source="" if price is None or cost is None else price.source,
            unmetered=unmetered,
        )

    async def _lost(self, it: Open) -> None:
        """Charge what went in, if nobody can say any more what came out.  Raises: LedgerUnavailable."""
        sums = (self._sum(it, Tokens(input_uncached=it.input_tokens), unmetered=1),)
        made = booking.of_sums(
            it, sums, status="lost", exact=False, outcome="response_lost", usage_raw=b"", now_us=self._clock_us()
        )
        ending = self._holds.ending_of(it.request_id, it.principal, it.created_us)
        await self._journal.write(made.entries, power=it.power)
        if ending is not None:
            self._holds.ended(it.request_id, ending, made.actual)
        log.error("response_given_up", response=it.batch_id, provider=it.provider, cost_nusd=made.actual[0])
        await self._over(it)


def _read(body: bytes, upstream: Upstream) -> Answer:
    """What a provider says of a response.  Raises: InvalidResponse."""
    try:
        return response.decode(body, semantics_of(upstream.vendor.name, ENDPOINT))
    except RefusedInBody:
        # It says what went wrong and counts nothing.
        return Answer(model="", usage=None, usage_raw=b"", status=FAILED)
