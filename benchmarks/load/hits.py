"""What the cache costs and saves in the running proxy: ``python -m benchmarks.load.hits [--seconds 2.5] [--rounds 3]``.

The same request is answered by a proxy without the cache, by one whose cache is declined each time, and by one that has
the answer; whole, and as a stream of 50 events.  Cores, load and figures are those of ``benchmarks.load.run``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from statistics import median

import msgspec

from benchmarks.load import machine
from benchmarks.load.measure import Case, body
from benchmarks.load.proxy import Subject, tollway
from benchmarks.load.tools import BIN, Generator, Mock, build

PATHS = {"plain": "", "stream": "/d0/n50"}
ON = "cache: {mode: on}\n"
CONNECTIONS = (1, 64)
# Name, further configuration, and a header.
WAYS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("no cache", "", {}),
    ("declined", ON, {"x-tollway-cache": "off"}),
    ("hit", ON, {}),
)


def main() -> None:
    """Print a line for each way and form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.5, help="how long each measurement is (default 2.5)")
    arguments = parser.parse_args()
    build()
    cores = machine.choose_cores()
    generator = Generator(cores)
    with tempfile.NamedTemporaryFile(dir=BIN, prefix="mock-") as log, Mock(cores, log) as mock:
        for name, more, headers in WAYS:
            with tollway(mock, PATHS, cores, more=more) as subject:
                for line in _lines(subject, mock, generator, headers, arguments.rounds, arguments.seconds):
                    print(f"{name:10s} {line}", flush=True)


def _lines(
    subject: Subject, mock: Mock, generator: Generator, headers: dict[str, str], rounds: int, seconds: float
) -> Iterator[str]:
    for form, path in PATHS.items():
        for connections in CONNECTIONS:
            case = Case(key=form, connections=connections, path=path, stream=form == "stream")
            # At the temperature of the other benchmarks nothing is kept unasked.
            asked = msgspec.json.encode({**msgspec.json.decode(body(case, subject.models[form])), "temperature": 0})
            rates, costs_us, served = [], [], 0
            for _ in range(rounds):
                before, cpu_s = mock.served(), machine.cpu_s(subject.pid)
                load = generator.run(
                    subject.port,
                    asked,
                    connections=connections,
                    seconds=seconds,
                    warm_up_s=seconds / 5,
                    headers={**subject.headers, **headers},
                )
                costs_us.append((machine.cpu_s(subject.pid) - cpu_s) * 1e6 / max(load.all_ok, 1))
                rates.append(load.rps)
                served += mock.served() - before
            yield (
                f"{form:7s} {connections:3d} connections  {median(rates):9,.0f} /s  CPU {median(costs_us):7.1f} us a request "
                f"({min(costs_us):.1f} - {max(costs_us):.1f}), {served:,} upstream calls"
            )


if __name__ == "__main__":
    main()
