"""Where the price lists disagree, and what is known of one offer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ledger.prices.book import Book, Listed, holds
from ledger.records import Price, Rates


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One price that two lists have differently.  amounts_nusd: what each says, by the list's name; ``None``: nothing."""

    provider: str
    model: str
    field: str
    amounts_nusd: dict[str, int | None]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """One row of an offer.  counts: it is the one that is charged by at the moment that was asked for."""

    provider: str
    model: str
    counts: bool
    price: Price


def known(book: Book, name: str, providers: Sequence[str], *, at_us: int) -> list[Known]:
    """Every row of ``provider/model``, or of a bare model name at every provider that has it."""
    provider, slash, model = name.partition("/")
    offers = [(provider, model)] if slash and provider in providers else [(it, name) for it in providers]
    found = []
    for offer in offers:
        counting = book.price(*offer, at_us)
        found += [Known(provider=offer[0], model=offer[1], counts=row is counting, price=row) for row in book.rows_of(*offer)]
    return found


def differences(book: Book, providers: Sequence[str], *, at_us: int) -> Iterator[Difference]:
    """Every plain price that two lists have differently at a moment, for the models that both have by one name."""
    for provider in providers:
        names = sorted({name for listed in book.lists for name in listed.names(provider)})
        for model in names:
            rows = {listed.source.name: _row(listed, provider, model, at_us) for listed in book.lists}
            said = {source: row for source, row in rows.items() if row is not None}
            if len(said) > 1:
                yield from _fields(provider, model, said)


def _row(listed: Listed, provider: str, model: str, at_us: int) -> Price | None:
    return next((row for row in reversed(listed.rows(provider, model)) if holds(row, at_us)), None)


def _fields(provider: str, model: str, said: dict[str, Price]) -> Iterator[Difference]:
    for field in Rates.__struct_fields__:
        amounts = {source: getattr(row, field) for source, row in said.items()}
        # Where one list says nothing the more general price counts; that is no contradiction.
        if len({amount for amount in amounts.values() if amount is not None}) > 1:
            yield Difference(provider=provider, model=model, field=field, amounts_nusd=amounts)
