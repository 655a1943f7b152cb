"""What a caller asks of the choice: the body's field ``route``, or the header ``x-tollway-route``, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from proxy.call import RouteField
from proxy.errors import InvalidRequest
from proxy.routing.kinds import KINDS

HEADER: Final = b"x-tollway-route"
PATTERNS_MAX: Final = 32
TEXT_MAX_CHARS: Final = 256
USD_MAX: Final = 1_000_000.0
MS_MAX: Final = 86_400_000.0
NUSD_PER_USD: Final = 10**9

T = TypeVar("T", int, float)


def of_field(value: Any) -> RouteField | None:
    """What the field says; ``None``: nothing.  Raises: InvalidRequest, naming what is wrong with it."""
    if value is None:
        return None
    if type(value) is not dict:
        raise InvalidRequest("'route' must be an object.", param="route")
    return _read(value, "route")


def of_header(text: str) -> RouteField:
    """What the header says: a JSON object, or ``max_cost_usd=0.01, allow=openai/*|groq/*``.  Raises: InvalidRequest."""
    name = HEADER.decode()
    text = text.strip()
    if text.startswith("{"):
        try:
            value = msgspec.json.decode(text.encode())
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise InvalidRequest(f"{name} is no JSON object.", param=name) from error
        return _read(value, name)
    said: dict[str, Any] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        key, equals, item = (it.strip() for it in part.partition("="))
        if not equals or key in said:
            raise InvalidRequest(f"{name} is JSON or 'key=value, key=value'; {part.strip()[:64]!r} is neither.", param=name)
        said[key] = _plain(key, item)
    return _read(said, name)


def joined(body: RouteField | None, header: RouteField | None, /) -> RouteField:
    """Both together: of two limits the tighter one; the body's word goes before the header's where only one can count."""
    if body is None or header is None:
        return body or header or RouteField()
    return RouteField(
        max_cost_nusd=_least(body.max_cost_nusd, header.max_cost_nusd),
        max_ttft_ms=_least(body.max_ttft_ms, header.max_ttft_ms),
        max_latency_ms=_least(body.max_latency_ms, header.max_latency_ms),
        min_quality=_most(body.min_quality, header.min_quality),
        task=body.task or header.task,
        prefer=body.prefer or header.prefer,
        allow=body.allow or header.allow,
        deny=(*body.deny, *header.deny),
        fallback=body.fallback or header.fallback,
        policy=body.policy or header.policy,
    )


def _least(one: T | None, other: T | None) -> T | None:
    return other if one is None else one if other is None else min(one, other)


def _most(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)


def _plain(key: str, text: str) -> Any:
    """A value of the header's short form, as JSON would have it."""
    if key in _LISTS:
        return text.split("|")
    if key in _NUMBERS:
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _read(value: Mapping[str, Any], place: str) -> RouteField:
    said: dict[str, Any] = {}
    for name, item in value.items():
        field = _FIELDS.get(name)
        if field is None:
            raise InvalidRequest(f"'{place}' has no {name[:64]!r}; it takes {', '.join(_FIELDS)}.", param=_param(place, name))
        if item is None:
            continue
        into, read, wanted = field
        found = read(item)
        if found is None:
            raise InvalidRequest(f"'{place}.{name}' must be {wanted}.", param=_param(place, name))
        said[into] = found
    return RouteField(**said)


def _param(place: str, name: str) -> str:
    return f"{place}.{name[:64]}" if place == "route" else place


def _number(most: float) -> Callable[[Any], float | None]:
    def read(value: Any) -> float | None:
        fits = type(value) in (int, float) and 0 <= value <= most
        return float(value) if fits else None

    return read


def _usd(value: Any) -> int | None:
    found = _number(USD_MAX)(value)
    return None if found is None else round(found * NUSD_PER_USD)


def _text(value: Any) -> str | None:
    return value if type(value) is str and 0 < len(value) <= TEXT_MAX_CHARS and value.isprintable() else None


def _task(value: Any) -> str | None:
    return value if type(value) is str and value in KINDS else None


def _patterns(value: Any) -> tuple[str, ...] | None:
    if type(value) is str:
        value = [value]
    if type(value) is not list or len(value) > PATTERNS_MAX or any(_text(it) is None for it in value):
        return None
    return tuple(value)


_MS = "a number of milliseconds from 0 to 86,400,000"
_SOME = f"a pattern such as 'openai/*', or a list of at most {PATTERNS_MAX}"
_NAME = f"a text of 1 to {TEXT_MAX_CHARS} characters"
_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any], str]]] = {
    "max_cost_usd": ("max_cost_nusd", _usd, "a number of US dollars from 0 to 1,000,000"),
    "max_ttft_ms": ("max_ttft_ms", _number(MS_MAX), _MS),
    "max_latency_ms": ("max_latency_ms", _number(MS_MAX), _MS),
    "min_quality": ("min_quality", _number(1.0), "a number from 0 to 1"),
    "task": ("task", _task, f"one of {', '.join(KINDS)}"),
    "prefer": ("prefer", _patterns, _SOME),
    "allow": ("allow", _patterns, _SOME),
    "deny": ("deny", _patterns, _SOME),
    "fallback": ("fallback", _text, _NAME),
    "policy": ("policy", _text, _NAME),
}
_LISTS: Final = frozenset(name for name, field in _FIELDS.items() if field[1] is _patterns)
_NUMBERS: Final = frozenset(("max_cost_usd", "max_ttft_ms", "max_latency_ms", "min_quality"))
