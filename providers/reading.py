"""Taking a client's JSON apart: every look says where it is, and a wrong type is an error that names the place."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from providers.canonical import File, Malformed

T = TypeVar("T")

_WORDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number", dict: "an object", list: "a list"}


class Fields:
    """One JSON object.  at: its place, such as ``messages[2]``.  What was taken is not among the ``rest``."""

    def __init__(self, value: object, at: str = "") -> None:
        if not isinstance(value, dict):
            raise Malformed(at or "the body", "must be an object")
        self._value: dict[str, Any] = value
        self._taken: set[str] = set()
        self.at = at

    def place(self, name: str) -> str:
        """Where a field is."""
        return f"{self.at}.{name}" if self.at else name

    def text(self, name: str, default: str = "") -> str:
        """A text; ``default`` if it is absent or null.  Raises: Malformed."""
        value = self._take(name, str)
        return default if value is None else value

    def required(self, name: str) -> str:
        """A text that has to be there.  Raises: Malformed."""
        value = self._take(name, str)
        if value is None:
            raise Malformed(self.place(name), "is missing")
        return value

    def flag(self, name: str) -> bool | None:
        """True, false, or ``None`` if it is absent or null.  Raises: Malformed."""
        return self._take(name, bool)

    def whole(self, name: str) -> int | None:
        """A whole number.  Raises: Malformed."""
        return self._take(name, int)

    def number(self, name: str) -> float | None:
        """A number, as it was written: a whole one stays whole.  Raises: Malformed."""
        return self._take(name, float)

    def object(self, name: str) -> Mapping[str, Any] | None:
        """An object, as it is.  Raises: Malformed."""
        return self._take(name, dict)

    def fields(self, name: str) -> Fields | None:
        """An object, to be taken apart.  Raises: Malformed."""
        value = self._take(name, dict)
        return None if value is None else Fields(value, self.place(name))

    def list(self, name: str) -> Sequence[Any]:
        """A list; an empty one if it is absent or null.  Raises: Malformed."""
        return self._take(name, list) or ()

    def each(self, name: str) -> Iterator[Fields]:
        """The objects of a list.  Raises: Malformed."""
        for index, value in enumerate(self.list(name)):
            yield Fields(value, f"{self.place(name)}[{index}]")

    def any(self, name: str) -> Any:
        """Whatever is there."""
        self._taken.add(name)
        return self._value.get(name)

    def has(self, name: str) -> bool:
        """Whether it is there and not null."""
        return self._value.get(name) is not None

    @property
    def is_empty(self) -> bool:
        """Whether it has no field at all."""
        return not self._value

    @property
    def rest(self) -> Mapping[str, Any]:
        """What has not been taken, null or not."""
        return {name: value for name, value in self._value.items() if name not in self._taken}

    def _take(self, name: str, kind: type[T]) -> T | None:
        self._taken.add(name)
        value = self._value.get(name)
        if value is None:
            return None
        # A bool is an int, and a whole number is a number, but not the other way round.
        good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if not good and not (kind is float and isinstance(value, int) and not isinstance(value, bool)):
            raise Malformed(self.place(name), f"must be {_WORDS[kind]}")
        return value  # type: ignore[no-any-return]  # checked above


def without_nothing(value: Mapping[str, Any]) -> dict[str, Any]:
    """The object without what is ``None``, empty text, or an empty list or object: what was not said is not sent."""
    return {name: field for name, field in value.items() if field is not None and field not in ("", [], {}, ())}


def text_of(file: File) -> str:
    """A document's text, for who takes no bytes of that kind, also where it came as bytes; empty: it is no text."""
    if file.text or not file.media.media_type.startswith("text/"):
        return file.text
    try:
        return base64.b64decode(file.media.data).decode()
    except ValueError:
        return ""
