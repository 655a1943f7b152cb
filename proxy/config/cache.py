"""Answers that are kept and given again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from proxy.config.section import Section


class CacheModelConfig(Section):
    """What the cache does with some models, where that is not what it does with the others."""

    mode: Literal["off", "asked", "on"] | None = Field(default=None, description="As `cache.mode`.")
    ttl_s: Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)] | None = Field(
        default=None, description="As `cache.ttl_s`."
    )
    temperature_max: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = Field(
        default=None, description="As `cache.temperature_max`."
    )


class SemanticConfig(Section):
    """Kept answers for questions that mean the same, by the vectors of an embeddings model."""

    model: str = Field(
        default="",
        description="The embeddings model to compare by, by any name that a client could ask for. Empty: only the same request "
        "is answered from the cache. Each request that is not found costs one call of this model.",
    )
    threshold: float = Field(
        default=0.95,
        ge=0.5,
        le=1,
        allow_inf_nan=False,
        description="The least cosine similarity at which two questions are taken to mean the same.",
    )
    max_entries: int = Field(default=1000, ge=1, le=10_000, description="Vectors in memory; the oldest make room.")


class IdempotencyConfig(Section):
    """Requests that have an `Idempotency-Key` header: sent again they get the same answer, and nothing is charged again."""

    ttl_s: float = Field(
        default=86_400.0,
        ge=0,
        le=31_536_000,
        allow_inf_nan=False,
        description="Seconds that a key and its answer are kept. 0: the header does nothing.",
    )
    max_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024,
        le=1024**4,
        description="Bytes for all of them. Of an answer larger than `cache.max_entry_bytes` is only kept that there was one.",
    )
    persist: bool = Field(
        default=True,
        description="Whether they outlive a restart: in `TOLLWAY_HOME/idempotency.sqlite`, encrypted; the oldest make room. "
        "`false`: they are in memory, and the least recently used makes room.",
    )


class CacheConfig(Section):
    """Answers that are kept and given again to whoever asks the same."""

    mode: Literal["off", "asked", "on"] = Field(
        default="off",
        description="`off`: nothing is kept. `asked`: for requests that ask for it by `x-tollway-cache: on` or "
        '`"cache": {"use-cache": true}`. `on`: for all that do not decline.',
    )
    ttl_s: float = Field(
        default=3600.0,
        ge=0,
        le=31_536_000,
        allow_inf_nan=False,
        description="Seconds that an answer is kept. A request can ask for less. 0: none is kept, and requests that ask the "
        "same at the same time still share one upstream call.",
    )
    scope: Literal["key", "user", "team", "global"] = Field(
        default="key",
        description="Who shares answers: nobody but the requests of one key, the keys of one user, of one team, or everybody.",
    )
    temperature_max: float = Field(
        default=0.0,
        ge=0,
        le=2,
        allow_inf_nan=False,
        description="A request that sets a higher temperature is taken to want answers that differ: it has to ask, also where "
        "the mode is `on`. One that sets none is not meant.",
    )
    single_flight: bool = Field(
        default=True,
        description="Requests that ask the same at the same time share one upstream call, if their answer may be kept.",
    )
    max_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024,
        le=1024**4,
        description="Memory for kept answers, in bytes; the least recently used makes room.",
    )
    max_entry_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        le=64 * 1024 * 1024,
        description="Largest answer that is kept or can be joined in its middle, in bytes.",
    )
    semantic: SemanticConfig = Field(default=SemanticConfig(), description="Questions that mean the same.")
    idempotency: IdempotencyConfig = Field(
        default=IdempotencyConfig(), description="Requests that are to happen once; also where `cache.mode` is `off`."
    )
    models: Mapping[str, CacheModelConfig] = Field(
        default={},
        description="Other settings for some models, by patterns such as `openai/*` over the name that is asked for; the first "
        "that fits counts.",
    )
