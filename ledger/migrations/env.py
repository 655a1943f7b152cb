"""Runs the revisions on the connection that the caller passed in.  Alembic imports this file; nobody else does."""

from __future__ import annotations

from alembic import context

from ledger import schema

# The caller has opened a transaction around all revisions.  SQLite's DDL takes part in it: a failed upgrade leaves no
# trace.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    transaction_per_migration=False,
)
context.run_migrations()
