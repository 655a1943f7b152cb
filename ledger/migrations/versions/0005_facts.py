"""What is known of models: observations, facts, prices, aliases, the index of snapshots; what is to be reviewed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# The columns that make a row the same row, by table.
KEYS = {
    "observations": (
        *("source", "source_version", "variant", "offer", "metric"),
        *("observed_at_us", "value", "confidence"),
    ),
    "model_facts": ("source", "source_name", "fetched_at_us", "fact"),
    "offer_prices": ("source", "source_name", "offer", "fetched_at_us", "price"),
    "aliases": ("source", "name", "label", "at_us"),
    "snapshots": ("at_us",),
}


def upgrade() -> None:
    """Make the tables.  But for the suggestions they are append-only."""
    op.create_table(
        "observations",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_version", sa.Text, nullable=False),
        sa.Column("variant", sa.Text, nullable=False),
        sa.Column("offer", sa.Text, nullable=False),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("observed_at_us", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("fetched_at_us", sa.BigInteger, nullable=False),
        sa.Column("n", sa.BigInteger),
        sa.Column("subject", sa.Text, nullable=False),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name="observations_confidence"),
    )
    op.create_table(
        "model_facts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_name", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("fetched_at_us", sa.BigInteger, nullable=False),
        sa.Column("fact", sa.Text, nullable=False),
    )
    op.create_table(
        "offer_prices",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_name", sa.Text, nullable=False),
        sa.Column("offer", sa.Text, nullable=False),
        sa.Column("fetched_at_us", sa.BigInteger, nullable=False),
        sa.Column("price", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
    )
    op.create_table(
        "aliases",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
    )
    op.create_table(
        "snapshots",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("snapshot_id", sa.Text, nullable=False),
        sa.Column("observation_id", sa.BigInteger, nullable=False),
        sa.Column("fact_id", sa.BigInteger, nullable=False),
        sa.Column("price_id", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "suggestions",
        sa.Column("kind", sa.Text, primary_key=True, nullable=False),
        sa.Column("source", sa.Text, primary_key=True, nullable=False),
        sa.Column("name", sa.Text, primary_key=True, nullable=False),
        sa.Column("other", sa.Text, primary_key=True, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    for table, key in KEYS.items():
        op.create_index(f"{table}_key", table, list(key), unique=True)
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        same = " AND ".join(f"{name} = NEW.{name}" for name in key)
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "  # noqa: S608  # only our own names
            f"WHEN NEW.id > 0 AND EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id) "
            f"OR EXISTS (SELECT 1 FROM {table} WHERE {same}) BEGIN SELECT RAISE(IGNORE); END"
        )
    op.create_index("snapshots_snapshot", "snapshots", ["snapshot_id"])
