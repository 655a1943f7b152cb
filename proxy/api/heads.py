"""The Head of a body, whatever protocol it is in."""

from __future__ import annotations

from providers.provider import Endpoint, protocol_of
from proxy.api import anthropic, gate, gemini, media
from proxy.call import Head


def admit(body: bytes, endpoint: Endpoint, method: gemini.Method | None = None) -> Head:
    """Check the body and peek at it.  method: what a path of Gemini's asks for.

    Raises: InvalidJson; InvalidRequest, naming the field.
    """
    if method is not None:
        return gemini.head(gate.parse(body), method)
    if endpoint in media.BODIES:
        return media.head(gate.parse(body), endpoint)
    return anthropic.head(gate.parse(body)) if protocol_of(endpoint) == "anthropic" else gate.admit(body)
