"""The embedding models behind Bedrock's InvokeModel: Titan's, Cohere's and Nova's bodies, from the canonical form and back.

Source: docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-{titan-embed-text, embed}.html and
docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html, read 2026-11; recorded exchanges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from providers import usage
from providers.bedrock.request import FAMILY
from providers.canonical import EmbeddingRequest, EmbeddingResponse, Unsupported
from providers.errors import InvalidResponse
from providers.protocol import EmbeddingCodec
from providers.reading import Fields, without_nothing
from providers.usage import Semantics

Kind = Literal["titan", "titan-v1", "cohere", "cohere-v3", "nova"]

PURPOSE: Final = "search_document"
"""What Cohere has to be told that the vectors are for, and OpenAI's clients cannot say."""
NOVA_PURPOSE: Final = "GENERIC_INDEX"
"""The same of Nova."""


def kind_of(model: str) -> Kind:
    """Whose body a model takes.  Raises: Unsupported, for a model that makes no vectors of texts."""
    for part, kind in _KINDS:
        if part in model:
            return kind
    raise Unsupported("model", "this model makes no embeddings of texts")


_KINDS: Final[tuple[tuple[str, Kind], ...]] = (
    ("amazon.titan-embed-text-v1", "titan-v1"),
    ("amazon.titan-embed", "titan"),
    ("cohere.embed-v", "cohere"),
    ("cohere.embed-", "cohere-v3"),
    ("amazon.nova-2-multimodal-embeddings", "nova"),
)


def decode_request(body: Mapping[str, Any], model: str) -> EmbeddingRequest:
    """A client's request; the model stands in its URL.  Raises: Malformed; Unsupported, for no such model."""
    kind = kind_of(model)
    fields = Fields(body)
    if kind in ("cohere", "cohere-v3"):
        texts = tuple(str(it) for it in fields.list("texts"))
        dimensions = fields.whole("output_dimension")
    elif kind == "nova":
        params = fields.fields("singleEmbeddingParams") or Fields({}, "singleEmbeddingParams")
        text = params.fields("text") or Fields({}, params.place("text"))
        texts, dimensions = (text.required("value"),), params.whole("embeddingDimension")
        return EmbeddingRequest(family=FAMILY, model=model, texts=texts, dimensions=dimensions, extra=dict(body))
    else:
        texts, dimensions = (fields.required("inputText"),), fields.whole("dimensions")
    return EmbeddingRequest(family=FAMILY, model=model, texts=texts, dimensions=dimensions, extra=fields.rest)


def encode_request(asked: EmbeddingRequest) -> dict[str, Any]:
    """The body for the provider; the model is in its URL.  Raises: Unsupported."""
    kind = kind_of(asked.model)
    if asked.family == FAMILY:
        return _as_it_came(asked, kind)
    if kind in ("titan-v1", "cohere-v3") and asked.dimensions is not None:
        raise Unsupported("dimensions", "this model has one size of vectors")
    if kind in ("cohere", "cohere-v3"):
        said = {"texts": list(asked.texts), "input_type": PURPOSE}
        # By types, so that the newer model and the older one answer alike.
        return {**said, "embedding_types": ["float"], **without_nothing({"output_dimension": asked.dimensions})}
    if len(asked.texts) > 1:
        raise Unsupported("input", "this model takes one text a request")
    (text,) = asked.texts
    if kind == "nova":
        # Too long a text is refused, as everybody else does.
        whole = {"value": text, "truncationMode": "NONE"}
        params = {"text": whole, "embeddingPurpose": NOVA_PURPOSE, **without_nothing({"embeddingDimension": asked.dimensions})}
        return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params}
    return {"inputText": text, **without_nothing({"dimensions": asked.dimensions})}


def _as_it_came(asked: EmbeddingRequest, kind: Kind) -> dict[str, Any]:
    said = without_nothing({"dimensions": asked.dimensions})
    if kind in ("cohere", "cohere-v3"):
        return {"texts": list(asked.texts), **without_nothing({"output_dimension": asked.dimensions}), **asked.extra}
    return dict(asked.extra) if kind == "nova" else {"inputText": asked.texts[0], **said, **asked.extra}


Vectors = list[tuple[float, ...]]


class _OfNova(msgspec.Struct):
    embedding: tuple[float, ...]


class _ByType(msgspec.Struct, rename={"floats": "float"}):
    floats: Vectors


class _Answer(msgspec.Struct, rename={"count": "inputTextTokenCount"}):
    embedding: tuple[float, ...] | None = None
    embeddings: msgspec.Raw = msgspec.Raw(b"null")
    count: int | None = None


_decode = msgspec.json.Decoder(_Answer).decode
_by_type = msgspec.json.Decoder(_ByType).decode
_lists = msgspec.json.Decoder(Vectors).decode
_of_nova = msgspec.json.Decoder(list[_OfNova]).decode


def decode_answer(body: bytes, semantics: Semantics) -> EmbeddingResponse:
    """A provider's answer, whichever model's; only Titan's says in it how many tokens it read.  Raises: InvalidResponse."""
    try:
        read = _decode(body)
        vectors = [read.embedding] if read.embedding is not None else _vectors(bytes(read.embeddings))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidResponse("The upstream's answer has no embeddings.") from error
    if not vectors:
        raise InvalidResponse("The upstream's answer has no embeddings.")
    raw = b"" if read.count is None else msgspec.json.encode({"inputTextTokenCount": read.count})
    return EmbeddingResponse(model="", vectors=tuple(vectors), usage=usage.read(raw, semantics) if raw else None, usage_raw=raw)


def encode_answer(answer: EmbeddingResponse) -> bytes:
    """The body for a client: Titan's of one vector, else Cohere's by types."""
    if answer.usage is not None and len(answer.vectors) == 1:
        return msgspec.json.encode({"embedding": answer.vectors[0], "inputTextTokenCount": answer.usage.input_tokens})
    return msgspec.json.encode({"embeddings": {"float": answer.vectors}, "response_type": "embeddings_by_type"})


def _vectors(raw: bytes) -> Vectors:
    if raw.lstrip()[:1] == b"{":
        return _by_type(raw).floats
    try:
        return _lists(raw)
    except msgspec.ValidationError:
        return [row.embedding for row in _of_nova(raw)]


CODEC: Final = EmbeddingCodec(
    drops=frozenset(("cache", "truncate", "normalize")),
    decode_request=decode_request,
    encode_request=encode_request,
    decode_answer=decode_answer,
    encode_answer=lambda answer, told: encode_answer(answer),  # noqa: ARG005  # nothing that was asked changes it
)
