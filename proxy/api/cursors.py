"""Pages of Anthropic's lists: ``limit``, and what a page comes after or before.

Source: platform.claude.com/docs/en/api/messages/batches/list, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from proxy.errors import InvalidRequest, NotFound

USUAL: Final = 20
MOST: Final = 1000


def limit_of(query: Mapping[str, str]) -> int:
    """How many a page has at most.  Raises: InvalidRequest."""
    limit = query.get("limit", str(USUAL))
    if not limit.isascii() or not limit.isdigit() or len(limit) > len(str(MOST)) or not 1 <= int(limit) <= MOST:
        raise InvalidRequest(f"'limit' must be a whole number from 1 to {MOST:,}.", param="limit")
    return int(limit)


def window(names: Sequence[str], query: Mapping[str, str]) -> tuple[Sequence[str], bool]:
    """Those of a page, and whether there are more where it leads to.  names: of all, the newest first.

    Raises: InvalidRequest; NotFound, for a place that is not in the list.
    """
    limit = limit_of(query)
    after, before = query.get("after_id"), query.get("before_id")
    if after and before:
        raise InvalidRequest("A page comes after one thing or before one.", param="before_id")
    if before:
        rest = names[: _place(names, before, "before_id")]
        return rest[-limit:], len(rest) > limit
    rest = names[_place(names, after, "after_id") + 1 :] if after else names
    return rest[:limit], len(rest) > limit


def _place(names: Sequence[str], name: str, param: str) -> int:
    if name not in names:
        raise NotFound(f"There is no {name[:128]!r} in this list.", param=param)
    return names.index(name)
