"""OpenAI's organization usage and costs, as its API exports them: pages of buckets.  Pure: bytes in, a report out.

Source: platform.openai.com/docs/api-reference/usage (completions, embeddings, moderations, costs), read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import sha256

import msgspec

from ledger.errors import ReportUnreadable
from ledger.records import Report, ReportedUse, Tokens

US_PER_S = 1_000_000
NUSD_PER_USD = 10**9


class _Amount(msgspec.Struct):
    value: Decimal
    currency: str = "usd"


class _Result(msgspec.Struct, kw_only=True):
    """One result of either kind.  Input tokens include cached ones, and since 2026 audio and images too."""

    object: str
    # usage
    model: str | None = None
    num_model_requests: int | None = None
    input_tokens: int | None = None
    input_cached_tokens: int | None = None
    input_text_tokens: int | None = None
    input_audio_tokens: int | None = None
    input_image_tokens: int | None = None
    input_cached_audio_tokens: int | None = None
    output_tokens: int | None = None
    output_text_tokens: int | None = None
    output_audio_tokens: int | None = None
    output_image_tokens: int | None = None
    # costs
    amount: _Amount | None = None
    line_item: str | None = None
    # both
    project_id: str | None = None
    api_key_id: str | None = None
    user_id: str | None = None


class _Bucket(msgspec.Struct):
    """OpenAI's own description calls the list ``result``, its answers call it ``results``."""

    start_time: int
    end_time: int
    results: list[_Result] = []
    result: list[_Result] = []


class _Page(msgspec.Struct):
    data: list[_Bucket]
    has_more: bool = False


_decode = msgspec.json.Decoder(_Page | list[_Page]).decode


def parse(data: bytes, /) -> Report:
    """A page, or a list of pages.  Raises: ReportUnreadable."""
    try:
        decoded = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportUnreadable(f"this is no usage or costs report of OpenAI: {error}") from error
    pages = decoded if isinstance(decoded, list) else [decoded]
    buckets = [bucket for page in pages for bucket in page.data]
    return Report(
        id=sha256(data).hexdigest()[:16],
        uses=tuple(use for bucket in buckets for use in _uses(bucket)),
        windows=tuple((bucket.start_time * US_PER_S, bucket.end_time * US_PER_S) for bucket in buckets),
        complete=not pages or not pages[-1].has_more,
    )


def _uses(bucket: _Bucket) -> Iterator[ReportedUse]:
    for result in (*bucket.results, *bucket.result):
        start_us, end_us = bucket.start_time * US_PER_S, bucket.end_time * US_PER_S
        owners = tuple(it for it in (result.project_id, result.api_key_id, result.user_id) if it)
        if result.object == "organization.costs.result":
            cost_nusd = _nusd(result.amount)
            yield ReportedUse(
                start_us=start_us, end_us=end_us, model=model_of(result.line_item or ""), owners=owners, cost_nusd=cost_nusd
            )
        elif result.input_tokens is not None:
            yield ReportedUse(
                start_us=start_us,
                end_us=end_us,
                model=result.model or "",
                owners=owners,
                requests=result.num_model_requests,
                tokens=_tokens(result),
            )


def model_of(line_item: str, /) -> str:
    """The model of a costs line such as ``gpt-5.5-2026-04-23, cached input`` or ``priority | gpt-5.5 audio, output``; a line
    of another kind (``web search tool calls``) keeps its name.
    """
    named, comma, _ = line_item.rpartition("|")[2].partition(",")
    return named.split()[0] if comma and named.strip() else line_item.strip()


def _tokens(result: _Result) -> Tokens:
    audio, images = result.input_audio_tokens or 0, result.input_image_tokens or 0
    cached_audio = min(result.input_cached_audio_tokens or 0, audio)
    cached = max((result.input_cached_tokens or 0) - cached_audio, 0)
    # Where text is told apart, the sum has audio and images in it; where it is not, the sum is of text.
    whole = result.input_text_tokens is not None
    text = (result.input_tokens or 0) - (audio + images if whole else 0)
    spoken, drawn = result.output_audio_tokens or 0, result.output_image_tokens or 0
    written = (result.output_tokens or 0) - (spoken + drawn if result.output_text_tokens is not None else 0)
    return Tokens(
        input_uncached=max(text - cached, 0),
        cache_read=cached,
        input_audio=audio - cached_audio,
        cache_read_audio=cached_audio,
        input_image=images,
        output_text=max(written, 0),
        output_audio=spoken,
        output_image=drawn,
    )


def _nusd(amount: _Amount | None) -> int:
    if amount is None:
        return 0
    if amount.currency.lower() != "usd" or not amount.value.is_finite():
        raise ReportUnreadable(f"an amount of {amount.value} {amount.currency!r} is not one in US dollars")
    return int((amount.value * NUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))
