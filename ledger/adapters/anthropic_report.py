"""Anthropic's messages usage report and cost report, as its Admin API exports them.  Pure: bytes in, a report out.

Source: platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages and …/cost_report/retrieve, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import sha256

import msgspec

from ledger.errors import ReportUnreadable
from ledger.records import Report, ReportedUse, Tokens

US = timedelta(microseconds=1)
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
NUSD_PER_CENT = 10**7
"""Amounts are in the currency's lowest unit: "123.45" is 1.2345 dollars."""


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class _ServerTools(msgspec.Struct):
    web_search_requests: int = 0


class _Result(msgspec.Struct, kw_only=True):
    """One result of either kind; each kind of input token is beside the others."""

    model: str | None = None
    workspace_id: str | None = None
    api_key_id: str | None = None
    # usage
    uncached_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens: int | None = None
    server_tool_use: _ServerTools | None = None
    # costs
    amount: Decimal | None = None
    currency: str = "USD"
    cost_type: str | None = None
    description: str | None = None


class _Bucket(msgspec.Struct):
    starting_at: datetime
    ending_at: datetime
    results: list[_Result]


class _Page(msgspec.Struct):
    data: list[_Bucket]
    has_more: bool = False


_decode = msgspec.json.Decoder(_Page | list[_Page]).decode


def parse(data: bytes, /) -> Report:
    """A page, or a list of pages.  Raises: ReportUnreadable."""
    try:
        decoded = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportUnreadable(f"this is no usage or cost report of Anthropic: {error}") from error
    pages = decoded if isinstance(decoded, list) else [decoded]
    buckets = [bucket for page in pages for bucket in page.data]
    if any(at.tzinfo is None for bucket in buckets for at in (bucket.starting_at, bucket.ending_at)):
        raise ReportUnreadable("a bucket's time has no time zone")
    return Report(
        id=sha256(data).hexdigest()[:16],
        uses=tuple(use for bucket in buckets for use in _uses(bucket)),
        windows=tuple(map(_window, buckets)),
        complete=not pages or not pages[-1].has_more,
    )


def _uses(bucket: _Bucket) -> Iterator[ReportedUse]:
    start_us, end_us = _window(bucket)
    for result in bucket.results:
        owners = tuple(it for it in (result.workspace_id, result.api_key_id) if it)
        if result.amount is not None:
            if result.currency.upper() != "USD" or not result.amount.is_finite():
                raise ReportUnreadable(f"an amount of {result.amount} {result.currency!r} is not one in US dollars")
            cost_nusd = int((result.amount * NUSD_PER_CENT).to_integral_value(ROUND_HALF_EVEN))
            model = result.model or result.description or result.cost_type or ""
            yield ReportedUse(start_us=start_us, end_us=end_us, model=model, owners=owners, cost_nusd=cost_nusd)
        elif result.uncached_input_tokens is not None:
            yield ReportedUse(start_us=start_us, end_us=end_us, model=result.model or "", owners=owners, tokens=_tokens(result))


def _tokens(result: _Result) -> Tokens:
    written = result.cache_creation or _CacheCreation()
    return Tokens(
        input_uncached=result.uncached_input_tokens or 0,
        cache_read=result.cache_read_input_tokens or 0,
        cache_write=written.ephemeral_5m_input_tokens,
        cache_write_1h=written.ephemeral_1h_input_tokens,
        output_text=result.output_tokens or 0,
        web_searches=0 if result.server_tool_use is None else result.server_tool_use.web_search_requests,
    )


def _window(bucket: _Bucket) -> tuple[int, int]:
    return (bucket.starting_at - EPOCH) // US, (bucket.ending_at - EPOCH) // US
