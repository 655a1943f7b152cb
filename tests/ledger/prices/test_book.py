"""Which row of which list holds, and when."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.prices.book import DAY_S, MEMO_MAX, Book, Listed, holds
from ledger.prices.compare import differences, known
from ledger.prices.days import day_us
from ledger.records import ContextTier, Price, Rates

SECOND = 1_000_000
NOW = 1_000


def row(usd: int, source: str = "list", **fields: object) -> Price:
    base = Price(source=source, input_nusd_per_mtok=usd, output_nusd_per_mtok=usd)
    return msgspec.structs.replace(base, **fields)


class Rows:
    """A list whose every model of ``p`` has the same rows."""

    def __init__(self, *rows: Price, name: str = "list", dated: bool = True, as_of_us: int | None = NOW) -> None:
        self.name = name
        self.dated = dated
        self.as_of_us = as_of_us
        self.asked = 0
        self._rows = rows

    def rows(self, provider: str, model: str, /) -> Sequence[Price]:
        self.asked += 1
        return self._rows if provider == "p" and model else ()

    def names(self, provider: str, /) -> Sequence[str]:
        return ("m",) if provider == "p" else ()


def book(*lists: Rows) -> Book:
    return Book((Listed(it) for it in lists), clock_us=lambda: NOW)


def price(of: Book, at_us: int | None = None) -> int | None:
    found = of.price("p", "m", at_us)
    return None if found is None else found.input_nusd_per_mtok


def test_the_first_list_that_has_a_row_counts() -> None:
    of = book(Rows(), Rows(row(1)), Rows(row(2)))

    assert price(of) == 1


def test_what_no_list_has_has_no_price() -> None:
    of = book(Rows(row(1)))

    assert of.price("q", "m") is None


def test_an_offer_is_looked_up_once() -> None:
    rows = Rows(row(1))
    of = book(rows)

    for at_us in (None, 1, 2):
        of.price("p", "m", at_us)

    assert rows.asked == 1


def test_invented_names_do_not_fill_the_memory() -> None:
    of = book(Rows(row(1)))

    for number in range(MEMO_MAX + 10):
        of.price("p", f"invented-{number}")

    assert of._memo.cache_info().currsize == MEMO_MAX


@pytest.mark.parametrize(("at_us", "expected"), [(-5, 1), (99, 1), (100, 2), (199, 2), (200, 3), (10**18, 3)])
def test_a_row_holds_from_its_first_moment_until_just_before_its_last(at_us: int, expected: int) -> None:
    of = book(
        Rows(row(1, effective_to_us=100), row(2, effective_from_us=100, effective_to_us=200), row(3, effective_from_us=200))
    )

    assert price(of, at_us) == expected


def test_without_a_moment_it_is_the_clocks() -> None:
    of = book(Rows(row(1, effective_to_us=NOW), row(2, effective_from_us=NOW)))

    assert price(of) == 2


def test_a_moment_that_no_row_covers_has_no_price_in_this_list_but_in_the_next() -> None:
    alone, followed = Rows(row(1, effective_from_us=100)), Rows(row(9))

    assert price(book(alone), 99) is None
    assert price(book(alone, followed), 99) == 9


def test_a_list_without_dates_speaks_of_the_present_only() -> None:
    dated = Rows(
        row(1, effective_to_us=500), row(2, effective_from_us=500, effective_to_us=2000), row(3, effective_from_us=2000)
    )
    of = book(Rows(row(7), dated=False, as_of_us=None), dated)

    prices = [price(of, at_us) for at_us in (499, 500, NOW, 1999, 2000)]

    assert prices == [1, 7, 7, 7, 3]


def test_a_list_that_knows_the_hours_counts_before_one_that_does_not() -> None:
    peak = row(2, daily_from_s=3600, daily_to_s=7200)
    of = book(Rows(row(7), dated=False, as_of_us=None), Rows(row(1), peak))

    prices = [price(of, hour * 3600 * SECOND) for hour in (0, 1, 2)]

    assert prices == [1, 2, 1]


def test_hours_may_go_over_midnight() -> None:
    night = row(2, daily_from_s=23 * 3600, daily_to_s=3600)

    found = [holds(night, (DAY_S * 5 + hour * 3600) * SECOND) for hour in (22, 23, 0, 1)]

    assert found == [False, True, True, False]


def test_what_a_row_does_not_say_is_taken_from_one_with_the_same_price() -> None:
    cliff = ContextTier(above_tokens=200, rates=Rates(input_nusd_per_mtok=9, output_nusd_per_mtok=9))
    fuller = row(7, "dated: m", cache_read_nusd_per_mtok=1, cache_write_nusd_per_mtok=3, context_tiers=(cliff,))
    of = book(Rows(row(7, "plain: m", cache_read_nusd_per_mtok=2), dated=False, as_of_us=None), Rows(fuller))

    found = of.price("p", "m")

    assert found == row(
        7, "plain: m, dated: m", cache_read_nusd_per_mtok=2, cache_write_nusd_per_mtok=3, context_tiers=(cliff,)
    )


def test_nothing_is_taken_from_a_row_with_another_price() -> None:
    of = book(Rows(row(7, "plain"), dated=False, as_of_us=None), Rows(row(8, "dated", cache_read_nusd_per_mtok=1)))

    assert of.price("p", "m") == row(7, "plain")


CHANGES = st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=6, unique=True).map(sorted)


@given(CHANGES, st.data())
def test_at_every_moment_exactly_one_of_consecutive_rows_holds(changes: list[int], data: st.DataObject) -> None:
    ends: list[int | None] = [None, *changes, None]
    rows = [row(number, effective_from_us=start, effective_to_us=end) for number, (start, end) in enumerate(pairwise(ends))]
    at_us = data.draw(st.sampled_from([it + shift for it in changes for shift in (-1, 0, 1)]) | st.integers(-(10**16), 10**16))

    holding = [it.input_nusd_per_mtok for it in rows if holds(it, at_us)]

    assert holding == [sum(change <= at_us for change in changes)]
    assert price(book(Rows(*rows)), at_us) == holding[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1970-01-01", 0), ("2026-03-01", 1_772_323_200_000_000), ("2024-02-29", 1_709_164_800_000_000), ("2026-02-29", None),
     ("2026-13-01", None), ("2026-3-1", None), ("2026-03-01T00:00", None), ("", None), ("２０２６-03-01", None)],
)  # fmt: skip
def test_a_day_is_the_microsecond_in_which_it_begins(text: str, expected: int | None) -> None:
    assert day_us(text) == expected


def test_everything_that_is_known_of_an_offer_is_shown_and_what_counts_is_marked() -> None:
    of = book(Rows(row(1, effective_to_us=500), row(2, effective_from_us=500)), Rows(row(3)))

    found = known(of, "p/m", ["p", "q"], at_us=NOW)

    assert [(it.price.input_nusd_per_mtok, it.counts) for it in found] == [(2, True), (1, False), (3, False)]


def test_lists_that_disagree_are_shown_and_those_that_agree_are_not() -> None:
    of = book(
        Rows(row(1, output_nusd_per_mtok=5), name="a", dated=False, as_of_us=None),
        Rows(row(2, output_nusd_per_mtok=5, cache_read_nusd_per_mtok=1), name="b"),
    )

    found = [(it.model, it.field, it.amounts_nusd) for it in differences(of, ["p", "q"], at_us=NOW)]

    assert found == [("m", "input_nusd_per_mtok", {"a": 1, "b": 2})]
