"""Token counts as mutually exclusive buckets, from whatever a vendor reports.

OpenAI counts cached and audio tokens inside the prompt, reasoning and audio inside the completion; some vendors count
reasoning beside it, some put cache hits in fields of their own.  ``read`` sorts that out once, and keeps the raw object.
"""

from __future__ import annotations

import msgspec

TOKENS_MAX = 2**31


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """One answer's tokens; no token is in two buckets.  ``raw``: the provider's object, byte for byte."""

    input_uncached: int = 0
    cache_read: int = 0
    cache_write: int = 0
    input_audio: int = 0
    output_text: int = 0
    reasoning: int = 0
    output_audio: int = 0
    raw: bytes = b""

    @property
    def input_tokens(self) -> int:
        """Everything that went in."""
        return self.input_uncached + self.cache_read + self.cache_write + self.input_audio

    @property
    def output_tokens(self) -> int:
        """Everything that came out."""
        return self.output_text + self.reasoning + self.output_audio


Count = int | None


class _Details(msgspec.Struct):
    """Details of the input and of the output, in the names of both OpenAI APIs; OpenRouter adds cache_write_tokens."""

    cached_tokens: Count = None
    cache_write_tokens: Count = None
    cache_creation_tokens: Count = None
    audio_tokens: Count = None
    reasoning_tokens: Count = None


class _Reported(msgspec.Struct):
    """The union of what vendors write into ``usage``.  Unknown fields stay in ``raw``."""

    # Chat, completions, embeddings.  Source: OpenAI API reference; recorded answers of nine vendors.
    prompt_tokens: Count = None
    completion_tokens: Count = None
    total_tokens: Count = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    # Responses.
    input_tokens: Count = None
    output_tokens: Count = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    # DeepSeek: hits are inside prompt_tokens.  Source: api-docs.deepseek.com, context caching.
    prompt_cache_hit_tokens: Count = None
    # Moonshot and Mistral put these beside the totals.  Source: their API references.
    cached_tokens: Count = None
    num_cached_tokens: Count = None
    # Perplexity.
    reasoning_tokens: Count = None


_decode = msgspec.json.Decoder(_Reported).decode
_NONE = _Details()


def read(raw: bytes) -> Usage | None:
    """The usage that ``raw``, a vendor's usage object, reports; ``None`` where it is absent or not credible.

    Negative, fractional, textual and absurd counts are not credible; the caller then estimates.  Never raises.
    """
    try:
        said = _decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    total_in = said.prompt_tokens if said.prompt_tokens is not None else said.input_tokens
    total_out = said.completion_tokens if said.completion_tokens is not None else said.output_tokens
    if total_in is None:
        return None
    total_out = total_out or 0
    inside = said.prompt_tokens_details or said.input_tokens_details or _NONE
    outside = said.completion_tokens_details or said.output_tokens_details or _NONE
    cached = inside.cached_tokens
    if cached is None:
        cached = said.prompt_cache_hit_tokens or said.cached_tokens or said.num_cached_tokens or 0
    written = inside.cache_write_tokens or inside.cache_creation_tokens or 0
    audio_in = inside.audio_tokens or 0
    reasoning = outside.reasoning_tokens
    if reasoning is None:
        reasoning = said.reasoning_tokens or 0
    audio_out = outside.audio_tokens or 0
    counts = (total_in, total_out, cached, written, audio_in, reasoning, audio_out)
    if min(counts) < 0 or max(counts) > TOKENS_MAX:
        return None
    uncached = total_in - cached - written - audio_in
    if uncached < 0:
        # Details that exceed their total cannot be inside it; the total is what is invoiced.
        uncached, cached, written, audio_in = total_in, 0, 0, 0
    text = total_out - reasoning - audio_out
    if reasoning and _beside(said, total_in, total_out, reasoning):
        text += reasoning
    if text < 0:
        text, reasoning, audio_out = total_out, 0, 0
    return Usage(
        input_uncached=uncached,
        cache_read=cached,
        cache_write=written,
        input_audio=audio_in,
        output_text=text,
        reasoning=reasoning,
        output_audio=audio_out,
        raw=raw,
    )


def _beside(said: _Reported, total_in: int, total_out: int, reasoning: int) -> bool:
    """Whether reasoning is counted beside the output: the vendor's own total says so (xAI), or it exceeds the output."""
    total = said.total_tokens
    return reasoning > total_out or (total is not None and total == total_in + total_out + reasoning)
