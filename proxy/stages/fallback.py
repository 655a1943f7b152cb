"""The terminal stage: the only one that sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence

import msgspec
from msgspec.structs import replace

from providers.errors import ProviderError, Refused
from proxy.attempts.attempt import Reserve, Sender, Try, Watch
from proxy.attempts.continuation import Continued, SoFar, can_continue
from proxy.attempts.hedging import Hedging, race
from proxy.attempts.outcome import RETRY_AFTER_S, another_may_help, detour_of, may_be_asked_again, verdict
from proxy.attempts.realtime import Sessions
from proxy.attempts.relay import Relay
from proxy.attempts.retry_budget import BudgetRules, RetryBudget
from proxy.attempts.translation import Translation, going_on
from proxy.call import Call, Chunks, Completed, Deployment, Gate, Kind, Observer, Reply, Streaming
from proxy.deployments.held import Held
from proxy.errors import Hedged, NoHealthyUpstream, ProxyError, UnsupportedEndpoint, UpstreamRateLimited
from proxy.limits import counting
from proxy.limits.room import Room

JITTER = 0.25
BYTES_PER_TOKEN = 4
"""What an input is taken to hold that no provider has counted."""

Windows = Callable[[Deployment], int | None]
"""How many tokens a deployment takes in; ``None``: nobody knows."""


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """attempts_max: tries for one request, the first included.  total_s: one deadline for all of them.

    wait_s: how long a request may be kept waiting, over all its tries, for a rate limit to pass or for another try of its
    only deployment; the first such wait is backoff_s, each further one twice as long.
    waiting_max: how many requests may be waiting so.   budget: of retries over all requests.
    continue_streams: whether another deployment takes up a chat stream that broke off.
    """

    attempts_max: int = 3
    total_s: float = 600.0
    wait_s: float = 5.0
    backoff_s: float = 0.25
    waiting_max: int = 1000
    budget: BudgetRules = BudgetRules()
    continue_streams: bool = False


class Fallback:
    """Try the deployments in order until one answers; a fault of the request itself ends it at once.

    Before the first event has reached the client any deployment may take over; after it none, unless streams are to be
    continued: then another one is asked for the rest.  A request that is refused
    for its length or content goes on with the detours that its model has for that.  Where there is one deployment only it
    is asked again, after a while.
    observers: told of every try when it has ended, in their order, after it is on the trail.
    room: the gate at which a request may queue before its first try.
    translation: what makes bodies for upstreams that speak another protocol.
    gates: asked before every try, in their order.   hedging: when a second try is made beside a slow one, if ever.
    sessions: what sockets are opened with, where there are any.
    Reads: deployments, detours, body, head.   Writes: trail, one Attempt a try.
    Raises: 4xx of the provider, 429, 502, 503, 504.
    Config: retries, hedging, and the timeouts of each provider.
    """

    def __init__(
        self,
        transport: Sender,
        *,
        reserve: Reserve,
        watch: Watch,
        retries: Retries,
        observers: Sequence[Observer] = (),
        gates: Sequence[Gate] = (),
        room: Room | None = None,
        windows: Windows = lambda _: None,
        hedging: Hedging | None = None,
        held: Held | None = None,
        clock_s: Callable[[], float],
        clock_us: Callable[[], int],
        chance: Callable[[], float] = lambda: 0.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        translation: Translation | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        self._try = Try(
            transport,
            reserve=reserve,
            watch=watch,
            observers=observers,
            gates=gates,
            clock_s=clock_s,
            clock_us=clock_us,
            translation=translation,
            held=held,
            sessions=sessions,
        )
        self._gates = gates
        self._room = room
        self._retries = retries
        self._budget = RetryBudget(retries.budget)
        self._windows = windows
        self._hedging = hedging
        self._clock_s = clock_s
        self._chance = chance
        self._sleep = sleep
        self._waiting = 0

    async def __call__(self, call: Call, /) -> Reply:
        able = _able(call, call.deployments)
        if not able:
            if counting.is_count(call):
                return counting.estimated(call)
            if call.deployments:
                names = ", ".join(sorted({it.upstream.provider for it in call.deployments}))
                raise UnsupportedEndpoint(f"/v1/{call.endpoint} is not served by {names}.", param="model")
            raise NoHealthyUpstream("No deployment of this model is available.", retry_after_s=RETRY_AFTER_S)
        self._budget.request(self._clock_s())
        if self._hedging is not None:
            self._hedging.request()
        chain = _Chain(self, call, able).run()
        return await (counting.or_estimated(call, chain) if counting.is_guest(call, able) else chain)


class _Chain:
    """The tries of one request."""

    def __init__(self, stage: Fallback, call: Call, able: list[Deployment]) -> None:
        self._stage = stage
        self._call = call
        self._left = able
        self._alone = len(able) == 1
        self._deadline_s = call.started_s + stage._retries.total_s
        self._failures: list[ProviderError] = []
        self._kind: Kind = ""
        self._number = 0
        self._waited_s = 0.0
        self._again_at_s = 0.0
        self._detoured = False
        self._answering: Deployment | None = None

    async def run(self) -> Reply:
        """The reply.  Raises: ProxyError."""
        stage = self._stage
        while self._left and self._number < stage._retries.attempts_max:
            receipt: int | None = None
            if self._failures and (receipt := stage._budget.take(stage._clock_s())) is None:
                break
            before_s = self._waited_s
            deployment = await self._admitted()
            if deployment is None:
                if receipt is not None:
                    stage._budget.give_back(receipt)
                break
            try:
                reply = await self._tried(deployment, self._waited_s - before_s)
            except ProviderError as error:
                self._failures.append(error)
                self._after(error, deployment)
            else:
                if receipt is not None:
                    stage._budget.give_back(receipt)
                return self._continuing(reply)
        raise self._refusal() from (self._failures[-1] if self._failures else None)

    def _continuing(self, reply: Reply) -> Reply:
        """The reply; a stream that another deployment may take up, where that is switched on."""
        if self._stage._retries.continue_streams and isinstance(reply, Streaming) and can_continue(self._call):
            chunks = reply.chunks
            if isinstance(chunks, Relay):
                reply.chunks = Continued(chunks, self._resumed, self._call.endpoint)
        return reply

    async def _resumed(self, so_far: SoFar) -> Chunks | None:
        """The rest of an answer that broke off, by somebody else; ``None`` if there is nobody."""
        stage, asked = self._stage, self._call
        self._left = [it for it in self._left if it is not self._answering]
        while self._left and self._number < stage._retries.attempts_max:
            receipt = stage._budget.take(stage._clock_s())
            if receipt is None or (deployment := await self._admitted()) is None:
                return None
            marked = deployment.upstream.vendor.marks_prefix
            body = going_on(asked, so_far.text, tokens=so_far.tokens, marked=marked)
            self._call = replace(asked, body=body)
            try:
                reply = await self._attempt(deployment, self._number, "continuation", 0.0)
            except ProviderError as error:
                self._after(error, deployment)
            except ProxyError:
                return None
            else:
                stage._budget.give_back(receipt)
                self._answering = deployment
                return reply.chunks if isinstance(reply, Streaming) else None
            finally:
                self._call = asked
        return None

    async def _tried(self, deployment: Deployment, waited_s: float) -> Reply:
        hedging = self._stage._hedging
        self._answering = deployment
        first = self._attempt(deployment, self._number, self._kind, waited_s)
        last = len(self._left) < 2 or self._number >= self._stage._retries.attempts_max
        if hedging is None or last or self._call.upload is not None or self._call.endpoint == "realtime":
            return await first
        after_s = hedging.after_s(self._call, deployment)
        return await first if after_s is None else await self._hedged(hedging, deployment, first, after_s)

    def _attempt(self, deployment: Deployment, number: int, kind: Kind, waited_s: float) -> Coroutine[None, None, Reply]:
        if any(gate.is_probe(self._call, number, deployment) for gate in self._stage._gates):
            kind = "probe"
        return self._stage._try(self._call, number, deployment, self._deadline_s, kind=kind, waited_s=waited_s)

    async def _hedged(
        self, hedging: Hedging, deployment: Deployment, first: Coroutine[None, None, Reply], after_s: float
    ) -> Reply:
        number = self._number
        other: list[Deployment] = []

        def second() -> Awaitable[Reply] | None:
            for it in self._left:
                if it is deployment or not hedging.may_hedge(self._call, it):
                    continue
                if self._stage._try.enter(self._call, self._number + 1, it):
                    self._number += 1
                    other.append(it)
                    return self._attempt(it, self._number, "hedge", 0.0)
            return None

        outcomes = await race(first, second, after_s=after_s)
        for winner, outcome in zip((number, self._number), outcomes, strict=True):
            if isinstance(outcome, Completed | Streaming):
                self._answering = deployment if winner == number else other[0]
                return self._won(outcome, winner)
        first_failed, second_failed = outcomes
        for outcome in outcomes:
            # An error of ours, such as a journal that cannot be written, goes before what a provider did.
            if isinstance(outcome, ProxyError) and not isinstance(outcome, Hedged):
                raise outcome
        if not isinstance(first_failed, ProviderError):
            assert isinstance(second_failed, ProviderError)  # noqa: S101  # one of them has ended it
            raise second_failed
        if isinstance(second_failed, ProviderError):
            self._failures.append(second_failed)
            self._after(second_failed, other[0])
        raise first_failed

    def _won(self, reply: Completed | Streaming, number: int) -> Reply:
        """The answer of one of two tries.  Its Attempt comes last: it speaks for the request."""
        trail = self._call.trail
        trail.sort(key=lambda attempt: attempt.number == number)
        if self._number != number:
            name, said = b"x-tollway-attempts", str(self._number).encode()
            reply.headers[:] = [(key, said if key == name else value) for key, value in reply.headers]
        return reply

    async def _admitted(self) -> Deployment | None:
        """The first that may be tried, entered; perhaps after a wait.  ``None`` if there is none in time."""
        while True:
            wait_s = self._again_at_s - self._stage._clock_s() if self._again_at_s else 0.0
            if wait_s <= 0:
                deployment = self._entered() or await self._queued()
                if deployment is not None:
                    return deployment
                refused = self._kept_back()
                if not isinstance(refused, UpstreamRateLimited) or refused.retry_after_s is None:
                    return None
                wait_s = refused.retry_after_s
            if not await self._wait(wait_s):
                return None

    def _entered(self) -> Deployment | None:
        """The first of those left that lets the next try in."""
        for deployment in self._left:
            if self._stage._try.enter(self._call, self._number + 1, deployment):
                self._number += 1
                return deployment
        return None

    async def _queued(self) -> Deployment | None:
        """The same after a wait for room at an account, if nothing else is in the way and nothing was tried yet.

        Raises: RateLimited, Overloaded.
        """
        stage, call = self._stage, self._call
        if stage._room is None or self._number:
            return None
        began_s = stage._clock_s()
        free = [it for it in self._left if not any(gate.ready_in_s(call, it) for gate in stage._gates)]
        if not await stage._room.wait(call, free):
            return None
        try:
            self._waited_s += stage._clock_s() - began_s
            return self._entered()
        finally:
            stage._room.let_go(call)

    async def _wait(self, wait_s: float) -> bool:
        """Wait that long and a little longer; ``False`` if there is no time for it."""
        stage = self._stage
        wait_s = max(wait_s * (1 + JITTER * stage._chance()), 0.001)
        spent_s = self._waited_s + wait_s
        in_time = spent_s <= stage._retries.wait_s and stage._clock_s() + wait_s < self._deadline_s
        if not in_time or stage._waiting >= stage._retries.waiting_max:
            return False
        stage._waiting += 1
        try:
            await stage._sleep(wait_s)
        finally:
            stage._waiting -= 1
        self._waited_s = spent_s
        return True

    def _after(self, error: ProviderError, deployment: Deployment) -> None:
        """Decide who is left to be tried after this failure."""
        if self._call.upload is not None and not self._call.upload.may_be_sent:
            self._left = []  # what has passed is gone
            return
        detour = detour_of(error)
        if detour is not None:
            self._left = [] if self._detoured else self._detours(detour, deployment)
            self._detoured = True
            self._alone = False
        elif not another_may_help(error):
            self._left = []
        elif self._alone:
            self._left = [deployment] if may_be_asked_again(error) else []
            self._again_at_s = self._stage._clock_s() + self._backoff_s(error)
        else:
            self._left = [it for it in self._left if it is not deployment]
        self._kind = "retry" if self._alone else "fallback"

    def _backoff_s(self, error: ProviderError) -> float:
        asked_s = error.retry_after_s if isinstance(error, Refused) else None
        if asked_s is not None:
            return asked_s
        return self._stage._retries.backoff_s * 2.0 ** min(len(self._failures) - 1, 16)

    def _detours(self, wanted: str, deployment: Deployment) -> list[Deployment]:
        """Who may take a request that was refused for its length or its content; never one that takes in less."""
        offered = [it for detour, its in self._call.detours if detour == wanted for it in its]
        able = _able(self._call, offered)
        if wanted != "context":
            return able
        windows = self._stage._windows
        least = windows(deployment) or len(self._call.body) // BYTES_PER_TOKEN
        return [it for it in able if (windows(it) or 0) > least]

    def _kept_back(self) -> ProxyError | None:
        """Why none of those that are left may be tried."""
        for gate in self._stage._gates:
            refusal = gate.refusal(self._call, self._left)
            if refusal is not None:
                return refusal
        return None

    def _refusal(self) -> ProxyError:
        if self._failures:
            return verdict(self._failures)
        return self._kept_back() or NoHealthyUpstream("No deployment of this model is available.", retry_after_s=RETRY_AFTER_S)


def _able(call: Call, deployments: Sequence[Deployment]) -> list[Deployment]:
    return [it for it in deployments if it.serves(call.endpoint)]
