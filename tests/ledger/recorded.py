"""The recorded payloads as facts, read as plainly as can be: for tests of what comes after a source's adapter."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from ledger.facts import ModelFact, OfferPrice, Parsed, Reading, Subject
from ledger.records import Price

FOLDER = Path(__file__).parent / "data" / "catalogue"
EVALUATIONS = {
    "artificial_analysis_intelligence_index": ("intelligence_index", "points"),
    "artificial_analysis_coding_index": ("coding_index", "points"),
    "artificial_analysis_math_index": ("math_index", "points"),
    "mmlu_pro": ("mmlu_pro", "fraction"),
    "gpqa": ("gpqa_diamond", "fraction"),
    "hle": ("hle", "fraction"),
    "livecodebench": ("livecodebench", "fraction"),
    "scicode": ("scicode", "fraction"),
    "math_500": ("math_500", "fraction"),
    "aime": ("aime_2024", "fraction"),
    "aime_25": ("aime_2025", "fraction"),
    "ifbench": ("ifbench", "fraction"),
    "lcr": ("lcr_long_context", "fraction"),
    "terminalbench_hard": ("terminalbench_hard", "fraction"),
    "tau2": ("tau2_telecom", "fraction"),
}
SPEEDS = {
    "median_output_tokens_per_second": ("output_tps_p50", "tok/s", 1.0),
    "median_time_to_first_token_seconds": ("ttft_p50", "ms", 1000.0),
    "median_time_to_first_answer_token": ("ttfat_p50", "ms", 1000.0),
}
MARCH, MAY, AUGUST = "2026-03-01", "2026-05-07", "2026-08-01"


def us(day: str) -> int:
    """Noon of a day, in microseconds."""
    return round(datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=UTC).timestamp()) * 1_000_000


@cache
def payload(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


@cache
def subjects(day: str) -> tuple[Subject, ...]:
    """Everybody whom Artificial Analysis lists that day, also without a value."""
    rows = payload(f"artificial-analysis-{day}.json")["data"]
    return tuple(Subject(source_name=row["slug"], creator=row["model_creator"]["name"], label=row["name"]) for row in rows)


@cache
def artificial_analysis(day: str) -> Parsed:
    at_us = us(day)
    readings = []
    for row in payload(f"artificial-analysis-{day}.json")["data"]:
        subject = Subject(source_name=row["slug"], creator=row["model_creator"]["name"], label=row["name"])
        values = {EVALUATIONS[name]: value for name, value in row["evaluations"].items() if name in EVALUATIONS}
        for name, (metric, unit, factor) in SPEEDS.items():
            if row.get(name):  # 0 is missing
                values[metric, unit] = row[name] * factor
        readings += [
            Reading(
                source="artificial_analysis",
                source_version=f"index of {day}",
                subject=subject,
                metric=metric,
                value=float(value),
                unit=unit,
                observed_at_us=at_us,
                fetched_at_us=at_us,
                confidence=0.9,
            )
            for (metric, unit), value in values.items()
        ]
    return Parsed(readings=tuple(readings))


@cache
def openrouter() -> Parsed:
    at_us = us(AUGUST)
    readings, models, prices = [], [], []
    for row in payload(f"openrouter-{AUGUST}.json")["data"]:
        subject = Subject(source_name=row["id"], label=row["name"], host="openrouter")
        slug = row["canonical_slug"]
        models.append(
            ModelFact(
                subject=subject,
                context_tokens=row.get("context_length"),
                output_max_tokens=row["top_provider"].get("max_completion_tokens"),
                modalities_in=tuple(row["architecture"]["input_modalities"]),
                modalities_out=tuple(row["architecture"]["output_modalities"]),
                capabilities=(),
                released=datetime.fromtimestamp(row["created"], UTC).date().isoformat(),
                aliases=(slug,) if slug != row["id"] else (),
                base_model=row.get("alias_target", {}).get("slug", ""),
            )
        )
        for metric, value in (("context_window", row.get("context_length")),):
            if value:
                readings.append(reading(subject, metric, float(value), "tokens", at_us))
        for metric, value in row.get("benchmarks", {}).get("artificial_analysis", {}).items():
            if value is not None:
                most = Subject(source_name=row["id"], label=row["name"], host="openrouter", effort="max")
                readings.append(reading(most, metric, float(value), "points", at_us))
        given = {
            name: round(float(row["pricing"][name]) * 10**15) for name in ("prompt", "completion") if name in row["pricing"]
        }
        if len(given) == 2 and min(given.values()) >= 0:
            price = Price(
                source=f"openrouter {AUGUST}",
                input_nusd_per_mtok=given["prompt"],
                output_nusd_per_mtok=given["completion"],
            )
            prices.append(OfferPrice(subject=subject, price=price))
    return Parsed(readings=tuple(readings), models=tuple(models), prices=tuple(prices))


def reading(subject: Subject, metric: str, value: float, unit: str, at_us: int, **more: Any) -> Reading:
    return Reading(
        **{
            "source": "openrouter",
            "source_version": "",
            "subject": subject,
            "metric": metric,
            "value": value,
            "unit": unit,
            "observed_at_us": at_us,
            "fetched_at_us": at_us,
            "confidence": 0.8,
            **more,
        }
    )
