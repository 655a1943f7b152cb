"""What OpenAI keeps: files and batches, as its objects tell of them.  Looked into, never rewritten.

Source: platform.openai.com/docs/api-reference/files and …/batch, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from providers.keeping import Answered, Keeping, reader
from providers.openai import request
from providers.provider import HttpRequest, Upstream

ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
"""The states in which nothing more happens to a batch."""


class FileObject(msgspec.Struct, frozen=True):
    """A file.  Times in seconds since the epoch; ``expires_at``: ``None``: it is kept."""

    id: str
    purpose: str = ""
    bytes: int | None = None
    created_at: float | None = None
    expires_at: float | None = None

    @property
    def expires_s(self) -> float | None:
        """When it will be gone."""
        return self.expires_at


class BatchObject(msgspec.Struct, frozen=True):
    """A batch.  usage: of all of it, where the provider adds it up itself.

    output_file_id, error_file_id: where the answers are, and what was refused; ``None``: nowhere yet.
    """

    id: str
    status: str = ""
    endpoint: str = ""
    input_file_id: str = ""
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: float | None = None
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in ENDED

    @property
    def made(self) -> tuple[str, ...]:
        """The ids of the files that it has made so far."""
        return tuple(it for it in (self.output_file_id, self.error_file_id) if it)

    @property
    def answers(self) -> str:
        """Where its answers are; empty: nowhere yet."""
        return f"files/{self.output_file_id}/content" if self.output_file_id else ""

    @property
    def requests(self) -> int:
        """Its file has them."""
        return 0

    @property
    def created_s(self) -> float:
        """When it was made."""
        return self.created_at or 0.0


class _Page(msgspec.Struct, frozen=True):
    data: list[BatchObject]
    has_more: bool = False


file_object = reader(FileObject, "file")
batch_object = reader(BatchObject, "batch")
_page = reader(_Page, "list")


def batch_page(body: bytes) -> tuple[list[BatchObject], bool]:
    """One page of a list of batches, and whether there are more.  Raises: InvalidResponse."""
    page = _page(body)
    return page.data, page.has_more


class _Response(msgspec.Struct, frozen=True):
    status_code: int = 0
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct, frozen=True):
    response: _Response | None = None


_line = msgspec.json.Decoder(_Line).decode


def answered(line: bytes) -> Answered | None:
    """What a line of an output file says; ``None``: it is no such line."""
    try:
        read = _line(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if read.response is None:
        return Answered(None, b"")
    return Answered(read.response.status_code, bytes(read.response.body))


class _Asked(msgspec.Struct, frozen=True):
    url: str = ""
    body: msgspec.Raw = msgspec.Raw(b"null")


_asked = msgspec.json.Decoder(_Asked).decode


def asked(line: bytes) -> tuple[str, bytes] | None:
    """The URL and the body that a line of an input file asks for; ``None``: it is no such line."""
    try:
        read = _asked(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    body = bytes(read.body)
    return (read.url, body) if body != b"null" else None


class Lines:
    """Cuts what comes in pieces into lines.  A line that is longer than ``most_bytes`` is passed over and counted."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._rest: list[bytes] = []
        self._size = 0
        self.too_long = 0

    def feed(self, data: bytes) -> Sequence[bytes]:
        """The lines that ``data`` ended, without their ends; empty ones are left out."""
        *ended, rest = data.split(b"\n")
        found = []
        for part in ended:
            self._add(part)
            if line := self.end():
                found.append(line)
        self._add(rest)
        return found

    def end(self) -> bytes:
        """What has come of the line; it is over."""
        line = b"".join(self._rest) if self._size <= self._most_bytes else b""
        self.too_long += self._size > self._most_bytes
        self._rest, self._size = [], 0
        return line.strip()

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._most_bytes:
            self._rest = []
        elif part:
            self._rest.append(part)


def listed(objects: Sequence[str], *, has_more: bool) -> bytes:
    """A page of a list.  objects: each in JSON.  Source: as above."""
    rows = [msgspec.Raw(it.encode()) for it in objects]
    ids = [file_object(it).id for it in objects]
    page: Mapping[str, Any] = {
        "object": "list",
        "data": rows,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": has_more,
    }
    return msgspec.json.encode(page)


def _about(
    method: str,
    path: str,
    *,
    upstream: Upstream,
    request_id: str,
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
) -> HttpRequest:
    del headers  # none of a client's says anything here
    return request.about(method, path, upstream=upstream, request_id=request_id, body=body)


KEEPING: Final = Keeping(
    protocol="openai",
    files="files",
    batches="batches",
    after="after",
    about=_about,
    file=file_object,
    batch=batch_object,
    page=batch_page,
    answered=answered,
)
