"""The cost of one attempt, in integers."""

from __future__ import annotations

from ledger.records import Price, Tokens

MTOK = 1_000_000


def cost_nusd(price: Price, tokens: Tokens) -> int:
    """What ``tokens`` cost at ``price``, in nano-USD, never negative.

    Summed in nano-USD per million tokens and rounded once, half to even, so that buckets lose nothing to each other.
    A bucket without a price of its own is charged at the next more general one; a negative count counts as none.
    """
    cost_nusd_mtok = (
        _bucket(tokens.input_uncached, price.input_nusd_per_mtok)
        + _bucket(tokens.cache_read, _or(price.cache_read_nusd_per_mtok, price.input_nusd_per_mtok))
        + _bucket(tokens.cache_write, _or(price.cache_write_nusd_per_mtok, price.input_nusd_per_mtok))
        + _bucket(tokens.input_audio, _or(price.input_audio_nusd_per_mtok, price.input_nusd_per_mtok))
        + _bucket(tokens.output_text, price.output_nusd_per_mtok)
        + _bucket(tokens.reasoning, _or(price.reasoning_nusd_per_mtok, price.output_nusd_per_mtok))
        + _bucket(tokens.output_audio, _or(price.output_audio_nusd_per_mtok, price.output_nusd_per_mtok))
    )
    return max(price.request_nusd, 0) + half_even(cost_nusd_mtok, MTOK)


def half_even(dividend: int, divisor: int) -> int:
    """``dividend / divisor`` to the nearest integer, ties to the even one.  ``divisor`` > 0."""
    quotient, rest = divmod(dividend, divisor)
    if rest * 2 > divisor or (rest * 2 == divisor and quotient % 2):
        return quotient + 1
    return quotient


def _bucket(tokens: int, nusd_per_mtok: int) -> int:
    return max(tokens, 0) * max(nusd_per_mtok, 0)


def _or(own: int | None, general: int) -> int:
    return general if own is None else own
