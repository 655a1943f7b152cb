"""The ledger's interfaces.  The proxy knows these; ``proxy/app.py`` alone chooses what stands behind them."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from ledger.records import (
    Adjustment,
    Budget,
    By,
    Key,
    Price,
    Progress,
    RequestRecord,
    Reservation,
    Settlement,
    Spent,
    UsageRow,
    Void,
)

Entry = Reservation | Settlement | Void | Adjustment | RequestRecord


class JournalPort(Protocol):
    """The journal of money.  Writes are replay-safe: the same entry twice is one entry."""

    def write(self, entries: Sequence[Entry], /, *, power: bool = False) -> Awaitable[None]:
        """Write the entries in one transaction; done when they are durable.

        power: they survive a power cut too, whatever the ledger does otherwise.
        Raises: LedgerUnavailable, when the disk refuses or the writer has stopped; then none of them is written.
        """
        ...

    def progress(self, marks: Sequence[Progress], /) -> None:
        """Note how far streams have come, soon.  Never waits and never raises: a lost mark only makes an estimate worse."""
        ...

    async def request(self, request_id: str, /) -> RequestRecord | None:
        """The record of one request."""
        ...

    async def usage(self, by: By, /, *, since_us: int, until_us: int, key_id: str | None) -> Sequence[UsageRow]:
        """What was asked, answered and charged in whole hours; of one key, or of all."""
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


class SpendingPort(Protocol):
    """What was spent, for budgets to begin with."""

    def spent(self, since_us: int, /) -> Awaitable[Sequence[Spent]]:
        """What every key spent in each day (UTC) from that of ``since_us`` on.

        It counts exactly the entries that were handed to ``write`` before this was called.  Raises: LedgerUnavailable.
        """
        ...


class BudgetPort(Protocol):
    """Where budgets are kept."""

    async def budgets(self) -> Sequence[Budget]:
        """Every budget that is stored."""
        ...
