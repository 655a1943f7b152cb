"""The ledger's interfaces.  The proxy knows these; ``proxy/app.py`` alone chooses what stands behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

from ledger.records import (
    Adjustment,
    Budget,
    By,
    Change,
    Key,
    Kind,
    Owned,
    Price,
    Progress,
    RequestRecord,
    Reservation,
    Settlement,
    Spent,
    Team,
    UsageRow,
    User,
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

    async def adjusted_nusd(self, request_id: str, /) -> int:
        """By how much its tries' costs were adjusted since they were settled."""
        ...

    async def usage(self, by: By, /, *, since_us: int, until_us: int, key_id: str | None) -> Sequence[UsageRow]:
        """What was asked, answered and charged in whole hours; of one key, or of all."""
        ...


class PricingPort(Protocol):
    """What an offer costs."""

    def price(self, provider: str, model: str, at_us: int | None = None, /) -> Price | None:
        """The price row of a provider's model at a moment, now by default; ``None`` where none is known.  No I/O, O(1)."""
        ...


class OwnerPort(Protocol):
    """Where keys, teams, users and budgets are kept, and who changed them."""

    async def owned(self) -> Owned:
        """Everything there is, revoked and removed ones too."""
        ...

    def put(self, change: Change, owner: Key | Team | User | Budget | None, /) -> asyncio.Future[None]:
        """Keep an object, new or changed, and the line of the audit log that says so: both or neither, durable when done.

        ``None``: the budget that the change names is removed.  It is queued at once, whether or not the result is awaited,
        and done in a later turn of the loop.
        Raises: LedgerUnavailable; NameTaken, when something live has that name (or anything that digest).
        """
        ...

    async def changes(
        self, *, limit: int, before_id: int | None = None, kind: Kind | None = None, object: str | None = None
    ) -> Sequence[Change]:
        """The audit log, the latest first: those before one of them, of one kind, of one object."""
        ...


class SpendingPort(Protocol):
    """What was spent, for budgets to begin with."""

    def spent(self, since_us: int, /) -> Awaitable[Sequence[Spent]]:
        """What every key spent in each day (UTC) from that of ``since_us`` on.

        It counts exactly the entries that were handed to ``write`` before this was called.  Raises: LedgerUnavailable.
        """
        ...
