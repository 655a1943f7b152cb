"""Anthropic's protocol at the edge: what its bodies ask, and its list of models.

Source: platform.claude.com/docs/en/api/messages, …/messages-count-tokens and …/models/list, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from proxy.api import gate
from proxy.api.stated import UNKNOWN, Architecture, Known, Pricing, Stated, nothing
from proxy.call import PLAIN, Head, Weight
from proxy.deployments.models import Model
from proxy.errors import InvalidRequest

Body = dict[str, Any]

TEXTS: Final = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
"""Blocks whose tokens are in the body."""
ELSEWHERE: Final = ("container", "mcp_servers")
"""Fields that bring along what is not in the body."""
PAGE: Final = 1000


def head(body: Body) -> Head:
    """The few fields that the pipeline needs.  Raises: InvalidRequest, naming the field."""
    gate.check_places(body)
    metadata = body.get("metadata")
    user = metadata.get("user_id") if type(metadata) is dict else None
    return Head(
        model=gate.model_of(body),
        stream=gate.stream_of(body),
        output_max=gate.whole(body, "max_tokens", least=0),
        weight=weigh(body),
        # Clients put the session into it; and whoever asks again and again does it with the same prompt.
        cache_key=user if type(user) is str else "",
        cache=gate.cache_of(body),
        route=gate.route_of(body),
        ours=gate.ours_of(body),
    )


def weigh(body: Body) -> Weight:
    """What its bytes and its bound do not tell.  What has an unknown shape counts as a reference; nothing is refused here."""
    counted = _Counted()
    system = body.get("system")
    if type(system) is list:
        counted.blocks(system)
    messages = body.get("messages")
    for message in messages if type(messages) is list else ():
        content = message.get("content") if type(message) is dict else None
        if type(content) is list:
            counted.blocks(content)
    tools = body.get("tools")
    for tool in tools if type(tools) is list else ():
        if type(tool) is not dict or tool.get("type", "custom") != "custom":
            counted.references += 1
    counted.references += sum(bool(body.get(name)) for name in ELSEWHERE)
    tier = body.get("service_tier")
    if not (counted.references or counted.payload_bytes or tier is not None):
        return PLAIN
    return Weight(
        references=counted.references,
        payload_bytes=counted.payload_bytes,
        service_tier=tier if isinstance(tier, str) else "",
        files=tuple(dict.fromkeys(counted.files)),
    )


class _Counted:
    __slots__ = ("files", "payload_bytes", "references")

    def __init__(self) -> None:
        self.references = 0
        self.payload_bytes = 0
        self.files: list[str] = []

    def blocks(self, blocks: list[Any]) -> None:
        for block in blocks:
            if type(block) is not dict:
                continue
            kind = block.get("type")
            if kind in TEXTS:
                continue
            if kind == "tool_result":
                content = block.get("content")
                if type(content) is list:
                    self.blocks(content)
                continue
            self._block(block)

    def _block(self, block: Body) -> None:
        source = block.get("source")
        if type(source) is dict and source.get("type") == "text":
            return
        if type(source) is dict and source.get("type") == "content" and type(source.get("content")) is list:
            self.blocks(source["content"])
            return
        self.references += 1
        # Of pictures and documents it is their source's; what goes into a container names it itself.
        held = source if type(source) is dict else block
        if type(name := held.get("file_id")) is str:
            self.files.append(name)
        data = source.get("data") if type(source) is dict else None
        if type(data) is str and data.isascii():
            self.payload_bytes += len(data)


# --- models ------------------------------------------------------------------------------------------------------------


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model, as Anthropic's API lists it; what it takes and costs as OpenRouter says it, for which there is no place here."""

    type: str = "model"
    id: str
    display_name: str
    created_at: str
    max_input_tokens: int | UnsetType = UNSET
    max_tokens: int | UnsetType = UNSET
    architecture: Architecture | UnsetType = UNSET
    pricing: Pricing | UnsetType = UNSET


class ModelPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of them."""

    data: list[ModelRow]
    has_more: bool
    first_id: str | None
    last_id: str | None


def row(name: str, created_s: int, known: Stated = UNKNOWN) -> ModelRow:
    """One row.  created_s: epoch seconds."""
    made = datetime.fromtimestamp(created_s, UTC)
    return ModelRow(
        id=name,
        display_name=name,
        created_at=f"{made:%Y-%m-%dT%H:%M:%SZ}",
        max_input_tokens=known.context_length,
        max_tokens=known.output_most,
        architecture=known.architecture,
        pricing=known.pricing,
    )


def page(models: Sequence[Model], created_s: int, query: Mapping[str, str], known: Known = nothing) -> ModelPage:
    """The page that is asked for.  Raises: InvalidRequest."""
    limit = query.get("limit", str(PAGE))
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= PAGE:
        raise InvalidRequest(f"'limit' must be a whole number from 1 to {PAGE:,}.", param="limit")
    names = [it.id for it in models]
    after, before = query.get("after_id"), query.get("before_id")
    if after in names:
        names = names[names.index(after) + 1 :]
    shown = names[: int(limit)]
    if before in names:
        names = names[: names.index(before)]
        shown = names[-int(limit) :]
    return ModelPage(
        data=[row(name, created_s, known(name)) for name in shown],
        has_more=len(shown) < len(names),
        first_id=shown[0] if shown else None,
        last_id=shown[-1] if shown else None,
    )
