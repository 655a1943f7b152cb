"""A payload broken in one place at a time: every value replaced by what nobody should send."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ledger.errors import SourceUnreadable
from ledger.facts import Parsed
from ledger.payload import RANGES
from ledger.records import Rates

NASTY = (None, True, -1, 0, 10**30, 1e300, "", "NaN", "x" * 10_000, "\x00", [], {}, [[]], [{}], {"a": {}}, ["x", 3])


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a document."""
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*at, index))


def replaced(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value in one place."""
    if not at:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[at[0]] = replaced(copy[at[0]], at[1:], value)
    return copy


def attack(parse: Callable[[bytes], Parsed], document: Any) -> int:
    """Parse the document with every value replaced by every nasty one, cut off everywhere, and as a web page.

    It must be read, perhaps with problems, or refused; what is read keeps to its units.  Returns how many were read.
    """
    read = 0
    for at in places(document):
        for value in NASTY:
            try:
                parsed = parse(json.dumps(replaced(document, at, value)).encode())
            except SourceUnreadable:
                continue
            read += 1
            sane(parsed)
    whole = json.dumps(document).encode()
    for end in range(0, len(whole) - 1, max(1, len(whole) // 50)):
        with pytest.raises(SourceUnreadable):
            parse(whole[:end])
    with pytest.raises(SourceUnreadable):
        parse(b"<html><body>502 Bad Gateway</body></html>")
    return read


def sane(parsed: Parsed) -> None:
    """Every value is of its unit, every price an integer that somebody could charge, every name printable."""
    for reading in parsed.readings:
        low, high = RANGES.get(reading.unit, (0.0, 1e12))
        assert low <= reading.value <= high, reading
        assert 0 <= reading.confidence <= 1, reading
        assert reading.subject.source_name.isprintable()
        assert reading.subject.source_name
    for offer in parsed.prices:
        for rates in (offer.price, *(tier.rates for tier in offer.price.context_tiers)):
            for field in Rates.__struct_fields__:
                amount = getattr(rates, field)
                assert amount is None or (type(amount) is int and 0 <= amount <= 10**15), offer
    for model in parsed.models:
        assert model.subject.source_name
        assert model.context_tokens is None or model.context_tokens > 0
