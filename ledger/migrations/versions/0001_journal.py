"""The journal, the request records, the keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table, index and trigger of the first release."""
    op.create_table(
        "entries",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.Text),
        sa.Column("endpoint", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("provider", sa.Text),
        sa.Column("account", sa.Text),
        sa.Column("upstream_model", sa.Text),
        sa.Column("stream", sa.Integer),
        sa.Column("input_tokens_estimate", sa.BigInteger),
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
        sa.Column("reason", sa.Text),
        sa.CheckConstraint("kind IN ('RESERVE', 'SETTLE', 'VOID')", name="entries_kind"),
        sa.CheckConstraint("cost_nusd >= 0", name="entries_cost"),
    )
    _unique("entries_reserve", "entries", ["request_id", "attempt"], where="kind = 'RESERVE'")
    _unique("entries_terminal", "entries", ["request_id", "attempt"], where="kind IN ('SETTLE', 'VOID')")
    op.create_table(
        "requests",
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
    op.create_index("requests_at", "requests", ["at_us"])
    op.create_table(
        "keys",
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
    op.create_index("keys_digest", "keys", ["digest"], unique=True)
    _unique("keys_live_name", "keys", ["name"], where="revoked_us IS NULL")
    op.create_table(
        "marks",
        sa.Column("name", sa.Text, primary_key=True, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    for table in ("entries", "requests"):
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def _unique(name: str, table: str, columns: list[str], *, where: str) -> None:
    clause = sa.text(where)
    op.create_index(name, table, columns, unique=True, sqlite_where=clause, postgresql_where=clause)
