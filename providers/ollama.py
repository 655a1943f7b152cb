"""What Ollama's own API says of the models that it serves by OpenAI's.

Source: github.com/ollama/ollama/blob/main/docs/api.md and docs.ollama.com/api (show model details, list running models), read
2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from providers.provider import TOKENS_MAX, Skill, Traits

SHOW: Final = "api/show"
"""POSTed ``{"model": name}``."""
RUNNING: Final = "api/ps"
_SKILLS: Final[Mapping[str, Skill]] = {
    "completion": "chat",
    "embedding": "embedding",
    "tools": "tools",
    "vision": "vision",
    "thinking": "thinking",
}
_NUM_CTX: Final = re.compile(r"^num_ctx\s+(\d{1,9})$", re.MULTILINE)


class _Show(msgspec.Struct):
    parameters: str = ""
    model_info: dict[str, Any] = {}
    capabilities: tuple[str, ...] | None = None


class _Running(msgspec.Struct):
    name: str
    context_length: int | None = None


class _Page(msgspec.Struct):
    models: tuple[_Running, ...] = ()


_show = msgspec.json.Decoder(_Show).decode
_page = msgspec.json.Decoder(_Page).decode


def running(body: bytes) -> dict[str, int]:
    """How many tokens each model that is loaded takes in, by its name.  Raises: ValueError."""
    return {it.name: count for it in _page(body).models if (count := _count(it.context_length)) is not None}


def traits(body: bytes, loaded_tokens: int | None) -> Traits:
    """What ``show`` says of a model.  loaded_tokens: what it takes in as it is loaded now.  Raises: ValueError.

    What it takes in is what it is loaded with; else what its file asks for; else the most that it was made for, which the
    server may cut: a longer prompt loses its beginning without a word.
    """
    said = _show(body)
    architecture = said.model_info.get("general.architecture")
    most = said.model_info.get(f"{architecture}.context_length")
    asked = _NUM_CTX.search(said.parameters)
    known = (loaded_tokens, int(asked[1]) if asked else None, most)
    return Traits(
        context_tokens=next((count for it in known if (count := _count(it)) is not None), None),
        can=None if said.capabilities is None else frozenset(_SKILLS[it] for it in said.capabilities if it in _SKILLS),
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= TOKENS_MAX else None
