"""What refreshing needs from outside: somebody who fetches, and somebody who keeps what was read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import msgspec

from ledger.facts import Parsed
from ledger.refresh.source import Parse


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer.  headers: by names in lower case.  retry_after_s: when it wants to be asked again, if it says so."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    retry_after_s: float | None = None


class Web(Protocol):
    """The control plane's HTTP client."""

    async def get(self, url: str, headers: Mapping[str, str], /) -> Answer:
        """Ask; redirects are not followed.  Raises: SourceUnavailable, when nobody answers in time or too much comes."""
        ...


class Reader(Protocol):
    """Who reads a payload, so that it holds nobody up."""

    async def read(self, name: str, parse: Parse, payload: bytes, /, *, fetched_at_us: int) -> Parsed:
        """What ``parse``, which is known as ``name``, makes of it.  Raises: SourceUnreadable."""
        ...


class ThreadReader:
    """A ``Reader`` for commands, where nobody waits: in a thread."""

    async def read(self, name: str, parse: Parse, payload: bytes, /, *, fetched_at_us: int) -> Parsed:
        """Raises: SourceUnreadable."""
        del name
        return await asyncio.to_thread(parse, payload, fetched_at_us=fetched_at_us)


class Ingested(Protocol):
    """What became of a payload."""

    @property
    def kept(self) -> int:
        """How many rows were not there yet."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each piece that was left out, those of the payload itself first."""
        ...

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Names that nobody knows yet; what is said of them is not kept, and they are listed for review."""
        ...


class FactsStore(Protocol):
    """Where readings are kept."""

    async def ingest(self, parsed: Parsed, /, *, source: str, fetched_at_us: int, complete: bool = False) -> Ingested:
        """Keep what is new; the same again changes nothing.  Never holds requests up.

        complete: it is all that the source has to say, so that what it said before and does not say now is taken back.
        Raises: LedgerUnavailable.
        """
        ...

    async def refresh(self) -> object:
        """Let what was ingested count.  Raises: LedgerUnavailable."""
        ...
