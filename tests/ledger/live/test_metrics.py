"""Live metrics of offers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.live import WINDOWS, LiveMetrics, Sample, Value, blend
from ledger.live.metrics import OFFERS_MAX

NOW = 1_800_000_000.0


def live() -> LiveMetrics:
    return LiveMetrics(lambda: NOW)


def sample(offer: str = "acme/gpt", outcome: str = "ok", **fields: Any) -> Sample:
    known = {"e2e_ms": 1_100.0, "ttft_ms": 100.0, "input_tokens": 80, "cached_tokens": 20, "output_tokens": 50}
    return Sample(offer=offer, outcome=outcome, **{**known, "cost_nusd": 2_000_000, **fields})


def test_an_answer_is_measured() -> None:
    metrics = live()

    for _ in range(4):
        metrics.observe(sample())

    values = metrics.values("acme/gpt", "5m")
    assert values["ttft_p50"].value == pytest.approx(100, rel=0.05)
    assert values["e2e_p95"].value == pytest.approx(1_100, rel=0.05)
    assert values["output_tps_p50"].value == pytest.approx(50, rel=0.05)
    assert values["itl_p95"].value == pytest.approx(1000 / 49, rel=0.05)
    assert values["tokens_out_per_answer"] == Value(50.0, 4)
    assert values["cache_hit_rate"] == Value(0.25, 4)
    assert values["effective_cost_per_task"] == Value(0.002, 4)
    assert values["effective_cost_per_mtok"].value == pytest.approx(2_000_000 / 130 / 1e3)


def test_failures_are_told_apart() -> None:
    metrics = live()

    for outcome in ("ok", "ok", "limited", "broken", "late"):
        metrics.observe(sample(outcome=outcome))

    values = metrics.values("acme/gpt", "1h")
    rates = {name: values[name].value for name in ("success_rate", "rate_429", "rate_5xx", "rate_timeout")}
    assert rates == {"success_rate": 0.4, "rate_429": 0.2, "rate_5xx": 0.2, "rate_timeout": 0.2}
    assert values["tokens_out_per_answer"].n == 2


def test_what_is_not_known_is_missing() -> None:
    metrics = live()
    unknown = {"ttft_ms": None, "input_tokens": None, "cached_tokens": None, "output_tokens": None, "cost_nusd": None}

    metrics.observe(sample(**unknown))

    assert {"ttft_p50", "output_tps_p50", "cache_hit_rate", "effective_cost_per_task"}.isdisjoint(
        metrics.values("acme/gpt", "5m")
    )


def test_an_offer_that_nobody_asked_has_no_values() -> None:
    assert live().values("acme/gpt", "7d") == {}


def test_truncated_answers_are_counted_among_answers() -> None:
    metrics = live()
    metrics.observe(sample(truncated=True))
    metrics.observe(sample())
    metrics.observe(sample(outcome="late"))

    assert metrics.values("acme/gpt", "5m")["truncation_rate"] == Value(0.5, 2)


def test_offers_are_bounded_and_the_one_not_heard_of_goes_first() -> None:
    metrics = live()
    for number in range(OFFERS_MAX + 10):
        metrics.observe(sample(f"acme/{number}"))
        metrics.observe(sample("acme/steady"))

    assert len(metrics.offers()) == OFFERS_MAX
    assert "acme/steady" in metrics.offers()
    assert "acme/0" not in metrics.offers()


def test_what_was_dumped_is_there_again() -> None:
    metrics = live()
    for number in range(50):
        metrics.observe(sample(f"acme/{number % 3}", e2e_ms=100.0 + number))

    again = live()
    again.load(metrics.dump())

    assert again.offers() == metrics.offers()
    for offer in metrics.offers():
        assert [again.values(offer, it) for it in WINDOWS] == [metrics.values(offer, it) for it in WINDOWS]


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"[]", b"{}", b'{"version":2,"offers":{}}', b'{"version":1,"offers":{"a":[]}}']
)
def test_what_is_no_dump_is_refused_and_changes_nothing(data: bytes) -> None:
    metrics = live()
    metrics.observe(sample())

    with pytest.raises(ValueError):
        metrics.load(data)

    assert metrics.offers() == ["acme/gpt"]


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 1_000))
def test_a_blend_lies_between_what_was_measured_and_what_was_believed(
    n: int, value: float, prior: float, weight: float
) -> None:
    blended = blend(Value(value, n), prior, weight=weight)

    assert blended is not None
    assert min(value, prior) - 1e-9 <= blended <= max(value, prior) + 1e-9


def test_a_blend_of_one_side_is_that_side() -> None:
    assert blend(None, 0.3, weight=20) == 0.3
    assert blend(Value(0.7, 5), None, weight=20) == 0.7
    assert blend(None, None, weight=20) is None
    assert blend(Value(1.0, 20), 0.0, weight=20) == 0.5
