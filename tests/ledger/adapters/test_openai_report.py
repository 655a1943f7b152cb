from pathlib import Path

import pytest

from ledger.adapters.openai_report import model_of, parse
from ledger.errors import ReportUnreadable
from ledger.records import ReportedUse, Tokens

DATA = Path(__file__).parents[1] / "data" / "reports"
DAY_US = 86_400_000_000
START_US = 1_763_769_600_000_000


def test_usage_is_read_with_every_kind_of_token_apart() -> None:
    report = parse((DATA / "openai_completions.json").read_bytes())

    text, spoken = report.uses
    assert text == ReportedUse(
        start_us=START_US,
        end_us=START_US + DAY_US,
        model="gpt-4o-2024-08-06",
        owners=("proj_abc", "key_abc"),
        requests=5,
        tokens=Tokens(input_uncached=3000, cache_read=2000, output_text=1000),
    )
    # Text is told apart: then the sums have audio in them.
    assert spoken.tokens == Tokens(
        input_uncached=400, cache_read=300, input_audio=200, cache_read_audio=100, output_text=50, output_audio=200
    )
    assert spoken.tokens.input_tokens == 1000


def test_a_day_without_use_is_a_day_of_the_report_and_a_missing_page_is_known() -> None:
    report = parse((DATA / "openai_completions.json").read_bytes())

    assert report.windows == ((START_US, START_US + DAY_US), (START_US + DAY_US, START_US + 2 * DAY_US))
    assert not report.complete


def test_costs_are_exact_and_go_to_the_model_of_their_line() -> None:
    report = parse((DATA / "openai_costs.json").read_bytes())

    assert [(it.model, it.cost_nusd) for it in report.uses] == [
        ("gpt-4o-2024-08-06", 7_500_000),
        ("gpt-4o-2024-08-06", 2_500_000),
        ("gpt-4o-2024-08-06", 10_000_000),
        ("web search tool calls", 10_000_000),
    ]
    assert report.complete


@pytest.mark.parametrize(
    ("line_item", "model"),
    [
        ("gpt-5.5-2026-04-23, cached input", "gpt-5.5-2026-04-23"),
        ("gpt-audio-mini-2025-12-15 audio, input", "gpt-audio-mini-2025-12-15"),
        ("priority | gpt-5.5, output, long context", "gpt-5.5"),
        ("web search tool calls", "web search tool calls"),
        ("", ""),
        (", input", ", input"),
    ],
)
def test_a_line_of_the_costs_names_its_model(line_item: str, model: str) -> None:
    assert model_of(line_item) == model


def test_the_same_bytes_are_the_same_report() -> None:
    data = (DATA / "openai_costs.json").read_bytes()

    assert parse(data).id == parse(data).id != parse(data + b" ").id


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xff",
        b'{"data":[{"start_time":1}]}',
        (
            b'{"data":[{"start_time":1,"end_time":2,"results":[{"object":"organization.costs.result",'
            b'"amount":{"value":1,"currency":"eur"}}]}]}'
        ),
    ],
)
def test_what_is_no_report_of_theirs_is_refused(data: bytes) -> None:
    with pytest.raises(ReportUnreadable):
        parse(data)
