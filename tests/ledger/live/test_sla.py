"""How providers keep to what was agreed."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.live import LiveMetrics, Outcome, Sample
from ledger.live.sla import Report, Service, Targets, report, services

NOW = 1_800_000_000.0


def measured(**outcomes: tuple[Outcome, ...]) -> LiveMetrics:
    """Tries at ``acme/NAME``, by name."""
    metrics = LiveMetrics(lambda: NOW)
    for name, found in outcomes.items():
        for outcome in found:
            metrics.observe(Sample(offer=f"acme/{name}", outcome=outcome, e2e_ms=1_000.0, ttft_ms=100.0, output_tokens=90))
    return metrics


def reported(metrics: LiveMetrics, provider: str | None = None, **targets: Any) -> Report:
    kept_to = Targets(**targets)
    return report(services(metrics, "1h", provider=provider, targets=kept_to), window="1h", at_us=1, targets=kept_to)


def whole(found: Report) -> Service:
    (row,) = [row for row in found.rows if not row.offer]
    return row


def test_a_provider_is_all_of_its_offers_and_stands_before_them() -> None:
    found = reported(measured(b=("ok", "broken"), a=("ok", "ok")))

    assert [(row.provider, row.offer, row.tries, row.success) for row in found.rows] == [
        ("acme", "", 4, 0.75),
        ("acme", "acme/a", 2, 1.0),
        ("acme", "acme/b", 2, 0.5),
    ]


def test_every_way_to_fail_has_its_share_and_rate_limits_are_no_outage() -> None:
    row = whole(reported(measured(a=("ok", "ok", "limited", "broken", "late", "refused", "ok", "ok"))))

    assert (row.success, row.availability) == (0.5, pytest.approx(4 / 6))
    assert (row.limited_rate, row.broken_rate, row.late_rate, row.refused_rate) == (0.125, 0.125, 0.125, 0.125)


def test_times_are_of_answers() -> None:
    row = whole(reported(measured(a=("ok", "late"))))

    times = (row.ttft_p50_ms, row.ttft_p90_ms, row.ttft_p99_ms, row.e2e_p50_ms, row.e2e_p95_ms, row.output_tps_p50)
    assert times == pytest.approx((100, 100, 100, 1_000, 1_000, 100), rel=0.05)


def test_who_never_answered_has_no_times_and_who_was_only_held_back_no_availability() -> None:
    row = whole(reported(measured(a=("limited",))))

    assert (row.success, row.availability, row.ttft_p50_ms, row.e2e_p50_ms, row.output_tps_p50) == (0.0, None, None, None, None)


def test_without_targets_nothing_is_judged() -> None:
    found = reported(measured(a=("broken",)))

    assert (found.met, whole(found).missed) == (None, ())


def test_targets_that_are_kept_to_are_met() -> None:
    targets = {"success_min": 0.5, "availability_min": 0.5, "ttft_p90_max_ms": 120.0, "e2e_p95_max_ms": 1_100.0}

    assert reported(measured(a=("ok", "limited")), **targets).met is True


@pytest.mark.parametrize(
    ("targets", "missed"),
    [
        ({"success_min": 0.99}, "success is 50.00%, not at least 99.00%"),
        ({"availability_min": 0.8}, "availability is 66.67%, not at least 80.00%"),
        ({"ttft_p90_max_ms": 50.0}, "ttft p90 is 102 ms, not at most 50 ms"),
        ({"e2e_p95_max_ms": 500.0}, "e2e p95 is 1,019 ms, not at most 500 ms"),
        ({"success_min": 0.1, "tries_min": 9}, "4 tries are fewer than 9"),
    ],
)
def test_a_target_that_is_missed_is_said(targets: dict[str, Any], missed: str) -> None:
    found = reported(measured(a=("ok", "ok", "broken", "limited")), **targets)

    assert (found.met, [row.missed for row in found.rows]) == (False, [(missed,), ()])


@pytest.mark.parametrize("targets", [{"ttft_p90_max_ms": 50.0}, {"availability_min": 0.1}])
def test_what_is_unknown_is_not_met(targets: dict[str, Any]) -> None:
    found = reported(measured(a=("limited",)), **targets)

    assert found.met is False
    assert "unknown" in whole(found).missed[0]


def test_one_provider_that_missed_is_enough_and_others_can_be_left_out() -> None:
    metrics = measured(a=("ok",))
    metrics.observe(Sample(offer="other/a", outcome="broken", e2e_ms=1.0))

    assert reported(metrics, success_min=0.9).met is False
    assert reported(metrics, "acme", success_min=0.9).met is True
    assert [row.provider for row in reported(metrics, "acme").rows] == ["acme", "acme"]


def test_where_nobody_was_asked_nothing_is_met() -> None:
    found = reported(LiveMetrics(lambda: NOW), success_min=0.1)

    assert (found.met, found.rows) == (False, ())
