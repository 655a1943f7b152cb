"""Halves of characters, which some models write: JSON that most parsers refuse, made into JSON that says U+FFFD there."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Any, Final

_MAYBE = re.compile(rb"\\u[dD][89a-fA-F]")
# An escape at a time, so that a backslash that is itself escaped is not taken for the beginning of one.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def whole(data: bytes) -> bytes:
    """JSON whose escapes are whole characters: halves of a surrogate pair that stand alone are replaced.  0.3 µs."""
    if _MAYBE.search(data) is None:
        return data
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match[1] else match[0], data)


_HIGH: Final = ("\ud800", "\udbff")


def cleaned(value: Any) -> Any:
    """A value of JSON without halves."""
    return json.loads(whole(json.dumps(value).encode()))


class Halves:
    """Texts that come in pieces, some of them cut within a character: who counts in UTF-16 may send a half in each of two."""

    def __init__(self) -> None:
        self._held: dict[Hashable, str] = {}

    def __bool__(self) -> bool:
        """Whether a half waits for the other one."""
        return bool(self._held)

    def join(self, of: Hashable, piece: str) -> str:
        """The next piece of a text as whole characters: with the half that was held back, without one that it ends with."""
        text = self._held.pop(of, "") + piece
        if text and _HIGH[0] <= text[-1] <= _HIGH[1]:
            self._held[of] = text[-1]
            text = text[:-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def rest(self, of: Hashable) -> str:
        """What stands for a half whose other one never came; empty: there was none."""
        return "\ufffd" if self._held.pop(of, "") else ""


def loads(text: str) -> Any:
    """The value of JSON that a model wrote, its characters whole.  Raises: ValueError, RecursionError."""
    return json.loads(whole(text.encode("utf-8", "replace")) if "\\u" in text else text)
