"""One try at one deployment: reserve, send, wait for the answer or its first event, and write the one Attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from providers.errors import ConnectTimedOut, InvalidResponse, ProviderError, Refused
from providers.openai.realtime import handshake
from providers.openai.typed_stream import Opaque
from providers.protocol import Posting, Reader, Told, Wire
from providers.provider import Answer, HttpRequest, Timeouts, Upstream, Vendor
from providers.registry import WIRES, way
from providers.usage import Semantics, Usage, semantics_of
from proxy.attempts.outcome import fault_of, refused, translated
from proxy.attempts.realtime import Answered, Session, Sessions
from proxy.attempts.relay import Relay, Source
from proxy.attempts.translation import Translated, Translation, codec_of, whole
from proxy.call import Attempt, Call, Completed, Deployment, Fault, Gate, Kind, Observer, Reply, Streaming, Upload
from proxy.deployments.held import Held
from proxy.errors import ProxyError, of_cancellation, to_client_event
from proxy.metering.pieces import answer_tokens, media_tokens


class Answering(Source, Protocol):
    """The head of an upstream's answer, and its body to come."""

    status: int
    content_type: str
    header_content_type: str
    request_id: str

    @property
    def counted(self) -> bytes:
        """A usage object of what it counted beside its body; empty if it did not."""
        ...

    @property
    def retry_after_s(self) -> float | None:
        """When the upstream wants to be asked again."""
        ...

    async def read(self, most_bytes: int = ...) -> bytes:
        """The whole body.  Raises: ProviderError, also if it is larger than that."""
        ...


class Sender(Protocol):
    """The transport, as this stage knows it."""

    async def send(self, request: HttpRequest, *, timeouts: Timeouts, deadline_s: float) -> Answering:
        """Send it and wait for the head of the answer.  Raises: ProviderError."""
        ...


JSON = "application/json"
_SESSION: Final[Wire] = WIRES["realtime"]

Reserve = Callable[[Call, int, Deployment], Awaitable[None]]
Watch = Callable[[Call, int, Callable[[], int], Callable[[ProxyError], None]], None]
"""Told of a stream that has begun: the call, the try's number, what counts the output tokens so far, and what cuts it off."""


class Try:
    """Tries a deployment once.  However that ends, exactly one Attempt is on the call's trail when it has ended, and then
    the observers are told of it, and the gates let it go; without an Attempt if nothing could be reserved, since then
    nothing was tried.
    """

    def __init__(
        self,
        transport: Sender,
        *,
        reserve: Reserve,
        watch: Watch,
        observers: Sequence[Observer] = (),
        gates: Sequence[Gate] = (),
        clock_s: Callable[[], float],
        clock_us: Callable[[], int],
        translation: Translation | None = None,
        held: Held | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        self._transport = transport
        self._sessions = sessions
        self._translation = translation or Translation()
        self._held = held
        self._reserve = reserve
        self._watch = watch
        self._gates = gates
        self._clock_s = clock_s
        self._ports = _Ports(observers=observers, gates=gates, clock_s=clock_s, clock_us=clock_us)

    def enter(self, call: Call, number: int, deployment: Deployment) -> bool:
        """Whether it may be tried now.  Whoever has entered tries, at once."""
        for index, gate in enumerate(self._gates):
            if not gate.enter(call, number, deployment):
                for entered in self._gates[:index]:
                    entered.leave(call, number, deployment)
                return False
        return True

    async def __call__(
        self,
        call: Call,
        number: int,
        deployment: Deployment,
        deadline_s: float,
        *,
        kind: Kind = "",
        waited_s: float = 0.0,
    ) -> Reply:
        """The deployment's answer, or a stream whose first event is here.

        It must have entered.  waited_s: how long the request had been kept waiting for this try.
        Raises: ProviderError, LedgerUnavailable.
        """
        log = _Log(call, number, deployment, kind=kind, waited_s=waited_s, ports=self._ports)
        upload = call.upload
        if upload is not None:
            upload.hold()
        try:
            if call.endpoint == "realtime":
                return await self._opened(call, number, deployment, deadline_s, log)
            return await self._reserved(call, number, deployment, deadline_s, log)
        finally:
            log.close()
            if upload is not None:
                upload.let_go()

    async def _reserved(self, call: Call, number: int, deployment: Deployment, deadline_s: float, log: _Log) -> Reply:
        vendor = deployment.upstream.vendor
        spoken = way(vendor, call.endpoint)
        assert spoken is not None  # noqa: S101  # only who serves it is tried
        wire = WIRES[spoken]
        passes = spoken == call.endpoint
        asks_usage = passes and _asks_usage(call, vendor)
        posting = Posting(
            upstream=deployment.upstream,
            endpoint=spoken,
            model=deployment.model,
            stream=call.head.stream,
            request_id=call.id,
            headers=_let_through(call, wire) if passes and wire.lets_through else (),
            asked_model=call.head.model if call.head.names_model else "",
            ask_usage=asks_usage,
            stream_options=call.head.include_usage is not None,
            cut=call.head.ours,
        )
        if call.upload is not None:
            http = _uploaded(wire.posted(b"", posting), call.upload, deployment.model)
        elif passes and call.thinking is None:
            http = wire.passed(call.body, posting)
        else:
            http = wire.posted(self._translation.body(call, deployment, spoken), posting)
        try:
            await self._reserve(call, number, deployment)
        except asyncio.CancelledError as error:
            log.left(error, may_cost=False)
            raise
        log.reserved(free=wire.free)
        http = await _signed(http, deployment.upstream, log, deadline_s)
        timeouts = deployment.upstream.timeouts
        answer: Answering | None = None
        reply: Reply | None = None
        try:
            answer = await self._transport.send(
                http, timeouts=timeouts, deadline_s=min(deadline_s, self._clock_s() + timeouts.total_s)
            )
            log.head(answer)
            semantics = semantics_of(vendor.name, spoken)
            if call.head.stream and answer.status == 200 and not (wire.opaque is not None and answer.content_type == JSON):
                if wire.opaque is not None and passes and answer.content_type != wire.stream_type:
                    reader = wire.opaque()
                elif wire.tap is not None and passes:
                    reader = wire.tap(asks_usage and vendor.strips_usage, semantics)
                else:
                    reader = self._translated(log, wire, semantics, deployment)
                reply = await self._stream(answer, reader, log, wire, deployment, number)
            else:
                reply = await self._whole(answer, log, wire, deployment, number, semantics)
        except ProviderError as error:
            log.failed(error)
            raise
        except ProxyError as error:
            # What was to come of an upload is not what it should be, or does not come; so the upstream has no whole request.
            log.stopped(error)
            raise
        except asyncio.CancelledError as error:
            log.left(error, may_cost=isinstance(http.body, bytes) or http.body.is_sent)
            raise
        finally:
            if answer is not None and not isinstance(reply, Streaming):
                answer.close()
        return reply

    async def _opened(self, call: Call, number: int, deployment: Deployment, deadline_s: float, log: _Log) -> Reply:
        """A session that is open upstream.  What is reserved is its first answer."""
        sessions = self._sessions
        assert sessions is not None  # noqa: S101  # there is a path to here only where there are
        upstream = deployment.upstream
        headers = dict(_let_through(call, _SESSION))
        http = handshake(upstream, model=deployment.model, request_id=call.id, headers=headers, intent=call.head.intent)
        try:
            await self._reserve(call, number, deployment)
        except asyncio.CancelledError as error:
            log.left(error, may_cost=False)
            raise
        log.reserved(free=False)
        http = await _signed(http, upstream, log, deadline_s)
        timeouts = upstream.timeouts
        try:
            answer = await sessions.dialer.connect(http, timeouts=timeouts, deadline_s=deadline_s)
            log.head(answer)
            if answer.socket is None:
                raise refused(answer.status, answer.body, answer.retry_after_s, _SESSION)
        except ProviderError as error:
            error.sent = False  # of a session in which nothing was asked nothing is charged
            log.failed(error)
            raise
        except asyncio.CancelledError as error:
            log.left(error, may_cost=False)
            raise
        log.first_event()
        session = Session(
            call,
            number,
            deployment,
            answer.socket,
            books=sessions.books,
            identify=sessions.identify,
            limits=sessions.limits,
            semantics=semantics_of(upstream.vendor.name, "realtime"),
            over=log.over,
            clock_s=self._clock_s,
            clock_us=self._ports.clock_us,
        )
        reply = Streaming(answer.status, _headers("", deployment, number)[1:], session)
        session.part = reply.part
        return reply

    async def _whole(
        self, answer: Answering, log: _Log, wire: Wire, deployment: Deployment, number: int, semantics: Semantics
    ) -> Reply:
        body = await answer.read(wire.answer_max_bytes)
        answer.close()
        if answer.status != 200:
            raise refused(answer.status, body, answer.retry_after_s, wire)
        if answer.content_type == wire.stream_type:
            raise InvalidResponse("The upstream answered with a stream that was not asked for.")
        content_type = answer.header_content_type
        size = len(body)
        if answer.content_type in wire.plain:
            read = Answer(model="", usage=None, usage_raw=b"")
        elif wire.endpoint == log.call.endpoint:
            read = wire.peek(body, semantics)
            self._keep(log.call, deployment, read.id)
        else:
            told = self._told(log.call, deployment)
            read, body = whole(
                body,
                upstream=wire.endpoint,
                client=log.call.endpoint,
                semantics=semantics,
                told=told,
                counted=answer.counted,
            )
            content_type = "application/json"
        log.whole(read, size)
        return Completed(status=200, headers=_headers(content_type, deployment, number), body=body)

    async def _stream(
        self, answer: Answering, reader: Reader, log: _Log, wire: Wire, deployment: Deployment, number: int
    ) -> Reply:
        is_opaque = isinstance(reader, Opaque)
        is_json = wire.json_streams and answer.content_type == JSON
        if answer.content_type != wire.stream_type and not is_opaque and not is_json:
            # An error, or a whole answer to a question for a stream: either way not what the client can read.
            wire.peek(await answer.read(), semantics_of(deployment.upstream.vendor.name, wire.endpoint))
            raise InvalidResponse("The upstream answered without the stream that was asked for.")
        call = log.call
        # Nothing can be said in the middle of a sound: its end is missing, and that has to do.
        say = _silence if is_opaque else partial(to_client_event, endpoint=call.endpoint)
        relay = Relay(answer, reader, ended=log.streamed, translate=translated, say=say)
        await relay.begin()
        log.first_event()
        self._keep(call, deployment, reader.id)
        self._watch(call, number, lambda: reader.output_tokens, relay.cut)
        passes = wire.endpoint == call.endpoint
        content_type = answer.header_content_type if passes and not is_json else "text/event-stream; charset=utf-8"
        return Streaming(200, _headers(content_type, deployment, number), relay)

    def _keep(self, call: Call, deployment: Deployment, response_id: str) -> None:
        """Remember where a response may be kept; it can be asked for before its stream is over."""
        if response_id and self._held is not None:
            self._held.note(call, deployment, response_id)

    def _translated(self, log: _Log, wire: Wire, semantics: Semantics, deployment: Deployment) -> Translated:
        decoder = codec_of(wire.endpoint).decoder(semantics)
        return Translated(decoder, codec_of(log.call.endpoint).encoder, self._told(log.call, deployment))

    def _told(self, call: Call, deployment: Deployment) -> Told:
        return Told(
            model=deployment.model,
            created_s=self._ports.clock_us() // 1_000_000,
            include_usage=call.endpoint != "chat/completions" or call.head.include_usage is True,
            id=call.id,
            asked=call.asked.fields,
        )


async def _signed(http: HttpRequest, upstream: Upstream, log: _Log, deadline_s: float) -> HttpRequest:
    """The request with what opens the upstream.  Raises: NoCredentials, ConnectFailed."""
    if upstream.signer is None:
        return http
    try:
        try:
            async with asyncio.timeout_at(deadline_s):
                return await upstream.signer.signed(http)
        except TimeoutError as error:
            raise ConnectTimedOut("What opens the upstream was not there in time.") from error
    except ProviderError as error:
        log.failed(error)
        raise
    except asyncio.CancelledError as error:
        log.left(error, may_cost=False)
        raise


def _uploaded(http: HttpRequest, upload: Upload, model: str) -> HttpRequest:
    """The request with a form for its body.  Raises: ClientClosed."""
    return replace(http, headers={**http.headers, "content-type": upload.content_type}, body=upload.body(model=model))


def _asks_usage(call: Call, vendor: Vendor) -> bool:
    """Whether a stream has to be asked for its usage, which its client has not done."""
    head = call.head
    return head.stream and vendor.asks_usage and not head.include_usage and call.endpoint in ("chat/completions", "completions")


def _silence(error: ProxyError) -> bytes:
    del error
    return b""


def _let_through(call: Call, wire: Wire) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode(), value.decode("latin-1")) for name, value in call.headers if name in wire.lets_through)


class _Ports(msgspec.Struct, frozen=True):
    """What every log of a try tells, and its clocks."""

    observers: Sequence[Observer]
    gates: Sequence[Gate]
    clock_s: Callable[[], float]
    clock_us: Callable[[], int]


class _Log:
    """Writes the one Attempt of a try to the call's trail, when it is over."""

    def __init__(self, call: Call, number: int, deployment: Deployment, *, kind: Kind, waited_s: float, ports: _Ports) -> None:
        self.call = call
        self._ports = ports
        self._number = number
        self._deployment = deployment
        self._kind: Kind = kind
        self._waited_us = round(waited_s * 1e6)
        self._started_s = ports.clock_s()
        self._started_us = ports.clock_us()
        self._ttfb_us: int | None = None
        self._status: int | None = None
        self._request_id = ""
        self._reserved = False
        self._free = False
        self._reserve_us = 0
        self._streams = False
        self._over = False

    def reserved(self, *, free: bool) -> None:
        self._reserved = True
        self._free = free
        self._reserve_us = self._elapsed_us()

    def close(self) -> None:
        """Nothing more comes, but for the end of a stream that has begun."""
        if self._over or self._streams:
            return
        if self._reserved:
            # A fault of our own: the books are closed all the same.
            self._write(ProxyError.code, may_cost=True, fault="gateway")
        else:
            self._leave()

    def head(self, answer: Answering | Answered) -> None:
        self._status = answer.status
        self._request_id = answer.request_id
        self._ttfb_us = self._elapsed_us()

    def first_event(self) -> None:
        self._ttfb_us = self._elapsed_us()
        self._streams = True
        self._begun(self._ttfb_us)

    def whole(self, answer: Answer, size: int) -> None:
        self._begun(self._ttfb_us or 0)
        self._write(
            "ok",
            may_cost=True,
            model=answer.model,
            usage=answer.usage,
            raw=answer.usage_raw,
            output=answer_tokens(self.call, answer.usage, size),
            truncated=answer.truncated,
            goes_on=answer.id if answer.goes_on else "",
        )

    def streamed(self, reader: Reader, error: ProxyError | None) -> None:
        self._write(
            "ok" if error is None else error.code,
            may_cost=True,
            model=reader.model if reader.model != "?" else "",
            usage=reader.usage,
            raw=reader.usage_raw,
            output=max(reader.output_tokens, media_tokens(self.call, reader.usage)),
            truncated=reader.truncated,
            goes_on=reader.id if self.call.head.background and reader.usage is None else "",
            error="" if error is None else error.message,
            fault=fault_of(error),
        )

    def over(self, error: ProxyError | None, usage: Usage) -> None:
        """A session has ended, whose answers are on the trail already."""
        attempt = self._attempt(
            "ok" if error is None else error.code, may_cost=True, usage=usage, fault=fault_of(error), error=""
        )
        for observe in self._ports.observers:
            observe(self.call, attempt)
        self._leave()

    def failed(self, error: ProviderError) -> None:
        told = translated(error)
        retry_after_s = error.retry_after_s if isinstance(error, Refused) else None
        self._write(told.code, may_cost=error.sent, error=str(error), fault=fault_of(told), retry_after_s=retry_after_s)

    def stopped(self, error: ProxyError) -> None:
        """By the client, before all of its request was there."""
        self._write(error.code, may_cost=False, error=error.message, fault="client")

    def left(self, error: asyncio.CancelledError, *, may_cost: bool) -> None:
        told = of_cancellation(error)
        self._write(told.code, may_cost=may_cost, fault=fault_of(told))

    def _write(self, outcome: str, **fields: Any) -> None:
        attempt = self._attempt(outcome, **fields)
        self._over = True
        self.call.trail.append(attempt)
        for observe in self._ports.observers:
            observe(self.call, attempt)
        self._leave()

    def _attempt(
        self,
        outcome: str,
        *,
        may_cost: bool,
        model: str = "",
        usage: Usage | None = None,
        raw: bytes = b"",
        output: int = 0,
        truncated: bool = False,
        goes_on: str = "",
        error: str = "",
        fault: Fault = "",
        retry_after_s: float | None = None,
    ) -> Attempt:
        return Attempt(
            number=self._number,
            deployment=self._deployment,
            started_us=self._started_us,
            duration_us=self._elapsed_us(),
            ttfb_us=self._ttfb_us,
            status=self._status,
            outcome=outcome,
            may_cost=may_cost and not self._free,
            fault=fault,
            kind=self._kind,
            waited_us=self._waited_us,
            reserve_us=self._reserve_us,
            retry_after_s=retry_after_s,
            usage=usage,
            usage_raw=raw,
            answered_model=model,
            output_estimate=output,
            truncated=truncated,
            goes_on=goes_on,
            upstream_request_id=self._request_id,
            error=error,
        )

    def _begun(self, ttfb_us: int) -> None:
        if self._free:
            # How soon tokens are counted says nothing of how soon they are made.
            return
        for gate in self._ports.gates:
            gate.begun(self.call, self._number, self._deployment, max(ttfb_us - self._reserve_us, 0))

    def _leave(self) -> None:
        self._over = True
        for gate in self._ports.gates:
            gate.leave(self.call, self._number, self._deployment)

    def _elapsed_us(self) -> int:
        return round((self._ports.clock_s() - self._started_s) * 1e6)


def _headers(content_type: str, deployment: Deployment, number: int) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", content_type.encode("latin-1", "replace")),
        (b"x-tollway-model", deployment.model.encode("utf-8", "replace")),
        (b"x-tollway-provider", deployment.upstream.provider.encode()),
        (b"x-tollway-attempts", str(number).encode()),
    ]
