"""Bring a ledger's file to the head revision, or print the head schema as SQL."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from ledger.migrations import HEAD


def upgrade(connection: sqlite3.Connection, /, revision: str = HEAD) -> None:
    """Run the missing revisions on a stdlib connection (``isolation_level=None``), all in one transaction."""
    engine = sa.create_engine("sqlite://", creator=lambda: connection, poolclass=sa.pool.StaticPool)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    with engine.connect() as bound:
        connection.execute("BEGIN IMMEDIATE")
        config.attributes["connection"] = bound
        command.upgrade(config, revision)
        bound.commit()


def head_sql() -> str:
    """The head schema as one SQL script, stamped with its revision."""
    with sqlite3.connect(":memory:", isolation_level=None) as connection:
        upgrade(connection)
        statements = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
    statements.append(f"INSERT INTO alembic_version VALUES ('{HEAD}')")  # noqa: S608  # our own constant
    return "".join(f"{' '.join(statement.split())};\n" for statement in statements)


def main(arguments: Sequence[str]) -> int:
    """``migrate FILE`` or ``sql``."""
    match arguments:
        case ["migrate", path]:
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                upgrade(connection)
            finally:
                connection.close()
        case ["sql"]:
            sys.stdout.write(head_sql())
        case _:
            sys.stderr.write("usage: python -m ledger.migrations migrate FILE | sql\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
