"""What is wrong with a configuration, as sentences that name the place and the cure, and never a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from proxy.config.shape import Path, dotted

# What vendors' keys begin with.  Somebody who puts a key where a name belongs must not find it in a log.
_CREDENTIAL = re.compile(r"(?:tw-|sk-|sk_|gsk_|xai-|hf_|r8_|AIza|pplx-|nvapi-|csk-|fw_|key-|ghp_|eyJ)[A-Za-z0-9_.\-]{16,}")


class Mark(msgspec.Struct, frozen=True, order=True):
    """A place in a file; both count from 1."""

    line: int
    column: int


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong.

    origin: the file's path as the user gave it, or the environment variable's name.  mark: ``None`` for a variable.
    """

    origin: str
    mark: Mark | None
    path: Path
    what: str

    def __str__(self) -> str:
        where = self.origin if self.mark is None else f"{self.origin}:{self.mark.line}:{self.mark.column}"
        return ": ".join(part for part in (where, hidden(dotted(self.path)), self.what) if part)


class ConfigError(Exception):
    """The configuration is refused.  ``problems``: all there are, as the file has them, then the environment."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems), key=_in_order))
        super().__init__("\n".join(map(str, self.problems)))


def _in_order(problem: Problem) -> tuple[bool, Mark, str, str, str]:
    return problem.mark is None, problem.mark or Mark(0, 0), problem.origin, dotted(problem.path), problem.what


def hidden(text: str) -> str:
    """``text`` with all but the first letters of anything that looks like a credential taken out."""
    return _CREDENTIAL.sub(lambda found: found[0][:3] + "…", text)


def closest(name: object, names: Iterable[str]) -> str | None:
    """The one of ``names`` that ``name`` is most likely a slip of the pen for, if any is."""
    if not isinstance(name, str):
        return None
    by_folded = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def did_you_mean(name: object, names: Iterable[str]) -> str:
    """``; did you mean 'x'?`` if one of ``names`` resembles ``name``, else nothing."""
    near = closest(name, names)
    return "" if near is None else f"; did you mean '{near}'?"


def one_of(name: object, names: Iterable[str], label: str = "one of") -> str:
    """``; did you mean 'x'?``, or all of ``names`` where none resembles ``name``."""
    names = tuple(names)
    return did_you_mean(name, names) or f"; {label}: {', '.join(names)}"


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# pydantic's kinds of error, as sentences.  Source: pydantic.dev/docs, "Validation Errors", 2.14.
_SENTENCES = {
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping, one 'name: value' a line",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number",
    "less_than_equal": "must be at most {le}",
    "mapping_type": "must be a mapping, one 'name: value' a line",
    "model_type": "must be a mapping, one 'name: value' a line",
    "string_type": "must be text",
    "tuple_type": "must be a list",
}


def sentence(kind: str, limits: Mapping[str, Any], value: object, names: tuple[str, ...]) -> str:
    """pydantic's error of this kind in plain words.

    limits: its ``ctx``.  value: what was refused; only its type and its likeness to ``names`` (what is valid at that
    place: keys, or choices) are told.
    """
    if kind == "extra_forbidden":
        return "unknown key" + one_of(value, names, "known here")
    if kind == "literal_error":
        return f"must be {'one of ' if len(names) > 1 else ''}{', '.join(names)}" + did_you_mean(value, names)
    text = _SENTENCES[kind].format_map({key: _number(limit) for key, limit in limits.items()})
    if kind == "string_type" and isinstance(value, int | float):
        return text + "; put it in quotes"
    return text
