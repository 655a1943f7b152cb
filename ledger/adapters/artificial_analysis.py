"""Artificial Analysis' models: benchmarks, indices, speed and prices, a row for each reasoning effort.

Two shapes of one API.  The older has everything in one list; the newer comes in pages, says which version its index has,
keeps speed below ``performance``, and on the free tier has the three indices alone.  Several pages are read as one list.

Source: https://artificialanalysis.ai (API v2, both shapes), read 2026-11; use demands attribution.  What it takes care of:
0 means that nobody measured; the input price of Anthropic's models is that of a cache write, 1.25 times the list's, so
it and what is blended of it are left out; prices are of no host, so they are readings of little weight and no price rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ledger.errors import SourceUnreadable
from ledger.facts import ModelFact, Parsed, Reading, Subject
from ledger.payload import Problems, day, decode, measured, number, part, rows, table, text

NAME = "artificial_analysis"
CONFIDENCE = 0.9
PRICE_CONFIDENCE = 0.3

# The fields of a row: metric, unit, and what one of the source's units is in ours.
EVALUATIONS = {
    "artificial_analysis_intelligence_index": ("intelligence_index", "points", 1),
    "artificial_analysis_coding_index": ("coding_index", "points", 1),
    "artificial_analysis_math_index": ("math_index", "points", 1),
    "artificial_analysis_agentic_index": ("agentic_index", "points", 1),
    "mmlu_pro": ("mmlu_pro", "fraction", 1),
    "gpqa": ("gpqa_diamond", "fraction", 1),
    "hle": ("hle", "fraction", 1),
    "livecodebench": ("livecodebench", "fraction", 1),
    "scicode": ("scicode", "fraction", 1),
    "math_500": ("math_500", "fraction", 1),
    "aime": ("aime_2024", "fraction", 1),
    "aime_25": ("aime_2025", "fraction", 1),
    "ifbench": ("ifbench", "fraction", 1),
    "lcr": ("lcr_long_context", "fraction", 1),
    "terminalbench_hard": ("terminalbench_hard", "fraction", 1),
    "tau2": ("tau2_telecom", "fraction", 1),
}
SPEEDS = {
    "median_output_tokens_per_second": ("output_tps_p50", "tok/s", 1),
    "median_time_to_first_token_seconds": ("ttft_p50", "ms", 1000),
    "median_time_to_first_answer_token": ("ttfat_p50", "ms", 1000),
    "median_time_to_first_answer_token_seconds": ("ttfat_p50", "ms", 1000),
    "median_end_to_end_response_time_seconds": ("e2e_p50", "ms", 1000),
}
PRICES = {
    "price_1m_input_tokens": ("price_input", "USD/MTok", 1),
    "price_1m_output_tokens": ("price_output", "USD/MTok", 1),
    "price_1m_cache_hit_tokens": ("price_cache_read", "USD/MTok", 1),
    "price_1m_cache_write_tokens": ("price_cache_write_5m", "USD/MTok", 1),
    "price_1m_blended_3_to_1": ("price_blended_3to1", "USD/MTok", 1),
}
# Wrong for Anthropic's models, see above.
NOT_OF_ANTHROPIC = {"price_1m_input_tokens", "price_1m_blended_3_to_1"}

_BRACKETS = re.compile(r"\(([^()]*)\)")
_LEVEL = re.compile(r"(minimal|low|medium|high|xhigh|max)(?: effort)?")


def parse(payload: bytes | str, /, *, fetched_at_us: int) -> Parsed:
    """A page, or a list of the pages of one answer.  Raises: SourceUnreadable, also if the pages' index versions differ."""
    decoded = decode(payload)
    pages = [table(page, "a page") for page in decoded] if isinstance(decoded, list) else [table(decoded, "the payload")]
    problems = Problems()
    versions = {_version(page) for page in pages}
    if len(versions) != 1:
        raise SourceUnreadable("the pages have different versions of the index" if versions else "there are no pages")
    version = versions.pop()
    expected = number(part(pages[0], "pagination").get("total_pages"))
    if expected is not None and expected > len(pages):
        problems.add(f"only {len(pages)} of {expected:.0f} pages were read")
    readings: list[Reading] = []
    models: dict[str, ModelFact] = {}
    for page in pages:
        for row in rows(page.get("data"), problems, "data"):
            slug = text(row.get("slug"))
            if not slug:
                problems.add(f"a row has no slug: id {text(row.get('id')) or 'unknown'}")
            elif slug in models:
                problems.add(f"{slug} is there twice; the first counts")
            else:
                subject = _subject(row, slug)
                models[slug] = ModelFact(
                    subject=subject,
                    released=day(row.get("release_date")),
                    aliases=tuple(filter(None, (text(row.get("id")),))),
                )
                readings += _readings(row, subject, version, fetched_at_us, problems)
    return Parsed(readings=tuple(readings), models=tuple(models.values()), problems=problems.told())


def effort_of(name: str, slug: str, /) -> str:
    """The effort that a row was measured with, by what stands in brackets in its name; the slug's ending only for none.

    ``(Non-reasoning, Low Effort)`` is ``none-low``; with high effort, which is the default there, ``none``.  A slug's other
    endings are no safe sign: ``mistral-medium``, ``sonar-reasoning`` and ``kimi-k2-thinking`` are names of models.
    """
    for bracket in reversed(_BRACKETS.findall(name.lower())):
        words = [word.strip() for word in bracket.split(",")]
        level = next((found[1] for word in words if (found := _LEVEL.fullmatch(word))), "")
        if "non-reasoning" in words:
            return f"none-{level}" if level and level != "high" else "none"
        if level:
            return level
        if {"reasoning", "thinking", "adaptive reasoning"} & set(words):
            return "thinking"
    return "none" if slug.endswith("-non-reasoning") else ""


def _version(page: dict[str, Any]) -> str:
    """The version of the index, such as ``4.1``; empty in the shape that does not say it."""
    said = page.get("intelligence_index_version")
    return text(said) or (f"{said:g}" if number(said) is not None else "")


def _subject(row: dict[str, Any], slug: str) -> Subject:
    label = text(row.get("name"))
    return Subject(
        source_name=slug, creator=text(part(row, "model_creator").get("name")), label=label, effort=effort_of(label, slug)
    )


def _readings(row: dict[str, Any], subject: Subject, version: str, fetched_at_us: int, problems: Problems) -> Iterator[Reading]:
    of_anthropic = text(part(row, "model_creator").get("slug")).lower() == "anthropic" or subject.creator == "Anthropic"
    prices = {key: value for key, value in part(row, "pricing").items() if not (of_anthropic and key in NOT_OF_ANTHROPIC)}
    if of_anthropic and len(prices) < len(part(row, "pricing")) and number(part(row, "pricing").get("price_1m_input_tokens")):
        problems.add(f"{subject.source_name}: the input price is left out; for Anthropic's models it is a cache write's")
    for fields, values, confidence in (
        (EVALUATIONS, part(row, "evaluations"), CONFIDENCE),
        (SPEEDS, {**row, **part(row, "performance")}, CONFIDENCE),
        (PRICES, prices, PRICE_CONFIDENCE),
    ):
        said: set[str] = set()
        for field, (metric, unit, scale) in fields.items():
            value = values.get(field)
            # Both spellings of one field may be there; nothing, and 0, mean that it was not measured.
            if value is None or metric in said or (number(value) == 0):
                continue
            real = number(value)
            checked = None if real is None else measured(real * scale, unit)
            if checked is None:
                problems.add(f"{subject.source_name}: {field} is {str(value)[:40]!r}, which is no value in {unit}")
                continue
            said.add(metric)
            yield _reading(subject, version, metric, checked, unit, confidence, fetched_at_us)
    yield from _cost_per_task(row, subject, version, fetched_at_us)


def _cost_per_task(row: dict[str, Any], subject: Subject, version: str, fetched_at_us: int) -> Iterator[Reading]:
    cost = measured(part(row, "artificial_analysis_intelligence_index_cost").get("cost_per_task"), "USD")
    if cost:
        yield _reading(subject, version, "effective_cost_per_task", cost, "USD", PRICE_CONFIDENCE, fetched_at_us)


def _reading(
    subject: Subject, version: str, metric: str, value: float, unit: str, confidence: float, fetched_at_us: int
) -> Reading:
    return Reading(
        source=NAME,
        source_version=version,
        subject=subject,
        metric=metric,
        value=value,
        unit=unit,
        observed_at_us=fetched_at_us,
        fetched_at_us=fetched_at_us,
        confidence=confidence,
    )
