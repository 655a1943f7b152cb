"""What refreshing remembers: one folder of files that only their owner reads, each written whole or not at all.

``state.json``       what is known of each source, and what was put aside
``NAME.payload``     the last payload of a source that was accepted: last known good
``ID.aside``         a payload that looked wrong
``ID.import``        an envelope of a harness that was taken in
``lock``             one process refreshes at a time
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ledger.errors import LedgerUnavailable
from ledger.refresh.schedule import Standing

ASIDE_MAX = 50
IMPORTS_MAX = 5_000
STATE_MAX_BYTES = 4 << 20
_ID = re.compile(r"[0-9a-f]{16}")


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """A payload that looked wrong.  id: of its content and its source.  reasons: a sentence each.  rows: its subjects."""

    id: str
    source: str
    at_us: int
    reasons: tuple[str, ...]
    rows: int


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """A harness's file that was taken in."""

    form: str
    at_us: int
    payload: bytes


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of ``state.json``."""

    sources: dict[str, Standing] = {}
    aside: tuple[Aside, ...] = ()


class Folder:
    """The folder.  Its methods do I/O; they are called in a thread.  Each may raise LedgerUnavailable."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock.  Raises: LedgerUnavailable, when another process refreshes."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        except OSError as error:
            raise LedgerUnavailable(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise LedgerUnavailable("another process is refreshing the ledger's sources") from error
        finally:
            os.close(descriptor)

    def state(self) -> State:
        """What was remembered; nothing, where the file is not there or cannot be read: then every source is due."""
        try:
            content = (self.path / "state.json").read_bytes()
            return msgspec.json.decode(content[:STATE_MAX_BYTES], type=State)
        except (OSError, msgspec.DecodeError, UnicodeError):
            return State()

    def remember(self, state: State) -> None:
        """Write ``state.json``."""
        self._write("state.json", msgspec.json.format(msgspec.json.encode(state), indent=1))

    def payload(self, source: str) -> bytes | None:
        """The last payload of a source that was accepted."""
        return self._read(f"{_name(source)}.payload")

    def keep(self, source: str, payload: bytes) -> None:
        """Keep an accepted payload as the last known good one."""
        self._write(f"{_name(source)}.payload", payload)

    def put_aside(self, aside: Aside, payload: bytes) -> None:
        """Keep a payload that looked wrong."""
        self._write(f"{aside.id}.aside", payload)

    def aside(self, aside_id: str) -> bytes | None:
        """A payload that was put aside."""
        return self._read(f"{aside_id}.aside") if _ID.fullmatch(aside_id) else None

    def forget(self, aside_id: str) -> None:
        """Remove a payload that was put aside."""
        if _ID.fullmatch(aside_id):
            (self.path / f"{aside_id}.aside").unlink(missing_ok=True)

    def keep_import(self, imported: Imported) -> str:
        """Keep a harness's file; its id, by its content.  The same again changes nothing.

        Raises: LedgerUnavailable, also when there are too many.
        """
        import_id = digest("import", imported.payload)
        if (self.path / f"{import_id}.import").exists():
            return import_id
        if sum(1 for _ in self.path.glob("*.import")) >= IMPORTS_MAX:
            raise LedgerUnavailable(f"there are {IMPORTS_MAX} imported files already; remove old ones from {self.path}")
        self._write(f"{import_id}.import", msgspec.msgpack.encode(imported))
        return import_id

    def imports(self) -> Iterator[Imported]:
        """Every file of a harness that was taken in, by its time and id; what cannot be read is left out."""
        found = []
        for path in self.path.glob("*.import"):
            try:
                found.append((path.name, msgspec.msgpack.decode(path.read_bytes(), type=Imported)))
            except (OSError, msgspec.DecodeError):
                continue
        yield from (it for _, it in sorted(found, key=lambda pair: (pair[1].at_us, pair[0])))

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except OSError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        """Whole or not at all, on the disk when it returns."""
        temporary = self.path / f".{name}.{secrets.token_hex(4)}"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise LedgerUnavailable(f"{self.path / name} cannot be written: {error.strerror}") from error


def digest(source: str, payload: bytes) -> str:
    """A name for a payload: 16 hexadecimal digits of its hash and its source's."""
    return hashlib.sha256(source.encode() + b"\0" + payload).hexdigest()[:16]


def changed(state: State, standing: Mapping[str, Standing], aside: tuple[Aside, ...]) -> State:
    """The state with what has become of some sources."""
    return State(sources={**state.sources, **standing}, aside=aside[-ASIDE_MAX:])


def _name(source: str) -> str:
    """A source's name is one of a literal table; here it only must not leave the folder."""
    return re.sub(r"[^a-z0-9_-]", "_", source)
