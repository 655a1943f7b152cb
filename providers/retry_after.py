"""When an upstream wants to be asked again."""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import parsedate_to_datetime

_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_DURATION = re.compile(rf"(?:(\d{{1,6}})d)?(?:(\d{{1,6}})h)?(?:(\d{{1,6}})m(?!s))?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?")
_RESET = re.compile(r"(?:anthropic-ratelimit-([a-z0-9-]+)-reset|x-ratelimit-reset(?:-([a-z0-9-]+))?)")
# A number this large is no duration but a moment: seconds, or milliseconds, since 1970.
_EPOCH_S = 10**9
_EPOCH_MS = 10**12


def retry_after_s(headers: dict[str, str], now_s: float, *, limited: bool = False) -> float | None:
    """Seconds until the upstream wants to be asked again; never negative; ``None`` if it does not say, or says nonsense.

    ``retry-after-ms``, then ``retry-after``; then, if it refused for its limits (``limited``), when those reset that are
    used up: other answers tell of limits that have nothing to do with them.  headers: names in lower case.
    now_s: wall clock, against which a date is read; the upstream's own, where it sends a ``date``.
    Source: RFC 9110 10.2.3; ``retry-after-ms`` and ``x-ratelimit-reset-requests: 6m0s`` are OpenAI's;
    ``anthropic-ratelimit-requests-reset`` (RFC 3339) Anthropic's; ``x-ratelimit-reset`` in ms since 1970 OpenRouter's.
    """
    millis = headers.get("retry-after-ms", "").strip()
    if _is_number(millis):
        return float(millis) / 1000
    text = headers.get("retry-after", "").strip()
    if _is_number(text):
        return float(text)
    now_s = _moment_s(headers.get("date", "")) or now_s
    moment_s = _moment_s(text)
    if moment_s is not None:
        return max(moment_s - now_s, 0.0)
    return _reset_s(headers, now_s) if limited else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).isdigit() and len(text) < 16


def _moment_s(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None


def _reset_s(headers: dict[str, str], now_s: float) -> float | None:
    """When the last of the limits that are used up resets; if none says that it is, when the first of all does."""
    used_up: list[float] = []
    others: list[float] = []
    for name, value in headers.items():
        found = _RESET.fullmatch(name)
        if found is None or (reset_s := _until_s(value.strip(), now_s)) is None:
            continue
        left = headers.get(f"{name.removesuffix('-reset')}-remaining" if found[1] else name.replace("reset", "remaining"), "")
        (used_up if left.strip() in ("0", "0.0") else others).append(reset_s)
    if used_up:
        return max(used_up)
    return min(others, default=None)


def _until_s(text: str, now_s: float) -> float | None:
    if _is_number(text):
        number = float(text)
        if number >= _EPOCH_MS:
            return max(number / 1000 - now_s, 0.0)
        return max(number - now_s, 0.0) if number >= _EPOCH_S else number
    parts = _DURATION.fullmatch(text) if text else None
    if parts is not None:
        days, hours, minutes, seconds, millis = (float(part or 0) for part in parts.groups())
        return days * 86_400 + hours * 3600 + minutes * 60 + seconds + millis / 1000
    try:
        moment = datetime.fromisoformat(text)
        return None if moment.tzinfo is None else max(moment.timestamp() - now_s, 0.0)
    except (ValueError, OverflowError):
        return None
