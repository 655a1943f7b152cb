"""Run the catalogue and print a table of rows and results.  Exits 1 if any row did not hold."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.faults.catalogue.bench import Outcome, run
from tests.faults.catalogue.not_injected import NOT_INJECTED
from tests.faults.catalogue.register import ROWS


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.catalogue", description=__doc__)
    parser.add_argument("--rows", default="", help="only these, such as A1,C3; default: all")
    parser.add_argument("--repeats", type=int, default=0, help="of each row; default: 20, fewer where a row says so")
    arguments = parser.parse_args()
    wanted = [name.strip().upper() for name in arguments.rows.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in {key.upper() for key in ROWS}]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}")
    rows = [row for row in ROWS.values() if not wanted or row.id.upper() in wanted]
    if arguments.repeats:
        rows = [msgspec.structs.replace(row, repeats=min(arguments.repeats, row.repeats)) for row in rows]
    with tempfile.TemporaryDirectory(prefix="faults-") as home:
        outcomes = asyncio.run(run(sorted(rows, key=lambda row: row.order), Path(home), show))
    print()
    held = sum(not outcome.problem for outcome in outcomes)
    print(f"{held} of {len(outcomes)} rows hold; the journal equals the upstream's own account after every repeat")
    if not wanted:
        print("\nnot injected:")
        for name, reason in NOT_INJECTED.items():
            print(f"  {name:4} {reason}")
    return 0 if held == len(outcomes) else 1


def show(outcome: Outcome) -> None:
    """One line of the table."""
    row = outcome.row
    verdict = "FAILED" if outcome.problem else "ok"
    print(f"{row.id:4} {row.title:72} {outcome.passed:3}/{row.repeats:<3} {outcome.took_s:6.1f} s  {verdict}", flush=True)
    if outcome.problem:
        print(f"     {outcome.problem}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
