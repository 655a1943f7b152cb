"""Cursor's usage export, the CSV file that its dashboard makes: one line for each of its usage events.

Nothing in it names an event, so its time, model, kind and counts do.  The four counts are apart from each other and add up to
the total; a line where they do not is skipped.  Columns are found by their names: their number differs between exports.
Cursor's local database is not read: what it has of tokens is mostly 0, and undocumented.
Source: cursor.com's export with ``strategy=tokens``, as several open parsers read it (0 + 21174 + 98521 + 3728 = 123423).
Read 2026-11.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from io import StringIO

from ledger.adapters.usage_logs.reading import COUNT_MAX, Reading, micros, reported_nusd, text
from ledger.records import AgentUsage, Tokens

AGENT = "cursor"
COUNTS = ("Input (w/o Cache Write)", "Cache Read", "Input (w/ Cache Write)", "Output Tokens", "Total Tokens")
NEEDED = ("Date", "Model", *COUNTS)


def parse_document(data: bytes, reading: Reading, /) -> Iterator[AgentUsage]:
    """What each line of an export used."""
    try:
        rows = csv.DictReader(StringIO(data.decode("utf-8-sig"), newline=""))
        if not set(NEEDED) <= set(rows.fieldnames or ()):
            reading.skip("wrong_shape")
            return
        for row in rows:
            event = _event(row, reading)
            if event is not None:
                yield event
    except (csv.Error, UnicodeDecodeError):
        reading.skip("not_csv")


def _event(row: dict[str, str], reading: Reading) -> AgentUsage | None:
    try:
        at_us = micros(_moment(row["Date"]))
        uncached, read, written, output, total = (_count(row[name]) for name in COUNTS)
    except (ValueError, TypeError, AttributeError, OverflowError):
        reading.skip("wrong_shape")
        return None
    if uncached + read + written + output != total:
        reading.skip("counts_disagree")
        return None
    if not total:
        reading.skip("nothing_used")
        return None
    model = text(row["Model"])
    kind = text(row.get("Kind"))
    return AgentUsage(
        agent=AGENT,
        event=f"{at_us}:{model}:{kind}:{uncached}:{read}:{written}:{output}",
        at_us=at_us,
        tokens=Tokens(input_uncached=uncached, cache_read=read, cache_write=written, output_text=output),
        provider=AGENT,
        model=model,
        reported_nusd=reported_nusd(row.get("Cost")),
    )


def _moment(said: str) -> datetime:
    moment = datetime.fromisoformat(said)
    if moment.tzinfo is None:
        raise ValueError("a time of no zone")
    return moment


def _count(said: str) -> int:
    if not said.isascii() or not said.isdecimal() or len(said) > len(str(COUNT_MAX)):
        raise ValueError("no count")
    return int(said)
