"""What may be kept and replayed: by the operator's policy for the model, the request itself, and what its caller asks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

from providers.provider import Protocol
from proxy.call import Call
from proxy.errors import InvalidRequest

Mode = Literal["off", "asked", "on"]

REMEMBERED_MAX = 4096
"""Names of models whose policy is remembered."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is done with a model's answers.

    mode: ``off``; ``asked``: kept and replayed for requests that ask for it; ``on``: for all that do not decline.
    ttl_s: how long an answer is kept; 0: not at all.
    temperature_max: a request that sets a higher temperature wants its answers to differ, and has to ask.
    """

    mode: Mode = "off"
    ttl_s: float = 3600.0
    temperature_max: float = 0.0


class Policies:
    """The policy of each model, by glob patterns over the name that is asked for; the first that fits counts."""

    def __init__(self, default: Policy, rows: Sequence[tuple[str, Policy]] = ()) -> None:
        self._default = default
        self._rows = tuple(rows)
        self._found: dict[str, Policy] = {}

    def find(self, model: str) -> Policy:
        """The policy of a model."""
        if not self._rows:
            return self._default
        found = self._found.get(model)
        if found is None:
            found = next((policy for pattern, policy in self._rows if fnmatchcase(model, pattern)), self._default)
            if len(self._found) >= REMEMBERED_MAX:
                self._found.clear()
            self._found[model] = found
        return found


class Wish(msgspec.Struct, kw_only=True):
    """What a caller asks of the cache.

    use: keep and replay, also where that is not done unasked.  decline: neither.  fresh: a new answer; it is kept.
    only: a kept answer or none.  keep: ``False``: this answer is not to be kept.
    """

    use: bool = False
    decline: bool = False
    fresh: bool = False
    only: bool = False
    keep: bool = True
    ttl_s: float | None = None
    max_age_s: float | None = None
    namespace: str = ""


_SECONDS = re.compile(r"[0-9]{1,9}")


def wish_of(call: Call) -> Wish:
    """What the headers ``cache-control`` and ``x-tollway-cache`` and the field ``cache`` say; the strictest counts.

    Raises: InvalidRequest, for a value of ``x-tollway-cache`` that there is not.
    Source: RFC 9111, section 5.2.1, for ``no-cache``, ``no-store``, ``max-age`` and ``only-if-cached``; others are ignored.
    """
    wish = Wish()
    for name, value in call.headers:
        if name == b"cache-control":
            _read_directives(wish, value.decode("latin-1").lower())
        elif name == b"x-tollway-cache":
            _read_word(wish, value.decode("latin-1").strip().lower())
    field = call.head.cache
    if field is not None:
        wish.use = wish.use or field.use
        wish.fresh = wish.fresh or field.no_cache
        wish.keep = wish.keep and not field.no_store
        wish.ttl_s = field.ttl_s
        wish.max_age_s = _least(wish.max_age_s, field.max_age_s)
        wish.namespace = field.namespace
    if wish.max_age_s is not None and wish.max_age_s <= 0:
        wish.fresh = True
    return wish


def _read_directives(wish: Wish, text: str) -> None:
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name == "no-cache":
            wish.fresh = True
        elif name == "no-store":
            wish.keep = False
        elif name == "only-if-cached":
            wish.only = True
        elif name == "max-age" and _SECONDS.fullmatch(value.strip('" ')) is not None:
            wish.max_age_s = _least(wish.max_age_s, float(value.strip('" ')))


def _read_word(wish: Wish, word: str) -> None:
    if word == "on":
        wish.use = True
    elif word == "off":
        wish.decline = True
    elif word == "refresh":
        wish.fresh = True
    else:
        raise InvalidRequest("The header 'x-tollway-cache' takes on, off or refresh.", param="x-tollway-cache")


def _least(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else min(a, b)


def applies(policy: Policy, wish: Wish, fields: dict[str, Any], protocol: Protocol = "openai") -> bool:
    """Whether a request may be answered by a kept answer, and its answer be kept.

    fields: its body.  What changes something at the provider is sent every time, whatever its caller asks.
    """
    if wish.decline or (policy.mode != "on" and not wish.use):
        return False
    if fields.get("store") is True or fields.get("background") is True or fields.get("conversation") is not None:
        return False
    if wish.use:
        return True
    if protocol == "gemini":
        return not (_is_sampled(_config(fields), policy.temperature_max) or _looks_outside_gemini(fields))
    return not (_is_sampled(fields, policy.temperature_max) or _looks_outside(fields))


def _is_sampled(fields: dict[str, Any], temperature_max: float) -> bool:
    """Whether its caller set a temperature at which answers are meant to differ."""
    given = fields.get("temperature")
    if given is None:
        return False
    try:
        # A fraction is kept as it is spelled.
        return float(bytes(given) if isinstance(given, msgspec.Raw) else given) > temperature_max
    except (TypeError, ValueError):
        return True


def _config(fields: dict[str, Any]) -> dict[str, Any]:
    """Gemini's settings, in either of its spellings."""
    found = [fields.get("generationConfig"), fields.get("generation_config")]
    return {name: value for config in found if isinstance(config, dict) for name, value in config.items()}


_FUNCTIONS = frozenset({"functionDeclarations", "function_declarations"})


def _looks_outside_gemini(fields: dict[str, Any]) -> bool:
    tools = fields.get("tools")
    return isinstance(tools, list) and any(not isinstance(it, dict) or it.keys() - _FUNCTIONS for it in tools)


_INSIDE = frozenset({"function", "custom"})


_OUTSIDE = ("web_search_options", "audio", "container", "mcp_servers")


def _looks_outside(fields: dict[str, Any]) -> bool:
    """Whether the provider itself searches, browses, or runs something for it: that is done anew each time."""
    tools = fields.get("tools")
    hosted = isinstance(tools, list) and any(isinstance(it, dict) and it.get("type", "function") not in _INSIDE for it in tools)
    # Answers in audio have ids that end.
    return hosted or any(fields.get(name) is not None for name in _OUTSIDE)
