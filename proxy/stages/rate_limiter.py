"""How fast may it go?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import structlog

from proxy.call import Call, Principal, Reply, Streaming
from proxy.errors import Headers, ProxyError, RateLimited, RequestOverLimit
from proxy.limits.counted import Counted
from proxy.limits.estimate import expected_tokens, input_of, used_tokens
from proxy.limits.queue import PRIORITY_HEADER, Blocked, FairQueue, rank_of
from proxy.limits.rates import Plan, RateBook
from proxy.stage import Service
from proxy.stores.store import BucketStore, Verdict

RETRY_AFTER_S = 1.0
"""What a client is told who waits for requests under way to end."""

NO_MODEL = ""
"""What requests that ask no model are planned as: no limit of a model counts them."""

TOLD_EVERY_S = 60.0
TOLD_MAX = 1_024

log = structlog.get_logger("tollway.rate_limiter")


class Enforcement(msgspec.Struct, frozen=True, kw_only=True):
    """shadow: count and log what would be refused, and let it through.
    output_tokens: what one answer is taken to have at most until it has ended.
    """

    shadow: bool = False
    output_tokens: int = 1_000


class RateLimiter:
    """Take a request, its tokens as estimated and a place among those under way from every bucket that counts it, all or
    nothing; put back at the end what was not used.

    A request counts unless it failed through no fault of its caller.  Tokens count as the provider reported them.
    Reads: principal, tiers, head, body, trail.   Writes: the x-ratelimit headers.   Raises: 429.
    Config: limits.   Metrics: ``counts``.
    """

    def __init__(
        self,
        buckets: BucketStore,
        book: RateBook,
        *,
        enforcement: Enforcement,
        queue: FairQueue | None = None,
        clock_s: Callable[[], float],
    ) -> None:
        self._buckets = buckets
        self._book = book
        self._enforcement = enforcement
        self._queue = queue
        self._clock_s = clock_s
        self._told: dict[str, float] = {}
        self.counts: Counter[tuple[str, str, str]] = Counter()
        """How often a limit was reached: whose (``key``, ``user``, ``team``, ``model``, ``global``), of what (``requests``,
        ``tokens``, ``concurrent``), and what came of it: ``refused``, ``queued`` (it waited and went on) or ``shadow``."""

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        principal = call.principal
        tiers = call.tiers
        plan = None if principal is None else self._book.plan(principal, tiers[0].name if tiers else call.head.model)
        if plan is None:
            return await next(call)
        input_count = expected = 0
        if plan.tokens:
            input_count = input_of(call)
            expected = expected_tokens(call, input_count, self._enforcement.output_tokens)
            if input_count > plan.input_max:
                self._check_size(plan, input_count)
        amounts = plan.amounts(expected)
        verdict = await self._admit(*_asker(call), plan, amounts)
        headers = _headers(plan, verdict)
        held = verdict.blocked is None
        try:
            reply = await next(call)
            if held and isinstance(reply, Streaming):
                told = _Told()
                if plan.tokens:
                    reply.on_part(lambda tokens: self._part(plan, told, tokens))
                reply.on_end(lambda: self._settle(call, plan, amounts, input_count, told.tokens))
                held = False
        except ProxyError as error:
            error.headers += headers
            raise
        finally:
            if held:
                await self._settle(call, plan, amounts, input_count)
        reply.headers.extend(headers)
        return reply

    @asynccontextmanager
    async def counted(self, principal: Principal) -> AsyncIterator[Counted]:
        """Count a request that asks no model: it takes a request and a place, and no tokens.  Raises: RateLimited."""
        counted = Counted()
        plan = self._book.plan(principal, NO_MODEL)
        plan = None if plan is None else plan.without_tokens()
        if plan is None:
            yield counted
            return
        amounts = plan.amounts(0)
        verdict = await self._admit(principal.key_id, rank_of(principal.priority), plan, amounts)
        counted.headers += _headers(plan, verdict)
        try:
            yield counted
        finally:
            if verdict.blocked is None:
                await self._give(plan, plan.settled(amounts, used=0, counts=counted.counts))

    async def _admit(self, key: str, rank: int, plan: Plan, amounts: tuple[int, ...]) -> Verdict:
        """What the store says; in shadow mode it may be a refusal.  Raises: RateLimited."""
        queue = self._queue
        waits_for = None
        if queue is not None and len(queue):
            # Nobody overtakes: who comes now stands behind those that wait for the same.
            waited_for = queue.names
            waits_for = next((it.name for it in plan.limits if it.name in waited_for), None)
        if waits_for is None:
            verdict = await self._buckets.take(plan.limits, amounts)
            if verdict.blocked is None:
                return verdict
            blocked = Blocked(plan.limits[verdict.blocked].name, verdict.wait_s)
            tried = True
        else:
            verdict = None
            blocked, tried = Blocked(waits_for), False
        if self._enforcement.shadow and verdict is not None:
            self._count(plan, verdict.blocked or 0, "shadow")
            return verdict
        return await self._wait(key, rank, plan, amounts, blocked, verdict, tried=tried)

    async def _wait(
        self,
        key: str,
        rank: int,
        plan: Plan,
        amounts: tuple[int, ...],
        blocked: Blocked,
        verdict: Verdict | None,
        *,
        tried: bool,
    ) -> Verdict:
        """Wait in turn, if there is a queue.  Raises: RateLimited."""
        last = verdict

        async def attempt() -> Blocked | None:
            nonlocal last
            last = found = await self._buckets.take(plan.limits, amounts)
            return None if found.blocked is None else Blocked(plan.limits[found.blocked].name, found.wait_s)

        refusal: Blocked | None = blocked
        if self._queue is not None:
            refusal = await self._queue.wait(attempt, blocked, key=key, rank=rank, tried=tried)
        if refusal is None and last is not None:
            self._count(plan, _index(plan, blocked), "queued")
            return last
        assert refusal is not None  # noqa: S101  # an attempt that succeeded has left its verdict
        index = _index(plan, refusal)
        self._count(plan, index, "refused")
        wait_s = RETRY_AFTER_S if math.isinf(refusal.wait_s) else refusal.wait_s
        error = RateLimited(_reached(plan, index), retry_after_s=wait_s)
        if last is None:
            last = await self._buckets.take(plan.limits, (0,) * len(amounts))
        error.headers = _headers(plan, last)
        raise error

    async def _part(self, plan: Plan, told: _Told, tokens: int) -> None:
        """One of a session's answers is over: its tokens count from now on."""
        told.tokens += tokens
        await self._buckets.give(plan.limits, plan.used(tokens))

    async def _settle(self, call: Call, plan: Plan, amounts: tuple[int, ...], input_count: int, told_tokens: int = 0) -> None:
        """The request has ended: put back what it did not use.  told_tokens: count already."""
        trail = call.trail
        used = used_tokens(trail, input_count) - told_tokens if plan.tokens else 0
        counts = bool(trail) and trail[-1].fault in _COUNTS
        await self._give(plan, plan.settled(amounts, used=used, counts=counts))

    async def _give(self, plan: Plan, amounts: tuple[int, ...]) -> None:
        """Put back, and call who waits for it."""
        await self._buckets.give(plan.limits, amounts)
        if self._queue is not None and len(self._queue):
            for limit in plan.limits:
                self._queue.signal(limit.name)

    def _check_size(self, plan: Plan, input_count: int) -> None:
        first = plan.requests + plan.slots
        index = min(range(first, first + plan.tokens), key=lambda index: plan.limits[index].capacity)
        shadow = self._enforcement.shadow
        self._count(plan, index, "shadow" if shadow else "refused")
        if not shadow:
            raise RequestOverLimit(
                f"The request has about {input_count:,} tokens; {plan.owners[index]} may use {plan.input_max:,} at once."
            )

    def _count(self, plan: Plan, index: int, outcome: str) -> None:
        limit = plan.limits[index]
        kind = plan.kind(index)
        self.counts[limit.name.removeprefix(f"{kind} ").partition(":")[0], kind, outcome] += 1
        now_s = self._clock_s()
        if now_s - self._told.get(limit.name, -TOLD_EVERY_S) >= TOLD_EVERY_S:
            if len(self._told) >= TOLD_MAX:
                self._told.clear()
            self._told[limit.name] = now_s
            log.warning(
                "limit_reached", limit=limit.name, capacity=limit.capacity, per_minute=limit.per_minute, outcome=outcome
            )


class _Told:
    """The tokens of a session that count already."""

    __slots__ = ("tokens",)

    def __init__(self) -> None:
        self.tokens = 0


_COUNTS = frozenset({"", "request", "client"})
"""Whose fault makes no difference to whether a request counts."""


def _asker(call: Call) -> tuple[str, int]:
    """The key and the rank by which a call waits."""
    principal = call.principal
    key, priority = ("", "") if principal is None else (principal.key_id, principal.priority)
    return key, rank_of(priority, call.header(PRIORITY_HEADER))


def _index(plan: Plan, blocked: Blocked) -> int:
    return next((index for index, it in enumerate(plan.limits) if it.name == blocked.name), 0)


def _reached(plan: Plan, index: int) -> str:
    limit = plan.limits[index]
    kind = plan.kind(index)
    if kind == "concurrent":
        return f"The limit of {plan.owners[index]} is reached: {limit.capacity:,} requests at once."
    return f"The limit of {plan.owners[index]} is reached: {limit.per_minute:,} {kind} per minute."


def _headers(plan: Plan, verdict: Verdict) -> Headers:
    """OpenAI's six headers, or the three of what is limited, each of the narrowest bucket: the one with the least left."""
    headers: Headers = []
    if plan.requests:
        _add(headers, plan, verdict, 0, plan.requests, _REQUESTS)
    if plan.tokens:
        first = plan.requests + plan.slots
        _add(headers, plan, verdict, first, first + plan.tokens, _TOKENS)
    return headers


def _add(headers: Headers, plan: Plan, verdict: Verdict, first: int, end: int, names: tuple[bytes, bytes, bytes]) -> None:
    left = verdict.left
    index = first if end - first == 1 else min(range(first, end), key=left.__getitem__)
    headers.append((names[0], b"%d" % plan.limits[index].capacity))
    headers.append((names[1], b"%d" % left[index]))
    headers.append((names[2], duration(verdict.full_s[index])))


_REQUESTS = (b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests")
_TOKENS = (b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens")


def duration(seconds: float) -> bytes:
    """A time as OpenAI's headers have it: ``120ms``, ``1s``, ``6m0s``; rounded up.

    Source: OpenAI's guide "Rate limits", "Rate limits in headers"; read 2026-11.
    """
    ms = math.ceil(seconds * 1000 - 1e-6)
    if ms < 1000:
        return b"%dms" % ms
    whole = -(-ms // 1000)
    if whole < 60:
        return b"%gs" % (ms / 1000)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return b"%dm%ds" % (minutes, rest)
    return b"%dh%dm%ds" % (minutes // 60, minutes % 60, rest)
