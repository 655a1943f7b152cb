"""The file in which it is remembered who holds what, so that conversations, files and batches outlive a restart."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger("tollway.held")


class HeldFile:
    """Lines that are added one at a time, each with one write: what was added outlives the process, not the machine's power.

    path: made when it is first needed, 0600.  A line that cannot be written is logged once, and missed after a restart.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._complained = False

    def lines(self) -> list[bytes]:
        """What was added before; nothing, if there is no such file or it cannot be read."""
        try:
            return self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            self._complain(error)
            return []

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Begin anew with these lines."""
        self.close()
        temporary = self._path.with_suffix(".new")
        try:
            temporary.unlink(missing_ok=True)
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.writelines(line + b"\n" for line in lines)
            temporary.replace(self._path)
        except OSError as error:
            self._complain(error)

    def add(self, line: bytes) -> None:
        """One more line."""
        try:
            self._write(line)
        except OSError as error:
            self._complain(error)

    def keep(self, line: bytes) -> bool:
        """One more line, that outlives the machine's power too; ``False``: it cannot be kept.  It waits for the disk."""
        try:
            os.fsync(self._write(line))
        except OSError as error:
            self._complain(error)
            return False
        return True

    def _write(self, line: bytes) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        # Half a line, of a disk that was full, does not spoil the next one.
        os.write(self._descriptor, b"\n" + line + b"\n" if self._complained else line + b"\n")
        return self._descriptor

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            log.warning("holdings_not_remembered", reason=error.strerror)
