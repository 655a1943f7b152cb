"""Ports of the pipeline, played by a script: a transport, a journal, price lists, clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ledger.errors import LedgerUnavailable
from ledger.ports import Entry
from ledger.records import Price, RequestRecord, Reservation, Settlement, Void
from providers.errors import ProviderError
from providers.provider import HttpRequest, Timeouts


class Hang:
    """Nothing comes, until the task is cancelled.  ``reached``: somebody is waiting."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await asyncio.Event().wait()


Piece = bytes | ProviderError | Hang


class Answer:
    """An upstream's answer: a head, and a body in pieces, one of which may be an error or a wait without an end."""

    def __init__(
        self,
        *pieces: Piece,
        status: int = 200,
        content_type: str = "application/json",
        retry_after_s: float | None = None,
        request_id: str = "up_1",
    ) -> None:
        self._pieces = list(pieces)
        self.status = status
        self.content_type = content_type
        self.header_content_type = content_type
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.closed = 0

    async def chunk(self) -> bytes:
        if not self._pieces:
            return b""
        piece = self._pieces[0]
        if isinstance(piece, Hang):
            await piece()
            # One that ends was only a wait.
            del self._pieces[0]
            return await self.chunk()
        del self._pieces[0]
        if isinstance(piece, ProviderError):
            raise piece
        assert isinstance(piece, bytes)
        return piece

    async def push(self, sink: Callable[[bytes], bool]) -> None:
        while data := await self.chunk():
            if not sink(data):
                return

    async def read(self) -> bytes:
        parts = []
        while data := await self.chunk():
            parts.append(data)
        return b"".join(parts)

    async def rest(self) -> bytes:
        parts = [piece for piece in self._pieces if isinstance(piece, bytes)]
        self._pieces = []
        return b"".join(parts)

    def close(self) -> None:
        self.closed += 1


def stream(*pieces: Piece) -> Answer:
    return Answer(*pieces, content_type="text/event-stream")


Step = Answer | ProviderError | Hang


class ScriptedTransport:
    """Answers one step after the other.  ``story``: what happened, in order, with whoever else writes to it."""

    def __init__(self, *steps: Step, story: list[str] | None = None) -> None:
        self._steps = list(steps)
        self.story = [] if story is None else story
        self.requests: list[HttpRequest] = []
        self.deadlines_s: list[float] = []
        self.timeouts: list[Timeouts] = []

    async def send(self, request: HttpRequest, *, timeouts: Timeouts, deadline_s: float) -> Answer:
        self.story.append(f"send {request.url.split('/')[2].removesuffix('.invalid')}")
        self.requests.append(request)
        self.deadlines_s.append(deadline_s)
        self.timeouts.append(timeouts)
        step = self._steps.pop(0)
        if isinstance(step, Hang):
            await step()
        if isinstance(step, ProviderError):
            raise step
        assert isinstance(step, Answer)
        return step


class MemoryJournal:
    """A journal that is lost with the process.  The same entry twice is one entry.

    fails: asked before each write with what is to be written; ``True``: the disk refuses.
    """

    def __init__(self, *, story: list[str] | None = None, fails: Callable[[Sequence[Entry]], bool] = lambda _: False) -> None:
        self._story = [] if story is None else story
        self._fails = fails
        self._entries: dict[tuple[str, ...], Entry] = {}

    async def write(self, entries: Sequence[Entry], /) -> None:
        await asyncio.sleep(0)
        if self._fails(entries):
            raise LedgerUnavailable("the disk is full")
        for entry in entries:
            self._story.append(_told(entry))
            self._entries.setdefault(_key(entry), entry)

    async def request(self, request_id: str, /) -> RequestRecord | None:
        return next((it for it in self.records if it.request_id == request_id), None)

    @property
    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    @property
    def records(self) -> list[RequestRecord]:
        return [it for it in self.entries if isinstance(it, RequestRecord)]

    @property
    def settlements(self) -> list[Settlement]:
        return [it for it in self.entries if isinstance(it, Settlement)]

    @property
    def open(self) -> set[int]:
        """The attempts that were reserved and never ended."""
        ended = {it.attempt for it in self.entries if isinstance(it, Settlement | Void)}
        return {it.attempt for it in self.entries if isinstance(it, Reservation)} - ended


def _key(entry: Entry) -> tuple[str, ...]:
    attempt = "" if isinstance(entry, RequestRecord) else str(entry.attempt)
    kind = "terminal" if isinstance(entry, Settlement | Void) else type(entry).__name__
    return (kind, entry.request_id, attempt)


def _told(entry: Entry) -> str:
    name = type(entry).__name__.lower()
    return name if isinstance(entry, RequestRecord) else f"{name} {entry.attempt}"


class Prices:
    """One price for one model of one provider."""

    def __init__(self, provider: str = "acme", model: str = "gpt") -> None:
        self._offer = (provider, model)

    def price(self, provider: str, model: str, _at_us: int | None = None, /) -> Price | None:
        if (provider, model) != self._offer:
            return None
        return Price(source="a list", input_nusd_per_mtok=1_000_000_000, output_nusd_per_mtok=2_000_000_000)


class Clock:
    """Goes on by a millisecond every time it is asked."""

    def __init__(self, start_s: float = 10.0) -> None:
        self._ticks = 0
        self._start_s = start_s

    def s(self) -> float:
        self._ticks += 1
        return self._start_s + self._ticks / 1000

    def us(self) -> int:
        return 1_000_000 + self._ticks * 1000


class Watch:
    """A clock that only goes on when it is told to; whoever sleeps by it moves it on."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s
        self.slept_s: list[float] = []

    def s(self) -> float:
        return self.now_s

    def us(self) -> int:
        return round(self.now_s * 1e6)

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)
