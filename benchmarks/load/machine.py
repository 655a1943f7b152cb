"""The machine: its cores, what it is, and what a process on it has used.  Linux by /proc, others (macOS) by ``ps``."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import msgspec

PROC = Path("/proc")
KIB = 1024
MB = 1_000_000


class Cores(msgspec.Struct, frozen=True, kw_only=True):
    """Which core the proxy has to itself, and which the mock upstream and the generator share; ``None``: not pinned.

    note: what to tell the reader.
    """

    proxy: int | None
    load: int | None
    note: str

    def on_proxy(self, command: list[str]) -> list[str]:
        """The command, on the proxy's core."""
        return _pinned(self.proxy, command)

    def on_load(self, command: list[str]) -> list[str]:
        """The command, on the other core."""
        return _pinned(self.load, command)


def choose_cores() -> Cores:
    """The first two cores that this process may use, where ``taskset`` can hold processes to them."""
    if not hasattr(os, "sched_getaffinity") or shutil.which("taskset") is None:
        return Cores(proxy=None, load=None, note="not pinned: there is no taskset here; the figures wander more")
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return Cores(proxy=None, load=None, note="not pinned: there is one core, which the generator shares")
    proxy, load = allowed[:2]
    return Cores(proxy=proxy, load=load, note=f"proxy on core {proxy}, mock upstream and generator on core {load}")


def describe() -> dict[str, str]:
    """What the figures were measured on, and how busy it was."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load average": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def cpu_s(pid: int) -> float:
    """CPU time that a process has used, user and system, all its threads."""
    stat = PROC / str(pid) / "stat"
    if stat.exists():
        return cpu_ticks(stat.read_text()) / os.sysconf("SC_CLK_TCK")
    return ps_time_s(_ps("time", pid))


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    status = PROC / str(pid) / "status"
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * KIB / MB
    return int(_ps("rss", pid)) * KIB / MB


def busy_s(core: int | None) -> float | None:
    """How long a core has been busy since the machine started, with whatever; ``None`` where that is not told."""
    stat = PROC / "stat"
    if core is None or not stat.exists():
        return None
    return busy_ticks(stat.read_text(), core) / os.sysconf("SC_CLK_TCK")


# --- parsing ---


def cpu_ticks(stat: str) -> int:
    """utime + stime out of ``/proc/PID/stat``.  Its second field is the command, which may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def busy_ticks(stat: str, core: int) -> int:
    """Everything but idle and waiting for the disk, out of a core's line in ``/proc/stat``."""
    name = f"cpu{core}"
    fields = next(line.split() for line in stat.splitlines() if line.split()[:1] == [name])
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[1:9])
    return user + nice + system + irq + softirq + steal


def ps_time_s(text: str) -> float:
    """The seconds in what ``ps -o time=`` prints: ``[[days-]hours:]minutes:seconds``, with hundredths on macOS."""
    days, _, clock = text.strip().rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return int(days or 0) * 86_400 + seconds


def _pinned(core: int | None, command: list[str]) -> list[str]:
    return command if core is None else ["taskset", "-c", str(core), *command]


def _processor() -> str:
    file = PROC / "cpuinfo"
    if file.exists():
        for line in file.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        return subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=True
        ).stdout.strip()
    return platform.machine()


def _ps(column: str, pid: int) -> str:
    return subprocess.run(["ps", "-o", f"{column}=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
