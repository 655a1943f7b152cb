"""The files of coding agents: found below their folders, read on where they were left, never changed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import BinaryIO

import msgspec

from ledger.adapters.usage_logs import claude_code, codex, copilot, cursor, gemini_cli, otel_genai
from ledger.adapters.usage_logs.reading import Parser, Reading
from ledger.records import AgentUsage, LogCursor

CHUNK_BYTES = 1 << 20
LINE_MAX_BYTES = 32 << 20
DOCUMENT_MAX_BYTES = 64 << 20
FILES_MAX = 200_000
DEPTH_MAX = 12
EDGE_BYTES = 1024

Documents = Callable[[bytes, Reading], Iterator[AgentUsage]]


class Format(msgspec.Struct, frozen=True):
    """How an agent's logs are found and read.

    home: their folder below the user's; empty: there is none, and ``--root`` names it.  variable: of the environment, names
    the agent's folder instead of ``home``'s first part.  lines, documents: what reads files by their suffix, line by line or
    whole.  needle: what is in every line that tells something; empty: any line may.  under: the name of a folder that they
    are below.
    """

    home: str
    variable: str = ""
    prefix: str = ""
    lines: Mapping[str, Parser] = {}
    needle: bytes = b""
    documents: Mapping[str, Documents] = {}
    under: str = ""


FORMATS: dict[str, Format] = {
    claude_code.AGENT: Format(
        home=".claude/projects", variable="CLAUDE_CONFIG_DIR", lines={".jsonl": claude_code.parse}, needle=claude_code.NEEDLE
    ),
    codex.AGENT: Format(home=".codex/sessions", variable="CODEX_HOME", prefix="rollout-", lines={".jsonl": codex.parse}),
    gemini_cli.AGENT: Format(
        home=".gemini/tmp",
        under="chats",
        lines={".jsonl": gemini_cli.parse},
        documents={".json": gemini_cli.parse_document},
    ),
    copilot.AGENT: Format(home=".copilot/session-state", variable="COPILOT_HOME", lines={".jsonl": copilot.parse}),
    cursor.AGENT: Format(home="", documents={".csv": cursor.parse_document}),
    otel_genai.AGENT: Format(home="", lines={".jsonl": otel_genai.parse, ".json": otel_genai.parse}),
}
"""What reads an agent's logs, by its name."""


class LogFile(msgspec.Struct, frozen=True):
    """A file that may have news.  path: absolute.  below: its path below the root."""

    agent: str
    path: str
    below: tuple[str, ...]
    size_bytes: int
    modified_ns: int

    @property
    def file_hash(self) -> bytes:
        return _hash(os.fsencode(self.path))


def root_of(agent: str, environ: Mapping[str, str], home: Path) -> Path | None:
    """Where an agent keeps its logs; ``None`` where it has no such place."""
    form = FORMATS[agent]
    if not form.home:
        return None
    if form.variable and environ.get(form.variable):
        return Path(environ[form.variable], *form.home.split("/")[1:])
    return home / form.home


def files(agent: str, root: Path, skipped: dict[str, int]) -> Iterator[LogFile]:
    """The agent's logs below a folder, or the one that ``root`` is.  Symbolic links below it are not followed."""
    form = FORMATS[agent]
    base = root.resolve()
    if base.is_file():
        found = _file(agent, str(base), (base.name,))
        if found is not None:
            yield found
        return
    count = 0
    pending: list[tuple[str, tuple[str, ...]]] = [(str(base), ())]
    while pending:
        folder, below = pending.pop()
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda it: it.name)
        except OSError:
            _count(skipped, "unreadable_folder" if below else "no_folder")
            continue
        for entry in inside:
            place = (*below, entry.name)
            if entry.is_symlink():
                _count(skipped, "symbolic_link")
            elif entry.is_dir(follow_symlinks=False):
                if len(place) <= DEPTH_MAX:
                    pending.append((entry.path, place))
            elif _wanted(form, place) and (log := _file(agent, entry.path, place)) is not None:
                count += 1
                if count > FILES_MAX:
                    _count(skipped, "too_many_files")
                    return
                yield log


def _wanted(form: Format, place: tuple[str, ...]) -> bool:
    name = place[-1]
    suffix = PurePath(name).suffix
    return (
        (suffix in form.lines or suffix in form.documents)
        and name.startswith(form.prefix)
        and (not form.under or form.under in place[:-1])
    )


def _file(agent: str, path: str, below: tuple[str, ...]) -> LogFile | None:
    try:
        found = Path(path).lstat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return LogFile(agent, path, below, found.st_size, found.st_mtime_ns)


def is_unchanged(file: LogFile, before: LogCursor | None, /) -> bool:
    """Whether a file is as it was left; not opened to find out."""
    return before is not None and (before.size_bytes, before.modified_ns) == (file.size_bytes, file.modified_ns)


class Reader:
    """One file's news since its cursor.  ``events`` yields them once; afterwards ``cursor`` says how far they go.

    Whatever the file holds, nothing is raised: what is not understood is in ``reading.skipped``.
    """

    def __init__(self, file: LogFile, before: LogCursor | None, *, paths: bool = False) -> None:
        self.file = file
        self.cursor: LogCursor | None = before
        self.reading = Reading(name=Path(file.path).stem, folder=_folder(file), paths=paths)
        self._before = before

    @property
    def unchanged(self) -> bool:
        """Whether the file is as it was left."""
        return is_unchanged(self.file, self._before)

    def events(self) -> Iterator[AgentUsage]:
        """What is new in the file, as far as it is written whole."""
        form = FORMATS[self.file.agent]
        suffix = PurePath(self.file.path).suffix
        try:
            with _open(self.file.path) as opened:
                if suffix in form.documents:
                    yield from self._document(opened, form.documents[suffix])
                elif suffix in form.lines:
                    yield from self._lines(opened, form.lines[suffix], form.needle)
                else:
                    self.reading.skip("unknown_file")
        except OSError:
            self.reading.skip("unreadable_file")

    def _document(self, opened: BinaryIO, parse: Documents) -> Iterator[AgentUsage]:
        if self.file.size_bytes > DOCUMENT_MAX_BYTES:
            self.reading.skip("file_too_large")
        else:
            data = opened.read(DOCUMENT_MAX_BYTES + 1)
            yield from parse(data, self.reading)
        self._note(0, b"", b"")

    def _lines(self, opened: BinaryIO, parse: Parser, needle: bytes) -> Iterator[AgentUsage]:
        offset = self._resume(opened)
        rest = b""
        too_long = False
        opened.seek(offset)
        # No further than the file was when it was looked at: an agent that never stops writing does not hold us.
        left = self.file.size_bytes - offset
        while left > 0 and (chunk := opened.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            first, last = chunk.find(b"\n"), chunk.rfind(b"\n")
            if last < 0:
                rest += chunk
                if len(rest) > LINE_MAX_BYTES:
                    offset += len(rest)
                    rest, too_long = b"", True
                continue
            offset += len(rest) + last + 1
            if too_long:  # what is left of it
                too_long = False
                self.reading.skip("line_too_long")
            else:
                yield from parse([rest + chunk[:first]], self.reading)
            rest = chunk[last + 1 :]
            yield from parse(_lines(chunk, first + 1, last, needle), self.reading)
        if too_long:
            self.reading.skip("line_too_long")
        state = self.reading.save()
        self._note(offset, state, _edges(opened, offset))
        if rest and _is_whole(rest) and not too_long:
            # The last line of a file that nobody ends any more; it is read again if something follows.
            yield from parse([rest], self.reading)

    def _resume(self, opened: BinaryIO) -> int:
        """Where to go on: where the file was left, if what stands before that is what stood there then."""
        before = self._before
        if before is None or not before.offset_bytes:
            return 0
        if before.offset_bytes > self.file.size_bytes or _edges(opened, before.offset_bytes) != before.content_hash:
            self.reading.skip("rewritten_file")
            return 0
        self.reading.restore(before.state)
        return before.offset_bytes

    def _note(self, offset: int, state: bytes, content: bytes) -> None:
        self.cursor = LogCursor(
            file_hash=self.file.file_hash,
            agent=self.file.agent,
            size_bytes=self.file.size_bytes,
            modified_ns=self.file.modified_ns,
            offset_bytes=offset,
            content_hash=content,
            state=state,
        )


def _lines(data: bytes, start: int, end: int, needle: bytes) -> list[bytes]:
    """The lines in a part of the data; only those that have the needle, if there is one: most have not, and are not copied."""
    if start > end:
        return []
    if not needle:
        return data[start:end].split(b"\n")
    found = []
    while (at := data.find(needle, start, end)) >= 0:
        begin, start = data.rfind(b"\n", start, at) + 1 or start, data.find(b"\n", at, end)
        if start < 0:
            start = end
        found.append(data[begin:start])
    return found


def _open(path: str) -> BinaryIO:
    # Not through a link that took the file's place meanwhile; and a pipe of that name does not hold us.
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK), "rb")


def _is_whole(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _edges(opened: BinaryIO, offset: int) -> bytes:
    """A hash of the first and the last bytes before ``offset``."""
    length = min(EDGE_BYTES, offset)
    opened.seek(0)
    first = opened.read(length)
    opened.seek(offset - length)
    return _hash(first + opened.read(length))


def _folder(file: LogFile) -> str:
    """The folder that the path names: above Gemini's ``chats``, else the one that the file is in."""
    under = FORMATS[file.agent].under
    if under and under in file.below:
        place = file.below.index(under)
        return file.below[place - 1] if place else ""
    return file.below[-2] if len(file.below) > 1 else ""


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _count(counts: dict[str, int], reason: str) -> None:
    counts[reason] = counts.get(reason, 0) + 1
