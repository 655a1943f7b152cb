from pathlib import Path

import pytest

from ledger.adapters.request_report import parse
from ledger.errors import ReportUnreadable
from ledger.records import Tokens

DATA = Path(__file__).parents[1] / "data" / "reports"
DAY_US = 86_400_000_000
START_US = 1_763_769_600_000_000


def test_a_line_is_a_request() -> None:
    report = parse((DATA / "requests.jsonl").read_bytes())

    first, second = report.uses
    assert (first.request_id, first.model, first.cost_nusd) == ("req_1", "m", 123)
    assert first.tokens == Tokens(input_uncached=6, cache_read=4, output_text=2)
    assert (second.request_id, second.start_us - START_US, second.tokens, second.cost_nusd) == (
        "up_2",
        23 * 3_600_000_000,
        None,
        500_000_000,
    )


def test_it_is_about_the_days_of_its_requests() -> None:
    assert parse((DATA / "requests.jsonl").read_bytes()).windows == ((START_US, START_US + DAY_US),)


@pytest.mark.parametrize(
    "line",
    [
        b"1",
        b'{"request_id": "a"}',
        b'{"request_id": "a", "at": "2025-11-22T10:00:00"}',
        b'{"request_id": "a", "at": "2025-11-22T10:00:00Z", "cost": 1}',
        b'{"request_id": "a", "at": "2025-11-22T10:00:00Z", "cost_usd": "NaN"}',
    ],
)
def test_a_line_that_is_none_is_named_by_its_number(line: bytes) -> None:
    with pytest.raises(ReportUnreadable, match="line 2"):
        parse(b"\n" + line)
