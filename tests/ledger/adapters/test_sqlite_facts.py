"""Facts in a file."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from ledger.adapters import aliases
from ledger.adapters.sqlite import SqliteLedger
from ledger.adapters.sqlite_facts import SqliteFacts
from ledger.catalogue.identity import Alias, AliasTable
from ledger.catalogue.snapshot import Snapshot, diff
from ledger.errors import LedgerUnavailable
from ledger.facts import ModelFact, Parsed, Reading, Subject
from ledger.ports import FactsPort
from tests.ledger import recorded
from tests.ledger.recorded import AUGUST, MARCH, MAY, us
from tests.ledger.samples import record, rows

TABLE = aliases.load()
EMPTY = AliasTable(reviewed="", dated=(), aliases=())
PAYLOADS = (
    ("artificial_analysis", MARCH, recorded.artificial_analysis(MARCH)),
    ("artificial_analysis", MAY, recorded.artificial_analysis(MAY)),
    ("openrouter", AUGUST, recorded.openrouter()),
)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


@pytest.fixture
async def facts(ledger: SqliteLedger) -> AsyncIterator[SqliteFacts]:
    facts = opened(ledger)
    await facts.open()
    yield facts
    await facts.close()


def opened(ledger: SqliteLedger, table: AliasTable = TABLE) -> SqliteFacts:
    clock = itertools.count(us("2026-09-01"))
    return SqliteFacts(ledger.path, aliases=table, clock_us=lambda: next(clock), run=ledger.run)


async def take(facts: FactsPort, payloads: Sequence[tuple[str, str, Parsed]] = PAYLOADS) -> Snapshot:
    for source, day, parsed in payloads:
        await facts.ingest(parsed, source=source, fetched_at_us=us(day))
    return await facts.refresh()


def reading(value: float, name: str = "openai/gpt-5", days: float = 0, **changes: object) -> Reading:
    at_us = us(MAY) + round(days * 86_400_000_000)
    made = recorded.reading(Subject(source_name=name), "gpqa_diamond", value, "fraction", at_us)
    return msgspec.structs.replace(made, **changes)


async def ingest(facts: SqliteFacts, *readings: Reading, source: str = "openrouter", complete: bool = False) -> int:
    parsed = Parsed(readings=readings)
    at_us = max((it.fetched_at_us for it in readings), default=us(AUGUST))
    return (await facts.ingest(parsed, source=source, fetched_at_us=at_us, complete=complete)).kept


def value(snapshot: Snapshot, name: str = "openai/gpt-5") -> float | None:
    return snapshot.value(name, "gpqa_diamond")


async def test_replaying_everything_changes_nothing(ledger: SqliteLedger, facts: SqliteFacts) -> None:
    first = await take(facts)
    counted = rows(ledger.path, "SELECT count(*) FROM observations")

    again = await take(facts)
    backwards = await take(facts, PAYLOADS[::-1])

    assert len(first.names()) > 500
    assert again.id == backwards.id == first.id
    assert rows(ledger.path, "SELECT count(*) FROM observations") == counted


async def test_the_order_of_payloads_does_not_matter(tmp_path: Path, facts: SqliteFacts) -> None:
    first = await take(facts)
    with SqliteLedger(tmp_path / "other.sqlite") as ledger:
        other = opened(ledger)
        await other.open()

        backwards = await take(other, PAYLOADS[::-1])

        await other.close()
    assert diff(first, backwards) == ()
    assert backwards.id == first.id


async def test_what_was_known_then_is_given_back_exactly(facts: SqliteFacts) -> None:
    march = await take(facts, PAYLOADS[:1])
    may = await take(facts, PAYLOADS[1:2])
    await take(facts, PAYLOADS[2:])

    then = await facts.at(us("2026-03-02"))
    by_id = await facts.at(march.id[:12])

    assert march.id != may.id
    assert (then.id, by_id.id) == (march.id, march.id)
    assert then.scores == march.scores
    assert march.scales["intelligence_index"] != may.scales["intelligence_index"]


async def test_a_snapshot_is_found_by_its_id_though_older_payloads_came_later(facts: SqliteFacts) -> None:
    may = await take(facts, PAYLOADS[1:2])
    await take(facts, PAYLOADS[:1])

    assert (await facts.at(may.id)).id == may.id


async def test_what_was_never_known_is_said(facts: SqliteFacts) -> None:
    await take(facts, PAYLOADS[:1])

    for moment in (us("2020-01-01"), "0" * 64, "not an id", "abc"):
        with pytest.raises(LookupError):
            await facts.at(moment)


async def test_snapshots_are_listed_once_each_the_newest_first(facts: SqliteFacts) -> None:
    march = await take(facts, PAYLOADS[:1])
    await take(facts, PAYLOADS[:1])
    may = await take(facts, PAYLOADS[1:2])

    assert [row.id for row in await facts.snapshots()][:2] == [may.id, march.id]


async def test_the_snapshot_of_a_restart_is_the_same(ledger: SqliteLedger, facts: SqliteFacts) -> None:
    before = await take(facts)
    again = opened(ledger)

    after = await again.open()

    await again.close()
    assert after.id == before.id


async def test_a_repeated_value_is_kept_once_a_grain_and_a_changed_one_always(facts: SqliteFacts) -> None:
    kept = [
        await ingest(facts, reading(0.5)),
        await ingest(facts, reading(0.5, days=0.01)),
        await ingest(facts, reading(0.6, days=0.02)),
        await ingest(facts, reading(0.5, days=0.03)),
        await ingest(facts, reading(0.5, days=9)),
    ]

    assert kept == [1, 0, 1, 1, 1]
    assert value(await facts.refresh()) == 0.5


async def test_what_cannot_be_true_is_refused_and_the_rest_kept(facts: SqliteFacts) -> None:
    parsed = Parsed(readings=(reading(0.5), reading(50.0, days=1), reading(0.5, name="my-model")), problems=("odd row",))

    done = await facts.ingest(parsed, source="openrouter", fetched_at_us=us(AUGUST))

    assert (done.readings, done.kept, done.unresolved) == (3, 1, ("my-model",))
    assert done.problems[0] == "odd row"
    assert "50.0 is not between 0 and 1" in done.problems[1]


async def test_a_complete_payload_takes_back_what_it_does_not_say(facts: SqliteFacts) -> None:
    override, other = reading(0.9, source="override"), reading(0.8, name="openai/gpt-4", source="override")
    await ingest(facts, reading(0.5))
    await ingest(facts, override, other, source="override", complete=True)
    with_both = await facts.refresh()

    gone = msgspec.structs.replace(other, observed_at_us=us(AUGUST), fetched_at_us=us(AUGUST))
    await ingest(facts, gone, source="override", complete=True)
    without = await facts.refresh()
    await ingest(facts, source="override", complete=True)
    await ingest(facts, source="override", complete=True)
    empty = await facts.refresh()

    assert (value(with_both), value(with_both, "openai/gpt-4")) == (0.9, 0.8)
    assert (value(without), value(without, "openai/gpt-4")) == (0.5, 0.8)
    assert (value(empty), value(empty, "openai/gpt-4")) == (0.5, None)


async def test_a_decided_alias_counts_for_what_is_there_already(facts: SqliteFacts) -> None:
    await ingest(facts, reading(0.5, name="acme/our-gpt"))
    before = await facts.refresh()

    await facts.decide(Alias(name="acme/our-gpt", model="openai/gpt-5", why="we asked them", confidence=0.5))
    after = await facts.refresh()

    assert (value(before), value(before, "acme/our-gpt")) == (None, 0.5)
    assert (value(after), value(after, "acme/our-gpt")) == (0.5, None)
    score = after.score("openai/gpt-5", "gpqa_diamond")
    assert score is not None
    assert score.confidence == 0.4
    assert (await facts.at(before.id)).id == before.id


async def test_a_complete_payload_under_a_new_alias_takes_back_nothing_that_it_says(facts: SqliteFacts) -> None:
    told = reading(0.9, name="acme/our-gpt", source="override")
    await ingest(facts, told, source="override", complete=True)
    await facts.decide(Alias(name="acme/our-gpt", model="openai/gpt-5", why="we asked them"))

    later = msgspec.structs.replace(told, fetched_at_us=us(AUGUST))
    await ingest(facts, later, source="override", complete=True)

    assert value(await facts.refresh()) == 0.9


async def test_what_a_person_should_look_at_is_listed(facts: SqliteFacts) -> None:
    await take(facts)
    await ingest(facts, reading(0.5, name="my-model"), source="manual")

    reviews = await facts.reviews()

    assert ("unresolved", "manual", "my-model") in {(it.kind, it.source, it.name) for it in reviews}
    assert ("alike", "xai/grok-4-20-0309", "xai/grok-4-20-0309-v2") in {(it.kind, it.name, it.other) for it in reviews}
    await ingest(facts, source="manual")
    assert "my-model" not in {it.name for it in await facts.reviews()}


async def test_what_each_source_says_of_a_model_is_told(facts: SqliteFacts) -> None:
    await take(facts)

    found = await facts.observations("openai/gpt-5")

    assert {it.variant for it in found} >= {"openai/gpt-5", "openai/gpt-5#high", "openai/gpt-5#low"}
    assert {it.source for it in found} == {"artificial_analysis", "openrouter"}
    assert "openai/gpt-5-mini" not in {it.variant for it in found}


async def test_facts_and_prices_of_a_source_that_changed_its_mind_are_the_latest(facts: SqliteFacts) -> None:
    subject = Subject(source_name="openai/gpt-5", host="openrouter")
    for at_us, tokens in ((3, 300), (1, 100), (2, 200)):
        parsed = Parsed(models=(ModelFact(subject=subject, context_tokens=tokens),))
        await facts.ingest(parsed, source="openrouter", fetched_at_us=at_us)

    snapshot = await facts.refresh()

    assert snapshot.models["openai/gpt-5"].context_tokens == 300
    assert (await facts.at(2)).models["openai/gpt-5"].context_tokens == 200


async def test_entries_of_the_journal_are_written_between_a_payloads_rows(ledger: SqliteLedger, facts: SqliteFacts) -> None:
    async def journal() -> int:
        written = 0
        while not done.is_set():
            await ledger.write([record(f"req_{written}")])
            written += 1
        return written

    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(journal())
        await take(facts)
        done.set()

    assert writing.result() > 100


@pytest.mark.parametrize("table", ["observations", "model_facts", "offer_prices", "snapshots", "aliases"])
async def test_facts_are_append_only(ledger: SqliteLedger, facts: SqliteFacts, table: str) -> None:
    await facts.decide(Alias(name="acme/x", model="acme/y", why="decided"))
    await take(facts, PAYLOADS[2:])
    with closing(sqlite3.connect(ledger.path)) as connection:
        before = connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()  # noqa: S608  # our own names

        for statement in (f"UPDATE {table} SET id = id + 1", f"DELETE FROM {table}"):  # noqa: S608  # our own names
            with pytest.raises(sqlite3.IntegrityError, match="is append-only"):
                connection.execute(statement)
        places = ",".join("?" * len(before[0]))
        connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", (*before[0][:-1], "another"))  # noqa: S608

        assert before
        assert connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() == before  # noqa: S608  # our own names


async def test_facts_that_are_opened_to_be_read_are_not_written(ledger: SqliteLedger, facts: SqliteFacts) -> None:
    current = await take(facts, PAYLOADS[:1])
    reader = SqliteFacts(ledger.path, aliases=TABLE, clock_us=lambda: us("2026-09-02"))

    read = await reader.open()

    assert read.id == current.id
    with pytest.raises(LedgerUnavailable, match="opened to be read"):
        await ingest(reader, reading(0.5))
    with pytest.raises(LedgerUnavailable, match="opened to be read"):
        await reader.decide(Alias(name="acme/x", model="acme/y", why="decided"))
    await reader.close()


async def test_closed_facts_say_so(facts: SqliteFacts) -> None:
    await facts.close()

    with pytest.raises(LedgerUnavailable, match="closed"):
        await facts.refresh()


async def test_a_file_that_is_gone_leaves_the_last_snapshot(ledger: SqliteLedger, facts: SqliteFacts) -> None:
    current = await take(facts, PAYLOADS[:1])
    ledger.path.rename(ledger.path.with_name("moved"))

    with pytest.raises(LedgerUnavailable, match="cannot be read"):
        await facts.refresh()

    assert facts.snapshot is current
    ledger.path.with_name("moved").rename(ledger.path)
