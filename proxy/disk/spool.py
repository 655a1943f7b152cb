"""Bodies that are too large to be held: a little of each in memory, the rest in a file that has no name.

What is written here is read again until it is closed; then nothing is left of it, also when the process is killed.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from proxy.errors import Overloaded

MEMORY_BYTES = 1024 * 1024
"""Of one body; a smaller one has no file."""
PIECE_BYTES = 256 * 1024
RETRY_AFTER_S = 5
PREFIX = ".upload."

log = structlog.get_logger("tollway.spool")


class SpoolLimits(msgspec.Struct, frozen=True, kw_only=True):
    """count_max: bodies at once.  total_max_bytes: of all their files together."""

    count_max: int
    total_max_bytes: int


class Spools:
    """Room for bodies.  folder: where their files are; it exists."""

    def __init__(self, folder: Path, limits: SpoolLimits) -> None:
        self._folder = folder
        self._limits = limits
        self.count = 0
        """How many there are."""
        self.file_bytes = 0
        """How much their files hold."""

    def sweep(self) -> None:
        """Remove what a process left that was killed at the wrong moment, where files cannot be made without a name."""
        for path in self._folder.glob(f"{PREFIX}*"):
            path.unlink(missing_ok=True)

    def open(self) -> Spool:
        """Room for one body.  Raises: Overloaded."""
        if self.count >= self._limits.count_max:
            raise Overloaded("Too many uploads are under way.", retry_after_s=RETRY_AFTER_S)
        self.count += 1
        return Spool(self)

    def grow(self, size: int) -> None:
        """Take room in the files.  Raises: Overloaded."""
        if self.file_bytes + size > self._limits.total_max_bytes:
            raise Overloaded("The uploads under way leave no room for this one.", retry_after_s=RETRY_AFTER_S)
        self.file_bytes += size

    def shrink(self, size: int) -> None:
        """A body has gone, of which so much was in a file."""
        self.count -= 1
        self.file_bytes -= size

    def file(self) -> int:
        """The descriptor of a new file that nobody else can open, and that is gone when it is closed.  Raises: OSError."""
        flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
        if hasattr(os, "O_TMPFILE"):
            # Not every file system has such files.
            with suppress(OSError):
                return os.open(self._folder, flags | os.O_TMPFILE, 0o600)
        path = self._folder / f"{PREFIX}{secrets.token_hex(8)}"
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        path.unlink()
        return descriptor


class Spool:
    """One body: written once from its beginning, then read wherever and as often as one likes.

    Disks are slow at times, so files are written and read in threads; one that is closed meanwhile is closed after that.
    """

    def __init__(self, spools: Spools) -> None:
        self._spools = spools
        self._held = bytearray()
        self._descriptor = -1
        self._file_size = 0
        self._closed = False
        # A descriptor that is closed under a thread's hands may be somebody's socket by then.
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """How much was written."""
        return self._file_size + len(self._held)

    @property
    def in_memory(self) -> bool:
        """Whether all of it is."""
        return self._file_size == 0

    async def write(self, data: bytes) -> None:
        """Add to it.  Raises: Overloaded, if there is no room; then it is to be closed."""
        self._held += data
        if len(self._held) <= MEMORY_BYTES:
            return
        moved, self._held = self._held, bytearray()
        self._spools.grow(len(moved))
        at, self._file_size = self._file_size, self._file_size + len(moved)
        try:
            await asyncio.to_thread(self._write, moved, at)
        except OSError as error:
            log.error("upload_not_spooled", bytes=self._file_size, error=error.strerror)  # noqa: TRY400  # a traceback has its bytes
            raise Overloaded("There is no room for this upload.", retry_after_s=RETRY_AFTER_S) from error

    async def read(self, at: int, size: int) -> bytes:
        """So much of it, or what there is of that; at most 256 KiB.  Raises: OSError; ValueError, if it is closed."""
        if self._closed:
            raise ValueError("the spool is closed")
        size = min(size, PIECE_BYTES)
        if at >= self._file_size:
            at -= self._file_size
            return bytes(self._held[at : at + size])
        return await asyncio.to_thread(self._read, at, min(size, self._file_size - at))

    def held(self) -> bytes:
        """All of it, where it is all in memory."""
        return bytes(self._held)

    def close(self) -> None:
        """It is needed no longer.  A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._spools.shrink(self._file_size)
        self._held = bytearray()
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _write(self, data: bytearray, at: int) -> None:
        with self._lock:
            if self._closed:
                return
            if self._descriptor < 0:
                self._descriptor = self._spools.file()
            left = memoryview(data)
            while left:
                written = os.pwrite(self._descriptor, left, at)
                left, at = left[written:], at + written

    def _read(self, at: int, size: int) -> bytes:
        with self._lock:
            if self._descriptor < 0:
                raise ValueError("the spool is closed")
            return os.pread(self._descriptor, size, at)
