"""What each provider and each protocol can do, asked of the code that does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from msgspec.structs import replace

from providers.canonical import (
    Audio,
    CacheHint,
    File,
    Function,
    Image,
    Media,
    Message,
    NativeTool,
    OutputFormat,
    Part,
    ReasoningAsk,
    Request,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    Unsupported,
    Video,
)
from providers.openai.vendors import VENDORS
from providers.protocol import Ability, Codec
from providers.provider import Endpoint, Vendor
from providers.registry import WIRES, way

CALLED: Final[tuple[Endpoint, ...]] = (
    "chat/completions",
    "responses",
    "responses/input_tokens",
    "responses/compact",
    "completions",
    "embeddings",
    "realtime",
    "messages",
    "messages/count_tokens",
    "generateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
)
MEDIA: Final[tuple[Endpoint, ...]] = (
    "moderations",
    "images/generations",
    "images/edits",
    "images/variations",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "rerank",
)
"""Those that pass through and are never translated."""
PROTOCOLS: Final[tuple[Endpoint, ...]] = ("chat/completions", "responses", "messages", "generateContent")

PASSES, TRANSLATED, ESTIMATED, NO = "yes", "translated", "estimate", "–"


def serves(vendor: Vendor, endpoint: Endpoint) -> str:
    """How a vendor's models answer a client that calls an endpoint."""
    spoken = way(vendor, endpoint)
    if spoken is None:
        return ESTIMATED if WIRES[endpoint].kind == "count" else NO
    return PASSES if spoken == endpoint else TRANSLATED


def vendors() -> Iterator[tuple[str, ...]]:
    """A row for each vendor: how it serves each endpoint, and how it tells what a stream used."""
    for vendor in VENDORS.values():
        usage = "asked for" if vendor.protocol in ("openai", "azure") and vendor.asks_usage else "unasked"
        yield f"`{vendor.name}`", *(serves(vendor, endpoint) for endpoint in CALLED), usage


def media() -> Iterator[tuple[str, ...]]:
    """A row for each vendor that has any of those that are never translated: which."""
    for vendor in VENDORS.values():
        if not vendor.endpoints.isdisjoint(MEDIA):
            yield f"`{vendor.name}`", *(serves(vendor, endpoint) for endpoint in MEDIA)


# --- protocols ---------------------------------------------------------------------------------------------------------

_DATA: Final = Media(data="QUJD", media_type="image/png")
_FUNCTION: Final = Function(name="f", parameters={"type": "object", "properties": {}})
_CALL: Final = ToolCall(id="c", name="f", arguments="{}")


def _asking(**more: Any) -> Request:
    said = Message(role="user", parts=(Text(text="a"),))
    return replace(Request(family="bedrock", model="m", messages=(said,), tools=(_FUNCTION,)), **more)


def _part(*parts: Part) -> Request:
    return _asking(messages=(Message(role="user", parts=(Text(text="a"), *parts)),))


FEATURES: Final[tuple[tuple[str, Request], ...]] = (
    ("pictures, as data", _part(Image(media=_DATA))),
    ("pictures, by URL", _part(Image(media=Media(url="https://host/a.png")))),
    ("sound", _part(Audio(media=Media(data="QUJD", media_type="audio/wav"), format="wav"))),
    ("video", _part(Video(media=Media(data="QUJD", media_type="video/mp4")))),
    ("documents", _part(File(media=Media(data="QUJD", media_type="application/pdf"), name="a.pdf"))),
    ("another provider's files, by id", _part(File(media=Media(file_id="file_1")))),
    (
        "tool calls and their results",
        _asking(
            messages=(
                Message(role="user", parts=(Text(text="a"),)),
                Message(role="assistant", parts=(_CALL,)),
                Message(role="tool", parts=(ToolResult(id="c", name="f", content=(Text(text="b"),)),)),
            )
        ),
    ),
    ("tools of free text", _asking(tools=(Function(name="f", custom=True),))),
    ("another provider's own tools", _asking(tools=(_FUNCTION, NativeTool(family="cohere", value={"type": "x"})))),
    ("one tool, chosen", _asking(tool_choice=ToolChoice(mode="required", names=("f",)))),
    ("no parallel calls", _asking(parallel_tools=False)),
    ("JSON by a schema", _asking(output_format=OutputFormat(kind="schema", schema={"type": "object"}))),
    ("JSON without one", _asking(output_format=OutputFormat(kind="json"))),
    ("effort of thinking", _asking(reasoning=ReasoningAsk(effort="high"), output_max=64_000)),
    ("budget of thinking", _asking(reasoning=ReasoningAsk(budget_tokens=4_096), output_max=64_000)),
    ("several answers", _asking(choices=2)),
    ("log probabilities", _asking(logprobs=True)),
    ("penalties", _asking(presence_penalty=0.5)),
    ("temperature above 1", _asking(temperature=1.5)),
    ("top k", _asking(top_k=5)),
    ("seed", _asking(seed=7)),
    ("stop sequences", _asking(stop=("x",))),
    ("cache hints", _part(Text(text="b", cache=CacheHint()))),
    ("user", _asking(user="u")),
    ("spoken answers", _asking(modalities=("text", "audio"))),
)
"""What is asked besides a text, by a client of some other protocol."""


def takes(endpoint: Endpoint, feature: str, asked: Request) -> str:
    """What becomes of a feature when it is said in the endpoint's protocol."""
    codec = WIRES[endpoint].codec
    assert isinstance(codec, Codec)  # noqa: S101  # those of the table have one
    without = _part(Text(text="b")) if feature == "cache hints" else _asking(output_max=asked.output_max)
    try:
        said = codec.encode_request(asked, Ability())
    except Unsupported:
        return "refused"
    return "dropped" if said == codec.encode_request(without, Ability()) else "yes"


def protocols() -> Iterator[tuple[str, ...]]:
    """A row for each feature: what becomes of it in each protocol."""
    for feature, asked in FEATURES:
        yield feature, *(takes(endpoint, feature, asked) for endpoint in PROTOCOLS)
