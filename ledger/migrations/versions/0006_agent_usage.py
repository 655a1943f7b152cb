"""What coding agents used, as their own logs tell it, and how far those logs are read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TOKENS = ("input_uncached", "cache_read", "cache_write", "cache_write_1h", "output_text", "reasoning", "web_searches")


def upgrade() -> None:
    """Make the two tables, and the view of what counts."""
    op.create_table(
        "agent_usage",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("event_hash", sa.LargeBinary, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("agent", "session", "project", "provider", "model")),
        sa.Column("service_tier", sa.Text, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in TOKENS),
        sa.Column("reported_nusd", sa.BigInteger),
        sa.CheckConstraint(
            "min(input_uncached, cache_read, cache_write, cache_write_1h, output_text, reasoning) >= 0",
            name="agent_usage_tokens",
        ),
    )
    op.create_index("agent_usage_event", "agent_usage", ["event_hash", "total"], unique=True)
    op.create_table(
        "agent_files",
        sa.Column("file_hash", sa.LargeBinary, primary_key=True, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("modified_ns", sa.BigInteger, nullable=False),
        sa.Column("offset_bytes", sa.BigInteger, nullable=False),
        sa.Column("content_hash", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER agent_usage_no_{verb.lower()} BEFORE {verb} ON agent_usage "
            "BEGIN SELECT RAISE(ABORT, 'agent_usage is append-only'); END"
        )
    op.execute(ONLY_NEWS)
    op.execute(NOW)


ONLY_NEWS = """CREATE TRIGGER agent_usage_only_news BEFORE INSERT ON agent_usage
WHEN EXISTS (SELECT 1 FROM agent_usage WHERE event_hash = NEW.event_hash AND total >= NEW.total)
  OR NEW.id > 0 AND EXISTS (SELECT 1 FROM agent_usage WHERE id = NEW.id)
BEGIN SELECT RAISE(IGNORE); END"""
NOW = """CREATE VIEW agent_usage_now AS SELECT * FROM agent_usage AS a WHERE NOT EXISTS
  (SELECT 1 FROM agent_usage AS b WHERE b.event_hash = a.event_hash AND b.total > a.total)"""
