"""The operator's own word: a YAML file of values that count before every source, each with who, why and until when.

```yaml
- model: openai/gpt-5          # as any source names it
  effort: high                 # where the model has efforts
  host: openrouter             # of its values at one host; without it: those of the model itself
  metric: swe_bench_verified   # a metric of the catalogue,
  value: 0.71
  unit: fraction               # in its unit
  who: dana@example.com
  why: our own run of 2026-11-02, 500 tasks
  expires: 2027-05-01          # from that day (UTC) on it is ignored, and reported
```
"""

from __future__ import annotations

from datetime import date
from typing import Any

import yaml

from ledger.errors import SourceUnreadable
from ledger.facts import Parsed, Reading, Subject
from ledger.payload import PAYLOAD_MAX_BYTES, Problems, day, effort, moment_us, number, rows, text

NAME = "override"
FIELDS = frozenset(("model", "effort", "host", "metric", "value", "unit", "who", "why", "expires"))
NEEDED = ("model", "metric", "unit", "who", "why", "expires")


def parse(payload: bytes | str, /, *, fetched_at_us: int) -> Parsed:
    """The overrides that hold at ``fetched_at_us``; expired ones, and those that lack something, are problems.

    Raises: SourceUnreadable, if it is no YAML list.
    """
    if len(payload) > PAYLOAD_MAX_BYTES // 64:
        raise SourceUnreadable("the overrides are too long to have been written by hand")
    try:
        decoded = yaml.safe_load(payload)
    except (yaml.YAMLError, UnicodeError, RecursionError, ValueError) as error:
        raise SourceUnreadable(f"the overrides are not YAML: {error}") from error
    problems = Problems()
    found: dict[tuple[Subject, str], Reading] = {}
    for at, row in enumerate(rows([] if decoded is None else decoded, problems, "the overrides"), start=1):
        reading = _reading(row, f"override {at}", fetched_at_us, problems)
        if reading is None:
            continue
        key = (reading.subject, reading.metric)
        if key in found:
            problems.add(f"override {at}: {reading.subject.source_name} has two values of {reading.metric}; the first counts")
        found.setdefault(key, reading)
    return Parsed(readings=tuple(found.values()), problems=problems.told())


def _reading(row: dict[str, Any], where: str, fetched_at_us: int, problems: Problems) -> Reading | None:
    said = {key: value.isoformat() if isinstance(value, date) else value for key, value in row.items()}
    unknown = sorted(str(key)[:40] for key in said.keys() - FIELDS)
    missing = [field for field in NEEDED if not text(said.get(field))]
    value = number(said.get("value"))
    expires_us = moment_us(day(said.get("expires")))
    if unknown:
        problems.add(f"{where}: there is no field {', '.join(unknown)}")
    elif missing:
        problems.add(f"{where}: it does not say {', '.join(missing)}")
    elif value is None:
        problems.add(f"{where}: its value is no number")
    elif expires_us is None:
        problems.add(f"{where}: 'expires' is no day; one is written 2027-05-01")
    elif expires_us <= fetched_at_us:
        problems.add(f"{where}: expired on {day(said['expires'])} ({text(said['model'])}, {text(said['metric'])}); ignored")
    elif said.get("effort") and not effort(said["effort"]):
        problems.add(f"{where}: 'effort' is no word")
    else:
        return Reading(
            source=NAME,
            source_version=f"{text(said['who'])}: {text(said['why'])}",
            subject=Subject(source_name=text(said["model"]), effort=effort(said.get("effort")), host=text(said.get("host"))),
            metric=text(said["metric"]),
            value=value,
            unit=text(said["unit"]),
            observed_at_us=fetched_at_us,
            fetched_at_us=fetched_at_us,
        )
    return None
