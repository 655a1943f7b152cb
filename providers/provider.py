"""An upstream, and what is sent to it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Endpoint = Literal["chat/completions", "completions", "embeddings", "responses"]


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor.

    base_url: what the endpoint's path is appended to.
    key_names: environment variables its own documentation uses for the key, the usual one first.
    endpoints: what it serves; anything else is refused before it is sent.
    prices: the vendor's name in litellm's price file; empty where it has none.
    free: it runs on the user's own machine and nobody charges for it.
    asks_usage: a stream carries usage only if ``stream_options.include_usage`` asks for it.
    strips_usage: the chunk that was only sent because we asked is taken out again.
    needs_key: ``False`` for servers that run without one.
    marks_prefix: the beginning of an answer that it is to go on with has to be marked as such.
    keeps_alive: connections may be used again; llama.cpp sometimes drops the one that follows a stream.
    """

    name: str
    base_url: str
    key_names: tuple[str, ...] = ()
    endpoints: frozenset[Endpoint] = frozenset({"chat/completions"})
    prices: str = ""
    asks_usage: bool = True
    strips_usage: bool = True
    needs_key: bool = True
    free: bool = False
    marks_prefix: bool = False
    keeps_alive: bool = True


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long each phase of a try may take, in seconds."""

    connect_s: float = 5.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = 600.0


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """One account at one provider: where it is and what opens it.

    provider: the name in the configuration.  account: tells several keys of one provider apart.
    base_url: without a trailing slash.  api_key: never shown by ``repr``.
    """

    provider: str
    account: str
    vendor: Vendor
    base_url: str
    api_key: str | None = None
    timeouts: Timeouts = Timeouts()

    def __rich_repr__(self) -> Any:
        """The fields without the key."""
        yield "provider", self.provider
        yield "account", self.account
        yield "base_url", self.base_url

    def __repr__(self) -> str:
        return f"Upstream({self.provider!r}, {self.account!r}, {self.base_url!r})"


class HttpRequest(msgspec.Struct, frozen=True):
    """A POST to an upstream.  ``url`` names no credential; ``headers`` hold one, so they are never logged."""

    url: str
    headers: dict[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"HttpRequest({self.url!r}, {len(self.body)} bytes)"
