"""Anthropic's messages at Vertex AI: the model stands in the URL, the protocol's version in the body.

Source: platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai, read 2026-11.
"""

from __future__ import annotations

from typing import Final

import msgspec

from providers.protocol import Posting
from providers.provider import HttpRequest, segment

VERSION: Final = "vertex-2023-10-16"
COUNTER: Final = "count-tokens"
"""What counts tokens is a model of its own, which is told in the body whose."""

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def posted(body: bytes, posting: Posting) -> HttpRequest:
    """The body as it is wanted here; every other value keeps its bytes."""
    upstream = posting.upstream
    fields = _FIELDS.decode(body)
    fields.setdefault("anthropic_version", msgspec.Raw(msgspec.json.encode(VERSION)))
    model = COUNTER
    if posting.endpoint == "messages":
        model = segment(posting.model)
        fields.pop("model", None)
    headers = {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "x-request-id": posting.request_id,
        **{name: value for name, value in posting.headers if name == "anthropic-beta"},
    }
    method = "streamRawPredict" if posting.stream and posting.endpoint == "messages" else "rawPredict"
    return HttpRequest(f"{upstream.base_url}/models/{model}:{method}", headers, msgspec.json.encode(fields))
