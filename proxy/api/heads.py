"""The Head of a body, whatever protocol it is in."""

from __future__ import annotations

from typing import Final

import msgspec

from providers.provider import Endpoint, protocol_of
from providers.registry import WIRES
from proxy.api import anthropic, gate, gemini, media
from proxy.call import Head

WHOLE: Final[frozenset[Endpoint]] = frozenset(name for name, wire in WIRES.items() if wire.kind in ("count", "compaction"))
"""Endpoints whose answers are never streamed, whatever a body says."""
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def named(body: bytes, model: str) -> bytes:
    """The body with the model that its path names, whichever it names itself; as it is, if it is no JSON object."""
    try:
        fields = _FIELDS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body
    return msgspec.json.encode({"model": model, **fields} | {"model": model})


def admit(body: bytes, endpoint: Endpoint, method: gemini.Method | None = None) -> Head:
    """Check the body and peek at it.  method: what a path of Gemini's asks for.

    Raises: InvalidJson; InvalidRequest, naming the field.
    """
    if method is not None:
        return gemini.head(gate.parse(body), method)
    if endpoint in media.BODIES:
        return media.head(gate.parse(body), endpoint)
    head = anthropic.head(gate.parse(body)) if protocol_of(endpoint) == "anthropic" else gate.admit(body)
    # A body may be that of a request which is yet to be sent; there is nothing to be streamed about a number.
    return msgspec.structs.replace(head, stream=False) if head.stream and endpoint in WHOLE else head
