"""Where clients call what: the paths of every protocol, once for the edge, the door, and whoever else has to know them."""

from __future__ import annotations

import re
from typing import Final

from providers.provider import Endpoint

PLACES: Final[dict[str, Endpoint]] = {
    "/v1/chat/completions": "chat/completions",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/responses": "responses",
    "/v1/responses/input_tokens": "responses/input_tokens",
    "/v1/responses/compact": "responses/compact",
    "/v1/moderations": "moderations",
    "/v1/images/generations": "images/generations",
    "/v1/images/edits": "images/edits",
    "/v1/images/variations": "images/variations",
    "/v1/audio/speech": "audio/speech",
    "/v1/audio/transcriptions": "audio/transcriptions",
    "/v1/audio/translations": "audio/translations",
    # Cohere's newer clients call the second; what they send and read is the same.
    "/v1/rerank": "rerank",
    "/v2/rerank": "rerank",
    "/v1/messages": "messages",
    "/v1/messages/count_tokens": "messages/count_tokens",
}
"""Gemini's paths have models in them: ``METHODS``, below either of ``PREFIXES``."""

PREFIXES: Final = ("/v1beta/models/", "/v1/models/")
METHODS: Final[dict[str, tuple[Endpoint, bool]]] = {
    "generateContent": ("generateContent", False),
    "streamGenerateContent": ("generateContent", True),
    "countTokens": ("countTokens", False),
    "embedContent": ("embedContent", False),
    "batchEmbedContents": ("batchEmbedContents", False),
}
"""The endpoint of a path's method, and whether its answer is streamed."""

_ALL: Final = "|".join(
    (
        *(f"(?P<e{index}>{re.escape(path)})" for index, path in enumerate(PLACES)),
        f"(?P<gemini>(?:{'|'.join(PREFIXES)})[A-Za-z0-9._:-]+:(?:{'|'.join(METHODS)})(?:\\?alt=sse)?)",
    )
)
LINE: Final = re.compile(f"POST (?:{_ALL}) HTTP/1\\.1\r\n".encode("ascii"))
"""The first line of a plain request for any of them; the name of its last group says which."""
_NAMED: Final[dict[str, Endpoint]] = {f"e{index}": endpoint for index, endpoint in enumerate(PLACES.values())}


def of_line(head: bytes) -> Endpoint | None:
    """The endpoint of a request whose head this is, if its first line is plain; of all of Gemini's, the first."""
    found = LINE.match(head)
    if found is None or found.lastgroup is None:
        return None
    return _NAMED.get(found.lastgroup, "generateContent")
