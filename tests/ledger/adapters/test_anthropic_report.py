from pathlib import Path

import pytest

from ledger.adapters.anthropic_report import parse
from ledger.errors import ReportUnreadable
from ledger.records import ReportedUse, Tokens

DATA = Path(__file__).parents[1] / "data" / "reports"
DAY_US = 86_400_000_000
START_US = 1_763_769_600_000_000


def test_usage_is_read_with_every_kind_of_token_apart() -> None:
    report = parse((DATA / "anthropic_usage.json").read_bytes())

    assert report.uses == (
        ReportedUse(
            start_us=START_US,
            end_us=START_US + DAY_US,
            model="claude-sonnet-4-20250514",
            owners=("wrkspc_01JwQvzr7rXLA5AGx3HKfFUJ", "apikey_01Rj2N8SVvo6BePZj99NhmiT"),
            tokens=Tokens(
                input_uncached=1500, cache_read=200, cache_write=500, cache_write_1h=1000, output_text=500, web_searches=10
            ),
        ),
    )
    assert report.complete


def test_amounts_are_in_cents() -> None:
    report = parse((DATA / "anthropic_costs.json").read_bytes())

    assert [(it.model, it.cost_nusd) for it in report.uses] == [
        ("claude-sonnet-4-20250514", 1_237_891_200),
        ("Web Search Usage", 100_000_000),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"data":[{"starting_at":"soon","ending_at":"later","results":[]}]}',
        b'{"data":[{"starting_at":"2025-11-22T00:00:00","ending_at":"2025-11-23T00:00:00","results":[]}]}',
        (
            b'{"data":[{"starting_at":"2025-11-22T00:00:00Z","ending_at":"2025-11-23T00:00:00Z",'
            b'"results":[{"amount":"1","currency":"EUR"}]}]}'
        ),
    ],
)
def test_what_is_no_report_of_theirs_is_refused(data: bytes) -> None:
    with pytest.raises(ReportUnreadable):
        parse(data)
