"""What a harness measured, in an envelope: ``POST /v1/ledger/benchmarks``, ``tollway ledger import``.

Two envelopes are read.  Ours, ``tollway.benchmarks/1``, is described by ``ledger/data/benchmarks.schema.json``: who
measured, when, and a list of values, or of passed of so many.  heliosHarness' evidence envelope 1.0.0 has one model and
runs that passed or failed; that is one ``task_completion_rate``.  Its ``duration_ms`` is the command's, not the model's.
Source: https://github.com/KooshaPari/helios-cli, harness/src/harness/benchmark_envelope.py, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ledger.errors import SourceUnreadable
from ledger.facts import Parsed, Reading, Subject
from ledger.payload import Problems, decode, effort, measured, moment_us, number, part, rows, table, text, tokens

SCHEMA = "tollway.benchmarks/1"
EVIDENCE = "1.0.0"
RESULTS_MAX = 10_000
CONFIDENCE = 0.9
CLOCK_SKEW_US = 300 * 1_000_000
ENVELOPE_FIELDS = frozenset(("schema", "harness", "observed_at", "results"))
HARNESS_FIELDS = frozenset(("name", "version", "run_id", "repo", "commit"))
RESULT_FIELDS = frozenset(
    ("model", "creator", "effort", "host", "region", "metric", "value", "unit", "passed", "n", "confidence")
)

Check = Callable[[Reading], str | None]
"""What is wrong with a reading by the catalogue of metrics: an unknown metric, another unit, out of bounds."""


def nothing_wrong(_: Reading) -> None:
    """A ``Check`` that lets everything through, where the store itself looks at each reading."""


def parse(payload: bytes | str, /, *, fetched_at_us: int, check: Check = nothing_wrong) -> Parsed:
    """The envelope's readings; each result that is refused is a problem that begins with its place, ``results[3]:``.

    Raises: SourceUnreadable, if the envelope itself is wrong; then nothing of it counts.
    """
    envelope = table(decode(payload), "the envelope")
    if envelope.get("schema_version") == EVIDENCE and "subject" in envelope:
        return _evidence(envelope, fetched_at_us, check)
    if envelope.get("schema") != SCHEMA:
        raise SourceUnreadable(f"the envelope's schema is {str(envelope.get('schema'))[:40]!r}, not {SCHEMA!r}")
    if unknown := sorted(envelope.keys() - ENVELOPE_FIELDS):
        raise SourceUnreadable(f"the envelope has a field that is not known: {unknown[0][:40]!r}")
    harness = part(envelope, "harness")
    name = effort(harness.get("name"))
    if not name or harness.keys() - HARNESS_FIELDS:
        raise SourceUnreadable("'harness' needs a name of letters, digits, - and _, and has no other fields than documented")
    observed_at_us = moment_us(envelope.get("observed_at"))
    if observed_at_us is None or observed_at_us > fetched_at_us + CLOCK_SKEW_US:
        raise SourceUnreadable("'observed_at' is no time, or one that is yet to come; one is written 2026-11-22T12:00:00Z")
    results = envelope.get("results")
    if isinstance(results, list) and len(results) > RESULTS_MAX:
        raise SourceUnreadable(f"'results' has more than {RESULTS_MAX} entries; send several envelopes")
    problems = Problems()
    readings: dict[tuple[Subject, str], Reading] = {}
    for at, row in enumerate(results if isinstance(results, list) else []):
        if not isinstance(row, dict):
            problems.add(f"results[{at}]: it is no object")
            continue
        try:
            reading = _result(row, name, text(harness.get("version")), observed_at_us, fetched_at_us)
        except ValueError as error:
            problems.add(f"results[{at}]: {error}")
            continue
        key = (reading.subject, reading.metric)
        wrong = "the same model and metric is there twice; the first counts" if key in readings else check(reading)
        if wrong:
            problems.add(f"results[{at}]: {wrong}")
        else:
            readings[key] = reading
    if not isinstance(results, list) or not results:
        raise SourceUnreadable("'results' is no list, or an empty one")
    return Parsed(readings=tuple(readings.values()), problems=problems.told())


def _result(row: dict[str, Any], harness: str, version: str, observed_at_us: int, fetched_at_us: int) -> Reading:
    """Raises: ValueError, with what is wrong."""
    if unknown := sorted(row.keys() - RESULT_FIELDS):
        raise ValueError(f"there is no field {unknown[0][:40]!r}")
    if not text(row.get("model")) or not text(row.get("metric")):
        raise ValueError("it needs 'model' and 'metric'")
    if row.get("effort") and not effort(row["effort"]):
        raise ValueError("'effort' is no word")
    n = tokens(row.get("n"))
    if row.get("n") is not None and n is None:
        raise ValueError("'n' is no positive whole number")
    if "passed" in row:
        passed = number(row["passed"])
        if "value" in row or n is None or passed is None or passed != int(passed) or not 0 <= passed <= n:
            raise ValueError("'passed' is a whole number from 0 to 'n', and stands instead of 'value'")
        value, unit = passed / n, text(row.get("unit")) or "fraction"
        if unit != "fraction":
            raise ValueError("'passed' of 'n' is a fraction")
    else:
        found = number(row.get("value"))
        if found is None or not text(row.get("unit")):
            raise ValueError("'value' is no number, or it has no 'unit'")
        value, unit = found, text(row["unit"])
    confidence = CONFIDENCE if row.get("confidence") is None else measured(row["confidence"], "fraction")
    if confidence is None:
        raise ValueError("'confidence' is no number from 0 to 1")
    return Reading(
        source=f"harness:{harness}",
        source_version=version,
        subject=Subject(
            source_name=text(row["model"]),
            creator=text(row.get("creator")),
            effort=effort(row.get("effort")),
            host=text(row.get("host")),
            region=text(row.get("region")),
        ),
        metric=text(row["metric"]),
        value=value,
        unit=unit,
        observed_at_us=observed_at_us,
        fetched_at_us=fetched_at_us,
        confidence=confidence,
        n=n,
    )


def _evidence(envelope: dict[str, Any], fetched_at_us: int, check: Check) -> Parsed:
    subject = part(envelope, "subject")
    model, harness = text(subject.get("model")), effort(subject.get("harness"))
    observed_at_us = moment_us(part(envelope, "provenance").get("collected_at"))
    if not harness or not model or model == "unknown":
        raise SourceUnreadable("the evidence does not say which model and which harness it is about")
    if observed_at_us is None or observed_at_us > fetched_at_us + CLOCK_SKEW_US:
        raise SourceUnreadable("the evidence does not say when it was collected, or names a time that is yet to come")
    problems = Problems()
    outcomes = []
    for at, run in enumerate(rows(envelope.get("runs"), problems, "runs")):
        status = text(run.get("status"))
        if status in ("passed", "failed", "timeout"):
            outcomes.append(status == "passed")
        else:
            problems.add(f"runs[{at}]: its status is {status!r}")
    if not outcomes:
        raise SourceUnreadable("the evidence has no run that passed or failed")
    reading = Reading(
        source=f"harness:{harness}",
        source_version=text(part(part(envelope, "task_manifest"), "judge").get("version")),
        subject=Subject(source_name=model),
        metric="task_completion_rate",
        value=sum(outcomes) / len(outcomes),
        unit="fraction",
        observed_at_us=observed_at_us,
        fetched_at_us=fetched_at_us,
        confidence=CONFIDENCE,
        n=len(outcomes),
    )
    if wrong := check(reading):
        problems.add(f"runs: {wrong}")
        return Parsed(problems=problems.told())
    return Parsed(readings=(reading,), problems=problems.told())
