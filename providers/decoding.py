"""What decoders of server-sent streams share: framing, bounds, and what becomes of an event that is not as promised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Final

import msgspec

from providers import sse
from providers.canonical import Event, Malformed
from providers.errors import InvalidResponse

EVENT_MAX_BYTES: Final = 8 * 1024 * 1024
STRANGE: Final = (msgspec.DecodeError, ValueError, LookupError, TypeError, AttributeError, Malformed, RecursionError)
"""What comes of an event that is no JSON, or has something else where a field should be."""


class EventDecoder(ABC):
    """Bytes in, events out; any split of the bytes gives the same events.

    A protocol's own says what is in an event's data.  It sets ``_over`` when nothing that follows is part of the answer.
    """

    def __init__(self) -> None:
        self._tail = b""
        self._over = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completed.  Raises: InvalidResponse."""
        if self._over:
            return []
        data = self._tail + chunk if self._tail else chunk
        end = sse.last_boundary(data)
        self._tail = data[end:]
        if len(self._tail) > EVENT_MAX_BYTES:
            raise InvalidResponse("An event of the upstream's stream is larger than 8 MiB.")
        events: list[Event] = []
        for part in sse.split(data[:end]):
            events += self._event(sse.data_of(part))
        return events

    def finish(self) -> list[Event]:
        """The upstream closed the stream.  Without an ``Ended`` it was cut off."""
        tail, self._tail = self._tail, b""
        if not tail.strip():
            return []
        try:
            return self._event(sse.data_of(tail))
        except InvalidResponse:
            # The standard drops an unfinished event.
            return []

    def pending(self) -> list[Event]:
        """What has come and has not been told, since more of it is on its way: for a stream that is cut off here."""
        return []

    def _event(self, data: bytes) -> list[Event]:
        if not data or self._over:
            return []
        try:
            return [*self._read(data)]
        except STRANGE as error:
            raise InvalidResponse("An event of the upstream's stream is not what the protocol promises.") from error

    @abstractmethod
    def _read(self, data: bytes) -> Iterable[Event]:
        """What an event's data says; it is not empty.  Raises: any of ``STRANGE``."""
