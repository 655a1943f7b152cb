"""Prices out of genai-prices' list, as ``ledger/data/genai_prices.json`` has it: dated, with its own words for models.

Source: genai-prices (MIT); release and time are in the file, ``python -m ledger.data.compile`` makes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ledger.errors import PricesUnreadable, SourceUnreadable
from ledger.facts import ModelFact, OfferPrice, Parsed, Subject
from ledger.prices.listed import ListedModel, Listing, price
from ledger.records import Price

FILE = Path(__file__).parents[1] / "data" / "genai_prices.json"

_decode = msgspec.json.Decoder(Listing).decode
# A date without hyphens at the end of a name, as some hosts write it.
_COMPACT_DATE = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


class GenaiPrices:
    """A source of the price book: one release of the list.  provider is its word: ``openai``, ``x-ai``, ``google``, …"""

    dated = True

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self.name = f"{listing.source} {listing.version}"
        self.as_of_us: int | None = listing.compiled_us

    def rows(self, provider: str, model: str, /) -> Sequence[Price]:
        """The rows of a provider's model; where several hold at once, the last counts.  O(models of the provider)."""
        found = self._find(provider, model.lower())
        if found is None:
            return ()
        name, listed = found
        return tuple(price(row, source=f"{self.name}: {name}/{listed.id}{_since(row.from_us)}") for row in listed.rows)

    def names(self, provider: str, /) -> Sequence[str]:
        """The names by which the list keeps the provider's models."""
        listed = self._listing.providers.get(provider)
        return () if listed is None else tuple(model.id for model in listed.models)

    def _find(self, provider: str, model: str) -> tuple[str, ListedModel] | None:
        listed = self._listing.providers.get(provider)
        if listed is None:
            return None
        # With a dated name that nobody knows, the same date with hyphens is tried.
        for name in dict.fromkeys((model, _COMPACT_DATE.sub(r"-\1-\2-\3", model))):
            for owner in (provider, *listed.fallbacks):
                for candidate in self._listing.providers[owner].models:
                    if matches(candidate.match, name):
                        return owner, candidate
        return None


def load(path: Path = FILE) -> GenaiPrices:
    """The list that comes with Tollway.  Raises: PricesUnreadable."""
    try:
        return GenaiPrices(_decode(path.read_bytes()))
    except (OSError, msgspec.DecodeError) as error:
        raise PricesUnreadable(f"the price list {path.name} cannot be read: {error}") from error


def facts(payload: bytes | str, /, *, fetched_at_us: int) -> Parsed:
    """The models of a compiled list with their limits, and every dated price row.  Raises: SourceUnreadable."""
    del fetched_at_us
    try:
        listing = _decode(payload)
    except msgspec.DecodeError as error:
        raise SourceUnreadable(f"this is no compiled price list: {error}") from error
    models: list[ModelFact] = []
    prices: list[OfferPrice] = []
    for host, provider in listing.providers.items():
        for listed in provider.models:
            subject = Subject(source_name=listed.id, host=host)
            models.append(ModelFact(subject=subject, context_tokens=listed.context_tokens))
            source = f"{listing.source} {listing.version}: {host}/{listed.id}"
            prices += [OfferPrice(subject=subject, price=price(row, source=source)) for row in listed.rows]
    return Parsed(models=tuple(models), prices=tuple(prices))


def matches(clause: Sequence[Any], name: str) -> bool:
    """Whether a name, in lower case, is one that the clause means.

    ``["=", text]``: equals, ``"^"``: begins with, ``"$"``: ends with, ``"*"``: contains, ``"~"``: a regular expression
    finds it, ``["|", clause, …]``: any, ``["&", clause, …]``: all.
    """
    kind, first = clause[0], clause[1]
    match kind:
        case "=":
            return bool(name == first)
        case "^":
            return name.startswith(first)
        case "$":
            return name.endswith(first)
        case "*":
            return first in name
        case "~":
            return re.search(first, name) is not None
        case "|":
            return any(matches(part, name) for part in clause[1:])
        case "&":
            return all(matches(part, name) for part in clause[1:])
    raise PricesUnreadable(f"a price list has a clause of an unknown kind: {kind!r}")


def _since(from_us: int | None) -> str:
    return "" if from_us is None else f" from {datetime.fromtimestamp(from_us // 1_000_000, UTC):%Y-%m-%d}"
