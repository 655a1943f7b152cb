import re

import pytest

from ledger.errors import EntryRefused
from ledger.journal.batch import ROWS_LIMIT, Batch
from ledger.ports import Entry
from tests.ledger.samples import record, reservation, settlement, void

# SQLITE_MAX_VARIABLE_NUMBER.  Source: https://www.sqlite.org/limits.html
VARIABLES_LIMIT = 32_766


def batch(reserves: int = 0, settles: int = 0, voids: int = 0, requests: int = 0) -> Batch:
    entries: list[Entry] = []
    entries += [reservation(f"r{n}") for n in range(reserves)]
    entries += [settlement(f"r{n}") for n in range(settles)]
    entries += [void(f"v{n}") for n in range(voids)]
    entries += [record(f"r{n}") for n in range(requests)]
    return Batch(entries)


def test_one_entry_is_one_statement() -> None:
    for single in (batch(1), batch(0, 1), batch(0, 0, 1), batch(0, 0, 0, 1)):
        assert len(single.statements()) == 1


def test_reservations_and_settlements_share_a_statement() -> None:
    assert len(batch(reserves=4, settles=2).statements()) == 1


def test_a_batch_of_any_size_takes_few_statements() -> None:
    counts = {n: len(batch(reserves=n, settles=n, requests=n).statements()) for n in (1, 2, 63, 64, 65)}

    assert counts == {1: 2, 2: 2, 63: 12, 64: 2, 65: 4}


def test_each_statement_has_a_value_for_each_place_and_stays_within_the_limit() -> None:
    for text, values in batch(ROWS_LIMIT * 2 - 1, ROWS_LIMIT, 3, ROWS_LIMIT).statements():
        assert text.count("?") == len(values) <= VARIABLES_LIMIT


def test_batches_of_many_sizes_use_a_bounded_number_of_different_statements() -> None:
    texts = {text for n in range(1, 200) for text, _ in batch(n, n // 2, n % 5, n // 3).statements()}

    assert len(texts) <= 8 * 8 + 7 + 7


def test_the_same_shape_is_the_same_text_object_so_that_it_stays_prepared() -> None:
    (first, _), (second, _) = batch(3).statements()[0], batch(3).statements()[0]

    assert first is second


def test_every_row_is_appended_once() -> None:
    statements = batch(reserves=77, settles=5).statements()

    names = [value for _, values in statements for value in values if isinstance(value, str) and re.match(r"r\d", value)]
    assert sorted(names) == sorted([*(f"r{n}" for n in range(77)), *(f"r{n}" for n in range(5))])


def test_something_else_is_refused() -> None:
    with pytest.raises(EntryRefused, match="int is no journal entry"):
        Batch([reservation(), 5])  # type: ignore[list-item]  # on purpose
