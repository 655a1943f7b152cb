"""Where clients call what: the paths of every protocol, once for the edge, the door, and whoever else has to know them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
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

ROOTS: Final = frozenset({path.split("/")[2] for path in PLACES} | {"models", "files", "uploads", "batches"})
"""What stands behind the version in a path that clients of providers know."""
BEGINNINGS: Final = frozenset({*(("v1", root) for root in ROOTS), ("v1beta", "models"), ("v2", "rerank")})
BEFORE: Final = frozenset({"api", "openai", "anthropic", "gemini", "v1", "v1beta"})
"""What base URLs of providers have before it, or instead of it."""
DEPLOYMENTS: Final = ("openai", "deployments")


def meant(path: str) -> tuple[str, str]:
    """The path that a client means whose base URL has too much or too little in it, and the deployment that it names.

    Doubled and trailing slashes go, and whatever stands before the version; a version that is missing or there twice is put
    right.  ``/openai/deployments/NAME/…`` is Azure's for ``/v1/…`` with the model NAME.  What is none of the providers'
    paths is left as it is.   4 µs, and only for a path that is in no table.

    Source: learn.microsoft.com/azure/ai-foundry/openai/reference, read 2026-11.
    """
    parts = [part for part in path.split("/") if part]
    if tuple(parts[:2]) == DEPLOYMENTS:
        return _deployed(path, parts[2:])
    start = next((at for at, pair in enumerate(pairwise(parts)) if pair in BEGINNINGS), None)
    if start is not None:
        return "/" + "/".join(parts[start:]), ""
    if len(parts) > 2 and parts[0] == "v1beta" and _is_method(parts[-1]):
        # Google's libraries leave a model's name that has a slash in it as it is: it could be one of tunedModels/.
        return "/".join(("/v1beta/models", *parts[1:])), ""
    bare = next((at for at, part in enumerate(parts) if part not in BEFORE), len(parts))
    if bare < len(parts) and parts[bare] in ROOTS:
        version = "v1beta" if parts[bare] == "models" and ":" in parts[-1] else "v1"
        return "/".join(("", version, *parts[bare:])), ""
    return path, ""


def _is_method(part: str) -> bool:
    _, colon, name = part.rpartition(":")
    return bool(colon) and name in METHODS


def _deployed(path: str, parts: Sequence[str]) -> tuple[str, str]:
    """The name may have slashes in it."""
    for at in range(1, len(parts)):
        place = "/".join(("/v1", *parts[at:]))
        if place in PLACES:
            return place, "/".join(parts[:at])
    return path, ""


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
