"""The results file of lm-evaluation-harness (``results_….json``): a task's headline value as a metric of the catalogue.

A task counts if it is a benchmark that the catalogue has, by its exact name; every other one is a problem that names it.
The values are fractions.  Which of a task's measures is its headline is written in ``TASKS``: of several filters of one
measure (``exact_match,strict-match``) the first that is there counts.
Source: https://github.com/EleutherAI/lm-evaluation-harness (results format of 0.4), read 2026-11.
"""

from __future__ import annotations

import re
from typing import Any

from ledger.errors import SourceUnreadable
from ledger.facts import Parsed, Reading, Subject
from ledger.payload import Problems, decode, measured, moment_us, number, part, table, text, tokens

NAME = "harness:lm-eval"
CONFIDENCE = 0.8

_ACCURACY = ("exact_match,custom-extract", "exact_match,flexible-extract", "exact_match,strict-match", "exact_match,none",
             "acc,none", "pass@1,none")  # fmt: skip
# By task: the metric, and the measures that are its headline, the first that is there.
TASKS = {
    "mmlu_pro": ("mmlu_pro", _ACCURACY),
    "gpqa_diamond_zeroshot": ("gpqa_diamond", ("acc,none",)),
    "gpqa_diamond_n_shot": ("gpqa_diamond", ("acc,none",)),
    "gpqa_diamond_cot_zeroshot": ("gpqa_diamond", _ACCURACY),
    "gpqa_diamond_cot_n_shot": ("gpqa_diamond", _ACCURACY),
    "gpqa_diamond_generative_n_shot": ("gpqa_diamond", _ACCURACY),
    "hendrycks_math500": ("math_500", _ACCURACY),
    "minerva_math500": ("math_500", ("math_verify,none", *_ACCURACY)),
    "aime24": ("aime_2024", _ACCURACY),
    "aime25": ("aime_2025", _ACCURACY),
    "mmmu_pro": ("mmmu_pro", _ACCURACY),
    "openai_mmmlu": ("mmmlu", _ACCURACY),
}
_MODEL_ARGUMENT = re.compile(r"(?:^|,)\s*(?:model|pretrained)=([^,]+)")


def parse(payload: bytes | str, /, *, fetched_at_us: int) -> Parsed:
    """Raises: SourceUnreadable, if it is no such file or does not say which model it is about."""
    data = table(decode(payload), "the results")
    results = part(data, "results")
    if not results or "configs" not in data:
        raise SourceUnreadable("these are no results of lm-evaluation-harness: 'results' and 'configs' are missing")
    model = _model(data)
    if not model:
        raise SourceUnreadable("the results do not say which model they are about")
    at_us = min(moment_us(data.get("date")) or fetched_at_us, fetched_at_us)
    problems = Problems()
    readings: dict[str, Reading] = {}
    for task, values in results.items():
        known = TASKS.get(task)
        if known is None:
            problems.add(f"results.{task[:80]}: no metric of the catalogue is this task")
            continue
        metric, measures = known
        measure = next((name for name in measures if isinstance(values, dict) and name in values), "")
        value = measured(values[measure], "fraction") if measure else None
        if value is None:
            problems.add(f"results.{task}: there is no fraction under any of {', '.join(measures)}")
        elif metric in readings:
            problems.add(f"results.{task}: {metric} was there already, by {readings[metric].source_version}; the first counts")
        else:
            readings[metric] = _reading(data, task, measure, metric, value, model, at_us, fetched_at_us)
    return Parsed(readings=tuple(readings.values()), problems=problems.told())


def _reading(
    data: dict[str, Any], task: str, measure: str, metric: str, value: float, model: str, at_us: int, fetched_at_us: int
) -> Reading:
    version = part(data, "versions").get(task)
    shots = number(part(data, "n-shot").get(task))
    said = (
        task,
        "" if version is None else f"version {str(version)[:20]}",
        "" if shots is None else f"{shots:.0f}-shot",
        measure,
    )
    return Reading(
        source=NAME,
        source_version=", ".join(filter(None, said)),
        subject=Subject(source_name=model),
        metric=metric,
        value=value,
        unit="fraction",
        observed_at_us=at_us,
        fetched_at_us=fetched_at_us,
        confidence=CONFIDENCE,
        n=tokens(part(part(data, "n-samples"), task).get("effective")),
    )


def _model(data: dict[str, Any]) -> str:
    """The model's own name, which is an argument of its API's adapter; only then what the file calls it."""
    arguments = part(data, "config").get("model_args")
    if isinstance(arguments, dict):
        named = text(arguments.get("model")) or text(arguments.get("pretrained"))
    else:
        found = _MODEL_ARGUMENT.search(arguments) if isinstance(arguments, str) else None
        named = text(found[1]) if found else ""
    return named or text(data.get("model_name"))
