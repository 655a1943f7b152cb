"""Every metric the ledger keeps: its unit, which way is better, what values it can have, how fast it grows old.

A table, and the one check that a reading has to pass.  Sources convert to these units at their own edge; a value out of
bounds, or in another unit, is refused, since it is a wrong unit more often than a wrong model.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from ledger.facts import Reading

Entity = Literal["model", "offer", "either", "window", "observation"]
"""What a metric is true of: a variant wherever it runs; an offer; the one or the other, as the source says; an offer in a
window of our own traffic; an observation itself."""

Group = Literal["quality", "agentic", "speed", "price", "limit", "reliability", "meta"]

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000

# Half-lives in days.  A benchmark's result stays what it was; its confidence falls as the world moves on.
BENCHMARK, ARENA, SPEED, PRICE, LIMIT, LIVE, ENDPOINT = 180.0, 30.0, 7.0, 30.0, 30.0, 1.0, 15 / 1440

CAPABILITIES = (
    *("tools", "parallel_tools", "structured_output", "reasoning", "prompt_cache", "open_weights", "web_search"),
    *("vision", "audio_in", "audio_out", "image_out", "embeddings"),
)
"""What a model can do, by the words that facts use."""


class Metric(msgspec.Struct, frozen=True):
    """One row.  ``number``: of the catalogue; rows that share one were one row of it.

    ``higher_is_better``: ``None`` where there is no order.  ``low``, ``high``: the values it can have, both included.
    ``fields``: where sources have it.  ``versioned``: comparable only within one ``source_version``.
    """

    number: int
    name: str
    unit: str
    higher_is_better: bool | None
    entity: Entity
    group: Group
    half_life_days: float
    low: float
    high: float
    fields: str
    versioned: bool = False


UP, DOWN, NONE = True, False, None
_ROWS = (
    # --- quality -------------------------------------------------------------------------------------------------------
    Metric(1, "intelligence_index", "points", UP, "model", "quality", BENCHMARK, 0, 100, "AA artificial_analysis_intelligence_index; OR benchmarks.artificial_analysis.intelligence_index (max effort)", True),  # noqa: E501  # a table
    Metric(2, "coding_index", "points", UP, "model", "quality", BENCHMARK, 0, 100, "AA artificial_analysis_coding_index; OR coding_index", True),  # noqa: E501  # a table
    Metric(3, "math_index", "points", UP, "model", "quality", BENCHMARK, 0, 100, "AA artificial_analysis_math_index", True),
    Metric(4, "agentic_index", "points", UP, "model", "quality", BENCHMARK, 0, 100, "AA artificial_analysis_agentic_index; OR agentic_index", True),  # noqa: E501  # a table
    Metric(5, "mmlu_pro", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "AA mmlu_pro; models.dev"),
    Metric(6, "gpqa_diamond", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "AA gpqa"),
    Metric(7, "hle", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "AA hle"),
    Metric(8, "livecodebench", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "AA livecodebench"),
    Metric(9, "scicode", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "AA scicode"),
    Metric(10, "math_500", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "AA math_500"),
    Metric(11, "aime_2024", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "AA aime"),
    Metric(12, "aime_2025", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "AA aime_25; published"),
    Metric(13, "aime_2026", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "published"),
    Metric(14, "hmmt_2025", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "published"),
    Metric(15, "ifbench", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "AA ifbench"),
    Metric(16, "lcr_long_context", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "AA lcr"),
    Metric(17, "arc_agi_2", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "published; models.dev"),
    Metric(18, "simpleqa_verified", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "published"),
    Metric(19, "facts_grounding", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "published"),
    Metric(20, "mmmlu", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "published"),
    Metric(21, "mmmu_pro", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "published"),
    Metric(22, "mrcr_128k", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "published"),
    Metric(23, "mrcr_1m", "fraction", UP, "model", "quality", BENCHMARK, 0, 1, "published"),
    Metric(24, "omnidocbench_edit_distance", "ratio", DOWN, "model", "quality", BENCHMARK, 0, 1, "published"),
    Metric(25, "arena_text_elo", "elo", UP, "model", "quality", ARENA, 0, 3000, "LMArena text score", True),
    Metric(26, "arena_code_elo", "elo", UP, "model", "quality", ARENA, 0, 3000, "LMArena code score", True),
    Metric(27, "arena_vision_elo", "elo", UP, "model", "quality", ARENA, 0, 3000, "LMArena vision score", True),
    Metric(28, "arena_ci_halfwidth", "elo", DOWN, "model", "quality", ARENA, 0, 500, "LMArena ci", True),
    Metric(29, "design_arena_elo", "elo", UP, "model", "quality", ARENA, 0, 3000, "OR benchmarks.design_arena", True),
    Metric(30, "live_pass_rate", "fraction", UP, "window", "quality", LIVE, 0, 1, "harness envelope; judged outcomes"),
    Metric(31, "live_user_accept_rate", "fraction", UP, "window", "quality", LIVE, 0, 1, "feedback"),
    # --- agentic -------------------------------------------------------------------------------------------------------
    Metric(32, "swe_bench_verified", "fraction", UP, "model", "agentic", BENCHMARK, 0, 1, "published; thegent"),
    Metric(33, "swe_bench_pro", "fraction", UP, "model", "agentic", BENCHMARK, 0, 1, "published (another test than Verified)"),
    Metric(34, "swe_bench_multilingual", "fraction", UP, "model", "agentic", BENCHMARK, 0, 1, "published"),
    Metric(35, "terminal_bench_2", "fraction", UP, "model", "agentic", BENCHMARK, 0, 1, "published; thegent TB2"),
    Metric(36, "terminalbench_hard", "fraction", UP, "model", "agentic", BENCHMARK, 0, 1, "AA terminalbench_hard"),
    Metric(37, "tau2_telecom", "fraction", UP, "model", "agentic", BENCHMARK, 0, 1, "AA tau2; published"),
    Metric(38, "bfcl_multi_turn", "fraction", UP, "model", "agentic", BENCHMARK, 0, 1, "published"),
    Metric(39, "mcp_atlas", "fraction", UP, "model", "agentic", BENCHMARK, 0, 1, "published"),
    Metric(40, "browsecomp", "fraction", UP, "model", "agentic", BENCHMARK, 0, 1, "published"),
    Metric(41, "osworld_verified", "fraction", UP, "model", "agentic", BENCHMARK, 0, 1, "published"),
    Metric(42, "toolathlon", "fraction", UP, "model", "agentic", BENCHMARK, 0, 1, "published"),
    Metric(43, "gdpval_elo", "elo", UP, "model", "agentic", BENCHMARK, 0, 3000, "published", True),
    Metric(44, "metr_time_horizon_50", "minutes", UP, "model", "agentic", BENCHMARK, 0, 1e6, "METR"),
    Metric(45, "tool_call_success_rate", "fraction", UP, "window", "agentic", LIVE, 0, 1, "live"),
    Metric(46, "schema_adherence_rate", "fraction", UP, "window", "agentic", LIVE, 0, 1, "live"),
    Metric(47, "task_completion_rate", "fraction", UP, "window", "agentic", LIVE, 0, 1, "harness"),
    Metric(48, "steps_per_task", "count", DOWN, "window", "agentic", LIVE, 0, 1e6, "harness"),
    # --- speed ---------------------------------------------------------------------------------------------------------
    Metric(49, "output_tps_p50", "tok/s", UP, "either", "speed", SPEED, 0.01, 20_000, "AA median_output_tokens_per_second; OR throughput_last_30m.p50; live"),  # noqa: E501  # a table
    Metric(50, "output_tps_p10", "tok/s", UP, "window", "speed", SPEED, 0.01, 20_000, "live"),
    Metric(51, "ttft_p50", "ms", DOWN, "either", "speed", SPEED, 0.01, 600_000, "AA median_time_to_first_token_seconds x 1000; OR latency_last_30m.p50; live"),  # noqa: E501  # a table
    Metric(52, "ttft_p90", "ms", DOWN, "offer", "speed", SPEED, 0.01, 600_000, "OR latency_last_30m.p90; live"),
    Metric(53, "ttft_p99", "ms", DOWN, "offer", "speed", SPEED, 0.01, 600_000, "OR latency_last_30m.p99; live"),
    Metric(54, "ttfat_p50", "ms", DOWN, "either", "speed", SPEED, 0.01, 3.6e6, "AA median_time_to_first_answer_token x 1000"),
    Metric(55, "e2e_p50", "ms", DOWN, "either", "speed", SPEED, 0.01, 3_600_000, "AA median_end_to_end_response_time_seconds x 1000; live"),  # noqa: E501  # a table
    Metric(56, "e2e_p95", "ms", DOWN, "window", "speed", SPEED, 0.01, 3_600_000, "live"),
    Metric(57, "itl_p95", "ms", DOWN, "window", "speed", SPEED, 0.001, 600_000, "live"),
    Metric(58, "queue_ms_p95", "ms", DOWN, "window", "speed", LIVE, 0, 3_600_000, "gateway"),
    Metric(59, "router_overhead_us", "µs", DOWN, "window", "speed", LIVE, 0, 6e7, "gateway"),
    # --- price (what is charged is in ledger.prices, in integers; these are what sources say, to compare) --------------
    Metric(60, "price_input", "USD/MTok", DOWN, "either", "price", PRICE, 0, 10_000, "OR prompt x 1e6; litellm input_cost_per_token x 1e6; models.dev cost.input; AA price_1m_input_tokens (low trust)"),  # noqa: E501  # a table
    Metric(61, "price_output", "USD/MTok", DOWN, "either", "price", PRICE, 0, 10_000, "OR completion x 1e6; as elsewhere"),
    Metric(62, "price_cache_read", "USD/MTok", DOWN, "either", "price", PRICE, 0, 10_000, "OR input_cache_read; litellm cache_read_input_token_cost; AA price_1m_cache_hit_tokens"),  # noqa: E501  # a table
    Metric(63, "price_cache_write_5m", "USD/MTok", DOWN, "either", "price", PRICE, 0, 10_000, "OR input_cache_write; litellm cache_creation_input_token_cost"),  # noqa: E501  # a table
    Metric(64, "price_cache_write_1h", "USD/MTok", DOWN, "either", "price", PRICE, 0, 10_000, "OR input_cache_write_1h; litellm …_above_1hr"),  # noqa: E501  # a table
    Metric(65, "price_reasoning", "USD/MTok", DOWN, "either", "price", PRICE, 0, 10_000, "OR internal_reasoning; litellm output_cost_per_reasoning_token"),  # noqa: E501  # a table
    Metric(66, "price_tier_threshold", "tokens", NONE, "either", "price", PRICE, 1, 1e9, "OR overrides.min_prompt_tokens; litellm _above_200k"),  # noqa: E501  # a table
    Metric(67, "price_input_tier", "USD/MTok", DOWN, "either", "price", PRICE, 0, 10_000, "the same"),
    Metric(68, "price_output_tier", "USD/MTok", DOWN, "either", "price", PRICE, 0, 10_000, "the same"),
    Metric(69, "price_batch_multiplier", "ratio", DOWN, "either", "price", PRICE, 0, 10, "litellm _batches"),
    Metric(70, "price_flex_multiplier", "ratio", DOWN, "either", "price", PRICE, 0, 10, "litellm _flex"),
    Metric(71, "price_priority_multiplier", "ratio", DOWN, "either", "price", PRICE, 0, 100, "litellm _priority"),
    Metric(72, "price_request", "USD/call", DOWN, "either", "price", PRICE, 0, 100, "OR request"),
    Metric(73, "price_web_search", "USD/call", DOWN, "either", "price", PRICE, 0, 100, "OR web_search; litellm search_context_cost_per_query"),  # noqa: E501  # a table
    Metric(74, "price_image_in", "USD/MTok", DOWN, "either", "price", PRICE, 0, 1e6, "OR image"),
    Metric(75, "price_audio_in", "USD/MTok", DOWN, "either", "price", PRICE, 0, 10_000, "OR audio"),
    Metric(76, "price_blended_3to1", "USD/MTok", DOWN, "either", "price", PRICE, 0, 10_000, "derived; AA price_1m_blended_3_to_1 (a check)"),  # noqa: E501  # a table
    Metric(77, "plan_fee_month", "USD", DOWN, "offer", "price", PRICE, 0, 1e6, "plan"),
    Metric(78, "plan_included_units", "units", UP, "offer", "price", PRICE, 0, 1e15, "plan's allowance"),
    Metric(79, "effective_cost_per_mtok", "USD/MTok", DOWN, "window", "price", SPEED, 0, 10_000, "metered"),
    Metric(80, "effective_cost_per_task", "USD", DOWN, "either", "price", SPEED, 0, 10_000, "metered; prior AA cost_per_task"),
    Metric(81, "tokens_out_per_answer", "tokens", DOWN, "either", "price", SPEED, 0, 1e7, "metered, reasoning included"),
    Metric(82, "cache_hit_rate", "fraction", UP, "window", "price", LIVE, 0, 1, "metered"),
    # --- limits and capabilities ---------------------------------------------------------------------------------------
    Metric(83, "context_window", "tokens", UP, "either", "limit", LIMIT, 1, 1e9, "OR context_length; litellm max_input_tokens; models.dev limit.context"),  # noqa: E501  # a table
    Metric(84, "max_output", "tokens", UP, "either", "limit", LIMIT, 1, 1e9, "OR top_provider.max_completion_tokens; litellm max_output_tokens"),  # noqa: E501  # a table
    Metric(85, "max_prompt", "tokens", UP, "either", "limit", LIMIT, 1, 1e9, "OR endpoints max_prompt_tokens"),
    Metric(86, "rpm_limit", "req/min", UP, "offer", "limit", LIMIT, 0, 1e9, "litellm rpm; live headers"),
    Metric(87, "tpm_limit", "tok/min", UP, "offer", "limit", LIMIT, 0, 1e12, "litellm tpm; live headers"),
    Metric(88, "cap_tools", "bool", NONE, "either", "limit", LIMIT, 0, 1, "OR supported_parameters; litellm supports_*"),
    Metric(88, "cap_parallel_tools", "bool", NONE, "either", "limit", LIMIT, 0, 1, "the same"),
    Metric(89, "cap_structured_output", "bool", NONE, "either", "limit", LIMIT, 0, 1, "the same"),
    Metric(90, "cap_reasoning_efforts", "set", NONE, "model", "limit", LIMIT, 0, 0, "OR reasoning.supported_efforts"),
    Metric(91, "modalities_in", "set", NONE, "model", "limit", LIMIT, 0, 0, "OR architecture.input_modalities"),
    Metric(91, "modalities_out", "set", NONE, "model", "limit", LIMIT, 0, 0, "OR architecture.output_modalities"),
    Metric(92, "cap_prompt_cache", "bool", NONE, "either", "limit", LIMIT, 0, 1, "OR endpoints supports_implicit_caching"),
    Metric(93, "quantization", "text", NONE, "offer", "limit", LIMIT, 0, 0, "OR endpoints quantization"),
    Metric(94, "open_weights", "bool", NONE, "model", "limit", LIMIT, 0, 1, "models.dev"),
    # --- reliability ---------------------------------------------------------------------------------------------------
    Metric(95, "success_rate", "fraction", UP, "window", "reliability", LIVE, 0, 1, "gateway"),
    Metric(96, "rate_429", "fraction", DOWN, "window", "reliability", LIVE, 0, 1, "gateway"),
    Metric(97, "rate_5xx", "fraction", DOWN, "window", "reliability", LIVE, 0, 1, "gateway"),
    Metric(98, "rate_timeout", "fraction", DOWN, "window", "reliability", LIVE, 0, 1, "gateway"),
    Metric(99, "uptime_external", "fraction", UP, "offer", "reliability", ENDPOINT, 0, 1, "OR uptime_last_5m / 100"),
    Metric(100, "truncation_rate", "fraction", DOWN, "window", "reliability", LIVE, 0, 1, "gateway: finish_reason length"),
    Metric(101, "fallback_rate", "ratio", DOWN, "window", "reliability", LIVE, 0, 1, "gateway"),
    Metric(101, "retries_per_call", "ratio", DOWN, "window", "reliability", LIVE, 0, 1000, "gateway"),
    # Beyond the catalogue's 104: what the gateway can check of an answer by itself.
    Metric(105, "refusal_rate", "fraction", DOWN, "window", "reliability", LIVE, 0, 1, "gateway: refusals and content filters"),
    Metric(106, "check_pass_rate", "fraction", UP, "window", "reliability", LIVE, 0, 1, "gateway: answers in which no check failed"),  # noqa: E501  # a table
    # --- of observations themselves: fields of theirs, never readings --------------------------------------------------
    Metric(102, "confidence", "fraction", UP, "observation", "meta", BENCHMARK, 0, 1, "votes, samples, source, decay"),
    Metric(102, "n_samples", "count", UP, "observation", "meta", BENCHMARK, 0, 1e15, "the source's sample count"),
    Metric(103, "age_s", "s", DOWN, "observation", "meta", BENCHMARK, 0, 1e10, "observed_at"),
    Metric(103, "coverage", "fraction", UP, "observation", "meta", BENCHMARK, 0, 1, "share of a task's metrics that is known"),
    Metric(104, "source_version", "text", NONE, "observation", "meta", BENCHMARK, 0, 0, "AA intelligence_index_version; dates of a release"),  # noqa: E501  # a table
    Metric(104, "alias_confidence", "fraction", UP, "observation", "meta", BENCHMARK, 0, 1, "the alias that found the model"),
)  # fmt: skip

METRICS: dict[str, Metric] = {row.name: row for row in _ROWS}
NO_NUMBER = frozenset(("set", "text"))


def check(reading: Reading, /) -> str | None:
    """What is wrong with a reading, as a sentence; ``None``: it may be kept."""
    metric = METRICS.get(reading.metric)
    if metric is None:
        return f"{_place(reading)}: there is no such metric"
    if metric.unit in NO_NUMBER or metric.entity == "observation":
        return f"{_place(reading)}: it is no number of a model; the facts of a model carry it"
    if reading.unit != metric.unit:
        return f"{_place(reading)}: the unit is {reading.unit!r}, not {metric.unit!r}"
    if not metric.low <= reading.value <= metric.high:  # so is what is no number at all
        return f"{_place(reading)}: {reading.value} is not between {metric.low} and {metric.high} {metric.unit}"
    if not 0 <= reading.confidence <= 1:
        return f"{_place(reading)}: the confidence {reading.confidence} is not between 0 and 1"
    if reading.n is not None and reading.n < 0:
        return f"{_place(reading)}: it has {reading.n} samples"
    if reading.observed_at_us <= 0 or reading.fetched_at_us <= 0:
        return f"{_place(reading)}: it has no time"
    if reading.observed_at_us > reading.fetched_at_us + DAY_US:
        return f"{_place(reading)}: it was observed more than a day after it was fetched"
    return None


def decayed(confidence: float, /, *, metric: str, age_us: int) -> float:
    """A confidence as it is after that age: half of it is gone with each half-life of the metric."""
    half_life_us = METRICS[metric].half_life_days * DAY_US
    return confidence * math.pow(0.5, max(age_us, 0) / half_life_us)


def grain_us(metric: str, /) -> int:
    """How exactly the time of an observation matters: a 32nd of the metric's half-life, between a minute and a day.

    A value that is confirmed again within one grain is not written again.
    """
    return min(max(round(METRICS[metric].half_life_days * DAY_US / 32), MINUTE_US), DAY_US)


def _place(reading: Reading) -> str:
    return f"{reading.source}: {reading.metric} of {reading.subject.source_name!r}"
