"""Framing of server-sent events: pure, incremental, indifferent to how the bytes were split.

Source: HTML Living Standard, "Server-sent events", event stream interpretation.
"""

from __future__ import annotations

import re

_LINE = re.compile(rb"\r\n|\n|\r")
_CRLF_BLANK = b"\r\n\r\n"
_BLANK = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")


def last_boundary(data: bytes) -> int:
    """Where the last complete event in ``data`` ends; 0 if none is complete.

    A trailing lone CR is no boundary yet: the LF that belongs to it may be on its way.
    """
    if data.endswith((b"\n\n", b"\n\r\n")):
        return len(data)
    if b"\r" not in data:
        at = data.rfind(b"\n\n")
        return at + 2 if at >= 0 else 0
    last = 0
    for match in _BLANK.finditer(data):
        if match.end() < len(data) or data[-1] != 0x0D:
            last = match.end()
    return last


def split(events: bytes) -> list[bytes]:
    """Complete events, each with the blank line that ends it.  ``b"".join`` gives the input again."""
    blank = b"\n\n"
    if b"\r" in events:
        blank = _CRLF_BLANK if events.count(b"\r\n") == events.count(b"\r") == events.count(b"\n") else b""
    if blank:
        if events.find(blank) == len(events) - len(blank):
            return [events]
        *whole, rest = events.split(blank)
        parts = [part + blank for part in whole]
        return [*parts, rest] if rest else parts
    # Lines that end in several ways.
    parts = []
    start = 0
    for match in _BLANK.finditer(events):
        parts.append(events[start : match.end()])
        start = match.end()
    if start < len(events):
        parts.append(events[start:])
    return parts


def data_of(event: bytes) -> bytes:
    """The event's data: its ``data:`` lines joined by LF; empty for comments and bare fields."""
    if event.startswith(b"data: "):
        # One line of data, as nearly every event has.
        end = event.find(b"\n")
        if end == len(event) - 2 and b"\r" not in event:
            return event[6:-2]
        if end == len(event) - 3 and event.endswith(_CRLF_BLANK) and event.find(b"\r") == end - 1:
            return event[6:-4]
    lines = []
    for line in _LINE.split(event.removeprefix(b"\xef\xbb\xbf")):
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value[1:] if value.startswith(b" ") else value)
        elif line == b"data":
            lines.append(b"")
    return b"\n".join(lines)
