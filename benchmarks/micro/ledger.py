"""How long a large ledger takes to verify and to report on.

``python -m benchmarks.micro.ledger [--requests 1000000] [--folder FOLDER]``

Makes a month of requests by 20 keys to 10 models; half of them have two entries each, the others were refused.  Then it
verifies the journal and sums up the month in each way there is.  The file is about a gigabyte, and is removed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import get_args

import msgspec

from benchmarks.micro.journal import ATTEMPTS, RAW, TOKENS
from ledger.adapters.sqlite import SqliteLedger
from ledger.journal.batch import Batch, append
from ledger.journal.books import Books
from ledger.journal.connection import connect
from ledger.journal.reports import hours, usage
from ledger.journal.subscriptions import DAY_US, HOUR_US
from ledger.journal.verify import verify
from ledger.records import By, RequestRecord, Reservation, Settlement

START_US = 20_000 * DAY_US
MONTH_US = 30 * DAY_US
ROUND = 1000

RESERVATION = Reservation(
    request_id="",
    attempt=1,
    at_us=0,
    key_id="",
    endpoint="chat.completions",
    model="openai/gpt-4o",
    provider="openai",
    account="main",
    upstream_model="gpt-4o",
    stream=False,
    input_tokens_estimate=1000,
    max_cost_nusd=10_000_000,
)
SETTLEMENT = Settlement(
    request_id="", attempt=1, at_us=0, quality="exact", tokens=TOKENS, cost_nusd=4_250_000, price_source="a list", usage_raw=RAW
)
RECORD = RequestRecord(
    request_id="",
    at_us=0,
    key_id="",
    endpoint="chat.completions",
    model="openai/gpt-4o",
    provider="openai",
    upstream_model="",
    answered_model="gpt-4o-2024-08-06",
    stream=False,
    status=200,
    outcome="ok",
    quality="exact",
    tokens=TOKENS,
    cost_nusd=4_250_000,
    price_source="a list",
    duration_us=9500,
    ttfb_us=9000,
    attempts=ATTEMPTS,
    usage_raw=RAW,
)


def fill(path: Path, requests: int) -> None:
    """Write the requests, evenly over the month."""
    SqliteLedger(path).close()
    connection, books = connect(path.resolve(), "process"), Books()
    replace = msgspec.structs.replace
    for first in range(0, requests, ROUND):
        entries: list[Reservation | Settlement | RequestRecord] = []
        for n in range(first, min(first + ROUND, requests)):
            request_id, key_id = f"req_{n:024x}", f"key_{n * 7 % 20:016x}"
            at_us = START_US + MONTH_US * n // requests
            record = replace(RECORD, request_id=request_id, at_us=at_us, key_id=key_id, upstream_model=f"model-{n // 20 % 10}")
            if n % 2:
                record = replace(record, outcome="rate_limit_exceeded", status=429, cost_nusd=0)
            else:
                entries.append(replace(RESERVATION, request_id=request_id, at_us=at_us, key_id=key_id))
                entries.append(replace(SETTLEMENT, request_id=request_id, at_us=at_us))
            entries.append(record)
        statements = Batch(entries).statements(connection, books)
        connection.execute("BEGIN")
        append(connection, statements)
        connection.execute("COMMIT")
        books.committed(statements.head, (), ())
    connection.close()


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the file is made (default: the temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder, "ledger.sqlite")
        began_s = time.perf_counter()
        fill(path, arguments.requests)
        print(
            f"{arguments.requests} requests written in {time.perf_counter() - began_s:.1f} s, {path.stat().st_size >> 20} MiB"
        )

        began_s = time.perf_counter()
        found = verify(path)
        print(f"verify of {found.entries} entries: {time.perf_counter() - began_s:.1f} s, {len(found.faults)} faults")

        for by in get_args(By):
            began_s = time.perf_counter()
            rows = usage(path, by=by, since_us=START_US, until_us=START_US + MONTH_US + HOUR_US)
            took_ms = (time.perf_counter() - began_s) * 1e3
            print(f"a month by {by}: {took_ms:.0f} ms, {len(rows)} rows, {sum(row.requests for row in rows)} requests")

        began_s = time.perf_counter()
        count = len(hours(path))
        print(f"a month by hour, key and model: {(time.perf_counter() - began_s) * 1e3:.0f} ms, {count} rows")


if __name__ == "__main__":
    main()
