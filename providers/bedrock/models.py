"""How the models behind Converse are told what the API has no place for: it is one, but each publisher has words of its own.

Whose words a model understands, the publisher's part of its id says; what the model can, the ability does.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from providers.provider import segment
from providers.thinking import ANY, Thinking

Place = Literal["system", "messages", "tools"]
Thinks = Literal["", "claude", "nova", "effort", "config"]
"""In which words a model is told to think: Anthropic's ``thinking``; Nova's ``reasoningConfig``; ``reasoning_effort``;
``reasoning_config``.  Empty: in none, and it thinks as it does.
"""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes.

    claude: thoughts are sealed as Anthropic itself seals them, and some fields are Anthropic's own.
    thinks: in which words it is told to think.   thinking: what it can be told.
    top_k: where that setting goes; empty: nowhere.  caches: what may be marked as worth keeping.
    strict: it takes ``strict`` in a tool.
    """

    claude: bool = False
    thinks: Thinks = ""
    thinking: Thinking = ANY
    top_k: Literal["", "top_k", "topK"] = ""
    caches: frozenset[Place] = frozenset()
    strict: bool = False


USUAL: Final = Limits()
_ALL: Final[frozenset[Place]] = frozenset(("system", "messages", "tools"))
_TALK: Final[frozenset[Place]] = frozenset(("system", "messages"))
_CLAUDE: Final = Limits(claude=True, thinks="claude", top_k="top_k", caches=_ALL, strict=True)

# Sources: docs.aws.amazon.com/bedrock/latest/userguide/{conversation-inference-supported-models-features, prompt-caching,
# claude-messages-extended-thinking, claude-messages-adaptive-thinking}.html, docs.aws.amazon.com/nova/latest/nova2-userguide,
# read 2026-11; recorded requests for gpt-oss and Qwen.
_ROWS: Final = tuple(
    (re.compile(rf"(?:^|[./])(?:{publisher})\."), limits)
    for publisher, limits in (
        ("anthropic", _CLAUDE),
        ("amazon", Limits(thinks="nova", top_k="topK", caches=_TALK)),
        ("openai", Limits(thinks="effort")),
        ("qwen", Limits(thinks="config")),
    )
)


def limits_of(model: str, thinking: Thinking = ANY, *, caches: bool = True) -> Limits:
    """What a model takes, by its id, with or without the prefix of an inference profile, or by an ARN that has it.

    thinking, caches: what is known of it.
    """
    if not model:
        # Of an answer whose model nobody told: nobody but Claude seals thoughts.
        return _CLAUDE
    limits = next((limits for publisher, limits in _ROWS if publisher.search(model)), USUAL)
    if thinking is ANY and caches:
        return limits
    return msgspec.structs.replace(
        limits,
        thinking=thinking,
        caches=limits.caches if caches else frozenset(),
        # Those that are told to think are those that take it.
        strict=limits.strict and thinking.thinks,
    )


def url(base_url: str, model: str, action: str) -> str:
    """Where a request goes.  action: ``converse``, ``converse-stream``, ``invoke``, ``count-tokens``.

    The model's id is one segment of the path, whatever is in it: a colon, or the slashes of an ARN.
    """
    return f"{base_url}/model/{segment(model)}/{action}"


_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}")


def is_region(text: str) -> bool:
    """Whether it is the name of one of AWS's regions, such as ``us-east-1``, as far as its form tells."""
    return _REGION.fullmatch(text) is not None
