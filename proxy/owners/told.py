"""What may be told of keys, users, teams and budgets, to an admin and to the audit log: no secret, and no digest of one."""

from __future__ import annotations

import json
from typing import Any

from ledger.records import Budget, Key, Team, User

_OPENS = frozenset(("digest", "previous_digest"))


def told(owner: Key | User | Team | Budget) -> dict[str, Any]:
    """The fields of an object, without what opens the gateway; its metadata as an object."""
    fields = {name: getattr(owner, name) for name in owner.__struct_fields__ if name not in _OPENS}
    if "metadata" in fields:
        fields["metadata"] = json.loads(fields["metadata"])
    return fields


def told_text(owner: Key | User | Team | Budget | None) -> str | None:
    """The same as JSON; ``None``: there is nothing."""
    return None if owner is None else json.dumps(told(owner), ensure_ascii=False, separators=(",", ":"))
