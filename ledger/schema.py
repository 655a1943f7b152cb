"""The ledger's tables, in SQLAlchemy Core: what migrations are written against, and where PostgreSQL will start from.

The serving process does not import this module: ``journal/entries.py`` has the columns as plain text, and a fresh file
is made from ``migrations/head.sql``.  Tests hold the three together.

``entries``, ``requests``, ``audit``, ``agent_usage`` and ``feedback`` are append-only: the database itself refuses to change
or remove a row of them.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

LATER_TOKENS = ("cache_write_1h", "cache_read_audio", "input_image", "output_image", "web_searches")

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
    # RESERVE, and repeated by what ends it
    sa.Column("max_cost_nusd", sa.BigInteger),
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
    # VOID, ADJUST
    sa.Column("reason", sa.Text),
    # ADJUST
    sa.Column("evidence", sa.Text),
    # RESERVE, since revision 0003
    sa.Column("user", sa.Text),
    sa.Column("team", sa.Text),
    sa.Column("tags", sa.Text),
    # SETTLE, since revision 0003; until then each was counted in the bucket of the more general kind
    *(sa.Column(name, sa.BigInteger, sa.CheckConstraint(f"{name} >= 0")) for name in LATER_TOKENS),
    # SHA-256 over the entry before it and this one: journal/chain.py
    sa.Column("h", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("kind IN ('RESERVE', 'SETTLE', 'VOID', 'ADJUST')", name="entries_kind"),
    sa.CheckConstraint("kind = 'ADJUST' OR cost_nusd >= 0", name="entries_cost"),
    sa.CheckConstraint("max_cost_nusd >= 0", name="entries_max_cost"),
    sa.CheckConstraint(
        "min(input_uncached, cache_read, cache_write, input_audio, output_text, reasoning, output_audio) >= 0",
        name="entries_tokens",
    ),
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
sa.Index(
    "entries_adjust",
    entries.c.request_id,
    entries.c.attempt,
    entries.c.evidence,
    unique=True,
    sqlite_where=sa.text("kind = 'ADJUST'"),
    postgresql_where=sa.text("kind = 'ADJUST'"),
)

# The few tries of which nobody knows whether they cost anything: journal/holds.py looks them through every hour.
sa.Index(
    "entries_held",
    entries.c.id,
    sqlite_where=sa.text("quality = 'held'"),
    postgresql_where=sa.text("quality = 'held'"),
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
    *(sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0")) for name in LATER_TOKENS),
    sa.Column("cost_nusd", sa.BigInteger),
    sa.Column("price_source", sa.Text, nullable=False),
    sa.Column("duration_us", sa.BigInteger, nullable=False),
    sa.Column("ttfb_us", sa.BigInteger),
    sa.Column("attempts", sa.Text, nullable=False),
    sa.Column("usage_raw", sa.LargeBinary, nullable=False),
    *(sa.Column(name, sa.Text, nullable=False, server_default=sa.text("''")) for name in ("user", "team", "tags", "cache")),
    sa.Column("saved_nusd", sa.BigInteger, sa.CheckConstraint("saved_nusd >= 0"), nullable=False, server_default=sa.text("0")),
    sa.CheckConstraint("cost_nusd >= 0", name="requests_cost"),
)

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
sa.Index("keys_digest", keys.c.digest, unique=True)
sa.Index(
    "keys_live_name",
    keys.c.name,
    unique=True,
    sqlite_where=sa.text("revoked_us IS NULL"),
    postgresql_where=sa.text("revoked_us IS NULL"),
)

# Removed ones stay: a name is never given to another.
teams, users = (
    sa.Table(
        name,
        metadata,
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
    for name, more in (("teams", ()), ("users", (sa.Column("team", sa.Text, nullable=False),)))
)

budgets = sa.Table(
    "budgets",
    metadata,
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
sa.Index("budgets_one", budgets.c.scope, budgets.c.unit, budgets.c.period, unique=True)

# Who changed which of these, and what they were before and after.  Append-only, like the journal.
audit = sa.Table(
    "audit",
    metadata,
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
sa.Index("audit_object", audit.c.object)

# How far open streams have come.  No history: a row is removed when its try has ended.
progress = sa.Table(
    "progress",
    metadata,
    sa.Column("request_id", sa.Text, primary_key=True, nullable=False),
    sa.Column("attempt", sa.Integer, primary_key=True, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# What rollups sum up.
MEASURES = (
    *("requests", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cost_nusd", "unpriced"),
    *("estimated", "held", "adjusted_nusd", "cached_requests", "saved_nusd"),
)


def _rollup(name: str, *groups: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("hour", sa.Integer, primary_key=True, nullable=False),
        *(sa.Column(group, sa.Text, primary_key=True, nullable=False) for group in groups),
        *(sa.Column(measure, sa.BigInteger, nullable=False) for measure in MEASURES),
        sqlite_with_rowid=False,
    )


# The requests of an hour (since the epoch) by key, whose it was, what was paid for, and how it ended: what reports read.
rollups = _rollup("rollups", "key_id", "user", "team", "provider", "model", "outcome")
# Those of them that have tags, under each of their tags.
rollup_tags = _rollup("rollup_tags", "key_id", "tag", "provider", "model", "outcome")

# Named positions in the journal.  ``settled_through``: every reservation up to that id has its end and its record.
marks = sa.Table(
    "marks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True, nullable=False),
    sa.Column("value", sa.BigInteger, nullable=False),
)


# What coding agents used, as their own logs tell it; no part of the journal, of budgets or of rollups.  ``event_hash`` stands
# for the agent and its event: of several rows for one event, which an agent writes while an answer grows, the largest
# ``total`` counts.
AGENT_TOKENS = ("input_uncached", "cache_read", "cache_write", "cache_write_1h", "output_text", "reasoning", "web_searches")
agent_usage = sa.Table(
    "agent_usage",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("event_hash", sa.LargeBinary, nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("agent", "session", "project", "provider", "model")),
    sa.Column("service_tier", sa.Text, nullable=False),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in AGENT_TOKENS),
    sa.Column("reported_nusd", sa.BigInteger),
    sa.CheckConstraint(
        "min(input_uncached, cache_read, cache_write, cache_write_1h, output_text, reasoning) >= 0", name="agent_usage_tokens"
    ),
)
sa.Index("agent_usage_event", agent_usage.c.event_hash, agent_usage.c.total, unique=True)

# How far a log is read.  A file is known by the hash of its path: the ledger does not keep where people work.
agent_files = sa.Table(
    "agent_files",
    metadata,
    sa.Column("file_hash", sa.LargeBinary, primary_key=True, nullable=False),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("modified_ns", sa.BigInteger, nullable=False),
    sa.Column("offset_bytes", sa.BigInteger, nullable=False),
    sa.Column("content_hash", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)


# Why routed requests went where they went.  Not append-only: after ``routing.keep_days`` a row is removed.
decisions = sa.Table(
    "decisions",
    metadata,
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
sa.Index("decisions_request", decisions.c.request_id, unique=True)
sa.Index("decisions_at", decisions.c.at_us)

# What of answers could be checked without a reader; a request may be checked more than once.  Removed with decisions.
checks = sa.Table(
    "checks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("offer", "task", "passed", "failed")),
)
sa.Index("checks_request", checks.c.request_id)
sa.Index("checks_at", checks.c.at_us)

# What people, and what judges for them, think of answers.  Append-only.
feedback = sa.Table(
    "feedback",
    metadata,
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
sa.Index("feedback_one", feedback.c.request_id, feedback.c.source, feedback.c.other_id, unique=True)
sa.Index("feedback_at", feedback.c.at_us)


# The journal's double entry, derived: each event moves money between a key's budget, what is reserved of it, and what a
# provider was paid, and the amounts of an event sum to 0.  Wider scopes are folds over keys.
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

# The measures of one request, and how they are added to those that are there.
_OF_REQUEST = """1,
  NEW.input_uncached + NEW.cache_read + NEW.cache_write + NEW.input_audio + NEW.cache_write_1h + NEW.cache_read_audio
    + NEW.input_image,
  NEW.cache_read + NEW.cache_read_audio, NEW.output_text + NEW.reasoning + NEW.output_audio + NEW.output_image, NEW.reasoning,
  coalesce(NEW.cost_nusd, 0), NEW.cost_nusd IS NULL, NEW.quality = 'estimated', NEW.quality = 'held', 0,
  NEW.cache <> '', NEW.saved_nusd"""
_ADDED = """requests = requests + 1, input_tokens = input_tokens + excluded.input_tokens,
  cached_tokens = cached_tokens + excluded.cached_tokens, output_tokens = output_tokens + excluded.output_tokens,
  reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens, cost_nusd = cost_nusd + excluded.cost_nusd,
  unpriced = unpriced + excluded.unpriced, estimated = estimated + excluded.estimated, held = held + excluded.held,
  cached_requests = cached_requests + excluded.cached_requests, saved_nusd = saved_nusd + excluded.saved_nusd"""

ROLLUP = f"""CREATE TRIGGER requests_rollup AFTER INSERT ON requests BEGIN
INSERT INTO rollups VALUES (NEW.at_us / 3600000000, NEW.key_id, NEW.user, NEW.team, NEW.provider,
  CASE NEW.upstream_model WHEN '' THEN NEW.model ELSE NEW.upstream_model END,
  CASE WHEN NEW.outcome IN ('ok', 'client_closed', 'interrupted') THEN NEW.outcome ELSE 'failed' END,
  {_OF_REQUEST})
ON CONFLICT DO UPDATE SET {_ADDED}; END"""  # noqa: S608  # from this file

ROLLUP_TAGS = f"""CREATE TRIGGER requests_rollup_tags AFTER INSERT ON requests WHEN NEW.tags <> '' BEGIN
INSERT INTO rollup_tags SELECT NEW.at_us / 3600000000, NEW.key_id, value, NEW.provider,
  CASE NEW.upstream_model WHEN '' THEN NEW.model ELSE NEW.upstream_model END,
  CASE WHEN NEW.outcome IN ('ok', 'client_closed', 'interrupted') THEN NEW.outcome ELSE 'failed' END,
  {_OF_REQUEST} FROM json_each(NEW.tags) WHERE true
ON CONFLICT DO UPDATE SET {_ADDED}; END"""  # noqa: S608  # from this file

# INSERT OR REPLACE removes a row without firing DELETE triggers unless the connection asks for it, which ours does;
# these two stand in the way of everybody else's.
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
AUDIT_NO_REPLACE = """CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit
WHEN NEW.id > 0 AND EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'audit has it already, and is append-only'); END"""

FEEDBACK_NO_REPLACE = """CREATE TRIGGER feedback_no_replace BEFORE INSERT ON feedback
WHEN NEW.id > 0 AND EXISTS (SELECT 1 FROM feedback WHERE id = NEW.id) OR EXISTS (SELECT 1 FROM feedback
  WHERE request_id = NEW.request_id AND source = NEW.source AND other_id = NEW.other_id)
BEGIN SELECT RAISE(ABORT, 'feedback has it already, and is append-only'); END"""

# A row that says no more of its event than one that is there is left out, whoever inserts it and however.
AGENT_ONLY_NEWS = """CREATE TRIGGER agent_usage_only_news BEFORE INSERT ON agent_usage
WHEN EXISTS (SELECT 1 FROM agent_usage WHERE event_hash = NEW.event_hash AND total >= NEW.total)
  OR NEW.id > 0 AND EXISTS (SELECT 1 FROM agent_usage WHERE id = NEW.id)
BEGIN SELECT RAISE(IGNORE); END"""
AGENT_NOW = """CREATE VIEW agent_usage_now AS SELECT * FROM agent_usage AS a WHERE NOT EXISTS
  (SELECT 1 FROM agent_usage AS b WHERE b.event_hash = a.event_hash AND b.total > a.total)"""


def _after_create(table: sa.Table, statement: str) -> None:
    ddl: sa.DDL = sa.DDL(statement)  # type: ignore[no-untyped-call]  # SQLAlchemy has not annotated it
    sa.event.listen(table, "after_create", ddl.execute_if(dialect="sqlite"))


for _table in (entries, requests, audit, agent_usage, feedback):
    for _verb in ("UPDATE", "DELETE"):
        _after_create(
            _table,
            f"CREATE TRIGGER {_table.name}_no_{_verb.lower()} BEFORE {_verb} ON {_table.name} "
            f"BEGIN SELECT RAISE(ABORT, '{_table.name} is append-only'); END",
        )
_after_create(entries, NO_REPLACE[0])
_after_create(entries, POSTINGS)
_after_create(requests, NO_REPLACE[1])
_after_create(requests, ROLLUP)
_after_create(requests, ROLLUP_TAGS)
_after_create(audit, AUDIT_NO_REPLACE)
_after_create(agent_usage, AGENT_ONLY_NEWS)
_after_create(feedback, FEEDBACK_NO_REPLACE)
_after_create(agent_usage, AGENT_NOW)

# --- what is known of models -------------------------------------------------------------------------------------------

# Columns are in the order of the key, since a row is looked for by it whenever one is written.
observations = sa.Table(
    "observations",
    metadata,
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
    # Who the source meant, as JSON: what the variant was found by.
    sa.Column("subject", sa.Text, nullable=False),
    sa.CheckConstraint("confidence BETWEEN 0 AND 1", name="observations_confidence"),
)

model_facts = sa.Table(
    "model_facts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("source_name", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("fetched_at_us", sa.BigInteger, nullable=False),
    sa.Column("fact", sa.Text, nullable=False),
)

offer_prices = sa.Table(
    "offer_prices",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("source_name", sa.Text, nullable=False),
    sa.Column("offer", sa.Text, nullable=False),
    sa.Column("fetched_at_us", sa.BigInteger, nullable=False),
    sa.Column("price", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
)

# What an operator decided, beside the table that comes with the release; the last row of a name counts.
aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    sa.Column("alias", sa.Text, nullable=False),
)

# Which snapshot was the current one from when on, and up to which rows it was made.
snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    sa.Column("snapshot_id", sa.Text, nullable=False),
    sa.Column("observation_id", sa.BigInteger, nullable=False),
    sa.Column("fact_id", sa.BigInteger, nullable=False),
    sa.Column("price_id", sa.BigInteger, nullable=False),
)

# What a person should look at: names that nobody knows, names alike.  No history: rows come and go.
suggestions = sa.Table(
    "suggestions",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True, nullable=False),
    sa.Column("source", sa.Text, primary_key=True, nullable=False),
    sa.Column("name", sa.Text, primary_key=True, nullable=False),
    sa.Column("other", sa.Text, primary_key=True, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# What makes a row of facts the same row: writing it again changes nothing, and nothing replaces it.
FACT_KEYS = {
    observations: (
        *("source", "source_version", "variant", "offer", "metric"),
        *("observed_at_us", "value", "confidence"),
    ),
    model_facts: ("source", "source_name", "fetched_at_us", "fact"),
    offer_prices: ("source", "source_name", "offer", "fetched_at_us", "price"),
    aliases: ("source", "name", "label", "at_us"),
    snapshots: ("at_us",),
}

for _table, _key in FACT_KEYS.items():
    sa.Index(f"{_table.name}_key", *(_table.c[_name] for _name in _key), unique=True)
    for _verb in ("UPDATE", "DELETE"):
        _after_create(
            _table,
            f"CREATE TRIGGER {_table.name}_no_{_verb.lower()} BEFORE {_verb} ON {_table.name} "
            f"BEGIN SELECT RAISE(ABORT, '{_table.name} is append-only'); END",
        )
    _same = " AND ".join(f"{_name} = NEW.{_name}" for _name in _key)
    _after_create(
        _table,
        f"CREATE TRIGGER {_table.name}_no_replace BEFORE INSERT ON {_table.name} "  # noqa: S608  # only our own names
        f"WHEN NEW.id > 0 AND EXISTS (SELECT 1 FROM {_table.name} WHERE id = NEW.id) "
        f"OR EXISTS (SELECT 1 FROM {_table.name} WHERE {_same}) BEGIN SELECT RAISE(IGNORE); END",
    )
sa.Index("snapshots_snapshot", snapshots.c.snapshot_id)
