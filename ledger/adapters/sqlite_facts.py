"""The facts in the ledger's file, and the snapshot that is made of them.

One process writes the file, by the journal's writer (``run``); anybody reads it.  What is slow happens in a thread of its
own, in short bursts with rests between them, and reaches the writer in small transactions: a request waits for none of it.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import msgspec

from ledger.catalogue.identity import SUGGESTIONS_MAX, Alias, AliasTable, Resolution, Resolver, Unresolved, model_of, suggest
from ledger.catalogue.indices import Indices
from ledger.catalogue.merge import Priority, StatedFact, at_once
from ledger.catalogue.metrics import check, grain_us
from ledger.catalogue.snapshot import Snapshot, StatedPrice
from ledger.errors import LedgerUnavailable
from ledger.facts import ModelFact, Observation, Parsed, Subject
from ledger.journal.connection import connect_reader
from ledger.ports import Ingested, Review, SnapshotRow
from ledger.records import Price

T = TypeVar("T")

FOREVER = 2**63 - 1
ROWS_AT_ONCE = 100
"""So many rows are written in one transaction: the journal's entries wait about a millisecond for it."""

WORK_S, REST_S = 0.000_4, 0.000_6
"""How long the thread computes before it lets others: the event loop gets the interpreter at most that much later."""

PROBLEMS_MAX = 1000
SNAPSHOTS_KEPT = 4
PAST_WAITING_MAX = 8

_OBSERVATION = (
    *("source", "source_version", "variant", "offer", "metric", "observed_at_us", "value", "confidence"),
    *("unit", "fetched_at_us", "n", "subject"),
)
_COLUMNS = ",".join(_OBSERVATION)
# A value that its source repeats within one grain of its metric is there already.
_OBSERVE = f"""INSERT INTO observations ({_COLUMNS})
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 WHERE NOT EXISTS (SELECT 1 FROM (
  SELECT value, confidence, n, observed_at_us FROM observations WHERE source = ?1 AND source_version = ?2 AND variant = ?3
    AND offer = ?4 AND metric = ?5 AND observed_at_us <= ?6 ORDER BY observed_at_us DESC, fetched_at_us DESC LIMIT 1
  ) WHERE value = ?7 AND confidence = ?8 AND n IS ?11 AND observed_at_us / ?13 = ?6 / ?13)"""  # noqa: S608  # our own names
_STATE_FACT = """INSERT INTO model_facts (source, source_name, model, plan, fetched_at_us, fact)
SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (SELECT 1 FROM (
  SELECT model, fact FROM model_facts WHERE source = ?1 AND source_name = ?2 AND fetched_at_us <= ?5
    ORDER BY fetched_at_us DESC LIMIT 1
  ) WHERE model = ?3 AND fact = ?6)"""
_STATE_PRICE = """INSERT INTO offer_prices (source, source_name, offer, fetched_at_us, price, subject)
SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (SELECT 1 FROM (
  SELECT price FROM offer_prices WHERE source = ?1 AND source_name = ?2 AND offer = ?3 AND fetched_at_us <= ?4
    ORDER BY fetched_at_us DESC LIMIT 1
  ) WHERE price = ?5)"""
_LATEST = f"""SELECT {_COLUMNS} FROM (SELECT *, row_number() OVER (
    PARTITION BY source, source_version, variant, offer, metric
    ORDER BY observed_at_us DESC, fetched_at_us DESC, value DESC, confidence DESC) AS place
  FROM observations WHERE fetched_at_us <= ?1 AND id <= ?2) WHERE place = 1"""  # noqa: S608  # our own names
_FACTS = """SELECT source, fetched_at_us, fact FROM (SELECT *, row_number() OVER (
    PARTITION BY source, source_name ORDER BY fetched_at_us DESC, fact DESC) AS place
  FROM model_facts WHERE fetched_at_us <= ?1 AND id <= ?2) WHERE place = 1"""
_PRICES = """SELECT source, subject, fetched_at_us, price FROM (SELECT *, row_number() OVER (
    PARTITION BY source, source_name, offer ORDER BY fetched_at_us DESC, price DESC) AS place
  FROM offer_prices WHERE fetched_at_us <= ?1 AND id <= ?2) WHERE place = 1"""
_ALIASES = """SELECT alias FROM (SELECT *, row_number() OVER (PARTITION BY source, name, label ORDER BY at_us DESC) AS place
  FROM aliases WHERE at_us <= ?) WHERE place = 1 ORDER BY id"""
_HEADS = """SELECT coalesce((SELECT max(id) FROM observations), 0), coalesce((SELECT max(id) FROM model_facts), 0),
  coalesce((SELECT max(id) FROM offer_prices), 0)"""
_SNAPSHOT = "SELECT at_us, observation_id, fact_id, price_id FROM snapshots WHERE snapshot_id LIKE ? || '%' ORDER BY at_us"
_SNAPSHOTS = "SELECT snapshot_id, at_us FROM snapshots ORDER BY at_us DESC LIMIT ?"
_NOTE_SNAPSHOT = """INSERT INTO snapshots (at_us, snapshot_id, observation_id, fact_id, price_id) SELECT ?1, ?2, ?3, ?4, ?5
WHERE NOT EXISTS (SELECT 1 FROM (SELECT snapshot_id FROM snapshots ORDER BY at_us DESC LIMIT 1) WHERE snapshot_id = ?2)"""
_NOTE_ALIAS = "INSERT INTO aliases (source, name, label, at_us, alias) VALUES (?, ?, ?, ?, ?)"
_REVIEWS = "SELECT kind, source, name, other, reason, at_us FROM suggestions ORDER BY kind, source, name, other"
_FORGET = "DELETE FROM suggestions WHERE kind = ? AND source = ?"
_REVIEW = "INSERT OR IGNORE INTO suggestions (kind, source, name, other, reason, at_us) VALUES (?, ?, ?, ?, ?, ?)"

_encode = msgspec.json.Encoder(order="sorted").encode
_fact = msgspec.json.Decoder(ModelFact).decode
_price = msgspec.json.Decoder(Price).decode
_subject = msgspec.json.Decoder(Subject).decode
_alias = msgspec.json.Decoder(Alias).decode


class Run(Protocol):
    """What runs a job in the writer's thread, in a transaction of its own."""

    def __call__(self, job: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]: ...


class SqliteFacts:
    """The facts of one ledger file, which ``SqliteLedger`` has made.

    run: of the process's writer; ``None``: only to read.   aliases: the reviewed table.   priority: whose word counts.
    Call ``open`` first, ``close`` last.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        aliases: AliasTable,
        clock_us: Callable[[], int],
        run: Run | None = None,
        priority: Priority | None = None,
    ) -> None:
        self._path = Path(path)
        self._table = aliases
        self._decided: tuple[Alias, ...] = ()
        self._priority = priority or Priority()
        self._clock_us = clock_us
        self._run = run
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-facts")
        self._facts: dict[tuple[str, str], ModelFact] = {}
        self._resolver = Resolver(aliases)
        self._indices = Indices(Snapshot())
        self._past: dict[str, Snapshot] = {}
        self._waiting = 0
        self._suggested: tuple[str, ...] = ()

    @property
    def snapshot(self) -> Snapshot:
        """The current snapshot.  Hold on to it for the length of one decision: the next may come at any moment."""
        return self._indices.snapshot

    @property
    def indices(self) -> Indices:
        """Quality, speed, cost and rankings of the current snapshot."""
        return self._indices

    @property
    def resolver(self) -> Resolver:
        """Who is meant by a name, as it is known now."""
        return self._resolver

    async def open(self) -> Snapshot:
        """Read what is there, and make the first snapshot.  Raises: LedgerUnavailable."""
        await self._in_thread(self._load)
        return await self._refresh(at_once)  # nobody is served yet

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.close()

    async def ingest(self, parsed: Parsed, /, *, source: str, fetched_at_us: int, complete: bool = False) -> Ingested:
        """Keep what a payload says.  Whoever calls it makes a new snapshot by ``refresh`` when all payloads are in.

        Doing it again changes nothing.  complete: the payload is all that its source has to say: what that source said
        before and does not say now is taken back.   Raises: LedgerUnavailable; what was kept until then stays.
        """
        if self._run is None:
            raise LedgerUnavailable("these facts were opened to be read")
        found = await self._in_thread(partial(self._resolve, parsed, source, fetched_at_us, complete))
        kept = 0
        for statement, rows in found.writes:
            for start in range(0, len(rows), ROWS_AT_ONCE):
                kept += await self._run(partial(_write, statement, rows[start : start + ROWS_AT_ONCE]))
        await self._run(partial(_review, "unresolved", source, found.unresolved))
        self._facts, self._resolver = found.facts, found.resolver
        return Ingested(
            source=source,
            readings=len(parsed.readings),
            kept=kept,
            problems=(*parsed.problems, *found.problems)[:PROBLEMS_MAX],
            unresolved=tuple(str(row[1]) for row in found.unresolved),
        )

    async def refresh(self) -> Snapshot:
        """Make the snapshot of now, and swap it in.  Raises: LedgerUnavailable; then the last one stays."""
        return await self._refresh(_Pace())

    async def _refresh(self, pause: Callable[[], None]) -> Snapshot:
        at_us = self._clock_us()
        snapshot, heads = await self._in_thread(partial(self._build, at_us, None, pause))
        indices = await self._in_thread(partial(Indices, snapshot, pause))
        if self._run is not None:
            await self._run(partial(_write, _NOTE_SNAPSHOT, [(at_us, snapshot.id, *heads)]))
            names = snapshot.names()
            if names != self._suggested:
                rows = await self._in_thread(partial(self._likenesses, names, at_us, pause))
                await self._run(partial(_review, "alike", "", rows))
                self._suggested = names
        self._indices = indices
        return snapshot

    async def at(self, moment: int | str, /) -> Snapshot:
        """The snapshot of a past moment, in microseconds: of what had been fetched by then; or the one of that id (or of
        at least eight of its digits), exactly as it was.

        Raises: LookupError, when nothing was known then, or no snapshot had that id.  LedgerUnavailable.
        """
        if str(moment) in self._past:
            return self._past[str(moment)]
        if self._waiting >= PAST_WAITING_MAX:
            raise LedgerUnavailable("too many past snapshots are being made; try again in a moment")
        self._waiting += 1
        try:
            snapshot = await self._remake(moment)
        finally:
            self._waiting -= 1
        while len(self._past) >= SNAPSHOTS_KEPT:
            del self._past[next(iter(self._past))]
        self._past[str(moment)] = snapshot
        return snapshot

    async def _remake(self, moment: int | str) -> Snapshot:
        if isinstance(moment, int):
            snapshot, _ = await self._in_thread(partial(self._build, moment, None, _Pace()))
            if not (snapshot.scores or snapshot.models or snapshot.prices):
                raise LookupError("nothing was known then")
            return snapshot
        if not re.fullmatch("[0-9a-f]{8,64}", moment):
            raise LookupError(f"{moment!r} is no snapshot's id; that is 64 hexadecimal digits, or the first 8 or more")
        rows = await self._in_thread(partial(self._read, _SNAPSHOT, (moment,)))
        if not rows:
            raise LookupError(f"there was no snapshot {moment!r}")
        at_us, *heads = rows[0]
        snapshot, _ = await self._in_thread(partial(self._build, at_us, heads, _Pace()))
        return snapshot

    async def snapshots(self, limit: int = 100) -> Sequence[SnapshotRow]:
        """The latest snapshots that were current, the newest first."""
        rows = await self._in_thread(partial(self._read, _SNAPSHOTS, (limit,)))
        return tuple(SnapshotRow(id=row[0], at_us=row[1]) for row in rows)

    async def observations(self, model: str | None, /, *, at_us: int = FOREVER) -> Sequence[Observation]:
        """What each source said last of a model, its variants and its offers; of every model for ``None``."""

        def read() -> tuple[Observation, ...]:
            pause = _Pace()
            with closing(connect_reader(self._path)) as connection:
                found = _observations(_fetch(connection, _LATEST, (at_us, FOREVER), pause))
                return tuple(it for it in _resolved(found, self._resolver) if model in (None, model_of(it.variant)))

        return await self._in_thread(read)

    async def decide(self, alias: Alias, /) -> None:
        """Keep a reviewed alias; the next snapshot goes by it, for what is there too.  Raises: LedgerUnavailable."""
        if self._run is None:
            raise LedgerUnavailable("these facts were opened to be read")
        row = (alias.source, alias.name, alias.label, self._clock_us(), _text(alias))
        await self._run(partial(_write, _NOTE_ALIAS, [row]))
        await self._in_thread(self._load)

    async def reviews(self) -> Sequence[Review]:
        """What a person should look at: names that nobody knows, and models whose names are alike."""
        rows = await self._in_thread(partial(self._read, _REVIEWS, ()))
        return tuple(msgspec.convert(dict(zip(Review.__struct_fields__, row, strict=True)), Review) for row in rows)

    async def close(self) -> None:
        """Let go of the thread.  The file is the ledger's to close."""
        await asyncio.to_thread(self._thread.shutdown)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"the ledger's facts cannot be read: {error}") from error
        except RuntimeError as error:  # the executor was shut down
            raise LedgerUnavailable("the ledger's facts are closed") from error

    # --- below, everything runs in the thread ------------------------------------------------------------------------

    def _load(self) -> None:
        with closing(connect_reader(self._path)) as connection:
            stated = _stated(connection, FOREVER, FOREVER, _Pace())
            self._decided = _decided(connection, FOREVER)
        self._facts = {(source, fact.subject.source_name): fact for source, _, fact in stated}
        self._resolver = self._resolving(self._decided, self._facts)

    def _resolving(
        self, decided: Sequence[Alias], facts: Mapping[tuple[str, str], ModelFact], pause: Callable[[], None] = lambda: None
    ) -> Resolver:
        table = msgspec.structs.replace(self._table, aliases=(*self._table.aliases, *decided))
        return Resolver(table, ((source, fact) for (source, _), fact in facts.items()), pause)

    def _resolve(self, parsed: Parsed, source: str, fetched_at_us: int, complete: bool) -> _Found:
        pause = _Pace()
        facts, resolver = self._facts, self._resolver
        if any(facts.get((source, fact.subject.source_name)) != fact for fact in parsed.models):
            facts = {**facts, **{(source, fact.subject.source_name): fact for fact in parsed.models}}
            resolver = self._resolving(self._decided, facts, pause)
        problems: list[str] = []
        unknown: dict[str, str] = {}
        texts: dict[Subject, str] = {}
        observed: list[tuple[object, ...]] = []
        for reading in parsed.readings:
            pause()
            if problem := check(reading):
                problems.append(problem)
                continue
            found = resolver.observe(reading)
            if isinstance(found, Unresolved):
                unknown[reading.subject.source_name] = found.reason
                continue
            # What an alias takes of the confidence is taken when a snapshot is made: the alias may be another by then.
            observed.append(_row(msgspec.structs.replace(found, confidence=reading.confidence), texts))
        if complete:
            observed += self._taken_back(source, fetched_at_us, observed, texts, resolver)
        stated: list[tuple[object, ...]] = []
        priced: list[tuple[object, ...]] = []
        for fact in parsed.models:
            pause()
            found_model = resolver.resolve(source, fact.subject)
            if isinstance(found_model, Unresolved):
                unknown[fact.subject.source_name] = found_model.reason
                continue
            name = fact.subject.source_name
            stated.append((source, name, found_model.model, found_model.plan, fetched_at_us, _text(fact)))
        for it in parsed.prices:
            pause()
            found_offer = resolver.resolve(source, it.subject)
            if isinstance(found_offer, Unresolved):
                unknown[it.subject.source_name] = found_offer.reason
                continue
            if not found_offer.host:
                problems.append(f"{source}: a price of {it.subject.source_name!r} names no host")
                continue
            priced.append(
                (source, it.subject.source_name, found_offer.offer, fetched_at_us, _text(it.price), _text(it.subject))
            )
        problems += resolver.conflicts
        return _Found(
            writes=((_OBSERVE, observed), (_STATE_FACT, stated), (_STATE_PRICE, priced)),
            problems=tuple(problems),
            unresolved=[
                (source, name, "", reason, fetched_at_us) for name, reason in sorted(unknown.items())[:SUGGESTIONS_MAX]
            ],
            facts=facts,
            resolver=resolver,
        )

    def _taken_back(
        self,
        source: str,
        fetched_at_us: int,
        observed: Sequence[tuple[object, ...]],
        texts: dict[Subject, str],
        resolver: Resolver,
    ) -> Iterator[tuple[object, ...]]:
        """What the source said last and does not say now, with confidence 0."""
        said = {(row[2], row[3], row[4]) for row in observed}
        with closing(connect_reader(self._path)) as connection:
            rows = connection.execute(
                _LATEST.replace("WHERE fetched", "WHERE source = ?3 AND fetched"), (FOREVER, FOREVER, source)
            ).fetchall()
        for it in _resolved(_observations(rows), resolver):  # as it would be named now, like what is said now
            if it.confidence > 0 and (it.variant, it.offer, it.metric) not in said:
                gone = msgspec.structs.replace(
                    it, confidence=0.0, observed_at_us=max(fetched_at_us, it.observed_at_us + 1), fetched_at_us=fetched_at_us
                )
                yield _row(gone, texts)

    def _build(self, at_us: int, heads: Sequence[int] | None, pause: Callable[[], None]) -> tuple[Snapshot, Sequence[int]]:
        with closing(connect_reader(self._path)) as connection:
            connection.execute("BEGIN")  # all three reads see one state of the file
            heads = heads or connection.execute(_HEADS).fetchone()
            stated = _stated(connection, at_us, heads[1], pause)
            named = {(source, fact.subject.source_name): fact for source, _, fact in stated}
            # Who is meant is asked anew: an alias that was learned or decided later also counts for what was read before.
            resolver = self._resolving(_decided(connection, at_us), named, pause)
            observations = _resolved(_observations(_fetch(connection, _LATEST, (at_us, heads[0]), pause)), resolver)
            facts = [
                StatedFact(source=source, model=found.model, plan=found.plan, fetched_at_us=fetched_at_us, fact=fact)
                for source, fetched_at_us, fact in stated
                if isinstance(found := resolver.resolve(source, fact.subject), Resolution)
            ]
            prices = [
                StatedPrice(source=source, offer=found.offer, fetched_at_us=fetched_at_us, price=_price(text))
                for source, subject, fetched_at_us, text in _fetch(connection, _PRICES, (at_us, heads[2]), pause)
                if isinstance(found := resolver.resolve(source, _subject(subject)), Resolution)
            ]
            return Snapshot(observations, facts, prices, at_us=at_us, priority=self._priority, pause=pause), heads

    def _likenesses(self, names: Sequence[str], at_us: int, pause: Callable[[], None]) -> list[tuple[object, ...]]:
        return [("", it.model, it.other, f"{it.likeness:.0%} alike", at_us) for it in suggest(names, pause)]

    def _read(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with closing(connect_reader(self._path)) as connection:
            return connection.execute(sql, values).fetchall()


class _Found(msgspec.Struct, frozen=True):
    """What a payload comes to: rows to write, by statement; what was left out, and why."""

    writes: tuple[tuple[str, list[tuple[object, ...]]], ...]
    problems: tuple[str, ...]
    unresolved: list[tuple[object, ...]]
    facts: dict[tuple[str, str], ModelFact]
    resolver: Resolver


class _Pace:
    """Called often; rests when the thread has computed for ``WORK_S``."""

    def __init__(self) -> None:
        self._since_s = time.perf_counter()

    def __call__(self) -> None:
        if time.perf_counter() - self._since_s > WORK_S:
            time.sleep(REST_S)
            self._since_s = time.perf_counter()


def _stated(
    connection: sqlite3.Connection, at_us: int, head: int, pause: Callable[[], None]
) -> list[tuple[str, int, ModelFact]]:
    """What sources said last of their models by then, with when they said it."""
    return [(source, fetched_us, _fact(text)) for source, fetched_us, text in _fetch(connection, _FACTS, (at_us, head), pause)]


def _decided(connection: sqlite3.Connection, at_us: int) -> tuple[Alias, ...]:
    return tuple(_alias(row[0]) for row in connection.execute(_ALIASES, (at_us,)))


def _row(it: Observation, texts: dict[Subject, str]) -> tuple[object, ...]:
    text = texts.get(it.subject)
    if text is None:
        text = texts[it.subject] = _text(it.subject)
    return (
        *(it.source, it.source_version, it.variant, it.offer, it.metric, it.observed_at_us, it.value, it.confidence),
        *(it.unit, it.fetched_at_us, it.n, text, grain_us(it.metric)),
    )


def _observations(rows: Iterable[tuple[Any, ...]]) -> Iterator[Observation]:
    subjects: dict[str, Subject] = {}
    for row in rows:
        subject = subjects.get(row[11])
        if subject is None:
            subject = subjects[row[11]] = _subject(row[11])
        yield Observation(
            source=row[0],
            source_version=row[1],
            variant=row[2],
            offer=row[3],
            metric=row[4],
            observed_at_us=row[5],
            value=row[6],
            confidence=row[7],
            unit=row[8],
            fetched_at_us=row[9],
            n=row[10],
            subject=subject,
        )


def _resolved(observations: Iterable[Observation], resolver: Resolver) -> Iterator[Observation]:
    for it in observations:
        found = resolver.resolve(it.source, it.subject)
        if isinstance(found, Resolution):
            offer = it.offer and found.offer
            confidence = it.confidence * found.confidence
            yield msgspec.structs.replace(it, variant=found.variant, offer=offer, confidence=confidence)


def _fetch(
    connection: sqlite3.Connection, sql: str, values: Sequence[object], pause: Callable[[], None]
) -> Iterator[tuple[Any, ...]]:
    cursor = connection.execute(sql, values)
    while rows := cursor.fetchmany(16):
        pause()
        yield from rows


def _write(statement: str, rows: Sequence[tuple[object, ...]], connection: sqlite3.Connection) -> int:
    """Write the rows that are not there yet; how many those were."""
    before = connection.total_changes
    connection.executemany(statement, rows)
    return connection.total_changes - before


def _review(kind: str, source: str, rows: Sequence[tuple[object, ...]], connection: sqlite3.Connection) -> None:
    connection.execute(_FORGET, (kind, source))
    connection.executemany(_REVIEW, [(kind, *row) for row in rows])


def _text(value: object) -> str:
    return _encode(value).decode()
