"""What refreshing needs from outside: somebody who fetches, and somebody who keeps what was read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from ledger.facts import Parsed


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


class Ingested(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a payload's pieces, counted: new ones, known ones, those whose model nobody knows, refused ones."""

    inserted: int = 0
    duplicates: int = 0
    unresolved: int = 0
    refused: int = 0


class FactsStore(Protocol):
    """Where readings are kept."""

    async def ingest(self, parsed: Parsed, /) -> Ingested:
        """Keep what is new; the same again changes nothing.  Never holds requests up.  Raises: LedgerUnavailable."""
        ...
