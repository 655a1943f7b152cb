"""A report with a line for each request: JSON lines of your own making, for providers that export single requests.

A line: ``{"request_id": "…", "at": "2026-11-22T10:00:00Z", "model": "…", "input_tokens": 1, "cached_tokens": 0,
"output_tokens": 2, "cost_usd": "0.001"}``.  ``request_id`` is ours, or the one that the provider gave its answer.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import sha256

import msgspec

from ledger.errors import ReportUnreadable
from ledger.records import Report, ReportedUse, Tokens

US = timedelta(microseconds=1)
DAY_US = 86_400_000_000
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
NUSD_PER_USD = 10**9


class _Line(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    request_id: str
    at: datetime
    model: str = ""
    input_tokens: int | None = None
    cached_tokens: int = 0
    output_tokens: int | None = None
    cost_usd: Decimal | None = None


_decode = msgspec.json.Decoder(_Line).decode


def parse(data: bytes, /) -> Report:
    """One request a line; empty lines are left out.  Raises: ReportUnreadable, with the line's number."""
    uses = []
    for number, line in enumerate(data.splitlines(), start=1):
        if line.strip():
            try:
                uses.append(_use(_decode(line)))
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
                raise ReportUnreadable(f"line {number}: {error}") from error
    days = sorted({use.start_us // DAY_US for use in uses})
    return Report(
        id=sha256(data).hexdigest()[:16],
        uses=tuple(uses),
        windows=tuple((day * DAY_US, (day + 1) * DAY_US) for day in days),
    )


def _use(line: _Line) -> ReportedUse:
    if line.at.tzinfo is None:
        raise ValueError("'at' has no time zone")
    at_us = (line.at - EPOCH) // US
    tokens = None
    if line.input_tokens is not None or line.output_tokens is not None:
        cached = min(line.cached_tokens, line.input_tokens or 0)
        uncached = (line.input_tokens or 0) - cached
        tokens = Tokens(input_uncached=uncached, cache_read=cached, output_text=line.output_tokens or 0)
    cost_nusd = None
    if line.cost_usd is not None:
        if not line.cost_usd.is_finite():
            raise ValueError("'cost_usd' is no amount")
        cost_nusd = int((line.cost_usd * NUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))
    return ReportedUse(
        start_us=at_us,
        end_us=at_us + 1,
        model=line.model,
        request_id=line.request_id,
        requests=1,
        tokens=tokens,
        cost_nusd=cost_nusd,
    )
