"""Ports of the pipeline, played by a script: a transport, a journal, price lists, clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ledger.errors import EntryRefused, LedgerUnavailable
from ledger.ports import Entry
from ledger.records import (
    Adjustment,
    By,
    DecisionRecord,
    Price,
    Progress,
    RequestRecord,
    Reservation,
    Settlement,
    UsageRow,
    Void,
)
from providers.errors import ProviderError
from providers.provider import HttpRequest, Timeouts

HOUR_US = 3_600_000_000


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

    async def read(self, most_bytes: int = 64 * 1024 * 1024) -> bytes:  # noqa: ARG002  # the port's
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
        if not isinstance(request.body, bytes):
            async for _ in request.body.pieces():
                pass
        if isinstance(step, Hang):
            await step()
        if isinstance(step, ProviderError):
            raise step
        assert isinstance(step, Answer)
        return step


class MemoryJournal:
    """A journal that is lost with the process.  The same entry twice is one entry; tests/ledger/test_journal.py holds it to
    what the real one does.

    fails: asked before each write with what is to be written; ``True``: the disk refuses.
    strict: what ends or adjusts a try needs what comes before it, as in a file; else a test may leave that out.
    progressed: the notes of progress.  powers: of each write, whether it was to survive a power cut.
    """

    def __init__(
        self,
        *,
        story: list[str] | None = None,
        fails: Callable[[Sequence[Entry]], bool] = lambda _: False,
        strict: bool = False,
    ) -> None:
        self._story = [] if story is None else story
        self._fails = fails
        self._strict = strict
        self._entries: dict[tuple[str, ...], Entry] = {}
        self.noted: dict[tuple[str, int], int] = {}
        self.powers: list[bool] = []
        self.progressed: list[Progress] = []

    async def write(self, entries: Sequence[Entry], /, *, power: bool = False) -> None:
        self.powers.append(power)
        await asyncio.sleep(0)
        if self._fails(entries):
            raise LedgerUnavailable("the disk is full")
        written = dict(self._entries)
        # A reservation comes before its end, wherever it stands.
        for entry in sorted(entries, key=lambda it: not isinstance(it, Reservation)):
            if self._strict:
                _check(entry, self._entries if isinstance(entry, Adjustment) else written)
            written.setdefault(_key(entry), entry)
        self._entries = written
        self._story.extend(map(_told, entries))

    def progress(self, marks: Sequence[Progress], /) -> None:
        self.progressed.extend(marks)
        for it in marks:
            attempt = (it.request_id, it.attempt)
            self.noted[attempt] = max(it.output_tokens, self.noted.get(attempt, 0))

    async def request(self, request_id: str, /) -> RequestRecord | None:
        return next((it for it in self.records if it.request_id == request_id), None)

    async def adjusted_nusd(self, request_id: str, /) -> int:
        return sum(it.cost_nusd for it in self.entries if isinstance(it, Adjustment) and it.request_id == request_id)

    async def usage(self, by: By, /, *, since_us: int, until_us: int, key_id: str | None) -> Sequence[UsageRow]:
        groups: dict[str, list[RequestRecord]] = {}
        for it in self.records:
            if since_us // HOUR_US <= it.at_us // HOUR_US < until_us // HOUR_US and key_id in (None, it.key_id):
                for name in _groups(it, by):
                    groups.setdefault(name, []).append(it)
        adjusted = [it for it in self.entries if isinstance(it, Adjustment)]
        rows = [_usage(name, records, adjusted) for name, records in groups.items()]
        return sorted(rows, key=lambda row: (row.cost_nusd is None, -(row.cost_nusd or 0), -row.requests, row.group))

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
    attempt = "" if isinstance(entry, RequestRecord | DecisionRecord) else str(entry.attempt)
    kind = "terminal" if isinstance(entry, Settlement | Void) else type(entry).__name__
    evidence = (entry.evidence,) if isinstance(entry, Adjustment) else ()
    return (kind, entry.request_id, attempt, *evidence)


def _check(entry: Entry, written: dict[tuple[str, ...], Entry]) -> None:
    if isinstance(entry, Settlement | Void) and ("Reservation", entry.request_id, str(entry.attempt)) not in written:
        raise EntryRefused("never reserved")
    if isinstance(entry, Adjustment) and not (
        ("terminal", entry.request_id, str(entry.attempt)) in written and ("RequestRecord", entry.request_id, "") in written
    ):
        raise EntryRefused("not ended")


def _groups(it: RequestRecord, by: By) -> Sequence[str]:
    model = it.upstream_model or it.model
    names = {
        "key": it.key_id,
        "user": it.user,
        "team": it.team,
        "provider": it.provider,
        "model": f"{it.provider}/{model}" if it.provider else model,
    }
    return it.tags if by == "tag" else (names[by],)


def _usage(group: str, records: Sequence[RequestRecord], adjusted: Sequence[Adjustment]) -> UsageRow:
    ids = {it.request_id for it in records}
    unpriced = sum(it.cost_nusd is None for it in records)
    nusd = sum(it.cost_nusd or 0 for it in records) + sum(it.cost_nusd for it in adjusted if it.request_id in ids)
    cost_nusd = None if unpriced == len(records) and not nusd else nusd
    tokens = sum(it.tokens.input_tokens + it.tokens.output_tokens for it in records)
    return UsageRow(
        group=group,
        label="",
        requests=len(records),
        failed=sum(it.outcome not in ("ok", "client_closed") for it in records),
        input_tokens=sum(it.tokens.input_tokens for it in records),
        cached_tokens=sum(it.tokens.cache_read + it.tokens.cache_read_audio for it in records),
        output_tokens=sum(it.tokens.output_tokens for it in records),
        reasoning_tokens=sum(it.tokens.reasoning for it in records),
        cost_nusd=cost_nusd,
        unpriced=unpriced,
        estimated=sum(it.quality == "estimated" for it in records),
        held=sum(it.quality == "held" for it in records),
        cached_requests=sum(it.cache != "" for it in records),
        saved_nusd=sum(it.saved_nusd for it in records),
        nusd_per_mtok=nusd * 10**6 // tokens if tokens and cost_nusd is not None else None,
    )


def _told(entry: Entry) -> str:
    name = type(entry).__name__.lower()
    return name if isinstance(entry, RequestRecord | DecisionRecord) else f"{name} {entry.attempt}"


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
