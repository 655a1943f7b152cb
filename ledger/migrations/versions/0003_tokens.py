"""Every kind of token in a column of its own; whose a request was, and what it was tagged with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TOKENS = ("cache_write_1h", "cache_read_audio", "input_image", "output_image", "web_searches")
TEXTS = ("user", "team", "tags")
MEASURES = (
    *("requests", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cost_nusd", "unpriced"),
    *("estimated", "held", "adjusted_nusd", "cached_requests", "saved_nusd"),
)


def upgrade() -> None:
    """Add columns, and give the sums their new dimensions.

    No entry is touched: in those that are there the new columns are NULL, which no new entry has, and which tells that
    their hash does not cover them.
    """
    for name in TEXTS:
        op.execute(f"ALTER TABLE entries ADD COLUMN {name} TEXT")
    for name in TOKENS:
        op.execute(f"ALTER TABLE entries ADD COLUMN {name} BIGINT CHECK ({name} >= 0)")
        op.execute(f"ALTER TABLE requests ADD COLUMN {name} BIGINT DEFAULT 0 NOT NULL")
    for name in (*TEXTS, "cache"):
        op.execute(f"ALTER TABLE requests ADD COLUMN {name} TEXT DEFAULT '' NOT NULL")
    op.execute("ALTER TABLE requests ADD COLUMN saved_nusd BIGINT DEFAULT 0 NOT NULL CHECK (saved_nusd >= 0)")
    held = sa.text("quality = 'held'")
    op.create_index("entries_held", "entries", ["id"], sqlite_where=held, postgresql_where=held)
    op.execute("DROP TRIGGER requests_rollup")
    op.rename_table("rollups", "rollups_0002")
    _create("rollups", "key_id", "user", "team", "provider", "model", "outcome")
    _create("rollup_tags", "key_id", "tag", "provider", "model", "outcome")
    op.execute(KEPT)
    op.drop_table("rollups_0002")
    op.execute(ROLLUP)
    op.execute(ROLLUP_TAGS)


def _create(name: str, *groups: str) -> None:
    op.create_table(
        name,
        sa.Column("hour", sa.Integer, primary_key=True, nullable=False),
        *(sa.Column(group, sa.Text, primary_key=True, nullable=False) for group in groups),
        *(sa.Column(measure, sa.BigInteger, nullable=False) for measure in MEASURES),
        sqlite_with_rowid=False,
    )


KEPT = """INSERT INTO rollups SELECT hour, key_id, '', '', provider, model, outcome, requests, input_tokens, cached_tokens,
  output_tokens, reasoning_tokens, cost_nusd, unpriced, estimated, held, adjusted_nusd, 0, 0 FROM rollups_0002"""

OF_REQUEST = """1,
  NEW.input_uncached + NEW.cache_read + NEW.cache_write + NEW.input_audio + NEW.cache_write_1h + NEW.cache_read_audio
    + NEW.input_image,
  NEW.cache_read + NEW.cache_read_audio, NEW.output_text + NEW.reasoning + NEW.output_audio + NEW.output_image, NEW.reasoning,
  coalesce(NEW.cost_nusd, 0), NEW.cost_nusd IS NULL, NEW.quality = 'estimated', NEW.quality = 'held', 0,
  NEW.cache <> '', NEW.saved_nusd"""
ADDED = """requests = requests + 1, input_tokens = input_tokens + excluded.input_tokens,
  cached_tokens = cached_tokens + excluded.cached_tokens, output_tokens = output_tokens + excluded.output_tokens,
  reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens, cost_nusd = cost_nusd + excluded.cost_nusd,
  unpriced = unpriced + excluded.unpriced, estimated = estimated + excluded.estimated, held = held + excluded.held,
  cached_requests = cached_requests + excluded.cached_requests, saved_nusd = saved_nusd + excluded.saved_nusd"""

ROLLUP = f"""CREATE TRIGGER requests_rollup AFTER INSERT ON requests BEGIN
INSERT INTO rollups VALUES (NEW.at_us / 3600000000, NEW.key_id, NEW.user, NEW.team, NEW.provider,
  CASE NEW.upstream_model WHEN '' THEN NEW.model ELSE NEW.upstream_model END,
  CASE WHEN NEW.outcome IN ('ok', 'client_closed', 'interrupted') THEN NEW.outcome ELSE 'failed' END,
  {OF_REQUEST})
ON CONFLICT DO UPDATE SET {ADDED}; END"""  # noqa: S608  # from this file

ROLLUP_TAGS = f"""CREATE TRIGGER requests_rollup_tags AFTER INSERT ON requests WHEN NEW.tags <> '' BEGIN
INSERT INTO rollup_tags SELECT NEW.at_us / 3600000000, NEW.key_id, value, NEW.provider,
  CASE NEW.upstream_model WHEN '' THEN NEW.model ELSE NEW.upstream_model END,
  CASE WHEN NEW.outcome IN ('ok', 'client_closed', 'interrupted') THEN NEW.outcome ELSE 'failed' END,
  {OF_REQUEST} FROM json_each(NEW.tags) WHERE true
ON CONFLICT DO UPDATE SET {ADDED}; END"""  # noqa: S608  # from this file
