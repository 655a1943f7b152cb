"""A process that this benchmark starts, and that it alone ends."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

STOP_LIMIT_S = 40
POLL_S = 0.002


class NotRunning(Exception):
    """It ended by itself, or does not come up.  The text has the end of its output."""


class Process:
    """Runs as long as the context lasts; then SIGTERM, and SIGKILL if that is not enough.

    name: what it is called in messages.   log: a file of its own, which takes its output.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: IO[bytes],
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._name = name
        self._command = command
        self._env = env
        self._folder = folder
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.started_s = 0.0

    def __enter__(self) -> Self:
        self.started_s = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            env=None if self._env is None else dict(self._env),
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int:
        """Its id.  taskset, where used, has become the program itself."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has printed."""
        return Path(self._log.name).read_text(encoding="utf-8", errors="replace")

    def said(self, pattern: re.Pattern[str], *, limit_s: float) -> re.Match[str]:
        """Wait until its output has the pattern.  Raises: NotRunning."""
        deadline_s = time.monotonic() + limit_s
        while (found := pattern.search(self.output)) is None:
            self.check(deadline_s)
        return found

    def check(self, deadline_s: float) -> None:
        """Pause for a moment.  Raises: NotRunning, when it has ended or the deadline (monotonic) has passed."""
        assert self._process is not None
        code = self._process.poll()
        if code is not None or time.monotonic() > deadline_s:
            what = "is not ready in time" if code is None else f"ended with code {code}"
            raise NotRunning(f"{self._name} {what}. The end of its output:\n{self.output[-2000:]}")
        time.sleep(POLL_S)


def clean_environment(home: Path) -> dict[str, str]:
    """An environment that holds nothing of the caller's: no provider's key, no setting of Python's, another home."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
    }
