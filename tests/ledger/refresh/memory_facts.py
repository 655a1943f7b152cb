"""Readings in memory: a stand-in for the ledger where only the refreshing counts."""

from __future__ import annotations

import msgspec

from ledger.facts import Parsed, Reading

READINGS_MAX = 1_000_000


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a payload."""

    kept: int
    problems: tuple[str, ...]
    unresolved: tuple[str, ...] = ()


class MemoryFacts:
    """A FactsStore."""

    def __init__(self) -> None:
        self.readings: dict[Reading, None] = {}

    async def ingest(self, parsed: Parsed, /, *, source: str, fetched_at_us: int, complete: bool = False) -> Kept:
        """Keep what is new."""
        del fetched_at_us
        if complete:
            now = set(parsed.readings)
            self.readings = {it: None for it in self.readings if it.source != source or it in now}
        new = [it for it in parsed.readings if it not in self.readings][: READINGS_MAX - len(self.readings)]
        self.readings.update(dict.fromkeys(new))
        return Kept(kept=len(new), problems=parsed.problems)

    async def refresh(self) -> None:
        """Nothing: what was ingested counts at once."""
