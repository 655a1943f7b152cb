"""Every setting: its place, default, unit and meaning.  ``docs/configuration.md`` is generated from these classes.

A class is one mapping of the file, a field one key.  What the types cannot say (a target's provider must exist, a key
must be hard to guess) is in ``checks.py``.  All are frozen, refuse unknown keys and take YAML's types as they are: the
text ``"4000"`` is not a number.  To add a setting, add a field; to add a section, a class and a field of ``Config``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, Strict, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Address = Annotated[str, AfterValidator(lambda text: text.rstrip("/"))]
Usd = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Texts = Annotated[tuple[str, ...], Strict(False)]  # YAML has lists, frozen settings have tuples

SQLITE = "sqlite:///"


class Section(BaseModel):
    """A mapping of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return without_nulls(value)


def without_nulls(value: object) -> object:
    """``value`` as if its empty keys (``models:`` with nothing behind it) were not there; the defaults then apply."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item is not None}
    return value


class ServerConfig(Section):
    """Where Tollway listens, and what it takes from a client before it lets go."""

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. Other machines reach Tollway only if this is not a loopback address.",
    )
    port: int = Field(default=4000, ge=0, le=65_535, description="TCP port to listen on; 0 takes any free one.")
    hosts: Texts = Field(
        default=(),
        description="Host names a request may carry besides the address it listens on. "
        "Empty: the loopback names when it listens on loopback, any valid name otherwise.",
    )
    max_body_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1024,
        le=1024**3,
        description="Largest request body, in bytes; a larger one is refused with 413.",
    )
    header_timeout_s: Seconds = Field(default=10.0, description="Seconds a client has to send a request's headers.")
    body_timeout_s: Seconds = Field(default=30.0, description="Seconds a client has to send a request's body.")
    write_timeout_s: Seconds = Field(
        default=60.0, description="Seconds a client may leave what is sent to it unread before it is cut off."
    )
    keep_alive_timeout_s: Seconds = Field(default=75.0, description="Seconds an idle connection is kept open.")
    drain_timeout_s: Seconds = Field(
        default=30.0,
        description="Seconds that requests under way may go on after SIGTERM; then they are ended with an error.",
    )
    max_connections: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Open client connections; more are answered with 503."
    )


class AccountConfig(Section):
    """One account of a provider: a credential with a share of the requests."""

    name: str = Field(default="", description="What reports call the account. Empty: its number in the list, from 1.")
    api_key: SecretStr | None = Field(default=None, description="The account's key.")
    weight: int = Field(default=1, ge=1, le=1_000, description="Share of the requests, relative to the other accounts.")
    base_url: Address = Field(default="", description="Another address for this account. Empty: the provider's.")


class ProviderConfig(Section):
    """One provider.  Its name is the part before the slash in `provider/model`."""

    type: Literal["openai"] | None = Field(
        default=None, description="Protocol it speaks. Needed where the name is not a known vendor's."
    )
    base_url: Address = Field(
        default="",
        description="What the endpoint's path is appended to, such as `http://10.0.0.5:8000/v1`. Empty: the vendor's.",
    )
    api_key: SecretStr | None = Field(default=None, description="The key, where there is one account; otherwise `accounts`.")
    accounts: Annotated[tuple[AccountConfig, ...], Strict(False)] = Field(
        default=(), description="Several accounts instead of one `api_key`."
    )
    models: Texts = Field(default=(), description="Names of the models it serves. Empty: whatever it lists itself.")
    connect_timeout_s: Seconds = Field(default=5.0, description="Seconds to connect, TLS included.")
    first_byte_timeout_s: Seconds = Field(
        default=120.0, description="Seconds from the request sent to the first byte of the answer."
    )
    idle_timeout_s: Seconds = Field(default=60.0, description="Seconds without a byte in the middle of an answer.")
    total_timeout_s: Seconds = Field(default=600.0, description="Seconds for one try, from connecting to the last byte.")

    def named_accounts(self) -> tuple[AccountConfig, ...]:
        """At least one account, each with a name; `api_key` (or no key at all) is the account called `default`."""
        if not self.accounts:
            return (AccountConfig(name="default", api_key=self.api_key, base_url=self.base_url),)
        return tuple(
            account.model_copy(update={"name": account.name or str(number), "base_url": account.base_url or self.base_url})
            for number, account in enumerate(self.accounts, start=1)
        )


class TargetConfig(Section):
    """One place where a model is served.  `provider/model` alone stands for `{model: provider/model}`."""

    model: str = Field(
        default="", description="`provider/model`: everything after the first slash is the provider's own name for it."
    )
    weight: int = Field(default=1, ge=1, le=1_000, description="Share of the requests, relative to the other targets.")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return value if isinstance(value, dict | TargetConfig) else {"model": value}

    @property
    def provider(self) -> str:
        """The part before the first slash."""
        return self.model.partition("/")[0]

    @property
    def upstream_model(self) -> str:
        """The part after the first slash: what the provider calls the model."""
        return self.model.partition("/")[2]


class ModelConfig(Section):
    """A model name of your own, served by one or more targets."""

    targets: Annotated[tuple[TargetConfig, ...], Strict(False)] = Field(
        default=(), description="Where it is served; at least one."
    )
    fallbacks: Texts = Field(
        default=(),
        description="What takes over when every target has failed, in this order: names of `models`, or `provider/model`.",
    )


class KeyConfig(Section):
    """An API key of Tollway that is declared here instead of being made by `tollway keys create`."""

    key: SecretStr | None = Field(
        default=None,
        description="What the client sends; at least 128 bits, such as `openssl rand -hex 32` prints.",
    )
    admin: bool = Field(default=False, description="Whether it may administer Tollway.")
    models: Texts = Field(
        default=(), description="Patterns (`*`, `?`) of the model names it may use, such as `openai/*`. Empty: all."
    )


class RetriesConfig(Section):
    """How long a request is tried before its client hears of a failure."""

    max_attempts: int = Field(
        default=3, ge=1, le=20, description="Tries of one request over all its deployments, the first included."
    )
    total_timeout_s: Seconds = Field(default=600.0, description="Seconds for all the tries of one request together.")


class RatesConfig(Section):
    """What each unit costs, in US dollars: per million tokens, per request, per web search."""

    input_usd_per_mtok: Usd | None = Field(default=None, description="A million tokens in.")
    output_usd_per_mtok: Usd | None = Field(default=None, description="A million tokens out.")
    cache_read_usd_per_mtok: Usd | None = Field(
        default=None, description="A million tokens read from the provider's cache. Not given: as input."
    )
    cache_write_usd_per_mtok: Usd | None = Field(
        default=None, description="A million tokens written to the cache for five minutes. Not given: as input."
    )
    cache_write_1h_usd_per_mtok: Usd | None = Field(
        default=None, description="The same for an hour. Not given: as for five minutes."
    )
    cache_read_audio_usd_per_mtok: Usd | None = Field(
        default=None, description="A million cached tokens of audio. Not given: as other cached tokens."
    )
    input_audio_usd_per_mtok: Usd | None = Field(default=None, description="A million tokens of audio in. Not given: as input.")
    input_image_usd_per_mtok: Usd | None = Field(
        default=None, description="A million tokens of images in. Not given: as input."
    )
    reasoning_usd_per_mtok: Usd | None = Field(default=None, description="A million tokens of reasoning. Not given: as output.")
    output_audio_usd_per_mtok: Usd | None = Field(
        default=None, description="A million tokens of audio out. Not given: as output."
    )
    output_image_usd_per_mtok: Usd | None = Field(
        default=None, description="A million tokens of images out. Not given: as output."
    )
    request_usd: Usd | None = Field(default=None, description="One request, beside its tokens.")
    search_usd: Usd | None = Field(default=None, description="One web search that the provider ran, beside the tokens.")


class ContextTierConfig(RatesConfig):
    """What a request costs whose input is larger than `above_tokens`; what is not given costs what it does below."""

    above_tokens: int = Field(
        default=0,
        ge=0,
        le=1_000_000_000,
        description="The tier is for requests with more input tokens than this, cached ones too, and for all of their tokens.",
    )


class ServiceTierConfig(RatesConfig):
    """What a request costs that is served as `name`; what is not given costs the standard price."""

    name: str = Field(default="", description="What the provider's answers call it: `batch`, `flex`, `priority`.")
    context_tiers: Annotated[tuple[ContextTierConfig, ...], Strict(False)] = Field(
        default=(), description="Its own prices for large inputs."
    )


class PriceConfig(RatesConfig):
    """A price row of your own; it counts before those of every price list."""

    model: str = Field(
        default="", description="`provider/model`, as for a target; several rows with different dates may name the same."
    )
    effective_from: str = Field(
        default="", description="The day from which it holds, such as `2026-12-01`, 00:00 UTC. Empty: always did."
    )
    effective_to: str = Field(default="", description="The day from which it holds no longer. Empty: for ever.")
    context_tiers: Annotated[tuple[ContextTierConfig, ...], Strict(False)] = Field(
        default=(), description="Other prices for large inputs."
    )
    service_tiers: Annotated[tuple[ServiceTierConfig, ...], Strict(False)] = Field(
        default=(), description="Other prices by the way that the provider served it."
    )


class RefreshSourceConfig(Section):
    """One source of facts about models.  `docs/ledger.md` lists them, with their defaults and licences."""

    enabled: bool | None = Field(
        default=None, description="Whether it is asked. Not given: as its row in docs/ledger.md says, mostly yes."
    )
    every_hours: float | None = Field(
        default=None,
        ge=0.1,
        le=8760,
        allow_inf_nan=False,
        description="Hours from one answer to the next request, give or take a tenth. Not given: the source's own.",
    )
    url: Address = Field(
        default="", description="Where it is, https or on this machine: another version, or a mirror. Empty: its own."
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="The key of `artificial_analysis`. Not given: `AA_API_KEY` in the environment, if it is there.",
    )
    models: Texts = Field(
        default=(), description="For `openrouter_endpoints`: the models whose hosts are asked for, such as `openai/gpt-5`."
    )


class RefreshConfig(Section):
    """How facts about models are brought up to date."""

    enabled: bool = Field(
        default=False,
        description="Whether sources are asked in the background while Tollway serves. Without it nobody is asked but by "
        "`tollway ledger refresh`.",
    )
    sources: Mapping[str, RefreshSourceConfig] = Field(default={}, description="Settings of single sources, by name.")


class OverridesConfig(Section):
    """Values of your own, before those of every source."""

    file: str = Field(
        default="", description="A YAML file of them. Empty: `overrides.yaml` under `TOLLWAY_HOME`, if it is there."
    )

    def path(self, home: Path) -> Path:
        """The file; `home` is where it is by default."""
        return Path(self.file) if self.file else home / "overrides.yaml"


class LedgerConfig(Section):
    """Where usage and money are written down."""

    url: str = Field(
        default="",
        description="`sqlite:///relative/path` or `sqlite:////absolute/path`. Empty: `ledger.sqlite` under `TOLLWAY_HOME`.",
    )
    durability: Literal["process", "power"] = Field(
        default="process",
        description="`process`: an entry survives the death of Tollway; `power`: the machine's too, "
        "at the cost of one disk flush per group of entries.",
    )
    unknown_price: Literal["lax", "strict"] = Field(
        default="lax",
        description="What happens to a request for a model without a known price. `lax`: it is served, its cost recorded as "
        "unknown; `strict`: it is refused with 400 `price_unknown`.",
    )
    prices: Annotated[tuple[PriceConfig, ...], Strict(False)] = Field(
        default=(), description="Prices of your own, for contracts, discounts and models that no price list has."
    )
    refresh: RefreshConfig = Field(default=RefreshConfig(), description="How facts about models are brought up to date.")
    overrides: OverridesConfig = Field(
        default=OverridesConfig(), description="Values of your own, before those of every source."
    )

    def path(self, home: Path) -> Path:
        """The SQLite file; `home` is where it is by default."""
        return Path(self.url.removeprefix(SQLITE)) if self.url else home / "ledger.sqlite"


class LogsConfig(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least serious event that is written."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: `console` on a terminal, `json` elsewhere."
    )


class TelemetryConfig(Section):
    """What Tollway tells about itself."""

    logs: LogsConfig = Field(default=LogsConfig(), description="Log lines.")


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
    keys: Mapping[str, KeyConfig] = Field(default={}, description="Declared API keys, by name.")
    retries: RetriesConfig = Field(default=RetriesConfig(), description="How long a request is tried.")
    ledger: LedgerConfig = Field(default=LedgerConfig(), description="Where usage is written down.")
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
