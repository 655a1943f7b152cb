"""Whole answers that are pictures: megabytes of base64 that are looked around, not into, and never copied."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from providers import usage
from providers.errors import InvalidResponse, RefusedInBody
from providers.openai.response import error_body, served
from providers.provider import Answer
from providers.usage import Semantics, Usage

ANSWER_MAX_BYTES: Final = 256 * 1024 * 1024
"""Of a whole answer: ten pictures of the largest size that there is, as PNG in base64, have about 200 MB."""

PARTIAL_TOKENS: Final = 100
"""Of a picture that is sent before it is finished.  Source: platform.openai.com/docs/guides/image-generation, read 2026-11."""

_KEY: Final = b'"b64_json"'
_PAYLOAD: Final = re.compile(rb'"b64_json"\s*:\s*"')


class _Peek(msgspec.Struct):
    """What is read of an answer; of a picture only that it is one."""

    model: Any = None
    data: list[msgspec.Raw] | None = None
    size: Any = None
    quality: Any = None
    usage: msgspec.Raw = msgspec.Raw(b"null")
    svg_usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")
    service_tier: Any = None


_peek = msgspec.json.Decoder(_Peek).decode


def decode(body: bytes, semantics: Semantics) -> Answer:
    """Peek at a 200's body.  About 40 µs for a picture of 3 MB.

    Raises: InvalidResponse, if it is not a JSON object; RefusedInBody, if it is an error in disguise.
    Source: platform.openai.com/docs/api-reference/images/object, and the types of openai 3.51 (``svg_usage``), read 2026-11.
    """
    lean = without_pictures(body)
    try:
        peek = _peek(lean)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidResponse("The upstream's answer is not the JSON object that the protocol promises.") from error
    raw = bytes(peek.usage)
    if bytes(peek.error) not in (b"null", b"") and raw == b"null":
        raise RefusedInBody(error_body(lean))
    pictures = len(peek.data or ())
    return Answer(
        model=peek.model if isinstance(peek.model, str) else "",
        usage=_usage(peek, raw, pictures, semantics),
        usage_raw=b"" if raw == b"null" else raw,
    )


def without_pictures(body: bytes) -> bytes:
    """JSON with every ``b64_json`` emptied; the rest as it is.  Base64 has no quotation marks, so the next one ends it."""
    at = body.find(_KEY)
    if at < 0:
        return body
    parts = []
    start = 0
    while at >= 0:
        found = _PAYLOAD.match(body, at)
        end = -1 if found is None else body.find(b'"', found.end())
        if found is None or end < 0:
            at = body.find(_KEY, at + len(_KEY))
            continue
        parts.append(body[start : found.end()])
        start = end
        at = body.find(_KEY, end)
    parts.append(body[start:])
    return b"".join(parts)


def _usage(peek: _Peek, raw: bytes, pictures: int, semantics: Semantics) -> Usage | None:
    """The tokens that are counted, and the pictures that are there."""
    read = served(usage.read(raw, semantics), peek.service_tier) if raw != b"null" else None
    if read is None and not pictures:
        return None
    return replace(
        read or Usage(counted=False),
        images=pictures,
        image_size=peek.size if isinstance(peek.size, str) else "",
        image_quality=peek.quality if isinstance(peek.quality, str) else "",
        # A model of text has written what is drawn, and is charged at its own price.
        others=int(bytes(peek.svg_usage) not in (b"null", b"")),
    )
