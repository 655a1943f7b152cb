"""Forms (multipart/form-data) read while they pass: where each part stands, what the small fields say, nothing of the files.

Whoever reads a form otherwise than the upstream does can be made to check one request and forward another.  So this reader is
strict: what two parsers could read differently is refused, and the bytes themselves are sent on as they came.
Sources: RFC 7578; RFC 2046, section 5.1; WHATWG HTML, "Multipart form data"; read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from hashlib import blake2b
from typing import Any, Final

import msgspec

PARTS_MAX: Final = 64
PART_HEAD_MAX_BYTES: Final = 8 * 1024
FIELD_MAX_BYTES: Final = 256 * 1024
"""Of one field that is no file, and of all of them: OpenAI's longest prompt for a picture has 32,000 characters."""
DIGEST_BYTES: Final = 16


class MalformedForm(Exception):
    """The bytes are not a form, or could be read as two different ones.

    field: the one it is about, if that is known.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Part(msgspec.Struct, kw_only=True):
    """One part.  start, end: where in the body its value stands; ``end`` is -1 until it is whole.

    filename: what the client calls the file; ``None``: it is a field.  text: a field's value; of a file nothing.
    digest: of a file's bytes, once it is whole, where digests were asked for.
    """

    name: str
    start: int
    filename: str | None = None
    content_type: str = ""
    end: int = -1
    text: str = ""
    digest: bytes = b""

    @property
    def is_file(self) -> bool:
        """Whether it has a file's name, however that is written."""
        return self.filename is not None

    @property
    def size_bytes(self) -> int:
        """Of its value."""
        return self.end - self.start


class _At(Enum):
    """Where the reader stands."""

    BEGINNING = auto()  # before the first boundary
    HEAD = auto()
    VALUE = auto()
    AFTER = auto()  # right behind a boundary
    END = auto()  # behind the last one


class Reader:
    """Reads a form piece by piece; any split of its bytes gives the same parts.  About 0.4 ms a megabyte, 1.8 with digests.

    Never holds more than a field's bytes or a part's head.
    """

    def __init__(self, boundary: bytes, *, digests: bool = False) -> None:
        self._boundary = b"--" + boundary
        self._digests = digests
        self._at = _At.BEGINNING
        self._buffer = b""
        self._base = 0
        self._searched = 0
        self._open: Part | None = None
        self._value: list[bytes] = []
        self._fields_bytes = 0
        self._hash: Any = None
        self.parts: list[Part] = []
        """Those whose head was read; the last one may not be whole."""
        self.size_bytes = 0
        """How much was fed."""

    @property
    def in_file(self) -> bool:
        """Whether it stands in a file's bytes."""
        return self._open is not None and self._open.is_file

    @property
    def done(self) -> bool:
        """Whether the last boundary was read."""
        return self._at is _At.END

    def fields(self) -> Iterator[Part]:
        """The whole parts that are no files."""
        return (part for part in self.parts if not part.is_file and part.end >= 0)

    def feed(self, chunk: bytes) -> None:
        """Read on.  Raises: MalformedForm; then it is over."""
        self.size_bytes += len(chunk)
        self._buffer = self._buffer + chunk if self._buffer else chunk
        while self._STEPS[self._at](self):
            pass

    def finish(self) -> None:
        """There is no more.  Raises: MalformedForm, if the last boundary is missing."""
        if self._at is not _At.END or self._buffer not in (b"", b"\r\n"):
            raise MalformedForm("The form ends before its last boundary.")

    # --- steps: whether there may be another one with what is here -------------------------------------------------------

    def _beginning(self) -> bool:
        if len(self._buffer) < len(self._boundary):
            if not self._boundary.startswith(self._buffer):
                raise MalformedForm(_NO_BOUNDARY)
            return False
        if not self._buffer.startswith(self._boundary):
            raise MalformedForm(_NO_BOUNDARY)
        self._drop(len(self._boundary))
        self._at = _At.AFTER
        return True

    def _after(self) -> bool:
        if len(self._buffer) < 2:
            if self._buffer and self._buffer not in (b"\r", b"-"):
                raise MalformedForm(_BAD_BOUNDARY)
            return False
        mark = self._buffer[:2]
        if mark == b"--":
            self._at = _At.END
        elif mark == b"\r\n":
            if len(self.parts) >= PARTS_MAX:
                raise MalformedForm(f"The form has more than {PARTS_MAX} parts.")
            self._at = _At.HEAD
        else:
            raise MalformedForm(_BAD_BOUNDARY)
        self._drop(2)
        return True

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", max(self._searched - 3, 0), PART_HEAD_MAX_BYTES + 4)
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched > PART_HEAD_MAX_BYTES:
                raise MalformedForm(f"The head of a part is larger than {PART_HEAD_MAX_BYTES:,} bytes.")
            return False
        part = _part(self._buffer[:end], self._base + end + 4)
        self._drop(end + 4)
        self.parts.append(part)
        self._open = part
        self._value = []
        self._hash = blake2b(digest_size=DIGEST_BYTES) if self._digests and part.is_file else None
        self._at = _At.VALUE
        return True

    def _in_value(self) -> bool:
        part = self._open
        assert part is not None  # noqa: S101  # a value is always some part's
        found = self._buffer.find(self._boundary)
        if found < 0:
            # What may be the beginning of a boundary, and of the line before it, waits for the next piece.
            safe = len(self._buffer) - len(self._boundary) - 1
            if safe > 0:
                self._take(part, safe)
            return False
        end = found - 2
        if end < 0 or self._buffer[end:found] != b"\r\n":
            # To parsers that take a bare line feed for the end of a line it may be one.
            raise MalformedForm("The boundary stands in a part without a line of its own.", field=part.name)
        self._take(part, end)
        part.end = self._base
        if self._hash is not None:
            part.digest = self._hash.digest()
        elif not part.is_file:
            part.text = _text(part, b"".join(self._value))
        self._open = None
        self._value = []
        self._drop(2 + len(self._boundary))
        self._at = _At.AFTER
        return True

    def _behind(self) -> bool:
        if not b"\r\n".startswith(self._buffer):
            raise MalformedForm("Something follows the form's last boundary.")
        return False

    _STEPS: Final = {
        _At.BEGINNING: _beginning,
        _At.AFTER: _after,
        _At.HEAD: _head,
        _At.VALUE: _in_value,
        _At.END: _behind,
    }

    def _take(self, part: Part, size: int) -> None:
        """Let this much of the value pass; of a field it is kept."""
        if not part.is_file:
            self._fields_bytes += size
            if self._fields_bytes > FIELD_MAX_BYTES:
                raise MalformedForm(
                    f"The fields that are no files have more than {FIELD_MAX_BYTES:,} bytes; a file needs a filename.",
                    field=part.name,
                )
            self._value.append(self._buffer[:size])
        elif self._hash is not None:
            self._hash.update(memoryview(self._buffer)[:size])
        self._drop(size)

    def _drop(self, size: int) -> None:
        self._buffer = self._buffer[size:]
        self._base += size
        self._searched = 0


_NO_BOUNDARY = "The body does not begin with the boundary that its content-type names."
_BAD_BOUNDARY = "A boundary of the form is followed by something that does not belong there."


# --- words ---------------------------------------------------------------------------------------------------------------

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# A quotation mark behind a backslash is the value's end to some and a part of it to others.
_QUOTED: Final = r'"(?:[^"\\\r\n\0]|\\[^"\r\n\0])*"'
_PARAMETER: Final = rf"[ \t]*;[ \t]*({_WORD})=({_WORD}|{_QUOTED})"
_PARAMETERS: Final = re.compile(rf"(?:{_PARAMETER})*[ \t]*")
_EACH: Final = re.compile(_PARAMETER)
# What some parsers take for the end of a line is refused, whatever ours are.
_LINE: Final = re.compile(rf"({_WORD}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]*)")
# Source: RFC 2046, section 5.1.1: bchars, of which a space cannot be the last.
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_PLAIN_ENCODINGS: Final = frozenset(("7bit", "8bit", "binary"))
_UTF8: Final = frozenset(("", "utf-8", "utf8", "us-ascii"))


def boundary_of(content_type: str) -> bytes:
    """The boundary that a request's content-type names.  Raises: MalformedForm."""
    kind, parameters = _split(content_type)
    if kind != "multipart/form-data":
        raise MalformedForm("The content-type must be multipart/form-data.")
    if parameters is None or (boundary := parameters.get("boundary", "")) == "":
        raise MalformedForm("The content-type must name the form's boundary, once.")
    if parameters.get("charset", "").lower() not in _UTF8:
        raise MalformedForm("The form must be in UTF-8.")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise MalformedForm("The form's boundary is not one: it has 1 to 70 plain characters.")
    return boundary.encode("ascii")


def _split(value: str) -> tuple[str, dict[str, str] | None]:
    """A header's value and its parameters, names in lower case; ``None``: they cannot be read, or one stands there twice."""
    kind, separator, rest = value.partition(";")
    rest = separator + rest
    if _PARAMETERS.fullmatch(rest) is None:
        return kind.strip().lower(), None
    found = [(name.lower(), text[1:-1] if text[0] == '"' else text) for name, text in _EACH.findall(rest)]
    parameters = dict(found)
    return kind.strip().lower(), parameters if len(parameters) == len(found) else None


def _part(head: bytes, start: int) -> Part:
    """What a part's head says.  Raises: MalformedForm."""
    try:
        lines = head.decode().split("\r\n")
    except UnicodeDecodeError as error:
        raise MalformedForm("The head of a part is not UTF-8.") from error
    headers: dict[str, str] = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        name = match[1].lower() if match else ""
        if match is None or name in headers:
            raise MalformedForm("A line in the head of a part cannot be read, or stands there twice.")
        headers[name] = match[2].strip()
    kind, said = _split(headers.get("content-disposition", ""))
    if kind != "form-data" or said is None:
        raise MalformedForm("A part has no content-disposition of form-data that can be read.")
    name = said.get("name", "")
    if not name or name != name.strip() or "\\" in name or "%" in name or not name.isprintable() or "name*" in said:
        raise MalformedForm("A part has no plain name.")
    if headers.get("content-transfer-encoding", "binary").lower() not in _PLAIN_ENCODINGS:
        raise MalformedForm("A part may not be encoded once more.", field=name)
    content_type = headers.get("content-type", "")
    filename = said.get("filename", said.get("filename*"))
    if filename is None and not _is_utf8(content_type):
        raise MalformedForm(f"The field {name[:64]!r} must be in UTF-8.", field=name)
    return Part(name=name, start=start, filename=filename, content_type=content_type)


def _is_utf8(content_type: str) -> bool:
    _, parameters = _split(content_type)
    return parameters is not None and parameters.get("charset", "").lower() in _UTF8


def _text(part: Part, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise MalformedForm(f"The field {part.name[:64]!r} is not valid UTF-8.", field=part.name) from error
    if part.name == "_charset_" and text.lower() not in _UTF8:
        raise MalformedForm("The form must be in UTF-8.", field=part.name)
    return text
