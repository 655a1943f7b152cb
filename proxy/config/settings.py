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

from ledger.catalogue.merge import ORDER
from providers.provider import Endpoint

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
    key_in_query: bool = Field(
        default=False,
        description="Whether Gemini's clients may send their key in the URL (`?key=`), where proxies on the way log it.",
    )
    max_connections: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Open client connections; more are answered with 503."
    )


class LimitConfig(Section):
    """How fast something may be used.  Not given: as fast as it likes."""

    requests_per_minute: int | None = Field(default=None, ge=1, le=1_000_000_000, description="Requests a minute.")
    tokens_per_minute: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Tokens a minute, those in and those out together."
    )
    concurrent: int | None = Field(default=None, ge=1, le=1_000_000, description="Requests under way at once.")


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

    type: Literal["openai", "anthropic", "gemini", "bedrock", "cohere", "azure", "vertex", "vertex-anthropic"] | None = Field(
        default=None,
        description="Protocol it speaks. Needed where the name is not a known vendor's; `openai` for `anthropic` and "
        "`gemini`: their layers for OpenAI's clients instead of their own protocols.",
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
    accounts: Annotated[tuple[AccountConfig, ...], Strict(False)] = Field(
        default=(), description="Several accounts instead of one `api_key`."
    )
    models: Texts = Field(default=(), description="Names of the models it serves. Empty: whatever it lists itself.")
    endpoints: Annotated[tuple[Endpoint, ...], Strict(False)] = Field(
        default=(),
        description="The endpoints it has, such as `responses`; what it lacks is translated to what it has, where that is "
        "possible. Empty: the vendor's, or all of its type's.",
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


Strategy = Literal["p2c", "round_robin", "least_in_flight", "weighted"]


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


class TeamConfig(Section):
    """A team that is declared here instead of being made by `tollway teams create`.  Keys and users belong to it."""

    models: Texts = Field(
        default=(), description="Patterns (`*`, `?`) of the model names that may be used, such as `openai/*`. Empty: all."
    )
    requests_per_minute: int | None = Field(default=None, ge=1, description="Requests a minute. Not given: no limit.")
    tokens_per_minute: int | None = Field(default=None, ge=1, description="Tokens a minute. Not given: no limit.")
    concurrent: int | None = Field(default=None, ge=1, description="Requests under way at once. Not given: no limit.")
    metadata: Mapping[str, str] = Field(default={}, description="Whatever you want to note; texts by name.")


class UserConfig(TeamConfig):
    """A user who is declared here instead of being made by `tollway users create`.  Keys belong to it."""

    team: str = Field(
        default="", description="The team that it belongs to; one of `teams`. A key without one: that of its user."
    )


class KeyConfig(UserConfig):
    """An API key of Tollway that is declared here instead of being made by `tollway keys create`.

    team: without one, that of its user.
    """

    key: SecretStr | None = Field(
        default=None,
        description="What the client sends; at least 128 bits, such as `openssl rand -hex 32` prints.",
    )
    admin: bool = Field(default=False, description="Whether it may administer Tollway.")
    user: str = Field(default="", description="The user whom the key belongs to; one of `users`.")
    endpoints: Texts = Field(
        default=(), description="The endpoints that it may call, such as `chat/completions`, `embeddings`. Empty: all."
    )
    priority: Literal["high", "normal", "low"] = Field(
        default="normal", description="Who goes first when there is not room for all."
    )
    disconnect: str = Field(
        default="cancel",
        description="What becomes of a stream whose client leaves: `cancel` ends it, `drain` reads it to its end so that its "
        "usage is exact, `drain:N` reads at most N tokens more.",
    )
    durability: Literal["process", "power"] | None = Field(
        default=None, description="What the entries of its requests outlive, as `ledger.durability`. Not given: as that says."
    )


class DrainsConfig(Section):
    """Answers that are read to their end after their client has left, for keys whose `disconnect` says so."""

    max_concurrent: int = Field(
        default=100, ge=0, le=100_000, description="So many at once; beyond it, they are cancelled as for other keys."
    )
    timeout_s: Seconds = Field(default=60.0, description="Seconds that one is read on for nobody; then it is cancelled.")


class BudgetConfig(Section):
    """How much one scope may spend within a period.  One of `usd`, `tokens` and `requests` is given."""

    scope: str = Field(
        default="global", description="Whose requests count: `key:ID`, `user:NAME`, `team:NAME`, or `global`: all of them."
    )
    usd: Annotated[float, Field(ge=0, le=1_000_000_000, allow_inf_nan=False)] | None = Field(
        default=None, description="The limit in US dollars. Models without a known price are then refused."
    )
    tokens: Annotated[int, Field(ge=0, le=10**15)] | None = Field(default=None, description="The limit in tokens, in and out.")
    requests: Annotated[int, Field(ge=0, le=10**15)] | None = Field(
        default=None, description="The limit in requests that were sent to a provider, however they ended."
    )
    period: Literal["day", "week", "month", "total"] = Field(
        default="month", description="For how long the limit is: a day, an ISO week or a month of UTC; `total`: for ever."
    )
    warn_percent: int = Field(
        default=80,
        ge=0,
        le=100,
        description="From this part of the limit on, answers carry a warning and one line is logged; 0: never.",
    )


class ReservationsConfig(Section):
    """What a request reserves of its budgets before it is sent, where it does not say itself what it can cost."""

    input_bytes_per_token: int = Field(
        default=2,
        ge=1,
        le=8,
        description="Bytes of a request's body that are taken to be a token, at least. "
        "Text of any language has more; 1 is certain. Where less is left than that could cost, 1 is taken.",
    )
    assume_output_tokens: int = Field(
        default=4096,
        ge=1,
        le=10_000_000,
        description="Tokens of an answer to which the client sets no bound (`max_tokens`), if the model can give so many.",
    )
    assume_reference_tokens: int = Field(
        default=2000,
        ge=0,
        le=10_000_000,
        description="Tokens in, for each picture, file, sound, earlier response or provider's tool that a request names.",
    )
    serialize_near_limit: bool = Field(
        default=True,
        description="Where less is left of a budget than requests under way could cost beyond what they reserved: "
        "whether only one of those that could is let through at a time.",
    )
    wait_timeout_s: float = Field(
        default=2.0,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="Seconds a request waits for room that others under way may leave, before it is told to come back.",
    )


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
        description="Memory for them, in bytes; the least recently used makes room. Of an answer larger than "
        "`cache.max_entry_bytes` is only kept that there was one.",
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
    ledger: LedgerConfig = Field(default=LedgerConfig(), description="Where usage is written down.")
    cache: CacheConfig = Field(default=CacheConfig(), description="Answers that are kept and given again.")
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
