"""What requests use that draw, speak, listen or rerank: pieces by their answers, else by what was asked; and about how many
tokens that is, where nobody counts them."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from ledger.prices.pieces import pixels
from ledger.records import NO_PIECES, Pieces, Tokens
from providers.protocol import Kind
from providers.registry import WIRES
from providers.usage import Usage
from proxy.call import Call

CHARACTERS_PER_S: Final = 15
"""Of English read aloud: 150 words a minute."""
SPOKEN_TOKENS_PER_S: Final = 21
"""Of speech: 12 USD for a million tokens come to 0.015 USD a minute.
Source: openai.com/api/pricing, gpt-4o-mini-tts, and litellm's list, read 2026-11."""
HEARD_MS_PER_TOKEN: Final = 100
"""Of a sound that is listened to.
Source: platform.openai.com/docs/guides/realtime-costs, tokens of the user's audio, read 2026-11."""
SAID_TOKENS_PER_S: Final = 4
"""Of text, in a second of speech: 150 words a minute, and 1.5 tokens a word."""
SPELLED_OUT: Final = 8
"""How many times longer a text may take to be spoken than its characters say: figures, abbreviations."""

DRAWN_TOKENS: Final[dict[str, int]] = {"low": 272, "medium": 1_056, "high": 4_160, "hd": 4_160, "standard": 1_056}
"""Of a square picture of 1024 by 1024 pixels; others have as many more as they have pixels.
Source: platform.openai.com/docs/guides/image-generation, cost and latency, read 2026-11."""
DRAWN_MOST: Final = 8_320
"""Of such a picture in a quality that is not named, or higher than those."""
SQUARE: Final = 1024 * 1024
LARGEST: Final = 3840 * 2160
"""Of the sizes that a model may choose itself, in pixels; and it never draws smaller than the square for less."""
USUAL: Final = 1024 * 1536

UNIT_TOKENS: Final = 500
"""From how long on a document counts as several in a reranking, its query counted in; ``UNIT_DOCUMENTS`` of them are one
search unit.  Source: cohere.com/pricing, Rerank, read 2026-11."""
UNIT_DOCUMENTS: Final = 100

ANSWERLESS: Final[frozenset[Kind]] = frozenset({"embedding", "moderation", "rerank"})
"""Kinds whose answers have no tokens of their own."""


def pieces_of(call: Call, usage: Usage | None) -> Pieces:
    """What a try used.  0.2 µs."""
    asked = call.head.weight.pieces
    if usage is None:
        return asked
    if asked is NO_PIECES and not (usage.images or usage.audio_ms or usage.queries or usage.others):
        return NO_PIECES
    return Pieces(
        images=usage.images or asked.images,
        image_size=usage.image_size or asked.image_size,
        image_quality=usage.image_quality or asked.image_quality,
        characters=asked.characters,
        audio_ms=usage.audio_ms or asked.audio_ms,
        spoken_ms=asked.spoken_ms,
        queries=usage.queries or asked.queries,
        others=usage.others,
    )


def is_told(usage: Usage | None) -> bool:
    """Whether the answer says what pieces it has; else they are only what was asked for."""
    return usage is not None and bool(usage.images or usage.audio_ms or usage.queries)


def answer_tokens(call: Call, usage: Usage | None, size_bytes: int) -> int:
    """About how many tokens an answer of so many bytes has."""
    kind = WIRES[call.endpoint].kind
    if kind in ("image", "speech"):
        return media_tokens(call, usage)
    if kind == "transcript":
        # With times for each word it is many times as long as what is said.
        return min(size_bytes // 4 + 1, said_tokens(pieces_of(call, usage).audio_ms, most=True))
    # Most of an answer's bytes are its text, at about four a token; the envelope is a few hundred.
    return 0 if kind in ANSWERLESS else max((size_bytes - 300) // 4, 1)


def media_tokens(call: Call, usage: Usage | None) -> int:
    """The same of pictures and of speech, of which the bytes say nothing; of all others 0."""
    if call.head.weight.pieces is NO_PIECES:
        return 0
    pieces = pieces_of(call, usage)
    return drawn_tokens(pieces) if pieces.images else spoken_tokens(pieces.characters)


def estimated(call: Call, input_tokens: int, output_tokens: int) -> Tokens:
    """The tokens of a try that nobody has counted, as what they are."""
    match WIRES[call.endpoint].kind:
        case "image":
            return Tokens(input_uncached=input_tokens, output_image=output_tokens)
        case "speech":
            return Tokens(input_uncached=input_tokens, output_audio=output_tokens)
        case "transcript":
            heard = heard_tokens(call.head.weight.pieces.audio_ms)
            return Tokens(input_uncached=input_tokens, input_audio=heard, output_text=output_tokens)
    return Tokens(input_uncached=input_tokens, output_text=output_tokens)


def drawn_tokens(pieces: Pieces, *, most: bool = False) -> int:
    """About how many tokens the pictures have; ``most``: never fewer than they have."""
    count = pixels(pieces.image_size) or (LARGEST if most else USUAL)
    each = DRAWN_MOST if most else DRAWN_TOKENS.get(pieces.image_quality, DRAWN_TOKENS["high"])
    if most and pieces.image_quality in DRAWN_TOKENS:
        each = DRAWN_TOKENS[pieces.image_quality] * 2
    return pieces.images * -(-each * max(count, SQUARE if most else 1) // SQUARE)


def spoken_tokens(characters: int, *, most: bool = False) -> int:
    """About how many tokens of speech a text becomes; ``most``: never fewer."""
    tokens = -(-characters * SPOKEN_TOKENS_PER_S // CHARACTERS_PER_S)
    return tokens * SPELLED_OUT if most else tokens


def heard_tokens(audio_ms: int) -> int:
    """About how many tokens a sound is that is listened to."""
    return -(-audio_ms // HEARD_MS_PER_TOKEN)


def said_tokens(audio_ms: int, *, most: bool = False) -> int:
    """About how many tokens are said in it; ``most``: never fewer."""
    tokens = audio_ms * SAID_TOKENS_PER_S // 1000 + 1
    return tokens * SPELLED_OUT if most else tokens


def search_units(documents: int, tokens: int) -> int:
    """How many search units a reranking is.  tokens: of its documents, with the query for each of them."""
    return max(-(-(documents + tokens // UNIT_TOKENS) // UNIT_DOCUMENTS), 1)


def most_of(pieces: Pieces, input_most: int) -> Pieces:
    """The most pieces that such a request may turn out to use.  input_most: the most tokens that it has."""
    units = search_units(UNIT_DOCUMENTS * pieces.queries, input_most) if pieces.queries else 0
    return replace(pieces, queries=units, spoken_ms=pieces.spoken_ms * SPELLED_OUT)


def spoken_ms(characters: int, speed: float) -> int:
    """About how long it takes to speak a text.  speed: 1 is the usual one."""
    return round(characters * 1000 / CHARACTERS_PER_S / speed)
