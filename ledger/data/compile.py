"""``python -m ledger.data.compile``: make ``genai_prices.json`` from the installed genai-prices.

Run it where that package is installed (``pip install genai-prices``), after each of its releases, and read the diff.  It
is not imported by anything that serves: importing genai-prices takes up to half a second.  No network is used.

Its prices are decimals of USD per million tokens, per thousand searches or requests; here they become integer nano-USD.
A list of conditional prices becomes one row for each stretch of time; variants (batch, flex, priority) become services.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from datetime import time as day_time
from decimal import ROUND_HALF_EVEN, Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from genai_prices import types
from genai_prices.data import providers

from ledger.prices.listed import Amounts, ListedModel, ListedProvider, ListedRow, ListedTiers, Listing

FILE = Path(__file__).parent / "genai_prices.json"
NUSD_PER_USD = 10**9

# genai-prices' price keys, what we call them, and how many units one price is for beyond those that our unit has.
KEYS = {
    "input_mtok": ("input", 1),
    "output_mtok": ("output", 1),
    "cache_read_mtok": ("cache_read", 1),
    "cache_write_mtok": ("cache_write", 1),
    "cache_write_1h_mtok": ("cache_write_1h", 1),
    "cache_audio_read_mtok": ("cache_read_audio", 1),
    "input_audio_mtok": ("input_audio", 1),
    "input_image_mtok": ("input_image", 1),
    "output_reasoning_mtok": ("reasoning", 1),
    "output_audio_mtok": ("output_audio", 1),
    "output_image_mtok": ("output_image", 1),
    "requests_kcount": ("request", 1000),
    "web_searches_kcount": ("search", 1000),
}
# Each way to be served that has prices of its own, and how genai-prices is asked for it.
SERVICES = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}


def listing(data: Iterable[types.Provider], /, *, release: str, compiled_us: int) -> Listing:
    """Everything that a price is known of, in integers."""
    return Listing(
        source="genai-prices",
        version=release,
        licence="MIT, Copyright (c) Pydantic Services Inc.",
        url="https://github.com/pydantic/genai-prices",
        compiled_us=compiled_us,
        providers={provider.id: _provider(provider) for provider in data},
    )


def _provider(provider: types.Provider) -> ListedProvider:
    models = (
        ListedModel(id=it.id, match=_clause(it.match), rows=tuple(_rows(it)), context_tokens=it.context_window)
        for it in provider.models
    )
    return ListedProvider(
        models=tuple(model for model in models if model.rows), fallbacks=tuple(provider.fallback_model_providers or ())
    )


def _clause(clause: Any) -> list[Any]:
    match clause:
        case types.ClauseEquals():
            return ["=", clause.equals.lower()]
        case types.ClauseStartsWith():
            return ["^", clause.starts_with.lower()]
        case types.ClauseEndsWith():
            return ["$", clause.ends_with.lower()]
        case types.ClauseContains():
            return ["*", clause.contains.lower()]
        case types.ClauseRegex():
            return ["~", clause.regex]
        case types.ClauseOr():
            return ["|", *map(_clause, clause.or_)]
        case types.ClauseAnd():
            return ["&", *map(_clause, clause.and_)]
    raise TypeError(f"a clause that is not known here: {clause!r}")


def _rows(model: types.ModelInfo) -> Iterator[ListedRow]:
    """A row for each stretch between two changes; what holds at some hours of the day only comes after it."""
    conditional = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    starts = sorted({_midnight(it.constraint) for it in conditional if isinstance(it.constraint, types.StartDateConstraint)})
    for start, end in zip([None, *starts], [*starts, None], strict=True):
        standing, hourly = _standing(conditional, start or datetime.min.replace(tzinfo=UTC))
        for price, hours in ((standing, None), *hourly):
            if row := _row(model, price, start=start, end=end, hours=hours):
                yield row


def _standing(
    conditional: list[types.ConditionalPrice], at: datetime
) -> tuple[types.ModelPrice, list[tuple[types.ModelPrice, types.TimeOfDateConstraint]]]:
    """The last price that has begun, and those by the hour that stand after it in the list."""
    standing, hourly = conditional[0].prices, []
    for it in conditional:
        if isinstance(it.constraint, types.TimeOfDateConstraint):
            hourly.append((it.prices, it.constraint))
        elif it.constraint is None or at >= _midnight(it.constraint):
            standing, hourly = it.prices, []
        else:
            break
    return standing, hourly


def _row(
    model: types.ModelInfo,
    price: types.ModelPrice,
    *,
    start: datetime | None,
    end: datetime | None,
    hours: types.TimeOfDateConstraint | None,
) -> ListedRow | None:
    standard = _tiers(price)
    if standard is None:
        return None
    # A variant begins when its compilers read it, which is often later than when it was first charged: it counts for the
    # whole of the stretch in which it begins.
    last = (end or datetime.max.replace(tzinfo=UTC)) - timedelta(seconds=1)
    services = {}
    for name, context in SERVICES.items():
        prices = [
            variant.prices
            for variant in model.price_variants or ()
            if any(context.get(key) == value for key, value in variant.when.items())
            and (variant.constraint is None or variant.constraint.active(last))
        ]
        if prices and (tiers := _tiers(*prices, price)) and tiers != standard:
            services[name] = tiers
    return ListedRow(
        amounts=standard.amounts,
        above=standard.above,
        from_us=_us(start),
        to_us=_us(end),
        daily=(_seconds(hours.start_time), _seconds(hours.end_time)) if hours else None,
        services=services,
    )


def _tiers(*prices: types.ModelPrice) -> ListedTiers | None:
    """The amounts of the first price that says each; ``None`` if none says what a token of the input costs."""
    said: dict[str, Any] = {}
    for price in prices:
        for key, value in price.__dict__.items():
            if key in KEYS and value is not None:
                said.setdefault(key, value)
    if "input_mtok" not in said:
        return None
    said.setdefault("output_mtok", Decimal(0))
    starts = sorted({tier.start for value in said.values() if isinstance(value, types.TieredPrices) for tier in value.tiers})
    return ListedTiers(amounts=_amounts(said, 0), above=tuple((start, _amounts(said, start + 1)) for start in starts))


def _amounts(said: dict[str, Any], input_tokens: int) -> Amounts:
    amounts = {}
    for key, (name, per) in KEYS.items():
        if (value := said.get(key)) is not None:
            amounts[name] = _nusd(_at(value, input_tokens), per)
    return amounts


def _at(value: Any, input_tokens: int) -> Any:
    if isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if input_tokens > tier.start]
    return reached[-1] if reached else value.base


def _nusd(usd: Decimal, per: int) -> int:
    return int((usd * NUSD_PER_USD / per).to_integral_value(ROUND_HALF_EVEN))


def _midnight(constraint: types.StartDateConstraint) -> datetime:
    return datetime.combine(constraint.start_date, day_time(), UTC)


def _us(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp()) * 1_000_000


def _seconds(at: day_time) -> int:
    return at.hour * 3600 + at.minute * 60 + at.second


def text(made: Listing, /) -> bytes:
    """The file: a model a line, so that a diff shows which prices changed."""
    lines = []
    for name, provider in made.providers.items():
        models = b",\n".join(msgspec.json.encode(model) for model in provider.models)
        fallbacks = b'"fallbacks":%b,' % msgspec.json.encode(provider.fallbacks) if provider.fallbacks else b""
        lines.append(b'%b:{%b"models":[\n%b\n]}' % (msgspec.json.encode(name), fallbacks, models))
    head = msgspec.json.encode(msgspec.structs.replace(made, providers={})).removesuffix(b"{}}")
    return head + b"{\n" + b",\n".join(lines) + b"\n}}\n"


def main() -> None:
    """Write the file."""
    FILE.write_bytes(text(listing(providers, release=version("genai-prices"), compiled_us=time.time_ns() // 1000)))


if __name__ == "__main__":
    main()
