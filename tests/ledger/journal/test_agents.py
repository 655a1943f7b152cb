"""What coding agents used, kept by event."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from ledger.adapters.sqlite import SqliteLedger
from ledger.journal.agents import MANY, cursors
from ledger.journal.connection import connect
from ledger.records import AgentBatch, AgentStored, AgentUsage, LogCursor, Tokens
from tests.ledger.samples import rows

EVENT = AgentUsage(agent="codex", event="e1", at_us=1_000, tokens=Tokens(input_uncached=10, output_text=5), model="m")
CURSOR = LogCursor(
    file_hash=b"f" * 16, agent="codex", size_bytes=9, modified_ns=8, offset_bytes=7, content_hash=b"c" * 16, state=b"{}"
)
NOW = "SELECT event_hash, agent, model, at_us, input_uncached, output_text FROM agent_usage_now ORDER BY agent, at_us"


def grown(output: int, at_us: int = 2_000) -> AgentUsage:
    return replace(EVENT, at_us=at_us, tokens=Tokens(input_uncached=10, output_text=output))


async def store(ledger: SqliteLedger, *events: AgentUsage) -> AgentStored:
    return await ledger.store_agents(AgentBatch(events=events))


async def test_what_is_known_is_not_stored_again(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        first = await store(ledger, EVENT, EVENT)
        second = await store(ledger, EVENT)

    assert (first, second) == (AgentStored(new=1, duplicate=1), AgentStored(new=0, duplicate=1))


async def test_of_an_event_that_grew_the_largest_counts_however_it_came(tmp_path: Path) -> None:
    kept = []
    for number, batches in enumerate(([[EVENT, grown(80), grown(40)]], [[EVENT], [grown(80)], [grown(40)]])):
        path = tmp_path / f"{number}.sqlite"
        with SqliteLedger(path) as ledger:
            for batch in batches:
                await store(ledger, *batch)
        kept.append(rows(path, NOW))

    assert [it[3:] for it in kept[0]] == [(2_000, 10, 80)]
    assert kept[0] == kept[1]


async def test_two_agents_may_have_the_same_name_for_an_event(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        stored = await store(ledger, EVENT, replace(EVENT, agent="copilot"))

    assert stored.new == 2


async def test_cursors_are_kept_with_their_events_and_move_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    moved = replace(CURSOR, offset_bytes=70)

    before = cursors(path)
    with SqliteLedger(path) as ledger:
        await ledger.store_agents(AgentBatch(events=(EVENT,), cursors=(CURSOR,)))
        await ledger.store_agents(AgentBatch(cursors=(moved,)))
        found = cursors(path)

    assert (before, found) == ({}, {CURSOR.file_hash: moved})


@pytest.mark.parametrize("statement", ["UPDATE agent_usage SET total = 0", "DELETE FROM agent_usage"])
async def test_what_is_kept_cannot_be_changed(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "ledger.sqlite"
    with SqliteLedger(path) as ledger:
        await store(ledger, EVENT)

    with closing(connect(path, "process")) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)


async def test_many_at_once_are_kept_as_a_few_are(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    grow = [replace(grown(at % 7 + 1), event=f"e{at}") for at in range(MANY)]
    less = [replace(grown(1), event=f"e{at}") for at in range(MANY)]
    more = [replace(grown(9), event=f"e{at}") for at in range(MANY)]

    with SqliteLedger(path) as ledger:
        stored = [(await store(ledger, *events)).new for events in (grow, grow)]
        await store(ledger, *less)
        kept = rows(path, NOW)
        await store(ledger, *more)
        with pytest.raises(sqlite3.IntegrityError):  # and all of it is as before
            await ledger.store_agent_rows([(b"x", *[None] * 16)] * MANY, ())  # type: ignore[list-item]  # no row

    assert stored == [MANY, 0]
    assert sorted(it[-1] for it in kept) == sorted(at % 7 + 1 for at in range(MANY))
    assert [it[-1] for it in rows(path, NOW)] == [9] * MANY
    with closing(sqlite3.connect(path)) as connection, connection:
        known = f"INSERT OR REPLACE INTO agent_usage SELECT id, event_hash, total, {REST}"
        assert connection.execute(known).rowcount == 0


REST = (
    "at_us, 'else', session, project, provider, model, service_tier, input_uncached, cache_read, cache_write, "
    "cache_write_1h, output_text, reasoning, web_searches, reported_nusd FROM agent_usage"
)


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT OR REPLACE INTO agent_usage SELECT id, x'00', total, {REST}",
        f"INSERT OR REPLACE INTO agent_usage SELECT NULL, event_hash, total, {REST}",
    ],
    ids=["id", "event"],
)
async def test_nobody_replaces_a_row(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "ledger.sqlite"
    with SqliteLedger(path) as ledger:
        await store(ledger, EVENT)
    before = rows(path, "SELECT * FROM agent_usage")

    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)

    assert rows(path, "SELECT * FROM agent_usage") == before
