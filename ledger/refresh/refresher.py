"""Asks the sources that are due, looks at what comes, and hands on what is accepted.

Whatever fails, what counted before goes on to count.  Reading a payload takes up to a third of a second of CPU, so a
``Reader`` does it elsewhere; files are read and written in a thread.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Literal

import msgspec
import structlog
from msgspec.structs import replace

from ledger.errors import LedgerError, SourceUnavailable, SourceUnreadable
from ledger.facts import Parsed
from ledger.refresh import gates, schedule
from ledger.refresh.folder import Aside, Folder, Imported, State, changed, digest
from ledger.refresh.ports import Answer, FactsStore, Ingested, Reader, ThreadReader, Web
from ledger.refresh.schedule import Standing
from ledger.refresh.source import Parse, Source

PAGES_MAX = 50
LOOK_S = 30.0
PROBLEMS_SHOWN = 20

Status = Literal["updated", "unchanged", "put_aside", "skipped", "failed", "would_update"]

log = structlog.get_logger("tollway.refresh")


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one source.  detail: why, where it was not updated.  problems: what was left out of its payload."""

    source: str
    status: Status
    detail: str = ""
    rows: int = 0
    readings: int = 0
    prices: int = 0
    problems: tuple[str, ...] = ()
    kept: int = 0
    unresolved: int = 0


class _Fetched(msgspec.Struct, frozen=True):
    """payload: ``None`` if nothing has changed.  answer: the last one."""

    payload: bytes | None
    answer: Answer


class Refresher:
    """One for a process.  store: ``None`` keeps payloads for the next start of the server and nothing else.

    chance: a number in [0, 1) whenever it is called.  background: somebody calls ``keep_fresh``, as far as it is known here.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        web: Web,
        store: FactsStore | None,
        folder: Folder,
        *,
        clock_us: Callable[[], int],
        chance: Callable[[], float],
        reader: Reader | None = None,
        background: bool = False,
    ) -> None:
        self.background = background
        self._sources = {source.name: source for source in sources}
        self._web = web
        self._store = store
        self._folder = folder
        self._clock_us = clock_us
        self._chance = chance
        self._reader = reader or ThreadReader()
        self._turn = asyncio.Lock()

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every source, also those that are not asked."""
        return tuple(self._sources.values())

    async def restore(self, forms: Mapping[str, Parse]) -> int:
        """Hand the last known good payloads and every imported file to the store again; how many there were.

        forms: the readers of imported files.  The store knows what it has already, so that again changes nothing.
        """
        state = await asyncio.to_thread(self._folder.state)
        kept = 0
        for source in self._sources.values():
            standing = state.sources.get(source.name, Standing())
            payload = await asyncio.to_thread(self._folder.payload, source.name)
            if payload is not None and standing.payload_us:
                kept += await self._again(source.name, source.parse, payload, standing.payload_us, source.complete)
        for imported in await asyncio.to_thread(lambda: list(self._folder.imports())):
            if (parse := forms.get(imported.form)) is not None:
                kept += await self._again(imported.form, parse, imported.payload, imported.at_us, complete=False)
        await self._settle()
        return kept

    async def refresh(
        self,
        names: Sequence[str] = (),
        *,
        forced: bool = False,
        dry_run: bool = False,
        step: Callable[[Outcome], None] = lambda _: None,
    ) -> list[Outcome]:
        """Ask the sources that are due, or those that are named.

        forced: also if they are not due; their budgets hold all the same.  dry_run: fetch and look, but keep nothing
        except that a request was sent.  step: told of each as it is done.
        Only one refresh runs at a time; one that waited finds the sources fresh.  Raises: LedgerUnavailable.
        """
        outcomes = []
        asked_us = self._clock_us()
        async with self._turn:
            with ExitStack() as stack:
                await asyncio.to_thread(stack.enter_context, self._folder.alone())
                for source in self._sources.values():
                    if not names or source.name in names:
                        outcomes.append(await self._one(source, asked_us=asked_us, forced=forced, dry_run=dry_run))
                        step(outcomes[-1])
            if any(it.status == "updated" for it in outcomes):
                await self._settle()
        return outcomes

    async def accept(self, aside_id: str) -> Outcome | None:
        """Let a payload count that was put aside; ``None`` if there is none of that id.  Raises: LedgerUnavailable."""
        async with self._turn:
            state = await asyncio.to_thread(self._folder.state)
            aside = next((it for it in state.aside if it.id == aside_id), None)
            payload = await asyncio.to_thread(self._folder.aside, aside_id)
            source = self._sources.get(aside.source) if aside else None
            if aside is None or payload is None or source is None:
                return None
            parsed = await self._reader.read(source.name, source.parse, payload, fetched_at_us=aside.at_us)
            ingested = await self._accept(source, payload, parsed, aside.at_us)
            await self._settle()
            standing = state.sources.get(source.name, Standing())
            accepted = replace(standing, payload_us=aside.at_us, sha256=_sha256(payload), etag="", last_modified="")
            await self._remember({source.name: accepted}, without=aside_id)
            await asyncio.to_thread(self._folder.forget, aside_id)
            return _outcome(source, "updated", parsed, ingested=ingested)

    async def status(self) -> State:
        """What is remembered of each source, and what was put aside."""
        return await asyncio.to_thread(self._folder.state)

    async def take(self, form: str, parse: Parse, payload: bytes, *, keep: bool = True) -> tuple[Parsed, Ingested | None]:
        """Take in a harness's file.  keep: ``False`` reads it and keeps nothing.

        Raises: SourceUnreadable, LedgerUnavailable.
        """
        at_us = self._clock_us()
        parsed = await self._reader.read(form, parse, payload, fetched_at_us=at_us)
        if not keep or not parsed.readings:
            return parsed, None
        await asyncio.to_thread(self._folder.keep_import, Imported(form=form, at_us=at_us, payload=payload))
        if self._store is None:
            return parsed, None
        ingested = await self._store.ingest(parsed, source=parsed.readings[0].source, fetched_at_us=at_us)
        await self._settle()
        return parsed, ingested

    async def keep_fresh(self) -> None:
        """Refresh what is due, until cancelled."""
        while True:
            try:
                for outcome in await self.refresh():
                    _tell(outcome)
            except LedgerError as error:
                log.warning("refresh_failed", reason=str(error))
            await asyncio.sleep(LOOK_S)

    async def _one(self, source: Source, *, asked_us: int, forced: bool, dry_run: bool) -> Outcome:
        state = await asyncio.to_thread(self._folder.state)
        standing = state.sources.get(source.name, Standing())
        if forced and standing.fetched_us > asked_us:
            return Outcome(source=source.name, status="skipped", detail="it was refreshed just now")
        now_us = self._clock_us()
        if refused := schedule.refusal(source, standing, now_us=now_us, forced=forced):
            return Outcome(source=source.name, status="skipped", detail=refused)
        fetch = _Fetch(self, source, standing)
        try:
            fetched = await fetch.run()
            if fetched.payload is None:
                await self._remember({source.name: self._answered(source, fetch.standing)})
                return Outcome(source=source.name, status="unchanged")
            parsed = await self._reader.read(source.name, source.parse, fetched.payload, fetched_at_us=now_us)
        except (SourceUnavailable, SourceUnreadable) as error:
            failed = schedule.failed(
                source,
                fetch.standing,
                str(error),
                now_us=self._clock_us(),
                chance=self._chance(),
                retry_after_s=fetch.retry_after_s,
            )
            await self._remember({source.name: failed})
            detail = f"{error}; its breaker is open" if schedule.is_open(failed) else str(error)
            return Outcome(source=source.name, status="failed", detail=detail)
        return await self._judge(source, fetch.standing, fetched, parsed, now_us, dry_run=dry_run)

    async def _judge(
        self, source: Source, standing: Standing, fetched: _Fetched, parsed: Parsed, now_us: int, *, dry_run: bool
    ) -> Outcome:
        payload = fetched.payload or b""
        before = await self._before(source, standing)
        wrong = await asyncio.to_thread(gates.reasons, parsed, before)
        aside = Aside(id=digest(source.name, payload), source=source.name, at_us=now_us, reasons=wrong, rows=gates.rows(parsed))
        if dry_run:
            await self._remember({source.name: standing})
            detail = "; ".join(wrong)
            return _outcome(source, "put_aside" if wrong else "would_update", parsed, detail=detail)
        if wrong:
            await asyncio.to_thread(self._folder.put_aside, aside, payload)
            await self._remember({source.name: self._answered(source, standing)}, aside=aside)
            accept = f"tollway ledger refresh --accept {aside.id}"
            return _outcome(source, "put_aside", parsed, detail=f"{'; '.join(wrong)} ({accept})")
        ingested = await self._accept(source, payload, parsed, now_us)
        headers = fetched.answer.headers
        accepted = replace(
            self._answered(source, standing),
            payload_us=now_us,
            sha256=_sha256(payload),
            etag=headers.get("etag", "")[:256],
            last_modified=headers.get("last-modified", "")[:64],
        )
        await self._remember({source.name: accepted})
        return _outcome(source, "updated", parsed, ingested=ingested)

    async def _accept(self, source: Source, payload: bytes, parsed: Parsed, at_us: int) -> Ingested | None:
        """First the store, then the file, so that a file that is there was taken in."""
        ingested = None
        if self._store is not None:
            ingested = await self._store.ingest(parsed, source=source.name, fetched_at_us=at_us, complete=source.complete)
        await asyncio.to_thread(self._folder.keep, source.name, payload)
        return ingested

    async def _settle(self) -> None:
        if self._store is not None:
            await self._store.refresh()

    def _answered(self, source: Source, standing: Standing) -> Standing:
        return schedule.answered(source, standing, now_us=self._clock_us(), chance=self._chance())

    async def _before(self, source: Source, standing: Standing) -> Parsed | None:
        payload = await asyncio.to_thread(self._folder.payload, source.name)
        if payload is None:
            return None
        try:
            return await self._reader.read(source.name, source.parse, payload, fetched_at_us=standing.payload_us or 1)
        except SourceUnreadable:
            return None

    async def _again(self, name: str, parse: Parse, payload: bytes, at_us: int, complete: bool) -> int:
        try:
            parsed = await self._reader.read(name, parse, payload, fetched_at_us=at_us)
        except SourceUnreadable as error:
            log.warning("payload_unreadable", source=name, reason=str(error))
            return 0
        if self._store is not None and (parsed.readings or parsed.models or parsed.prices):
            source = name if complete or not parsed.readings else parsed.readings[0].source
            await self._store.ingest(parsed, source=source, fetched_at_us=at_us, complete=complete)
        return 1

    async def _remember(self, standing: Mapping[str, Standing], *, aside: Aside | None = None, without: str = "") -> None:
        def write() -> None:
            state = self._folder.state()
            kept = tuple(it for it in state.aside if it.id not in (without, aside.id if aside else ""))
            known = (*kept, aside) if aside else kept
            after = changed(state, standing, known)
            for gone in {it.id for it in known} - {it.id for it in after.aside}:
                self._folder.forget(gone)
            self._folder.remember(after)

        await asyncio.to_thread(write)


class _Fetch:
    """The requests of one source.  Each is remembered before it is sent, so that a crash does not give it back."""

    def __init__(self, refresher: Refresher, source: Source, standing: Standing) -> None:
        self._refresher = refresher
        self._source = source
        self.standing = standing
        self.retry_after_s: float | None = None

    async def run(self) -> _Fetched:
        """Raises: SourceUnavailable."""
        source = self._source
        single = len(source.urls) == 1 and not source.paged
        bodies: list[bytes] = []
        answer = Answer(status=0, headers={})
        for url in source.urls:
            page = 1
            while True:
                address = url if page == 1 else f"{url}{'&' if '?' in url else '?'}page={page}"
                answer = await self._ask(address, conditional=single)
                if answer.status == 304:
                    return _Fetched(None, answer)
                bodies.append(answer.body)
                if not source.paged or page >= PAGES_MAX or not _has_more(answer.body):
                    break
                page += 1
        payload = bodies[0] if len(bodies) == 1 else b"[" + b",".join(bodies) + b"]"
        unchanged = _sha256(payload) == self.standing.sha256
        return _Fetched(None if unchanged else payload, answer)

    async def _ask(self, url: str, *, conditional: bool) -> Answer:
        now_us = self._refresher._clock_us()
        if schedule.left(self._source, self.standing, now_us=now_us) < 1:
            raise SourceUnavailable("the requests of the day are used up before the last page")
        self.standing = schedule.spent(self.standing, now_us=now_us)
        await self._refresher._remember({self._source.name: self.standing})
        headers = dict(self._source.headers)
        if conditional and self.standing.etag:
            headers["if-none-match"] = self.standing.etag
        if conditional and self.standing.last_modified:
            headers["if-modified-since"] = self.standing.last_modified
        answer = await self._refresher._web.get(url, headers)
        if answer.headers.get("x-ratelimit-remaining", "").strip() == "0":
            self.standing = replace(self.standing, requests=max(self.standing.requests, self._source.requests_per_day))
        if answer.status == 200 or (answer.status == 304 and conditional and self.standing.sha256):
            return answer
        self.retry_after_s = answer.retry_after_s
        raise SourceUnavailable(f"it answered {answer.status}{_meaning(answer.status)}")


class _Pagination(msgspec.Struct, frozen=True):
    has_more: bool = False


class _Page(msgspec.Struct, frozen=True):
    pagination: _Pagination = _Pagination()


def _has_more(body: bytes) -> bool:
    try:
        return msgspec.json.decode(body, type=_Page).pagination.has_more
    except (msgspec.DecodeError, UnicodeError):
        return False


def _meaning(status: int) -> str:
    if status in (401, 403):
        return ": it does not take the key"
    if status == 429:
        return ": too many requests"
    return ": it has moved, and redirects are not followed" if 300 <= status < 400 else ""


def _sha256(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


def _outcome(source: Source, status: Status, parsed: Parsed, *, detail: str = "", ingested: Ingested | None = None) -> Outcome:
    return Outcome(
        source=source.name,
        status=status,
        detail=detail,
        rows=gates.rows(parsed),
        readings=len(parsed.readings),
        prices=len(parsed.prices),
        problems=(ingested.problems if ingested else parsed.problems)[:PROBLEMS_SHOWN],
        kept=ingested.kept if ingested else 0,
        unresolved=len(ingested.unresolved) if ingested else 0,
    )


def _tell(outcome: Outcome) -> None:
    fields = {"source": outcome.source, "detail": outcome.detail}
    if outcome.status in ("failed", "put_aside"):
        log.warning(f"refresh_{outcome.status}", **fields)
    elif outcome.status == "updated":
        log.info("refresh_updated", source=outcome.source, rows=outcome.rows, problems=len(outcome.problems))
