"""Who is asked of several deployments, and what happens when one fails or is slow."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from proxy.config.section import Seconds, Section, Usd

Strategy = Literal["p2c", "round_robin", "least_in_flight", "weighted"]


class RetriesConfig(Section):
    """How long a request is tried before its client hears of a failure."""

    max_attempts: int = Field(
        default=3, ge=1, le=20, description="Tries of one request over all its deployments, the first included."
    )
    total_timeout_s: Seconds = Field(default=600.0, description="Seconds for all the tries of one request together.")
    wait_s: float = Field(
        default=5.0,
        ge=0,
        le=120,
        allow_inf_nan=False,
        description="Seconds that a request may be kept waiting, in all, where nobody else can answer: for a rate limit to "
        "pass, or before its only deployment is asked again. 0: it never waits.",
    )
    backoff_s: Seconds = Field(
        default=0.25, description="Seconds before the only deployment is asked again; doubled each time, up to a quarter more."
    )
    budget_percent: float = Field(
        default=20.0,
        ge=0,
        le=1_000,
        allow_inf_nan=False,
        description="Tries beyond the first that may be in vain or under way, in percent of the requests of the last 10 "
        "seconds: what an outage adds to the load.",
    )
    budget_floor: int = Field(default=3, ge=0, le=100_000, description="So many of them in 10 seconds whatever the percentage.")
    continue_streams: bool = Field(
        default=False,
        description="Whether another deployment is asked to go on where a chat stream broke off. It sees the text so far as "
        "the beginning of its own answer; both are charged for.",
    )


class LoadBalancerConfig(Section):
    """Which of several deployments is asked."""

    strategy: Strategy = Field(
        default="p2c",
        description="`p2c`: by weight, but not one that is more than twice as busy, slow and failing as another; "
        "`round_robin`: by weight, whatever happens; `least_in_flight`: the one with the fewest requests under way for its "
        "weight; `weighted`: at random by weight.",
    )
    affinity: bool = Field(
        default=True,
        description="Whether requests of one session (by `prompt_cache_key`, or the headers of Claude Code, Codex and "
        "`x-session-affinity`) stay with one deployment, for the sake of its prompt cache.",
    )
    affinity_factor: float = Field(
        default=4.0,
        ge=1,
        le=1_000,
        allow_inf_nan=False,
        description="A session leaves its deployment while that is more than so many times as busy, slow and failing as the "
        "best.",
    )


class CircuitBreakerConfig(Section):
    """Which deployments are not asked for a while, since asking has not helped."""

    enabled: bool = Field(default=True, description="Whether anything is ever kept back.")
    never_last: bool = Field(
        default=True,
        description="Whether a model's last deployment is asked as long as it answers now and then. `false`: it is kept back "
        "as any other.",
    )
    failures: int = Field(default=5, ge=1, le=1_000, description="Failures in a row that open a deployment's circuit.")
    error_percent: float = Field(
        default=50.0,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="It also opens if of `min_requests` within `window_s` so many percent failed.",
    )
    min_requests: int = Field(default=20, ge=1, le=1_000_000, description="Fewer requests than this have no error rate.")
    window_s: Seconds = Field(default=30.0, description="Seconds over which the error rate is taken.")
    open_s: Seconds = Field(
        default=30.0,
        description="Seconds that it stays open; then one request finds out. Doubled each time that it opens again soon, and "
        "up to a fifth longer by chance.",
    )
    open_max_s: Seconds = Field(default=300.0, description="Seconds that it stays open at most.")
    last_open_s: Seconds = Field(
        default=2.0, description="Seconds that a model's last deployment stays open, once it does not answer at all."
    )
    park_s: Seconds = Field(
        default=60.0,
        description="Seconds that a whole account is left alone whose key or credit was refused; doubled each time.",
    )
    park_max_s: Seconds = Field(default=1_800.0, description="Seconds that an account is left alone at most.")
    cooldown_s: Seconds = Field(
        default=1.0,
        description="Seconds that a deployment is left alone after a 429 that does not say how long; doubled each time.",
    )
    cooldown_max_s: Seconds = Field(
        default=120.0, description="Seconds that it is left alone at most, whatever the provider says."
    )


class HedgingConfig(Section):
    """A second try of a slow request, at another deployment, at the same time.  Both may be charged for."""

    enabled: bool = Field(default=False, description="Whether slow requests are tried twice.")
    after: Literal["p50", "p75", "p90", "p95", "p99"] = Field(
        default="p95",
        description="How slow: slower than so many percent of what the deployment answered lately began.",
    )
    max_percent: float = Field(
        default=5.0, gt=0, le=100, allow_inf_nan=False, description="Percent of the requests that are tried twice at most."
    )
    max_cost_usd: Usd = Field(
        default=0.05,
        description="A request that may cost more US dollars is not tried twice, nor one whose price nobody knows.",
    )
