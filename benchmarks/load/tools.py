"""The mock upstream and the load generator: two C programs, compiled when they are needed."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

import msgspec

from benchmarks.load.machine import Cores
from benchmarks.load.process import Process

HERE = Path(__file__).parent
BIN = HERE / "bin"
CHAT = "/v1/chat/completions"
BUILD_LIMIT_S = 60
DRAIN_LIMIT_S = 60
_PORT = re.compile(r"^mock: port (\d+)", re.MULTILINE)


class BenchmarkFailed(Exception):
    """There is nothing to report.  The text says why and what to do."""


class Load(msgspec.Struct, frozen=True):
    """What the generator prints.  Latencies in µs; ``all_…`` and ``started`` are of the whole run, warm-up included."""

    ok: int
    bad: int
    badstatus: int
    reconn: int
    all_ok: int
    all_events: int
    started: int
    rps: float
    p50: float
    p99: float
    ttfb50: float
    ttfb99: float
    refused50: float
    refused99: float


def build(folder: Path = BIN) -> None:
    """Compile what is missing in the folder or older than its source.  Raises: BenchmarkFailed."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    folder.mkdir(exist_ok=True)
    shared = HERE / "events.h"
    for name in ("mock", "lg"):
        source, program = HERE / f"{name}.c", folder / name
        changed_s = max(source.stat().st_mtime, shared.stat().st_mtime)
        if program.exists() and program.stat().st_mtime > changed_s:
            continue
        if compiler is None:
            raise BenchmarkFailed(
                "There is no C compiler, and the load generator is written in C. "
                "Debian: apt-get install gcc libc6-dev; macOS: xcode-select --install."
            )
        # Under another name first: a build that is interrupted, or another one beside it, leaves no half a program.
        fresh = folder / f".{name}.{os.getpid()}"
        done = subprocess.run(
            [compiler, "-O2", "-Wall", "-o", str(fresh), str(source)],
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_LIMIT_S,
        )
        if done.returncode:
            raise BenchmarkFailed(f"{source.name} does not compile:\n{done.stderr.strip()}")
        fresh.replace(program)


class _Stats(msgspec.Struct, frozen=True):
    requests: int


class Mock:
    """The mock upstream, on a free port while the context lasts.  What it does is chosen by the path before /v1."""

    def __init__(self, cores: Cores, log: IO[bytes]) -> None:
        self._process = Process("the mock upstream", cores.on_load([str(BIN / "mock"), "0"]), log=log)
        self._asked = 0
        self.port = 0

    def __enter__(self) -> Self:
        self._process.__enter__()
        self.port = int(self._process.said(_PORT, limit_s=10)[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._process.__exit__()

    def base_url(self, path: str) -> str:
        """The base URL at which it behaves as ``path`` says."""
        return f"http://127.0.0.1:{self.port}{path}/v1"

    def served(self) -> int:
        """How many requests it has answered, this question not counted."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/stats")
            stats = msgspec.json.decode(connection.getresponse().read(), type=_Stats)
        finally:
            connection.close()
        self._asked += 1
        return stats.requests - self._asked


class Generator:
    """The load generator, run once for every measurement."""

    def __init__(self, cores: Cores) -> None:
        self._cores = cores

    def run(
        self,
        port: int,
        body: bytes,
        *,
        connections: int,
        seconds: float = 0,
        warm_up_s: float = 0,
        requests: int = 0,
        rate: float = 0,
        path: str = CHAT,
        headers: Mapping[str, str] | None = None,
    ) -> Load:
        """A closed loop for ``seconds`` after the warm-up, or of so many ``requests``.  What it began it also ended.

        rate: requests a second instead of a closed loop, as far as there are connections; late ones count from when they
        should have been sent.
        Raises: BenchmarkFailed.
        """
        command = [str(BIN / "lg"), "-p", str(port), "-u", path, "-c", str(connections), "-B", body.decode(), "-d"]
        command += ["-n", str(requests)] if requests else ["-t", str(seconds), "-w", str(warm_up_s)]
        if rate:
            command += ["-r", str(rate)]
        for name, value in (headers or {}).items():
            command += ["-H", f"{name}: {value}"]
        limit_s = seconds + warm_up_s + requests / 20 + DRAIN_LIMIT_S
        done = subprocess.run(self._cores.on_load(command), capture_output=True, text=True, check=False, timeout=limit_s)
        if done.returncode:
            raise BenchmarkFailed(f"The load generator stopped: {done.stderr.strip() or done.returncode}")
        return msgspec.json.decode(done.stdout, type=Load)
