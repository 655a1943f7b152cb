"""The ledger's tables, in SQLAlchemy Core: what migrations are written against, and where PostgreSQL will start from.

The serving process does not import this module: ``journal/entries.py`` has the columns as plain text, and a fresh file
is made from ``migrations/head.sql``.  Tests hold the three together.

``entries`` and ``requests`` are append-only: the database itself refuses to change or remove a row of them.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

# Rows are never removed, so ids only rise: AUTOINCREMENT would cost a write to a second table for nothing.
entries = sa.Table(
    "entries",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    # RESERVE
    sa.Column("key_id", sa.Text),
    sa.Column("endpoint", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("provider", sa.Text),
    sa.Column("account", sa.Text),
    sa.Column("upstream_model", sa.Text),
    sa.Column("stream", sa.Integer),
    sa.Column("input_tokens_estimate", sa.BigInteger),
    # SETTLE
    sa.Column("quality", sa.Text),
    sa.Column("input_uncached", sa.BigInteger),
    sa.Column("cache_read", sa.BigInteger),
    sa.Column("cache_write", sa.BigInteger),
    sa.Column("input_audio", sa.BigInteger),
    sa.Column("output_text", sa.BigInteger),
    sa.Column("reasoning", sa.BigInteger),
    sa.Column("output_audio", sa.BigInteger),
    sa.Column("cost_nusd", sa.BigInteger),
    sa.Column("price_source", sa.Text),
    sa.Column("usage_raw", sa.LargeBinary),
    # VOID
    sa.Column("reason", sa.Text),
    sa.CheckConstraint("kind IN ('RESERVE', 'SETTLE', 'VOID')", name="entries_kind"),
    sa.CheckConstraint("cost_nusd >= 0", name="entries_cost"),
)
sa.Index(
    "entries_reserve",
    entries.c.request_id,
    entries.c.attempt,
    unique=True,
    sqlite_where=sa.text("kind = 'RESERVE'"),
    postgresql_where=sa.text("kind = 'RESERVE'"),
)
sa.Index(
    "entries_terminal",
    entries.c.request_id,
    entries.c.attempt,
    unique=True,
    sqlite_where=sa.text("kind IN ('SETTLE', 'VOID')"),
    postgresql_where=sa.text("kind IN ('SETTLE', 'VOID')"),
)

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("request_id", sa.Text, primary_key=True, nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("upstream_model", sa.Text, nullable=False),
    sa.Column("answered_model", sa.Text, nullable=False),
    sa.Column("stream", sa.Integer, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("quality", sa.Text, nullable=False),
    sa.Column("input_uncached", sa.BigInteger, nullable=False),
    sa.Column("cache_read", sa.BigInteger, nullable=False),
    sa.Column("cache_write", sa.BigInteger, nullable=False),
    sa.Column("input_audio", sa.BigInteger, nullable=False),
    sa.Column("output_text", sa.BigInteger, nullable=False),
    sa.Column("reasoning", sa.BigInteger, nullable=False),
    sa.Column("output_audio", sa.BigInteger, nullable=False),
    sa.Column("cost_nusd", sa.BigInteger),
    sa.Column("price_source", sa.Text, nullable=False),
    sa.Column("duration_us", sa.BigInteger, nullable=False),
    sa.Column("ttfb_us", sa.BigInteger),
    sa.Column("attempts", sa.Text, nullable=False),
    sa.Column("usage_raw", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("cost_nusd >= 0", name="requests_cost"),
)
sa.Index("requests_at", requests.c.at_us)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("last4", sa.Text, nullable=False),
    sa.Column("admin", sa.Integer, nullable=False),
    sa.Column("models", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("expires_us", sa.BigInteger),
    sa.Column("revoked_us", sa.BigInteger),
)
sa.Index("keys_digest", keys.c.digest, unique=True)
sa.Index(
    "keys_live_name",
    keys.c.name,
    unique=True,
    sqlite_where=sa.text("revoked_us IS NULL"),
    postgresql_where=sa.text("revoked_us IS NULL"),
)

# Named positions in the journal.  ``settled_through``: every reservation up to that id has its end and its record.
marks = sa.Table(
    "marks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True, nullable=False),
    sa.Column("value", sa.BigInteger, nullable=False),
)


def _append_only(table: sa.Table) -> None:
    for verb in ("UPDATE", "DELETE"):
        trigger: sa.DDL = sa.DDL(  # type: ignore[no-untyped-call]  # SQLAlchemy has not annotated it
            f"CREATE TRIGGER {table.name}_no_{verb.lower()} BEFORE {verb} ON {table.name} "
            f"BEGIN SELECT RAISE(ABORT, '{table.name} is append-only'); END"
        )
        sa.event.listen(table, "after_create", trigger.execute_if(dialect="sqlite"))


_append_only(entries)
_append_only(requests)
