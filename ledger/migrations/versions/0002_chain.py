"""Double entry, the chain of hashes, adjustments, notes of progress, rollups; nothing replaces what is there."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

COPIED = (
    *("id", "kind", "request_id", "attempt", "at_us", "key_id", "endpoint", "model", "provider", "account"),
    *("upstream_model", "stream", "input_tokens_estimate", "quality", "input_uncached", "cache_read", "cache_write"),
    *("input_audio", "output_text", "reasoning", "output_audio", "cost_nusd", "price_source", "usage_raw", "reason"),
)
# What an entry's hash was over in this revision: the columns of its kind, in order.
TOKENS = ("input_uncached", "cache_read", "cache_write", "input_audio", "output_text", "reasoning", "output_audio")
HASHED = {
    "RESERVE": (*COPIED[2:13], "max_cost_nusd"),
    "SETTLE": (
        *("request_id", "attempt", "at_us", "quality", *TOKENS, "cost_nusd", "price_source", "usage_raw"),
        "max_cost_nusd",
    ),
    "VOID": ("request_id", "attempt", "at_us", "reason", "max_cost_nusd"),
}
ROUND = 1000


def upgrade() -> None:
    """Move the entries into a table that chains them, and sum up the requests."""
    for name in ("entries_no_update", "entries_no_delete"):
        op.execute(f"DROP TRIGGER {name}")
    for name in ("entries_reserve", "entries_terminal"):
        op.drop_index(name, "entries")
    # Reports read the rollups now, and an index is a page more in every transaction.
    op.drop_index("requests_at", "requests")
    op.rename_table("entries", "entries_0001")
    _create_entries()
    op.create_table(
        "progress",
        sa.Column("request_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("attempt", sa.Integer, primary_key=True, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollups",
        sa.Column("hour", sa.Integer, primary_key=True, nullable=False),
        sa.Column("key_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("provider", sa.Text, primary_key=True, nullable=False),
        sa.Column("model", sa.Text, primary_key=True, nullable=False),
        sa.Column("outcome", sa.Text, primary_key=True, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_nusd", sa.BigInteger, nullable=False),
        sa.Column("unpriced", sa.BigInteger, nullable=False),
        sa.Column("estimated", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("adjusted_nusd", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    _copy(connection)
    op.drop_table("entries_0001")
    op.execute(SUM_UP)
    for statement in (*APPEND_ONLY, *NO_REPLACE, POSTINGS, ROLLUP):
        op.execute(statement)


def _create_entries() -> None:
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
        sa.Column("max_cost_nusd", sa.BigInteger),
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
        sa.Column("evidence", sa.Text),
        sa.Column("h", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("kind IN ('RESERVE', 'SETTLE', 'VOID', 'ADJUST')", name="entries_kind"),
        sa.CheckConstraint("kind = 'ADJUST' OR cost_nusd >= 0", name="entries_cost"),
        sa.CheckConstraint("max_cost_nusd >= 0", name="entries_max_cost"),
        sa.CheckConstraint(f"min({', '.join(TOKENS)}) >= 0", name="entries_tokens"),
    )
    _unique("entries_reserve", ["request_id", "attempt"], where="kind = 'RESERVE'")
    _unique("entries_terminal", ["request_id", "attempt"], where="kind IN ('SETTLE', 'VOID')")
    _unique("entries_adjust", ["request_id", "attempt", "evidence"], where="kind = 'ADJUST'")


def _copy(connection: sa.Connection) -> None:
    """Copy the entries in order, each linked to the one before it.  By the driver: there may be millions."""
    driver: Any = connection.connection.driver_connection
    select = f"SELECT {','.join(COPIED)} FROM entries_0001 WHERE id > ? ORDER BY id LIMIT {ROUND}"  # noqa: S608  # our own names
    places = ",".join("?" * (len(COPIED) + 1))
    insert = f"INSERT INTO entries ({','.join((*COPIED, 'h'))}) VALUES ({places})"  # noqa: S608  # as above
    hashed = {kind: [COPIED.index(name) for name in names[:-1]] for kind, names in HASHED.items()}
    encode = msgspec.msgpack.Encoder().encode
    head, last_id = bytes(32), 0
    while rows := driver.execute(select, (last_id,)).fetchall():
        linked = []
        for row in rows:
            kind = row[1]
            # What was reserved was not known then: the last of the hashed values is NULL.
            head = sha256(head + encode(kind) + encode([*(row[place] for place in hashed[kind]), None])).digest()
            linked.append((*row, head))
        driver.executemany(insert, linked)
        last_id = rows[-1][0]


def _unique(name: str, columns: list[str], *, where: str) -> None:
    clause = sa.text(where)
    op.create_index(name, "entries", columns, unique=True, sqlite_where=clause, postgresql_where=clause)


POSTINGS = """CREATE VIEW postings AS
SELECT e.id, 'budget:' || r.key_id AS account,
  CASE e.kind WHEN 'RESERVE' THEN -coalesce(e.max_cost_nusd, 0) WHEN 'ADJUST' THEN -e.cost_nusd
    ELSE coalesce(e.max_cost_nusd, 0) - coalesce(e.cost_nusd, 0) END AS amount_nusd
  FROM entries AS e JOIN entries AS r
  ON r.request_id = e.request_id AND r.attempt = e.attempt AND r.kind = 'RESERVE'
UNION ALL
SELECT e.id, 'reserved:' || r.key_id,
  CASE e.kind WHEN 'RESERVE' THEN coalesce(e.max_cost_nusd, 0) ELSE -coalesce(e.max_cost_nusd, 0) END
  FROM entries AS e JOIN entries AS r
  ON r.request_id = e.request_id AND r.attempt = e.attempt AND r.kind = 'RESERVE' WHERE e.kind <> 'ADJUST'
UNION ALL
SELECT e.id, 'provider:' || r.provider || '/' || r.account, coalesce(e.cost_nusd, 0)
  FROM entries AS e JOIN entries AS r
  ON r.request_id = e.request_id AND r.attempt = e.attempt AND r.kind = 'RESERVE' WHERE e.kind IN ('SETTLE', 'ADJUST')"""

ROLLUP = """CREATE TRIGGER requests_rollup AFTER INSERT ON requests BEGIN
INSERT INTO rollups VALUES (NEW.at_us / 3600000000, NEW.key_id, NEW.provider,
  CASE NEW.upstream_model WHEN '' THEN NEW.model ELSE NEW.upstream_model END,
  CASE WHEN NEW.outcome IN ('ok', 'client_closed', 'interrupted') THEN NEW.outcome ELSE 'failed' END,
  1, NEW.input_uncached + NEW.cache_read + NEW.cache_write + NEW.input_audio, NEW.cache_read,
  NEW.output_text + NEW.reasoning + NEW.output_audio, NEW.reasoning,
  coalesce(NEW.cost_nusd, 0), NEW.cost_nusd IS NULL, NEW.quality = 'estimated', NEW.quality = 'held', 0)
ON CONFLICT DO UPDATE SET requests = requests + 1, input_tokens = input_tokens + excluded.input_tokens,
  cached_tokens = cached_tokens + excluded.cached_tokens, output_tokens = output_tokens + excluded.output_tokens,
  reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens, cost_nusd = cost_nusd + excluded.cost_nusd,
  unpriced = unpriced + excluded.unpriced, estimated = estimated + excluded.estimated, held = held + excluded.held; END"""

NO_REPLACE = (
    """CREATE TRIGGER entries_no_replace BEFORE INSERT ON entries
WHEN NEW.id > 0 AND EXISTS (SELECT 1 FROM entries WHERE id = NEW.id) OR CASE NEW.kind
  WHEN 'RESERVE' THEN EXISTS (SELECT 1 FROM entries
    WHERE kind = 'RESERVE' AND request_id = NEW.request_id AND attempt = NEW.attempt)
  WHEN 'ADJUST' THEN EXISTS (SELECT 1 FROM entries
    WHERE kind = 'ADJUST' AND request_id = NEW.request_id AND attempt = NEW.attempt AND evidence = NEW.evidence)
  ELSE EXISTS (SELECT 1 FROM entries
    WHERE kind IN ('SETTLE', 'VOID') AND request_id = NEW.request_id AND attempt = NEW.attempt) END
BEGIN SELECT RAISE(ABORT, 'entries has it already, and is append-only'); END""",
    """CREATE TRIGGER requests_no_replace BEFORE INSERT ON requests
WHEN EXISTS (SELECT 1 FROM requests WHERE request_id = NEW.request_id)
BEGIN SELECT RAISE(ABORT, 'requests has it already, and is append-only'); END""",
)

APPEND_ONLY = tuple(
    f"CREATE TRIGGER entries_no_{verb.lower()} BEFORE {verb} ON entries "
    "BEGIN SELECT RAISE(ABORT, 'entries is append-only'); END"
    for verb in ("UPDATE", "DELETE")
)

SUM_UP = """INSERT INTO rollups
SELECT at_us / 3600000000, key_id, provider, CASE upstream_model WHEN '' THEN model ELSE upstream_model END,
  CASE WHEN outcome IN ('ok', 'client_closed', 'interrupted') THEN outcome ELSE 'failed' END,
  count(*), sum(input_uncached + cache_read + cache_write + input_audio), sum(cache_read),
  sum(output_text + reasoning + output_audio), sum(reasoning),
  coalesce(sum(cost_nusd), 0), sum(cost_nusd IS NULL), sum(quality = 'estimated'), 0, 0
FROM requests GROUP BY 1, 2, 3, 4, 5"""
