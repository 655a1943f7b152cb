"""Days as people write them, in microseconds since the epoch; no clock is read."""

from __future__ import annotations

import calendar
import re

US_PER_S = 1_000_000
_DAY = re.compile(r"([12]\d{3})-(\d\d)-(\d\d)", re.ASCII)


def day_us(text: str, /) -> int | None:
    """When a day such as ``2026-12-01`` begins, in UTC; ``None`` if there is no such day."""
    found = _DAY.fullmatch(text)
    if found is None:
        return None
    year, month, day = map(int, found.groups())
    if not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    return calendar.timegm((year, month, day, 0, 0, 0)) * US_PER_S
