"""What becomes of the proxy when more comes than it can do: ``python -m benchmarks.load.overload [--seconds 60] [--check]``.

First its peak in a closed loop, and the latency at half of it; then twice the peak for a while in an open loop over many
connections, as clients who do not wait for each other; then half of the peak again.  The proxy has one core, the mock
upstream and the load generator share another; everything is switched on as by default.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from typing import NoReturn

import msgspec

from benchmarks.load import machine
from benchmarks.load.process import NotRunning
from benchmarks.load.proxy import MODEL, Subject, tollway
from benchmarks.load.tools import BIN, BenchmarkFailed, Generator, Load, Mock, build

PEAK_CONNECTIONS = 64
CONNECTIONS = 1_000
SLICE_S = 2.0
RECOVERY_S = 10.0
GOODPUT_RATIO_MIN = 0.8
SHED_P99_MAX_MS = 50.0
NORMAL_RATIO = 2.0
"""Times the latency before, within which it is normal again."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Rates in requests a second.  recovered_s: from the end of the overload until the p99 was normal; ``None``: it was not."""

    peak: float
    before: Load
    during: Load
    after: tuple[Load, ...]
    recovered_s: float | None

    @property
    def goodput_ratio(self) -> float:
        """Of the peak, what was answered with 200."""
        return self.during.rps / self.peak

    @property
    def missed(self) -> list[str]:
        """What was promised and not kept."""
        found = []
        if self.goodput_ratio < GOODPUT_RATIO_MIN:
            found.append(f"goodput {self.goodput_ratio:.0%} of the peak, not {GOODPUT_RATIO_MIN:.0%}")
        if self.during.refused99 / 1000 > SHED_P99_MAX_MS:
            found.append(f"shed answers take {self.during.refused99 / 1000:.0f} ms (p99), not {SHED_P99_MAX_MS:g}")
        if self.recovered_s is None:
            found.append(f"not normal again within {RECOVERY_S:g} s")
        return found


def main() -> int:
    """The exit code: 1 if nothing could be measured, or ``--check`` finds a promise not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it is overloaded (default 60)")
    parser.add_argument("--times", type=float, default=2.0, help="of the peak (default 2)")
    parser.add_argument("--check", action="store_true", help="fail if a promise is not kept")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    cores = machine.choose_cores()
    for name, value in machine.describe().items():
        print(f"{name + ':':14}{value}")
    print(f"{'cores:':14}{cores.note}", flush=True)
    try:
        build()
        generator = Generator(cores)
        with (
            tempfile.NamedTemporaryFile(dir=BIN, prefix="mock-") as log,
            Mock(cores, log) as mock,
            tollway(mock, {"plain": ""}, cores) as subject,
        ):
            outcome = measure(subject, generator, seconds=arguments.seconds, times=arguments.times)
    except (BenchmarkFailed, NotRunning) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print(report(outcome))
    return 1 if arguments.check and outcome.missed else 0


def measure(subject: Subject, generator: Generator, *, seconds: float, times: float) -> Outcome:
    """Peak, half of it, too much, half of it again.  Raises: BenchmarkFailed."""
    body = msgspec.json.encode({"model": f"openai/{MODEL}", "messages": [{"role": "user", "content": "hi"}]})

    def run(rate: float, connections: int, length_s: float, warm_up_s: float = 0.0) -> Load:
        return generator.run(
            subject.port,
            body,
            connections=connections,
            seconds=length_s,
            warm_up_s=warm_up_s,
            rate=rate,
            headers=subject.headers,
        )

    peak = run(0, PEAK_CONNECTIONS, 5, 1).rps
    before = run(peak / 2, CONNECTIONS, 5, 1)
    during = run(peak * times, CONNECTIONS, seconds)
    ended_s = time.monotonic()
    after = []
    recovered_s = None
    while recovered_s is None and time.monotonic() - ended_s < RECOVERY_S:
        began_s = time.monotonic() - ended_s
        after.append(run(peak / 2, CONNECTIONS, SLICE_S))
        if after[-1].p99 <= NORMAL_RATIO * before.p99 and after[-1].bad == 0:
            recovered_s = began_s
    return Outcome(peak=peak, before=before, during=during, after=tuple(after), recovered_s=recovered_s)


def report(outcome: Outcome) -> str:
    """The figures, for people."""
    during = outcome.during
    lines = [
        f"peak:               {outcome.peak:8.0f} requests/s",
        f"at half of it:      p50 {outcome.before.p50 / 1000:.1f} ms, p99 {outcome.before.p99 / 1000:.1f} ms",
        f"overload, answered: {during.rps:8.0f} requests/s ({outcome.goodput_ratio:.0%} of the peak)",
        f"          latency:  p50 {during.p50 / 1000:.1f} ms, p99 {during.p99 / 1000:.1f} ms",
        f"          shed:     {during.bad}, p50 {during.refused50 / 1000:.1f} ms, p99 {during.refused99 / 1000:.1f} ms",
        *(f"afterwards:         p99 {load.p99 / 1000:.1f} ms, {load.bad} shed" for load in outcome.after),
        f"normal again after: {'never' if outcome.recovered_s is None else f'{outcome.recovered_s:.1f} s'}",
    ]
    return "\n".join([*lines, *(f"missed: {it}" for it in outcome.missed)])


def _stop(*_: object) -> NoReturn:
    raise SystemExit(1)


if __name__ == "__main__":
    raise SystemExit(main())
