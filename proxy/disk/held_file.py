"""The file in which it is remembered who holds what, so that conversations, files and batches outlive a restart."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

LOOK_S: Final = 60.0
"""Between two looks at how much of a file is out of date."""
SPARE_LINES: Final = 10_000
"""So many lines may be out of date, about 1 MB, before a file is written anew."""

log = structlog.get_logger("tollway.held")


class HeldFile:
    """Lines that are added one at a time, each with one write: what was added outlives the process, not the machine's power.

    path: made when it is first needed, 0600.  A line that cannot be written is logged once, and missed after a restart.
    spare_lines: how many may be out of date before ``keep_small`` writes it anew.
    """

    def __init__(self, path: Path, *, spare_lines: int = SPARE_LINES) -> None:
        self._path = path
        self._spare_lines = spare_lines
        self._count = 0
        self._since: list[bytes] | None = None
        """What is added while the file is written anew."""
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
        try:
            self._count = self._written(lines)
            self._temporary.replace(self._path)
        except OSError as error:
            self._complain(error)

    async def keep_small(
        self, live: Callable[[], int], lines: Callable[[], Iterable[bytes]], *, look_s: float = LOOK_S
    ) -> None:
        """Look now and then, and write the file anew when more of it is out of date than not; goes on until it is cancelled.

        live: how many lines say all there is to say.  lines: these lines; what they are made of is copied when it is called,
        and they are made in a thread.
        """
        while True:
            await asyncio.sleep(look_s)
            count = live()
            if self._count > 2 * count + self._spare_lines:
                await self._compact(lines())

    async def _compact(self, lines: Iterable[bytes]) -> None:
        """Write it anew beside the requests.  Until the new one stands in its place the old one is whole, and goes on."""
        since: list[bytes] = []
        self._since = since
        try:
            count = await asyncio.to_thread(self._written, lines)
            # From here to its end nothing else is added: what came meanwhile is in both.
            with self._temporary.open("ab") as file:
                file.writelines(line + b"\n" for line in since)
            self._temporary.replace(self._path)
        except OSError as error:
            self._complain(error)
            return
        finally:
            self._since = None
        log.info("holdings_compacted", lines_before=self._count, lines=count + len(since))
        self._count = count + len(since)
        self.close()

    @property
    def _temporary(self) -> Path:
        return self._path.with_suffix(".new")

    def _written(self, lines: Iterable[bytes]) -> int:
        """How many lines the file has that will stand in this one's place, and that outlive the machine's power.

        Raises: OSError.
        """
        self._temporary.unlink(missing_ok=True)
        count = 0
        with os.fdopen(os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for count, line in enumerate(lines, 1):  # noqa: B007  # the last count is how many there were
                file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return count

    def add(self, line: bytes) -> None:
        """One more line."""
        if self._since is not None:
            self._since.append(line)
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
        self._count += 1
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
