"""Requests about what a provider keeps: one account is asked, once, and one record says so, at no cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal

import msgspec
import structlog

from ledger.errors import LedgerUnavailable as JournalFailed
from ledger.ports import JournalPort
from ledger.records import AttemptRecord, RequestRecord, Tokens
from providers.errors import ProviderError
from providers.protocol import Wire
from providers.provider import HttpRequest, Upstream
from providers.registry import WIRES
from proxy.attempts.attempt import Answering, Sender
from proxy.attempts.outcome import fault_of, refused, translated
from proxy.call import Principal
from proxy.errors import Headers, NotAllowed, ProxyError, of_cancellation, status_of
from proxy.limits.counted import Counts
from proxy.metering.outbox import Letter, Outbox

Endpoint = Literal["files", "batches"]
"""What is asked about; what a key may be held to."""

_WIRE: Final[Wire] = WIRES["responses"]
"""Errors are OpenAI's,"""
_MESSAGES: Final[Wire] = WIRES["messages"]
"""or Anthropic's."""

_COUNTS: Final = frozenset(("request", "client"))
"""Whose fault makes no difference to whether a request counts that was put to somebody."""

log = structlog.get_logger("tollway.control")


WhenGone = Callable[[Callable[[], object] | None], None]
"""Told whom to call when a client leaves; ``None``: nobody any more."""


def _nobody_tells(callback: Callable[[], object] | None) -> None:
    del callback


class Asking(msgspec.Struct, kw_only=True):
    """One request of a client's while it is answered.

    at_us: wall clock.  started_s: monotonic.  attempts: whom it was put to.
    headers: those of the client's that go on.
    """

    request_id: str
    principal: Principal
    endpoint: Endpoint
    tags: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    at_us: int
    started_s: float
    attempts: list[AttemptRecord] = msgspec.field(default_factory=list)


class Control:
    """Asks accounts, and keeps the records of who asked.

    outbox: keeps the records that the journal refuses.  limiter: counts the requests.  clock_s: the loop's.
    """

    def __init__(
        self,
        transport: Sender,
        journal: JournalPort,
        outbox: Outbox,
        *,
        limiter: Counts,
        clock_s: Callable[[], float],
        clock_us: Callable[[], int],
    ) -> None:
        self._limiter = limiter
        self._transport = transport
        self._journal = journal
        self._outbox = outbox
        self._clock_s = clock_s
        self._clock_us = clock_us

    @asynccontextmanager
    async def recorded(
        self,
        principal: Principal,
        endpoint: Endpoint,
        *,
        request_id: str,
        tags: tuple[str, ...] = (),
        headers: tuple[tuple[str, str], ...] = (),
        told: Headers | None = None,
        when_gone: WhenGone = _nobody_tells,
    ) -> AsyncIterator[Asking]:
        """Around what answers a request: however that ends, there is one record of it, and its key's limits have counted it.

        headers: those of the client's that go on.  told: gets those that say how the limits stand.  when_gone: hears whom to
        call when the client leaves, who is not waited for then.  Raises: NotAllowed, RateLimited.
        """
        asking = Asking(
            request_id=request_id,
            principal=principal,
            endpoint=endpoint,
            tags=tags,
            headers=headers,
            at_us=self._clock_us(),
            started_s=self._clock_s(),
        )
        outcome: ProxyError | None = ProxyError("Something went wrong in the gateway.")
        task = asyncio.current_task()
        try:
            when_gone(None if task is None else task.cancel)
            if principal.endpoints and endpoint not in principal.endpoints:
                raise NotAllowed(f"This API key may not use the endpoint '{endpoint}'.")
            async with self._limiter.counted(principal) as counted:
                if told is not None:
                    told += counted.headers
                try:
                    yield asking
                except ProxyError as error:
                    counted.counts = bool(asking.attempts) and fault_of(error) in _COUNTS
                    raise
            outcome = None
        except ProxyError as error:
            outcome = error
            raise
        except asyncio.CancelledError as error:
            outcome = of_cancellation(error)
            raise
        finally:
            when_gone(None)
            await self._write(self._record(asking, outcome))

    async def ask(
        self, upstream: Upstream, http: HttpRequest, asking: Asking | None = None, *, deadline_s: float | None = None
    ) -> Answering:
        """The provider's answer, if it is none of an error; whoever has it closes it.  One try: nobody else could answer.

        deadline_s: for all of it; without one, that of any request to the account.
        Raises: ProxyError, as the provider's refusal or failure is told to clients; ``from`` the ProviderError.
        """
        started_s = self._clock_s()
        answer: Answering | None = None
        error: ProxyError | None = None
        try:
            if upstream.signer is not None:
                http = await upstream.signer.signed(http)
            timeouts = upstream.timeouts
            answer = await self._transport.send(http, timeouts=timeouts, deadline_s=deadline_s or started_s + timeouts.total_s)
            if answer.status >= 300:
                body = await answer.read()
                answer.close()
                wire = _MESSAGES if upstream.vendor.protocol == "anthropic" else _WIRE
                raise refused(answer.status, body, answer.retry_after_s, wire)
        except ProviderError as failure:
            if answer is not None:
                answer.close()
            error = translated(failure)
            raise error from failure
        except ProxyError as refusal:
            # A body that comes in pieces has found fault with itself.
            error = refusal
            raise
        finally:
            if asking is not None:
                asking.attempts.append(self._attempt(len(asking.attempts) + 1, upstream, started_s, answer, error))
        return answer

    async def told(
        self, upstream: Upstream, http: HttpRequest, asking: Asking | None = None, *, deadline_s: float | None = None
    ) -> bytes:
        """The body of the provider's answer, whole.  Raises: as ``ask``."""
        answer = await self.ask(upstream, http, asking, deadline_s=deadline_s)
        try:
            return await answer.read()
        except ProviderError as failure:
            raise translated(failure) from failure
        finally:
            answer.close()

    def _attempt(
        self, number: int, upstream: Upstream, started_s: float, answer: Answering | None, error: ProxyError | None
    ) -> AttemptRecord:
        return AttemptRecord(
            attempt=number,
            provider=upstream.provider,
            account=upstream.account,
            upstream_model="",
            outcome="ok" if error is None else error.code,
            status=None if answer is None else answer.status,
            duration_us=round((self._clock_s() - started_s) * 1e6),
            upstream_request_id="" if answer is None else answer.request_id,
            error="" if error is None else error.message,
            fault=fault_of(error),
            cost_nusd=0,
        )

    def _record(self, asking: Asking, error: ProxyError | None) -> RequestRecord:
        principal = asking.principal
        return RequestRecord(
            request_id=asking.request_id,
            at_us=asking.at_us,
            key_id=principal.key_id,
            endpoint=asking.endpoint,
            model=asking.endpoint,
            # No model was asked: it counts in no budget of requests; its attempts say where it went.
            provider="",
            upstream_model="",
            answered_model="",
            stream=False,
            status=200 if error is None else status_of(error),
            outcome="ok" if error is None else error.code,
            quality="exact",
            tokens=Tokens(),
            cost_nusd=0,
            price_source="",
            duration_us=max(round((self._clock_s() - asking.started_s) * 1e6), 0),
            ttfb_us=None,
            attempts=tuple(asking.attempts),
            user=principal.user,
            team=principal.team,
            tags=asking.tags,
        )

    async def _write(self, record: RequestRecord) -> None:
        """Keep a record; one that the journal refuses is written later, since nothing was spent."""
        try:
            await self._journal.write((record,))
        except JournalFailed:
            log.exception("record_not_written", request_id=record.request_id, outcome=record.outcome)
            self._outbox.put(
                Letter(request_id=record.request_id, entries=(record,), power=False, handed=lambda: _nothing, refused=_nothing)
            )


def _nothing() -> None:
    """Nothing is held for it."""
