"""What LM Studio's own API says of the models that it serves by OpenAI's: the first version of it, or the one before.

Source: lmstudio.ai/docs/developer/rest (v1, since 0.4) and lmstudio.ai/docs/developer/rest/endpoints (v0), read 2026-11.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from providers.provider import TOKENS_MAX, Skill, Traits

PLACES: Final = ("api/v1/models", "api/v0/models")
"""Where the list is; a server that does not know one answers 404, or 200 with an error."""


class _Config(msgspec.Struct):
    context_length: Any = None


class _Instance(msgspec.Struct):
    id: str = ""
    config: _Config = msgspec.field(default_factory=_Config)


class _Capabilities(msgspec.Struct):
    vision: bool = False
    trained_for_tool_use: bool = False
    thinking: bool = False


class _Model(msgspec.Struct):
    """One of v1's."""

    key: str
    type: str = ""
    max_context_length: Any = None
    loaded_instances: tuple[_Instance, ...] = ()
    capabilities: _Capabilities | None = None


class _Older(msgspec.Struct):
    """One of v0's."""

    id: str
    type: str = ""
    max_context_length: Any = None
    loaded_context_length: Any = None
    capabilities: tuple[str, ...] | None = None


class _Page(msgspec.Struct):
    models: tuple[_Model, ...]


class _OlderPage(msgspec.Struct):
    data: tuple[_Older, ...]


_page = msgspec.json.Decoder(_Page).decode
_older_page = msgspec.json.Decoder(_OlderPage).decode


def traits(place: str, body: bytes) -> dict[str, Traits]:
    """What the list at one of ``PLACES`` says, by the names that OpenAI's API has for them.  Raises: ValueError.

    A model takes in what it is loaded with, else the most that it can be loaded with.
    """
    if place == PLACES[0]:
        found: dict[str, Traits] = {}
        for it in _page(body).models:
            loaded = [_count(instance.config.context_length) for instance in it.loaded_instances]
            own = Traits(context_tokens=next(filter(None, loaded), _count(it.max_context_length)), can=_can(it))
            found |= dict.fromkeys((it.key, *(instance.id for instance in it.loaded_instances if instance.id)), own)
        return found
    return {
        it.id: Traits(context_tokens=_count(it.loaded_context_length) or _count(it.max_context_length), can=_older_can(it))
        for it in _older_page(body).data
    }


def _can(it: _Model) -> frozenset[Skill] | None:
    if it.type == "embedding":
        return frozenset({"embedding"})
    if it.capabilities is None:
        return None
    flags: dict[Skill, bool] = {
        "chat": True,
        "vision": it.capabilities.vision,
        "tools": it.capabilities.trained_for_tool_use,
        "thinking": it.capabilities.thinking,
    }
    return frozenset(name for name, can in flags.items() if can)


def _older_can(it: _Older) -> frozenset[Skill] | None:
    if it.type == "embeddings":
        return frozenset({"embedding"})
    if it.capabilities is None:
        # Before 0.3.16 nothing was said of tools.
        return None
    flags: dict[Skill, bool] = {"chat": True, "vision": it.type == "vlm", "tools": "tool_use" in it.capabilities}
    return frozenset(name for name, can in flags.items() if can)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= TOKENS_MAX else None
