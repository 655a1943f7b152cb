"""What is measured, and how a measurement becomes a figure."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from statistics import median

import msgspec

from benchmarks.load import machine
from benchmarks.load.machine import Cores
from benchmarks.load.proxy import Subject, read_ledger
from benchmarks.load.tools import CHAT, BenchmarkFailed, Generator, Load, Mock

SETTLE_S = 1.0
"""Between the start of a proxy and the reading of its idle memory."""

WARM_UP_REQUESTS = 200

Start = Callable[[], AbstractContextManager[Subject]]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of load: so many connections, each of which asks again when it has its answer (a closed loop).

    path: what the mock upstream does.   direct: also measured without a proxy, for what a proxy adds.
    """

    key: str
    connections: int
    path: str = ""
    stream: bool = False
    direct: bool = False


PLAIN = tuple(Case(key=f"c{count}", connections=count, direct=True) for count in (1, 16, 64))
# Answers of eight events: what is of interest is their first byte, and a p99 needs many.
FIRST_BYTE = Case(key="ttft", connections=4, path="/d5/n8", stream=True, direct=True)
PACED = Case(key="paced", connections=32, path="/d5/n50", stream=True)
BURST = Case(key="burst", connections=16, path="/d0/n200", stream=True)
CASES = (*PLAIN, FIRST_BYTE, PACED, BURST)
PATHS = {case.path.strip("/").replace("/", "-") or "plain": case.path for case in CASES}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How long everything takes.

    seconds: one measurement, after a fifth of it as warm-up; the direct ones take half of it.
    requests: plain requests to have been answered before the memory is read again; 0: those of the rounds.
    """

    rounds: int = 3
    seconds: float = 2.5
    starts: int = 5
    requests: int = 50_000


class Target(msgspec.Struct, frozen=True):
    """At least (``>=``) or at most (``<=``, ``<``) the limit."""

    sign: str
    limit: float

    def met(self, value: float) -> bool:
        """Whether a value is on the right side."""
        if self.sign == ">=":
            return value >= self.limit
        return value <= self.limit if self.sign == "<=" else value < self.limit


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure, measured once a round.  The verdict is on the median."""

    key: str
    name: str
    unit: str
    values: tuple[float, ...]
    target: Target | None = None

    @property
    def median(self) -> float:
        """The middle one; of an even number the mean of the middle two."""
        return median(self.values)

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; ``None`` where there is none."""
        return None if self.target is None else self.target.met(self.median)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must come out as expected, or the figures are of something else."""

    name: str
    expected: int
    found: int

    @property
    def ok(self) -> bool:
        """Whether it did."""
        return self.expected == self.found


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one proxy.

    other_work_ratio: of its core's time while it was measured, what other processes took; ``None``: unknown.
    """

    subject: str
    figures: tuple[Figure, ...]
    checks: tuple[Check, ...]
    other_work_ratio: float | None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement through the proxy, and beside it the direct one, if the case has one."""

    load: Load
    cpu_us: float
    direct: Load | None = None

    @property
    def cpu_us_per_answer(self) -> float:
        """CPU time of the proxy's process for each answer, warm-up included."""
        return self.cpu_us / max(self.load.all_ok, 1)

    @property
    def cpu_us_per_event(self) -> float:
        """The same for each event that reached the client."""
        return self.cpu_us / max(self.load.all_events, 1)

    @property
    def events_per_answer(self) -> float:
        """How many events one stream has."""
        return self.load.all_events / max(self.load.all_ok, 1)


Round = dict[str, Run]


def measure(start: Start, mock: Mock, generator: Generator, cores: Cores, plan: Plan) -> Results:
    """Start a proxy as often as the plan says; measure the last start.  Raises: BenchmarkFailed, NotRunning."""
    start_ups_s = []
    for _ in range(plan.starts - 1):
        with start() as subject:
            start_ups_s.append(subject.start_up_s)
    with start() as subject:
        start_ups_s.append(subject.start_up_s)
        time.sleep(SETTLE_S)
        idle_mb = machine.rss_mb(subject.pid)
        session = _Session(subject, mock, generator, cores, plan)
        session.warm_up()
        rounds = [session.round() for _ in range(plan.rounds)]
        session.fill_up()
        memory_mb = machine.rss_mb(subject.pid)
        memory = f"RSS after {session.plain:,} plain requests"
        about = (
            ("start_up_s", "start-up to ready", "s", tuple(start_ups_s), Target("<", 1.5)),
            ("rss_idle_mb", "RSS idle", "MB", (idle_mb,), Target("<", 120)),
            ("rss_after_mb", memory, "MB", (memory_mb,), None),
        )
        return Results(
            subject=subject.name,
            figures=(
                *figures(rounds),
                *(Figure(key=key, name=name, unit=unit, values=v, target=target) for key, name, unit, v, target in about),
            ),
            checks=session.checks(),
            other_work_ratio=session.other_work_ratio,
        )


class _Session:
    """The measurements of one proxy, and the counts that they must agree with."""

    def __init__(self, subject: Subject, mock: Mock, generator: Generator, cores: Cores, plan: Plan) -> None:
        self._subject = subject
        self._mock = mock
        self._generator = generator
        self._cores = cores
        self._plan = plan
        self._answered = 0
        self._failed = 0
        self._forwarded = 0
        self._wall_s = 0.0
        self._others_s: float | None = 0.0
        self.plain = 0

    def warm_up(self) -> None:
        """Whatever is made at the first requests is made now: connections, imports, memory."""
        self._through(PLAIN[1], None, requests=WARM_UP_REQUESTS)

    def round(self) -> Round:
        """Every case once, each direct measurement just before the one it is compared with."""
        runs = {}
        for case in CASES:
            direct = self._direct(case) if case.direct else None
            runs[case.key] = self._through(case, direct, seconds=self._plan.seconds)
        return runs

    def fill_up(self) -> None:
        """Send the plain requests that are still missing."""
        missing = self._plan.requests - self.plain
        if missing > 0:
            self._through(PLAIN[-1], None, requests=missing)

    def checks(self) -> tuple[Check, ...]:
        """Whether the client, the proxy's ledger and the upstream have counted the same."""
        checks = [
            Check(name="answers that were not 200", expected=0, found=self._failed),
            Check(name="requests that reached the upstream", expected=self._answered, found=self._forwarded),
        ]
        if self._subject.ledger is not None:
            ledger = read_ledger(self._subject.ledger)
            checks += [
                Check(name="records of requests in the ledger", expected=self._answered, found=ledger.records),
                Check(name="records with status 200", expected=self._answered, found=ledger.answered),
                Check(name="priced answers without a cost", expected=0, found=ledger.unpriced),
                Check(name="reservations without an end", expected=0, found=ledger.open),
            ]
        return tuple(checks)

    @property
    def other_work_ratio(self) -> float | None:
        """Of the time that was measured, how much of the proxy's core went to others."""
        if self._others_s is None or not self._wall_s:
            return None
        return max(self._others_s / self._wall_s, 0.0)

    def _direct(self, case: Case) -> Load:
        seconds = self._plan.seconds / 2
        return self._generator.run(
            self._mock.port,
            body(case, "gpt-4o-mini"),
            path=f"{case.path}{CHAT}",
            connections=case.connections,
            seconds=seconds,
            warm_up_s=seconds / 5,
        )

    def _through(self, case: Case, direct: Load | None, *, seconds: float = 0, requests: int = 0) -> Run:
        subject = self._subject
        model = next(subject.models[name] for name, path in PATHS.items() if path == case.path)
        served = self._mock.served()
        busy_s, started_s, cpu_s = machine.busy_s(self._cores.proxy), time.monotonic(), machine.cpu_s(subject.pid)
        load = self._generator.run(
            subject.port,
            body(case, model),
            connections=case.connections,
            seconds=seconds,
            warm_up_s=seconds / 5,
            requests=requests,
            headers=subject.headers,
        )
        cpu_s = machine.cpu_s(subject.pid) - cpu_s
        self._wall_s += time.monotonic() - started_s
        after_s = machine.busy_s(self._cores.proxy)
        if busy_s is None or after_s is None or self._others_s is None:
            self._others_s = None
        else:
            self._others_s += after_s - busy_s - cpu_s
        self._forwarded += self._mock.served() - served
        self._answered += load.all_ok
        self._failed += load.started - load.all_ok
        if not load.all_ok:
            raise BenchmarkFailed(
                f"{subject.name} answered none of {load.started:,} requests for {model} with 200; "
                f"the last status was {load.badstatus or 'none at all'}."
            )
        self.plain += 0 if case.stream else load.all_ok
        return Run(load=load, cpu_us=cpu_s * 1e6, direct=direct)


def body(case: Case, model: str) -> bytes:
    """A request as a small chat sends it, about 270 bytes."""
    request: dict[str, object] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {
                "role": "user",
                "content": "Tell me something about the sea and the ships that cross it, please, in a few words only.",
            },
        ],
        "temperature": 0.7,
        "max_tokens": 100,
    }
    if case.stream:
        request["stream"] = True
    return msgspec.json.encode(request)


# --- figures ---


def figures(rounds: Sequence[Round]) -> tuple[Figure, ...]:
    """The figures of some rounds."""

    def figure(key: str, name: str, unit: str, value: Callable[[Round], float], target: Target | None = None) -> Figure:
        return Figure(key=key, name=name, unit=unit, values=tuple(value(it) for it in rounds), target=target)

    def of(key: str, value: Callable[[Run], float]) -> Callable[[Round], float]:
        return lambda it: value(it[key])

    def ms(key: str, percentile: str) -> Callable[[Round], float]:
        return of(key, lambda run: getattr(run.load, percentile) / 1000)

    def added_ms(key: str, percentile: str) -> Callable[[Round], float]:
        return of(key, lambda run: added_us(run, percentile) / 1000)

    found = []
    for case in PLAIN:
        key, count = case.key, case.connections
        at = f"{count} connection{'s' if count > 1 else ''}"
        rps, cpu_us = of(key, lambda run: run.load.rps), of(key, lambda run: run.cpu_us_per_answer)
        found += [
            figure(f"{key}_rps", f"{at}: requests/s", "/s", rps, Target(">=", 2500) if count == 64 else None),
            figure(f"{key}_cpu_us", f"{at}: CPU a request", "µs", cpu_us, Target("<=", 400) if count == 64 else None),
            figure(f"{key}_p50_ms", f"{at}: p50", "ms", ms(key, "p50")),
            figure(f"{key}_p99_ms", f"{at}: p99", "ms", ms(key, "p99")),
            figure(
                f"{key}_added_p50_ms",
                f"{at}: added p50",
                "ms",
                added_ms(key, "p50"),
                Target("<", 0.8) if count == 1 else None,
            ),
            figure(f"{key}_added_p99_ms", f"{at}: added p99", "ms", added_ms(key, "p99")),
        ]
    first, paced, burst = FIRST_BYTE.key, PACED.key, BURST.key
    paced_us, burst_us = of(paced, lambda run: run.cpu_us_per_event), of(burst, lambda run: run.cpu_us_per_event)
    return (
        *found,
        figure("paced_cpu_us", "32 paced streams: CPU an event", "µs", paced_us, Target("<=", 40)),
        figure("paced_marginal_us", "  of it beyond a plain request", "µs", lambda it: marginal_us(it[paced], it["c16"])),
        figure("burst_cpu_us", "16 streams back to back: CPU an event", "µs", burst_us, Target("<=", 10)),
        figure("burst_marginal_us", "  of it beyond a plain request", "µs", lambda it: marginal_us(it[burst], it["c16"])),
        figure("burst_cpu_stream_us", "  CPU a stream", "µs", of(burst, lambda run: run.cpu_us_per_answer)),
        figure("ttft_p50_ms", "4 streams: added time to first event, p50", "ms", added_ms(first, "ttfb50")),
        figure("ttft_p99_ms", "4 streams: added time to first event, p99", "ms", added_ms(first, "ttfb99")),
    )


def added_us(run: Run, percentile: str) -> float:
    """What the proxy adds to the direct run's percentile."""
    assert run.direct is not None
    return float(getattr(run.load, percentile) - getattr(run.direct, percentile))


def marginal_us(streams: Run, plain: Run) -> float:
    """CPU time of an event, after as much as a plain request at 16 connections costs is taken off each stream."""
    events = max(streams.events_per_answer, 1)
    return (streams.cpu_us_per_answer - plain.cpu_us_per_answer) / events
