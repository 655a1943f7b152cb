"""Cohere's embed, from the canonical form and back.

Source: docs.cohere.com/reference/embed, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from providers import usage
from providers.canonical import EmbeddingRequest, EmbeddingResponse, Malformed
from providers.cohere.request import FAMILY
from providers.errors import InvalidResponse
from providers.protocol import EmbeddingCodec
from providers.reading import Fields, without_nothing
from providers.usage import Semantics

PURPOSE: Final = "search_document"
"""What it has to be told that the vectors are for, and OpenAI's clients cannot say."""


def decode_request(body: Mapping[str, Any], model: str) -> EmbeddingRequest:
    """A client's request.  Raises: Malformed."""
    fields = Fields(body)
    fields.any("model")
    texts = fields.list("texts")
    if not texts or not all(isinstance(it, str) for it in texts):
        raise Malformed("texts", "must be a list of texts")
    dimensions = fields.whole("output_dimension")
    return EmbeddingRequest(family=FAMILY, model=model, texts=tuple(texts), dimensions=dimensions, extra=fields.rest)


def encode_request(asked: EmbeddingRequest) -> dict[str, Any]:
    """The body for the provider."""
    if asked.family == FAMILY:
        said = without_nothing({"model": asked.model, "texts": list(asked.texts), "output_dimension": asked.dimensions})
        return {**said, **asked.extra}
    said = {"model": asked.model, "texts": list(asked.texts), "input_type": PURPOSE, "embedding_types": ["float"]}
    return {**said, **without_nothing({"output_dimension": asked.dimensions})}


class _ByType(msgspec.Struct, rename={"floats": "float"}):
    floats: list[tuple[float, ...]]


class _Answer(msgspec.Struct):
    embeddings: _ByType
    meta: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Answer).decode


def decode_answer(body: bytes, semantics: Semantics) -> EmbeddingResponse:
    """A provider's answer; what is billed stands in its ``meta``.  Raises: InvalidResponse."""
    try:
        read = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidResponse("The upstream's answer has no embeddings.") from error
    if not read.embeddings.floats:
        raise InvalidResponse("The upstream's answer has no embeddings.")
    raw = b"" if bytes(read.meta) == b"null" else bytes(read.meta)
    return EmbeddingResponse(
        model="",
        vectors=tuple(read.embeddings.floats),
        usage=usage.read(raw, semantics) if raw else None,
        usage_raw=raw,
    )


def encode_answer(answer: EmbeddingResponse) -> bytes:
    """The body for a client."""
    billed = answer.usage.input_tokens if answer.usage is not None else 0
    meta = msgspec.Raw(answer.usage_raw) if answer.usage_raw else {"billed_units": {"input_tokens": billed}}
    return msgspec.json.encode({"embeddings": {"float": answer.vectors}, "response_type": "embeddings_by_type", "meta": meta})


CODEC: Final = EmbeddingCodec(
    drops=frozenset(("cache", "truncate", "max_tokens", "embedding_types", "priority")),
    decode_request=decode_request,
    encode_request=encode_request,
    decode_answer=decode_answer,
    encode_answer=lambda answer, told: encode_answer(answer),  # noqa: ARG005  # nothing that was asked changes it
)
