"""Programs of ours as child processes: one line in, one line out, and they end when their pipe does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

# What an interpreter needs to find itself, its packages and the certificates that are trusted here; the keys in the
# environment are not for somebody else's code.
_ENVIRONMENT: Final = (
    "DYLD_LIBRARY_PATH",
    "HOME",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONUSERBASE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "SYSTEMROOT",
    "TEMP",
    "TMPDIR",
    "USERPROFILE",
)
Process = subprocess.Popen[str]
END_S: Final = 1.0
KILL_S: Final = 5.0


class ChildFailed(Exception):
    """The program did not come up.  The text says why."""


def spawn(program: Path, arguments: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Process:
    """Run one of our programs.  environment: what it has besides what an interpreter needs."""
    # -P, and by its path: neither the current folder nor this package's siblings may stand in for an installed module.
    command = [sys.executable, "-P", str(program), *arguments]
    known = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # No death signal of Linux's beside the pipe: it fires when the *thread* that started the child ends.
    return subprocess.Popen(  # noqa: S603  # the interpreter, our own file and what its caller made
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**known, **(environment or {})},
        text=True,
    )


def handshake(process: Process, line: str, timeout_s: float) -> str:
    """Tell it a line and wait for ``ready ADDRESS``: the address.  Raises: ChildFailed."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101  # both were asked for
    # A pipe has no read deadline; a killed child ends the read.
    deadline = threading.Timer(timeout_s, process.kill)
    deadline.start()
    try:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    except (OSError, ValueError):  # the child is gone, or its pipe was closed
        answer = ""
    finally:
        deadline.cancel()
    word, _, rest = answer.strip().partition(" ")
    if word == "ready":
        return rest
    if word == "failed":
        raise ChildFailed(rest)
    process.kill()
    raise ChildFailed(f"its process ended before it was ready (exit status {process.wait()})")


def end(process: Process) -> None:
    """Close the pipe, which ends the child; kill it if it does not listen."""
    _close(process.stdin)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(KILL_S)
    # Last: a thread that still reads from it holds its lock until the child is gone.
    _close(process.stdout)


def _close(pipe: IO[str] | None) -> None:
    if pipe is not None:
        # What is left in its buffer has no reader any more.
        with contextlib.suppress(OSError):
            pipe.close()
