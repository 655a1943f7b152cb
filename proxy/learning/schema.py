"""Whether a value fits a JSON Schema, as far as models are asked for one: a small validator that is bounded in what it does.

It knows the keywords that structured outputs have; what it does not know, such as ``pattern``, whose expressions come from
callers and can take for ever, or a reference to elsewhere, does not count against the value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

STEPS_MAX: Final = 20_000
DEPTH_MAX: Final = 64
"""A value or a schema that takes more than that is not judged."""

_TYPES: Final[Mapping[str, Any]] = {
    "object": lambda it: type(it) is dict,
    "array": lambda it: type(it) is list,
    "string": lambda it: type(it) is str,
    "boolean": lambda it: type(it) is bool,
    "null": lambda it: it is None,
    "number": lambda it: type(it) in (int, float),
    "integer": lambda it: type(it) is int or (type(it) is float and it.is_integer()),
}


class _TooMuch(Exception):
    """It takes more than it is worth."""


def fits(value: Any, schema: Any, /) -> bool | None:
    """Whether a decoded JSON value fits a decoded schema; ``None``: that would take too long to find out.

    About 1 µs for each value and keyword.
    """
    try:
        return _Look(schema).fits(value, schema, 0)
    except (_TooMuch, RecursionError):
        return None


class _Look:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._steps = 0

    def fits(self, value: Any, schema: Any, depth: int) -> bool:
        self._steps += 1
        if self._steps > STEPS_MAX or depth > DEPTH_MAX:
            raise _TooMuch
        if type(schema) is not dict:
            return schema is not False  # true fits everything, and so does what is no schema
        return (
            self._is_of_type(value, schema)
            and self._is_named(value, schema)
            and self._combines(value, schema, depth + 1)
            and self._holds(value, schema, depth + 1)
        )

    def _is_of_type(self, value: Any, schema: Mapping[str, Any]) -> bool:
        said = schema.get("type")
        if type(said) is str:
            return said not in _TYPES or _TYPES[said](value)
        if type(said) is list and said:
            return any(type(it) is not str or it not in _TYPES or _TYPES[it](value) for it in said)
        return True

    def _is_named(self, value: Any, schema: Mapping[str, Any]) -> bool:
        if "const" in schema and not self._same(value, schema["const"]):
            return False
        named = schema.get("enum")
        return type(named) is not list or any(self._same(value, it) for it in named)

    def _combines(self, value: Any, schema: Mapping[str, Any], depth: int) -> bool:
        if type(reference := schema.get("$ref")) is str:
            found = self._found(reference)
            if found is not None and not self.fits(value, found, depth):
                return False
        if _some(every := schema.get("allOf")) and not all(self.fits(value, it, depth) for it in every):
            return False
        if _some(several := schema.get("anyOf")) and not any(self.fits(value, it, depth) for it in several):
            return False
        if _some(one := schema.get("oneOf")) and sum(self.fits(value, it, depth) for it in one) != 1:
            return False
        return "not" not in schema or not self.fits(value, schema["not"], depth)

    def _holds(self, value: Any, schema: Mapping[str, Any], depth: int) -> bool:
        kind = type(value)
        if kind is dict:
            return self._holds_fields(value, schema, depth)
        if kind is list:
            return self._holds_items(value, schema, depth)
        if kind is str:
            return _within(len(value), schema, "minLength", "maxLength")
        if kind in (int, float):
            return _is_in_range(value, schema)
        return True

    def _holds_fields(self, value: dict[str, Any], schema: Mapping[str, Any], depth: int) -> bool:
        required = schema.get("required")
        if type(required) is list and not all(name in value for name in required if type(name) is str):
            return False
        if not _within(len(value), schema, "minProperties", "maxProperties"):
            return False
        known = schema.get("properties")
        properties = known if type(known) is dict else {}
        if not all(self.fits(it, properties[name], depth) for name, it in value.items() if name in properties):
            return False
        if "additionalProperties" not in schema or "patternProperties" in schema:
            return True
        other = schema["additionalProperties"]
        return all(self.fits(it, other, depth) for name, it in value.items() if name not in properties)

    def _holds_items(self, value: list[Any], schema: Mapping[str, Any], depth: int) -> bool:
        if not _within(len(value), schema, "minItems", "maxItems"):
            return False
        first = schema.get("prefixItems")
        firsts: Sequence[Any] = first if type(first) is list else ()
        if not all(self.fits(it, said, depth) for it, said in zip(value, firsts, strict=False)):
            return False
        items = schema.get("items", True)
        if type(items) is not list and not all(self.fits(it, items, depth) for it in value[len(firsts) :]):
            return False
        if schema.get("uniqueItems") is True:
            return not any(self._same(a, b) for at, a in enumerate(value) for b in value[:at])
        return True

    def _found(self, reference: str) -> Any:
        """What a reference within the schema means; ``None``: nothing that is there."""
        if not reference.startswith("#"):
            return None
        found = self._root
        for part in reference[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if type(found) is not dict or name not in found:
                return None
            found = found[name]
        return found

    def _same(self, a: Any, b: Any) -> bool:
        """Equal as JSON: true is not 1, and 1.0 is."""
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise _TooMuch
        if type(a) is dict and type(b) is dict:
            return a.keys() == b.keys() and all(self._same(it, b[name]) for name, it in a.items())
        if type(a) is list and type(b) is list:
            return len(a) == len(b) and all(self._same(x, y) for x, y in zip(a, b, strict=True))
        return bool((type(a) is bool) == (type(b) is bool) and a == b)


def _some(schemas: Any) -> TypeGuard[list[Any]]:
    return type(schemas) is list and bool(schemas)


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float)


def _within(count: float, schema: Mapping[str, Any], least: str, most: str) -> bool:
    low, high = schema.get(least), schema.get(most)
    return not (_is_number(low) and count < low) and not (_is_number(high) and count > high)


def _is_in_range(value: float, schema: Mapping[str, Any]) -> bool:
    if not _within(value, schema, "minimum", "maximum"):
        return False
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if (_is_number(above) and value <= above) or (_is_number(below) and value >= below):
        return False
    step = schema.get("multipleOf")
    if type(step) is int and step > 0 and type(value) is int:
        return value % step == 0
    return True  # of fractions a remainder says little
