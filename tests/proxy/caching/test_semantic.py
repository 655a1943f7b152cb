"""Questions that mean the same: what is compared, how the nearest is found, and what happens without a vector."""

from __future__ import annotations

import asyncio
import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.caching.key import fields_of
from proxy.caching.semantic import TEXT_MAX_BYTES, Neighbours, Semantic, Text, Vector, similarity, text_of, vector_of
from proxy.call import Call, Completed, Reply
from proxy.errors import NoHealthyUpstream
from proxy.stage import Service
from tests.proxy.samples import PRINCIPAL, call


def direction(*values: float) -> Vector:
    made = vector_of(values)
    assert made is not None
    return made


# --- what is compared --------------------------------------------------------------------------------------------------

SYSTEM = {"role": "system", "content": "be brief"}


def chat(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages), "temperature": 0}


TEXTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "chat/completions",
        chat(SYSTEM, {"role": "user", "content": "hi", "name": "bob"}),
        chat(SYSTEM, {"role": "user", "content": None, "name": "bob"}),
    ),
    (
        "chat/completions",
        chat({"role": "user", "content": [{"type": "text", "text": "hi"}]}),
        chat({"role": "user", "content": None}),
    ),
    ("responses", {"input": "hi", "instructions": "be brief"}, {"input": None, "instructions": "be brief"}),
    (
        "responses",
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]},
        {"input": [{"role": "user", "content": None}]},
    ),
]
NONE: list[tuple[str, dict[str, Any]]] = [
    ("chat/completions", chat({"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"})),
    ("chat/completions", chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]})),
    ("chat/completions", chat({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})),
    ("chat/completions", chat({"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}]})),
    ("chat/completions", chat({"role": "user", "content": "  "})),
    ("chat/completions", chat({"role": "user", "content": "x" * (TEXT_MAX_BYTES + 1)})),
    ("chat/completions", chat()),
    ("chat/completions", {"messages": 5}),
    ("chat/completions", {}),
    ("embeddings", {"input": "hi"}),
    ("completions", {"prompt": "hi"}),
]


@pytest.mark.parametrize(("endpoint", "fields", "frame"), TEXTS)
def test_the_last_users_text_is_compared_and_everything_else_has_to_be_the_same(
    endpoint: str, fields: dict[str, Any], frame: dict[str, Any]
) -> None:
    assert text_of(endpoint, fields) == Text("hi", frame)


@pytest.mark.parametrize(("endpoint", "fields"), NONE)
def test_what_does_not_end_with_one_plain_text_is_not_compared(endpoint: str, fields: dict[str, Any]) -> None:
    assert text_of(endpoint, fields_of(json.dumps(fields).encode())) is None


# --- vectors -----------------------------------------------------------------------------------------------------------


def test_similarity_is_the_cosine() -> None:
    found = [
        similarity(direction(1, 0), other) for other in (direction(5, 0), direction(0, 2), direction(-1, 0), direction(1, 1))
    ]

    assert found == pytest.approx([1, 0, -1, math.sqrt(0.5)])


def test_vectors_of_different_models_are_not_similar() -> None:
    assert similarity(direction(1, 0), direction(1, 0, 0)) == -1


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [math.nan], [math.inf, 1.0], [1.0] * 10_000])
def test_what_has_no_direction_is_no_vector(values: list[float]) -> None:
    assert vector_of(values) is None


@given(seed=st.integers(0, 2**32))
def test_the_nearest_is_found_among_many(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # a test that can be repeated
    around = Neighbours(1000)
    vectors = [direction(*(chance.gauss(0, 1) for _ in range(128))) for _ in range(100)]
    for number, vector in enumerate(vectors):
        around.add(b"frame", vector, b"%d" % number)
    near = direction(*(value + chance.gauss(0, 0.01) for value in vectors[42].values))

    found = around.find(b"frame", near, at_least=0.9)

    assert found is not None
    assert found[0] == b"42"


def test_what_is_not_near_enough_is_not_found_nor_what_is_in_another_frame() -> None:
    around = Neighbours(10)
    around.add(b"mine", direction(1, 0), b"key")

    found = [
        around.find(frame, direction(1, 1), at_least=score) for frame, score in ((b"mine", 0.7), (b"mine", 0.8), (b"other", 0))
    ]

    assert found == [(b"key", pytest.approx(math.sqrt(0.5))), None, None]


def test_there_are_no_more_than_there_may_be_and_the_frame_that_was_not_used_for_longest_goes() -> None:
    around = Neighbours(2)
    around.add(b"old", direction(1, 0), b"1")
    around.add(b"used", direction(1, 0), b"2")
    around.find(b"old", direction(1, 0), at_least=0)

    around.add(b"new", direction(1, 0), b"3")

    found = [around.find(frame, direction(1, 0), at_least=0) is not None for frame in (b"old", b"used", b"new")]
    assert (found, around.count) == ([True, False, True], 2)


def test_what_is_discarded_is_gone() -> None:
    around = Neighbours(2)
    around.add(b"frame", direction(1, 0), b"1")

    around.discard(b"frame", b"1")
    around.discard(b"frame", b"1")

    assert (around.find(b"frame", direction(1, 0), at_least=-1), around.count) == (None, 0)


# --- asking for a vector -------------------------------------------------------------------------------------------------


class Terminal:
    """Answers with a body, or raises; remembers what it was asked."""

    def __init__(self, said: bytes | Exception) -> None:
        self.asked: list[Call] = []
        self._said = said

    async def __call__(self, call: Call, /) -> Reply:
        self.asked.append(call)
        if isinstance(self._said, Exception):
            raise self._said
        return Completed(status=200, headers=[], body=self._said)


async def seen(call: Call, /, next: Service) -> Reply:
    assert call.id.endswith("e")
    return await next(call)


def semantic() -> Semantic:
    return Semantic(model="acme/embed", threshold=0.9, entries_max=10, before=(seen,))


async def test_a_vector_is_asked_for_as_any_request_is_with_an_id_of_its_own() -> None:
    terminal = Terminal(b'{"data":[{"embedding":[3.0,4.0]}]}')
    asked = call(principal=PRINCIPAL)

    found = await semantic().vector(asked, "hi", terminal)

    (sent,) = terminal.asked
    assert found is not None
    assert list(found.values) == pytest.approx([0.6, 0.8])
    assert (sent.id, sent.endpoint, sent.head.model) == ("req_1e", "embeddings", "acme/embed")
    assert json.loads(sent.body) == {"model": "acme/embed", "input": "hi", "encoding_format": "float"}
    assert sent.trail is not asked.trail


@pytest.mark.parametrize(
    "said",
    [NoHealthyUpstream("nobody there"), TimeoutError(), b"{", b'{"data":[]}', b'{"data":[{"embedding":"AAAA"}]}'],
    ids=str,
)
async def test_without_a_vector_the_request_goes_on(said: Any) -> None:
    assert await semantic().vector(call(), "hi", Terminal(said)) is None


async def test_a_client_that_leaves_meanwhile_has_left() -> None:
    async def hang(call: Call, /) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError(call.id)

    asking = asyncio.get_running_loop().create_task(semantic().vector(call(), "hi", hang))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
