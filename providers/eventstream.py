"""Framing of AWS event streams: pure, incremental, indifferent to how the bytes were split; both checksums are checked.

A frame: total length, length of the headers, CRC32 of these eight bytes; headers; payload; CRC32 of all before it; numbers
are big-endian.
Source: smithy.io/2.0/aws/amazon-eventstream.html; docs.aws.amazon.com/transcribe/latest/dg/event-stream.html, read 2026-11.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from zlib import crc32

import msgspec

from providers.errors import InvalidResponse

HEADERS_MAX_BYTES: Final = 128 * 1024
PAYLOAD_MAX_BYTES: Final = 16 * 1024 * 1024
"""Larger frames are refused by their first twelve bytes, before anything is kept for them."""

_PRELUDE: Final = struct.Struct(">III")
_CRC: Final = struct.Struct(">I")
_OVERHEAD: Final = _PRELUDE.size + _CRC.size
_TEXT: Final = 7
# By its type's number, how many bytes a header's value has; texts and bytes say it themselves, in two bytes.
_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_SIZED: Final = (6, _TEXT)


class Message(msgspec.Struct, frozen=True):
    """One frame.  headers: those that are texts, by name."""

    headers: Mapping[str, str]
    payload: bytes


class Reader:
    """Bytes in, frames out."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, chunk: bytes) -> list[Message]:
        """The frames that ``chunk`` completed.  Raises: InvalidResponse, after which nothing more can be read."""
        data = self._tail + chunk if self._tail else chunk
        messages: list[Message] = []
        at = 0
        while len(data) - at >= _PRELUDE.size:
            total = _total(data, at)
            if len(data) - at < total:
                break
            messages.append(_message(data, at, total))
            at += total
        self._tail = data[at:]
        return messages

    @property
    def inside(self) -> bool:
        """Whether a frame has begun that is not whole."""
        return bool(self._tail)


def _total(data: bytes, at: int) -> int:
    """How long the frame is that begins there.  Raises: InvalidResponse."""
    total, headers, crc = _PRELUDE.unpack_from(data, at)
    # First: a length that is wrong would be waited for.
    if crc32(data[at : at + 8]) != crc:
        raise InvalidResponse("A frame of the upstream's event stream is damaged.")
    payload = total - headers - _OVERHEAD
    if headers > HEADERS_MAX_BYTES or not 0 <= payload <= PAYLOAD_MAX_BYTES:
        raise InvalidResponse("A frame of the upstream's event stream has an impossible length.")
    return int(total)


def _message(data: bytes, at: int, total: int) -> Message:
    end = at + total - _CRC.size
    if crc32(data[at:end]) != _CRC.unpack_from(data, end)[0]:
        raise InvalidResponse("A frame of the upstream's event stream is damaged.")
    payload = at + _PRELUDE.size + _PRELUDE.unpack_from(data, at)[1]
    return Message(_headers(data[at + _PRELUDE.size : payload]), data[payload:end])


# A stream has a handful of different ones; the longest are too rare to fill it.
@lru_cache(maxsize=64)
def _headers(block: bytes) -> Mapping[str, str]:
    """The headers that are texts.  Raises: InvalidResponse."""
    headers: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            size = block[at]
            name = block[at + 1 : at + 1 + size].decode()
            at += 1 + size
            kind = block[at]
            at += 1
            if kind in _SIZED:
                size = int.from_bytes(block[at : at + 2], "big")
                at += 2
                if kind == _TEXT:
                    headers[name] = block[at : at + size].decode()
            else:
                size = _SIZES[kind]
            at += size
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise InvalidResponse("A frame of the upstream's event stream has headers that cannot be read.") from error
    if at != len(block):
        raise InvalidResponse("A frame of the upstream's event stream has headers that cannot be read.")
    return headers


def encode(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One frame.  headers: names up to 255 bytes, values up to 65,535."""
    block = b"".join(
        bytes((len(name.encode()),)) + name.encode() + bytes((_TEXT,)) + len(value.encode()).to_bytes(2, "big") + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", len(block) + len(payload) + _OVERHEAD, len(block))
    frame = b"".join((prelude, _CRC.pack(crc32(prelude)), block, payload))
    return frame + _CRC.pack(crc32(frame))
