"""Gemini's embedContent and batchEmbedContents: to the canonical form and back.

Source: ai.google.dev/api/embeddings, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from providers import usage
from providers.canonical import EmbeddingRequest, EmbeddingResponse, Malformed, Unsupported
from providers.errors import InvalidResponse
from providers.gemini.request import fields_of
from providers.protocol import EmbeddingCodec
from providers.reading import Fields, without_nothing
from providers.usage import Semantics


class _Vector(msgspec.Struct):
    values: list[float]


class _Answer(msgspec.Struct, rename="camel"):
    embedding: _Vector | None = None
    embeddings: list[_Vector] | None = None
    usage_metadata: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Answer).decode


def decode_one(body: Mapping[str, Any], model: str) -> EmbeddingRequest:
    """A client's request for one vector.  Raises: Malformed, Unsupported."""
    fields = fields_of(body)
    text, dimensions, extra = _ask(fields)
    return EmbeddingRequest(family="gemini", model=model, texts=(text,), dimensions=dimensions, extra=extra)


def decode_many(body: Mapping[str, Any], model: str) -> EmbeddingRequest:
    """A client's request for several.  Raises: Malformed, Unsupported."""
    fields = fields_of(body)
    asks = [_ask(fields_of(value, f"requests[{at}]")) for at, value in enumerate(fields.list("requests"))]
    if not asks:
        raise Malformed("requests", "is missing")
    dimensions = {it[1] for it in asks}
    if len(dimensions) > 1:
        raise Unsupported("requests", "elsewhere all vectors of a request have the same size")
    extra = {name: value for it in asks for name, value in it[2].items()}
    return EmbeddingRequest(
        family="gemini",
        model=model,
        texts=tuple(it[0] for it in asks),
        dimensions=dimensions.pop(),
        extra={**fields.rest, **extra},
    )


def _ask(fields: Fields) -> tuple[str, int | None, Mapping[str, Any]]:
    content = fields_of(fields.object("content") or {}, fields.place("content"))
    texts = []
    for at, value in enumerate(content.list("parts")):
        part = fields_of(value, f"{content.place('parts')}[{at}]")
        if not part.has("text"):
            raise Unsupported(part.at, "elsewhere only texts have embeddings")
        texts.append(part.required("text"))
    fields.any("model")
    return "".join(texts), fields.whole("outputDimensionality"), fields.rest


def encode_many(asked: EmbeddingRequest) -> dict[str, Any]:
    """The body for a provider."""
    name = f"models/{asked.model.removeprefix('models/')}"
    return {
        "requests": [
            without_nothing({"model": name, "content": {"parts": [{"text": text}]}, "outputDimensionality": asked.dimensions})
            for text in asked.texts
        ]
    }


def encode_one(asked: EmbeddingRequest) -> dict[str, Any]:
    """The same of a single text.  Raises: Unsupported."""
    if len(asked.texts) > 1:
        raise Unsupported("input", "this upstream takes one text at a time")
    (ask,) = encode_many(asked)["requests"]
    return {name: value for name, value in ask.items() if name != "model"}


def decode_answer(body: bytes, semantics: Semantics) -> EmbeddingResponse:
    """A provider's answer.  Raises: InvalidResponse."""
    try:
        read = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidResponse("The upstream's answer has no embeddings.") from error
    rows = read.embeddings if read.embeddings is not None else [read.embedding] if read.embedding is not None else []
    if not rows:
        raise InvalidResponse("The upstream's answer has no embeddings.")
    raw = bytes(read.usage_metadata)
    told = raw != b"null"
    return EmbeddingResponse(
        model="",
        vectors=tuple(tuple(row.values) for row in rows),
        usage=usage.read(raw, semantics) if told else None,
        usage_raw=raw if told else b"",
    )


def encode_one_answer(answer: EmbeddingResponse) -> bytes:
    """The body for a client that asked for one vector."""
    return msgspec.json.encode({"embedding": {"values": answer.vectors[0]}, **_usage(answer)})


def encode_many_answer(answer: EmbeddingResponse) -> bytes:
    """The body for a client that asked for several."""
    return msgspec.json.encode({"embeddings": [{"values": vector} for vector in answer.vectors], **_usage(answer)})


def _usage(answer: EmbeddingResponse) -> dict[str, Any]:
    return {} if answer.usage is None else {"usageMetadata": {"promptTokenCount": answer.usage.input_tokens}}


_DROPS = frozenset(("cache", "model", "taskType", "title"))

ONE = EmbeddingCodec(
    drops=_DROPS,
    decode_request=decode_one,
    encode_request=encode_one,
    decode_answer=decode_answer,
    encode_answer=lambda answer, told: encode_one_answer(answer),  # noqa: ARG005  # nothing that was asked changes it
)
MANY = EmbeddingCodec(
    drops=_DROPS,
    decode_request=decode_many,
    encode_request=encode_many,
    decode_answer=decode_answer,
    encode_answer=lambda answer, told: encode_many_answer(answer),  # noqa: ARG005  # nothing that was asked changes it
)
