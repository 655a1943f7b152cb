"""Every kind of token in a column of its own; whose a request was, and what it was tagged with."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Nothing yet."""
