"""OpenTelemetry's GenAI spans and log records."""

from __future__ import annotations

import pytest

from ledger.adapters.usage_logs.otel_genai import parse
from ledger.records import Tokens
from tests.ledger.adapters.usage_logs.logs import largest, lines, read

SAMPLE = "otel_genai.jsonl"


def test_a_call_that_a_span_and_a_record_tell_is_one_event_and_an_agents_span_is_none() -> None:
    events, skipped = read(parse, SAMPLE)

    kept = list(largest(events).values())

    assert [it.tokens for it in kept] == [
        Tokens(input_uncached=300, cache_read=600, cache_write=100, output_text=100, reasoning=20),
        Tokens(input_uncached=10, output_text=5),
    ]
    assert (kept[0].event, kept[0].provider, kept[0].model, kept[0].session) == (
        "resp_1",
        "gemini",
        "gemini-2.5-pro",
        "conv_1",
    )
    assert kept[0].at_us == 1_794_400_002_000_000
    assert (len(events), skipped) == (3, {"no_model_call": 1})


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"intValue":"1000"', b'"intValue":"-1000"', "wrong_shape"),
        (b'"intValue":"1000"', b'"intValue":"many"', "wrong_shape"),
        (b'"intValue":"1000"', b'"doubleValue":1000', "wrong_shape"),
        (b'"intValue":"1000"', b'"intValue":"10"', "counts_disagree"),
        (b'"timeUnixNano":"1794400002000000000"', b'"timeUnixNano":"0"', "no_time"),
    ],
)
def test_what_is_not_of_its_shape_is_counted_by_reason(old: bytes, new: bytes, reason: str) -> None:
    line = lines(SAMPLE)[1]
    assert old in line

    assert read(parse, [line.replace(old, new)]) == ([], {reason: 1})
