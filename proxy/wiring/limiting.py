"""From the configuration to what limits: the stage, the accounts, the queue, the overload."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from proxy.call import Rates
from proxy.config import Config, LimitConfig
from proxy.limits import accounts, adaptive, overload
from proxy.limits.accounts import AccountLimits
from proxy.limits.overload import Overload
from proxy.limits.queue import FairQueue
from proxy.limits.rates import NONE, Declared, RateBook, RatesOf
from proxy.limits.room import Room
from proxy.stages.rate_limiter import Enforcement, RateLimiter
from proxy.stores.store import BucketStore

NEVER_S = 1e9


class Limiting(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that limits, one of each."""

    stage: RateLimiter
    accounts: AccountLimits
    room: Room
    overload: Overload


def build(
    config: Config,
    buckets: BucketStore,
    *,
    clock_s: Callable[[], float],
    clock_us: Callable[[], int],
    rates_of: RatesOf = lambda _: NONE,
) -> Limiting:
    """Make it as ``limits`` and the providers' accounts say.

    clock_s, clock_us: one monotonic clock.   rates_of: of users and teams that the ledger knows.
    """
    limits = config.limits
    declared = Declared(
        default=_rates(limits.defaults),
        gateway=_rates(limits.gateway),
        keys={name: _rates(it) for name, it in limits.keys.items()},
        users={name: _rates(it) for name, it in limits.users.items()},
        teams={name: _rates(it) for name, it in limits.teams.items()},
        models={name: _rates(it) for name, it in limits.models.items()},
    )
    learned = limits.adaptive
    pressed = Overload(
        overload.Bounds(lag_s=limits.overload.max_lag_ms / 1000 or NEVER_S, requests=limits.overload.max_requests)
    )
    policy = accounts.Policy(
        rates={
            (name, account.name): rates
            for name, provider in config.providers.items()
            for account in provider.named_accounts()
            if (rates := _rates(account)) != NONE
        },
        burst_s=limits.account_burst_s,
        adaptive=adaptive.Bounds(least=learned.min_concurrent, most=learned.max_concurrent, slow_ratio=learned.slow_ratio)
        if learned.enabled
        else None,
        output_tokens=limits.output_tokens_estimate,
    )
    waiting = _queue(config, max(limits.queue.max_wait_ms, limits.account_wait_ms))
    at_accounts = AccountLimits(policy, clock_us, queue=waiting, late_s=lambda: pressed.late_s)
    return Limiting(
        stage=RateLimiter(
            buckets,
            RateBook(declared, burst_s=limits.burst_s, rates_of=rates_of),
            enforcement=Enforcement(shadow=limits.shadow, output_tokens=limits.output_tokens_estimate),
            queue=_queue(config, limits.queue.max_wait_ms),
            clock_s=clock_s,
        ),
        accounts=at_accounts,
        room=Room(at_accounts),
        overload=pressed,
    )


def _queue(config: Config, max_wait_ms: int) -> FairQueue | None:
    return FairQueue(wait_max_s=max_wait_ms / 1000, length_max=config.limits.queue.max_length) if max_wait_ms else None


def _rates(config: LimitConfig) -> Rates:
    return Rates(
        requests_per_minute=config.requests_per_minute,
        tokens_per_minute=config.tokens_per_minute,
        concurrent=config.concurrent,
    )
