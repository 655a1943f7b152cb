"""Names of keys, users and teams: how they are written, and which two are the same to a reader.

Source: Unicode 15.0, 3.13 (caseless matching) and DerivedCoreProperties.txt (Default_Ignorable_Code_Point).
"""

from __future__ import annotations

import re
import unicodedata

KEY_NAME_MAX = 128
OWNER_NAME_MAX = 64

# Characters that show nothing and are no format characters, which ``isprintable`` knows.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_OWNER_MARKS = "._@+-"
_LIKE_AN_ID = re.compile(r"(?:key|bud)_[0-9a-f]{16}")


def clean(name: str) -> str:
    """The name as it is kept: composed (NFC), without white space around it."""
    return unicodedata.normalize("NFC", name.strip())


def fold(name: str) -> str:
    """What two names have in common that a reader would take for one: whatever their case, width and composition.

    Folding a folded name changes nothing; names that are equal when composed and case-folded are equal when folded.
    """
    while (folded := unicodedata.normalize("NFKC", unicodedata.normalize("NFD", name).casefold())) != name:
        name = folded
    return name


def key_fault(name: str) -> str | None:
    """Why a cleaned name is none for a key; ``None``: it is one."""
    if not name or len(name) > KEY_NAME_MAX or not _visible(name):
        return f"A key's name has 1 to {KEY_NAME_MAX} printable characters."
    if _LIKE_AN_ID.fullmatch(fold(name)):
        return "A key's name must not look like an id."
    return None


def owner_fault(name: str, what: str) -> str | None:
    """Why a cleaned name is none for a ``user`` or ``team``; ``None``: it is one."""
    if not name or len(name) > OWNER_NAME_MAX or not _visible(name) or not all(_is_plain(char) for char in name):
        return f"A {what}'s name has 1 to {OWNER_NAME_MAX} letters and digits, and {' '.join(_OWNER_MARKS)} between them."
    if name[0] in _OWNER_MARKS or unicodedata.category(name[0])[0] == "M":
        return f"A {what}'s name begins with a letter or a digit."
    return None


def _visible(name: str) -> bool:
    return name.isprintable() and _INVISIBLE.search(name) is None


def _is_plain(char: str) -> bool:
    return char in _OWNER_MARKS or unicodedata.category(char)[0] in "LMN"
