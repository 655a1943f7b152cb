"""What did it cost?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from msgspec.structs import replace

from ledger.errors import LedgerUnavailable as JournalFailed
from ledger.ports import Entry, JournalPort, PricingPort
from ledger.prices.cost import cost_nusd
from ledger.records import (
    AttemptRecord,
    Price,
    Progress,
    Quality,
    RequestRecord,
    Reservation,
    Settlement,
    Tokens,
    Void,
)
from providers.usage import Usage
from proxy.call import Attempt, Call, Completed, Deployment, Origin, Reply, tap
from proxy.errors import ClientClosed, LedgerUnavailable, ProxyError, of_cancellation, status_of
from proxy.stage import Service

BYTES_PER_TOKEN = 4
"""What an unmetered input is taken to hold; a JSON body of English text has 3.5 to 4.5 bytes a token."""

RETRY_AFTER_S = 5

log = structlog.get_logger("tollway.meter")


class Meter:
    """Keep the journal: a reservation before each try is sent, and, before the reply's end is released, how every try ended
    and one record of the request, whatever happened to it.

    Reads: principal, trail.   Writes: nothing.   Raises: 503, when the journal cannot be written.
    Config: ledger.durability.
    """

    def __init__(self, journal: JournalPort, prices: PricingPort, clock_us: Callable[[], int]) -> None:
        self._journal = journal
        self._prices = prices
        self._clock_us = clock_us
        self._streams: dict[str, tuple[int, Callable[[], int]]] = {}  # by request: the try, and its tokens so far
        self._noted: dict[str, int] = {}

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        try:
            reply = await next(call)
        except BaseException as error:
            # Also when the client has left, or something of ours broke: the record is written before anybody is told.
            await self._write(call, _as_error(error))
            raise
        if isinstance(reply, Completed):
            record = await self._write(call, None)
            return _with_cost(reply, record)
        return await tap(reply, lambda: self._ended(call, reply.outcome))

    async def reserve(self, call: Call, number: int, deployment: Deployment) -> None:
        """Write down that a try is about to be sent.  Durable when it returns.  Raises: LedgerUnavailable."""
        upstream = deployment.upstream
        reservation = Reservation(
            request_id=call.id,
            attempt=number,
            at_us=self._clock_us(),
            key_id=_key_id(call),
            endpoint=call.endpoint,
            model=call.head.model,
            provider=upstream.provider,
            account=upstream.account,
            upstream_model=deployment.model,
            stream=call.head.stream,
            input_tokens_estimate=_input_estimate(call),
        )
        try:
            await self._journal.write((reservation,))
        except JournalFailed as error:
            raise LedgerUnavailable(
                "The journal cannot be written, so nothing was sent.", retry_after_s=RETRY_AFTER_S
            ) from error

    def watch(self, call: Call, number: int, output_tokens: Callable[[], int]) -> None:
        """A stream has begun; it is watched until its end."""
        self._streams[call.id] = (number, output_tokens)

    def note_progress(self) -> None:
        """Note how far the streams have come that are under way.  Call it once a second: an event costs nothing this way."""
        marks = []
        for request_id, (number, count) in self._streams.items():
            tokens = count()
            if self._noted.get(request_id) != tokens:
                self._noted[request_id] = tokens
                marks.append(Progress(request_id=request_id, attempt=number, output_tokens=tokens))
        if marks:
            self._journal.progress(marks)

    async def _ended(self, call: Call, outcome: str) -> None:
        """The end of a stream.  ``outcome``: what cut it, where the last try does not say."""
        if not outcome and call.trail:
            outcome = call.trail[-1].outcome
        await self._write(call, ClientClosed("The client left.") if outcome == ClientClosed.code else None, outcome)

    async def _write(self, call: Call, error: ProxyError | None, outcome: str = "") -> RequestRecord:
        now_us = self._clock_us()
        self._streams.pop(call.id, None)
        self._noted.pop(call.id, None)
        entries: list[Entry] = []
        tokens = Tokens()
        cost: int | None = 0
        quality: Quality = "exact"
        source = ""
        for attempt in call.trail:
            if not attempt.may_cost:
                entries.append(Void(request_id=call.id, attempt=attempt.number, at_us=now_us, reason=attempt.outcome))
                continue
            settlement = self._settle(call, attempt, now_us)
            entries.append(settlement)
            tokens = _sum(tokens, settlement.tokens)
            cost = None if cost is None or settlement.cost_nusd is None else cost + settlement.cost_nusd
            quality = max(quality, settlement.quality, key=_DOUBT.index)
            source = settlement.price_source
        record = _record(
            call,
            error,
            outcome,
            now_us,
            tokens=tokens,
            cost=cost,
            quality=quality,
            source=source,
            saved_nusd=0 if call.cached.origin is None else self._saved(call, call.cached.origin),
        )
        entries.append(record)
        try:
            await self._journal.write(entries)
        except JournalFailed as failure:
            log.exception("record_not_written", request_id=call.id, outcome=record.outcome)
            if error is None:
                raise LedgerUnavailable(
                    "The answer is here, but the journal cannot be written.", retry_after_s=RETRY_AFTER_S
                ) from failure
        return record

    def _settle(self, call: Call, attempt: Attempt, now_us: int) -> Settlement:
        tokens = _tokens(call, attempt.usage, attempt.output_estimate)
        cost, source = self._cost(_origin(attempt), tokens)
        return Settlement(
            request_id=call.id,
            attempt=attempt.number,
            at_us=now_us,
            quality=_quality(attempt),
            tokens=tokens,
            cost_nusd=cost,
            price_source=source,
            usage_raw=attempt.usage_raw,
        )

    def _saved(self, call: Call, origin: Origin) -> int:
        """What the answer would have cost, had it been asked for now; 0 if nobody knows."""
        now = replace(origin, at_us=call.received_us)
        return self._cost(now, _tokens(call, origin.usage, origin.output_estimate))[0] or 0

    def _cost(self, origin: Origin, tokens: Tokens) -> tuple[int | None, str]:
        """What a try costs, and who says so: its price row, else what the provider says that it charged, else nobody."""
        usage = origin.usage
        price = self._price(origin)
        if price is not None:
            return cost_nusd(price, tokens, service_tier="" if usage is None else usage.service_tier), price.source
        if usage is not None and usage.cost_nusd is not None:
            return usage.cost_nusd, f"reported by {origin.provider}"
        return None, ""

    def _price(self, origin: Origin) -> Price | None:
        """The row of the model that answered, as it was when the try began; of the one that was asked if the answer's
        name has none.
        """
        price = None
        if origin.answered_model and origin.answered_model != origin.model:
            price = self._prices.price(origin.provider, origin.answered_model, origin.at_us)
        return price or self._prices.price(origin.provider, origin.model, origin.at_us)


def _record(
    call: Call,
    error: ProxyError | None,
    ended: str,
    now_us: int,
    *,
    tokens: Tokens,
    cost: int | None,
    quality: Quality,
    source: str,
    saved_nusd: int,
) -> RequestRecord:
    last = call.trail[-1] if call.trail else None
    if error is not None:
        status, outcome = status_of(error), error.code
    else:
        status, outcome = 200, ended or (last.outcome if last else "ok")
    origin = call.cached.origin
    return RequestRecord(
        request_id=call.id,
        at_us=call.received_us,
        key_id=_key_id(call),
        endpoint=call.endpoint,
        model=call.head.model,
        provider=last.deployment.upstream.provider if last else "",
        upstream_model=last.deployment.model if last else "",
        answered_model=last.answered_model if last else origin.answered_model if origin else "",
        stream=call.head.stream,
        status=status,
        outcome=outcome,
        quality=quality,
        tokens=tokens,
        cost_nusd=cost,
        price_source=source,
        duration_us=max(now_us - call.received_us, 0),
        ttfb_us=last.ttfb_us if last else None,
        attempts=tuple(_attempt(it) for it in call.trail),
        usage_raw=last.usage_raw if last else b"",
        saved_nusd=saved_nusd,
        cache=call.cached.state,
    )


def _origin(attempt: Attempt) -> Origin:
    return Origin(
        provider=attempt.deployment.upstream.provider,
        model=attempt.deployment.model,
        answered_model=attempt.answered_model,
        at_us=attempt.started_us,
        usage=attempt.usage,
    )


def _tokens(call: Call, usage: Usage | None, output_estimate: int) -> Tokens:
    """What the provider counted; else what we do."""
    if usage is None:
        return Tokens(input_uncached=_input_estimate(call), output_text=output_estimate)
    return Tokens(
        input_uncached=usage.input_uncached,
        cache_read=usage.cache_read,
        cache_write=usage.cache_write,
        input_audio=usage.input_audio,
        output_text=usage.output_text,
        reasoning=usage.reasoning,
        output_audio=usage.output_audio,
        cache_write_1h=usage.cache_write_1h,
        cache_read_audio=usage.cache_read_audio,
        input_image=usage.input_image,
        output_image=usage.output_image,
        web_searches=usage.web_searches,
    )


def _attempt(attempt: Attempt) -> AttemptRecord:
    return AttemptRecord(
        attempt=attempt.number,
        provider=attempt.deployment.upstream.provider,
        account=attempt.deployment.upstream.account,
        upstream_model=attempt.deployment.model,
        outcome=attempt.outcome,
        status=attempt.status,
        duration_us=attempt.duration_us,
        ttfb_us=attempt.ttfb_us,
        upstream_request_id=attempt.upstream_request_id,
        error=attempt.error,
    )


_DOUBT: tuple[Quality, ...] = ("exact", "estimated", "held")


def _quality(attempt: Attempt) -> Quality:
    """Held, if it was sent and nothing at all came back: nobody but the provider knows whether it did anything."""
    if attempt.usage is not None:
        return "exact"
    return "held" if attempt.status is None else "estimated"


def _sum(a: Tokens, b: Tokens) -> Tokens:
    if a == _NONE:
        return b
    return Tokens(**{name: getattr(a, name) + getattr(b, name) for name in Tokens.__struct_fields__})


_NONE = Tokens()


def _with_cost(reply: Completed, record: RequestRecord) -> Completed:
    """The reply with what it cost and how long it was with us rather than with the upstream."""
    spent_us = sum(attempt.duration_us for attempt in record.attempts)
    reply.headers.append((b"x-tollway-overhead-ms", b"%.3f" % (max(record.duration_us - spent_us, 0) / 1000)))
    if record.cost_nusd is not None:
        reply.headers.append((b"x-tollway-cost-usd", _usd(record.cost_nusd)))
    return reply


def _usd(nusd: int) -> bytes:
    return b"%d.%09d" % divmod(nusd, 1_000_000_000)


def _input_estimate(call: Call) -> int:
    return max(len(call.body) // BYTES_PER_TOKEN, 1)


def _key_id(call: Call) -> str:
    return call.principal.key_id if call.principal is not None else ""


def _as_error(error: BaseException) -> ProxyError:
    if isinstance(error, ProxyError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return of_cancellation(error)
    return ProxyError("Something went wrong in the gateway.")
