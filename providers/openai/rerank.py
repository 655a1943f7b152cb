"""Whole answers of rerankers: each vendor has its own place for what it counted."""

from __future__ import annotations

from typing import Any

import msgspec

from providers import usage
from providers.errors import InvalidResponse, RefusedInBody
from providers.openai.response import error_body
from providers.provider import Answer
from providers.usage import Semantics


class _Peek(msgspec.Struct):
    """results, data: what is ranked, in Cohere's shape and in Voyage's.  meta: what Cohere billed."""

    model: Any = None
    results: msgspec.Raw = msgspec.Raw(b"null")
    data: msgspec.Raw = msgspec.Raw(b"null")
    usage: msgspec.Raw = msgspec.Raw(b"null")
    meta: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


_peek = msgspec.json.Decoder(_Peek).decode
_NOTHING = (b"null", b"")


def decode(body: bytes, semantics: Semantics) -> Answer:
    """Peek at a 200's body.

    Raises: InvalidResponse, if it is not a JSON object; RefusedInBody, if it is an error in disguise.
    Source: docs.cohere.com/reference/rerank, docs.voyageai.com/reference/reranker-api, api.jina.ai/redoc, read 2026-11.
    """
    try:
        peek = _peek(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidResponse("The upstream's answer is not the JSON object that the protocol promises.") from error
    if bytes(peek.error) not in _NOTHING and bytes(peek.results) in _NOTHING and bytes(peek.data) in _NOTHING:
        raise RefusedInBody(error_body(body))
    raw = bytes(peek.usage)
    read = usage.read(raw, semantics) if raw not in _NOTHING else None
    if read is None and bytes(peek.meta) not in _NOTHING:
        billed = bytes(peek.meta)
        read, raw = usage.read(billed, semantics), billed
    return Answer(
        model=peek.model if isinstance(peek.model, str) else "", usage=read, usage_raw=b"" if raw in _NOTHING else raw
    )
