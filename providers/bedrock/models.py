"""What the models behind Converse can do, by their names: the API is one, but what they are told beside it is not."""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from providers.provider import segment

Place = Literal["system", "messages", "tools"]
Thinks = Literal["", "budget", "adaptive", "nova", "effort", "config"]
"""How a model is told to think: with Anthropic's ``thinking``, by tokens or adaptively; Nova's ``reasoningConfig``;
``reasoning_effort``; ``reasoning_config``.  Empty: it thinks as it does.
"""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a family of models takes.

    claude: thoughts are sealed as Anthropic itself seals them, and some fields are Anthropic's own.
    budget_max: the most tokens that are asked for when an effort is turned into a budget.
    top_k: where that setting goes; empty: nowhere.  caches: what may be marked as worth keeping.
    strict: it takes ``strict`` in a tool.
    """

    claude: bool = False
    thinks: Thinks = ""
    budget_max: int = 32_000
    top_k: Literal["", "top_k", "topK"] = ""
    caches: frozenset[Place] = frozenset()
    strict: bool = False


USUAL: Final = Limits()
_ALL: Final[frozenset[Place]] = frozenset(("system", "messages", "tools"))
_TALK: Final[frozenset[Place]] = frozenset(("system", "messages"))
_CLAUDE: Final = Limits(claude=True, thinks="budget", top_k="top_k", caches=_ALL, strict=True)

# The first that is found in the name counts.
# Sources: docs.aws.amazon.com/bedrock/latest/userguide/{conversation-inference-supported-models-features, prompt-caching,
# claude-messages-extended-thinking, claude-messages-adaptive-thinking}.html, docs.aws.amazon.com/nova/latest/nova2-userguide,
# read 2026-11; recorded requests for gpt-oss and Qwen.
_ROWS: Final = tuple(
    (re.compile(pattern), limits)
    for pattern, limits in (
        (r"anthropic\.claude-[a-z]+-(4-[6-9]|[5-9])", msgspec.structs.replace(_CLAUDE, thinks="adaptive")),
        (r"anthropic\.claude-([a-z]+-4|3-7)", _CLAUDE),
        (r"anthropic\.claude-3-5-(haiku|sonnet-20241022)", Limits(claude=True, top_k="top_k", caches=_ALL)),
        (r"anthropic\.", Limits(claude=True, top_k="top_k")),
        (r"amazon\.nova-2", Limits(thinks="nova", top_k="topK", caches=_TALK)),
        (r"amazon\.nova", Limits(top_k="topK", caches=_TALK)),
        (r"openai\.gpt-oss", Limits(thinks="effort")),
        (r"qwen\.qwen3", Limits(thinks="config")),
    )
)


def limits_of(model: str) -> Limits:
    """What a model takes, by its id, with or without the prefix of an inference profile, or by an ARN that has it."""
    if not model:
        # Of an answer whose model nobody told: nobody but Claude seals thoughts.
        return _CLAUDE
    return next((limits for pattern, limits in _ROWS if pattern.search(model)), USUAL)


def url(base_url: str, model: str, action: str) -> str:
    """Where a request goes.  action: ``converse``, ``converse-stream``, ``invoke``, ``count-tokens``.

    The model's id is one segment of the path, whatever is in it: a colon, or the slashes of an ARN.
    """
    return f"{base_url}/model/{segment(model)}/{action}"


_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}")


def is_region(text: str) -> bool:
    """Whether it is the name of one of AWS's regions, such as ``us-east-1``, as far as its form tells."""
    return _REGION.fullmatch(text) is not None
