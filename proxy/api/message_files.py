"""Lists of files as Anthropic has them: by ``page``, by the ids before or after, or of some ids alone.

Source: platform.claude.com/docs/en/api/files/list, and anthropic 2.8 (Python), read 2026-11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import QueryParams

from providers.anthropic import stored
from proxy.api.cursors import window
from proxy.errors import InvalidRequest

PAGE: Final = "page_"
IDS_MAX: Final = 100


def page(rows: Sequence[tuple[str, str]], query: QueryParams) -> bytes:
    """The page that is asked for.  rows: ids and objects in JSON, the oldest first.  Raises: InvalidRequest, NotFound."""
    seen = dict(reversed(rows))
    if query.get("scope_id"):
        raise InvalidRequest("Files of a scope are not known here.", param="scope_id")
    ids = [*query.getlist("ids"), *query.getlist("ids[]")]
    if len(ids) > IDS_MAX:
        raise InvalidRequest(f"'ids' has more than {IDS_MAX} of them.", param="ids")
    if ids:
        names: Sequence[str] = [name for name in seen if name in ids]
        return stored.listed([seen[name] for name in names], names, has_more=False)
    asked = dict(query)
    if (cursor := asked.pop("page", "")) and not asked.get("after_id"):
        asked["after_id"] = cursor.removeprefix(PAGE)
    names, has_more = window(list(seen), asked)
    following = f"{PAGE}{names[-1]}" if has_more and names and not asked.get("before_id") else None
    return stored.listed([seen[name] for name in names], names, has_more=has_more, next_page=following)
