"""Decompression of answers that nobody asked to be compressed: a piece at a time, so that a bomb stays small."""

from __future__ import annotations

import zlib

from providers.errors import InvalidResponse

INFLATED_PIECE_BYTES = 1024 * 1024


class Inflate:
    """Decompression of gzip and deflate, for upstreams that compress although asked not to; a piece at a time, bounded.

    waiting: there is more of the last input, for ``more``.
    """

    def __init__(self, encoding: str) -> None:
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise InvalidResponse("The upstream's answer is compressed in a way that was not asked for.")
        self._inflate = zlib.decompressobj(wbits=15 if encoding == "deflate" else 31)
        self._begun = False
        self.waiting = False

    def feed(self, data: bytes) -> bytes:
        """The first piece of what ``data`` decompresses to; ``b""`` as input says that it is the end.

        Raises: InvalidResponse.
        """
        if not data:
            if self._begun and not self._inflate.eof:
                raise InvalidResponse("The upstream's compressed answer was cut off.")
            return b""
        self._begun = True
        return self._piece(data)

    def more(self) -> bytes:
        """The next piece.  Raises: InvalidResponse."""
        return self._piece(self._inflate.unconsumed_tail)

    def _piece(self, data: bytes) -> bytes:
        try:
            piece = self._inflate.decompress(data, INFLATED_PIECE_BYTES)
        except zlib.error as error:
            raise InvalidResponse("The upstream's answer cannot be decompressed.") from error
        self.waiting = len(piece) == INFLATED_PIECE_BYTES
        return piece
