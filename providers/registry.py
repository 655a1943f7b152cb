"""Every endpoint that is spoken, and by which of its endpoints an upstream serves which of a client's."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from providers.anthropic import stored as anthropic_stored
from providers.anthropic import wire as anthropic
from providers.bedrock import wire as bedrock
from providers.cohere import wire as cohere
from providers.gemini import wire as gemini
from providers.keeping import Keeping
from providers.openai import stored as openai_stored
from providers.openai import wire as openai
from providers.protocol import Wire
from providers.provider import Endpoint, Vendor

WIRES: Final[dict[Endpoint, Wire]] = {
    wire.endpoint: wire
    for wires in (openai.WIRES, anthropic.WIRES, gemini.WIRES, bedrock.WIRES, cohere.WIRES)
    for wire in wires
}

PREFERRED: Final[tuple[Endpoint, ...]] = (
    "messages",
    "generateContent",
    "converse",
    "v2/chat",
    "chat/completions",
    "responses",
    "embeddings",
    "v2/embed",
    "invoke",
    "batchEmbedContents",
    "embedContent",
    "messages/count_tokens",
    "countTokens",
    "responses/input_tokens",
    "count-tokens",
)
"""Of several that an upstream has, the first is translated to: a vendor's own protocol says more than its layers for others."""


def way(vendor: Vendor, endpoint: Endpoint) -> Endpoint | None:
    """By which of the vendor's endpoints it answers a client that calls ``endpoint``; ``None``: not at all.

    The same one, if it has it; else one of the same kind, if both can be translated.
    """
    return endpoint if endpoint in vendor.endpoints else _translated(vendor.endpoints, endpoint)


@lru_cache(maxsize=512)
def _translated(has: frozenset[Endpoint], endpoint: Endpoint) -> Endpoint | None:
    asked = WIRES[endpoint]
    if asked.codec is None:
        return None
    for other in PREFERRED:
        wire = WIRES[other]
        if other in has and wire.kind == asked.kind and wire.codec is not None:
            return other
    return None


def keeping(vendor: Vendor) -> Keeping:
    """How a vendor is asked about the files and the batches that it keeps."""
    return anthropic_stored.KEEPING if vendor.protocol == "anthropic" else openai_stored.KEEPING
