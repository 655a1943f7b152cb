"""The providers that the installed litellm knows, read from its source: importing it takes seconds."""

from __future__ import annotations

import ast
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

_FILE: Final = Path("types", "utils.py")
_CLASS: Final = "LlmProviders"
_LIKE: Final = Path("llms", "openai_like", "providers.json")
"""The enumeration of litellm's providers, by the names that stand before its models, and the list of those that are rows.

Source: litellm 1.109.1, read 2026-11-22.
"""


@lru_cache(maxsize=1)
def known() -> frozenset[str]:
    """Their names; none, where litellm is not installed or does not list them there any more.  About 0.1 s, once."""
    found = find_spec("litellm")
    if found is None or found.origin is None:
        return frozenset()
    folder = Path(found.origin).parent
    try:
        tree = ast.parse((folder / _FILE).read_text(encoding="utf-8"))
        rows = msgspec.json.decode((folder / _LIKE).read_bytes(), type=dict[str, Any])
    except (OSError, ValueError, SyntaxError):
        return frozenset()
    bodies = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == _CLASS)
    spoken = {
        line.value.value
        for body in bodies
        for line in body
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
    }
    return frozenset(spoken | rows.keys()) if spoken else frozenset()
