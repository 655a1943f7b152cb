"""How fast callers, models and accounts may go: ``limits``, and the limits that others have of their own."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from proxy.config.section import Section


class LimitConfig(Section):
    """How fast something may be used.  Not given: as fast as it likes."""

    requests_per_minute: int | None = Field(default=None, ge=1, le=1_000_000_000, description="Requests a minute.")
    tokens_per_minute: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Tokens a minute, those in and those out together."
    )
    concurrent: int | None = Field(default=None, ge=1, le=1_000_000, description="Requests under way at once.")


class QueueConfig(Section):
    """A short wait in turn instead of a refusal, fair between keys."""

    max_wait_ms: int = Field(
        default=0, ge=0, le=60_000, description="Milliseconds a request may wait for a limit. 0: it is refused at once."
    )
    max_length: int = Field(default=1_000, ge=1, le=100_000, description="Requests that may wait; more are refused at once.")


class AdaptiveConfig(Section):
    """How many requests each account of a provider may have under way, learned from how it answers."""

    enabled: bool = Field(default=True, description="Whether it is learned at all.")
    min_concurrent: int = Field(default=16, ge=1, le=1_000_000, description="It is never lowered below this.")
    max_concurrent: int = Field(default=10_000, ge=1, le=1_000_000, description="Where it begins, and the most it grows to.")
    slow_ratio: float = Field(
        default=5.0,
        ge=0,
        le=1_000,
        allow_inf_nan=False,
        description="How many times slower than usual answers may come before it is lowered. 0: only refusals and "
        "timeouts lower it.",
    )


class OverloadConfig(Section):
    """When Tollway itself sends requests away, those of low priority first."""

    max_lag_ms: int = Field(
        default=25, ge=0, le=60_000, description="Milliseconds that the event loop may be late. 0: however late."
    )
    max_requests: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Requests at work at once; low priority has 80 % of it, normal 90 %."
    )


class LimitsConfig(Section):
    """How fast callers may go, and what happens to those that go faster."""

    defaults: LimitConfig = Field(default=LimitConfig(), description="Of each key that has no limit of its own.")
    gateway: LimitConfig = Field(default=LimitConfig(), description="Of all requests together.")
    keys: Mapping[str, LimitConfig] = Field(default={}, description="Of keys, by name or id.")
    users: Mapping[str, LimitConfig] = Field(default={}, description="Of users, over all their keys.")
    teams: Mapping[str, LimitConfig] = Field(default={}, description="Of teams, over all their keys.")
    models: Mapping[str, LimitConfig] = Field(
        default={}, description="Of models, over all callers that ask for them: names of `models`, or `provider/model`."
    )
    burst_s: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        allow_inf_nan=False,
        description="How many seconds' worth of a limit a caller may use at once after a pause.",
    )
    account_burst_s: float = Field(
        default=10.0,
        gt=0,
        le=86_400,
        allow_inf_nan=False,
        description="The same of the limits of providers' accounts, as far as they are sent at once.",
    )
    account_wait_ms: int = Field(
        default=1_000,
        ge=0,
        le=60_000,
        description="Milliseconds a request may wait in turn for room at an account, if it can be in time; "
        "`limits.queue.max_wait_ms`, where that is longer. 0 of both: it is refused at once.",
    )
    output_tokens_estimate: int = Field(
        default=1_000,
        ge=0,
        le=10_000_000,
        description="Tokens that an answer is taken to have until it has ended, if its request does not ask for fewer.",
    )
    shadow: bool = Field(
        default=False, description="Count and log what would be refused by a caller's limit, and let it through."
    )
    queue: QueueConfig = Field(default=QueueConfig(), description="A short wait instead of a refusal.")
    adaptive: AdaptiveConfig = Field(default=AdaptiveConfig(), description="Requests under way at each account.")
    overload: OverloadConfig = Field(default=OverloadConfig(), description="When Tollway itself is too busy.")
