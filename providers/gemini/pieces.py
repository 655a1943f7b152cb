"""Gemini's streams in their rarer shapes: one JSON array instead of events, and a tool call whose arguments come in pieces.

Sources: ai.google.dev/api/generate-content, streamGenerateContent (without ``alt=sse`` it answers with an array);
cloud.google.com/vertex-ai/generative-ai/docs/reference/rest, FunctionCall.partialArgs, read 2026-11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from providers.canonical import Malformed, ToolCall
from providers.errors import InvalidResponse

EVENT_MAX_BYTES: Final = 8 * 1024 * 1024
_MARK: Final = re.compile(rb'\\.|["{}\[\]]', re.DOTALL)


class Events:
    """Bytes of a stream as events, whichever of its two shapes it has; any split of them gives the same ones.

    What is no JSON is passed on as it is.  Each element of an array becomes an event as soon as it is whole, and so does an
    object that stands alone: an error, or an answer in one piece.
    """

    def __init__(self) -> None:
        self._is_json: bool | None = None
        self._element = bytearray()
        self._depth = 0
        self._quoted = False
        self._carry = b""

    def feed(self, chunk: bytes) -> bytes:
        """The bytes of events for ``chunk``.  Raises: InvalidResponse, for an element of more than 8 MiB."""
        if self._is_json is False:
            return chunk
        if self._is_json is None:
            begun = chunk.lstrip()
            if not begun:
                return b""
            self._is_json = begun[:1] in (b"[", b"{")
            if not self._is_json:
                return chunk
            chunk = begun.removeprefix(b"[")
        chunk = self._carry + chunk
        # The character that a last backslash is for is still to come.
        self._carry = b"\\" if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2 else b""
        return self._elements(chunk[: len(chunk) - len(self._carry)])

    def _elements(self, chunk: bytes) -> bytes:
        made = []
        start = 0
        for match in _MARK.finditer(chunk):
            mark = match[0]
            if mark == b'"':
                self._quoted = not self._quoted
            elif self._quoted or len(mark) > 1:
                continue
            elif mark in b"{[":
                start = match.start() if self._depth == 0 else start
                self._depth += 1
            elif self._depth:
                self._depth -= 1
                if self._depth == 0:
                    self._element += chunk[start : match.end()]
                    # Between its values, where alone they can be, ends of lines say nothing.
                    made.append(b"data: %b\r\n\r\n" % bytes(self._element.translate(None, b"\r\n")))
                    self._element.clear()
        if self._depth:
            self._element += chunk[start:]
            if len(self._element) > EVENT_MAX_BYTES:
                raise InvalidResponse("An event of the upstream's stream is larger than 8 MiB.")
        return b"".join(made)


# --- arguments in pieces -------------------------------------------------------------------------------------------------

_STEP: Final = re.compile(r"""\.([^.\[\]]+)|\[(\d{1,6})\]|\[(?:'([^']*)'|"([^"]*)")\]""")
STEPS_MAX: Final = 64
GAP_MAX: Final = 1_000
"""Elements of a list that may be missing before one that comes."""


class Pieces:
    """A tool call of which each piece says a place, such as ``$.items[0].name``, and what stands there.

    begun: the call, without arguments.
    """

    def __init__(self, begun: ToolCall) -> None:
        self.begun = begun
        self._arguments: dict[str, Any] = {}
        self._open = ""

    def add(self, pieces: object) -> None:
        """More of them; a text may come in several.  Raises: Malformed."""
        for piece in pieces if isinstance(pieces, list) else ():
            path = piece.get("jsonPath") if isinstance(piece, dict) else None
            if not isinstance(path, str):
                raise Malformed("partialArgs", "must be objects with a jsonPath")
            self._put(_steps(path), _value(piece), more=path == self._open)
            self._open = path if piece.get("willContinue") else ""

    def arguments(self) -> str:
        """All of them, as JSON."""
        return json.dumps(self._arguments, ensure_ascii=False, separators=(",", ":"))

    def _put(self, steps: list[str | int], value: Any, *, more: bool) -> None:
        holder: Any = self._arguments
        for step, following in pairwise(steps):
            _make_room(holder, step)
            if holder[step] is None:
                holder[step] = [] if isinstance(following, int) else {}
            holder = holder[step]
        last = steps[-1]
        _make_room(holder, last)
        before = holder[last]
        holder[last] = before + value if more and isinstance(before, str) and isinstance(value, str) else value


def _make_room(holder: Any, step: str | int) -> None:
    if isinstance(step, int) and isinstance(holder, list) and step <= len(holder) + GAP_MAX:
        holder.extend([None] * (step + 1 - len(holder)))
    elif isinstance(step, str) and isinstance(holder, dict):
        holder.setdefault(step, None)
    else:
        raise Malformed("partialArgs.jsonPath", "leads nowhere")


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    at = 1
    while at < len(path) and len(steps) <= STEPS_MAX and path[0] == "$":
        match = _STEP.match(path, at)
        if match is None:
            break
        name = next((it for it in (match[1], match[3], match[4]) if it is not None), "")
        steps.append(name if match[2] is None else int(match[2]))
        at = match.end()
    if at < len(path) or not steps:
        raise Malformed("partialArgs.jsonPath", f"{path[:80]!r} is no place")
    return steps


def _value(piece: Mapping[str, Any]) -> Any:
    return next((piece[name] for name in ("stringValue", "numberValue", "boolValue") if name in piece), None)
