"""A request's body without the compression that its client chose."""

from __future__ import annotations

import zlib

from proxy.errors import InvalidRequest, RequestTooLarge, UnsupportedEncoding

ENCODINGS = frozenset({b"gzip", b"x-gzip", b"deflate"})
PLAIN = frozenset({b"", b"identity"})
INLINE_BYTES = 4 * 1024
"""As much as deflate makes a thousand times as much of, within 10 ms; what is larger is inflated off the event loop."""

_GZIP = 31
_ZLIB = 15
_RAW = -15


def check(encoding: bytes) -> None:
    """Raises: UnsupportedEncoding, if ``inflated`` does not know the encoding."""
    if encoding not in PLAIN and encoding not in ENCODINGS:
        raise UnsupportedEncoding("The body's content-encoding must be gzip, deflate or none.", param="content-encoding")


def inflated(body: bytes, encoding: bytes, *, max_bytes: int) -> bytes:
    """What a client compressed.  About 3 ms a megabyte of it.

    Raises: RequestTooLarge, as soon as it is known to be more than ``max_bytes``; InvalidRequest, if it is cut off, damaged,
    or has something else behind it.
    """
    # Source: RFC 9110, section 8.4.1.2: deflate is zlib's form; it says, too, that some clients send the bare one.
    form = _GZIP if encoding != b"deflate" else _ZLIB if _is_zlib(body) else _RAW
    found = bytearray()
    rest = body
    while rest:
        inflate = zlib.decompressobj(wbits=form)
        try:
            found += inflate.decompress(rest, max_bytes + 1 - len(found))
        except zlib.error as error:
            raise InvalidRequest("The body cannot be decompressed.", param="content-encoding") from error
        if len(found) > max_bytes:
            raise RequestTooLarge(f"The body is larger than {max_bytes:,} bytes when it is decompressed.")
        # Source: RFC 1952, section 2.2: there may be several members, one behind the other.
        rest = inflate.unused_data
        if not inflate.eof or (rest and form != _GZIP):
            raise InvalidRequest("The body's compressed form is not whole.", param="content-encoding")
    return bytes(found)


def _is_zlib(body: bytes) -> bool:
    """Source: RFC 1950, section 2.2: deflate's method, and a multiple of 31."""
    return len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
