import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.journal.entries import (
    ADJUST,
    ENTRY,
    PROGRESS,
    REQUEST,
    RESERVE,
    SETTLE,
    TOKENS,
    VOID,
    read_request,
    request_row,
    tags_text,
)
from ledger.records import Adjustment, AttemptRecord, Progress, RequestRecord, Reservation, Settlement, Tokens, Void
from tests.ledger.samples import record

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
COUNT = st.integers(0, 2**63 - 1)

attempts = st.builds(
    AttemptRecord,
    attempt=COUNT,
    provider=TEXT,
    account=TEXT,
    upstream_model=TEXT,
    outcome=TEXT,
    status=st.none() | st.integers(0, 999),
    duration_us=COUNT,
    ttfb_us=st.none() | COUNT,
    upstream_request_id=TEXT,
    error=TEXT,
)
records = st.builds(
    RequestRecord,
    **dict.fromkeys(
        ("request_id", "key_id", "endpoint", "model", "provider", "upstream_model", "answered_model", "price_source"), TEXT
    ),
    at_us=COUNT,
    stream=st.booleans(),
    status=st.integers(0, 999),
    outcome=TEXT,
    quality=st.sampled_from(["exact", "estimated"]),
    tokens=st.builds(Tokens, **dict.fromkeys(TOKENS, COUNT)),
    cost_nusd=st.none() | COUNT,
    duration_us=COUNT,
    ttfb_us=st.none() | COUNT,
    attempts=st.lists(attempts, max_size=3).map(tuple),
    usage_raw=st.binary(max_size=20),
    user=TEXT,
    team=TEXT,
    tags=st.lists(TEXT, max_size=3).map(tuple),
    cache=TEXT,
    saved_nusd=COUNT,
)


def flat(struct: type, *, without: tuple[str, ...] = ()) -> set[str]:
    names = {name for name in struct.__struct_fields__ if name not in without}  # type: ignore[attr-defined]  # a Struct
    return names - {"tokens"} | set(TOKENS) if "tokens" in names else names


def as_stored(row: tuple[object, ...]) -> list[object]:
    """What SQLite hands back for a row."""
    return [bytes(value) if isinstance(value, bytearray) else value for value in row]


def test_every_field_of_an_entry_has_a_column() -> None:
    assert set(RESERVE) == flat(Reservation)
    assert set(SETTLE) == {*flat(Settlement), "max_cost_nusd"}
    assert set(VOID) == {*flat(Void), "max_cost_nusd"}
    assert set(ADJUST) == flat(Adjustment)
    assert set(PROGRESS) == flat(Progress)
    assert set(ENTRY) == {"kind", "h", *RESERVE, *SETTLE, *VOID, *ADJUST}


def test_the_columns_of_each_kind_are_in_the_order_of_the_table() -> None:
    for columns in (RESERVE, SETTLE, VOID, ADJUST):
        assert sorted(columns, key=ENTRY.index) == list(columns)


def test_every_field_of_a_record_has_a_column() -> None:
    assert set(REQUEST) == flat(RequestRecord)


def test_no_column_is_named_twice() -> None:
    for columns in (ENTRY, REQUEST):
        assert len(columns) == len(set(columns))


def test_values_are_of_the_types_that_are_bound_without_an_adapter() -> None:
    row = request_row(record(stream=True))

    assert {type(value) for value in row} == {str, int, bytearray}


@given(records)
def test_a_record_comes_back_as_it_was(written: RequestRecord) -> None:
    assert read_request(as_stored(request_row(written))) == written


def test_tags_are_a_tuple_of_texts() -> None:
    assert (tags_text(()), tags_text(("a", 'b"'))) == ("", '["a","b\\""]')
    for wrong in (None, "a", ["a"], ("a", 1)):
        with pytest.raises(TypeError):
            tags_text(wrong)  # type: ignore[arg-type]  # that is what it is about
