"""The limits of the accounts at the providers: an account without room is passed over for another."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence

import msgspec

from proxy.call import Attempt, Call, Deployment, Rates
from proxy.errors import Overloaded, ProxyError, RateLimited
from proxy.limits.adaptive import SHORT_TOKENS, Adaptive, Baselines, Bounds
from proxy.limits.estimate import expected_tokens, input_of, used_by
from proxy.limits.queue import LOW, NORMAL, PRIORITY_HEADER, Blocked, FairQueue, rank_of
from proxy.limits.rates import NONE, bucket
from proxy.stores.bucket import Bucket

LOW_RATIO = 0.75
"""Of a limit that was lowered, what requests of low priority may fill."""

OWN_RATIO = 0.5
"""Of a try that timed out, how long this process may have been late itself before that is taken for the reason."""

RETRY_AFTER_S = 1.0
"""What a client is told who waits for others to finish."""

AccountId = tuple[str, str]
"""Provider and account, as the configuration calls them."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """rates: of the accounts that have some.   burst_s: seconds' worth that an account is sent at once.
    adaptive: ``None`` where accounts are asked as much as they are asked.   output_tokens: what one answer is taken to have
    at most.
    """

    rates: Mapping[AccountId, Rates] = msgspec.field(default_factory=dict)
    burst_s: float = 10.0
    adaptive: Bounds | None = Bounds()
    output_tokens: int = 1_000


class _Account:
    """One account, as it is now."""

    __slots__ = ("adaptive", "baselines", "concurrent", "in_flight", "name", "requests", "tokens")

    def __init__(self, name: AccountId, rates: Rates, policy: Policy, now_us: int) -> None:
        self.name = name
        self.in_flight = 0
        self.concurrent = rates.concurrent
        self.requests = _bucket("requests", rates.requests_per_minute, policy.burst_s, now_us)
        self.tokens = _bucket("tokens", rates.tokens_per_minute, policy.burst_s, now_us)
        self.adaptive = Adaptive(policy.adaptive) if policy.adaptive is not None else None
        self.baselines = Baselines()

    def is_busy(self, rank: int) -> bool:
        """Whether the adaptive limit is reached for requests of this rank."""
        adaptive = self.adaptive
        if adaptive is None or self.in_flight < adaptive.limit * LOW_RATIO:
            return False
        return self.in_flight >= adaptive.limit or (rank >= LOW and adaptive.is_lowered)

    def wait_s(self, tokens: int, rank: int, now_us: int) -> float:
        """Seconds until it has room: 0.0 if it has, infinite where others have to finish first."""
        if self.is_busy(rank) or (self.concurrent is not None and self.in_flight >= self.concurrent):
            return math.inf
        wait_s = 0.0
        for held, amount in ((self.requests, 1), (self.tokens, tokens)):
            if held is not None:
                held.age(now_us)
                wait_s = max(wait_s, held.short_s(max(min(amount, held.capacity), 1)))
        return wait_s


class Permit:
    """One request that an account has room for.  It must end, once; ending it again does nothing.

    in_flight: how many were under way when it was let in, itself included.   late_s: of this process until then.
    """

    __slots__ = ("_account", "_limits", "in_flight", "is_told", "late_s", "tokens")

    def __init__(self, account: _Account, tokens: int, limits: AccountLimits, late_s: float) -> None:
        self._account: _Account | None = account
        self._limits = limits
        self.tokens = tokens
        self.in_flight = account.in_flight
        self.late_s = late_s
        self.is_told = False

    def streams(self, model: str, ttfb_s: float) -> None:
        """Its answer is a stream, which has begun so long after it was sent."""
        account = self._account
        if account is not None and not self.is_told:
            self.is_told = True
            self._limits.answered(account, self, (model, True), ttfb_s)

    def end(self, attempt: Attempt | None) -> None:
        """The try has ended; ``None``: it was never begun."""
        account, self._account = self._account, None
        if account is not None:
            self._limits.ended(account, self, attempt)


class AccountLimits:
    """Room at the accounts: requests and tokens a minute, requests under way, and the adaptive limit.

    In this process only: replicas divide an account's limits among themselves by configuration.
    clock_us: monotonic.   queue: where requests wait when no account has room; ``None``: they are refused at once.
    late_s: how long this process has been late in all; what it is late during a try does not count as the account's.
    """

    def __init__(
        self,
        policy: Policy,
        clock_us: Callable[[], int],
        *,
        queue: FairQueue | None = None,
        late_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._policy = policy
        self._clock_us = clock_us
        self._queue = queue
        self._late_s = late_s
        self._accounts: dict[AccountId, _Account] = {}
        self._counts_tokens = any(it.tokens_per_minute is not None for it in policy.rates.values())

    def try_acquire(self, deployment: Deployment, tokens: int, rank: int = NORMAL) -> Permit | None:
        """Room for one request of so many tokens at the deployment's account, or ``None``.  About 1 µs."""
        account = self._account(deployment)
        now_us = self._clock_us() if account.requests is not None or account.tokens is not None else 0
        if account.wait_s(tokens, rank, now_us) > 0:
            return None
        if account.requests is not None:
            account.requests.take(1)
        if account.tokens is not None:
            tokens = max(min(tokens, account.tokens.capacity), 1)
            account.tokens.take(tokens)
        account.in_flight += 1
        return Permit(account, tokens, self, self._late_s() if account.adaptive is not None else 0.0)

    def first(self, call: Call, deployments: Sequence[Deployment]) -> tuple[int, Permit] | None:
        """The index of the first deployment whose account has room for the call, and the room."""
        tokens = self.tokens_of(call) if self._counts_tokens else 0
        rank: int | None = None
        for index, deployment in enumerate(deployments):
            permit = self.try_acquire(deployment, tokens, LOW)
            if permit is None:
                # Only now it matters how important it is.
                rank = self.rank_of(call) if rank is None else rank
                if rank < LOW:
                    permit = self.try_acquire(deployment, tokens, rank)
            if permit is not None:
                return index, permit
        return None

    async def wait(self, call: Call, deployments: Sequence[Deployment]) -> tuple[int, Permit]:
        """The same when there was none: after a wait in the queue, if there is one.  Raises: RateLimited, Overloaded."""
        tokens = self.tokens_of(call)
        rank = self.rank_of(call)
        name = frozenset((it.upstream.provider, it.upstream.account) for it in deployments)
        blocked: Blocked | None = Blocked(name, self.room_s(deployments, tokens, rank))
        won: list[tuple[int, Permit]] = []

        async def attempt() -> Blocked | None:
            found = self.first(call, deployments)
            if found is None:
                return Blocked(name, self.room_s(deployments, tokens, rank))
            won.append(found)
            return None

        if self._queue is not None and blocked is not None:
            key = call.principal.key_id if call.principal is not None else ""
            blocked = await self._queue.wait(attempt, blocked, key=key, rank=rank)
        if blocked is not None:
            raise self._refusal(deployments, blocked.wait_s, rank)
        return won[0]

    @property
    def queues(self) -> bool:
        """Whether there is a queue to wait in."""
        return self._queue is not None

    def refusal(self, call: Call, deployments: Sequence[Deployment]) -> ProxyError | None:
        """What to tell a client if no account has room; ``None`` if one has."""
        tokens = self.tokens_of(call) if self._counts_tokens else 0
        rank = self.rank_of(call)
        wait_s = self.room_s(deployments, tokens, rank)
        return self._refusal(deployments, wait_s, rank) if wait_s > 0 else None

    def room_s(self, deployments: Sequence[Deployment], tokens: int, rank: int = NORMAL) -> float:
        """Seconds until one of the accounts has room; infinite where others have to finish first."""
        now_us = self._clock_us()
        return min((self._account(it).wait_s(tokens, rank, now_us) for it in deployments), default=math.inf)

    def tokens_of(self, call: Call) -> int:
        """What a call is taken to need."""
        return expected_tokens(call, input_of(call), self._policy.output_tokens)

    def rank_of(self, call: Call) -> int:
        """Its priority."""
        return rank_of(call.principal.priority if call.principal is not None else "", call.header(PRIORITY_HEADER))

    def state(self) -> dict[AccountId, tuple[int, int | None]]:
        """For each account that was used, what is under way and the adaptive limit."""
        return {
            it.name: (it.in_flight, it.adaptive.limit if it.adaptive is not None else None) for it in self._accounts.values()
        }

    def _account(self, deployment: Deployment) -> _Account:
        upstream = deployment.upstream
        name = (upstream.provider, upstream.account)
        account = self._accounts.get(name)
        if account is None:
            rates = self._policy.rates.get(name, NONE)
            account = self._accounts[name] = _Account(name, rates, self._policy, self._clock_us())
        return account

    def answered(self, account: _Account, permit: Permit, kind: tuple[str, bool], latency_s: float) -> None:
        """An account has answered, for a permit.  kind: as ``Baselines`` have it."""
        adaptive = account.adaptive
        if adaptive is None:
            return
        now_s = self._clock_us() / 1e6
        own_s = self._late_s() - permit.late_s
        slowness = account.baselines.slowness(kind, latency_s, now_s, own_s=own_s)
        adaptive.answered(slowness, sent_in=permit.in_flight, in_flight=account.in_flight, now_s=now_s)

    def ended(self, account: _Account, permit: Permit, attempt: Attempt | None) -> None:
        """A permit has ended."""
        if attempt is not None:
            self._learn(account, permit, attempt)
        account.in_flight -= 1
        if account.tokens is not None:
            account.tokens.age(self._clock_us())
            account.tokens.give(permit.tokens - _used(attempt, permit.tokens))
        if account.requests is not None and (attempt is None or (attempt.status is None and not attempt.may_cost)):
            account.requests.age(self._clock_us())
            account.requests.give(1)
        if self._queue is not None and len(self._queue):
            for name in self._queue.names:
                if _has(name, account.name):
                    self._queue.signal(name)

    def _learn(self, account: _Account, permit: Permit, attempt: Attempt) -> None:
        if attempt.fault == "timeout" and self._late_s() - permit.late_s > attempt.duration_us / 1e6 * OWN_RATIO:
            return
        if attempt.fault in ("rate_limit", "timeout") or attempt.status in _BUSY:
            if account.adaptive is not None:
                account.adaptive.refused(in_flight=account.in_flight, now_s=self._clock_us() / 1e6)
        elif attempt.outcome == "ok" and not permit.is_told:
            self.answered(account, permit, *_latency(attempt))

    def _refusal(self, deployments: Sequence[Deployment], wait_s: float, rank: int) -> ProxyError:
        retry_after_s = RETRY_AFTER_S if math.isinf(wait_s) else wait_s
        if any(self._account(it).is_busy(rank) for it in deployments):
            return Overloaded("Every provider of this model answers as much as it can.", retry_after_s=retry_after_s)
        return RateLimited("Every account that the gateway has for this model is at its limit.", retry_after_s=retry_after_s)


_BUSY = frozenset({503, 529})


def _used(attempt: Attempt | None, reserved: int) -> int:
    """What a try used; the reserve stands where it used something and nobody says what."""
    if attempt is None:
        return 0
    unsaid = attempt.usage is None or not attempt.usage.counted
    return reserved if unsaid and used_by(attempt, 1) else used_by(attempt, 0)


def _latency(attempt: Attempt) -> tuple[tuple[str, bool], float]:
    """What kind of request it was, and what of its time tells how busy the account is: of a stream the time to its first
    event, of a whole answer the time for each token."""
    usage = attempt.usage
    first_us, whole_us = attempt.ttfb_us, attempt.duration_us - attempt.reserve_us
    if first_us is not None and first_us - attempt.reserve_us < whole_us * 0.9:
        return (attempt.deployment.model, True), (first_us - attempt.reserve_us) / 1e6
    output = usage.output_tokens if usage is not None and usage.counted else attempt.output_estimate
    return (attempt.deployment.model, False), whole_us / 1e6 * SHORT_TOKENS / (output + SHORT_TOKENS)


def _bucket(name: str, per_minute: int | None, burst_s: float, now_us: int) -> Bucket | None:
    return None if per_minute is None else Bucket(bucket(name, per_minute, burst_s), now_us)


def _has(name: Hashable, account: AccountId) -> bool:
    return isinstance(name, frozenset) and account in name
