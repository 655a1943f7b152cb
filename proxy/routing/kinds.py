"""The kinds of task that requests are told apart by, and the names of the policies that come with Tollway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """task: the ledger's task (``ledger.catalogue.indices.TASKS``) whose benchmarks tell who is good at it.

    output_tokens: what an answer has while nobody has measured any; the configuration may say otherwise.
    """

    task: str
    output_tokens: int


KINDS: Final[Mapping[str, Kind]] = {
    "general": Kind("general", 400),
    "coding": Kind("coding", 900),
    "math": Kind("math", 900),
    "reasoning": Kind("reasoning", 900),
    "agentic": Kind("agentic", 300),
    "long_context": Kind("long_context", 600),
    "vision": Kind("vision", 400),
    "knowledge": Kind("knowledge", 300),
    "instruction": Kind("instruction", 500),
    "extraction": Kind("instruction", 250),
    "summarisation": Kind("general", 350),
    "translation": Kind("general", 400),
    "writing": Kind("general", 800),
}
"""Every kind, by name; a caller may name any of them."""

POLICY_NAMES: Final = (
    "auto",
    *(f"auto:{name}" for name in ("balanced", "cheap", "fast", "best", "coding", "floor", "nitro")),
    *(f"auto:{name}" for name in ("pareto", "cost-aware", "hybrid", "quality", "speed", "value")),
)
"""What they are is in ``proxy.routing.policy``."""
