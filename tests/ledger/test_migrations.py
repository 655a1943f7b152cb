"""A file of each earlier release becomes one of this release, with everything that was in it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ledger import migrations
from ledger.adapters.sqlite import SqliteLedger
from ledger.journal.recovery import Recovery
from ledger.journal.reports import usage
from ledger.journal.verify import verify
from ledger.migrations.__main__ import upgrade
from ledger.records import Owned, Tokens
from tests.ledger.samples import OnePrice, key, record, reservation, rows, settlement

ENTRIES = (
    "SELECT id, kind, request_id, attempt, at_us, key_id, endpoint, model, provider, account, upstream_model, stream, "
    "input_tokens_estimate, quality, input_uncached, cache_read, cache_write, input_audio, output_text, reasoning, "
    "output_audio, cost_nusd, price_source, usage_raw, reason FROM entries"
)
REQUESTS = (
    "SELECT request_id, at_us, key_id, endpoint, model, provider, upstream_model, answered_model, stream, status, outcome, "
    "quality, input_uncached, cache_read, cache_write, input_audio, output_text, reasoning, output_audio, cost_nusd, "
    "price_source, duration_us, ttfb_us, attempts, usage_raw FROM requests"
)
RESERVE = (
    "INSERT INTO entries (id, kind, request_id, attempt, at_us, key_id, endpoint, model, provider, account, upstream_model, "
    "stream, input_tokens_estimate) VALUES (?, 'RESERVE', ?, ?, 1000000, 'key_1', 'chat.completions', 'openai/gpt-4o', "
    "'openai', 'main', 'gpt-4o', 0, 1000)"
)
SETTLE = (
    "INSERT INTO entries (id, kind, request_id, attempt, at_us, quality, input_uncached, cache_read, cache_write, "
    "input_audio, output_text, reasoning, output_audio, cost_nusd, price_source, usage_raw) "
    "VALUES (?, 'SETTLE', ?, ?, 2000000, 'exact', 800, 200, 0, 0, 150, 50, 0, ?, 'a list', x'7b7d')"
)
REQUEST = (
    "INSERT INTO requests VALUES (?, 1000000, 'key_1', 'chat.completions', 'openai/gpt-4o', 'openai', 'gpt-4o', "
    "'gpt-4o-2024-08-06', 0, 200, 'ok', 'exact', 800, 200, 0, 0, 150, 50, 0, ?, 'a list', 1000000, 900000, '[]', x'')"
)


def sample_0001(path: Path) -> None:
    """What the first release would leave behind when it is killed: ended tries, a failed one, an open one."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        upgrade(connection, "0001")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO keys VALUES ('key_1', 'alice', x'01', 'abcd', 0, '[]', 1, NULL, NULL)")
        number = 0
        for n in range(1500):  # more than are copied at once
            cost_nusd = None if n % 7 == 0 else n
            connection.execute(RESERVE, (number + 1, f"req_{n}", 1))
            connection.execute(SETTLE, (number + 3, f"req_{n}", 1, cost_nusd))  # with a gap between the ids
            connection.execute(REQUEST, (f"req_{n}", cost_nusd))
            number += 3
        connection.execute(RESERVE, (number + 1, "req_open", 1))
        connection.execute(
            "INSERT INTO entries (id, kind, request_id, attempt, at_us, reason) "
            "VALUES (?, 'VOID', 'req_open', 1, 5, 'connect')",
            (number + 2,),
        )
        connection.execute(RESERVE, (number + 3, "req_open", 2))
        connection.execute("INSERT INTO marks VALUES ('settled_through', 3000)")
        connection.execute("COMMIT")


async def test_a_file_of_the_first_release_keeps_everything_and_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    sample_0001(path)
    entries, requests = rows(path, ENTRIES), rows(path, REQUESTS)

    with SqliteLedger(path, prices=OnePrice()) as ledger:
        migrated = verify(path)
        copied = rows(path, ENTRIES), rows(path, REQUESTS)
        recovered = await ledger.recover()
        await ledger.write([record("req_new", cost_nusd=0)])
        owned = await ledger.owned()
    after = verify(path)

    assert copied == (entries, requests)
    assert (migrated.faults, migrated.entries, migrated.open_attempts) == ((), 3003, 1)
    assert recovered == Recovery(attempts_settled=1, attempts_held=1, requests_interrupted=1)
    assert (after.faults, after.entries, after.open_attempts) == ((), 3004, 0)
    assert owned == Owned(keys=(key(name="alice", digest=b"\x01", created_us=1),))
    (row,) = usage(path, by="key")
    assert (row.label, row.requests, row.unpriced) == ("alice", 1502, 215)
    assert row.cost_nusd == sum(n for n in range(1500) if n % 7) + 2_500_000
    assert rows(path, "SELECT version_num FROM alembic_version") == [(migrations.HEAD,)]


async def test_entries_of_before_the_later_columns_keep_their_hashes_and_new_ones_stand_on_them(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    sample_0001(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        upgrade(connection, "0002")
    hashes = rows(path, "SELECT id, h FROM entries ORDER BY id")

    with SqliteLedger(path, prices=OnePrice()) as ledger:
        await ledger.recover()
        await ledger.write([reservation("req_new", user="ann", team="search", tags=("nightly", "batch"))])
        await ledger.write(
            [
                settlement("req_new", tokens=Tokens(input_uncached=1, output_image=7), cost_nusd=0),
                record("req_new", user="ann", team="search", tags=("nightly", "batch"), cost_nusd=0),
            ]
        )
    found = verify(path)

    assert rows(path, "SELECT id, h FROM entries ORDER BY id")[: len(hashes)] == hashes
    assert found.faults == ()
    assert [(row.group, row.requests) for row in usage(path, by="tag")] == [("batch", 1), ("nightly", 1)]
    assert {(row.group, row.requests) for row in usage(path, by="team")} == {("", 1501), ("search", 1)}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET user = NULL, team = NULL, tags = NULL WHERE request_id = 'req_new' AND kind = 'RESERVE'",
        "UPDATE entries SET user = '', team = '', tags = '' WHERE request_id = 'req_1' AND kind = 'RESERVE'",
        "UPDATE entries SET team = 'ads' WHERE request_id = 'req_new' AND kind = 'RESERVE'",
        "UPDATE entries SET tags = 'x' WHERE request_id = 'req_1' AND kind = 'RESERVE'",
        "UPDATE entries SET input_image = 1 WHERE request_id = 'req_1' AND kind = 'SETTLE'",
    ],
)
async def test_neither_an_old_entry_nor_a_new_one_can_pass_for_the_other(tmp_path: Path, change: str) -> None:
    path = tmp_path / "ledger.sqlite"
    sample_0001(path)
    with SqliteLedger(path, prices=OnePrice()) as ledger:
        await ledger.recover()
        await ledger.write([reservation("req_new", user="ann")])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER entries_no_update")
        connection.execute(change)

    (fault, *_) = verify(path).faults

    assert "the chain breaks at entry" in fault


def test_a_migrated_file_has_the_tables_of_a_fresh_one(tmp_path: Path) -> None:
    def described(path: Path) -> set[tuple[str, str]]:
        found = rows(path, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {(name, " ".join(sql.split())) for name, sql in found}

    sample_0001(tmp_path / "old.sqlite")
    for name in ("old", "new"):
        SqliteLedger(tmp_path / f"{name}.sqlite").close()

    assert described(tmp_path / "old.sqlite") == described(tmp_path / "new.sqlite")
