"""Answers to questions that mean the same: near each other by the vectors of an embeddings model.

Two requests are compared by their last user's text alone; in everything else, whose they are included, they have to be
the same.  Off unless the operator names a model; how near is near enough is the operator's to say, never a caller's.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from operator import mul
from typing import Any

import msgspec
from msgspec.structs import replace

from proxy.call import CacheUse, Call, Completed, Head
from proxy.errors import ProxyError
from proxy.stage import Service, Stage, compose

TEXT_MAX_BYTES = 8 * 1024
"""Of a text that is compared; longer ones are rarely asked twice in other words."""

EMBED_S = 5.0
"""How long a request waits for its vector, before it goes on as if there were no vectors."""

DIMENSIONS_MAX = 8192
COMPARED_MAX = 16

Json = dict[str, Any]


class Text(msgspec.Struct, frozen=True):
    """text: what the user asked last.  frame: the request's fields without it."""

    text: str
    frame: Json


def text_of(endpoint: str, fields: Json) -> Text | None:
    """The last user's text of a request and the rest of it; ``None``, if it does not end with one plain text."""
    name = {"chat/completions": "messages", "responses": "input"}.get(endpoint)
    said = fields.get(name) if name is not None else None
    if name is None or said is None:
        return None
    if isinstance(said, str):
        text, rest = said, None
    elif isinstance(said, list) and said and isinstance(said[-1], dict) and said[-1].get("role") == "user":
        text, rest = _plain(said[-1].get("content")), [*said[:-1], {**said[-1], "content": None}]
    else:
        return None
    if not text.strip() or len(text.encode()) > TEXT_MAX_BYTES:
        return None
    return Text(text, {**fields, name: rest})


def _plain(content: Any) -> str:
    """A text, also as the only part of a list; empty for anything else."""
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        part = content[0]
        content = part.get("text") if part.keys() == {"type", "text"} and part["type"] in ("text", "input_text") else None
    return content if isinstance(content, str) else ""


# --- vectors -----------------------------------------------------------------------------------------------------------


class Vector(msgspec.Struct, frozen=True):
    """A direction, of length 1.  signs: a bit for each coordinate, set where it is positive."""

    values: array[float]
    signs: int


def vector_of(values: Sequence[float]) -> Vector | None:
    """The direction of a list of numbers; ``None``, if it has none."""
    length = math.sqrt(sum(map(mul, values, values)))
    if not 0 < length < math.inf or len(values) > DIMENSIONS_MAX:
        return None
    signs = int("".join(["1" if value > 0 else "0" for value in values]), 2)
    return Vector(array("f", [value / length for value in values]), signs)


def similarity(a: Vector, b: Vector) -> float:
    """The cosine of the angle between them, in [-1, 1]; -1 for vectors of different models."""
    return sum(map(mul, a.values, b.values)) if len(a.values) == len(b.values) else -1.0


class Neighbours:
    """Vectors by their frame, and the key of the answer of each.  Bounded: the frame that was not used for longest goes.

    A search compares the signs of all vectors of a frame, some 0.3 µs each, and the coordinates of the nearest few.
    """

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._frames: OrderedDict[bytes, dict[bytes, Vector]] = OrderedDict()
        self.count = 0

    def find(self, frame: bytes, vector: Vector, *, at_least: float) -> tuple[bytes, float] | None:
        """The key of the nearest answer of this frame and how similar its question is, if that is enough."""
        entries = self._frames.get(frame)
        if not entries:
            return None
        self._frames.move_to_end(frame)
        signs = vector.signs
        near = heapq.nsmallest(COMPARED_MAX, entries.items(), key=lambda entry: (entry[1].signs ^ signs).bit_count())
        score, key = max((similarity(vector, other), key) for key, other in near)
        return (key, score) if score >= at_least else None

    def add(self, frame: bytes, vector: Vector, key: bytes) -> None:
        """There is an answer to this question under this key."""
        entries = self._frames.setdefault(frame, {})
        self._frames.move_to_end(frame)
        self.count += key not in entries
        entries[key] = vector
        while self.count > self._entries_max:
            oldest_frame, oldest = next(iter(self._frames.items()))
            self.discard(oldest_frame, next(iter(oldest)))

    def discard(self, frame: bytes, key: bytes) -> None:
        """There is none any more."""
        entries = self._frames.get(frame)
        if entries is not None and entries.pop(key, None) is not None:
            self.count -= 1
            if not entries:
                del self._frames[frame]


# --- asking for a vector -------------------------------------------------------------------------------------------------


class _Row(msgspec.Struct):
    embedding: list[float]


class _Rows(msgspec.Struct):
    data: list[_Row]


_decode = msgspec.json.Decoder(_Rows).decode


class Semantic:
    """Finds questions that mean the same.

    model: of embeddings, by any name that a client could ask for.  threshold: the least similarity, in [-1, 1].
    before: the stages that every request goes through before the cache, so that a vector is routed, reserved and
    recorded like any request, with an id of its own: the request's and an ``e``.
    """

    def __init__(self, *, model: str, threshold: float, entries_max: int, before: Sequence[Stage]) -> None:
        self.neighbours = Neighbours(entries_max)
        self._model = model
        self._threshold = threshold
        self._before = tuple(before)

    async def vector(self, call: Call, text: str, next: Service) -> Vector | None:
        """The text's vector; ``None``, if it cannot be had."""
        body = msgspec.json.encode({"model": self._model, "input": text, "encoding_format": "float"})
        asked = replace(
            call,
            id=f"{call.id}e",
            endpoint="embeddings",
            body=body,
            head=Head(model=self._model),
            # Which model is used is the operator's choice, not the key's.
            principal=None if call.principal is None else replace(call.principal, models=(), endpoints=()),
            tiers=(),
            deployments=(),
            trail=[],
            cached=CacheUse(),
        )
        try:
            async with asyncio.timeout(EMBED_S):
                reply = await compose(self._before, next)(asked)
            return vector_of(_decode(reply.body).data[0].embedding) if isinstance(reply, Completed) else None
        except (ProxyError, TimeoutError, msgspec.DecodeError, IndexError):
            return None

    def find(self, frame: bytes, vector: Vector) -> tuple[bytes, float] | None:
        """The key of an answer to a question that means the same, and how similar it is."""
        return self.neighbours.find(frame, vector, at_least=self._threshold)
