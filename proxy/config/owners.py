"""Who calls and what that may cost: the keys, users, teams and budgets that are declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from proxy.config.section import Seconds, Section, Texts


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
