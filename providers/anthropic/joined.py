"""Two streams of messages as one: the second goes on where the first broke off."""

from __future__ import annotations

import msgspec

from providers import sse

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Joined:
    """Takes the second stream's events, gives them back as they follow on the first one's.

    blocks: how many had begun.  is_open: the last of them was not over; a text goes on in it.
    """

    def __init__(self, *, blocks: int, is_open: bool) -> None:
        self._blocks = blocks
        self._is_open = is_open
        self._is_first = True
        self._offset = 0

    def __call__(self, events: bytes) -> bytes:
        return b"".join([self._event(event) for event in sse.split(events)])

    def _event(self, event: bytes) -> bytes:
        data = sse.data_of(event)
        if b'"message_start"' in data[:64]:
            return b""
        if b'"content_block_' not in data[:64]:
            return event
        value = _decode(data)
        if bytes(value.get("type", b"")) == b'"content_block_start"' and self._is_first:
            return self._first(value)
        return self._moved(value)

    def _first(self, value: dict[str, msgspec.Raw]) -> bytes:
        self._is_first = False
        text = b'"text"' in bytes(value.get("content_block", b""))
        if self._is_open and text:
            self._offset = self._blocks - 1
            return b""
        self._offset = self._blocks
        closing = b""
        if self._is_open:
            closing = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % (self._blocks - 1)
        return closing + self._moved(value)

    def _moved(self, value: dict[str, msgspec.Raw]) -> bytes:
        index = msgspec.json.decode(value.get("index", msgspec.Raw(b"0")))
        value["index"] = msgspec.Raw(b"%d" % (index + self._offset))
        kind = bytes(value["type"]).strip(b'"')
        return b"event: %b\ndata: %b\n\n" % (kind, msgspec.json.encode(value))
