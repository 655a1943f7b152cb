"""Readings in memory, for as long as the process lives; at the start they are read anew from the payloads that are kept."""

from __future__ import annotations

from ledger.facts import Parsed, Reading
from ledger.refresh.ports import Ingested

READINGS_MAX = 1_000_000


class MemoryFacts:
    """A FactsStore.  check: what is wrong with a reading by the catalogue, as a sentence; ``None``: it may be kept."""

    def __init__(self) -> None:
        self.readings: dict[Reading, None] = {}

    async def ingest(self, parsed: Parsed, /) -> Ingested:
        """Keep what is new."""
        new = [it for it in parsed.readings if it not in self.readings]
        room = READINGS_MAX - len(self.readings)
        self.readings.update(dict.fromkeys(new[:room]))
        return Ingested(
            inserted=min(len(new), room), duplicates=len(parsed.readings) - len(new), refused=max(len(new) - room, 0)
        )
