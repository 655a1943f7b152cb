"""Secrets: where a setting takes one from, how hard one is to guess, how to tell two apart without showing either."""

from __future__ import annotations

import hashlib
import math
import re
import string
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from proxy.config.problems import hidden

MIN_KEY_BITS = 128
MAX_SECRET_BYTES = 16 * 1024

EXAMPLE_KEY = "tw-3q2M8vX0dZr1LkPz7YtB5nWcE9aHsJ4uGfQoRi6SxTy"
"""The key in our own documentation.  It looks like a real one, so it is refused wherever it turns up as one."""

_WORDS = re.compile(
    r"(?i)pass(?:word|phrase)?|secret|admin|change|letmein|welcome|default|example|sample|dummy|test|demo|tollway|gateway"
    r"|proxy|token|master|root|user|local(?:host)?|qwerty|asdf|please|super|private|public|production|staging|correct|horse"
    r"|battery|staple|api|key|this|that|your|here|very|with|me|my|is|not|the|and"
)
_SHORTEST_PATTERN = 4
_CHANCE = 8  # one character in so many may follow from others in a text that is all chance


def key_bits(text: str) -> int:
    """How many bits of chance ``text`` may hold, at most: what a guesser faces who knows how such keys are made.

    A character counts what its alphabet holds: hexadecimal 4 bits, letters of both cases 6.  Common words, runs
    (``aaaa``, ``1234``, ``dcba``) and repetitions count as one character each, ``tw-`` and dashes between hexadecimals
    as none.
    A sentence of rarer words is overrated; ``openssl rand -hex 16`` is 128 exactly.
    """
    text = text.removeprefix("tw-")[:256]
    if re.fullmatch(r"[0-9a-f-]+|[0-9A-F-]+", text):
        text = text.replace("-", "")
    length = _surprises(_WORDS.sub(lambda word: word[0][0], text))
    if len(text) - length <= len(text) // _CHANCE:
        length = len(text)
    return math.floor(length * math.log2(_alphabet(text)))


def _alphabet(text: str) -> int:
    """How many characters the author of ``text`` chose from, judged by those that are there; at least 1."""
    chars = set(text)
    if chars <= set(string.digits):
        return 10
    if re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", text):
        return 16
    others = len(chars.difference(string.ascii_letters, string.digits))
    if chars & set(string.ascii_lowercase) and chars & set(string.ascii_uppercase):
        return max(64, 62 + others)
    return 26 * bool(chars & set(string.ascii_letters)) + 10 * bool(chars & set(string.digits)) + others


def _surprises(text: str) -> int:
    """How many characters of ``text`` are left when each run and each repetition of four or more counts as one."""
    count = 0
    index = 0
    while index < len(text):
        length = max(_repeated(text, index), _run(text, index))
        index += length if length >= _SHORTEST_PATTERN else 1
        count += 1
    return count


def _repeated(text: str, index: int) -> int:
    """The length of the longest text at ``index`` that also stands before it."""
    length = 0
    while index + length < len(text) and text[index : index + length + 1] in text[:index]:
        length += 1
    return length


def _run(text: str, index: int) -> int:
    """The length of the run at ``index``: characters all the same, or each the next, or each the one before."""
    length = 1
    step = None
    while index + length < len(text):
        this = ord(text[index + length]) - ord(text[index + length - 1])
        if abs(this) > 1 or step not in (None, this):
            break
        step = this
        length += 1
    return length


def fingerprint(secret: SecretStr) -> str:
    """Eight hexadecimal digits that tell secrets apart and give none away."""
    return hashlib.blake2s(secret.get_secret_value().encode(), digest_size=4, person=b"tollway").hexdigest()


def is_published(secret: SecretStr) -> bool:
    """Whether everybody knows it, because our documentation prints it."""
    return secret.get_secret_value() == EXAMPLE_KEY


def is_literal(text: str) -> bool:
    """Whether ``text`` is the secret itself, not where it is found."""
    return not text.startswith(("env:", "file:"))


def resolve(text: str, *, environ: Mapping[str, str], folder: Path) -> SecretStr:
    """The secret that ``text`` names: ``env:NAME``, ``file:PATH`` (relative to ``folder``), or itself.

    Raises: ValueError, with a sentence that does not show it.
    """
    scheme, _, rest = text.partition(":")
    if scheme == "env" and not is_literal(text):
        return _usable(_from_environment(rest, environ), f"environment variable {hidden(rest)}")
    if scheme == "file" and not is_literal(text):
        return _usable(_from_file(rest, folder), f"file {hidden(rest)}")
    if found := re.fullmatch(r"\$\{?([A-Za-z_]\w*)\}?|os\.environ/([A-Za-z_]\w*)", text):
        raise ValueError(f"nothing is expanded inside of a value; did you mean 'env:{hidden(found[1] or found[2])}'?")
    return _usable(text, "")


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("'env:' takes the name of one environment variable and nothing else")
    if not environ.get(name):
        raise ValueError(f"environment variable {hidden(name)} is not set")
    return environ[name].strip()


def _from_file(name: str, folder: Path) -> str:
    if not name:
        raise ValueError("'file:' takes a path")
    try:
        with (folder / name).open("rb") as file:
            data = file.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        raise ValueError(f"file {hidden(name)}: {reason.lower()}") from None
    return data.decode("latin-1").strip()


def _usable(value: str, source: str) -> SecretStr:
    # It becomes part of a header, where a line end would begin another header.
    subject = f"{source} " if source else ""
    if not value:
        raise ValueError(f"{subject}is empty" if source else "must not be empty")
    if len(value) > MAX_SECRET_BYTES:
        raise ValueError(f"{subject}must not be longer than {MAX_SECRET_BYTES} bytes")
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError(f"{subject}must be visible ASCII characters without spaces")
    return SecretStr(value)
