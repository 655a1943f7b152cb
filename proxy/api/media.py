"""What a request says that is moderated, drawn, spoken or ranked: its Head, and what it asks for by the piece."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ledger.prices.pieces import plain_size
from ledger.records import NO_PIECES, Pieces
from providers.provider import Endpoint
from proxy.api import gate
from proxy.call import PLAIN, Head, Weight
from proxy.errors import InvalidRequest
from proxy.metering.pieces import search_units, spoken_ms

Body = dict[str, Any]

USUAL_MODELS: Final[Mapping[Endpoint, str]] = {"moderations": "omni-moderation-latest"}
"""What is meant where a body names no model, as it need not.

Source: platform.openai.com/docs/api-reference/moderations/create, default of ``model``, read 2026-11.  Of pictures the types of
openai 3.51 say: specify a model explicitly."""

BODIES: Final[frozenset[Endpoint]] = frozenset({"moderations", "images/generations", "audio/speech", "rerank"})
"""The endpoints whose JSON bodies are read here."""

BYTES_PER_TOKEN: Final = 4
WORD_MAX: Final = 32
"""Of what a request calls a size or a quality; what is longer is none."""


def head(body: Body, endpoint: Endpoint) -> Head:
    """The few fields that the pipeline needs.  Raises: InvalidRequest, naming the field."""
    gate.check_places(body)
    usual = USUAL_MODELS.get(endpoint)
    names_model = usual is None or body.get("model") is not None
    return Head(
        model=gate.model_of(body) if names_model or usual is None else usual,
        # Speech is sent on as it comes, whatever its format.
        stream=gate.stream_of(body) if endpoint == "images/generations" else endpoint == "audio/speech",
        choices=gate.whole(body, "n", least=1) or 1 if endpoint == "images/generations" else 1,
        weight=_WEIGHTS[endpoint](body) if endpoint in _WEIGHTS else PLAIN,
        cache=gate.cache_of(body),
        route=gate.route_of(body),
        ours=gate.ours_of(body),
        names_model=names_model,
    )


def drawn(body: Body) -> Weight:
    """Of a body that asks for pictures.  Raises: InvalidRequest."""
    return Weight(
        pieces=Pieces(
            images=gate.whole(body, "n", least=1) or 1,
            image_size=plain_size(_word(body.get("size"))),
            image_quality=_word(body.get("quality")),
        ),
        early_images=gate.whole(body, "partial_images", least=0) or 0,
    )


def _spoken(body: Body) -> Weight:
    text, speed = body.get("input"), body.get("speed")
    if not isinstance(text, str) or not text:
        return PLAIN
    if speed is not None and (isinstance(speed, bool) or not isinstance(speed, int | float) or not 0.01 <= speed <= 100):
        raise InvalidRequest("'speed' must be a number, 1 being the usual speed.", param="speed")
    return Weight(pieces=Pieces(characters=len(text), spoken_ms=spoken_ms(len(text), float(speed or 1))))


def _ranked(body: Body) -> Weight:
    """The query is read with every document, and counts as often."""
    query, documents = body.get("query"), body.get("documents")
    if not isinstance(query, str) or not isinstance(documents, list):
        return PLAIN
    repeated = len(query.encode()) * max(len(documents) - 1, 0)
    tokens = (sum(map(_length, documents)) + len(query) * len(documents)) // BYTES_PER_TOKEN
    return Weight(
        pieces=Pieces(queries=search_units(len(documents), tokens)) if documents else NO_PIECES, repeated_bytes=repeated
    )


def _length(document: Any) -> int:
    if isinstance(document, str):
        return len(document)
    return sum(len(value) for value in document.values() if isinstance(value, str)) if isinstance(document, dict) else 0


def _word(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= WORD_MAX else ""


_WEIGHTS: Final = {"images/generations": drawn, "audio/speech": _spoken, "rerank": _ranked}
