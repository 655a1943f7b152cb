"""The ledger's interfaces.  The proxy knows these; ``proxy/app.py`` alone chooses what stands behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

import msgspec

from ledger.catalogue.identity import Alias, Resolver
from ledger.catalogue.indices import Indices
from ledger.catalogue.merge import Model, Score
from ledger.catalogue.snapshot import Live, Snapshot, StatedPrice
from ledger.facts import Observation, Parsed
from ledger.records import (
    Adjustment,
    Budget,
    By,
    Change,
    Checked,
    DecisionRecord,
    Feedback,
    Key,
    Kind,
    Owned,
    Price,
    Progress,
    RequestRecord,
    Reservation,
    Routed,
    Settlement,
    Spent,
    Team,
    UsageRow,
    User,
    Void,
)

Entry = Reservation | Settlement | Void | Adjustment | RequestRecord | DecisionRecord


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


class LearningPort(Protocol):
    """Why requests went where they went, what came of it, and what people think of it."""

    async def request(self, request_id: str, /) -> RequestRecord | None:
        """The record of one request."""
        ...

    async def decision(self, request_id: str, /) -> DecisionRecord | None:
        """Why a request went where it went; ``None``: it was not routed, or that is no longer kept."""
        ...

    async def routed(self, *, since_us: int, until_us: int = ..., policy: str = "", newest: int = ...) -> Sequence[Routed]:
        """The newest so many routed requests of a stretch of time, the oldest first.  Raises: LedgerUnavailable."""
        ...

    def give(self, rows: Sequence[Feedback], /) -> Awaitable[Sequence[Feedback]]:
        """Keep feedback, all rows or none; the rows that stand now: the given ones, or those that were there before.

        Queued at once; durable when awaited.  Raises: LedgerUnavailable.
        """
        ...

    async def given(self, *, since_us: int, newest: int) -> Sequence[Feedback]:
        """The newest so many rows of feedback since then, the oldest first.  Raises: LedgerUnavailable."""
        ...

    async def note_checks(self, rows: Sequence[Checked], /) -> None:
        """Keep what could be checked of answers.  Raises: LedgerUnavailable."""
        ...

    async def checked(self, *, since_us: int, newest: int) -> Sequence[Checked]:
        """The newest so many checks since then, the oldest first.  Raises: LedgerUnavailable."""
        ...

    async def forget_decisions(self, before_us: int, /) -> int:
        """Remove decisions and checks that are older; how many rows.  Raises: LedgerUnavailable."""
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


class BenchmarkPort(Protocol):
    """What variants and offers are worth.  No I/O, O(1).  A ``Snapshot`` is one."""

    def score(self, subject: str, metric: str, /) -> Score | None:
        """The value of a metric that counts, with its source; ``None``: nobody knows."""
        ...

    def value(self, subject: str, metric: str, /, live: Live = ...) -> float | None:
        """The value alone, blended with what is measured here."""
        ...


class ModelPort(Protocol):
    """Which models there are, and what they can take.  No I/O.  A ``Snapshot`` is one."""

    @property
    def models(self) -> Mapping[str, Model]:
        """What sources state of each model."""
        ...

    def names(self) -> Sequence[str]:
        """Every model of which anything is known, by name."""
        ...

    def variants(self, model: str, /) -> Sequence[str]:
        """The model at each effort of which anything is known."""
        ...


class ProviderPort(Protocol):
    """Who offers a model, and at what price as sources state it (what is charged is ``PricingPort``'s).  No I/O.

    A ``Snapshot`` is one.
    """

    def offers(self, model: str, /) -> Sequence[str]:
        """The model's offers, by name."""
        ...

    def price(self, offer: str, /) -> StatedPrice | None:
        """What a source says it costs; ``None``: nobody says."""
        ...


class Ingested(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a payload.  ``kept``: rows that were not there yet.  ``problems``: a sentence for what was left out.

    ``unresolved``: names that nobody knows; they are listed for review.
    """

    source: str
    readings: int
    kept: int
    problems: tuple[str, ...]
    unresolved: tuple[str, ...]


class SnapshotRow(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot that was the current one, and from when on."""

    id: str
    at_us: int


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """Something for a person to look at.  ``kind``: ``unresolved``, or ``alike`` with an ``other`` that may be the same."""

    kind: str
    source: str
    name: str
    other: str
    reason: str
    at_us: int


class FactsPort(Protocol):
    """Where facts are kept, and the snapshot that is made of them."""

    @property
    def snapshot(self) -> Snapshot:
        """The current snapshot; swapped by reference."""
        ...

    @property
    def indices(self) -> Indices:
        """Quality, speed, cost and rankings of the current snapshot."""
        ...

    @property
    def resolver(self) -> Resolver:
        """Who is meant by a name, as it is known now."""
        ...

    async def ingest(self, parsed: Parsed, /, *, source: str, fetched_at_us: int, complete: bool = False) -> Ingested:
        """Keep what a payload says; again changes nothing.  complete: the source takes back whatever is not in it.

        Raises: LedgerUnavailable.
        """
        ...

    async def refresh(self) -> Snapshot:
        """Make the snapshot of now and swap it in.  Raises: LedgerUnavailable."""
        ...

    async def at(self, moment: int | str, /) -> Snapshot:
        """The snapshot of a past moment (microseconds), or the one of an id.  Raises: LookupError, LedgerUnavailable."""
        ...

    async def snapshots(self, limit: int = 100) -> Sequence[SnapshotRow]:
        """The latest snapshots that were current, the newest first."""
        ...

    async def observations(self, model: str | None, /, *, at_us: int = ...) -> Sequence[Observation]:
        """What each source said last of a model, its variants and offers; of every model for ``None``."""
        ...

    async def decide(self, alias: Alias, /) -> None:
        """Keep a reviewed alias; the next snapshot goes by it.  Raises: LedgerUnavailable."""
        ...

    async def reviews(self) -> Sequence[Review]:
        """What a person should look at."""
        ...
