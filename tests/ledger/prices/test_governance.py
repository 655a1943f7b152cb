"""Whether prices can be relied on: nothing without a price passes, slips are found, and lists are reconciled by rule."""

from collections.abc import Sequence

import pytest

from ledger.adapters import genai_prices, litellm_prices
from ledger.prices.book import Book, Listed
from ledger.prices.governance import RULES, Own, Used, agreements, audit, covered, lint, unpriced
from ledger.records import Price
from proxy.metering.prices import GENAI_WORDS, LITELLM_WORDS

DAY_US = 86_400_000_000
NOW_US = 20_000 * DAY_US
MTOK = 1_000_000_000


def price(usd_in: float = 1, usd_out: float = 4, *, source: str = "list", **fields: int) -> Price:
    nusd = {"input_nusd_per_mtok": round(usd_in * MTOK), "output_nusd_per_mtok": round(usd_out * MTOK)}
    return Price(source=source, **{**nusd, **fields})


class Rows:
    """A list that is written here."""

    def __init__(self, rows: dict[str, Sequence[Price]], *, name: str = "list", as_of_us: int | None = None) -> None:
        self.name = name
        self.dated = as_of_us is not None
        self.as_of_us = as_of_us
        self._rows = rows

    def rows(self, provider: str, model: str, /) -> Sequence[Price]:
        return self._rows.get(f"{provider}/{model}", ())

    def names(self, provider: str, /) -> Sequence[str]:
        return [name.removeprefix(f"{provider}/") for name in self._rows if name.startswith(f"{provider}/")]


def book(*sources: Rows) -> Book:
    return Book([Listed(source) for source in sources], clock_us=lambda: NOW_US)


PRICED = book(
    Rows(
        {
            "acme/paid": [price()],
            "acme/free": [price(0, 0, source="list: acme/free (free)")],
            "acme/zeros": [price(0, 0, source="list: acme/zeros")],
            "acme/later": [price(effective_from_us=NOW_US + DAY_US)],
        },
        as_of_us=NOW_US,
    )
)


@pytest.mark.parametrize(
    ("model", "why_not"),
    [
        ("paid", ""),
        ("free", ""),
        ("unheard-of", "no list and no row of your own has it"),
        ("zeros", "list: acme/zeros has nothing but zeros and does not say that it is free"),
        ("later", "its price begins later"),
    ],
)
def test_what_has_no_price_never_passes_for_free(model: str, why_not: str) -> None:
    (row,) = covered(PRICED, [Used(provider="acme", model=model, requests=3)], at_us=NOW_US)

    assert row.why_not == why_not
    assert bool(row.source) is not bool(why_not)
    assert unpriced([row]) == ([row] if why_not else [])


def test_what_has_no_price_comes_first_and_the_busiest_before_the_others() -> None:
    used = [Used(provider="acme", model=model, requests=n) for model, n in (("paid", 9), ("a", 1), ("b", 5), ("free", 2))]

    rows = covered(PRICED, used, at_us=NOW_US)

    assert [row.model for row in rows] == ["b", "a", "paid", "free"]


def found(*prices: Price | None, model: str = "acme/m", lists: Book = PRICED) -> list[tuple[str, str]]:
    own = [Own(place=f"row {at}", model=model, price=it) for at, it in enumerate(prices, start=1)]
    return [(it.level, it.what) for it in lint(own, lists, ["acme"], at_us=NOW_US)]


def test_a_row_that_makes_sense_has_nothing_wrong() -> None:
    assert found(price()) == []


@pytest.mark.parametrize(
    ("row", "level", "what"),
    [
        (None, "error", "not filled in"),
        (price(0, 0), "warning", "costs nothing"),
        (price(4, 1), "warning", "output costs less than input"),
        (price(cache_read_nusd_per_mtok=2 * MTOK), "warning", "from the cache costs more"),
        (price(effective_to_us=NOW_US), "warning", "it has ended"),
    ],
)
def test_a_row_that_may_be_a_slip_is_named(row: Price | None, level: str, what: str) -> None:
    ((at_level, said),) = found(row)

    assert at_level == level
    assert what in said


def test_a_price_that_is_an_order_of_magnitude_off_is_a_slip_of_the_unit() -> None:
    per_thousand = found(price(0.001, 0.004), model="acme/paid")
    tenfold = found(price(10, 40), model="acme/paid")

    assert [level for level, _ in per_thousand] == ["error", "error"]
    assert tenfold == []


def test_a_provider_that_there_is_not_is_an_error() -> None:
    assert found(price(), model="nobody/m") == [("error", "nobody/m: there is no provider 'nobody'")]


def test_two_rows_for_the_same_days_are_an_error_and_for_others_not() -> None:
    ended = price(effective_to_us=NOW_US + DAY_US)
    begins = price(effective_from_us=NOW_US + DAY_US)

    assert found(price(), price()) == [("error", "acme/m: row 1 has a price for some of the same days")]
    assert found(ended, begins) == []


def test_a_list_is_stale_when_it_is_older_than_it_may_be_and_none_without_a_date_is() -> None:
    lists = book(Rows({}, name="old", as_of_us=NOW_US - 31 * DAY_US), Rows({}, name="new", as_of_us=NOW_US), Rows({}, name="x"))

    ages = audit(lists, at_us=NOW_US, age_max_days=30)

    assert [(it.name, it.age_days, it.stale) for it in ages] == [("old", 31, True), ("new", 0, False), ("x", None, False)]


ONE = {"acme/m": [price(cache_read_nusd_per_mtok=MTOK)]}


@pytest.mark.parametrize(
    ("other", "rule"),
    [
        ({"acme/m": ONE["acme/m"]}, "same"),
        ({"acme/m": [price()]}, "one_is_silent"),
        ({"acme/m": [price(2, 8)]}, "first_list"),
        ({"acme/m": [price(2, 8), price(1, 4, daily_from_s=0, daily_to_s=86_400)]}, "by_the_hour"),
    ],
)
def test_each_disagreement_has_a_rule_with_a_name(other: dict[str, Sequence[Price]], rule: str) -> None:
    first, second = Rows(ONE, name="first"), Rows(other, name="second", as_of_us=NOW_US)

    (row,) = agreements(Listed(first), Listed(second), book(first, second), ["acme"], at_us=NOW_US)

    assert row.rule == rule


@pytest.fixture(scope="module")
def lists() -> tuple[Listed, Listed, Book]:
    first, second = Listed(litellm_prices.load(), LITELLM_WORDS), Listed(genai_prices.load(), GENAI_WORDS)
    return first, second, Book([first, second], clock_us=lambda: second.source.as_of_us or 0)


def test_every_model_in_both_published_lists_is_decided_by_a_rule_that_the_book_keeps(
    lists: tuple[Listed, Listed, Book],
) -> None:
    first, second, both = lists
    at_us = second.source.as_of_us or 0

    rows = list(agreements(first, second, both, sorted(GENAI_WORDS), at_us=at_us))

    kept = []
    for row in rows:
        winners = [counting for _, _, counting in row.amounts.values()]
        index = 1 if row.rule == "by_the_hour" else 0
        said = [amounts[index] for amounts in row.amounts.values()]
        if row.rule in ("first_list", "own_name"):
            kept.append(said == winners)
        elif row.rule == "by_the_hour":
            kept.append("genai-prices" in row.counts)
    assert len(rows) > 300
    assert {row.rule for row in rows} <= set(RULES)
    assert all(kept)
    assert len(kept) > 20
