"""The strict JSON gate: one verdict on a body, before anything else looks at it.

Parsers disagree on NaN, duplicate keys, lone surrogates and deep nesting; whoever disagrees with the upstream's parser can be
made to check one request and forward another.  So what is doubtful is refused here.  About 7 µs for a 300-byte body.
"""

from __future__ import annotations

import json
import re
from typing import Any, Never

from proxy.api.weight import weigh
from proxy.call import CacheField, Head, RouteField
from proxy.errors import InvalidJson, InvalidRequest
from proxy.routing import constraints

DEPTH_MAX = 64
COUNT_MAX = 2**31 - 1
OUR_FIELDS = ("cache", "route")
"""Fields of a body that are for us alone."""
REFUSED_FIELDS = frozenset({"api_base", "base_url", "api_key", "extra_headers"})
"""What other gateways let a caller choose, and with it where their keys are sent."""
OUTPUT_MAX_FIELDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")

TAGS_MAX = 8
TAG_MAX_CHARS = 64

Body = dict[str, Any]


def admit(body: bytes) -> Head:
    """Check the body and peek at it.

    Raises: InvalidJson, for anything but one strict JSON object; InvalidRequest, naming the field, if ``model``, ``stream``,
    ``stream_options``, ``n``, ``cache``, ``route`` or a bound of the answer's tokens is missing or of the wrong type.
    """
    return _head(parse(body))


def tags(header: bytes) -> tuple[str, ...]:
    """The tags of an ``x-tollway-tags`` header, ``a, b``: each once, in its order.

    Raises: InvalidRequest, for more than 8, for one longer than 64 characters, or one that cannot be printed.
    """
    try:
        found = tuple(dict.fromkeys(tag for part in header.decode().split(",") if (tag := part.strip())))
    except UnicodeDecodeError as error:
        raise InvalidRequest("x-tollway-tags is not UTF-8.", param="x-tollway-tags") from error
    if len(found) > TAGS_MAX:
        raise InvalidRequest(f"x-tollway-tags has {len(found)} tags; at most {TAGS_MAX} are counted.", param="x-tollway-tags")
    if any(len(tag) > TAG_MAX_CHARS or not tag.isprintable() for tag in found):
        raise InvalidRequest(f"A tag has at most {TAG_MAX_CHARS} printable characters.", param="x-tollway-tags")
    return found


def parse(body: bytes) -> Body:
    """One strict JSON object.  Raises: InvalidJson."""
    try:
        value = _decode(body.decode())
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The body is not valid UTF-8 (byte {error.start}).") from error
    except RecursionError as error:
        raise InvalidJson(f"The body is nested deeper than {DEPTH_MAX} levels.") from error
    except ValueError as error:
        raise InvalidJson(f"The body is not valid JSON: {_reason(error)}.") from error
    if not isinstance(value, dict):
        raise InvalidJson("The body must be a JSON object.")
    if body.count(b"{") + body.count(b"[") > DEPTH_MAX and _deeper_than(value, DEPTH_MAX):
        raise InvalidJson(f"The body is nested deeper than {DEPTH_MAX} levels.")
    if _MAYBE_SURROGATE.search(body) is not None:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InvalidJson("The body has half of a surrogate pair, which is no character.") from error
    return value


def _head(body: Body) -> Head:
    check_places(body)
    return Head(
        model=model_of(body),
        stream=stream_of(body),
        include_usage=_include_usage(body),
        output_max=_output_max(body),
        choices=whole(body, "n", least=1) or 1,
        weight=weigh(body),
        cache_key=cache_key if isinstance(cache_key := body.get("prompt_cache_key"), str) else "",
        previous_response=earlier if isinstance(earlier := body.get("previous_response_id"), str) else "",
        stores=body.get("store") is not False,
        background=body.get("background") is True,
        cache=cache_of(body),
        route=route_of(body),
        ours=ours_of(body),
    )


def check_places(body: Body) -> None:
    """Raises: InvalidRequest, for a field that would say where it goes."""
    for name in REFUSED_FIELDS & body.keys():
        raise InvalidRequest(f"'{name}' is not taken from a request: where it goes is configured.", param=name)


def model_of(body: Body) -> str:
    """The model's name.  Raises: InvalidRequest."""
    model = body.get("model")
    if not isinstance(model, str) or not model.strip():
        missing = "model" not in body
        raise InvalidRequest(
            "The field 'model' is missing." if missing else "'model' must be a non-empty string.", param="model"
        )
    if not model.isprintable():
        raise InvalidRequest("'model' has a character that cannot be printed.", param="model")
    if len(model) > 512:
        raise InvalidRequest("'model' is longer than 512 characters.", param="model")
    return model


def stream_of(body: Body) -> bool:
    """Whether it is to be streamed.  Raises: InvalidRequest."""
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise InvalidRequest("'stream' must be true or false.", param="stream")
    return bool(stream)


def cache_of(body: Body) -> CacheField | None:
    """What the field ``cache`` says.  Raises: InvalidRequest."""
    return _cache(body["cache"]) if "cache" in body else None


def route_of(body: Body) -> RouteField | None:
    """What the field ``route`` says.  Raises: InvalidRequest."""
    return constraints.of_field(body["route"]) if "route" in body else None


def ours_of(body: Body) -> tuple[str, ...]:
    """Which of its fields are for us alone."""
    return tuple([name for name in OUR_FIELDS if name in body])


_CACHE_FLAGS = {"use-cache": "use", "no-cache": "no_cache", "no-store": "no_store"}
_CACHE_TIMES = {"ttl": "ttl_s", "s-maxage": "max_age_s", "s-max-age": "max_age_s"}
_SECONDS_MAX = 366 * 86_400


def _cache(value: Any) -> CacheField | None:
    """Source: LiteLLM's documentation, "Caching", dynamic cache controls."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidRequest("'cache' must be an object.", param="cache")
    fields: dict[str, Any] = {}
    for name, item in value.items():
        if name in _CACHE_FLAGS:
            fits = isinstance(item, bool)
        elif name in _CACHE_TIMES:
            fits = isinstance(item, int | float) and not isinstance(item, bool) and 0 <= item <= _SECONDS_MAX
        else:
            fits = name == "namespace" and isinstance(item, str) and len(item) <= 256
        if not fits:
            raise InvalidRequest(
                f"'cache' takes {', '.join(_CACHE_FLAGS)} (true or false), ttl, s-maxage (seconds) and namespace (text); "
                f"{name[:64]!r} is none of them, or has a value that it cannot have.",
                param="cache",
            )
        fields[_CACHE_FLAGS.get(name) or _CACHE_TIMES.get(name) or name] = item
    return CacheField(**fields)


def _include_usage(body: Body) -> bool | None:
    if "stream_options" not in body:
        return None
    options = body["stream_options"]
    if options is None:
        return False
    if not isinstance(options, dict):
        raise InvalidRequest("'stream_options' must be an object.", param="stream_options")
    return options.get("include_usage") is True


def _output_max(body: Body) -> int | None:
    """The largest bound that the client set: an upstream may know only one of them, and keep to that."""
    bounds = [bound for name in OUTPUT_MAX_FIELDS if (bound := whole(body, name, least=0)) is not None]
    return max(bounds, default=None)


def whole(body: Body, name: str, *, least: int) -> int | None:
    """A whole number; ``None`` if there is none.  Raises: InvalidRequest."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= COUNT_MAX:
        raise InvalidRequest(f"'{name}' must be a whole number from {least} to {COUNT_MAX:,}.", param=name)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> Body:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add() is the trick
        raise ValueError(f"the key {twice[:64]!r} stands twice in one object")
    return value


def _constant(name: str) -> Never:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"the number {text[:32]} is out of range")
    return number


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant, parse_float=_finite).decode
_MAYBE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        text = error.msg.removesuffix(" at")
        return f"{text[:1].lower()}{text[1:]} at line {error.lineno}, column {error.colno}"
    text = str(error)
    return "a whole number has too many digits" if "digits" in text and "limit" in text else text
