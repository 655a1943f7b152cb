"""Whether the prices can be relied on: is everything that is used priced, do one's own rows make sense, do lists agree.

Pure.  What has no known price is never taken for free: a row of nothing but zeros counts as a price only where its source
says that it is free.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from ledger.prices.book import Book, Listed, holds
from ledger.records import Price, Rates

DAY_US = 86_400_000_000
RATIO_MAX = 10
"""How many times the lists' price one's own may be before it looks like a slip of the unit."""
PLAIN = ("input_nusd_per_mtok", "output_nusd_per_mtok")
FREE = ("(free)", "own machine", ":free")

Level = Literal["error", "warning"]
Rule = Literal["same", "one_is_silent", "by_the_hour", "own_name", "first_list"]

RULES: dict[Rule, str] = {
    "same": "both say the same",
    "one_is_silent": "input and output are the same; what one list does not say, the other does",
    "by_the_hour": "the dated list has prices by the hour of the day, which the other cannot say: the dated list counts",
    "own_name": "the first list names the model itself, the second only a family that it belongs to: the name counts",
    "first_list": "both name the model: the list that comes first in the book counts",
}
"""How two lists that have a model are brought together, by name; the book does it so."""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was asked for.  requests: how often; 0: it is only configured."""

    provider: str
    model: str
    requests: int = 0


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was asked for, and who prices it.  why_not: why it has no price; empty: it has one."""

    provider: str
    model: str
    requests: int
    source: str = ""
    why_not: str = ""


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """A row of one's own.  place: where it stands.  price: ``None`` if input or output is not filled in."""

    place: str
    model: str
    price: Price | None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong with prices, or may be."""

    level: Level
    place: str
    what: str


class ListAge(msgspec.Struct, frozen=True, kw_only=True):
    """A price list and its age.  age_days: ``None`` where it does not say of when it is.  stale: older than it may be."""

    name: str
    age_days: int | None
    stale: bool


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """A model that two lists have.  amounts: by price, what each says and what counts, in nano-USD; those that differ."""

    provider: str
    model: str
    rule: Rule
    counts: str
    amounts: dict[str, tuple[int | None, int | None, int | None]] = {}


def covered(book: Book, used: Sequence[Used], *, at_us: int) -> list[Covered]:
    """Every model with its price's source, those without one first, then by requests."""
    rows = [_covered(book, it, at_us) for it in used]
    return sorted(rows, key=lambda row: (not row.why_not, -row.requests, row.provider, row.model))


def unpriced(rows: Sequence[Covered]) -> list[Covered]:
    """Those that have no price."""
    return [row for row in rows if row.why_not]


def lint(own: Sequence[Own], lists: Book, providers: Sequence[str], *, at_us: int) -> list[Finding]:
    """What is wrong with one's own rows.  lists: the book without them."""
    return [*_rows(own, lists, providers, at_us), *_overlaps(own)]


def audit(book: Book, *, at_us: int, age_max_days: int) -> list[ListAge]:
    """The lists of others, and how old each is."""
    ages = []
    for listed in book.lists:
        as_of_us = listed.source.as_of_us
        if as_of_us is None and listed.source.dated:
            continue  # one's own rows and what is free are of no date
        age_days = None if as_of_us is None else max(at_us - as_of_us, 0) // DAY_US
        ages.append(ListAge(name=listed.source.name, age_days=age_days, stale=age_days is not None and age_days > age_max_days))
    return ages


def agreements(first: Listed, second: Listed, book: Book, providers: Sequence[str], *, at_us: int) -> Iterator[Agreement]:
    """Every model of some providers that both lists have now, and the rule by which the book decides."""
    for provider in providers:
        known = set(second.names(provider))
        for model in sorted({*first.names(provider), *known}):
            one = _standing(first, provider, model, at_us)
            other = _standing(second, provider, model, at_us)
            counting = book.price(provider, model, at_us)
            if one is None or other is None or counting is None:
                continue
            fields = [field for field in Rates.__struct_fields__ if getattr(one, field) != getattr(other, field)]
            clashing = [field for field in fields if _clash(getattr(one, field), getattr(other, field), field)]
            yield Agreement(
                provider=provider,
                model=model,
                rule=_rule(second, provider, model, fields, clashing, model in known, at_us),
                counts=counting.source,
                amounts={it: (getattr(one, it), getattr(other, it), getattr(counting, it)) for it in clashing or fields},
            )


def _covered(book: Book, used: Used, at_us: int) -> Covered:
    price = book.price(used.provider, used.model, at_us)
    row = Covered(provider=used.provider, model=used.model, requests=used.requests)
    if price is None:
        later = any((it.effective_from_us or 0) > at_us for it in book.rows_of(used.provider, used.model))
        why = "its price begins later" if later else "no list and no row of your own has it"
        return msgspec.structs.replace(row, why_not=why)
    if is_nothing(price) and not any(word in price.source for word in FREE) and not price.source.startswith("configuration"):
        return msgspec.structs.replace(row, why_not=f"{price.source} has nothing but zeros and does not say that it is free")
    return msgspec.structs.replace(row, source=price.source)


def is_nothing(price: Price, /) -> bool:
    """Whether a row charges nothing for anything."""
    return not (any(getattr(price, field) for field in Rates.__struct_fields__) or any(it.image_nusd for it in price.images))


def _rows(own: Sequence[Own], lists: Book, providers: Sequence[str], at_us: int) -> Iterator[Finding]:
    for row in own:

        def found(level: Level, what: str, row: Own = row) -> Finding:
            return Finding(level=level, place=row.place, what=f"{row.model}: {what}")

        provider, _, model = row.model.partition("/")
        price = row.price
        if provider not in providers:
            yield found("error", f"there is no provider {provider!r}")
        if price is None:
            yield found("error", "input or output is not filled in")
            continue
        if is_nothing(price):
            yield found("warning", "it costs nothing; that is a price, if it is meant")
        elif price.output_nusd_per_mtok and price.output_nusd_per_mtok < price.input_nusd_per_mtok:
            yield found("warning", "output costs less than input")
        if (price.cache_read_nusd_per_mtok or 0) > price.input_nusd_per_mtok:
            yield found("warning", "a token from the cache costs more than one that is read anew")
        if price.effective_to_us is not None and price.effective_to_us <= at_us:
            yield found("warning", "it has ended")
        listed = lists.price(provider, model, at_us)
        for field in PLAIN if listed is not None else ():
            mine, theirs = getattr(price, field), getattr(listed, field)
            if mine and theirs and (mine > theirs * RATIO_MAX or theirs > mine * RATIO_MAX):
                name = field.partition("_nusd")[0]
                yield found("error", f"{name} is more than {RATIO_MAX} times, or less than a {RATIO_MAX}th of, what lists say")


def _overlaps(own: Sequence[Own]) -> Iterator[Finding]:
    for at, row in enumerate(own):
        for before in own[:at]:
            if row.model == before.model and row.price is not None and before.price is not None:
                starts = (row.price.effective_from_us or 0, before.price.effective_from_us or 0)
                ends = [it for it in (row.price.effective_to_us, before.price.effective_to_us) if it is not None]
                if not ends or max(starts) < min(ends):
                    what = f"{row.model}: {before.place} has a price for some of the same days"
                    yield Finding(level="error", place=row.place, what=what)


def _standing(listed: Listed, provider: str, model: str, at_us: int) -> Price | None:
    return next((row for row in reversed(listed.rows(provider, model)) if holds(row, at_us)), None)


def _clash(one: int | None, other: int | None, field: str) -> bool:
    """Whether two lists contradict each other: to say nothing is no contradiction, nor is 0 for a request."""
    if field == "request_nusd" and 0 in (one, other):
        return False
    return one is not None and other is not None and one != other


def _rule(
    second: Listed, provider: str, model: str, fields: list[str], clashing: list[str], is_named: bool, at_us: int
) -> Rule:
    if not fields:
        return "same"
    if any(row.daily_from_s is not None and _spans(row, at_us) for row in second.rows(provider, model)):
        return "by_the_hour"
    if not clashing:
        return "one_is_silent"
    return "first_list" if is_named else "own_name"


def _spans(row: Price, at_us: int) -> bool:
    return (row.effective_from_us is None or row.effective_from_us <= at_us) and (
        row.effective_to_us is None or at_us < row.effective_to_us
    )
