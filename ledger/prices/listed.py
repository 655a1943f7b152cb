"""The shape of a compiled price list: what ``python -m ledger.data.compile`` writes and the adapters read.

Money is integer nano-USD already, per million tokens or per piece, so that whoever reads it computes nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ledger.records import ContextTier, Price, Rates, ServiceTier

RATE_KEYS = {
    "input": "input_nusd_per_mtok",
    "output": "output_nusd_per_mtok",
    "cache_read": "cache_read_nusd_per_mtok",
    "cache_write": "cache_write_nusd_per_mtok",
    "cache_write_1h": "cache_write_1h_nusd_per_mtok",
    "cache_read_audio": "cache_read_audio_nusd_per_mtok",
    "input_audio": "input_audio_nusd_per_mtok",
    "input_image": "input_image_nusd_per_mtok",
    "reasoning": "reasoning_nusd_per_mtok",
    "output_audio": "output_audio_nusd_per_mtok",
    "output_image": "output_image_nusd_per_mtok",
    "request": "request_nusd",
    "search": "search_nusd",
    "image": "image_nusd",
    "query": "query_nusd",
    "characters": "characters_nusd_per_mchar",
    "audio_hour": "audio_nusd_per_hour",
    "spoken_hour": "spoken_nusd_per_hour",
}
"""The keys of ``Amounts``, and the fields of ``Rates`` that they are."""

Amounts = dict[str, int]


class ListedTiers(msgspec.Struct, frozen=True, omit_defaults=True):
    """Amounts, and those above a number of input tokens: ``[[200000, {…}], …]``, rising, each complete."""

    amounts: Amounts
    above: tuple[tuple[int, Amounts], ...] = ()


class ListedRow(ListedTiers, frozen=True, omit_defaults=True):
    """One stretch of time.  from_us, to_us: microseconds since the epoch, half-open.  daily: seconds of the UTC day."""

    from_us: int | None = None
    to_us: int | None = None
    daily: tuple[int, int] | None = None
    services: dict[str, ListedTiers] = {}


class ListedModel(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model.  match: which names mean it, as ``["=", text]`` and the like.  rows: later ones count before earlier ones.

    context_tokens: what it takes at most, input and output together; ``None``: the list does not say.
    """

    id: str
    match: list[Any]
    rows: tuple[ListedRow, ...]
    context_tokens: int | None = None


class ListedProvider(msgspec.Struct, frozen=True, omit_defaults=True):
    """A provider's models, in the order in which a name is looked for; then those of ``fallbacks``."""

    models: tuple[ListedModel, ...]
    fallbacks: tuple[str, ...] = ()


class Listing(msgspec.Struct, frozen=True):
    """The whole file.  compiled_us: when it was made; what holds then is what the list calls the present."""

    source: str
    version: str
    licence: str
    url: str
    compiled_us: int
    providers: dict[str, ListedProvider]


def rates(amounts: Amounts, /) -> Rates:
    """The amounts as rates."""
    return Rates(**{RATE_KEYS[key]: amount for key, amount in amounts.items()})


def price(row: ListedRow, /, *, source: str) -> Price:
    """The row as a price.  A row whose every amount is 0 says that it is free in its source."""
    return Price(
        source=source if any(row.amounts.values()) else f"{source} (free)",
        **{RATE_KEYS[key]: amount for key, amount in row.amounts.items()},
        context_tiers=_tiers(row),
        images=(),
        service_tiers=tuple(
            ServiceTier(name=name, rates=rates(tiers.amounts), context_tiers=_tiers(tiers))
            for name, tiers in row.services.items()
        ),
        effective_from_us=row.from_us,
        effective_to_us=row.to_us,
        daily_from_s=row.daily[0] if row.daily else None,
        daily_to_s=row.daily[1] if row.daily else None,
    )


def _tiers(tiers: ListedTiers) -> tuple[ContextTier, ...]:
    return tuple(ContextTier(above_tokens=above, rates=rates(amounts)) for above, amounts in tiers.above)
