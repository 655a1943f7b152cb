"""The ledger's interfaces.  The proxy knows these; ``proxy/app.py`` alone chooses what stands behind them."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from ledger.records import Key, Price, RequestRecord, Reservation, Settlement, Void

Entry = Reservation | Settlement | Void | RequestRecord


class JournalPort(Protocol):
    """The journal of money.  Writes are replay-safe: the same entry twice is one entry."""

    def write(self, entries: Sequence[Entry], /) -> Awaitable[None]:
        """Write the entries in one transaction; done when they are durable.

        Raises: LedgerUnavailable, when the disk refuses or the writer has stopped; then none of them is written.
        """
        ...

    async def request(self, request_id: str, /) -> RequestRecord | None:
        """The record of one request."""
        ...


class PricingPort(Protocol):
    """What an offer costs."""

    def price(self, provider: str, model: str, at_us: int | None = None, /) -> Price | None:
        """The price row of a provider's model at a moment, now by default; ``None`` where none is known.  No I/O, O(1)."""
        ...


class KeyPort(Protocol):
    """Where API keys are kept."""

    async def keys(self) -> Sequence[Key]:
        """Every key that was ever made, revoked ones too."""
        ...

    async def create_key(self, key: Key, /) -> None:
        """Keep a new key.  Raises: KeyExists, when a live key has that name."""
        ...

    async def revoke_key(self, key_id: str, at_us: int, /) -> bool:
        """Revoke it; ``False`` if there is no such live key."""
        ...
