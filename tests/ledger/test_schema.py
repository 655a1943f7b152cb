"""The tables are described three times, each for its reader: here they are held together."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ledger import migrations, schema
from ledger.journal.decisions import CHECKED, FEEDBACK
from ledger.journal.entries import DECISION, ENTRY, REQUEST
from ledger.journal.owners import CHANGE, COLUMNS
from ledger.migrations.__main__ import head_sql, main, upgrade
from ledger.records import Budget, Key, Team, User
from tests.ledger.samples import record, reservation, settlement

FOLDER = Path(migrations.__file__).parent
HEAD_SQL = (FOLDER / "head.sql").read_text()


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def described(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """Every table, index and trigger with its SQL, but for white space, and for the order of a table's columns: a column
    that a revision adds stands behind the others.
    """
    found = connection.execute("SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {(name, columns_sorted(plain(sql)) if kind == "table" else plain(sql)) for name, kind, sql in found}


def plain(sql: str) -> str:
    return " ".join(sql.replace("(", " ( ").replace(")", " ) ").replace(",", " , ").split())


def columns_sorted(sql: str) -> str:
    head, _, rest = sql.partition(" ( ")
    body, _, tail = rest.rpartition(" ) ") if rest.endswith("ROWID") else (rest.removesuffix(" )"), "", "")
    parts, depth = [""], 0
    for word in body.split():
        depth += {"(": 1, ")": -1}.get(word, 0)
        if word == "," and not depth:
            parts.append("")
        else:
            parts[-1] += f" {word}"
    return f"{head} ({','.join(sorted(parts))} ) {tail}"


def test_what_the_writer_fills_is_what_the_tables_have() -> None:
    assert ["id", *sorted(ENTRY)] == ["id", *sorted(set(schema.entries.c.keys()) - {"id"})]
    assert list(REQUEST) == schema.requests.c.keys()
    for kind, table in {Key: schema.keys, Team: schema.teams, User: schema.users, Budget: schema.budgets}.items():
        assert list(COLUMNS[kind]) == table.c.keys()
    assert list(CHANGE) == schema.audit.c.keys()
    assert ["id", *DECISION] == schema.decisions.c.keys()
    assert ["id", *sorted(CHECKED)] == ["id", *sorted(set(schema.checks.c.keys()) - {"id"})]
    assert ["id", *sorted(FEEDBACK)] == ["id", *sorted(set(schema.feedback.c.keys()) - {"id"})]


def test_the_revisions_make_the_tables_that_the_schema_describes(connection: sqlite3.Connection) -> None:
    upgrade(connection)
    engine = sa.create_engine("sqlite://", creator=lambda: connection, poolclass=sa.pool.StaticPool)

    with engine.connect() as bound:
        differences = compare_metadata(MigrationContext.configure(bound), schema.metadata)

    assert differences == []


def test_the_revisions_make_what_sqlalchemy_would_make(connection: sqlite3.Connection) -> None:
    upgrade(connection)
    connection.execute("DROP TABLE alembic_version")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as other:
        engine = sa.create_engine("sqlite://", creator=lambda: other, poolclass=sa.pool.StaticPool)
        with engine.begin() as bound:
            schema.metadata.create_all(bound)

        assert described(connection) == described(other)


def test_a_fresh_file_is_what_the_revisions_make() -> None:
    assert head_sql() == HEAD_SQL, "run: python -m ledger.migrations sql > ledger/migrations/head.sql"


def test_the_head_is_the_last_revision_and_revisions_are_numbered() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    scripts = ScriptDirectory.from_config(config)

    revisions = sorted(script.revision for script in scripts.walk_revisions())

    assert scripts.get_heads() == [migrations.HEAD]
    assert revisions == [f"{number:04d}" for number in range(1, len(revisions) + 1)]


def test_a_failed_revision_leaves_no_trace(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE keys (in_the_way)")

    with pytest.raises(sa.exc.OperationalError):
        upgrade(connection)

    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("keys",)]


def test_the_command_migrates_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"

    assert main(["migrate", str(path)]) == 0

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(migrations.HEAD,)]


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql"]) == 0

    assert capsys.readouterr().out == HEAD_SQL


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["what"]) == 2

    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "forbidden",
    [
        "UPDATE entries SET cost_nusd = 0",
        "DELETE FROM entries",
        "UPDATE requests SET cost_nusd = 0",
        "DELETE FROM requests WHERE request_id = 'req_1'",
    ],
)
def test_the_journal_is_append_only(connection: sqlite3.Connection, forbidden: str) -> None:
    connection.executescript(HEAD_SQL)
    connection.execute("INSERT INTO entries (kind, request_id, attempt, at_us, h) VALUES ('RESERVE', 'req_1', 1, 1, x'00')")
    names = [name for name in REQUEST if name not in {"cost_nusd", "ttfb_us", "tags"}]
    insert = f"INSERT INTO requests ({','.join(names)}) VALUES ({','.join('?' * len(names))})"  # noqa: S608  # our own names
    connection.execute(insert, ["req_1", *[1] * (len(names) - 1)])

    with pytest.raises(sqlite3.IntegrityError, match="is append-only"):
        connection.execute(forbidden)


@pytest.mark.parametrize("kind", ["RESERVE", "SETTLE", "VOID"])
def test_an_attempt_has_one_reservation_and_one_end(connection: sqlite3.Connection, kind: str) -> None:
    connection.executescript(HEAD_SQL)
    insert = "INSERT INTO entries (kind, request_id, attempt, at_us, h) VALUES (?, 'req_1', 1, 1, x'00')"
    connection.execute(insert, (kind,))

    with pytest.raises(sqlite3.IntegrityError, match="has it already"):
        connection.execute(insert, ("RESERVE" if kind == "RESERVE" else "SETTLE",))


def test_samples_fit_the_tables() -> None:
    names = {*reservation().__struct_fields__, *settlement().__struct_fields__, *record().__struct_fields__}

    assert names - {"tokens"} <= {*schema.entries.c.keys(), *schema.requests.c.keys()}
