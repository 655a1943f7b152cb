"""An upstream, and what is sent to it."""

from __future__ import annotations

from typing import Any

import msgspec

from providers.openai.vendors import Endpoint, Vendor


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


__all__ = ["Endpoint", "HttpRequest", "Timeouts", "Upstream"]
