"""The terminal stage: the only one that sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from providers.errors import (
    ConnectFailed,
    ConnectTimedOut,
    FirstByteTimedOut,
    IdleTimedOut,
    InvalidResponse,
    ProviderError,
    Refused,
    TlsFailed,
    TotalTimedOut,
)
from providers.openai import request, response
from providers.openai.stream import StreamReader
from providers.provider import HttpRequest, Timeouts
from providers.usage import Semantics, Usage, semantics_of
from proxy.call import Attempt, Call, Completed, Deployment, Fault, Observer, Reply, Streaming
from proxy.errors import (
    ClientClosed,
    NoHealthyUpstream,
    ProxyError,
    UnsupportedEndpoint,
    UpstreamAuth,
    UpstreamError,
    UpstreamInvalidResponse,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamTimedOut,
    of_cancellation,
)
from proxy.relay import Relay, Source

RETRY_AFTER_S = 5
"""What a client is told when nothing could be reached and nobody said when it will be."""


class Answering(Source, Protocol):
    """The head of an upstream's answer, and its body to come."""

    status: int
    content_type: str
    header_content_type: str
    request_id: str

    @property
    def retry_after_s(self) -> float | None:
        """When the upstream wants to be asked again."""
        ...

    async def read(self) -> bytes:
        """The whole body.  Raises: ProviderError."""
        ...


class Sender(Protocol):
    """The transport, as this stage knows it."""

    async def send(self, request: HttpRequest, *, timeouts: Timeouts, deadline_s: float) -> Answering:
        """Send it and wait for the head of the answer.  Raises: ProviderError."""
        ...


Reserve = Callable[[Call, int, Deployment], Awaitable[None]]
Watch = Callable[[Call, int, Callable[[], int]], None]
"""Told of a stream that has begun: the call, the try's number, and what counts the output tokens so far."""


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """attempts_max: tries for one request, the first included.  total_s: one deadline for all of them."""

    attempts_max: int = 3
    total_s: float = 600.0


class Fallback:
    """Try the deployments in order until one answers; a fault of the request itself ends it at once.

    Before the first event has reached the client any deployment may take over, after it none.
    observers: told of every try when it has ended, in their order, after it is on the trail.
    Reads: deployments, body, head.   Writes: trail, one Attempt a try.   Raises: 4xx of the provider, 429, 502, 503, 504.
    Config: retries.max_attempts, retries.total_timeout_s, and the timeouts of each provider.
    """

    def __init__(
        self,
        transport: Sender,
        *,
        reserve: Reserve,
        watch: Watch,
        retries: Retries,
        observers: Sequence[Observer] = (),
        clock_s: Callable[[], float],
        clock_us: Callable[[], int],
    ) -> None:
        self._transport = transport
        self._observers = observers
        self._reserve = reserve
        self._watch = watch
        self._retries = retries
        self._clock_s = clock_s
        self._clock_us = clock_us

    async def __call__(self, call: Call, /) -> Reply:
        able = [it for it in call.deployments if call.endpoint in it.upstream.vendor.endpoints]
        if not able:
            if call.deployments:
                names = ", ".join(sorted({it.upstream.provider for it in call.deployments}))
                raise UnsupportedEndpoint(f"/v1/{call.endpoint} is not served by {names}.", param="model")
            raise NoHealthyUpstream("No deployment of this model is available.", retry_after_s=RETRY_AFTER_S)
        deadline_s = call.started_s + self._retries.total_s
        failures: list[ProviderError] = []
        for number, deployment in enumerate(able[: self._retries.attempts_max], start=1):
            try:
                return await self._try(call, number, deployment, deadline_s)
            except ProviderError as error:
                failures.append(error)
                if not _another_may_help(error):
                    break
        raise _verdict(failures) from failures[-1]

    async def _try(self, call: Call, number: int, deployment: Deployment, deadline_s: float) -> Reply:
        vendor = deployment.upstream.vendor
        semantics = semantics_of(vendor.name, call.endpoint)
        asks_usage = call.head.stream and call.endpoint != "responses" and vendor.asks_usage and not call.head.include_usage
        http = request.encode(
            call.body,
            upstream=deployment.upstream,
            endpoint=call.endpoint,
            asked_model=call.head.model,
            model=deployment.model,
            ask_usage=asks_usage,
            stream_options=call.head.include_usage is not None,
            request_id=call.id,
            cut=call.head.ours,
        )
        log = _Log(call, number, deployment, self._observers, self._clock_s, self._clock_us)
        try:
            await self._reserve(call, number, deployment)
        except asyncio.CancelledError as error:
            log.left(error, may_cost=False)
            raise
        timeouts = deployment.upstream.timeouts
        answer: Answering | None = None
        reply: Reply | None = None
        told = False
        try:
            answer = await self._transport.send(
                http, timeouts=timeouts, deadline_s=min(deadline_s, self._clock_s() + timeouts.total_s)
            )
            log.head(answer)
            if call.head.stream and answer.status == 200:
                reader = StreamReader(
                    call.endpoint,
                    strip_usage=asks_usage and vendor.strips_usage,
                    semantics=semantics,
                )
                reply = await self._stream(answer, reader, log, deployment, number)
            else:
                reply = await self._whole(answer, log, deployment, number, semantics)
            told = True
        except ProviderError as error:
            log.failed(error)
            told = True
            raise
        except asyncio.CancelledError as error:
            log.left(error, may_cost=True)
            told = True
            raise
        finally:
            if not told:
                # A fault of our own: the books are closed all the same.
                log.broken()
            if answer is not None and not isinstance(reply, Streaming):
                answer.close()
        return reply

    async def _whole(self, answer: Answering, log: _Log, deployment: Deployment, number: int, semantics: Semantics) -> Reply:
        body = await answer.read()
        answer.close()
        if answer.status != 200:
            raise _refused(answer, body)
        if answer.content_type == "text/event-stream":
            raise InvalidResponse("The upstream answered with a stream that was not asked for.")
        read = response.decode(body, semantics)
        log.whole(read, len(body))
        return Completed(status=200, headers=_headers(answer, deployment, number), body=body)

    async def _stream(self, answer: Answering, reader: StreamReader, log: _Log, deployment: Deployment, number: int) -> Reply:
        if answer.content_type != "text/event-stream":
            # An error, or a whole answer to a question for a stream: either way not what the client can read.
            response.decode(await answer.read())
            raise InvalidResponse("The upstream answered without the stream that was asked for.")
        relay = Relay(answer, reader, ended=log.streamed, translate=translated)
        await relay.begin()
        log.first_event()
        self._watch(log.call, number, lambda: reader.events)
        return Streaming(200, _headers(answer, deployment, number), relay)


class _Log:
    """Writes the one Attempt of a try to the call's trail."""

    def __init__(
        self,
        call: Call,
        number: int,
        deployment: Deployment,
        observers: Sequence[Observer],
        clock_s: Callable[[], float],
        clock_us: Callable[[], int],
    ) -> None:
        self.call = call
        self._observers = observers
        self._number = number
        self._deployment = deployment
        self._clock_s = clock_s
        self._started_s = clock_s()
        self._started_us = clock_us()
        self._ttfb_us: int | None = None
        self._status: int | None = None
        self._request_id = ""

    def head(self, answer: Answering) -> None:
        self._status = answer.status
        self._request_id = answer.request_id
        self._ttfb_us = self._elapsed_us()

    def first_event(self) -> None:
        self._ttfb_us = self._elapsed_us()

    def whole(self, answer: response.Answer, size: int) -> None:
        self._write(
            "ok",
            may_cost=True,
            model=answer.model,
            usage=answer.usage,
            raw=answer.usage_raw,
            # Most of an answer's bytes are its text, at about four a token; the envelope is a few hundred.
            output=max((size - 300) // 4, 1),
        )

    def streamed(self, reader: StreamReader, error: ProxyError | None) -> None:
        self._write(
            "ok" if error is None else error.code,
            may_cost=True,
            model=reader.model if reader.model != "?" else "",
            usage=reader.usage,
            raw=reader.usage_raw,
            output=reader.events,
            error="" if error is None else error.message,
            fault=_fault(error),
        )

    def failed(self, error: ProviderError) -> None:
        told = translated(error)
        retry_after_s = error.retry_after_s if isinstance(error, Refused) else None
        self._write(told.code, may_cost=error.sent, error=str(error), fault=_fault(told), retry_after_s=retry_after_s)

    def broken(self) -> None:
        self._write(ProxyError.code, may_cost=True, fault="gateway")

    def left(self, error: asyncio.CancelledError, *, may_cost: bool) -> None:
        told = of_cancellation(error)
        self._write(told.code, may_cost=may_cost, fault=_fault(told))

    def _write(
        self,
        outcome: str,
        *,
        may_cost: bool,
        model: str = "",
        usage: Usage | None = None,
        raw: bytes = b"",
        output: int = 0,
        error: str = "",
        fault: Fault = "",
        retry_after_s: float | None = None,
    ) -> None:
        attempt = Attempt(
            number=self._number,
            deployment=self._deployment,
            started_us=self._started_us,
            duration_us=self._elapsed_us(),
            ttfb_us=self._ttfb_us,
            status=self._status,
            outcome=outcome,
            may_cost=may_cost,
            fault=fault,
            retry_after_s=retry_after_s,
            usage=usage,
            usage_raw=raw,
            answered_model=model,
            output_estimate=output,
            upstream_request_id=self._request_id,
            error=error,
        )
        self.call.trail.append(attempt)
        for observe in self._observers:
            observe(self.call, attempt)

    def _elapsed_us(self) -> int:
        return round((self._clock_s() - self._started_s) * 1e6)


def translated(error: ProviderError) -> ProxyError:
    """What a client is told of an upstream's failure."""
    text = str(error)
    if isinstance(error, Refused):
        return _of_status(error)
    if isinstance(error, ConnectTimedOut | FirstByteTimedOut | IdleTimedOut | TotalTimedOut):
        return UpstreamTimedOut(text)
    if isinstance(error, TlsFailed):
        return UpstreamError(text)
    if isinstance(error, ConnectFailed):
        return NoHealthyUpstream(text, retry_after_s=RETRY_AFTER_S)
    if isinstance(error, InvalidResponse):
        return UpstreamInvalidResponse(text)
    return UpstreamError(text)


def _fault(error: ProxyError | None) -> Fault:
    """Whose fault a failure was, by what the client is told of it."""
    if error is None:
        return ""
    return next((fault for kind, fault in _FAULTS if isinstance(error, kind)), "gateway")


_FAULTS: tuple[tuple[type[ProxyError], Fault], ...] = (
    (UpstreamRefused, "request"),
    (UpstreamRateLimited, "rate_limit"),
    (UpstreamAuth, "account"),
    (UpstreamTimedOut, "timeout"),
    (UpstreamError, "upstream"),
    (UpstreamInvalidResponse, "upstream"),
    (NoHealthyUpstream, "upstream"),
    (ClientClosed, "client"),
)

_AUTH = frozenset({401, 402, 403})
_WAIT = frozenset({408, 429})


def _of_status(error: Refused) -> ProxyError:
    body = error.body
    if error.status in _AUTH or _is_quota(error):
        return UpstreamAuth("The provider refused the gateway's key or credit.")
    if error.status == 429:
        return UpstreamRateLimited(body.message, retry_after_s=error.retry_after_s or RETRY_AFTER_S)
    if error.status == 408:
        return UpstreamTimedOut(body.message)
    if error.status >= 500:
        return UpstreamError(body.message, retry_after_s=error.retry_after_s)
    return UpstreamRefused(error.status, body.message, kind=body.type, param=body.param, code=body.code)


def _is_quota(error: Refused) -> bool:
    """A 429 that waiting does not cure.  Source: OpenAI's error codes; Anthropic's spend limit."""
    words = {error.body.type, error.body.code}
    return error.status == 429 and not words.isdisjoint({"insufficient_quota", "enforced_spend_limit_reached"})


def _another_may_help(error: ProviderError) -> bool:
    if isinstance(error, Refused):
        return error.status >= 500 or error.status in _AUTH or error.status in _WAIT
    return not isinstance(error, TotalTimedOut)


def _verdict(failures: list[ProviderError]) -> ProxyError:
    """The last failure speaks for all; except that a rate limit, which passes by itself, outranks what does not.

    A fault of the request itself is the end of it, whoever else was busy.
    """
    last = translated(failures[-1])
    if isinstance(last, UpstreamRefused):
        return last
    limited = [it for it in map(translated, failures) if isinstance(it, UpstreamRateLimited)]
    if limited:
        return min(limited, key=lambda it: it.retry_after_s or 0)
    return last


def _refused(answer: Answering, body: bytes) -> ProviderError:
    if answer.status < 400:
        return InvalidResponse(f"The upstream answered with status {answer.status}, which the protocol does not have.")
    return Refused(answer.status, response.error_body(body), retry_after_s=answer.retry_after_s)


def _headers(answer: Answering, deployment: Deployment, number: int) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", answer.header_content_type.encode("latin-1", "replace")),
        (b"x-tollway-model", deployment.model.encode("utf-8", "replace")),
        (b"x-tollway-provider", deployment.upstream.provider.encode()),
        (b"x-tollway-attempts", str(number).encode()),
    ]
