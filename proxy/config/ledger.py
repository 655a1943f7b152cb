"""Where usage and money are written down, what things cost, and whose facts about models count."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, Strict

from ledger.catalogue.merge import ORDER
from ledger.prices import pieces
from proxy.config.section import Address, Section, Texts, Usd

SQLITE = "sqlite:///"
BY_THE_PIECE = tuple(field.replace("_nusd", "_usd") for field in pieces.BY_THE_PIECE)


class RatesConfig(Section):
    """What each unit costs, in US dollars: per million tokens, per request, per web search, per piece."""

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
    image_usd: Usd | None = Field(
        default=None, description="One picture that was made, where the provider does not count its tokens."
    )
    query_usd: Usd | None = Field(default=None, description="One search unit of a reranking.")
    characters_usd_per_mchar: Usd | None = Field(default=None, description="A million characters that were spoken.")
    audio_usd_per_hour: Usd | None = Field(
        default=None, description="An hour of sound that was listened to, where the provider does not count its tokens."
    )
    spoken_usd_per_hour: Usd | None = Field(
        default=None, description="An hour of speech that was made, where the provider does not count its tokens."
    )


class ImageRateConfig(Section):
    """What a picture of one size and quality costs."""

    size: str = Field(default="", description="Width and height in pixels, `1024x1536`. Empty: of whatever size.")
    quality: str = Field(default="", description="What the provider calls it: `low`, `hd`. Empty: of whatever quality.")
    image_usd: Usd | None = Field(default=None, description="One such picture, in US dollars.")


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
    images: Annotated[tuple[ImageRateConfig, ...], Strict(False)] = Field(
        default=(), description="Pictures that cost something else than `image_usd`, by size and quality."
    )

    @property
    def is_filled(self) -> bool:
        """Whether tokens in and out have a price, or something that is charged by the piece has."""
        by_token = self.input_usd_per_mtok is not None and self.output_usd_per_mtok is not None
        return by_token or bool(self.images) or any(getattr(self, name) is not None for name in BY_THE_PIECE)


class SubscriptionConfig(Section):
    """A flat fee that is paid to a provider; reports share it by tokens."""

    name: str = Field(default="", description="What reports and exports call it.")
    provider: str = Field(default="", description="The provider whose usage it covers.")
    usd_per_month: Usd | None = Field(default=None, description="The fee for a calendar month, in US dollars.")
    models: Texts = Field(
        default=(), description="Patterns (`*`, `?`) of the provider's names of the models that it covers. Empty: all."
    )
    effective_from: str = Field(
        default="", description="The day from which it holds, such as `2026-12-01`, 00:00 UTC. Empty: always did."
    )
    effective_to: str = Field(default="", description="The day from which it holds no longer. Empty: for ever.")


class PriorityConfig(Section):
    """Whose facts count for one metric, or for one group of them."""

    order: Texts = Field(default=(), description="Names of sources, the first counts most.")


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
    subscriptions: Annotated[tuple[SubscriptionConfig, ...], Strict(False)] = Field(
        default=(), description="Flat fees that are paid to providers; reports share them by tokens within each month."
    )

    hold_hours: int = Field(
        default=24,
        ge=1,
        le=8_760,
        description="Hours that a try is held of which nobody knows whether it cost anything; reconciliation may resolve it.",
    )
    after_hold: Literal["charge", "waive"] = Field(
        default="charge",
        description="What becomes of it then. `charge`: what was held stays charged; `waive`: it costs nothing.",
    )

    priority: Texts = Field(
        default=ORDER,
        description="Whose facts about models count, the first most: names of sources. A source that is not named comes last.",
    )
    priority_of: Mapping[str, PriorityConfig] = Field(
        default={},
        description="Another order for a metric, such as `ttft_p50`, or for a group of metrics: "
        "`quality`, `agentic`, `speed`, `price`, `limit`, `reliability`.",
    )

    refresh: RefreshConfig = Field(default=RefreshConfig(), description="How facts about models are brought up to date.")
    overrides: OverridesConfig = Field(
        default=OverridesConfig(), description="Values of your own, before those of every source."
    )

    def path(self, home: Path) -> Path:
        """The SQLite file; `home` is where it is by default."""
        return Path(self.url.removeprefix(SQLITE)) if self.url else home / "ledger.sqlite"
