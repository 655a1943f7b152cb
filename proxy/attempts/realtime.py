"""A session between a client and an upstream: messages pass untouched both ways, and every answer in it is paid for.

Each answer of the upstream's is a try of its own in the journal: reserved before anything goes up that could begin it, settled
before its end comes down.  So there always is one reservation more than answers that have begun; where there is room for none,
nothing more goes up.  docs/adr/0031 has the reasons.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from msgspec.structs import replace

from ledger.records import Settlement
from providers.openai import realtime
from providers.openai.realtime import Said
from providers.provider import HttpRequest, Timeouts, WebSocket
from providers.usage import Semantics, Usage, read
from proxy.call import Attempt, Call, Deployment
from proxy.errors import (
    BudgetBusy,
    BudgetExceeded,
    ClientClosed,
    Draining,
    InvalidApiKey,
    InvalidRequest,
    ProxyError,
    RequestTooLarge,
    SessionExpired,
    UpstreamError,
    of_cancellation,
    to_realtime_event,
)

ANSWERS_MAX = 2_000
"""Of one session: its record has a line for each.  In OpenAI's sixty minutes that is one every two seconds."""
ASKED_MAX = 16
"""Answers that a client has asked for and that have not begun; so many are reserved at once."""
AHEAD_TOKENS = 1_000
"""How much more may be said than a reservation rests on before it is made larger."""
BYTES_PER_TOKEN = 2
"""Of what is no sound; as ``reservations.input_bytes_per_token`` has it by default, on the safe side."""
LAST_ANSWER_S = 2.0
"""How long the upstream may take to say what an answer used that was stopped because its client has left."""
ABNORMAL, TOO_BIG = 1006, 1009
FINE = frozenset((1000, 1001, 1005))
"""Codes with which either side ends a session as it should.  Source: RFC 6455, section 7.4.1, as all codes here."""
GOING_AWAY, POLICY, BROKEN, RESTART = 1001, 1008, 1011, 1012
_CODES: tuple[tuple[type[ProxyError], int], ...] = (
    (Draining, RESTART),
    (SessionExpired, GOING_AWAY),
    (BudgetExceeded, POLICY),
    (BudgetBusy, POLICY),
    (InvalidApiKey, POLICY),
)
"""What a session is closed with that we end; else with ``BROKEN``."""
OPENED = 101
UNUSED = "unused"
"""The outcome of a reservation for an answer that never began."""


BUSY_LOOK_S = 0.1
"""Between two looks at whether others have left room in a budget."""
TRANSCRIPTION = "transcription"
"""The intent of a session in which nothing is answered: what is heard is written down."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a session may be silent, how long it may last, and how long it waits for room that others leave in a budget."""

    idle_s: float = 900.0
    total_s: float = 3_600.0
    busy_s: float = 2.0


class Books(Protocol):
    """The meter, as a session knows it."""

    async def reserve(self, call: Call, number: int, deployment: Deployment) -> None:
        """Write down that an answer may begin, and reserve what it may cost.  Raises: ProxyError."""
        ...

    async def settle(self, call: Call, attempt: Attempt, *, unforeseen: bool = False) -> Settlement:
        """An answer has ended.  Raises: LedgerUnavailable."""
        ...

    def grow(self, call: Call, number: int, deployment: Deployment) -> ProxyError | None:
        """A reservation has to be larger: why it cannot."""
        ...

    def may_use(self, call: Call, deployment: Deployment) -> ProxyError | None:
        """Why something else may not be used in the session."""
        ...

    def opened(self, call: Call) -> None:
        """The session is open."""
        ...

    def watch(self, call: Call, number: int, output_tokens: Callable[[], int], cut: Callable[[ProxyError], None]) -> None:
        """An answer has begun."""
        ...


class Answered(Protocol):
    """An upstream's answer to a handshake."""

    @property
    def status(self) -> int: ...  # as the transport's
    @property
    def request_id(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def retry_after_s(self) -> float | None: ...
    @property
    def socket(self) -> WebSocket | None: ...


class Dials(Protocol):
    """What opens sockets to upstreams."""

    async def connect(self, request: HttpRequest, *, timeouts: Timeouts, deadline_s: float) -> Answered:
        """The upstream's answer to a handshake.  Raises: ProviderError."""
        ...


Identify = Callable[[tuple[str, ...]], object]
"""Who sends these Authorization headers.  Raises: InvalidApiKey."""


class Sessions(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions are opened with.  identify: asked before each answer, since a key may be revoked in a session."""

    dialer: Dials
    books: Books
    identify: Identify
    limits: Limits = Limits()


class Over(Protocol):
    """Told that a session has ended: why, if not as it should; and what was used in it."""

    def __call__(self, error: ProxyError | None, usage: Usage, /) -> None:
        """Once."""
        ...


class _Answer:
    """An answer: reserved, then perhaps asked for, then perhaps begun.  said_tokens: what its reservation rests on."""

    __slots__ = ("begun_s", "first_s", "number", "output", "pending", "said_tokens", "started_us")

    def __init__(self, number: int, said_tokens: int) -> None:
        self.number = number
        self.said_tokens = said_tokens
        self.started_us = 0
        self.begun_s = 0.0
        self.first_s: float | None = None
        self.output = 0
        self.pending = 0


Message = tuple[bytes, bool]
Used = tuple[_Answer | None, Said]
"""What has to be settled before a message may come down: an answer that has ended, or something that nobody had reserved."""


class Session:
    """One session.  The upstream's socket is open, and ``number`` reserves its first answer.

    code, reason: what its client is closed with, once it is over.  outcome: ``ok`` or the error's code.
    over: told when it is.
    """

    closing = b""

    def __init__(
        self,
        call: Call,
        number: int,
        deployment: Deployment,
        upstream: WebSocket,
        *,
        books: Books,
        identify: Identify,
        limits: Limits,
        semantics: Semantics,
        over: Over,
        clock_s: Callable[[], float],
        clock_us: Callable[[], int],
    ) -> None:
        self._call = call
        self._deployment = deployment
        self._upstream = upstream
        self._books = books
        self._identify = identify
        self._limits = limits
        self._semantics = semantics
        self._tell_over = over
        self._clock_s = clock_s
        self._clock_us = clock_us
        self._client: WebSocket | None = None
        self._number = self._first = number
        self._free: deque[_Answer] = deque([_Answer(number, 0)])
        self._asked: deque[tuple[str | None, _Answer]] = deque()
        self._active: dict[str, _Answer] = {}
        self._up: deque[Message] = deque()
        self._down: deque[Message] = deque()
        self._held: tuple[bytes, bool, Used] | None = None
        self._settling = False
        self._is_full: set[int] = set()
        self._context = self._pending = self._covered = 0
        self._transcriber = ""
        self._bytes_per_token = 3_200
        self._dry: ProxyError | None = None
        self._busy_until_s: float | None = None
        self._again_s = 0.0
        self._only_writes = call.head.intent == TRANSCRIPTION
        self._woken = asyncio.Event()
        self._heard_s = clock_s()
        self._leave_by_s: float | None = None
        self._over = self._stopping = self._finished = False
        self._used_in = self._used_out = 0
        self._error: ProxyError | None = None
        self.code, self.reason = 1000, ""
        self.part: Callable[[int], Awaitable[None]] | None = None

    @property
    def outcome(self) -> str:
        """``ok`` or the error's code."""
        return "ok" if self._error is None else self._error.code

    async def run(self, client: WebSocket) -> None:
        """Relay until it is over.  Whatever ends it, every reservation has its end on the trail then."""
        self._client = client
        self._heard_s = began_s = self._clock_s()
        self._books.opened(self._call)
        self._covered = AHEAD_TOKENS
        self._upstream.listen(self)
        client.listen(self)
        try:
            while not self._over:
                await self._work()
                self._flow()
                if not self._over:
                    await self._wait(began_s + self._limits.total_s)
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            self.fail(of_cancellation(cancelled))
        finally:
            try:
                await self._settle_down()
            except ProxyError as error:
                self.fail(error)
            finally:
                self._finish()

    def stop(self) -> None:
        """The gateway is going to stop: go on to the end of the answers that have begun."""
        self._stopping = True
        self._woken.set()

    # --- as a stream's chunks: whoever ends it early ends it as them ----------------------------------------------------

    async def read(self, write: Callable[[bytes], bool] | None = None) -> bytes:  # noqa: ARG002  # the shape of Chunks
        """Nothing: a session is run."""
        return b""

    def fail(self, error: ProxyError) -> None:
        """End it here, for a reason of our own or the client's."""
        self._end(error, next((code for kind, code in _CODES if isinstance(error, kind)), BROKEN), error.code)

    def close(self) -> None:
        """Let go of the upstream; where it was never run, too."""
        self._finish()

    # --- as the listener of both sockets --------------------------------------------------------------------------------

    def message(self, socket: WebSocket, data: bytes, text: bool, /) -> None:
        """A whole message."""
        if self._over:
            return
        self._heard_s = self._clock_s()
        if socket is self._client:
            self._up.append((data, text))
            self._send_up()
        elif self._held is not None or self._settling or self._down:
            self._down.append((data, text))
        else:
            self._take_down(data, text)
        self._flow()

    def full(self, socket: WebSocket, /) -> None:
        """It reads more slowly than it is written to: the other one has to wait."""
        self._is_full.add(id(socket))
        self._flow()

    def drained(self, socket: WebSocket, /) -> None:
        """It has caught up."""
        self._is_full.discard(id(socket))
        self._send_up()
        self._flow()

    def closed(self, socket: WebSocket, code: int, reason: str, /) -> None:
        """One of the two has left."""
        if self._over:
            return
        if socket is self._client:
            self._client_left(code)
        elif code in FINE:
            self._end(None, code, reason)
        elif code == ABNORMAL:
            self._end(UpstreamError("The upstream broke the session off."), BROKEN, "upstream_error")
        else:
            self._end(UpstreamError(f"The upstream closed the session with {code}."), code, reason)

    # --- up -------------------------------------------------------------------------------------------------------------

    def _send_up(self) -> None:
        """Send on what has come from the client, as far as there is a reservation for what it may begin."""
        while self._up and self._may_pass():
            data, text = self._up[0]
            said = realtime.heard(data)
            if said.type not in realtime.SAFE and not (self._may_begin() and self._cover(said.type, len(data))):
                return
            self._up.popleft()
            if said.type == realtime.CREATE:
                self._asked.append((said.event_id, self._free.popleft()))
                self._woken.set()
            self._upstream.say(data, text=text)

    def _may_pass(self) -> bool:
        """Whether anything at all may go up."""
        return id(self._upstream) not in self._is_full and self._leave_by_s is None and not self._over

    def _may_begin(self) -> bool:
        """Whether what goes up may begin an answer."""
        return bool(self._free) and len(self._asked) < ASKED_MAX and self._dry is None and not self._stopping

    def _cover(self, kind: str, size: int) -> bool:
        """Whether what is reserved is enough for what a message adds to what the next answer rests on."""
        if kind == realtime.APPEND:
            # What is written down as well is heard twice; by a model that costs less.
            tokens = -(-size // realtime.HEARD_BYTES_PER_TOKEN) * (2 if self._transcriber else 1)
        else:
            tokens = -(-size // BYTES_PER_TOKEN)
        said = self._context + self._pending + tokens
        if said > self._covered:
            error = self._books.grow(self._sized(said), self._free[0].number, self._deployment)
            if error is not None:
                self._ran_dry(error)
                self._woken.set()
                return False
            self._busy_until_s = None
            self._covered = said + AHEAD_TOKENS
            self._free[0].said_tokens = said
        self._pending += tokens
        return True

    # --- down -----------------------------------------------------------------------------------------------------------

    def _take_down(self, data: bytes, text: bool) -> None:
        """Pass a message on, or hold it and all that come behind it until what it says is settled."""
        used = self._look(data)
        if used is None:
            self._pass_down(data, text)
        else:
            self._held = (data, text, used)
            self._woken.set()

    def _pass_down(self, data: bytes, text: bool) -> None:
        if self._client is not None and self._leave_by_s is None:
            self._client.say(data, text=text)

    def _look(self, data: bytes) -> Used | None:
        """Learn from an event; what has to be settled before it may be passed on."""
        said = realtime.heard(data)
        kind = said.type
        if kind == "response.created":
            self._begun(said.response_id)
        elif kind == "response.done":
            answer = self._active.pop(said.response_id, None)
            if answer is None:
                self._begun(said.response_id)  # it had begun without a word
                answer = self._active.pop(said.response_id, None)
            return (answer, said)
        elif kind == realtime.TRANSCRIBED:
            return (None, said)
        elif said.transcriber is not None:
            self._changed(said)
        elif kind == "error":
            self._refused(said)
        elif self._active and kind.endswith(".delta"):
            self._heard(next(reversed(self._active.values())), kind, len(data))
        return None

    def _begun(self, response_id: str) -> None:
        """An answer has begun: one that was asked for, or one that the upstream begins by itself."""
        if self._asked:
            _, answer = self._asked.popleft()
        elif self._free:
            answer = self._free.popleft()
        else:
            # It began two by itself before it could know that it may not: the second goes with the next reservation.
            answer = _Answer(0, self._context)
        answer.begun_s, answer.started_us, answer.pending = self._clock_s(), self._clock_us(), self._pending
        answer.said_tokens = max(answer.said_tokens, self._context + self._pending)
        self._active[response_id] = answer
        if self._leave_by_s is not None:
            self._upstream.say(realtime.CANCEL, text=True)
        if answer.number:
            self._watch(answer)
        self._woken.set()

    def _watch(self, answer: _Answer) -> None:
        self._books.watch(self._sized(answer.said_tokens), answer.number, lambda: answer.output, self.fail)

    def _heard(self, answer: _Answer, kind: str, size: int) -> None:
        if answer.first_s is None:
            answer.first_s = self._clock_s()
        is_sound = kind.endswith("audio.delta")
        answer.output += max(size // self._bytes_per_token, 1) if is_sound else 1

    def _changed(self, said: Said) -> None:
        """The session's settings are known, or others."""
        self._bytes_per_token = said.spoken_bytes_per_token
        self._transcriber = said.transcriber or ""
        if self._transcriber:
            error = self._books.may_use(self._call, self._transcribing())
            if error is not None:
                self.fail(error)

    def _refused(self, said: Said) -> None:
        """An error answers one of the client's events; perhaps an answer that was asked for will not begin."""
        for at, (event_id, answer) in enumerate(self._asked):
            if event_id == said.refused:
                del self._asked[at]
                self._free.append(answer)
                self._send_up()
                return

    # --- the task -------------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Settle what has ended, and reserve what may begin next.  Only the former holds up what comes down."""
        try:
            await self._settle_down()
            for answer in [it for it in self._active.values() if not it.number]:
                # It has begun already, so it is written down whatever becomes of the session.
                if (number := await self._reserved()) is not None:
                    answer.number = number
                    self._watch(answer)
            if self._may_ease() and self._clock_s() >= self._again_s:
                self._dry = None
            if self._is_idle() and (self._stopping or self._leave_by_s is not None):
                self._leave()
            elif not self._free and not self._over and self._dry is None:
                number = await self._reserved()
                if number is not None:
                    self._covered = self._context + self._pending + AHEAD_TOKENS
                    self._free.append(_Answer(number, self._context + self._pending))
            if self._dry is not None and self._is_idle() and not self._may_ease():
                self.fail(self._dry)
        except ProxyError as error:
            self.fail(error)
        self._send_up()

    def _ran_dry(self, error: ProxyError) -> None:
        """Nothing more may go up; for a while only, where others may leave room."""
        now_s = self._clock_s()
        self._dry = error
        self._again_s = now_s + BUSY_LOOK_S
        if self._busy_until_s is None:
            self._busy_until_s = now_s + self._limits.busy_s

    def _may_ease(self) -> bool:
        """Whether there may soon be room again that others have now."""
        until_s = self._busy_until_s
        return isinstance(self._dry, BudgetBusy) and until_s is not None and self._clock_s() < until_s and not self._stopping

    def _is_idle(self) -> bool:
        """Whether no answer is under way, nor to be settled."""
        return not self._active and not self._asked and self._held is None

    async def _settle_down(self) -> None:
        """Pass on what was held, each message when what it says is durable.  Raises: LedgerUnavailable."""
        self._settling = True
        try:
            while self._held is not None or self._down:
                if self._held is None:
                    self._take_down(*self._down.popleft())
                    continue
                data, text, used = self._held
                self._held = None
                await self._settle(*used)
                self._pass_down(data, text)
        finally:
            self._settling = False

    def _leave(self) -> None:
        if self._leave_by_s is not None:
            self._over = True
        else:
            self._end(Draining("The gateway is shutting down.", retry_after_s=1), RESTART, "draining")

    async def _reserved(self) -> int | None:
        """The number of another reservation; ``None``: no budget has room for it, or the journal cannot be written."""
        number = self._number + 1
        if number - self._first >= ANSWERS_MAX:
            self._dry = SessionExpired(f"A session has at most {ANSWERS_MAX:,} answers.")
            return None
        self._number = number
        try:
            self._identify(self._call.authorization)
            await self._books.reserve(self._sized(self._context + self._pending), number, self._deployment)
        except ProxyError as error:
            self._ran_dry(error)
            return None
        self._busy_until_s = None
        return number

    async def _settle(self, answer: _Answer | None, said: Said) -> None:
        """Raises: LedgerUnavailable."""
        usage = read(said.usage_raw, self._semantics) if said.usage_raw else None
        if answer is None:
            await self._settle_transcription(usage, said)
            return
        if usage is not None:
            self._context = max(self._context, usage.input_tokens + usage.output_tokens)
            self._pending = max(self._pending - answer.pending, 0)
            self._count(usage)
        attempt = self._attempt(answer, "ok", usage=usage, raw=said.usage_raw, truncated=said.status == "incomplete")
        if usage is None and not answer.output and said.status == "failed":
            self._call.trail.append(replace(attempt, may_cost=False, outcome=UpstreamError.code))
            return
        if not answer.number:
            self._number += 1
            attempt = replace(attempt, number=self._number)
            answer.number = self._number
            settlement = await self._books.settle(self._call, attempt, unforeseen=True)
        else:
            settlement = await self._books.settle(self._call, attempt)
        self._dry, self._busy_until_s = None, None  # it cost less than it had reserved: there may be room again
        if self.part is not None:
            await self.part(settlement.tokens.input_tokens + settlement.tokens.output_tokens)

    async def _settle_transcription(self, usage: Usage | None, said: Said) -> None:
        """What was heard has been written down, by another model."""
        self._number += 1
        now_us = self._clock_us()
        attempt = Attempt(
            number=self._number,
            deployment=self._transcribing(),
            started_us=now_us,
            duration_us=0,
            ttfb_us=None,
            status=OPENED,
            outcome="ok",
            may_cost=True,
            usage=usage,
            usage_raw=said.usage_raw,
            input_estimate=1,
        )
        await self._books.settle(self._call, attempt, unforeseen=True)
        if self._only_writes:
            # What was written down is heard no more, and there is no answer that would say so.
            self._pending = 0
            if self._free:
                self._free[0].said_tokens = 0
        if usage is not None:
            self._count(usage)
            if self.part is not None:
                await self.part(usage.input_tokens + usage.output_tokens)

    def _count(self, usage: Usage) -> None:
        self._used_in += usage.input_tokens
        self._used_out += usage.output_tokens

    def _transcribing(self) -> Deployment:
        return replace(self._deployment, model=self._transcriber or "transcription")

    async def _wait(self, end_s: float) -> None:
        """Until there is something to do, or one of the deadlines has passed."""
        idle_s = self._heard_s + self._limits.idle_s
        until_s = min(end_s, idle_s) if self._leave_by_s is None else self._leave_by_s
        if self._may_ease():
            until_s = min(until_s, self._again_s)
        try:
            async with asyncio.timeout(max(until_s - self._clock_s(), 0)):
                await self._woken.wait()
        except TimeoutError:
            now_s = self._clock_s()
            if self._leave_by_s is not None:
                self._over = True
            elif now_s >= end_s:
                self._end(SessionExpired(f"A session lasts {self._limits.total_s:g} s at most."), GOING_AWAY, "session_expired")
            elif now_s >= self._heard_s + self._limits.idle_s:
                told = SessionExpired(f"Nothing was said for {self._limits.idle_s:g} s.")
                self._end(told, GOING_AWAY, "session_expired")
        self._woken.clear()

    # --- the end --------------------------------------------------------------------------------------------------------

    def _client_left(self, code: int) -> None:
        """What it has asked for is stopped, and the upstream says what that used so far."""
        if code == TOO_BIG:
            self._error = RequestTooLarge("A message was larger than 'realtime.max_message_bytes'.")
        elif code == 1007:
            self._error = InvalidRequest("A text message was not UTF-8.")
        elif code not in FINE:
            self._error = ClientClosed("The client left.")
        self._up.clear()
        if self._held is None and not self._settling and not self._active and not self._asked:
            self._over = True
        else:
            self._leave_by_s = self._clock_s() + LAST_ANSWER_S
            self._is_full.discard(id(self._client))
            if self._active or self._asked:
                self._upstream.say(realtime.CANCEL, text=True)
            self._flow()
        self._woken.set()

    def _end(self, error: ProxyError | None, code: int, reason: str) -> None:
        if self._over:
            return
        self._over = True
        self._error = self._error or error
        # Codes that stand for no close at all cannot be sent.
        self.code = code if code not in (1005, ABNORMAL, 1015) else 1000 if code == 1005 else BROKEN
        self.reason = reason
        self._woken.set()

    def _finish(self) -> None:
        """Put an end to every reservation on the trail, and let go of the upstream.  Twice is once."""
        if self._finished:
            return
        self._finished = self._over = True
        error = self._error
        if error is not None and self._client is not None and self._leave_by_s is None and not isinstance(error, ClientClosed):
            self._client.say(to_realtime_event(error, f"event_{self._call.id}"), text=True)
        trail, outcome = self._call.trail, self.outcome
        trail += [self._attempt(it, outcome) for it in self._active.values() if it.number]
        trail += [replace(self._attempt(it, outcome), status=None) for _, it in self._asked]
        trail += [replace(self._attempt(it, UNUSED), may_cost=False) for it in self._free]
        # The last one speaks for the request: an answer of its model, if there was any.
        trail.sort(key=lambda it: (it.deployment.model == self._deployment.model, it.outcome != UNUSED))
        self._upstream.close(1000 if error is None else GOING_AWAY, "")
        self._tell_over(error, Usage(input_uncached=self._used_in, output_text=self._used_out))

    def _attempt(
        self, answer: _Answer, outcome: str, *, usage: Usage | None = None, raw: bytes = b"", truncated: bool = False
    ) -> Attempt:
        begun_s = answer.begun_s or self._clock_s()
        return Attempt(
            number=answer.number,
            deployment=self._deployment,
            started_us=answer.started_us or self._clock_us(),
            duration_us=round((self._clock_s() - begun_s) * 1e6),
            ttfb_us=None if answer.first_s is None else round((answer.first_s - begun_s) * 1e6),
            status=OPENED,
            outcome=outcome,
            may_cost=True,
            usage=usage,
            usage_raw=raw,
            output_estimate=answer.output,
            input_estimate=max(answer.said_tokens, 1),
            truncated=truncated,
        )

    def _sized(self, said_tokens: int) -> Call:
        """The call, as what its next answer rests on is now."""
        head = self._call.head
        return replace(self._call, head=replace(head, weight=replace(head.weight, said_tokens=said_tokens)))

    def _flow(self) -> None:
        """Read from each side as much as the other takes."""
        client, upstream = self._client, self._upstream
        if client is None or self._over:
            return
        if self._may_pass() and not self._up:
            client.resume()
        elif self._leave_by_s is None:
            client.pause()
        if self._held is None and not self._settling and not self._down and id(client) not in self._is_full:
            upstream.resume()
        else:
            upstream.pause()
