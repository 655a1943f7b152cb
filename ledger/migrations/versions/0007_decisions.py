"""Why routed requests went where they went, what could be checked of their answers, and what people think of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("policy", "task", "chosen", "snapshot_id")),
        sa.Column("propensity_ppm", sa.BigInteger, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        *(sa.Column(name, sa.BigInteger) for name in ("quality_ppm", "cost_nusd", "output_tokens", "ttft_us", "latency_us")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("features", "candidates")),
        sa.CheckConstraint("propensity_ppm BETWEEN 0 AND 1000000", name="decisions_propensity"),
    )
    op.create_index("decisions_request", "decisions", ["request_id"], unique=True)
    op.create_index("decisions_at", "decisions", ["at_us"])
    op.create_table(
        "checks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("offer", "task", "passed", "failed")),
    )
    op.create_index("checks_request", "checks", ["request_id"])
    op.create_index("checks_at", "checks", ["at_us"])
    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("request_id", "source", "key_id", "offer", "task", "policy")),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("score_ppm", sa.BigInteger, nullable=False),
        sa.Column("weight_ppm", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("label", "comment", "other_id")),
        sa.CheckConstraint("score_ppm BETWEEN 0 AND 1000000", name="feedback_score"),
        sa.CheckConstraint("weight_ppm BETWEEN 0 AND 1000000", name="feedback_weight"),
    )
    op.create_index("feedback_one", "feedback", ["request_id", "source", "other_id"], unique=True)
    op.create_index("feedback_at", "feedback", ["at_us"])
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER feedback_no_{verb.lower()} BEFORE {verb} ON feedback "
            "BEGIN SELECT RAISE(ABORT, 'feedback is append-only'); END"
        )
    op.execute(NO_REPLACE)


NO_REPLACE = """CREATE TRIGGER feedback_no_replace BEFORE INSERT ON feedback
WHEN NEW.id > 0 AND EXISTS (SELECT 1 FROM feedback WHERE id = NEW.id) OR EXISTS (SELECT 1 FROM feedback
  WHERE request_id = NEW.request_id AND source = NEW.source AND other_id = NEW.other_id)
BEGIN SELECT RAISE(ABORT, 'feedback has it already, and is append-only'); END"""
