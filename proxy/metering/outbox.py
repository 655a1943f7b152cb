"""Ends that the journal did not take: kept, and handed in again until they are written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import structlog

from ledger.errors import EntryRefused, LedgerUnavailable
from ledger.ports import Entry, JournalPort

PAUSE_S = 1.0
"""Between two tries, while the disk refuses."""

log = structlog.get_logger("tollway.outbox")


class Letter(msgspec.Struct, frozen=True):
    """Entries that belong together, and what to do when they are durable, or when no disk would ever take them.

    handed: called in the step in which they are handed in; what it returns is what is done when they are durable.
    """

    request_id: str
    entries: Sequence[Entry]
    power: bool
    handed: Callable[[], Callable[[], None]]
    refused: Callable[[], None]


class Outbox:
    """Hands in what the journal refused, in order, until it is written.  The same entry twice is one entry.

    room: letters that are kept; beyond it ``put`` says no, and a request's end waits for its lease.
    """

    def __init__(self, journal: JournalPort, *, room: int = 10_000, pause_s: float = PAUSE_S) -> None:
        self._journal = journal
        self._room = room
        self._pause_s = pause_s
        self._letters: deque[Letter] = deque()
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        """How many letters wait."""
        return len(self._letters)

    def put(self, letter: Letter) -> bool:
        """Keep it; ``False``: there is no room."""
        if len(self._letters) >= self._room:
            return False
        self._letters.append(letter)
        self._arrived.set()
        return True

    async def deliver(self) -> None:
        """Hand in what comes, for ever.  A background task."""
        while True:
            await self._arrived.wait()
            if not await self.flush():
                await asyncio.sleep(self._pause_s)

    async def flush(self) -> bool:
        """Hand in everything once; ``False``: the journal refuses, and what is left is kept."""
        while self._letters:
            letter = self._letters[0]
            written = letter.handed()
            try:
                await self._journal.write(letter.entries, power=letter.power)
            except LedgerUnavailable:
                return False
            except EntryRefused:
                log.exception("end_refused", request_id=letter.request_id)
                letter.refused()
            else:
                written()
                log.info("end_written_late", request_id=letter.request_id)
            self._letters.popleft()
        self._arrived.clear()
        return True
