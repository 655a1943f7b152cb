"""The whole configuration: which sections there are.  ``docs/configuration.md`` is generated from it.

What the types cannot say (a target's provider must exist, a key must be hard to guess) is in ``checks.py``.  To add a
setting, add a field to its section; to add a section, a class and a field of ``Config``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, PrivateAttr, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from proxy.config.cache import CacheConfig
from proxy.config.ledger import LedgerConfig
from proxy.config.limits import LimitsConfig
from proxy.config.owners import BudgetConfig, DrainsConfig, KeyConfig, ReservationsConfig, TeamConfig, UserConfig
from proxy.config.providers import ModelConfig, ProviderConfig
from proxy.config.realtime import RealtimeConfig
from proxy.config.routing import PolicyConfig, RoutingConfig
from proxy.config.section import without_nulls
from proxy.config.server import ServerConfig, TelemetryConfig
from proxy.config.stored import BackgroundConfig, BatchesConfig, FilesConfig
from proxy.config.traffic import CircuitBreakerConfig, HedgingConfig, LoadBalancerConfig, RetriesConfig


class Config(BaseSettings):
    """The whole configuration.  Made by `load`; `Config()` is every default and reads no environment."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, validate_default=True
    )

    server: ServerConfig = Field(default=ServerConfig(), description="Where Tollway listens.")
    providers: Mapping[str, ProviderConfig] = Field(
        default={}, description="The providers, by name. Empty: found by themselves."
    )
    models: Mapping[str, ModelConfig] = Field(default={}, description="Model names of your own.")
    aliases: Mapping[str, str] = Field(
        default={}, description="What another name for a model means: a name of `models`, another alias, or `provider/model`."
    )
    policies: Mapping[str, PolicyConfig] = Field(
        default={}, description="What `auto` and `auto:NAME` mean, where that is not what comes with Tollway."
    )
    routing: RoutingConfig = Field(default=RoutingConfig(), description="What the choice of a model rests on.")
    keys: Mapping[str, KeyConfig] = Field(default={}, description="Declared API keys, by name.")
    users: Mapping[str, UserConfig] = Field(default={}, description="Declared users, by name.")
    teams: Mapping[str, TeamConfig] = Field(default={}, description="Declared teams, by name.")
    drains: DrainsConfig = Field(default=DrainsConfig(), description="Answers that are read on after their client has left.")
    budgets: Mapping[str, BudgetConfig] = Field(default={}, description="Declared budgets, by name.")
    reservations: ReservationsConfig = Field(
        default=ReservationsConfig(), description="What requests reserve of budgets before they are sent."
    )
    limits: LimitsConfig = Field(default=LimitsConfig(), description="How fast callers may go.")
    retries: RetriesConfig = Field(default=RetriesConfig(), description="How long a request is tried.")
    load_balancer: LoadBalancerConfig = Field(
        default=LoadBalancerConfig(), description="Which of several deployments is asked."
    )
    circuit_breaker: CircuitBreakerConfig = Field(
        default=CircuitBreakerConfig(), description="Which deployments are not asked for a while."
    )
    hedging: HedgingConfig = Field(default=HedgingConfig(), description="A second try of a slow request, at the same time.")
    realtime: RealtimeConfig = Field(default=RealtimeConfig(), description="Sessions over WebSockets.")
    ledger: LedgerConfig = Field(default=LedgerConfig(), description="Where usage is written down.")
    cache: CacheConfig = Field(default=CacheConfig(), description="Answers that are kept and given again.")
    files: FilesConfig = Field(default=FilesConfig(), description="Files that clients give to providers.")
    batches: BatchesConfig = Field(default=BatchesConfig(), description="Batches that providers run.")
    background: BackgroundConfig = Field(
        default=BackgroundConfig(), description="Responses that providers make in the background."
    )
    telemetry: TelemetryConfig = Field(default=TelemetryConfig(), description="What Tollway tells about itself.")

    _warnings: tuple[str, ...] = PrivateAttr(())

    def __init__(self, *sources: PydanticBaseSettingsSource, **values: Any) -> None:
        """``values``, and where they say nothing ``sources``, the earlier first.

        pydantic-settings would look into the process's environment by itself; this never does.
        """
        super().__init__(_build_sources=((InitSettingsSource(type(self), values), *sources), {}))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is legal but unwise, one sentence each with its place, such as a secret written into the file."""
        return self._warnings

    def with_warnings(self, warnings: tuple[str, ...]) -> Config:
        """A copy that carries ``warnings``."""
        copy = self.model_copy()
        copy._warnings = warnings
        return copy

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return without_nulls(value)
