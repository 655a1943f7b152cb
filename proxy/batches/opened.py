"""Batches, and responses made in the background, whose cost is not known yet.

What is noted of one outlives the process, and the machine's power.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import msgspec
import structlog

from ledger.budgets.accounts import NOTHING, Amounts, WorstCase
from proxy.call import Principal

log = structlog.get_logger("tollway.batches")


SPARE_LINES: Final = 10_000
"""So many lines may be out of date before all is remembered anew."""


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that is not booked; or a response that is made in the background.

    request_id: of the request that made it; its bookings are called after it.  key_id, user, team, tags: whose it is.
    power: its entries must survive a power cut.  endpoint: what its requests call, such as ``chat/completions``.
    batch_id: empty: it was asked for, and nobody knows whether it was made.
    models: those that its requests name, where somebody has looked.  reserve, most: what it reserved of budgets.
    output_file_id: where its answers are, once it says so.
    Of a response: ``batch_id`` is its id, ``asked`` the model's name as its client says it, ``input_tokens`` a guess.
    requests, mark: how many there are, and what tells their names from others'; of a batch that has no file with them.
    lost: nobody was told what it is called, and it was found by these: it is metered, and shown to nobody.
    """

    request_id: str
    key_id: str
    user: str = ""
    team: str = ""
    tags: tuple[str, ...] = ()
    power: bool = False
    provider: str
    account: str
    endpoint: str
    input_file_id: str = ""
    created_us: int
    batch_id: str = ""
    models: tuple[str, ...] = ()
    reserve: Amounts = NOTHING
    most: Amounts = NOTHING
    output_file_id: str = ""
    asked: str = ""
    input_tokens: int = 0
    requests: int = 0
    mark: str = ""
    lost: bool = False

    @property
    def principal(self) -> Principal:
        """Whose budgets count it."""
        return Principal(key_id=self.key_id, name="", user=self.user, team=self.team)

    @property
    def worst(self) -> WorstCase:
        """What it reserved."""
        return WorstCase(self.reserve, self.most)


class _Line(msgspec.Struct, frozen=True):
    """One line of what is remembered.  open: ``None``: it is booked, or was never made."""

    request_id: str
    open: Open | None = None


_read = msgspec.json.Decoder(_Line).decode
_write = msgspec.json.Encoder().encode


class Keeper(Protocol):
    """Where lines are remembered."""

    def keep(self, line: bytes, /) -> bool:
        """One more line, durable; ``False``: it cannot be kept.  It may block."""
        ...

    def rewrite(self, lines: Iterable[bytes], /) -> None:
        """Begin anew with these lines.  It may block."""
        ...


class Opened:
    """The batches that are open, by the request that made them, the oldest first.

    lines: what an earlier process remembered.  keeper: remembers each change; called in a thread.
    """

    def __init__(self, keeper: Keeper, lines: Iterable[bytes] = ()) -> None:
        self._keeper = keeper
        self._open: dict[str, Open] = {}
        self._turn = asyncio.Lock()
        self._added = 0
        for line in lines:
            if not line:
                continue
            try:
                read = _read(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                # The last line of a process that was killed while it wrote.
                log.warning("batch_line_unreadable", bytes=len(line))
                continue
            self._put(read.request_id, read.open)

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Open]:
        return iter(list(self._open.values()))

    def get(self, request_id: str) -> Open | None:
        """One of them; ``None``: it is open no longer."""
        return self._open.get(request_id)

    def of(self, batch_id: str, key_id: str) -> Open | None:
        """The one that a provider calls so, of this key."""
        return next((it for it in self._open.values() if it.batch_id == batch_id and it.key_id == key_id), None)

    def with_output(self, file_id: str, key_id: str) -> Open | None:
        """The one of this key whose answers are in a file."""
        return next((it for it in self._open.values() if it.output_file_id == file_id and it.key_id == key_id), None)

    async def note(self, it: Open) -> bool:
        """One is open, or more is known of it; ``False``: that cannot be remembered, and it is known to this process alone."""
        self._put(it.request_id, it)
        return await self._kept(_Line(it.request_id, it))

    async def close(self, request_id: str) -> None:
        """It is booked, or there never was one.  If that cannot be remembered, the next start finds it out again."""
        if self._open.pop(request_id, None) is not None:
            await self._kept(_Line(request_id))

    def lines(self) -> Iterator[bytes]:
        """All that are open."""
        return (_write(_Line(it.request_id, it)) for it in self._open.values())

    async def _kept(self, line: _Line) -> bool:
        async with self._turn:
            if self._added > SPARE_LINES + len(self._open):
                # Nothing is added meanwhile, and what is open then has this line in it.
                await asyncio.to_thread(self._keeper.rewrite, list(self.lines()))
                self._added = 0
            self._added += 1
            return await asyncio.to_thread(self._keeper.keep, _write(line))

    def _put(self, request_id: str, it: Open | None) -> None:
        if it is None:
            self._open.pop(request_id, None)
        else:
            self._open[request_id] = it
