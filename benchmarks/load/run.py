"""Measure the running proxy: ``python -m benchmarks.load.run [--quick] [--peers litellm] [--json FILE] [--check]``.

The proxy has one core, the mock upstream and the load generator share another.  Authentication and metering are on, the
ledger is a file on disk.  Every figure is measured once a round; the table has the median and the spread of the rounds.
All loads are closed loops.  CPU time is that of the proxy's whole process, warm-up included, over all that it answered.
What a proxy adds is its latency less that of a run straight to the mock upstream just before.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NoReturn

import msgspec

from benchmarks.load import machine, peers, report
from benchmarks.load.machine import Cores
from benchmarks.load.measure import PATHS, Plan, Results, measure
from benchmarks.load.process import NotRunning
from benchmarks.load.proxy import tollway
from benchmarks.load.tools import BIN, BenchmarkFailed, Generator, Mock, build

QUICK = Plan(rounds=1, seconds=1.0, starts=1, requests=0)


def main() -> int:
    """The exit code: 1 if nothing could be measured, counts do not agree, or ``--check`` finds a target missed."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _stop)
    plan = _plan(arguments)
    cores = machine.choose_cores()
    about = machine.describe()
    for name, value in about.items():
        print(f"{name + ':':14}{value}")
    print(f"{'cores:':14}{cores.note}")
    print(f"{'rounds:':14}{plan.rounds} of {plan.seconds:g} s a figure, closed loop\n", flush=True)
    started_s = time.monotonic()
    results: list[Results] = []
    try:
        _measure_all(arguments.peers, plan, cores, results)
    except (BenchmarkFailed, NotRunning) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    finally:
        if results and arguments.json:
            arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(report.document(about, results))) + b"\n")
    print(f"took {time.monotonic() - started_s:.0f} s")
    figures = results[0].figures
    missed = [figure.name.strip() for figure in figures if figure.ok is False]
    if missed:
        print(f"targets missed: {', '.join(missed)}")
    agree = all(check.ok for check in results[0].checks)
    return 0 if agree and not (arguments.check and missed) else 1


def _measure_all(peer_names: list[str], plan: Plan, cores: Cores, results: list[Results]) -> None:
    build()
    generator = Generator(cores)
    with tempfile.NamedTemporaryFile(dir=BIN, prefix="mock-") as log, Mock(cores, log) as mock:
        own = measure(partial(tollway, mock, PATHS, cores), mock, generator, cores, plan)
        results.append(own)
        print(report.own(own))
        print()
        _print_footer(own)
        for name in peer_names:
            # A peer that cannot be had leaves the rest of the report as it is.
            try:
                peers.install(name)
                # One start, and no more requests than the rounds make: it is slow at both.
                short = msgspec.structs.replace(plan, starts=1, requests=0)
                peer = measure(partial(peers.litellm, mock, PATHS, cores), mock, generator, cores, short)
            except (BenchmarkFailed, NotRunning) as error:
                print(f"\n{name} was not measured: {error}", file=sys.stderr)
                continue
            results.append(peer)
            print()
            print(report.beside(own, peer))
            print()
            _print_footer(peer)


def _print_footer(results: Results) -> None:
    print(f"{results.subject}: {report.checks(results.checks)}")
    if results.other_work_ratio is not None:
        print(f"{results.subject}: other work took {results.other_work_ratio:.0%} of the proxy's core meanwhile")
    sys.stdout.flush()


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = QUICK if arguments.quick else Plan()
    given = {name: getattr(arguments, name) for name in ("rounds", "seconds", "requests")}
    return msgspec.structs.replace(plan, **{name: value for name, value in given.items() if value is not None})


def _stop(*_: object) -> NoReturn:
    # As an exception, so that every context ends what it has started.
    sys.exit(143)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round, 20 s in all: does it work?")
    parser.add_argument("--rounds", type=_positive_int, help="how often each figure is measured (default 3)")
    parser.add_argument("--seconds", type=_positive_float, help="how long each time (default 2.5)")
    parser.add_argument("--requests", type=int, help="plain requests before memory is read again (default 50000)")
    parser.add_argument("--peers", nargs="+", default=[], choices=peers.PEERS, help="measure these proxies too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value to a file as well")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    return parser.parse_args()


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def _positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value <= 60:
        raise argparse.ArgumentTypeError("more than 0, at most 60")
    return value


if __name__ == "__main__":
    sys.exit(main())
