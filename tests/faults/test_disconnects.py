"""Whenever a client leaves its stream, there is one row, and it says what the upstream did; `drain` knows it exactly."""

from pathlib import Path

import pytest

from tests.faults.disconnects import EVENTS, POLICIES, faults, run


@pytest.mark.slow
def test_a_stream_that_is_left_at_any_event_has_one_row_and_a_true_one(tmp_path: Path) -> None:
    streams = EVENTS * len(POLICIES) * 2

    found, records, entries, seen = run(tmp_path, streams)

    assert len(found) == len(records) == streams
    assert faults(found, records, entries, seen) == []
