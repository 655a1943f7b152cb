"""Observations to merge, complete and unremarkable; a test says what matters to it."""

from __future__ import annotations

from typing import Any

from ledger.catalogue.metrics import DAY_US, METRICS
from ledger.facts import Observation, Subject

NOON_US = 20_000 * DAY_US + DAY_US // 2
MODEL = "openai/gpt-5"


def seen(value: float, metric: str = "gpqa_diamond", **changes: Any) -> Observation:
    """days: when it was observed, counted from ``NOON_US``; fetched at the same time."""
    at_us = NOON_US + round(changes.pop("days", 0) * DAY_US)
    fields: dict[str, Any] = {
        "source": "artificial_analysis",
        "source_version": "",
        "variant": MODEL,
        "subject": Subject(source_name="gpt-5"),
        "metric": metric,
        "value": value,
        "unit": METRICS[metric].unit,
        "observed_at_us": at_us,
        "fetched_at_us": at_us,
        "confidence": 0.9,
    }
    return Observation(**{**fields, **changes})
