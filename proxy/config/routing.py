"""What ``auto`` means: the policies, and what the choice of a model rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from proxy.config.section import Seconds, Section, Texts, Usd


class WeightsConfig(Section):
    """What the axes are worth beside each other, for `rule: weights` and for hard tasks of `rule: hybrid`."""

    quality: float = Field(default=1.0, ge=0, le=1000, description="What ten points of quality (of a hundred) are worth.")
    cost: float = Field(default=0.5, ge=0, le=1000, description="What a tenth of the cost is worth.")
    latency: float = Field(default=0.2, ge=0, le=1000, description="What a tenth of the latency is worth.")


class PolicyLimitsConfig(Section):
    """What nobody may break who answers; a caller can only make it tighter."""

    max_cost_usd: Usd | None = Field(default=None, description="US dollars that the request may be estimated at.")
    max_ttft_ms: float | None = Field(default=None, ge=0, le=86_400_000, description="Milliseconds to the first token.")
    max_latency_ms: float | None = Field(default=None, ge=0, le=86_400_000, description="Milliseconds to the whole answer.")
    min_quality: float | None = Field(default=None, ge=0, le=1, description="Quality for the task, from 0 to 1.")


class AbstainConfig(Section):
    """From when on the quality of a model counts as known. Below it, a model is only asked if nobody else can be."""

    enabled: bool = Field(default=True, description="`false`: everybody counts as known.")
    coverage: float = Field(default=0.05, ge=0, le=1, description="Share of what is enough to know of a model for the task.")
    confidence: float = Field(default=0.02, ge=0, le=1, description="What age has left of the confidence in it.")


class ExploreConfig(Section):
    """Requests that go elsewhere, to learn how good others are."""

    percent: float = Field(default=0.0, ge=0, le=50, description="Of all requests. 0: none.")
    max_cost_usd: Usd = Field(default=0.01, description="US dollars that such a request may cost more.")
    seed: int = Field(default=0, ge=0, le=2**63 - 1, description="The same seed draws the same for the same request.")


class SessionsConfig(Section):
    """Requests of one conversation stay with its model, unless another one gains more than this."""

    enabled: bool = Field(default=True, description="`false`: every request is decided by itself.")
    points: float = Field(default=5.0, ge=0, le=100, description="Points of quality (of a hundred).")
    cost_ratio: float = Field(default=1.5, ge=1, le=1000, description="Times as cheap, the lost prompt cache included.")
    latency_ratio: float = Field(default=2.0, ge=1, le=1000, description="Times as fast.")


class PolicyConfig(Section):
    """What `model: auto`, or `auto:NAME`, means. What is not given is as in the policy of that name that comes with Tollway, or
    else as in `auto`."""

    rule: (
        Literal["weights", "value", "knee", "cheapest", "best", "fastest", "pareto", "cost-aware", "hybrid", "quality", "speed"]
        | None
    ) = Field(
        default=None,
        description="Which of those whom nobody beats on quality, cost and latency is taken. `weights`: worth most by "
        "`weights`; `value`: worth most in money, by `point_usd`; `knee`: the best balance; `cheapest`, `fastest`: of those "
        "good enough; `best`, `quality`: the best within `max_cost_usd`; `pareto`: most quality for the money; "
        "`cost-aware`: `best`, or money weighed high; `hybrid`: weighed for hard tasks, otherwise the cheapest good enough; "
        "`speed`: `fastest`.",
    )
    weights: WeightsConfig = Field(default=WeightsConfig(), description="For `rule: weights`.")
    point_usd: Usd | None = Field(
        default=None,
        description="US dollars that a point of quality (of a hundred) is worth, for `rule: value`. Not given: 0.001.",
    )
    min_quality: float | None = Field(default=None, ge=0, le=1, description="What is good enough, from 0 to 1.")
    within_points: float | None = Field(
        default=None, ge=0, le=100, description="What is good enough: at most so many points (of a hundred) below the best."
    )
    max_cost_usd: Usd | None = Field(default=None, description="US dollars for a request, for `best`; if anybody keeps to it.")
    percentile: Literal["p50", "p90", "p99"] | None = Field(default=None, description="Of latency. Not given: `p50`.")
    caution: float | None = Field(
        default=None, ge=0, le=10, description="Standard errors that are taken off a quality for being uncertain. Not given: 1."
    )
    task: str = Field(default="", description="What every request is taken for, such as `coding`. Empty: as it looks.")
    allow: Texts = Field(default=(), description="Patterns of `provider/model` that may be chosen. Empty: all.")
    deny: Texts = Field(default=(), description="Patterns of `provider/model` that may not be chosen.")
    default: str = Field(default="", description="Who answers where too little is known of everybody. Empty: the likeliest.")
    fallback: str = Field(default="", description="Who answers where nobody meets what is asked. Empty: nobody, 422.")
    fallbacks: int | None = Field(default=None, ge=0, le=50, description="Others who stand by if one fails. Not given: 3.")
    limits: PolicyLimitsConfig = Field(default=PolicyLimitsConfig(), description="What nobody may break.")
    abstain: AbstainConfig = Field(default=AbstainConfig(), description="When too little is known.")
    explore: ExploreConfig = Field(default=ExploreConfig(), description="Requests that go elsewhere to learn.")
    sessions: SessionsConfig = Field(default=SessionsConfig(), description="Conversations.")


class RoutingConfig(Section):
    """What the choice of a model takes for granted, and what it remembers."""

    output_tokens: Mapping[str, int] = Field(
        default={},
        description="Tokens of an answer by kind of task, until they are measured: `{coding: 900}`. Empty: the table in "
        "docs/routing.md.",
    )
    bytes_per_token: float = Field(
        default=4.0, ge=1, le=16, description="Bytes of a request to a token, until a family of models was metered."
    )
    receipts: int = Field(default=1_000, ge=0, le=1_000_000, description="Decisions that are kept to be told, in memory.")
    max_sessions: int = Field(default=10_000, ge=1, le=10_000_000, description="Conversations that are remembered.")
    session_s: Seconds = Field(default=3_600.0, description="Seconds after its last request that one is remembered.")
    warm_s: Seconds = Field(default=300.0, description="Seconds that a provider's prompt cache is taken to last.")
    keep_days: int = Field(
        default=30,
        ge=0,
        le=36_500,
        description="Days that decisions are kept in the ledger, for receipts, replay and calibration; without the prompts. "
        "0: none is kept.",
    )
    check_answers: bool = Field(
        default=True,
        description="Whether answers are looked at after they were given: refusals, truncation, schemas and tools.",
    )
    again_s: float = Field(
        default=120.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds after an answer within which the same prompt, asked once more, speaks against it. 0: never.",
    )
