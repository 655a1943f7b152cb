"""Cursor's usage export."""

from __future__ import annotations

from ledger.adapters.usage_logs.cursor import parse_document
from ledger.adapters.usage_logs.reading import Reading
from ledger.records import Tokens
from tests.ledger.adapters.usage_logs.logs import DATA


def test_a_line_counts_where_its_parts_are_its_total_and_every_other_is_counted_by_reason() -> None:
    reading = Reading()

    events = list(parse_document((DATA / "cursor.csv").read_bytes(), reading))

    assert [(it.model, it.tokens, it.reported_nusd) for it in events] == [
        ("composer-1", Tokens(input_uncached=2000, cache_read=9000, cache_write=300, output_text=400), 70_000_000),
        ("gpt-5", Tokens(input_uncached=100, output_text=10), None),
    ]
    assert reading.skipped == {"counts_disagree": 1, "nothing_used": 1, "wrong_shape": 1}


def test_another_table_and_other_bytes_are_no_export() -> None:
    reading = Reading()

    assert list(parse_document(b"a,b\n1,2\n", reading)) == []
    assert list(parse_document(b"\xff\xfe\x00", reading)) == []
    assert reading.skipped == {"wrong_shape": 1, "not_csv": 1}
