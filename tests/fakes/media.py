"""What the fake upstream answers where it moderates, draws, speaks and ranks."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from tests.fakes.replies import SSE, Asked, Reply, answer, event

REQUIRED = {"moderations": "input", "images/generations": "prompt", "audio/speech": "voice", "rerank": "documents"}
ENDPOINTS = tuple(REQUIRED)
WHOLE = ("moderations", "rerank")
"""Those that are never streamed."""

PICTURE = bytes(range(256)) * 24
SOUND = bytes(range(255, -1, -1)) * 40
DRAWN: dict[str, Any] = {
    "input_tokens": 13,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 13},
    "output_tokens": 272,
    "total_tokens": 285,
}
SPOKEN = {"input_tokens": 9, "output_tokens": 40, "total_tokens": 49}


def coded(data: bytes = PICTURE) -> str:
    return base64.b64encode(data).decode()


def moderated(asked: Asked) -> Reply:
    """As OpenAI moderates: without a usage."""
    result = {"flagged": False, "categories": {"violence": False}, "category_scores": {"violence": 0.01}}
    result["category_applied_input_types"] = {"violence": ["text"]}
    return answer({"id": "modr-fake", "model": asked.model, "results": [result] * asked.inputs})


def drawn(*, counted: bool = True, picture: bytes = PICTURE, **fields: Any) -> Callable[[Asked], Reply]:
    """As a model draws that counts tokens; or as one that is charged by the picture."""

    def step(asked: Asked) -> Reply:
        said = {"size": "1024x1024", "quality": "low", "background": "opaque", "output_format": "png"} if counted else {}
        usage = {"usage": DRAWN} if counted else {}
        if not asked.stream:
            pictures = [{"b64_json": coded(picture)} for _ in range(asked.fields.get("n") or 1)]
            return answer({"created": 1764000000, "data": pictures, **said, **usage}, usage=DRAWN if counted else None)
        early = [
            event(
                {
                    "type": "image_generation.partial_image",
                    "b64_json": coded(picture[: 256 * (index + 1)]),
                    "partial_image_index": index,
                    "created_at": 1764000000,
                    **said,
                },
                name="image_generation.partial_image",
            )
            for index in range(asked.fields.get("partial_images") or 0)
        ]
        last = {"type": "image_generation.completed", "b64_json": coded(picture), "created_at": 1764000000, **said, **usage}
        pieces = (*early, event(last, name="image_generation.completed"))
        return Reply(**{"content_type": SSE, "pieces": pieces, "framing": "chunked", "usage": DRAWN, **fields})

    return step


def spoken(asked: Asked, *, sound: bytes = SOUND, **fields: Any) -> Reply:
    """As OpenAI speaks: sound in pieces; or events of it that end in a usage."""
    parts = [sound[start : start + 1024] for start in range(0, len(sound), 1024)]
    if asked.fields.get("stream_format") != "sse":
        kind = {"wav": "audio/wav", "pcm": "audio/pcm"}.get(str(asked.fields.get("response_format")), "audio/mpeg")
        return Reply(**{"content_type": kind, "pieces": tuple(parts), "framing": "chunked", **fields})
    deltas = [event({"type": "speech.audio.delta", "audio": coded(part)}) for part in parts]
    pieces = (*deltas, event({"type": "speech.audio.done", "usage": SPOKEN}))
    return Reply(**{"content_type": SSE, "pieces": pieces, "framing": "chunked", "usage": SPOKEN, **fields})


def _ranking(asked: Asked) -> list[dict[str, Any]]:
    return [{"index": index, "relevance_score": 1 / (index + 1)} for index in range(len(asked.fields["documents"]))]


def ranked_by_units(asked: Asked) -> Reply:
    """As Cohere ranks."""
    billed = {"search_units": 1}
    body = {"id": "rank-fake", "results": _ranking(asked), "meta": {"api_version": {"version": "2"}, "billed_units": billed}}
    return answer(body, usage=billed)


def ranked_by_tokens(asked: Asked) -> Reply:
    """As Voyage ranks."""
    body = {"object": "list", "data": _ranking(asked), "model": asked.model, "usage": {"total_tokens": 26}}
    return answer(body, usage={"total_tokens": 26})
