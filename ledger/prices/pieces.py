"""What is charged by the piece: pictures, characters that are spoken, hours of sound, search units.

A provider charges a request by its tokens or by its pieces.  Where a list has prices for both, one is what the other comes
to: then the provider's count of tokens is charged, and the pieces only where it counted none.
"""

from __future__ import annotations

import re
from typing import Final

from ledger.prices.cost import cost_nusd, half_even
from ledger.records import Pieces, Price, Tokens

BY_THE_PIECE: Final = ("image_nusd", "query_nusd", "characters_nusd_per_mchar", "audio_nusd_per_hour", "spoken_nusd_per_hour")
"""The fields of ``Rates`` that are for pieces."""

MCHAR: Final = 1_000_000
HOUR_MS: Final = 3_600_000
UNNAMED: Final = frozenset({"", "auto"})
"""Qualities, and sizes, that name none in particular."""
USUAL_SIZE: Final = "1024x1024"

_TOKENS: Final = tuple(field for field in Price.__struct_fields__ if field.endswith("_nusd_per_mtok"))
_PLAIN_QUALITIES: Final = frozenset({"", "standard", "hd"})
_SIZE: Final = re.compile(r"([1-9][0-9]{0,5}) ?[xX*] ?([1-9][0-9]{0,5})", re.ASCII)


def charge_nusd(
    price: Price, tokens: Tokens, pieces: Pieces, *, counted: bool, service_tier: str = ""
) -> tuple[int | None, bool]:
    """What a try costs that may have used pieces, in nano-USD, and whether that is by the piece; ``None`` where the row does
    not say what it costs.

    counted: the tokens are the provider's own count, and not our guess.  About 2 µs; without pieces use ``cost_nusd``.
    """
    if pieces.others:
        return None, True
    by_token = has_token_prices(price)
    if not (by_token and counted) and has_piece_prices(price):
        found = pieces_nusd(price, pieces)
        if found is not None:
            return price.request_nusd + found, True
        if not by_token and not price.request_nusd:
            return None, True
    return cost_nusd(price, tokens, service_tier=service_tier), False


def is_by_the_piece(price: Price, /) -> bool:
    """Whether a row charges for nothing but pieces, so that tokens say nothing of a cost."""
    return has_piece_prices(price) and not has_token_prices(price)


def pieces_nusd(price: Price, pieces: Pieces, /) -> int | None:
    """What the pieces cost that the row has prices for; ``None`` if there is none of them.

    Speech is charged by its characters, or else by how long it is.
    """
    known = [
        None if not pieces.images else _times(pieces.images, image_nusd(price, pieces.image_size, pieces.image_quality)),
        None if not pieces.queries else _times(pieces.queries, price.query_nusd),
        None if not pieces.characters else _times(pieces.characters, price.characters_nusd_per_mchar, MCHAR),
        None if not pieces.audio_ms else _times(pieces.audio_ms, price.audio_nusd_per_hour, HOUR_MS),
    ]
    if pieces.spoken_ms and price.characters_nusd_per_mchar is None:
        known.append(_times(pieces.spoken_ms, price.spoken_nusd_per_hour, HOUR_MS))
    said = [amount for amount in known if amount is not None]
    return sum(said) if said else None


def image_nusd(price: Price, size: str, quality: str) -> int | None:
    """What a picture costs; ``None`` where the row does not say.

    A size or a quality that nobody named is the usual one of a model that has only ``standard`` and ``hd``; of any other model
    it costs what the dearest costs that it may have been.
    Source: platform.openai.com/docs/api-reference/images/create, defaults of ``size`` and ``quality``, read 2026-11.
    """
    if not price.images:
        return price.image_nusd
    size = plain_size(size)
    qualities = {it.quality for it in price.images}
    if qualities <= _PLAIN_QUALITIES:
        size = USUAL_SIZE if size in UNNAMED else size
        quality = "standard" if quality in UNNAMED and "standard" in qualities else quality
    fits = [it for it in price.images if _may_be(it.size, size) and _may_be(it.quality, quality)]
    exact = [it.image_nusd for it in fits if (it.size, it.quality) == (size, quality) and quality not in UNNAMED]
    amounts = exact or [it.image_nusd for it in fits]
    if not exact and price.image_nusd is not None:
        amounts.append(price.image_nusd)
    return max(amounts, default=max(it.image_nusd for it in price.images))


def plain_size(size: str) -> str:
    """A size as rows have it, ``1024x1536``, from however a list or a request spells it; any other text as it is."""
    found = _SIZE.fullmatch(size.replace("-", ""))
    return size if found is None else f"{found[1]}x{found[2]}"


def pixels(size: str) -> int | None:
    """How many a picture of that size has; ``None`` for a text that is no size."""
    found = _SIZE.fullmatch(size.replace("-", ""))
    return None if found is None else int(found[1]) * int(found[2])


def has_token_prices(price: Price, /) -> bool:
    """Whether any token costs anything."""
    return any(getattr(price, field) for field in _TOKENS)


def has_piece_prices(price: Price, /) -> bool:
    """Whether the row says what any piece costs, be it nothing."""
    return bool(price.images) or any(getattr(price, field) is not None for field in BY_THE_PIECE)


def _times(count: int, rate_nusd: int | None, per: int = 1) -> int | None:
    return None if rate_nusd is None else half_even(count * rate_nusd, per)


def _may_be(row: str, asked: str) -> bool:
    """Whether what was asked for may have been what the row is for."""
    return row in UNNAMED or asked in UNNAMED or row == asked
