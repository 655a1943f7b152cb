"""``TOLLWAY_HOME``: what one installation keeps on disk besides its ledger."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

import msgspec


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """The server at work on this home.  token: an admin's credential for as long as it runs; never shown by ``repr``."""

    pid: int
    url: str
    token: str

    def __repr__(self) -> str:
        return f"Running({self.pid}, {self.url!r})"


class Home:
    """The folder, 0700, and the files in it, 0600.  Made when first used."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Create the folder.  Raises: OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def pepper(self) -> bytes:
        """The secret that API keys are hashed with; made at the first start.  Raises: OSError, ValueError."""
        path = self.path / "pepper"
        with contextlib.suppress(FileExistsError):
            _create(path, secrets.token_bytes(32))
        pepper = path.read_bytes()
        if len(pepper) < 32:
            raise ValueError(f"{path} is damaged: without the pepper that was in it, no stored API key is valid any more")
        return pepper

    def replace(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all, on the disk when it returns.  Raises: OSError; the one before is there then."""
        path = self.path / name
        temporary = path.with_name(f".{name}.{secrets.token_hex(4)}")
        try:
            _write(temporary, content)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def announce(self, running: Running) -> None:
        """Tell this installation's other commands where its server is."""
        path = self.path / "server.json"
        path.unlink(missing_ok=True)
        _create(path, msgspec.json.encode(running))

    def withdraw(self) -> None:
        """The server has stopped."""
        (self.path / "server.json").unlink(missing_ok=True)

    def running(self) -> Running | None:
        """The server that announced itself, if its process still lives."""
        try:
            running = msgspec.json.decode((self.path / "server.json").read_bytes(), type=Running)
            os.kill(running.pid, 0)
        except (OSError, msgspec.DecodeError):
            return None
        return running


def _create(path: Path, content: bytes) -> None:
    """A new file that only its owner can read, whole or not at all.  Raises: FileExistsError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write(temporary, content)
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    """A new file that only its owner can read, on the disk when it returns.  Raises: OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
