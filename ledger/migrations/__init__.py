"""Alembic revisions of the ledger's file, numbered 0001, 0002, …

``python -m ledger.migrations migrate FILE`` brings a file to the head revision, ``python -m ledger.migrations sql``
prints ``head.sql``, from which fresh files are made.  Both run in a process of their own: Alembic costs more than a
second and 46 MB, and is needed once per release.
"""

HEAD = "0007"
