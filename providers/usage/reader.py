"""One reader for every row of the table."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec.structs import replace

from providers.usage.semantics import COUNTS, OPENAI_LIKE, Semantics

TOKENS_MAX = 2**31
NUSD_PER_USD = 10**9
COST_MAX_USD = 10**6
AUDIO_MAX_S = 10**6
_IMAGE_OUT = COUNTS.index("output_image")


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """One answer's tokens; no token is in two buckets.  ``raw``: the provider's object, byte for byte.

    cache_write: kept for five minutes, or for a time that is not told.  web_searches: searches, not tokens.
    service_tier: ``batch``, ``flex``, ``priority``, …; empty: standard, or not told.
    cost_nusd: what the vendor itself says that it charged, if its row says that it does.
    asides: what was charged for besides, and is in none of these counts: a summary of the conversation, another model's advice.
    counted: it has tokens; without them it has pieces alone: pictures with their size and quality, milliseconds of sound that
    was listened to, search units, and others, of which nobody but the vendor knows what they cost.
    """

    input_uncached: int = 0
    cache_read: int = 0
    cache_write: int = 0
    input_audio: int = 0
    output_text: int = 0
    reasoning: int = 0
    output_audio: int = 0
    cache_write_1h: int = 0
    cache_read_audio: int = 0
    input_image: int = 0
    output_image: int = 0
    web_searches: int = 0
    service_tier: str = ""
    cost_nusd: int | None = None
    raw: bytes = b""
    counted: bool = True
    images: int = 0
    image_size: str = ""
    image_quality: str = ""
    audio_ms: int = 0
    queries: int = 0
    others: int = 0
    asides: tuple[Aside, ...] = ()

    @property
    def input_tokens(self) -> int:
        """Everything that went in."""
        return (
            self.input_uncached
            + self.cache_read
            + self.cache_write
            + self.input_audio
            + self.cache_write_1h
            + self.cache_read_audio
            + self.input_image
        )

    @property
    def output_tokens(self) -> int:
        """Everything that came out."""
        return self.output_text + self.reasoning + self.output_audio + self.output_image


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider did besides the answer, and charges for.  model: who did it; empty: the one that answered."""

    model: str
    usage: Usage


class _NotCredible(Exception):
    """A count that is none: negative, fractional, textual, absurd."""


# A number with a point or an exponent keeps its decimal digits: ``1.4e-05`` USD is 14,000 nano-USD, not nearly so.
def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


_decode = msgspec.json.Decoder(float_hook=_decimal).decode


def read(raw: bytes, semantics: Semantics = OPENAI_LIKE) -> Usage | None:
    """The usage that ``raw``, a vendor's usage object, reports; ``None`` where it is absent or not credible.

    Negative, fractional, textual and absurd counts are not credible; the caller then estimates.  Never raises.
    """
    try:
        said = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # A key that stands twice means one thing to us and may mean another to whoever wrote it.
    if not isinstance(said, dict) or (raw.count(b":") > _keys(said) and _repeats(raw)):
        return None
    try:
        usage = _usage(said, raw, semantics)
        rounds = said.get(semantics.rounds) if semantics.rounds else None
        return replace(usage, asides=_asides(rounds, semantics)) if rounds and usage is not None else usage
    except _NotCredible:
        return None


def _keys(said: dict[str, object]) -> int:
    """The keys of the object and of those inside it."""
    return len(said) + sum(_keys(value) for value in said.values() if isinstance(value, dict))


def _repeats(raw: bytes) -> bool:
    """Whether any object in it has a key twice."""
    found = False

    def look(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal found
        made = dict(pairs)
        found = found or len(made) != len(pairs)
        return made

    json.loads(raw, object_pairs_hook=look)
    return found


def standard_tier(name: object) -> str:
    """A service tier's name as prices have it: empty for what every vendor calls its usual one."""
    return name if isinstance(name, str) and name not in ("standard", "default", "auto", "on_demand") else ""


def _usage(said: dict[str, object], raw: bytes, row: Semantics) -> Usage | None:
    counts: list[int | None] = [None] * len(COUNTS)
    _collect(said, row.tree, counts, [0] * len(COUNTS))
    reported = counts[0]
    if reported is None and row.omits_zeros and any(counts[1:-1]):
        reported = 0
    audio_ms = _milliseconds(said.get(row.audio_s)) if row.audio_s else 0
    if reported is None:
        return _by_the_piece(said, row, audio_ms, counts[-2] or 0, raw)
    total = counts[-1]
    _, total_out, beside, cached, written, written_1h, cached_audio, *more = [count or 0 for count in counts]
    cached_image, audio_in, image_in, reasoning, audio_out, image_out, web_searches, queries, _ = more
    # A part that is larger than its whole tells nothing about it.
    written_1h = min(written_1h, written)
    if cached_audio > min(cached, audio_in) or cached_image > image_in:
        cached_audio = cached_image = 0
    audio_in -= cached_audio
    image_in -= cached_image
    uncached = reported if row.cache == "beside" else reported - cached - written
    if uncached < 0:
        # Details that exceed their total cannot be inside it; the total is what is invoiced.
        uncached, cached, written, written_1h, cached_audio, audio_in, image_in = reported, 0, 0, 0, 0, 0, 0
    uncached -= audio_in + image_in
    if uncached < 0:
        # Cached audio that is not told apart from the rest of it.
        uncached, audio_in, image_in = uncached + audio_in + image_in, 0, 0
    if row.reasoning_place == "rest" and not reasoning and total is not None:
        reasoning = max(total - reported - total_out, 0)
    if row.made == "image" and counts[_IMAGE_OUT] is None:
        image_out = total_out
    elif row.made == "audio":
        audio_out = total_out
    text = total_out - reasoning - audio_out - image_out
    if reasoning and _is_beside(row, total, reported, total_out, reasoning):
        text += reasoning
    if text < 0:
        text, reasoning, audio_out, image_out = total_out, 0, 0, 0
    return Usage(
        input_uncached=uncached + beside,
        cache_read=cached - cached_audio,
        cache_write=written - written_1h,
        input_audio=audio_in,
        output_text=text,
        reasoning=reasoning,
        output_audio=audio_out,
        cache_write_1h=written_1h,
        cache_read_audio=cached_audio,
        input_image=image_in,
        output_image=image_out,
        web_searches=web_searches,
        service_tier=standard_tier(said.get(row.service_tier)) if row.service_tier else "",
        cost_nusd=_cost_nusd(said.get(row.cost_usd)) if row.cost_usd else None,
        raw=raw,
        audio_ms=audio_ms,
        queries=queries,
    )


def _asides(rounds: object, row: Semantics) -> tuple[Aside, ...]:
    """Those of the rounds that the counts of the whole object leave out.  Raises: _NotCredible."""
    found = []
    for said in rounds if isinstance(rounds, list) else ():
        kind = said.get("type") if isinstance(said, dict) else None
        if isinstance(kind, str) and kind in row.apart:
            usage = _usage(said, b"", row)
            if usage is not None:
                found.append(Aside(model=str(said.get("model") or ""), usage=usage))
    return tuple(found)


def _by_the_piece(said: dict[str, object], row: Semantics, audio_ms: int, queries: int, raw: bytes) -> Usage | None:
    """What an object reports that has no tokens."""
    cost_nusd = _cost_nusd(said.get(row.cost_usd)) if row.cost_usd else None
    if not (audio_ms or queries) and cost_nusd is None:
        return None
    return Usage(counted=False, audio_ms=audio_ms, queries=queries, cost_nusd=cost_nusd, raw=raw)


def _is_beside(row: Semantics, total: int | None, total_in: int, total_out: int, reasoning: int) -> bool:
    """Whether reasoning is counted beside the output: the vendor always does, or its own total says so, or its size."""
    if row.reasoning_place in ("inside", "beside"):
        return row.reasoning_place == "beside"
    return reasoning > total_out or (total is not None and total == total_in + total_out + reasoning)


def _collect(said: dict[str, Any], tree: dict[str, Any], counts: list[int | None], ranks: list[int]) -> None:
    """Put every count of ``said`` that ``tree`` knows into its place.  Raises: _NotCredible."""
    for key, value in said.items():
        known = tree.get(key)
        if known is None or value is None:
            continue
        if type(known) is dict:
            if type(value) is not dict:
                raise _NotCredible
            _collect(value, known, counts, ranks)
            continue
        place, rank = known
        if type(place) is str:
            _collect_elements(value, place, rank, counts, ranks)
            continue
        count = value if type(value) is int else _whole(value)
        if not 0 <= count <= TOKENS_MAX:
            raise _NotCredible
        if counts[place] is None or rank < ranks[place]:
            counts[place] = count
            ranks[place] = rank


def _collect_elements(
    said: Any, field: str, trees: dict[str, dict[str, Any]], counts: list[int | None], ranks: list[int]
) -> None:
    """The counts of a list's elements, each known by the text of its ``field``."""
    if type(said) is not list:
        raise _NotCredible
    for element in said:
        text = element.get(field) if type(element) is dict else None
        if isinstance(text, str) and (tree := trees.get(text)) is not None:
            _collect(element, tree, counts, ranks)


def _whole(value: Any) -> int:
    """A count that is written with a point: ``22.0``.  Raises: _NotCredible."""
    if isinstance(value, Decimal) and 0 <= value <= TOKENS_MAX and value == value.to_integral_value():
        return int(value)
    raise _NotCredible


def _milliseconds(value: Any) -> int:
    """Seconds, with or without a fraction.  Raises: _NotCredible."""
    if value is None:
        return 0
    value = Decimal(value) if type(value) is int else value
    if not isinstance(value, Decimal) or not 0 <= value <= AUDIO_MAX_S:
        raise _NotCredible
    return int((value * 1000).to_integral_value(ROUND_HALF_EVEN))


def _cost_nusd(value: Any) -> int | None:
    """The vendor's own charge in nano-USD, half to even; ``None`` if it says none that is credible."""
    if type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal) or not 0 <= value <= COST_MAX_USD:
        return None
    return int((value * NUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))
