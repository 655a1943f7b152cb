"""An evaluation log of Inspect, as JSON (``inspect log convert --to json``; a ``.eval`` file is a zip and is refused).

Only a run that ended with ``success`` counts.  Its task must be a benchmark that the catalogue has, by its exact name
after the last slash; the score is the mean of the scorer that ``TASKS`` names first.
Source: https://inspect.aisi.org.uk/eval-logs.html (log format 2), read 2026-11.
"""

from __future__ import annotations

from typing import Any

from ledger.errors import SourceUnreadable
from ledger.facts import Parsed, Reading, Subject
from ledger.payload import Problems, decode, effort, measured, moment_us, part, rows, table, text, tokens

NAME = "harness:inspect"
CONFIDENCE = 0.85
TASKS = {
    "gpqa_diamond": "gpqa_diamond",
    "mmlu_pro": "mmlu_pro",
    "hle": "hle",
    "math_500": "math_500",
    "aime2024": "aime_2024",
    "aime2025": "aime_2025",
    "livecodebench": "livecodebench",
    "scicode": "scicode",
    "ifbench": "ifbench",
    "swe_bench_verified": "swe_bench_verified",
    "swe_bench": "swe_bench_verified",
    "swe_bench_pro": "swe_bench_pro",
    "terminal_bench_2": "terminal_bench_2",
    "bfcl_multi_turn": "bfcl_multi_turn",
    "browse_comp": "browsecomp",
    "osworld_verified": "osworld_verified",
    "simpleqa_verified": "simpleqa_verified",
    "mmmu_pro": "mmmu_pro",
}
# What a scorer calls the share that it found right, the first that is there.
MEANS = ("accuracy", "mean", "pass_at_1")


def parse(payload: bytes | str, /, *, fetched_at_us: int) -> Parsed:
    """Raises: SourceUnreadable, for another file, an unfinished run, or one that does not say its model."""
    if payload[:2] in (b"PK", "PK"):
        raise SourceUnreadable("a .eval file is a zip; make JSON of it first: inspect log convert --to json")
    log = table(decode(payload), "the log")
    run, results = part(log, "eval"), part(log, "results")
    if not run or "status" not in log:
        raise SourceUnreadable("this is no log of Inspect: 'eval' and 'status' are missing")
    if log["status"] != "success":
        raise SourceUnreadable(f"the run did not end well: its status is {str(log['status'])[:40]!r}")
    model, task = text(run.get("model")), text(run.get("task")).rpartition("/")[2]
    if not model or model == "none/none":
        raise SourceUnreadable("the log does not say which model it is about")
    problems = Problems()
    metric = TASKS.get(task)
    if metric is None:
        problems.add(f"{task or 'the task'}: no metric of the catalogue is this task")
        return Parsed(problems=problems.told())
    scores = list(rows(results.get("scores"), problems, "results.scores"))
    if task == "swe_bench" and "verified" not in text(part(run, "dataset").get("name")).lower():
        problems.add("swe_bench: the data set is not SWE-bench Verified")
        return Parsed(problems=problems.told())
    value = _share(scores, problems)
    if value is None:
        return Parsed(problems=problems.told())
    created_us = moment_us(part(log, "stats").get("completed_at")) or moment_us(run.get("created")) or fetched_at_us
    reading = Reading(
        source=NAME,
        source_version=_version(run, task),
        subject=Subject(source_name=model, effort=effort(part(run, "model_generate_config").get("reasoning_effort"))),
        metric=metric,
        value=value,
        unit="fraction",
        observed_at_us=min(created_us, fetched_at_us),
        fetched_at_us=fetched_at_us,
        confidence=CONFIDENCE,
        n=tokens(results.get("completed_samples")) or tokens(results.get("total_samples")),
    )
    return Parsed(readings=(reading,), problems=problems.told())


def _share(scores: list[dict[str, Any]], problems: Problems) -> float | None:
    if len(scores) != 1:
        problems.add(f"the log has {len(scores)} scorers; which one counts is not said")
        return None
    said = part(scores[0], "metrics")
    for name in MEANS:
        if name in said:
            value = measured(part(said, name).get("value"), "fraction")
            if value is None:
                problems.add(f"{name} is {str(part(said, name).get('value'))[:40]!r}, which is no fraction")
            return value
    problems.add(f"the scorer has none of {', '.join(MEANS)}")
    return None


def _version(run: dict[str, Any], task: str) -> str:
    version = run.get("task_version")
    package = text(part(run, "packages").get("inspect_evals"))
    said = (task, "" if version is None else f"version {str(version)[:20]}", f"inspect_evals {package}" if package else "")
    return ", ".join(filter(None, said))
