"""The providers with their accounts, and the models of your own that they serve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, Strict, model_validator

from providers.provider import Endpoint
from proxy.config.limits import LimitConfig
from proxy.config.section import Address, Seconds, Section, Texts, Usd
from proxy.config.traffic import Strategy


class AccountConfig(LimitConfig):
    """One account of a provider: a credential with a share of the requests, and its limits at the provider."""

    name: str = Field(default="", description="What reports call the account. Empty: its number in the list, from 1.")
    api_key: SecretStr | None = Field(default=None, description="The account's key.")
    weight: int = Field(default=1, ge=1, le=1_000, description="Share of the requests, relative to the other accounts.")
    base_url: Address = Field(default="", description="Another address for this account. Empty: the provider's.")
    region: str = Field(default="", description="Region of this account (Bedrock, Vertex AI). Empty: the provider's.")
    project: str = Field(default="", description="Project of this account (Vertex AI). Empty: the provider's.")
    credentials_file: str = Field(
        default="", description="Key file of this account's service account (Vertex AI). Empty: the provider's."
    )
    profile: str = Field(default="", description="AWS profile of this account (Bedrock). Empty: the provider's.")
    usd_per_day: Usd | None = Field(
        default=None,
        description="US dollars that it may spend in a day (UTC); then its requests go to others. Not given: any amount.",
    )


_OF_ONE = ("api_key", "base_url", "region", "profile", "project", "credentials_file")
"""What a provider with one account says of it."""


class ProviderConfig(LimitConfig):
    """One provider.  Its name is the part before the slash in `provider/model`.  Its limits are those of each account
    that has none of its own."""

    type: (
        Literal["openai", "anthropic", "gemini", "bedrock", "cohere", "azure", "vertex", "vertex-anthropic", "litellm"] | None
    ) = Field(
        default=None,
        description="Protocol it speaks. Needed where the name is not a known vendor's; `openai` for `anthropic` and "
        "`gemini`: their layers for OpenAI's clients instead of their own protocols; `litellm` for providers whose protocol "
        "only litellm speaks.",
    )
    base_url: Address = Field(
        default="",
        description="What the endpoint's path is appended to, such as `http://10.0.0.5:8000/v1`. Empty: the vendor's.",
    )
    api_key: SecretStr | None = Field(default=None, description="The key, where there is one account; otherwise `accounts`.")
    api_version: str = Field(
        default="",
        description="API version of Azure, such as `2024-10-21`: models are then called by the URLs of their deployments. "
        "Empty: by Azure's v1 API.",
    )
    region: str = Field(
        default="",
        description="AWS region, such as `us-east-1`; Bedrock needs one. Location of Vertex AI, such as `europe-west1`; "
        "empty: `global`.",
    )
    project: str = Field(default="", description="Google Cloud project; Vertex AI needs one.")
    credentials_file: str = Field(
        default="",
        description="Path of the key file of a Google service account, for Vertex AI. "
        "Empty: the application default credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud's, or those of the machine.",
    )
    profile: str = Field(
        default="",
        description="AWS profile whose credentials sign what goes to Bedrock where there is no `api_key`. Empty: what the "
        "environment says, else the default profile, else the role of the container or the machine.",
    )
    litellm_provider: str = Field(
        default="",
        description="litellm's name for it, such as `watsonx`, where its type is `litellm`. Empty: the provider's own name.",
    )
    litellm_settings: Mapping[str, str] = Field(
        default={},
        description="More that litellm has to be told of such a provider, by the names of its arguments, such as `project_id`.",
    )
    litellm_secrets: Mapping[str, SecretStr] = Field(
        default={},
        description="The same for what nobody may read, such as `zen_api_key: env:ZEN_KEY`.",
    )
    accounts: Annotated[tuple[AccountConfig, ...], Strict(False)] = Field(
        default=(), description="Several accounts instead of one `api_key`."
    )
    models: Texts = Field(default=(), description="Names of the models it serves. Empty: whatever it lists itself.")
    endpoints: Annotated[tuple[Endpoint, ...], Strict(False)] = Field(
        default=(),
        description="The endpoints it has, such as `responses`; what it lacks is translated to what it has, where that is "
        "possible. Empty: the vendor's, or all of its type's.",
    )
    files: bool | None = Field(
        default=None,
        description="Whether it keeps files and runs batches, as OpenAI or, of `type: anthropic`, as Anthropic does. Not "
        "given: as known vendors do; others do not.",
    )
    connect_timeout_s: Seconds = Field(default=5.0, description="Seconds to connect, TLS included.")
    first_byte_timeout_s: Seconds = Field(
        default=120.0, description="Seconds from the request sent to the first byte of the answer."
    )
    idle_timeout_s: Seconds = Field(default=60.0, description="Seconds without a byte in the middle of an answer.")
    total_timeout_s: Seconds = Field(default=600.0, description="Seconds for one try, from connecting to the last byte.")

    def named_accounts(self) -> tuple[AccountConfig, ...]:
        """At least one account, each with a name; `api_key` (or no key at all) is the account called `default`."""
        if not self.accounts:
            own: dict[str, Any] = {name: getattr(self, name) for name in _OF_ONE}
            return (AccountConfig(name="default", **own, **self._limits()),)
        return tuple(
            account.model_copy(
                update={
                    "name": account.name or str(number),
                    "base_url": account.base_url or self.base_url,
                    "region": account.region or self.region,
                    "profile": account.profile or self.profile,
                    "project": account.project or self.project,
                    "credentials_file": account.credentials_file or self.credentials_file,
                    **{key: value for key, value in self._limits().items() if getattr(account, key) is None},
                }
            )
            for number, account in enumerate(self.accounts, start=1)
        )

    def _limits(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in LimitConfig.model_fields}


class TargetConfig(Section):
    """One place where a model is served.  `provider/model` alone stands for `{model: provider/model}`."""

    model: str = Field(
        default="", description="`provider/model`: everything after the first slash is the provider's own name for it."
    )
    weight: int = Field(default=1, ge=1, le=1_000, description="Share of the requests, relative to the other targets.")
    priority: int = Field(
        default=1, ge=1, le=1_000, description="Who goes first: those with 1, then, if they all fail, those with 2, and so on."
    )

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
    context_fallbacks: Texts = Field(
        default=(),
        description="What takes over when a request is too long for a target, in this order: names of `models`, or "
        "`provider/model`. One is only used if it is known to take in more.",
    )
    content_policy_fallbacks: Texts = Field(
        default=(),
        description="What takes over when a target refuses a request for its content, in this order: names of `models`, or "
        "`provider/model`.",
    )
    load_balancer: Strategy | None = Field(
        default=None, description="How one of several targets is chosen; as `load_balancer.strategy`. Not given: as that."
    )
    first_byte_timeout_s: Seconds | None = Field(
        default=None,
        description="Seconds from the request sent to the first byte of the answer, of this model. Not given: the providers'.",
    )
    idle_timeout_s: Seconds | None = Field(
        default=None, description="Seconds without a byte in the middle of an answer of it. Not given: the providers'."
    )
    total_timeout_s: Seconds | None = Field(
        default=None, description="Seconds for one try of it, from connecting to the last byte. Not given: the providers'."
    )
