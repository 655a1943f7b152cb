"""How long a sound is, by what its file says of itself; of the rest, what its size lets one guess.

Providers charge sound by the second, and not all of them tell how many they counted.  A file is the client's, and may lie; so
this is for estimates, and what is certain is bounded by the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

ENDS_BYTES: Final = 64 * 1024
"""How much of a file's beginning and end is looked at."""
USUAL_BITS_PER_S: Final = 32_000
"""Of speech whose file does not say it: MP3 and AAC of voice recorders have 24 to 64 kbit/s."""
LEAST_BITS_PER_S: Final = 6_000
"""Of a sound in which anybody says anything.  Source: RFC 6716, section 1: Opus begins at 6 kbit/s."""
LONGEST_MS: Final = 24 * 3600 * 1000


def told_ms(head: bytes, tail: bytes, size_bytes: int) -> int | None:
    """What the file itself says; ``None`` if it says nothing that is credible.

    head, tail: its first and last 64 KiB.   About 5 µs.
    """
    for mark, at, read in _FORMATS:
        if head[at : at + len(mark)] == mark:
            found = _read(read, head, tail, size_bytes)
            break
    else:
        found = _read(_mp3, head, tail, size_bytes)
    return found if found is not None and 0 < found <= LONGEST_MS else None


def usual_ms(size_bytes: int) -> int:
    """How long a sound of that size usually is."""
    return -(-size_bytes * 8_000 // USUAL_BITS_PER_S)


def most_ms(size_bytes: int) -> int:
    """How long it is at most."""
    return -(-size_bytes * 8_000 // LEAST_BITS_PER_S)


_Read = Callable[[bytes, bytes, int], int | None]


def _read(read: _Read, head: bytes, tail: bytes, size_bytes: int) -> int | None:
    try:
        return read(head, tail, size_bytes)
    except (struct.error, IndexError, ZeroDivisionError, OverflowError, ValueError):
        return None


def _wav(head: bytes, tail: bytes, size_bytes: int) -> int | None:
    """Source: Microsoft's Multimedia Programming Interface 1.0, RIFF WAVE."""
    del tail
    at = 12
    bytes_per_s = 0
    while at + 8 <= len(head):
        name, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if name == b"fmt ":
            bytes_per_s = int.from_bytes(head[at + 16 : at + 20], "little")
        elif name == b"data":
            # Whoever writes while recording does not know the size yet.
            return min(size, size_bytes - at - 8) * 1000 // bytes_per_s
        at += 8 + size + size % 2
    return None


def _flac(head: bytes, tail: bytes, size_bytes: int) -> int | None:
    """Source: RFC 9639, section 8.2: STREAMINFO comes first."""
    del tail, size_bytes
    packed = int.from_bytes(head[18:26], "big")
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    return samples * 1000 // rate if samples else None


def _ogg(head: bytes, tail: bytes, size_bytes: int) -> int | None:
    """Sources: RFC 3533 (granule positions), RFC 7845 (Opus: 48 kHz), the Vorbis I specification, section 4.2.2."""
    del size_bytes
    first = 27 + head[26]
    packet = head[first : first + 30]
    if packet.startswith(b"OpusHead"):
        rate, skipped = 48_000, int.from_bytes(packet[10:12], "little")
    elif packet.startswith(b"\x01vorbis"):
        rate, skipped = int.from_bytes(packet[12:16], "little"), 0
    else:
        return None
    last = tail.rindex(b"OggS") + 6
    return (int.from_bytes(tail[last : last + 8], "little", signed=True) - skipped) * 1000 // rate


def _mp4(head: bytes, tail: bytes, size_bytes: int) -> int | None:
    """Source: ISO/IEC 14496-12, MovieHeaderBox, which is behind the sound unless it is made to be streamed."""
    del size_bytes
    data = head if b"mvhd" in head else tail
    at = data.index(b"mvhd") + 4
    if data[at] == 1:
        scale, duration = struct.unpack_from(">IQ", data, at + 20)
    else:
        scale, duration = struct.unpack_from(">II", data, at + 12)
    return int(duration * 1000 // scale)


def _webm(head: bytes, tail: bytes, size_bytes: int) -> int | None:
    """Source: RFC 9559, Info: Duration in units of TimestampScale, which is in nanoseconds."""
    del tail, size_bytes
    scale_ns = 1_000_000
    if (at := head.find(b"\x2a\xd7\xb1")) >= 0:
        size = head[at + 3] & 0x7F
        scale_ns = int.from_bytes(head[at + 4 : at + 4 + size], "big")
    at = head.index(b"\x44\x89") + 2
    form = {0x84: ">f", 0x88: ">d"}.get(head[at])
    if form is None:
        return None
    return int(struct.unpack_from(form, head, at + 1)[0] * scale_ns / 1e6)


_KBITS: Final = {
    # Layer III of MPEG-1, and of MPEG-2 and 2.5.
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _mp3(head: bytes, tail: bytes, size_bytes: int) -> int | None:
    """By the count of frames that encoders put into the first one, else as if all had its bit rate.

    Sources: ISO/IEC 11172-3 and 13818-3; id3.org, "id3v2.4.0-structure", section 3.1; the Xing header as LAME writes it.
    """
    del tail
    at = 0
    if head[:3] == b"ID3":
        # Seven bits of each byte count.
        at = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    packed = int.from_bytes(head[at : at + 4], "big")
    version, layer = packed >> 19 & 3, packed >> 17 & 3
    if packed >> 21 != 0x7FF or version == 1 or layer != 1:
        return None
    first = version == 3
    kbits, rate = _KBITS[first][packed >> 12 & 15], _RATES[version][packed >> 10 & 3]
    mono = packed >> 6 & 3 == 3
    side = (17 if mono else 32) if first else (9 if mono else 17)
    xing = at + 4 + side
    if head[xing : xing + 4] in (b"Xing", b"Info") and head[xing + 7] & 1:
        frames = int.from_bytes(head[xing + 8 : xing + 12], "big")
        return frames * (1152 if first else 576) * 1000 // rate
    return (size_bytes - at) * 8 // kbits


_FORMATS: Final[tuple[tuple[bytes, int, _Read], ...]] = (
    (b"RIFF", 0, _wav),
    (b"fLaC", 0, _flac),
    (b"OggS", 0, _ogg),
    (b"ftyp", 4, _mp4),
    (b"\x1a\x45\xdf\xa3", 0, _webm),
)
