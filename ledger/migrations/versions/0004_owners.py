"""Users, teams and budgets; who changed what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

KEPT = ("id", "name", "digest", "last4", "admin", "models", "created_us", "expires_us", "revoked_us")


def upgrade() -> None:
    """Move the keys into a table with what they may do and whose they are; make the tables of their owners."""
    for name in ("keys_digest", "keys_live_name"):
        op.drop_index(name, "keys")
    op.rename_table("keys", "keys_0001")
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
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("endpoints", sa.Text, nullable=False),
        sa.Column("requests_per_minute", sa.BigInteger),
        sa.Column("tokens_per_minute", sa.BigInteger),
        sa.Column("concurrent", sa.BigInteger),
        sa.Column("priority", sa.Text, nullable=False),
        sa.Column("disconnect", sa.Text, nullable=False),
        sa.Column("durability", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("previous_digest", sa.LargeBinary, nullable=False),
        sa.Column("previous_until_us", sa.BigInteger),
    )
    columns = ",".join(KEPT)
    op.execute(
        f'INSERT INTO keys ({columns}, "user", team, endpoints, priority, disconnect, durability, metadata, previous_digest) '  # noqa: S608  # only names from this file
        f"SELECT {columns}, '', '', '[]', 'normal', 'cancel', '', '{{}}', x'' FROM keys_0001 ORDER BY created_us, id"
    )
    op.drop_table("keys_0001")
    op.create_index("keys_digest", "keys", ["digest"], unique=True)
    live = sa.text("revoked_us IS NULL")
    op.create_index("keys_live_name", "keys", ["name"], unique=True, sqlite_where=live, postgresql_where=live)
    for table, more in (("teams", ()), ("users", (sa.Column("team", sa.Text, nullable=False),))):
        op.create_table(
            table,
            sa.Column("name", sa.Text, primary_key=True, nullable=False),
            *more,
            sa.Column("models", sa.Text, nullable=False),
            sa.Column("requests_per_minute", sa.BigInteger),
            sa.Column("tokens_per_minute", sa.BigInteger),
            sa.Column("concurrent", sa.BigInteger),
            sa.Column("metadata", sa.Text, nullable=False),
            sa.Column("created_us", sa.BigInteger, nullable=False),
            sa.Column("removed_us", sa.BigInteger),
        )
    op.create_table(
        "budgets",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("limit", sa.BigInteger, nullable=False),
        sa.Column("warn_percent", sa.Integer),
        sa.CheckConstraint("unit IN ('usd', 'tokens', 'requests')", name="budgets_unit"),
        sa.CheckConstraint("period IN ('day', 'week', 'month', 'total')", name="budgets_period"),
        sa.CheckConstraint('"limit" > 0', name="budgets_limit"),
    )
    op.create_index("budgets_one", "budgets", ["scope", "unit", "period"], unique=True)
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("actor_id", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
    )
    op.create_index("audit_object", "audit", ["object"])
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit "
            "BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END"
        )
    op.execute(NO_REPLACE)


NO_REPLACE = """CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit
WHEN NEW.id > 0 AND EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'audit has it already, and is append-only'); END"""
