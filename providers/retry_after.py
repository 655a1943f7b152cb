"""When an upstream wants to be asked again."""

from __future__ import annotations

from email.utils import parsedate_to_datetime


def retry_after_s(headers: dict[str, str], now_s: float) -> float | None:
    """Seconds until the upstream wants to be asked again; never negative; ``None`` if it does not say, or says nonsense.

    now_s: wall clock, against which a date is read.  Source: RFC 9110 10.2.3; ``retry-after-ms`` is OpenAI's.
    """
    millis = headers.get("retry-after-ms", "").strip()
    if millis.isascii() and millis.replace(".", "", 1).isdigit() and len(millis) < 16:
        return float(millis) / 1000
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.replace(".", "", 1).isdigit() and len(text) < 16:
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - now_s, 0.0)
    except (ValueError, OverflowError, TypeError):
        return None
