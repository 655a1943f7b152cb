"""OpenAI's embeddings: to the canonical form and back.

Source: platform.openai.com/docs/api-reference/embeddings, read 2026-11.
"""

from __future__ import annotations

import base64
import struct
from array import array
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from providers.canonical import EmbeddingRequest, EmbeddingResponse, Malformed, Unsupported
from providers.errors import InvalidResponse
from providers.openai import response
from providers.openai.chat_response import usage_json
from providers.protocol import EmbeddingCodec, Told
from providers.reading import Fields, without_nothing
from providers.usage import Semantics

BASE64: Final = "base64"


class _Row(msgspec.Struct):
    embedding: list[float] | str
    index: int = 0


class _Rows(msgspec.Struct):
    data: list[_Row]


_decode = msgspec.json.Decoder(_Rows).decode


def decode_request(body: Mapping[str, Any], model: str) -> EmbeddingRequest:
    """A client's request.  Raises: Malformed; Unsupported, for tokens."""
    fields = Fields(body)
    given = fields.any("input")
    fields.any("model")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise Malformed("input", "must be a text or a list of texts")
    if not all(isinstance(it, str) for it in texts):
        raise Unsupported("input", "only its own protocol takes tokens")
    if fields.text("encoding_format") not in ("", "float", BASE64):
        raise Malformed("encoding_format", f"must be 'float' or '{BASE64}'")
    return EmbeddingRequest(
        family="openai-chat",
        model=model,
        texts=tuple(texts),
        dimensions=fields.whole("dimensions"),
        user=fields.text("user"),
        extra=fields.rest,
    )


def encode_request(asked: EmbeddingRequest) -> dict[str, Any]:
    """The body for a provider."""
    return without_nothing(
        {
            "model": asked.model,
            "input": list(asked.texts),
            "encoding_format": "float",
            "dimensions": asked.dimensions,
            "user": asked.user,
        }
    )


def decode_answer(body: bytes, semantics: Semantics) -> EmbeddingResponse:
    """A provider's answer.  Raises: InvalidResponse, RefusedInBody."""
    read = response.decode(body, semantics)
    try:
        rows = sorted(_decode(body).data, key=lambda row: row.index)
        vectors = tuple(tuple(_numbers(row.embedding)) for row in rows)
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidResponse("The upstream's answer has no embeddings.") from error
    if not vectors:
        raise InvalidResponse("The upstream's answer has no embeddings.")
    return EmbeddingResponse(model=read.model, vectors=vectors, usage=read.usage, usage_raw=read.usage_raw)


def _numbers(vector: list[float] | str) -> list[float]:
    """The numbers; some send base64 though it was not asked for."""
    return vector if isinstance(vector, list) else array("f", base64.b64decode(vector, validate=True)).tolist()


def _packed(vector: tuple[float, ...]) -> str:
    """Single precision, the lowest byte first, as OpenAI's SDKs unpack it."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def encode_answer(answer: EmbeddingResponse, told: Told) -> bytes:
    """The body for a client, which may have asked for base64: its SDKs do."""
    vectors: Iterable[object] = answer.vectors
    if told.asked.get("encoding_format") == BASE64:
        vectors = map(_packed, answer.vectors)
    rows = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    counts = usage_json(answer.usage) or {"prompt_tokens": 0, "total_tokens": 0}
    usage = {name: counts[name] for name in ("prompt_tokens", "total_tokens")}
    return msgspec.json.encode({"object": "list", "data": rows, "model": answer.model, "usage": usage})


CODEC = EmbeddingCodec(
    drops=frozenset(("cache", "encoding_format")),
    decode_request=decode_request,
    encode_request=encode_request,
    decode_answer=decode_answer,
    encode_answer=encode_answer,
)
