"""An upstream, what is sent to it, and what is read of its answers."""

from __future__ import annotations

import re
import typing
from collections.abc import AsyncGenerator
from typing import Any, Final, Literal

import msgspec

from providers.usage import Usage

Endpoint = Literal[
    "chat/completions",
    "completions",
    "embeddings",
    "responses",
    "responses/input_tokens",
    "responses/compact",
    "moderations",
    "images/generations",
    "images/edits",
    "images/variations",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "rerank",
    "realtime",
    "messages",
    "messages/count_tokens",
    "generateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
    "converse",
    "count-tokens",
    "invoke",
    "v2/chat",
    "v2/embed",
]
"""What a client may call, and an upstream may serve: OpenAI's fourteen, the last of them a session rather than a request; one
for reranking, which OpenAI has not and others have alike; Anthropic's two, Gemini's four; and what only an upstream serves:
Bedrock's, Cohere's."""

INNER: Final[frozenset[Endpoint]] = frozenset({"converse", "count-tokens", "invoke", "v2/chat", "v2/embed"})
"""Those that no client calls."""

Protocol = Literal["openai", "anthropic", "gemini", "bedrock", "cohere", "azure", "vertex", "vertex-anthropic", "litellm"]
"""Whose way of writing requests it is, and of opening the door: what ``type`` says in the configuration.  Azure's words are
OpenAI's, its addresses and its keys' header are not; Vertex AI's are Gemini's, or Anthropic's; who is reached through litellm
is written to in OpenAI's."""

_PROTOCOLS: dict[Endpoint, Protocol] = {
    "messages": "anthropic",
    "messages/count_tokens": "anthropic",
    "generateContent": "gemini",
    "countTokens": "gemini",
    "embedContent": "gemini",
    "batchEmbedContents": "gemini",
    "converse": "bedrock",
    "count-tokens": "bedrock",
    "invoke": "bedrock",
    "v2/chat": "cohere",
    "v2/embed": "cohere",
}


def protocol_of(endpoint: Endpoint) -> Protocol:
    """Whose endpoint it is."""
    return _PROTOCOLS.get(endpoint, "openai")


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor.

    protocol: whose credentials and list of models it has; each of its endpoints is written as its own name says.
    base_url: what the endpoint's path is appended to; ``{region}`` and ``{project}`` in it stand for the account's,
    ``{resource}`` for what has to be configured.
    key_header: what a key is sent as; empty: as a bearer token.
    models_path: where below it the list of its models is; empty: nowhere that is asked.
    paths: where below ``base_url`` an endpoint is that is not under its own name.
    key_names: environment variables its own documentation uses for the key, the usual one first.
    endpoints: what it serves; what can be translated to one of these is, anything else is refused before it is sent.
    prices: the vendor's name in litellm's price file; empty where it has none.
    free: it runs on the user's own machine and nobody charges for it.
    asks_usage: a stream carries usage only if ``stream_options.include_usage`` asks for it.
    strips_usage: the chunk that was only sent because we asked is taken out again.
    needs_key: ``False`` for servers that run without one.
    marks_prefix: the beginning of an answer that it is to go on with has to be marked as such.
    keeps_alive: connections may be used again; llama.cpp sometimes drops the one that follows a stream.
    output_max: sent where the protocol demands a bound of the answer, the client set none, and no list has the model's.
    cache_hints: it takes Anthropic's ``cache_control`` in OpenAI's protocol, which others refuse.
    newer_bound: it takes OpenAI's ``max_completion_tokens``; all others know ``max_tokens``.
    files: it keeps files and runs batches as OpenAI does, or as Anthropic does if that is its protocol.
    """

    name: str
    base_url: str
    protocol: Protocol = "openai"
    models_path: str = "models"
    paths: tuple[tuple[Endpoint, str], ...] = ()
    key_names: tuple[str, ...] = ()
    key_header: str = ""
    endpoints: frozenset[Endpoint] = frozenset({"chat/completions"})
    prices: str = ""
    asks_usage: bool = True
    strips_usage: bool = True
    needs_key: bool = True
    free: bool = False
    marks_prefix: bool = False
    keeps_alive: bool = True
    output_max: int = 4_096
    cache_hints: bool = False
    newer_bound: bool = False
    files: bool = False

    def path(self, endpoint: Endpoint) -> str:
        """Where an endpoint is, below the base URL."""
        return next((path for name, path in self.paths if name == endpoint), endpoint) if self.paths else endpoint


Skill = Literal["chat", "embedding", "tools", "vision", "thinking"]
TOKENS_MAX: Final = 10**9


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of a model that it runs.

    context_tokens: what it takes in, answer included.  can: what it can do; ``None``: nothing is said of that.
    """

    context_tokens: int | None = None
    can: frozenset[Skill] | None = None


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long each phase of a try may take, in seconds."""

    connect_s: float = 5.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = 600.0


class Litellm(msgspec.Struct, frozen=True, kw_only=True):
    """An account that is reached through litellm.

    provider: litellm's name for it.  settings: more of litellm's own arguments.  timeout_s: of one request.
    """

    provider: str
    timeout_s: float
    api_key: str = ""
    base_url: str = ""
    settings: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Litellm({self.provider!r}, {self.base_url!r})"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who an account without a key is, as far as the configuration says.

    region, profile: AWS's.  credentials_file: Google's.  litellm: what litellm is told.
    """

    region: str = ""
    profile: str = ""
    credentials_file: str = ""
    litellm: Litellm | None = None


class Signer(typing.Protocol):
    """What opens an upstream that no fixed key does."""

    async def signed(self, request: HttpRequest) -> HttpRequest:
        """The request with what proves whose it is, or to where it gets that; its body stays as it is.

        Raises: NoCredentials, ConnectFailed.
        """
        ...


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """One account at one provider: where it is and what opens it.

    provider: the name in the configuration.  account: tells several keys of one provider apart.
    base_url: without a trailing slash.  api_key: never shown by ``repr``.  signer: where there is no such key.
    api_version: the model's name is then in the URL, as Azure's deployment, and the version behind it.
    """

    provider: str
    account: str
    vendor: Vendor
    base_url: str
    api_key: str | None = None
    signer: Signer | None = None
    api_version: str = ""
    timeouts: Timeouts = Timeouts()

    def __rich_repr__(self) -> Any:
        """The fields without the key."""
        yield "provider", self.provider
        yield "account", self.account
        yield "base_url", self.base_url

    def __repr__(self) -> str:
        return f"Upstream({self.provider!r}, {self.account!r}, {self.base_url!r})"


_OUTSIDE: Final = re.compile(rb"[^A-Za-z0-9._~@-]")


def segment(name: str) -> str:
    """A name as one part of a URL's path: nothing in it leads anywhere else."""
    if not name.strip("."):
        # Dots alone would lead upwards, also in their escaped form; nothing is called so.
        return name.replace(".", "%252E")
    return _OUTSIDE.sub(lambda match: b"%%%02X" % match[0][0], name.encode("utf-8", "replace")).decode()


class Body(typing.Protocol):
    """A request's body that is not held in one piece.

    is_sent: whether all of it was handed over to whoever sends it; until then the upstream has no whole request.
    """

    is_sent: bool

    @property
    def length(self) -> int | None:
        """Of all its pieces together; ``None``: nobody knows yet, so that it is sent in chunks."""
        ...

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body from its beginning, none of the pieces empty.  What it raises goes through whoever sends it, unchanged."""
        ...


class HttpRequest(msgspec.Struct, frozen=True):
    """A request to an upstream.  ``url`` names no credential; ``headers`` hold one, so they are never logged.

    method: ``POST``; others only for what an upstream keeps.
    """

    url: str
    headers: dict[str, str]
    body: bytes | Body
    method: str = "POST"

    def __repr__(self) -> str:
        size = len(self.body) if isinstance(self.body, bytes) else self.body.length
        return f"HttpRequest({self.url!r}, {'unknown' if size is None else size} bytes)"


class WebSocket(typing.Protocol):
    """One end of a session: a socket to an upstream, or to a client.  It reads nothing until somebody listens."""

    def listen(self, listener: Listener, /) -> None:
        """Hear what has come already, and what comes from now on."""
        ...

    def say(self, data: bytes, *, text: bool) -> None:
        """Send a message; nothing happens to one for a socket that is closed."""
        ...

    def pause(self) -> None:
        """Read no more for now."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def close(self, code: int = ..., reason: str = ...) -> None:
        """Say that it is over.  Twice is once."""
        ...


class Listener(typing.Protocol):
    """What hears a socket.  Raises nothing."""

    def message(self, socket: WebSocket, data: bytes, text: bool, /) -> None:
        """A whole message."""
        ...

    def full(self, socket: WebSocket, /) -> None:
        """The other side reads more slowly than it is written to."""
        ...

    def drained(self, socket: WebSocket, /) -> None:
        """It has caught up."""
        ...

    def closed(self, socket: WebSocket, code: int, reason: str, /) -> None:
        """There is no more to come, once.  code: as the other side said it; 1005: it said none, 1006: it just went away."""
        ...


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The metered side of a whole answer.  ``usage`` is ``None`` where the upstream reported nothing credible.

    truncated: it ends where it does since it had come to its length.
    id: of a response that the upstream may keep; empty: it keeps none.  status: how far that is.
    """

    model: str
    usage: Usage | None
    usage_raw: bytes
    truncated: bool = False
    id: str = ""
    status: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether it is still being made in the background.

        Source: platform.openai.com/docs/guides/background, read 2026-11.
        """
        return self.status in ("queued", "in_progress")
